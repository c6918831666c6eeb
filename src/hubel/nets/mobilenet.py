"""MobileNetV2: inverted residual blocks with linear bottlenecks, for telephones and machines without a GPU.

conv 3×3 of 32 and stride 2, seventeen inverted residual blocks (table 2), 1×1 of 1280, average over positions,
dropout 0.2, linear. `width` multiplies all numbers of channels (section 4, "width multiplier"); they are rounded to
multiples of 8, and the 1280 never shrinks. State-dict names and padding are torchvision's.

Where we differ from torchvision: convolutions begin He normal by fan-in (theirs by fan-out, which starts depthwise
filters about √C too small).

Parameters at 1000 outputs: width 1 3,504,872 · 0.5 1,968,680 · 1.4 6,108,776.

Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (arXiv:1801.04381).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

# expansion, channels out, blocks, stride of the first
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
REDUCTIONS = Reductions(
    "mobilenet_v2", *(Reduction(f"features.{number}", 3, 2, 1) for number in (0, 2, 4, 7, 14))
)
IMAGENET = Source(
    title="MobileNetV2 on ImageNet-1k, with torchvision's names and preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
)


def mobilenet_v2(
    width: float = 1.0,
    *,
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    weights: str | Path | None = None,
    download: bool = False,
) -> MobileNetV2:
    """MobileNetV2 with `width` times the channels. Input [N, C, H, W], output [N, outputs].

    Other sizes from 17×17 on are accepted. `weights` is a file with torchvision's names (.safetensors, .pth), see
    `hubel.nets.weights.load_published`; the images it expects are described in `net.published`.

    >>> sum(p.numel() for p in mobilenet_v2().parameters())
    3504872

    Raises `ValueError` for a width that is not positive, for images of which a layer gets too few positions, and
    for weights that do not fit.
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(
            f"mobilenet_v2: width must be a positive number, usually 0.35 to 1.4; received {width!r}"
        )
    shape = REDUCTIONS.shape(inputs)
    net = MobileNetV2(float(width), shape, num_outputs(outputs, "mobilenet_v2"))
    made(net, "mobilenet_v2", width=float(width), inputs=shape, outputs=int(outputs))
    if weights is not None:
        load_published(net, weights, IMAGENET, first="features.0.0", head="classifier.1", download=download)
    return net


class MobileNetV2(Net):
    """See `mobilenet_v2`."""

    def __init__(self, width: float, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        trunk = Trunk(width, inputs)
        self.features = trunk  # type: ignore[method-assign]
        self.classifier = nn.Sequential(Dropout(0.2), nn.Linear(trunk.channels, outputs))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    @property
    def features(self) -> Trunk:  # type: ignore[override]
        """The module from [N, C, H, W] to [N, F], F = 1280 or more; it has this name in published files."""
        return cast(Trunk, self._modules["features"])

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.classifier(self.features(x))


class Trunk(nn.Sequential):
    """All but the dropout and the last layer."""

    def __init__(self, width: float, inputs: tuple[int, int, int]):
        before = _rounded(32 * width)
        layers: list[nn.Module] = [ConvNorm(inputs[0], before, 3, stride=2)]
        for expansion, channels, blocks, stride in STAGES:
            after = _rounded(channels * width)
            for index in range(blocks):
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(before, after, stride=step, expansion=expansion))
                before = after
        last = _rounded(1280 * max(1.0, width))
        super().__init__(*layers, ConvNorm(before, last, 1))
        self.inputs, self.channels = inputs, last

    def forward(self, input: Tensor) -> Tensor:
        """The channels of the last convolution, averaged over positions: [N, F]."""
        REDUCTIONS.check(input, self.inputs)
        for layer in self:
            input = layer(input)
        return input.mean(dim=(2, 3))


class InvertedResidual(nn.Module):
    """The block of `hubel.layers.inverted_residual`, with the names, symmetric padding and batch norms of torchvision's files."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, expansion: int):
        super().__init__()
        wide = in_channels * expansion
        self.residual = stride == 1 and in_channels == channels
        widen = [ConvNorm(in_channels, wide, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *widen,
            ConvNorm(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """F(x), plus x where the shape is kept."""
        out = self.conv(x)
        return out + x if self.residual else out


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch norm, ReLU6."""

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1):
        conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(channels))

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] → [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        conv, norm = self
        return F.relu6(norm(conv(input)), inplace=self.training)


def _rounded(channels: float) -> int:
    """The multiple of 8 next to `channels`: at least 8, and the next one up where rounding would take more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
