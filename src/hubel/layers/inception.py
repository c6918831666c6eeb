"""Inception modules: several filter sizes look at the same maps side by side, and their answers are stacked.

1×1 convolutions before the larger filters make them cheap: they compress C channels to few, mixing channels only.

Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), figure 2b; batch norm after every
convolution as in S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015 (arXiv:1502.03167). Names of parameters are torchvision's.

Where we differ from figure 2b, so that published weights fit: torchvision's port has filters of 3×3 where the paper has 5×5
(its issue 906).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubel.layers.relu import relu


class ConvNormReLU(nn.Module):
    """relu(batch norm(convolution without bias)), with the ε 1e-3 of the Inception networks.

    [N, C, H, W] → [N, channels, H', W'].

    >>> ConvNormReLU(3, 8, (1, 7), padding=(0, 3))(torch.zeros(2, 3, 9, 9)).shape
    torch.Size([2, 8, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """No value is negative."""
        return relu(self.bn(self.conv(x)), training=self.training)


class Inception(nn.Module):
    """1×1, 1×1 → 3×3, 1×1 → 3×3, and 3×3 max-pool → 1×1, side by side; the size of the maps is kept.

    `widths` are the columns of the paper's table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj.
    [N, C, H, W] → [N, #1×1 + #3×3 + #5×5 + pool proj, H, W].

    >>> Inception(192, (64, 96, 128, 16, 32, 32))(torch.zeros(2, 192, 4, 4)).shape
    torch.Size([2, 256, 4, 4])
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        direct, reduce3, wide3, reduce5, wide5, pooled = widths
        self.branch1 = ConvNormReLU(in_channels, direct, 1)
        self.branch2 = nn.Sequential(
            ConvNormReLU(in_channels, reduce3, 1), ConvNormReLU(reduce3, wide3, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            ConvNormReLU(in_channels, reduce5, 1), ConvNormReLU(reduce5, wide5, 3, padding=1)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNormReLU(in_channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The four answers, stacked as channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)
