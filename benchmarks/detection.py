"""The default detector of `hubel.fit` on scenes with exact truth, and on few simulated light echoes (the others: detectors.py).

    python benchmarks/detection.py [--parts scenes echoes crowns speed] [--seeds 0 1 2 3 4]

scenes  the built-in fashion-scenes (2,000 pictures of 128²), default settings: average precision on the test scenes, and on the same pieces
        over another family of textures; seconds of training
echoes  the built-in light-echoes: 19 fields to learn from; precision at a recall of 70 % by an overlap of more than a half, and by the looser
        rule of any overlap (IoP > 0), median over the seeds
crowns  aerial pictures with the crowns of trees (crown_pictures.py), 12 pictures of 766 × 618 of one meadow, cut into tiles that stay together:
        average precision, best F1 and the precision of boxes thrown at random on the pictures that were left out, and on other places; with the
        default body, and with one that begins with the ImageNet weights of EfficientNet-Lite0, where these are installed
speed   one picture of 640² through the default detector, as it is and compiled
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crown_pictures import write_crowns
from protocol import RESULTS, Machine, Spread, arguments, row, say, target, write

import hubel
from hubel import metrics, nets
from hubel.workflows.pretrained import has_weights

HALF, COCO = "AP50[all-point]", "AP[coco]"
PARTS = ("scenes", "echoes", "crowns", "speed")
CROWN_EPOCHS = 30


def main() -> None:
    given = arguments(__doc__, extra=_options)
    machine = Machine()
    rows, targets, notes = kept(given)
    for part in given.parts:
        say(part)
        found = {"scenes": scenes, "echoes": echoes, "crowns": crowns, "speed": speed}[part](given)
        rows += [one | {"part": part} for one in found[0]]
        targets += [one | {"part": part} for one in found[1]]
        notes += [f"{part}: {note}" for note in found[2]]
    write(
        "detection",
        {
            "id": "detection",
            "title": "Objects on pictures",
            "work": "The default detector; average precision, precision at a recall, seconds",
            "machine": machine.as_json(given.threads),
            "versions": {"hubel": version("hubel"), "torch": torch.__version__},
            "rows": rows,
            "targets": targets,
            "notes": notes,
        },
        given,
    )


Found = tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]


def kept(given: argparse.Namespace) -> Found:
    """What was measured before of the parts that are not asked for now."""
    path = RESULTS / "detection.json"
    if given.quick or not path.exists():
        return [], [], []
    known = json.loads(path.read_text("utf-8"))
    rows, targets = (
        [one for one in known[name] if one.get("part") not in given.parts] for name in ("rows", "targets")
    )
    return rows, targets, [note for note in known["notes"] if note.partition(":")[0] not in given.parts]


def scenes(given: argparse.Namespace) -> Found:
    """Average precision on the test scenes and on another family of textures."""
    try:
        whole = hubel.data.load("fashion-scenes")
    except FileNotFoundError as error:  # its pieces are those of Fashion-MNIST
        return [row("fashion-scenes, default", None, "", note=f"not measured: {error}")], [], []
    found = seeds_of_scenes(given)
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = hubel.fit(
                _some(whole, given), recipe=_recipe(given, seed), out=Path(folder) / "run", quiet=True
            )
            other = _some(hubel.data.load("fashion-scenes-shifted"), given)
            found[str(seed)] = one = {
                HALF: run.test[HALF]["value"],
                COCO: run.test[COCO]["value"],
                f"{HALF} on other textures": run.evaluate(other)[HALF].value,
                "training": run.about["seconds"],
            }
            epochs = run.recipe.epochs
            say(f"  seed {seed}, {epochs} epochs: {', '.join(f'{k} {v:.4g}' for k, v in one.items())}")
    name = "fashion-scenes, default"
    rows = []
    for what, unit in ((HALF, ""), (COCO, ""), (f"{HALF} on other textures", ""), ("training", "s")):
        values = {seed: one[what] for seed, one in sorted(found.items())}
        rows.append(row(f"{name}: {what}", Spread.of(list(values.values())), unit, seeds=values))
    half, mean, seconds = ([one[what] for one in found.values()] for what in (HALF, COCO, "training"))
    return (
        rows,
        [
            target(f"{name}: AP50 ≥ 0.90", f"{np.median(half):.3f}", np.median(half) >= 0.9),
            target(f"{name}: AP[coco] ≥ 0.60", f"{np.median(mean):.3f}", np.median(mean) >= 0.6),
            target(f"{name}: within 10 minutes of training", f"{max(seconds):.0f} s", max(seconds) <= 600),
        ],
        [f"seeds {', '.join(sorted(found))}, {_said(given)}; 200 test scenes each."],
    )


def seeds_of_scenes(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """What was measured before with other seeds."""
    path = RESULTS / "detection.json"
    found: dict[str, dict[str, float]] = {}
    if given.quick or not path.exists():
        return found
    for one in json.loads(path.read_text("utf-8"))["rows"]:
        if one.get("part") == "scenes":
            for seed, value in one.get("seeds", {}).items():
                found.setdefault(seed, {})[one["name"].partition(": ")[2]] = value
    return found


def echoes(given: argparse.Namespace) -> Found:
    """Precision at a recall of 70 % with 19 fields to learn from, by two rules."""
    loose = replace(metrics.all_point, measure=metrics.iop, thresholds=(0.0,))
    found: dict[str, list[float]] = {"IoU > 0.5": [], "any overlap": []}
    intervals: list[str] = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = hubel.data.load("light-echoes")
            run = hubel.fit(data, recipe=_recipe(given, seed), out=Path(folder) / "run", quiet=True)
            part = data.view(run.split["test"])
            said = metrics.predictions_of(run.predict(np.asarray(part.inputs)).values)
            true, label = metrics.truths_of(np.asarray(part.targets)), (data.classes or ()).index("echo")
            for name, rule in (("IoU > 0.5", metrics.all_point), ("any overlap", loose)):
                point = metrics.precision_at_recall(
                    said, true, 0.7, rule=rule, label=label, groups=part.groups
                )
                found[name].append(0.0 if np.isnan(point.value) else point.value)
                intervals.append(f"seed {seed}, {name}: {point}")
                say(f"  {intervals[-1]}")
    median = float(np.median(found["IoU > 0.5"]))
    return (
        [
            row(f"light-echoes: precision at 70 % recall, {name}", Spread.of(values), "")
            for name, values in found.items()
        ],
        [
            target(
                "light-echoes, 19 examples: precision ≥ 0.80 at recall 0.70, IoU > 0.5, median of the seeds",
                f"{median:.3f}",
                median >= 0.8,
            )
        ],
        [_said(given), *intervals],
    )


def crowns(given: argparse.Namespace) -> Found:
    """Crowns of trees on the pictures of the meadow that were left out, and on pictures of other places."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            places = write_crowns(Path(folder) / "crowns")
        except FileNotFoundError as error:
            return [row("crowns", None, "", note=f"not measured: {error}")], [], []
        epochs = 1 if given.quick else given.epochs or CROWN_EPOCHS
        rows, notes = [], [f"{epochs} epochs"]
        for name, net in (("default", None), ("ImageNet body", _imagenet_body())):
            if name != "default" and net is None:
                rows.append(
                    row(f"crowns, {name}", None, "", note="not measured: its weights are not installed")
                )
                continue
            found: dict[str, list[float]] = {}
            for seed in given.seeds:
                run = hubel.fit(
                    places["meadow"],
                    net=net,
                    recipe=hubel.Recipe(epochs=epochs, seed=seed),
                    options={"symmetries": ["flip_horizontal", "flip_vertical", "rotate_90"]},
                    out=Path(folder) / f"{name}-{seed}",
                    quiet=True,
                )
                for what, value in _of_crowns(run, places).items():
                    found.setdefault(what, []).append(0.0 if np.isnan(value.value) else value.value)
                    notes.append(f"{name}, seed {seed}, {what}: {value}")
                    say(f"  {notes[-1]}")
                found.setdefault("training, seconds", []).append(run.about["seconds"])
            rows += [row(f"crowns, {name}: {what}", Spread.of(values), "") for what, values in found.items()]
    return rows, [], notes


