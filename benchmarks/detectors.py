"""All detectors on the same scenes: average precision, proposals, seconds of fitting and of one picture, from the sliding window to the default.

    python benchmarks/detectors.py --threads 1 --clock processor [--scenes 1600] [--few 300] [--only yolo r-cnn]
    python benchmarks/detectors.py --threads 1 --clock processor --only yolo faster_rcnn --epochs 60

The networks (`anchor_free`, `yolo`, `yolo_v3`, `faster_rcnn`, and Fast R-CNN on selective search) are fitted to `--scenes` pictures. Those that
cut out every proposal (the classifier at sliding windows, at the proposals of selective search, and R-CNN) share one classifier of crops and are fitted to
`--few`. All are scored on the same test part. Seconds of a picture include its proposals. What is measured with another number of epochs than the
usual one stands in rows of its own. What each kind of error costs (TIDE) tells why two differ.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from protocol import RESULTS, Machine, Spread, arguments, clock, row, say, target, write
from torch import Tensor

import hubel
from hubel import detection, metrics, nets, objectives
from hubel.core.types import Batch
from hubel.data import Dataset, anchors_of
from hubel.fitting import AdamW, Backprop, OneCycle, Progress, steps

CROP = (32, 32)
AT_ONCE = 16
NETWORKS = ("anchor_free", "yolo", "yolo_v3", "faster_rcnn")
WITH_CROPS = ("windows", "selective-search", "r-cnn")
EVERY = (*WITH_CROPS, "fast-r-cnn", *NETWORKS)
EPOCHS = 20


def entering(pictures: np.ndarray, like: np.ndarray) -> Tensor:
    """Pictures with the mean and spread of `like` taken off, as all of the detectors below see them."""
    known = like.astype(np.float32)
    return (torch.from_numpy(np.array(pictures)).float() - float(known.mean())) / float(known.std())


def fitted(net: torch.nn.Module, question: Any, batches: Iterator[Batch], total: int, rate: float) -> float:
    """Seconds of `total` steps."""
    cycle, began = OneCycle(), clock()
    rule = Backprop(AdamW(learning_rate=rate, weight_decay=0.02).build(net))
    for _ in steps(
        net, question, batches, rule=rule, schedule=lambda s: cycle.factor(Progress(step=s, total=total))
    ):
        pass
    net.eval()
    return clock() - began


def shuffled(inputs: Tensor, targets: Tensor, size: int, epochs: int, *, flips: bool) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for rows in order[: len(order) // size * size].split(size):
            x, y = inputs[rows], targets[rows]
            if flips:
                turned = (torch.rand(len(rows), generator=generator) < 0.5)[:, None, None]
                x = torch.where(turned[..., None], x.flip(-1), x)
                mirrored = y.clone()
                mirrored[..., 0], mirrored[..., 2] = x.shape[-1] - y[..., 2], x.shape[-1] - y[..., 0]
                y = torch.where(turned & (y[..., 4:5] >= 0), mirrored, y)
            yield Batch(inputs=x, targets=y, ids=rows)


def answered(ask: Callable[[Tensor], Tensor], pictures: Tensor) -> tuple[Tensor, float]:
    """Candidates of all, and seconds a picture."""
    began = clock()
    with torch.no_grad():
        found = torch.cat([ask(part) for part in pictures.split(AT_ONCE)])
    return found, (clock() - began) / len(pictures)


def compare(data: Dataset, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each detector that is asked for."""
    assert data.part is not None and data.classes is not None
    scenes, few, epochs, only = given.scenes, given.few, given.epochs, given.only or EVERY
    train, test = (data.select(np.flatnonzero(data.part == part)) for part in ("train", "test"))
    train, test = (
        train.select(np.arange(min(scenes, len(train)))),
        test.select(np.arange(min(given.tests, len(test)))),
    )
    num, truth = len(data.classes), np.asarray(test.targets)
    x, y = entering(train.inputs, train.inputs), torch.from_numpy(np.asarray(train.targets))
    fresh = entering(test.inputs, train.inputs)
    read = objectives.FasterRCNNDetection(num)
    sizes = anchors_of(np.asarray(train.targets), 6).sizes

    def score(
        name: str, found: Tensor, fit: float, seconds: float, proposals: float | None
    ) -> dict[str, Any]:
        answer, objects = read.read(found), truth[: len(found)]
        scores = read.metrics(answer, objects)
        half, coco = scores["AP50[all-point]"], scores["AP[coco]"]
        errors = metrics.error_breakdown(
            metrics.predictions_of(answer.values), metrics.truths_of(objects), rule=metrics.all_point
        )
        asked = "" if proposals is None else f"{proposals:.0f} proposals; "
        fitted_to = few if name in WITH_CROPS else len(train)
        costs = ", ".join(f"{kind} {gain:.3f}" for kind, gain in errors.gains.items())
        note = (
            f"AP[coco] {coco.value:.3f}; {asked}{seconds:.3g} s a picture; {fit:.0f} s of fitting to {fitted_to} pictures; "
            f"AP50 that each kind of error costs: {costs}"
        )
        if name in NETWORKS and epochs != EPOCHS:
            name = f"{name}, {epochs} epochs"
        say(f"{name}: AP50 {half.value:.3f}; {note}")
        more = {
            "interval": [half.low, half.high],
            "coco": coco.value,
            "proposals": proposals,
            "fit": fit,
            "picture": seconds,
            "costs": dict(errors.gains),
            "counts": dict(errors.counts),
        }
        return row(name, Spread.of([half.value]), "AP50[all-point]", note=note, pictures=len(found), **more)

    chosen: dict[str, dict[str, Any]] = {
        "anchor_free": {},
        "yolo": {"grid": 8},
        "yolo_v3": {"strides": (8, 16), "anchors": sizes},
        "faster_rcnn": {"strides": (8, 16), "anchors": sizes},
    }
    for name in (name for name in NETWORKS if name in only):
        torch.manual_seed(0)
        net = getattr(nets, name)(32, **chosen[name], inputs=train.shape, outputs=num)
        question = {
            "anchor_free": objectives.AnchorFreeDetection,
            "yolo": objectives.YOLODetection,
            "yolo_v3": objectives.YOLOv3Detection,
            "faster_rcnn": objectives.FasterRCNNDetection,
        }[name](num)
        total = epochs * (len(x) // min(32, len(x)))
        seconds = fitted(net, question, shuffled(x, y, min(32, len(x)), epochs, flips=True), total, 2e-3)
        found, each = answered(net, fresh)
        yield score(name, found, seconds, each, net.proposals if name == "faster_rcnn" else None)

    search = detection.SelectiveSearch()
    if "fast-r-cnn" in only:
        proposals = detection.propose_all(x, search, objects=y.numpy())
        torch.manual_seed(0)
        net = nets.faster_rcnn(32, **chosen["faster_rcnn"], inputs=train.shape, outputs=num)
        began = clock()
        for _ in detection.fit_fast_rcnn(net, x, y.numpy(), proposals, read, epochs=epochs, batch_size=32):
            pass
        seconds = clock() - began
        fast = detection.FastRCNN(net, search)
        found, each = answered(lambda part: fast.candidates(part, detection.propose_all(part, search)), fresh)
        yield score("fast-r-cnn", found, seconds, each, np.mean([len(p) for p in proposals]).item())
    if any(name in only for name in WITH_CROPS):
        small = Dataset(inputs=x[:few].numpy(), targets=y[:few].numpy(), classes=data.classes, name="scenes")
        proposals = detection.propose_all(x[:few], search, objects=y[:few].numpy())
        crops = detection.labelled_crops(small, proposals, CROP)
        torch.manual_seed(0)
        classifier = nets.compact(16, inputs=(train.shape[0], *CROP), outputs=num + 1)
        inputs, targets = torch.from_numpy(crops.inputs), torch.from_numpy(crops.targets)
        size = min(64, len(inputs))
        batches = shuffled(inputs, targets, size, 6, flips=False)
        base = fitted(classifier, objectives.CrossEntropy(num + 1), batches, 6 * (len(inputs) // size), 2e-3)
        mean = np.mean([len(p) for p in proposals]).item()
        if "windows" in only:
            windows = detection.SlidingWindow(sizes, 0.25)
            oldest = detection.WindowDetector(classifier, windows, CROP)
            found, each = answered(oldest.candidates, fresh[: given.window_tests])
            yield score("windows", found, base, each, len(windows(x[0].numpy())))
        if "selective-search" in only:
            found, each = answered(detection.WindowDetector(classifier, search, CROP).candidates, fresh)
            yield score("selective-search", found, base, each, mean)
        if "r-cnn" in only:
            began = clock()
            rcnn = detection.fit_rcnn(classifier, x[:few], y[:few].numpy(), search, CROP, num_classes=num)
            seconds = base + clock() - began
            found, each = answered(rcnn.candidates, fresh)
            yield score("r-cnn", found, seconds, each, mean)


def kept() -> dict[str, dict[str, Any]]:
    """What was measured before, by the name of the detector."""
    path = RESULTS / "detectors.json"
    return {one["name"]: one for one in json.loads(path.read_text("utf-8"))["rows"]} if path.exists() else {}


def place(one: dict[str, Any]) -> tuple[int, str]:
    """Where a row stands in the table."""
    name, _, _ = one["name"].partition(",")
    return EVERY.index(name), one["name"]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="fashion-scenes")
    parser.add_argument("--scenes", type=int, default=1_600)
    parser.add_argument(
        "--few", type=int, default=300, help="of them for those that cut out proposals (default 300)"
    )
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument(
        "--window-tests", type=int, default=50, help="of them for the classifier at all windows (default 50)"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the networks (default {EPOCHS})")


def main() -> None:
    given = arguments(__doc__, extra=options)
    if given.quick:  # data that need no download
        given.data, given.scenes, given.few, given.tests, given.epochs = "light-echoes", 8, 4, 2, 1
        given.only = given.only or [name for name in EVERY if name != "windows"]  # 45,000 crops a picture
    torch.set_num_threads(given.threads)
    machine = Machine()
    rows = {} if given.quick else kept()
    rows |= {one["name"]: one for one in compare(hubel.data.load(given.data), given)}
    written = {
        "id": "detectors",
        "title": "Detectors, from the sliding window to the default",
        "work": f"{given.data}: {given.scenes} pictures, {EPOCHS} epochs of the networks where no others are named; those that cut out proposals learn from {given.few}. "
        f"Average precision on {given.tests} test pictures ({given.window_tests} for windows)",
        "machine": machine.as_json(given.threads),
        "versions": {"hubel": version("hubel"), "torch": torch.__version__},
        "rows": sorted(rows.values(), key=place),
        "targets": [] if given.quick else targets(rows),
        "notes": [
            "The same mirrored pictures, steps, AdamW and one cycle of the learning rate for all networks, nothing searched."
        ],
    }
    write("detectors", written, given)


def targets(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if not {"yolo", "faster_rcnn"} <= rows.keys():
        return []
    ours, theirs = (rows[name]["value"]["median"] for name in ("faster_rcnn", "yolo"))
    return [
        target(
            "Faster R-CNN and YOLO within 5 points of AP50",
            f"{ours:.3f} and {theirs:.3f}",
            abs(ours - theirs) <= 0.05,
        )
    ]


if __name__ == "__main__":
    main()
