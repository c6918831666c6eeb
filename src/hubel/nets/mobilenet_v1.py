"""MobileNet (the first): depthwise-separable convolutions from end to end, for telephones.

conv 3×3 of 32 and stride 2, then thirteen times: a 3×3 filter a channel, norm, relu, 1×1 over channels, norm, relu (table 1); average
over positions, linear. `width` multiplies all numbers of channels (section 3.3).

Initial weights: He normal by fan-in; the linear layer torch's default.

Source: A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications" (2017,
arXiv:1704.04861), table 1. Parameters at 1000 outputs: width 1 4,231,976 · 0.75 2,585,560 · 0.5 1,331,592 · 0.25 470,072 (the paper
rounds to 4.2, 2.6, 1.3 and 0.5 million).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions

# channels and stride of the thirteen separable convolutions
STAGES = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
REDUCTIONS = Reductions(
    "mobilenet_v1",
    Reduction("stem", 3, 2, 1),
    *(Reduction(f"blocks.{number}", 3, 2, 1) for number, (_, stride) in enumerate(STAGES) if stride == 2),
)


def mobilenet_v1(
    width: float = 1.0, *, inputs: Sequence[int] = (3, 224, 224), outputs: int = 1000
) -> MobileNetV1:
    """MobileNet with `width` times the channels. Input [N, C, H, W], output [N, outputs]; other sizes from 17×17 on are accepted.

    >>> sum(p.numel() for p in mobilenet_v1().parameters())
    4231976

    Raises `ValueError` for a width that is not positive, and for images of which a layer gets too few positions.
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(
            f"mobilenet_v1: width must be a positive number, usually 0.25 to 1; received {width!r}"
        )
    shape = REDUCTIONS.shape(inputs)
    net = MobileNetV1(float(width), shape, num_outputs(outputs, "mobilenet_v1"))
    return made(net, "mobilenet_v1", width=float(width), inputs=shape, outputs=int(outputs))


class MobileNetV1(Net):
    """See `mobilenet_v1`."""

    def __init__(self, width: float, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        before = max(1, int(32 * width))
        self.stem = ConvNormReLU(inputs[0], before, 3, stride=2)
        blocks = []
        for channels, stride in STAGES:
            after = max(1, int(channels * width))
            depthwise = ConvNormReLU(before, before, 3, stride=stride, groups=before)
            blocks.append(nn.Sequential(depthwise, ConvNormReLU(before, after, 1)))
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def features(self, x: Tensor) -> Tensor:
        """The channels of the last convolution, averaged over positions: [N, 1024] at width 1."""
        REDUCTIONS.check(x, self.inputs)
        return self.blocks(self.stem(x)).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch norm, relu: [N, C, H, W] → [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Relu of norm of conv."""
        return relu(self.norm(self.conv(x)), training=self.training)