def _of_crowns(run: hubel.Run, places: dict[str, Path]) -> dict[str, Any]:
    """Scores of a run with their intervals."""
    part = hubel.data.load(places["meadow"]).select(run.split["test"])
    said = metrics.predictions_of(run.predict(np.asarray(part.inputs)).values)
    true = metrics.truths_of(np.asarray(part.targets))
    best = metrics.best_f1(said, true, rule=metrics.all_point, groups=part.groups)
    sure = [{name: one[name][one["scores"] >= run.objective.threshold] for name in one} for one in said]
    size = (part.shape[1], part.shape[2])
    scores = run.evaluate()
    return {
        HALF: scores[HALF],
        COCO: scores[COCO],
        best.name: best,
        "precision of boxes thrown at random": metrics.chance_of_match(
            sure, true, size, rule=metrics.all_point, groups=part.groups
        ),
        **{
            f"{HALF}, {place}": run.evaluate(places[place])[HALF]
            for place in ("forest", "florida", "california")
        },
    }


def _imagenet_body() -> Any:
    """The default detector on the body of EfficientNet-Lite0, where its weights are installed; else None."""
    if not has_weights():
        return None
    seen = nets.efficientnet_lite0(weights="imagenet", keep_statistics=True)
    return functools.partial(nets.anchor_free, backbone=seen)


def speed(given: argparse.Namespace) -> Found:
    """One picture of 640² through the default detector, and what follows it."""
    side = 128 if given.quick else 640
    torch.manual_seed(0)
    net = nets.anchor_free(32, inputs=(3, side, side), outputs=10).eval()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(1, 3, side, side).to(memory_format=torch.channels_last)
    both = nets.symmetrized(net, ["flip_horizontal"]).eval()
    forms: dict[str, Any] = {"as it is": net, "mean of two mirror images": both}
    if not given.quick:
        forms |= {"compiled": torch.compile(net), "mean of two, compiled": torch.compile(both)}
    rows, best = [], float("inf")
    for name, form in forms.items():
        times = []
        with torch.no_grad():
            for _ in range(12):
                start = time.perf_counter()
                form(x)
                times.append(1000 * (time.perf_counter() - start))
        rows.append(row(f"one picture of {side}², {name}", Spread.of(times[2:]), "ms"))
        if "mean" not in name:
            best = min(best, float(np.median(times[2:])))
    return rows, [target(f"one picture of {side}²: ≤ 150 ms", f"{best:.0f} ms", best <= 150)], []


def _some(data: Any, given: argparse.Namespace) -> Any:
    """A few examples of each part where the script is only tried."""
    if not given.quick:
        return data
    rows = [np.flatnonzero(data.part == part)[:24] for part in np.unique(data.part)]
    return data.select(np.sort(np.concatenate(rows)))


def _said(given: argparse.Namespace) -> str:
    return "epochs as hubel chooses them" if given.epochs is None else f"{given.epochs} epochs"


def _recipe(given: argparse.Namespace, seed: int) -> hubel.Recipe:
    return hubel.Recipe(epochs=1 if given.quick else given.epochs, seed=seed)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=None, help="default: as many as hubel chooses")


if __name__ == "__main__":
    main()
