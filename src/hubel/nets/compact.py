"""The default network for small pictures: the best accuracy per second that we found on 28-64 pixel data.

    stem: conv (C → 16) at full resolution, norm, act; conv 3×3 (16 → w), pool 2×2, norm, act
    then: [residual block, pool 2×2, conv 3×3 to twice the width (at most 4w), norm, act] until about 3×3 is left, residual block
    head: maximum over positions, linear without bias, raw scores divided by 9

A residual block is x + act(norm(conv(act(norm(conv x))))). Pooling stands *before* the widening convolution, which is then four
times cheaper and as accurate. 3×3 filters begin as the identity on the first channels (Dirac), the last layer with weights of unit
variance; both, the division by 9, and the maximum at the end are those of Jordan's airbench (2024, arXiv:2404.00498).
Pictures above 40 pixels are first reduced by the stride of the stem.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

STEM = 16
SCALE = 1 / 9
LEFT = 3.5  # pixels a side, about, where pooling ends


def compact(width: int = 32, *, inputs: Sequence[int] = (1, 28, 28), outputs: int = 10) -> Compact:
    """A small residual network of `width`, 2 `width` and 4 `width` channels. Input [N, C, H, W], output raw scores [N, outputs].

    >>> net = compact(16, inputs=(3, 32, 32), outputs=10)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])

    Raises `ValueError` for pictures smaller than 4×4 pixels or a width that is not a positive multiple of 8.
    """
    shape = image_shape(inputs, smallest=4, net="compact")
    if width < 8 or width % 8:
        raise ValueError(f"compact: width must be a positive multiple of 8; received {width}")
    net = Compact(width, shape, num_outputs(outputs, "compact"))
    return made(net, "compact", width=int(width), inputs=shape, outputs=int(outputs))


class Compact(Net):
    """See `compact`."""

    def __init__(self, width: int, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        side = min(inputs[1:])
        stride = 1 if side <= 40 else 2 if side <= 80 else 4
        kernel = {1: 4, 2: 6, 4: 8}[stride]
        self.stem = ConvNorm(
            inputs[0], STEM, kernel=kernel, stride=stride, padding=kernel // 2 - (stride == 1)
        )
        num_pools = max(1, round(math.log2(max(side / stride, 1) / LEFT)))
        widths = [min(width * 2**stage, 4 * width) for stage in range(num_pools)]
        self.first = ConvNorm(STEM, widths[0])
        self.widen = nn.ModuleList(ConvNorm(a, b) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(Residual(w) for w in widths)
        self.head = nn.Linear(widths[-1], outputs, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std().clamp_min(1e-6))

    def features(self, x: Tensor) -> Tensor:
        """The maximum of every channel over positions: [N, F]."""
        check_images(x, self.inputs, "compact")
        x = F.relu(self.stem(x))
        x = F.relu(self.first.norm(F.max_pool2d(self.first.conv(x), 2)))
        x = self.blocks[0](x)
        for widen, block in zip(self.widen, self.blocks[1:], strict=True):  # type: ignore[arg-type]
            x = block(F.relu(widen(F.max_pool2d(x, 2))))
        return x.amax(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.head(self.features(x)) * SCALE


class ConvNorm(nn.Module):
    """A convolution without bias, and a batch norm; 3×3 filters begin as the identity."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        if kernel == 3:
            with torch.no_grad():
                nn.init.dirac_(self.conv.weight[: min(inputs, outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """Norm of conv."""
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """x + act(norm(conv(act(norm(conv x)))))."""

    def __init__(self, width: int):
        super().__init__()
        self.one = ConvNorm(width, width)
        self.two = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return x + F.relu(self.two(F.relu(self.one(x))))
