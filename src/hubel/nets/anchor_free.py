"""The default detector: one box at every place of one or two maps, without anchors.

    body      convolutions that halve the sides; a residual block at each stride (or the convolutional part of a classifier)
    pyramid   the finer map is given what the coarser sees
    towers    one for the K classes, one for the four distances from a place to the sides of its box; the same for all strides

The distances are stride · softplus(s_l a), where a is what the tower says and s_l a number learned for each stride. What is asked of it is
`hubel.objectives.AnchorFreeDetection`.

Sources: Z. Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, doi:10.1109/ICCV.2019.00972 (a box at every place,
shared towers, one factor a stride); without its centre-ness, for which the score answers here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nets.backbones import body_of, description_of
from hubel.nets.detector_parts import (
    Pyramid,
    Tower,
    at_least_single,
    cells,
    check_strides,
    in_rows,
    initial_score,
)
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs


def anchor_free(
    width: int = 32,
    *,
    strides: Sequence[int] = (8, 16),
    channels: int | None = None,
    depth: int = 1,
    backbone: Mapping[str, Any] | nn.Module | None = None,
    inputs: Sequence[int] = (3, 128, 128),
    outputs: int = 1,
) -> AnchorFree:
    """A detector without anchors. Input [N, C, H, W], output candidates [N, R, 8 + outputs]: the square of the place, its box, and K raw scores.

    `width` are the channels at stride 4, `channels` those of pyramid and towers (2 · `width` unless given), `depth` the convolutions of a
    tower. `backbone` is another network of `hubel.nets`, of which a copy takes the place of the body, with its weights
    (see `hubel.nets.backbones`).
    Other sizes of pictures are accepted.

    >>> net = anchor_free(16, inputs=(1, 64, 96), outputs=3).eval()
    >>> net(torch.zeros(2, 1, 64, 96)).shape  # 8 · 12 + 4 · 6 places
    torch.Size([2, 120, 11])

    Raises `ValueError` for sizes that are not positive, pictures smaller than the greatest stride, and strides that a backbone has not.
    """
    steps = check_strides(strides, "anchor_free")
    shape = image_shape(inputs, smallest=steps[-1], net="anchor_free")
    channels = 2 * int(width) if channels is None else int(channels)
    if min(int(width), channels, int(depth) + 1) < 1:
        raise ValueError(
            f"anchor_free: width and channels must be positive, depth not negative; received width={width}, channels={channels}, depth={depth}"
        )
    net = AnchorFree(
        body_of(backbone, int(width), shape, steps, units_from=2),
        channels,
        int(depth),
        shape,
        num_outputs(outputs, "anchor_free"),
    )
    given = {
        "width": int(width),
        "strides": steps,
        "channels": channels,
        "depth": int(depth),
        "backbone": description_of(backbone),
    }
    return made(net, "anchor_free", inputs=shape, outputs=int(outputs), **given)


class AnchorFree(Net):
    """See `anchor_free`."""

    def __init__(
        self, body: nn.Module, channels: int, depth: int, inputs: tuple[int, int, int], outputs: int
    ):
        super().__init__()
        self.inputs = inputs
        self.body = body
        self.strides: tuple[int, ...] = body.strides  # type: ignore[assignment]
        self.candidate_strides = self.strides
        self.pyramid = Pyramid(body.channels, channels)  # type: ignore[arg-type]
        self.classes = Tower(channels, outputs, depth=depth, bias=initial_score())
        self.sides = Tower(channels, 4, depth=depth, bias=1.0)
        self.factors = nn.Parameter(torch.ones(len(self.strides)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the towers read: [N, channels, ⌈H/s⌉, ⌈W/s⌉] of each stride."""
        check_images(x, self.inputs, "anchor_free", smallest=self.strides[-1])
        return self.pyramid(self.body(x))

    def features(self, x: Tensor) -> Tensor:
        """What the towers read, averaged over places: [N, strides · channels]."""
        return torch.cat([found.mean(dim=(2, 3)) for found in self.maps(x)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Candidates [N, R, 8 + K]."""
        rows = []
        for stride, factor, seen in zip(self.strides, self.factors, self.maps(x), strict=True):
            scores, said = (at_least_single(in_rows(tower(seen))) for tower in (self.classes, self.sides))
            squares = cells(seen.shape[2], seen.shape[3], stride, scores)
            far = stride * F.softplus(factor * said)
            centre = (squares[:, :2] + squares[:, 2:]) / 2
            boxes = torch.cat([centre - far[:, :, :2], centre + far[:, :, 2:]], dim=2)
            rows.append(torch.cat([squares.expand_as(boxes), boxes, scores], dim=2))
        return torch.cat(rows, dim=1)
