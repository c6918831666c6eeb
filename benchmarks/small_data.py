"""Small data: the default of `hubel.fit` on a few hundred pictures, beside the best of scikit-learn and the best possible.

    python benchmarks/small_data.py [--parts made crowns] [--seeds 0 1 2 3 4]

made    600 made pictures of stars, galaxies and pairs: 4 channels, 16 bits, low signal-to-noise (made_sources.py). The accuracy of the best
        possible classifier is known. 4,000 others are the test.
crowns  400 aerial photographs of 64 pixels, 200 with a tree crown in the middle and 200 without one (crown_patches.py); the patches of
        another picture are the test, both ways. Skipped, with the reason, where the pictures are not installed.

Ours is `hubel.fit(x, y)` with the true symmetries declared, and nothing else: it keeps 15 % of the examples for validation, which the
baselines may learn from. A seed draws other training examples. Differences are paired: resampled over seeds and test examples together.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import crown_patches
import made_sources
import numpy as np
import torch
from protocol import RESULTS, Machine, Spread, arguments, row, say, target, write
from small_data_baselines import fitted, on_features, on_pixels, versions

import hubel
from hubel import nets

OURS = "hubel, default"
CENTRE = 20  # pixels of a made picture that the baselines see: no source reaches farther


@dataclass
class Scored:
    """Right (1) or wrong (0) on every test example, a row a seed: [S, M]; the seconds that ours took."""

    right: dict[str, list[np.ndarray]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def add(self, name: str, right: np.ndarray) -> None:
        """One more seed of `name`."""
        self.right.setdefault(name, []).append(right.astype(np.float64))
        say(f"  {name}: {right.mean():.3%}")

    def best(self) -> str:
        """The baseline with the highest accuracy on the test, which favours it."""
        return max((name for name in self.right if name != OURS), key=lambda name: np.mean(self.right[name]))

    def difference(self, other: str) -> tuple[float, float, float]:
        """Ours less `other`, with a 95 % interval: 2,000 resamplings of seeds and test examples."""
        delta = np.stack(self.right[OURS]) - np.stack(self.right[other])
        rng = np.random.default_rng(0)
        seeds, examples = delta.shape
        means = np.empty(2000)
        for k in range(len(means)):
            weights = np.bincount(rng.integers(examples, size=examples), minlength=examples)
            means[k] = (delta[rng.integers(seeds, size=seeds)].mean(axis=0) @ weights) / examples
        low, high = np.quantile(means, [0.025, 0.975])
        return float(delta.mean()), float(low), float(high)

    def rows(self, unit: str) -> list[dict[str, Any]]:
        """Accuracy of each over the seeds, best first, and the paired difference."""
        lines = []
        for name in sorted(self.right, key=lambda name: -np.mean(self.right[name])):
            accuracies = [100 * float(seed.mean()) for seed in self.right[name]]
            note = f"mean {np.mean(accuracies):.2f}"
            if name != OURS:
                middle, low, high = (100 * v for v in self.difference(name))
                note += f"; ours {middle:+.1f} points [{low:+.1f}, {high:+.1f}]"
            else:
                note += f"; {Spread.of(self.seconds).median:.0f} s a fit"
            lines.append(row(name, Spread.of(accuracies), unit, note=note))
        return lines


def main() -> None:
    given = arguments(__doc__, extra=_options)
    given.seeds = given.seeds or ([0] if given.quick else list(range(5)))
    torch.set_num_threads(given.threads)
    machine = Machine()
    rows, targets, notes = kept(given)
    for part in given.parts:
        found = PARTS[part](given)
        for into, more in zip((rows, targets, notes), found, strict=True):
            into.extend(more)
    result = {
        "id": "small data",
        "title": "A few hundred pictures",
        "work": "accuracy on pictures that were not fitted to, in per cent; each seed draws other training examples",
        "machine": machine.as_json(given.threads),
        "versions": {name: version(name) for name in ("hubel", "torch", "scikit-learn", "numpy")},
        "rows": rows,
        "targets": targets,
        "notes": notes,
    }
    write("small_data", result, given)


def kept(given: argparse.Namespace) -> tuple[list[Any], list[Any], list[str]]:
    """What was measured before of the parts that are not measured now."""
    stored = RESULTS / "small_data.json"
    if given.quick or not stored.exists():
        return [], [], []
    before = json.loads(stored.read_text())
    old = [part for part in PARTS if part not in given.parts]
    rows = [row for row in before["rows"] if row["name"].partition(":")[0] in old]
    targets = [target for target in before["targets"] if target["target"].partition(":")[0] in old]
    return rows, targets, [note for note in before["notes"] if note.partition(":")[0] in old]


def made(given: argparse.Namespace) -> tuple[list[Any], list[Any], list[str]]:
    """The made set."""
    sky = SMALL_SKY if given.quick else made_sources.Sky()
    few, many = (60, 50) if given.quick else (600, 4000)
    test_x, test_y = made_sources.make(many, 10_000, sky)
    posterior = made_sources.posterior(test_x, sky)
    best, error = made_sources.best_accuracy(posterior)
    say(
        f"made: best possible {best:.2%} ± {error:.2%}, on these {many}: {(posterior.argmax(1) == test_y).mean():.2%}"
    )
    scored = Scored()
    bayes = (posterior.argmax(1) == test_y).astype(np.float64)
    for seed in given.seeds:
        x, y = made_sources.make(few, seed, sky)
        scored.add(OURS, _ours(x, y, test_x, made_sources.SYMMETRIES, seed, scored, given) == test_y)
        if not given.no_baselines:
            train = _flat(versions(_centre(x)))
            for name, answer, settings in fitted(
                _few(on_pixels(seed), given), train, y, _flat(_centre(test_x)[None])[0]
            ):
                scored.add(f"{name}, pixels", answer == test_y)
                say(f"    {settings}")
    gap = [100 * (best - float(seed.mean())) for seed in scored.right[OURS]]
    rows = [
        row(
            "made: best possible",
            Spread.of([100 * best]),
            "%",
            note=f"± {100 * error:.2f} (Monte-Carlo); on this test set {100 * bayes.mean():.2f}",
        )
    ]
    rows += [{**line, "name": f"made: {line['name']}"} for line in scored.rows("%")]
    # paired with the best possible answers on the same pictures, so that the luck of the test set falls out
    scored.right["best possible"] = [bayes] * len(scored.right[OURS])
    middle, low, high = (-100 * v for v in scored.difference("best possible"))
    del scored.right["best possible"]
    within = f"{middle:.1f} points below on the same pictures [{high:.1f}, {low:.1f}]; {np.mean(gap):.1f} below {100 * best:.1f} %"
    targets = [target("made: within 3 points of the possible", within, middle <= 3.0)]
    return (
        rows,
        targets + _beats("made", scored),
        [
            "made: the best possible classifier knows how the pictures were made: exact sums over all positions, shapes and brightnesses."
        ],
    )


def crowns(given: argparse.Namespace) -> tuple[list[Any], list[Any], list[str]]:
    """The photographs."""
    try:
        both = {name: crown_patches.patches(name) for name in crown_patches.PICTURES}
    except FileNotFoundError as error:
        say(f"crowns: skipped: {error}")
        return [], [], [f"crowns: skipped: {error}"]
    few = 8 if given.quick else 200
    if given.quick:
        both = {name: whole.take(whole.rows_of_few(12, 0)) for name, whole in both.items()}
    features = {} if given.no_baselines else {name: _features(whole.inputs) for name, whole in both.items()}
    scored = Scored()
    for seed in given.seeds:
        right: dict[str, list[np.ndarray]] = {}
        for learned, asked in (("meadow", "forest"), ("forest", "meadow")):
            rows = both[learned].rows_of_few(few, seed)
            train, test = both[learned].take(rows), both[asked]
            answer = _ours(
                train.inputs, train.targets, test.inputs, crown_patches.SYMMETRIES, seed, scored, given
            )
            right.setdefault(OURS, []).append(answer == test.targets)
            say(f"  {learned} to {asked}: ours {right[OURS][-1].mean():.3%}")
            if given.no_baselines:
                continue
            kinds = [
                (
                    "pixels",
                    on_pixels(seed),
                    _flat(versions(_first(train.inputs))),
                    _flat(_first(test.inputs)[None])[0],
                ),
                ("weights' features", on_features(seed), features[learned][:, rows], features[asked][0]),
            ]
            for kind, baselines, known, unknown in kinds:
                for name, answer, _ in fitted(_few(baselines, given), known, train.targets, unknown):
                    right.setdefault(f"{name}, {kind}", []).append(answer == test.targets)
                    say(f"    {name}, {kind}: {right[f'{name}, {kind}'][-1].mean():.3%}")
        for name, halves in right.items():
            scored.add(name, np.concatenate(halves))
    rows = [{**line, "name": f"crowns: {line['name']}"} for line in scored.rows("%")]
    both_ways = "crowns: meadow to forest (502 patches) and forest to meadow (1,106) are pooled."
    return (
        rows,
        _beats("crowns", scored),
        [both_ways, "crowns: " + (crown_patches.__doc__ or "").split("\n\n")[1].replace("\n", " ")],
    )


def _ours(
    x: np.ndarray,
    y: np.ndarray,
    test: np.ndarray,
    symmetries: tuple[str, ...],
    seed: int,
    scored: Scored,
    given: argparse.Namespace,
) -> np.ndarray:
    """Class numbers [M] of `test`, by the default fit to `x, y`; the test pictures are not shown to the fit."""
    quick = {"epochs": 1} if given.quick else {}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = hubel.fit(
            x,
            y,
            options={"symmetries": symmetries},
            recipe=hubel.Recipe(seed=seed, **quick),
            test=0,
            out=Path(folder) / "run",
            quiet=True,
        )
        scored.seconds.append(time.perf_counter() - start)
        if seed == given.seeds[0]:
            say(f"  {run.about['net']['name']}, {run.recipe}")
        return run.predict(test).values


def _beats(part: str, scored: Scored) -> list[dict[str, Any]]:
    """Whether ours is above the best baseline by more than the interval."""
    if len(scored.right) < 2:
        return []
    best = scored.best()
    middle, low, high = (100 * v for v in scored.difference(best))
    measured = f"{middle:+.1f} points [{low:+.1f}, {high:+.1f}] over {best} ({100 * np.mean(scored.right[best]):.1f} %)"
    return [target(f"{part}: beats every baseline outside the interval", measured, low > 0)]


def _features(inputs: np.ndarray) -> np.ndarray:
    """What the last layer of Lite0 with ImageNet weights reads, for all versions [8, N, F] of photographs [N, H, W, 3]."""
    net = nets.efficientnet_lite0(weights="imagenet").eval()
    out = []
    with torch.no_grad():
        for turned in versions(_first(inputs)):
            batches = torch.from_numpy(np.ascontiguousarray(turned)).split(64)
            out.append(torch.cat([net.features((b.float() - 127.5) / 127.5) for b in batches]).numpy())
    return np.stack(out)


def _first(inputs: np.ndarray) -> np.ndarray:
    """Channels before rows and columns."""
    return np.moveaxis(inputs, 3, 1)


def _flat(pictures: np.ndarray) -> np.ndarray:
    """[V, N, C, H, W] as float32 rows [V, N, C*H*W]."""
    return np.ascontiguousarray(pictures, dtype=np.float32).reshape(*pictures.shape[:2], -1)


def _centre(pictures: np.ndarray) -> np.ndarray:
    """The middle of made pictures, each channel less its median over the whole picture: the sky."""
    values = pictures.astype(np.float32)
    values -= np.median(values, axis=(2, 3), keepdims=True)
    side = min(CENTRE, values.shape[-1])
    edge = (values.shape[-1] - side) // 2
    return values[:, :, edge : edge + side, edge : edge + side]


def _few(baselines: list[Any], given: argparse.Namespace) -> list[Any]:
    return [b for b in baselines if b.name == "nearest neighbours"] if given.quick else baselines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument(
        "--seeds", nargs="*", type=int, default=None, help="default: 0 to 4; 0 in the quick form"
    )
    parser.add_argument("--no-baselines", action="store_true", help="only ours")


SMALL_SKY = made_sources.Sky(side=16, offsets=(-1.0, 0.0, 1.0), num_angles=4, brightness=(1000.0, 3000.0))
PARTS = {"made": made, "crowns": crowns}


if __name__ == "__main__":
    main()
