"""A training step of Faster R-CNN, ours beside torchvision's, on one body and pyramid; and one picture through both.

    python benchmarks/faster_rcnn_step.py --peers-python PEERS/bin/python

The interpreter needs torchvision and what hubel depends on; both sides run in it, one after the other, with the same torch. The body, the pyramid, the anchors, the
numbers of anchors and regions judged, of proposals and of nodes are the same; pictures, boxes and the optimizer (AdamW) too. What differs is each one's own:
heads, assignment, proposals, regions, losses.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from importlib.metadata import version
from typing import Any

from protocol import HERE, Compared, Machine, Spread, Worker, arguments, clock, row, serve, target, write

CLASSES, WIDTH, STRIDES, HIDDEN, PROPOSALS = 10, 32, (8, 16), 256, 100
ANCHORS, REGIONS = 128, 64  # judged of every picture
OBJECTS = 5  # of every picture
SIDES, SHAPES = (24.0, 48.0), (0.5, 1.0, 2.0)


def main() -> None:
    given = arguments(__doc__, extra=options)
    machine = Machine()
    steps = (
        {"batch": 2, "size": 64, "repeats": 1} if given.quick else {"batch": 16, "size": 128, "repeats": 10}
    )
    python = sys.executable if given.quick else given.peers_python
    sides = ("hubel",) if given.quick else ("hubel", "torchvision")
    if python is None:
        raise SystemExit("--peers-python is missing: an interpreter with torchvision")
    seconds: dict[str, dict[str, list[float]]] = {side: {"step": [], "picture": []} for side in sides}
    weights: dict[str, int] = {}
    with Worker([python, str(HERE / "faster_rcnn_step.py"), "--worker"], threads=given.threads) as worker:
        for side in sides:
            weights[side] = worker.ask("prepare", side=side, batch=steps["batch"], size=steps["size"])[
                "weights"
            ]
        for _ in range(1 if given.quick else given.pairs):
            for side in sides:
                for what, found in seconds[side].items():
                    found.append(
                        worker.ask("timed", side=side, what=what, repeats=steps["repeats"])["seconds"]
                    )
        versions = worker.ask("versions")
    rows, targets = [], []
    for what, text in (("step", "a training step"), ("picture", "one picture")):
        ours = seconds["hubel"][what]
        rows.append(
            row(
                f"{text}, hubel",
                Spread.of([1e3 * s for s in ours]),
                "ms",
                note=f"{weights['hubel']:,} weights",
            )
        )
        if not given.quick:
            pair = Compared(ours, seconds["torchvision"][what])
            values = Spread.of([1e3 * s for s in pair.theirs])
            rows.append(
                row(
                    f"{text}, torchvision",
                    values,
                    "ms",
                    ratio=pair.ratio,
                    note=f"{weights['torchvision']:,} weights",
                )
            )
            ratio = pair.ratio
            if what == "step":
                shown = f"{ratio.median:.2f} of its time [{ratio.low:.2f}–{ratio.high:.2f}]"
                targets.append(
                    target("a training step at least as fast as torchvision's", shown, ratio.median <= 1)
                )
    result = {
        "id": "Faster R-CNN",
        "title": "Faster R-CNN beside torchvision's",
        "work": f"batches of {steps['batch']} pictures of {steps['size']}², {OBJECTS} objects each, {PROPOSALS} proposals; median of {steps['repeats']} "
        "steps in every pair",
        "machine": machine.as_json(given.threads),
        "versions": versions,
        "rows": rows,
        "targets": targets,
        "notes": ["Both in one process, float32, the same torch."],
    }
    write("faster_rcnn_step", result, given)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)


PREPARED: dict[str, dict[str, Any]] = {}


def prepare(side: str, batch: int, size: int) -> dict[str, Any]:
    """The network of one side, and what it learns from."""
    import torch

    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(batch, 1, size, size, generator=generator)
    corners = torch.rand(batch, OBJECTS, 2, generator=generator) * (size / 2)
    boxes = torch.cat(
        [corners, corners + size / 8 + torch.rand(batch, OBJECTS, 2, generator=generator) * (size / 4)], 2
    )
    classes = torch.randint(CLASSES, (batch, OBJECTS), generator=generator)
    torch.manual_seed(0)
    make = {"hubel": of_hubel, "torchvision": of_torchvision}[side]
    net, loss, picture = make(pictures, boxes, classes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def step() -> None:
        net.train()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    def one() -> None:
        net.eval()
        with torch.no_grad():
            picture()

    PREPARED[side] = {"step": step, "picture": one}
    return {"weights": sum(p.numel() for p in net.parameters())}


def of_hubel(pictures: Any, boxes: Any, classes: Any) -> tuple[Any, Any, Any]:
    import torch

    from hubel.core.types import Batch
    from hubel.objectives import FasterRCNNDetection

    objective = FasterRCNNDetection(CLASSES, anchors_judged=ANCHORS, regions_judged=REGIONS)
    targets = torch.cat([boxes, classes[..., None].float(), torch.zeros(*classes.shape, 1)], 2)
    net = our_network(pictures)
    batch = Batch(inputs=pictures, targets=targets)
    return net, lambda: objective(net, batch).total, lambda: objective.read(net(pictures[:1]))


def our_network(pictures: Any) -> Any:
    from hubel.nets import faster_rcnn

    sizes = [(side / shape**0.5, side * shape**0.5) for side in SIDES for shape in SHAPES]
    return faster_rcnn(
        WIDTH,
        strides=STRIDES,
        anchors=sizes,
        hidden=HIDDEN,
        proposals=PROPOSALS,
        inputs=pictures.shape[1:],
        outputs=CLASSES,
    )


def of_torchvision(pictures: Any, boxes: Any, classes: Any) -> tuple[Any, Any, Any]:
    import torch
    from torch import nn
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    own = our_network(pictures)
    channels = 2 * WIDTH

    class Body(nn.Module):
        """Our body and pyramid."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.pyramid, self.out_channels = own.body, own.pyramid, channels

        def forward(self, x: Any) -> dict[str, Any]:
            return {str(k): found for k, found in enumerate(self.pyramid(self.body(x)))}

    size = pictures.shape[-1]
    net = FasterRCNN(
        Body(),
        rpn_anchor_generator=AnchorGenerator(tuple((int(side),) for side in SIDES), (SHAPES,) * len(SIDES)),
        box_roi_pool=MultiScaleRoIAlign([str(k) for k in range(len(STRIDES))], 7, 2),
        box_head=TwoMLPHead(channels * 49, HIDDEN),
        box_predictor=FastRCNNPredictor(HIDDEN, CLASSES + 1),
        min_size=size,
        max_size=size,
        image_mean=[0.0],
        image_std=[1.0],
        rpn_pre_nms_top_n_train=4 * PROPOSALS,
        rpn_pre_nms_top_n_test=4 * PROPOSALS,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
        rpn_batch_size_per_image=ANCHORS,
        box_batch_size_per_image=REGIONS,
    )
    truth = [{"boxes": b, "labels": c + 1} for b, c in zip(boxes, classes, strict=True)]
    given = list(pictures)
    return net, lambda: torch.stack(list(net(given, truth).values())).sum(), lambda: net(given[:1])


def timed(side: str, what: str, repeats: int) -> dict[str, Any]:
    """The median seconds of so many, after one that is not counted."""
    run = PREPARED[side][what]
    run()
    found = []
    for _ in range(repeats):
        begin = clock()
        run()
        found.append(clock() - begin)
    return {"seconds": statistics.median(found)}


def versions() -> dict[str, Any]:
    import contextlib
    from importlib.metadata import PackageNotFoundError

    found = {}
    for name in ("hubel", "torch", "torchvision"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"prepare": prepare, "timed": timed, "versions": versions})
    else:
        main()
