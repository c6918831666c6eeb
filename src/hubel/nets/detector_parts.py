"""What dense detectors share: a body that answers maps of several strides, a pyramid over them, and towers of convolutions.

Sources: T.-Y. Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, doi:10.1109/CVPR.2017.106 (pyramid); T.-Y. Lin et al.,
"Focal Loss for Dense Object Detection", ICCV 2017, doi:10.1109/ICCV.2017.324, section 4.1 (initial scores).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OF_OBJECTS = ("anchor_free", "faster_rcnn", "yolo", "yolo_v3")
"""Detectors, which answer candidates [N, R, 8 + K]."""
PRIOR = 0.01  # the score of a class before training, so that the many places without an object do not drown the others
MOST_CHANNELS = 256


class ConvNormAct(nn.Module):
    """A convolution without bias, batch norm, SiLU: [N, C, H, W] → [N, channels, ⌈H / stride⌉, ⌈W / stride⌉]."""

    def __init__(self, in_channels: int, channels: int, *, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Activation of norm of convolution."""
        return F.silu(self.norm(self.conv(x)))


class ResidualUnit(nn.Module):
    """x + two 3×3 convolutions of x: the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.one, self.two = ConvNormAct(channels, channels), ConvNormAct(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.two(self.one(x))


class Body(nn.Module):
    """A residual network whose stages halve the sides: the maps of `strides` (powers of 2 from 2 on), of `channels` each. A residual unit
    stands in every stage from the stride `units_from` on.

    >>> body = Body(1, 16, (4, 8))
    >>> body.channels, [list(found.shape) for found in body(torch.zeros(2, 1, 20, 30))]
    ((16, 32), [[2, 16, 5, 8], [2, 32, 3, 4]])
    """

    def __init__(self, in_channels: int, width: int, strides: Sequence[int], *, units_from: int = 4):
        super().__init__()
        self.strides = tuple(strides)
        stages = int(math.log2(self.strides[-1]))
        widths = [max(8, width // 2), *(min(width * 2**k, MOST_CHANNELS) for k in range(stages - 1))]
        befores = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(before, after, stride=2),
                *([ResidualUnit(after)] if 2 ** (k + 1) >= units_from else []),
            )
            for k, (before, after) in enumerate(zip(befores, widths, strict=True))
        )
        self.channels = tuple(widths[int(math.log2(stride)) - 1] for stride in self.strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map of each stride, [N, C_s, ⌈H/s⌉, ⌈W/s⌉]."""
        found = []
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if 2 ** (k + 1) in self.strides:
                found.append(x)
        return found


class Pyramid(nn.Module):
    """Maps of `in_channels` from fine to coarse, each brought to `channels` and given what the coarser ones see.

    >>> maps = [torch.zeros(1, 16, 10, 12), torch.zeros(1, 32, 5, 6)]
    >>> [list(found.shape) for found in Pyramid((16, 32), 24)(maps)]
    [[1, 24, 10, 12], [1, 24, 5, 6]]
    """

    def __init__(self, in_channels: Sequence[int], channels: int):
        super().__init__()
        self.across = nn.ModuleList(ConvNormAct(c, channels, kernel=1) for c in in_channels)
        self.smooth = nn.ModuleList(ConvNormAct(channels, channels) for _ in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """As many maps, of the same sides."""
        found: list[Tensor] = []
        for across, x in zip(reversed(self.across), reversed(maps), strict=True):
            here = across(x)
            if found:
                here = here + F.interpolate(found[0], size=here.shape[2:], mode="nearest")
            found.insert(0, here)
        return [smooth(x) for smooth, x in zip(self.smooth, found, strict=True)]


class Tower(nn.Module):
    """3×3 convolutions, and at the end one that answers `outputs` numbers at every place."""

    def __init__(self, channels: int, outputs: int, *, depth: int = 1, bias: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(*(ConvNormAct(channels, channels) for _ in range(depth)))
        self.last = nn.Conv2d(channels, outputs, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, outputs, h, w]."""
        return self.last(self.body(x))


def initial_score(probability: float = PRIOR) -> float:
    """The raw score whose sigmoid is this probability.

    >>> round(initial_score(0.01), 3)
    -4.595
    """
    return -math.log(1 / probability - 1)


def cells(height: int, width: int, stride: int, like: Tensor) -> Tensor:
    """The squares of `stride` pixels of a map of these sides, row by row: [h · w, 4] as (x0, y0, x1, y1) in pixels.

    >>> cells(1, 2, 8, torch.zeros(1)).tolist()
    [[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0]]
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=torch.float32),
        torch.arange(width, device=like.device, dtype=torch.float32),
        indexing="ij",
    )
    corner = torch.stack([x, y], dim=-1).reshape(-1, 2) * stride
    return torch.cat([corner, corner + stride], dim=1)


def in_rows(x: Tensor) -> Tensor:
    """Answers at places [N, A, h, w] as rows [N, h · w, A]."""
    return x.flatten(2).transpose(1, 2)


def at_least_single(x: Tensor) -> Tensor:
    """Answers in single precision where they are in a lower one: boxes in pixels need it."""
    return x.float() if x.dtype.itemsize < 4 else x


def check_strides(strides: Sequence[int], net: str) -> tuple[int, ...]:
    """`strides` as powers of two from 2 on, each twice the one before or more.

    Raises `ValueError` for others.
    """
    found = tuple(int(stride) for stride in strides)
    good = found and all(s >= 2 and s & (s - 1) == 0 for s in found)
    if not good or any(b <= a for a, b in itertools.pairwise(found)):
        raise ValueError(
            f"{net}: strides are {list(strides)}; expected powers of two from 2 on, in rising order"
        )
    return found
