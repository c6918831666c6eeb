"""Residual blocks: y = relu(F(x) + shortcut(x)), so that a layer has to learn only the difference from identity.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016
(arXiv:1512.03385), figures 2 and 5. Names of parameters are torchvision's (`conv1`, `bn1`, …,
`downsample.0`), so that published weights fit.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, each with batch norm; figure 5, left.

    `shortcut` None is the identity. [N, C, H, W] → [N, channels, ⌈H/stride⌉, ⌈W/stride⌉].

    >>> import torch
    >>> BasicBlock(8, 8)(torch.zeros(1, 8, 5, 5)).shape
    torch.Size([1, 8, 5, 5])
    """

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))."""
        out = relu(self.bn1(self.conv1(x)), training=self.training)
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(out.add_(shortcut) if self.training else out + shortcut, training=self.training)


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions, the middle ones four times narrower than the output; figure 5, right.

    The stride stands in the 3×3 convolution, as in Goyal et al. 2017 (arXiv:1706.02677) and in torchvision
    ("ResNet v1.5"); the paper has it in the first 1×1.
    [N, C, H, W] → [N, 4·channels, ⌈H/stride⌉, ⌈W/stride⌉].

    >>> import torch
    >>> Bottleneck(32, 8)(torch.zeros(1, 32, 5, 5)).shape
    torch.Size([1, 32, 5, 5])
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x)) with F of three convolutions."""
        out = relu(self.bn1(self.conv1(x)), training=self.training)
        out = relu(self.bn2(self.conv2(out)), training=self.training)
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(out.add_(shortcut) if self.training else out + shortcut, training=self.training)


class NoShortcut(nn.Module):
    """In the place of a shortcut: nothing is added, and the block is two plain layers, y = relu(F(x)).

    For comparison: what residual learning is worth is seen against the same layers without it (section 4.1 of the paper).

    >>> import torch
    >>> NoShortcut()(torch.ones(1, 2, 4, 4))
    tensor(0.)
    """

    def forward(self, x: Tensor) -> Tensor:
        """A zero of the type of x."""
        return x.new_zeros(())


class PaddedShortcut(nn.Module):
    """The parameter-free shortcut between widths ("option A"): every second pixel, new channels zero.

    [N, C, H, W] → [N, out_channels, ⌈H/2⌉, ⌈W/2⌉]; the first C channels are the input's.

    >>> import torch
    >>> PaddedShortcut(3)(torch.ones(1, 2, 4, 4)).sum(dim=(0, 2, 3))
    tensor([4., 4., 0.])
    """

    def __init__(self, out_channels: int, *, stride: int = 2):
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample, then pad the channels with zeros."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))
