"""YOLO as published: the picture is cut into S × S cells, and the cell in which the centre of an object lies has to find it.

    each cell   B boxes, of each: x, y (of its centre, within the cell), √w, √h (of the sides of the picture), confidence C
                one set of class probabilities p_k, shared by its B boxes
    score       C · p_k

The whole is one pass through one network, whence the name: you only look once. What is asked of it is `hubel.objectives.YOLODetection`. As the
cell has one set of class probabilities, of two objects whose centres lie in one cell one is lost
(`hubel.objectives.lost_to_shared_cells` counts them).

Source: J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You Only Look Once: Unified, Real-Time Object Detection", CVPR 2016
(arXiv:1506.02640), section 2. We differ: the answers pass a sigmoid, those for the classes a softmax, so that scores are probabilities
(published: a linear last layer); our body has batch norm (published: dropout); convolutions answer for the cells unless `hidden` asks for the
published two fully connected layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.sureness import raw_scores
from hubel.nets.backbones import body_of, description_of
from hubel.nets.detector_parts import Tower, at_least_single, in_rows
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

SMALLEST = 16  # pixels a side
PER_BOX = 5  # x, y, √w, √h, confidence
SLOPE, DROPPED = 0.1, 0.5  # of the leaky ReLU and of the dropout between the fully connected layers


def yolo(
    width: int = 32,
    *,
    grid: int = 7,
    boxes: int = 2,
    depth: int = 2,
    hidden: int | None = None,
    backbone: Mapping[str, Any] | nn.Module | None = None,
    inputs: Sequence[int] = (3, 448, 448),
    outputs: int = 1,
) -> YOLO:
    """YOLO of 2016. Input [N, C, H, W], output candidates [N, grid² · boxes, 8 + outputs]: the cell, a box, and K raw scores.

    `grid` is S, `boxes` B. The body reduces the picture to at least S × S places, which are averaged to S × S; `width` are its channels at stride
    4, `depth` the convolutions after it. With `hidden` two fully connected layers, the first of so many nodes (4,096 as published), take the place
    of these convolutions; pictures then have the size of `inputs`, and else any. `backbone` is another network of
    `hubel.nets`, of which a copy takes the place of the body, with its weights (see `hubel.nets.backbones`).

    >>> net = yolo(16, grid=4, inputs=(1, 64, 96), outputs=3).eval()
    >>> net(torch.zeros(2, 1, 64, 96)).shape
    torch.Size([2, 32, 11])

    Raises `ValueError` for sizes that are not positive and pictures smaller than 16 pixels or twice the grid.
    """
    shape = image_shape(inputs, smallest=max(SMALLEST, 2 * int(grid)), net="yolo")
    sizes = {"width": width, "grid": grid, "boxes": boxes, "hidden": 1 if hidden is None else hidden}
    if min(sizes.values()) < 1 or depth < 0:
        raise ValueError(
            f"yolo: width, grid, boxes and hidden must be positive, depth not negative; received width={width}, grid={grid}, boxes={boxes}, "
            f"hidden={hidden}, depth={depth}"
        )
    stride = 2 ** int(math.log2(min(shape[1:]) // int(grid)))
    body = body_of(backbone, int(width), shape, (stride,))
    net = YOLO(
        body, int(grid), int(boxes), int(depth), hidden and int(hidden), shape, num_outputs(outputs, "yolo")
    )
    given = {
        "width": int(width),
        "grid": int(grid),
        "boxes": int(boxes),
        "depth": int(depth),
        "hidden": hidden,
    }
    return made(net, "yolo", inputs=shape, outputs=int(outputs), backbone=description_of(backbone), **given)


class YOLO(Net):
    """See `yolo`."""

    def __init__(
        self,
        body: nn.Module,
        grid: int,
        boxes: int,
        depth: int,
        hidden: int | None,
        inputs: tuple[int, int, int],
        outputs: int,
    ):
        super().__init__()
        self.inputs, self.grid, self.boxes = inputs, grid, boxes
        self.fixed = hidden is not None
        self.body = body
        channels: int = body.channels[-1]  # type: ignore[index, assignment]
        answers = PER_BOX * boxes + outputs
        if hidden is None:
            self.head: nn.Module = Tower(channels, answers, depth=depth)
        else:
            self.head = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels * grid**2, hidden),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(DROPPED),
                nn.Linear(hidden, answers * grid**2),
                nn.Unflatten(1, (answers, grid, grid)),
            )

    def cells_seen(self, x: Tensor) -> Tensor:
        """What the last layers read: [N, C, S, S]."""
        smallest = None if self.fixed else max(SMALLEST, 2 * self.grid)
        check_images(x, self.inputs, "yolo", smallest=smallest)
        return F.adaptive_avg_pool2d(self.body(x)[-1], self.grid)

    def features(self, x: Tensor) -> Tensor:
        """What the last layers read, averaged over cells: [N, C]."""
        return self.cells_seen(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Candidates [N, S² · B, 8 + K]."""
        answers = at_least_single(in_rows(self.head(self.cells_seen(x))))  # [N, S², 5 B + K]
        height, width = x.shape[2:]
        per_box, classes = answers.split(
            [PER_BOX * self.boxes, answers.shape[2] - PER_BOX * self.boxes], dim=2
        )
        per_box = per_box.unflatten(2, (self.boxes, PER_BOX))
        size = answers.new_tensor([width, height])
        cell = size / self.grid
        steps = torch.arange(self.grid, device=x.device, dtype=torch.float32)
        row, column = torch.meshgrid(steps, steps, indexing="ij")
        corner = torch.stack([column, row], dim=2).reshape(-1, 1, 2) * cell  # [S², 1, 2]
        squares = torch.cat([corner, corner + cell], dim=2).expand(len(x), -1, self.boxes, 4)
        centre = corner + per_box[..., :2].sigmoid() * cell
        half = per_box[..., 2:4].sigmoid().square() * size / 2
        scores = raw_scores(F.logsigmoid(per_box[..., 4]), F.log_softmax(classes, dim=2).unsqueeze(2))
        return torch.cat([squares, centre - half, centre + half, scores], dim=3).flatten(1, 2)
