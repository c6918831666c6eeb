"""ZFNet: AlexNet after a look inside it, with smaller filters and a smaller stride in the first layer.

    conv 7×7/2 of 96 → pool → norm → conv 5×5/2 of 256 → pool → norm → conv 3×3 of 384, 384, 256 → pool → linear 4096, 4096, outputs

Poolings are 3×3 of stride 2 and round up; maps of a 224×224 image have 110, 55, 26, 13, 13, 13, 13 and 6 positions a side (figure 3).
Its poolings are meant to be undone: `hubel.layers.switches.with_switches(net.features.named_children(), x)` answers where every
maximum stood, and unpools.

Where we differ from the paper: local response normalization as in AlexNet for its contrast normalization across maps (the paper gives
no formula), after the pooling as in figure 3; no limit on the norm of filters; initial weights He normal by fan-in (see `hubel.nets.plain`).

Source: M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv:1311.2901), figure 3.
Parameters at 1000 outputs: 62,357,608.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hubel.layers.dropout import Dropout
from hubel.nets.made import image_shape, made, num_outputs
from hubel.nets.plain import PlainNet, ReLU, hidden_width, reductions_of

GRID = 6


def zfnet(inputs: Sequence[int] = (3, 224, 224), outputs: int = 1000, *, hidden: int = 4096) -> PlainNet:
    """ZFNet. Input [N, C, H, W], output [N, outputs]; other sizes from 47×47 on are accepted.

    `hidden` is the width of the two hidden linear layers, which hold nine tenths of the parameters: few examples need fewer.

    >>> net = zfnet(inputs=(1, 64, 64), outputs=10, hidden=32)
    >>> sum(p.numel() for p in net.parameters())
    4013386

    Raises `ValueError` for images of which a layer gets too few positions.
    """
    shape = image_shape(inputs, smallest=1, net="zfnet")
    hidden = hidden_width(hidden, "zfnet")
    outputs = num_outputs(outputs, "zfnet")
    convolutions = _convolutions(shape[0])
    reductions = reductions_of("zfnet", convolutions)
    reductions.shape(shape)
    classifier = [
        nn.Linear(256 * GRID * GRID, hidden),
        ReLU(),
        Dropout(0.5),
        nn.Linear(hidden, hidden),
        ReLU(),
        Dropout(0.5),
        nn.Linear(hidden, outputs),
    ]
    net = PlainNet(reductions, shape, convolutions=convolutions, grid=GRID, classifier=classifier)
    return made(net, "zfnet", inputs=shape, outputs=outputs, hidden=hidden)


def _convolutions(channels: int) -> list[nn.Module]:
    """The layers up to the last pooling: [N, C, H, W] → [N, 256, H', W'], 6×6 positions of 224×224."""
    return [
        nn.Conv2d(channels, 96, 7, stride=2, padding=1),
        ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        _response_norm(),
        nn.Conv2d(96, 256, 5, stride=2),
        ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        _response_norm(),
        nn.Conv2d(256, 384, 3, padding=1),
        ReLU(),
        nn.Conv2d(384, 384, 3, padding=1),
        ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]


def _response_norm() -> nn.LocalResponseNorm:
    """That of AlexNet; torch divides α by the number of channels in the sum."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
