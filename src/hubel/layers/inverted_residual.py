"""Inverted residual blocks: widen by a 1×1 convolution, filter each channel alone, narrow again.

A depthwise-separable convolution (k·k weights a channel, then 1×1 over channels) costs about k² times less
than a full one. The shortcut joins the narrow ends, where the widths and sizes are equal.

Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018
(arXiv:1801.04381), figure 3 and table 1. Names of parameters are those of the published
EfficientNet-PyTorch checkpoints (`_expand_conv`, `_bn0`, …).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution whose output is ⌈size/stride⌉, padded as TensorFlow does: the odd pixel after, not before.

    >>> import torch
    >>> SameConv2d(3, 8, 3, stride=2, bias=False)(torch.zeros(1, 3, 7, 8)).shape
    torch.Size([1, 8, 4, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] → [N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        down, right = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[2:])
        if down % 2 or right % 2:
            input = F.pad(input, (right // 2, right - right // 2, down // 2, down - down // 2))
            return F.conv2d(input, self.weight, self.bias, self.stride, 0, 1, self.groups)
        return F.conv2d(input, self.weight, self.bias, self.stride, (down // 2, right // 2), 1, self.groups)


class InvertedResidual(nn.Module):
    """1×1 to `expansion`·C channels, depthwise k×k, 1×1 to `channels`; ReLU6 after the first two, none after the last.

    >>> import torch
    >>> InvertedResidual(8, 16, kernel=5, stride=2, expansion=6)(torch.zeros(1, 8, 9, 9)).shape
    torch.Size([1, 16, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        stride: int,
        expansion: int,
        keep_statistics: bool = False,
    ):
        super().__init__()
        wide = in_channels * expansion
        self.residual = stride == 1 and in_channels == channels
        self._expand_conv = nn.Conv2d(in_channels, wide, 1, bias=False) if expansion != 1 else None
        self._bn0 = batch_norm(wide, keep_statistics) if expansion != 1 else None
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = batch_norm(wide, keep_statistics)
        self._project_conv = nn.Conv2d(wide, channels, 1, bias=False)
        self._bn2 = batch_norm(channels, keep_statistics)

    def forward(self, x: Tensor) -> Tensor:
        """F(x), plus x where the shape is kept."""
        out = x
        if self._expand_conv is not None and self._bn0 is not None:
            out = F.relu6(self._bn0(self._expand_conv(out)), inplace=self.training)
        out = F.relu6(self._bn1(self._depthwise_conv(out)), inplace=self.training)
        out = self._bn2(self._project_conv(out))
        return out + x if self.residual else out


def batch_norm(channels: int, keep_statistics: bool = False) -> nn.BatchNorm2d:
    """Batch norm with the constants of the EfficientNet papers: ε 1e-3, running statistics over 1 % a step (or none: `KeptBatchNorm2d`)."""
    kind = KeptBatchNorm2d if keep_statistics else nn.BatchNorm2d
    return kind(channels, eps=1e-3, momentum=0.01)


class KeptBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its stored mean and variance in training too, and leaves them as they are; gain and bias learn.

    For fine-tuning published weights on few examples: the mean and variance of a small batch are noise, and a few hundred steps move
    the running ones half-way, to where neither the old weights nor the new ones want them.

    >>> import torch
    >>> norm, x = KeptBatchNorm2d(3).train(), torch.randn(4, 3, 2, 2) + 5
    >>> torch.allclose(norm(x), x, atol=1e-4), norm.running_mean.tolist()
    (True, [0.0, 0.0, 0.0])
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W], the same shape."""
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )
