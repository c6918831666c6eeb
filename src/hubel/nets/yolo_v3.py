"""YOLO with anchors: at every place of maps of several strides some boxes of known sizes, which are moved and stretched.

    box         centre = corner of the place + stride · sigmoid(t_xy);  size = anchor · exp(t_wh)
    score       C · p_k, C = sigmoid(t_C) that there is an object, p = softmax over the K classes

A body, a pyramid over its maps, and a head for each stride. Anchors are best found among the training boxes
(`hubel.data.anchors_of`); the smaller a stride, the smaller are its anchors. With `attention` the places of the coarsest map look at each other
before the pyramid is built, by one transformer block. What is asked of it is `hubel.objectives.YOLOv3Detection`.

Sources: J. Redmon, A. Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767; attention over the places of a map: X. Wang et al., "Non-local
Neural Networks", CVPR 2018 (arXiv:1711.07971). We differ: our body and pyramid take the place of Darknet-53 and its head, and classes share one
softmax, as every object has one class (published: a sigmoid each). The attention is our plain choice: detectors for light echoes
are described with attention, but we know of no published layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.boxes import LARGEST_LOG_SIZE
from hubel.core.sureness import raw_scores
from hubel.layers.transformer_block import TransformerBlock
from hubel.nets.anchor_parts import Sizes, anchors_of_places, dealt_out
from hubel.nets.backbones import body_of, description_of
from hubel.nets.detector_parts import (
    Pyramid,
    Tower,
    at_least_single,
    check_strides,
    in_rows,
    initial_score,
)
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

PUBLISHED = (
    (10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326),
)  # fmt: skip
PUBLISHED_SIDE = 416  # pixels of the pictures in which they were found
PER_BOX = 5  # two of the centre, two of the size, one of the confidence
MOST_HEADS = 4


def yolo_v3(
    width: int = 32,
    *,
    anchors: Sequence[Sequence[float]] | None = None,
    strides: Sequence[int] = (8, 16, 32),
    channels: int | None = None,
    depth: int = 1,
    attention: bool = False,
    backbone: Mapping[str, Any] | nn.Module | None = None,
    inputs: Sequence[int] = (3, 416, 416),
    outputs: int = 1,
) -> YOLOv3:
    """YOLO with anchors. Input [N, C, H, W], output candidates [N, R, 8 + outputs]: the anchor, its box, and K raw scores.

    `anchors` are sizes (width, height) in pixels, as many for every stride, the smallest for the finest; unless given the nine published ones in
    the proportion of the pictures (with other numbers of strides than three: of those evenly spread). `width` are the channels at stride 4, `channels` those of the pyramid (2 · `width`
    unless given), `depth` the convolutions of a head, `attention` lets the places of the coarsest map look at each other. `backbone` is
    another network of `hubel.nets`, of which a copy takes the place of the body, with its weights (see `hubel.nets.backbones`). Other sizes of pictures are accepted.

    >>> net = yolo_v3(16, anchors=[(8, 8), (16, 16), (30, 20), (50, 60)], strides=(8, 16), inputs=(1, 64, 96), outputs=3).eval()
    >>> net(torch.zeros(2, 1, 64, 96)).shape  # 2 · (8 · 12 + 4 · 6) anchors
    torch.Size([2, 240, 11])

    Raises `ValueError` for sizes that are not positive, pictures smaller than the greatest stride, strides that a backbone has not, and
    anchors that can not be dealt out to the strides.
    """
    steps = check_strides(strides, "yolo_v3")
    shape = image_shape(inputs, smallest=steps[-1], net="yolo_v3")
    channels = 2 * int(width) if channels is None else int(channels)
    if min(int(width), channels, int(depth) + 1) < 1:
        raise ValueError(
            f"yolo_v3: width and channels must be positive, depth not negative; received width={width}, channels={channels}, depth={depth}"
        )
    sizes = dealt_out(
        _published(len(steps), min(shape[1:])) if anchors is None else anchors, len(steps), "yolo_v3"
    )
    body = body_of(backbone, int(width), shape, steps)
    net = YOLOv3(body, sizes, channels, int(depth), bool(attention), shape, num_outputs(outputs, "yolo_v3"))
    given = {
        "width": int(width),
        "anchors": [list(size) for of_stride in sizes for size in of_stride],
        "strides": steps,
        "channels": channels,
        "depth": int(depth),
        "attention": bool(attention),
        "backbone": description_of(backbone),
    }
    return made(net, "yolo_v3", inputs=shape, outputs=int(outputs), **given)


class YOLOv3(Net):
    """See `yolo_v3`."""

    def __init__(
        self,
        body: nn.Module,
        anchors: tuple[Sizes, ...],
        channels: int,
        depth: int,
        attention: bool,
        inputs: tuple[int, int, int],
        outputs: int,
    ):
        super().__init__()
        self.inputs = inputs
        self.body = body
        self.strides: tuple[int, ...] = body.strides  # type: ignore[assignment]
        self.each, self.anchors = len(anchors[0]), anchors
        widths: tuple[int, ...] = body.channels  # type: ignore[assignment]
        self.attention = PlacesLook(widths[-1]) if attention else nn.Identity()
        self.pyramid = Pyramid(widths, channels)
        self.heads = nn.ModuleList(
            Tower(channels, self.each * (PER_BOX + outputs), depth=depth) for _ in self.strides
        )
        for head in self.heads:
            assert isinstance(head, Tower)
            assert head.last.bias is not None
            with torch.no_grad():
                head.last.bias.view(self.each, -1)[:, PER_BOX - 1] = initial_score()

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the heads read: [N, channels, ⌈H/s⌉, ⌈W/s⌉] of each stride."""
        check_images(x, self.inputs, "yolo_v3", smallest=self.strides[-1])
        *finer, coarsest = self.body(x)
        return self.pyramid([*finer, self.attention(coarsest)])

    def features(self, x: Tensor) -> Tensor:
        """What the heads read, averaged over places: [N, strides · channels]."""
        return torch.cat([found.mean(dim=(2, 3)) for found in self.maps(x)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Candidates [N, R, 8 + K]."""
        rows = []
        for stride, sizes, head, seen in zip(
            self.strides, self.anchors, self.heads, self.maps(x), strict=True
        ):
            said = at_least_single(in_rows(head(seen))).unflatten(2, (self.each, -1))  # [N, h · w, A, 5 + K]
            anchors = anchors_of_places(seen.shape[2], seen.shape[3], stride, sizes, said).expand(
                len(x), -1, -1, 4
            )
            middle, unit = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
            centre = middle + stride * (said[..., :2].sigmoid() - 0.5)
            half = unit * said[..., 2:4].clamp(max=LARGEST_LOG_SIZE).exp() / 2
            scores = raw_scores(F.logsigmoid(said[..., 4]), F.log_softmax(said[..., PER_BOX:], dim=3))
            found = torch.cat([anchors, centre - half, centre + half, scores], dim=3)
            rows.append(found.flatten(1, 2))
        return torch.cat(rows, dim=1)


class PlacesLook(nn.Module):
    """The places of a map look at each other, by a transformer block: [N, C, h, w] of the same shape.

    >>> PlacesLook(16)(torch.zeros(2, 16, 3, 5)).shape
    torch.Size([2, 16, 3, 5])
    """

    def __init__(self, channels: int):
        super().__init__()
        self.block = TransformerBlock(channels, math.gcd(channels, MOST_HEADS), feedforward=2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """The map, changed by what the other places show."""
        return self.block(in_rows(x)).transpose(1, 2).unflatten(2, x.shape[2:])


def _published(num_strides: int, side: int) -> tuple[tuple[float, float], ...]:
    """The published anchors in the proportion of pictures of `side` pixels; as many for each stride as can be."""
    each = max(1, len(PUBLISHED) // num_strides)
    places = np.linspace(0, len(PUBLISHED) - 1, each * num_strides).round().astype(int).tolist()
    return tuple(
        (PUBLISHED[k][0] * side / PUBLISHED_SIDE, PUBLISHED[k][1] * side / PUBLISHED_SIDE) for k in places
    )
