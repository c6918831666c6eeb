"""Dense blocks: every layer reads all maps made before it in the block, and adds a few of its own.

    x ← [x, F(x)],  F = conv 3×3 · relu · norm · conv 1×1 · relu · norm

F makes `growth` maps through a bottleneck of four times as many. Between blocks a transition halves the number of
maps and the sides.

Source: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks", CVPR 2017
(arXiv:1608.06993), section 3 ("DenseNet-BC"). Names of parameters are torchvision's.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu

BOTTLENECK = 4


class DenseLayer(nn.Module):
    """F of the formula above: [N, C, H, W] → [N, growth, H, W].

    >>> DenseLayer(8, 4)(torch.zeros(2, 8, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """

    def __init__(self, in_channels: int, growth: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The new maps alone."""
        out = self.conv1(relu(self.norm1(x), training=self.training))
        return self.conv2(relu(self.norm2(out), training=self.training))


class DenseBlock(nn.Sequential):
    """`layers` dense layers, each reading all before it: [N, C, H, W] → [N, C + layers·growth, H, W].

    >>> DenseBlock(8, layers=3, growth=4)(torch.zeros(2, 8, 5, 5)).shape
    torch.Size([2, 20, 5, 5])
    """

    def __init__(self, in_channels: int, *, layers: int, growth: int):
        widths = range(in_channels, in_channels + layers * growth, growth)
        named = ((f"denselayer{i}", DenseLayer(width, growth)) for i, width in enumerate(widths, start=1))
        super().__init__(OrderedDict(named))

    def forward(self, input: Tensor) -> Tensor:
        """The input's maps, then those of every layer in turn."""
        for layer in self:
            input = torch.cat([input, layer(input)], dim=1)
        return input


class Transition(nn.Module):
    """Norm, relu, 1×1 convolution, 2×2 average: [N, C, H, W] → [N, channels, ⌊H/2⌋, ⌊W/2⌋].

    The average is taken before the convolution: both are linear and act on other axes, so that the result is the
    same, with a quarter of the multiplications.

    >>> Transition(20, 10)(torch.zeros(2, 20, 5, 5)).shape
    torch.Size([2, 10, 2, 2])
    """

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Half the sides."""
        return self.conv(F.avg_pool2d(relu(self.norm(x), training=self.training), 2))
