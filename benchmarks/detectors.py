"""All detectors on the same scenes: average precision, proposals, seconds of fitting and of one picture, from the sliding window to the default.

    python benchmarks/detectors.py [--scenes 1600] [--few 300] [--epochs 20] [--data fashion-scenes] [--only yolo r-cnn]

The networks (`anchor_free`, `yolo`, `yolo_v3`, `faster_rcnn`, and Fast R-CNN on selective search) are fitted to `--scenes` pictures. Those that
cut out every proposal (the classifier at sliding windows, at the proposals of selective search, and R-CNN) share one classifier of crops and are fitted to
`--few`. All are scored on the same test part. Seconds are processor time of this process with one thread; those of a picture include its proposals.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import hubel
from hubel import detection, nets, objectives
from hubel.core.types import Batch
from hubel.data import Dataset, anchors_of
from hubel.fitting import AdamW, Backprop, OneCycle, Progress, steps

CROP = (32, 32)
WINDOW_PICTURES = 50  # of the test part, for the classifier at all windows
AT_ONCE = 16
NETWORKS = ("anchor_free", "yolo", "yolo_v3", "faster_rcnn")
WITH_CROPS = ("windows", "selective-search", "r-cnn")


def entering(pictures: np.ndarray, like: np.ndarray) -> Tensor:
    """Pictures with the mean and spread of `like` taken off, as all of the detectors below see them."""
    known = like.astype(np.float32)
    return (torch.from_numpy(np.array(pictures)).float() - float(known.mean())) / float(known.std())


def fitted(net: torch.nn.Module, question: Any, batches: Iterator[Batch], total: int, rate: float) -> float:
    """Seconds of processor time of `total` steps."""
    cycle, began = OneCycle(), time.process_time()
    rule = Backprop(AdamW(learning_rate=rate, weight_decay=0.02).build(net))
    for _ in steps(
        net, question, batches, rule=rule, schedule=lambda s: cycle.factor(Progress(step=s, total=total))
    ):
        pass
    net.eval()
    return time.process_time() - began


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
    began = time.process_time()
    with torch.no_grad():
        found = torch.cat([ask(part) for part in pictures.split(AT_ONCE)])
    return found, (time.process_time() - began) / len(pictures)


def compare(data: Dataset, scenes: int, few: int, epochs: int, only: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each detector."""
    assert data.part is not None and data.classes is not None
    train, test = (data.select(np.flatnonzero(data.part == part)) for part in ("train", "test"))
    train = train.select(np.arange(min(scenes, len(train))))
    num, truth = len(data.classes), np.asarray(test.targets)
    x, y = entering(train.inputs, train.inputs), torch.from_numpy(np.asarray(train.targets))
    fresh = entering(test.inputs, train.inputs)
    read = objectives.FasterRCNNDetection(num)
    sizes = anchors_of(np.asarray(train.targets), 6).sizes
    rows: list[dict[str, Any]] = []

    def score(
        name: str, found: Tensor, pictures: int, fit: float, seconds: float, proposals: float | None
    ) -> None:
        scores = read.metrics(read.read(found), truth[:pictures])
        row = {name_: round(scores[name_].value, 4) for name_ in ("AP50[all-point]", "AP[coco]")}
        rows.append(
            {
                "detector": name,
                **row,
                "proposals": proposals,
                "fit": round(fit, 1),
                "picture": round(seconds, 4),
            }
        )
        print(json.dumps(rows[-1]), flush=True)

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
        score(name, found, len(fresh), seconds, each, net.proposals if name == "faster_rcnn" else None)

    search = detection.SelectiveSearch()
    if "fast-r-cnn" in only:
        proposals = detection.propose_all(x, search, objects=y.numpy())
        torch.manual_seed(0)
        net = nets.faster_rcnn(32, **chosen["faster_rcnn"], inputs=train.shape, outputs=num)
        began = time.process_time()
        for _ in detection.fit_fast_rcnn(net, x, y.numpy(), proposals, read, epochs=epochs, batch_size=32):
            pass
        seconds = time.process_time() - began
        fast = detection.FastRCNN(net, search)
        found, each = answered(lambda part: fast.candidates(part, detection.propose_all(part, search)), fresh)
        score("fast-r-cnn", found, len(fresh), seconds, each, np.mean([len(p) for p in proposals]).item())
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
            found, each = answered(oldest.candidates, fresh[:WINDOW_PICTURES])
            score("windows", found, len(found), base, each, len(windows(x[0].numpy())))
        if "selective-search" in only:
            found, each = answered(detection.WindowDetector(classifier, search, CROP).candidates, fresh)
            score("selective-search", found, len(fresh), base, each, mean)
        if "r-cnn" in only:
            began = time.process_time()
            rcnn = detection.fit_rcnn(classifier, x[:few], y[:few].numpy(), search, CROP, num_classes=num)
            seconds = base + time.process_time() - began
            found, each = answered(rcnn.candidates, fresh)
            score("r-cnn", found, len(fresh), seconds, each, mean)
    return rows


def main() -> None:
    every = (*WITH_CROPS, "fast-r-cnn", *NETWORKS)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="fashion-scenes")
    parser.add_argument("--scenes", type=int, default=1_600)
    parser.add_argument("--few", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--out", type=Path, help="a file for the rows as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = compare(hubel.data.load(given.data), given.scenes, given.few, given.epochs, tuple(given.only))
    if given.out is not None:
        given.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
