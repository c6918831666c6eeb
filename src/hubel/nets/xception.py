"""Xception: Inception's idea taken to its end, every spatial filter sees one channel, and 1×1 convolutions mix them.

Entry flow: two 3×3 convolutions, three reducing blocks (128, 256, 728 channels); middle flow: eight residual blocks
of 728; exit flow: a reducing block to 1024, separable convolutions of 1536 and 2048, average over positions, linear
(figure 5). 22,855,952 parameters at 1000 outputs.

Names, padding and batch norms are those of the PyTorch port of the Keras weights (T. Standley; R. Cadene,
pretrained-models.pytorch), which reports 78.9 % top-1 on ImageNet at 299². Keras pools even sizes from the first pixel
on (the port from one before) and has ε 1e-3 in its batch norms (the port 1e-5); the scores are otherwise equal.
Where we differ from the paper, with Keras and the port: no dropout before the last layer. Initial weights: He normal
by fan-in (`hubel.layers.separable.initialize`), the linear layer torch's default.

Source: F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017 (arXiv:1610.02357).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.layers.separable import SeparableConv2d, initialize
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

REDUCTIONS = Reductions(
    "xception",
    Reduction("conv1", 3, 2),
    Reduction("conv2", 3, 1),
    *(Reduction(f"block{number}", 3, 2, 1) for number in (1, 2, 3, 12)),
)
IMAGENET = Source(
    title="Xception on ImageNet-1k: the Keras weights in the names of pretrained-models.pytorch",
    size=(299, 299),
    crop=0.8975,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    classes="imagenet-1k",
    renamed=((r"^last_linear\.", "fc."),),
)


def xception(
    inputs: Sequence[int] = (3, 299, 299),
    outputs: int = 1000,
    *,
    weights: str | Path | None = None,
    download: bool = False,
) -> Xception:
    """Xception. Input [N, C, H, W], output [N, outputs]; other sizes from 23×23 on are accepted.

    `weights` is a file with the names of the port (.safetensors, .pth), see `hubel.nets.weights.load_published`; the
    images it expects are described in `net.published`.

    >>> import torch
    >>> net = xception((3, 32, 32), 10).eval()
    >>> net(torch.zeros(1, 3, 32, 32)).shape, net.features(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([1, 10]), torch.Size([1, 2048]))

    Raises `ValueError` for images of which a layer gets too few positions, and for weights that do not fit.
    """
    shape = REDUCTIONS.shape(inputs)
    net = Xception(shape, num_outputs(outputs, "xception"))
    made(net, "xception", inputs=shape, outputs=int(outputs))
    if weights is not None:
        load_published(net, weights, IMAGENET, first="conv1", head="fc", download=download)
    return net


class Xception(Net):
    """See `xception`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        self.conv1 = nn.Conv2d(inputs[0], 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = Block(64, 128, 128, reduces=True, rectifies=False)  # bn2 is rectified already
        self.block2 = Block(128, 256, 256, reduces=True)
        self.block3 = Block(256, 728, 728, reduces=True)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block(728, 728, 728, 728))
        self.block12 = Block(728, 728, 1024, reduces=True)
        self.conv3 = _separable(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = _separable(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.fc = nn.Linear(2048, outputs)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """The channels of the last separable convolution, averaged over positions: [N, 2048]."""
        REDUCTIONS.check(x, self.inputs)
        x = relu(self.bn1(self.conv1(x)), training=self.training)
        x = relu(self.bn2(self.conv2(x)), training=self.training)
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)
        x = relu(self.bn3(self.conv3(x)), training=self.training)
        x = relu(self.bn4(self.conv4(x)), training=self.training)
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))


class Block(nn.Module):
    """relu, separable 3×3, norm, for each two neighbours of `widths`, then 3×3 max-pool of stride 2 where it reduces; plus a shortcut.

    `rectifies` False leaves out the first relu. [N, C, H, W] → [N, widths[-1], H, W] or [N, widths[-1], ⌈H/2⌉, ⌈W/2⌉].
    """

    def __init__(self, *widths: int, reduces: bool = False, rectifies: bool = True):
        super().__init__()
        self.reduces = reduces
        self.skip = nn.Conv2d(widths[0], widths[-1], 1, 2, bias=False) if reduces else None
        self.skipbn = nn.BatchNorm2d(widths[-1]) if reduces else None
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.ReLU(), _separable(before, after), nn.BatchNorm2d(after)]
        self.rep = nn.Sequential(*layers[0 if rectifies else 1 :])

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x)."""
        out = self.rep(x)
        if self.skip is None or self.skipbn is None:
            return out + x
        return F.max_pool2d(out, 3, 2, 1) + self.skipbn(self.skip(x))


def _separable(in_channels: int, channels: int) -> SeparableConv2d:
    return SeparableConv2d(in_channels, channels, 3, names=("conv1", "pointwise"))
