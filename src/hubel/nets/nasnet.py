"""NASNet-A mobile ("4 @ 1056"): two cells found by a search on CIFAR-10, repeated for ImageNet. 5,289,978 parameters.

A cell reads the outputs x, y of the two cells before it, brought to the same size and number of filters f as h, p:

    normal     concat(p, sep5 h + sep3 p, sep5 p + sep3 p, avg h + p, 2 avg p, sep3 h + h)              6 f maps
    reduction  a = sep5 h + sep7 p, b = max h + sep7 p, c = avg h + sep5 p (all of stride 2);
               concat(b, c, avg a + b, sep3 a + max h)                                                  4 f maps

sep is twice (relu, separable convolution, norm), avg and max are over 3×3. conv 3×3 of 32 and stride 2; two
reduction cells of 11 and 22 filters; 4 normal of 44, reduction, 4 of 88, reduction, 4 of 176; relu, average over
positions, dropout 0.5, linear.

Names are those of the PyTorch port (R. Cadene, pretrained-models.pytorch); padding is TensorFlow's "SAME" at every
size (the port's is the same at 224²). Where we differ from the authors: no auxiliary head (neither has the port), and batch norms that
follow a tenth of each batch (as in the port), not 3·10⁻⁴, which short runs never fill. Initial weights: He normal by
fan-in (`hubel.layers.separable.initialize`), the linear layer torch's default. At even sizes the last row and column of
pixels are not seen, as in the original: the first convolution is not padded.

Source: B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le, "Learning Transferable Architectures for Scalable Image
Recognition", CVPR 2018 (arXiv:1707.07012), figures 2 and 4, appendix A.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.relu import relu
from hubel.layers.same_pooling import average_pool_same, max_pool_same
from hubel.layers.separable import SeparableConv2d, initialize
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

STEM = 32


class Before(Enum):
    """What the cell before the last one left, as seen by a cell: taken as it is, of the same size as x, or of twice the sides."""

    RAW = 0
    SAME = 1
    TWICE = 2


# name, filters, whether it reduces, what stands before the last
CELLS = (
    ("cell_stem_0", 11, True, Before.RAW),
    ("cell_stem_1", 22, True, Before.TWICE),
    ("cell_0", 44, False, Before.TWICE),
    *((f"cell_{number}", 44, False, Before.SAME) for number in (1, 2, 3)),
    ("reduction_cell_0", 88, True, Before.SAME),
    ("cell_6", 88, False, Before.TWICE),
    *((f"cell_{number}", 88, False, Before.SAME) for number in (7, 8, 9)),
    ("reduction_cell_1", 176, True, Before.SAME),
    ("cell_12", 176, False, Before.TWICE),
    *((f"cell_{number}", 176, False, Before.SAME) for number in (13, 14, 15)),
)
REDUCTIONS = Reductions(
    "nasnet_mobile",
    Reduction("conv0", 3, 2),
    *(Reduction(name, 3, 2, None) for name, _, reduces, _ in CELLS if reduces),
)
IMAGENET = Source(
    title="NASNet-A mobile on ImageNet-1k, with the names of pretrained-models.pytorch",
    size=(224, 224),
    crop=0.875,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    classes="imagenet-1k",
)


def nasnet_mobile(
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    *,
    weights: str | Path | None = None,
    download: bool = False,
) -> NASNetMobile:
    """NASNet-A mobile. Input [N, C, H, W], output [N, outputs]; other sizes from 19×19 on are accepted.

    `weights` is a file with the names of the port (.safetensors, .pth), see `hubel.nets.weights.load_published`; the
    images it expects are described in `net.published`.

    >>> net = nasnet_mobile((3, 32, 32), 10).eval()
    >>> net(torch.zeros(1, 3, 32, 32)).shape, net.features(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([1, 10]), torch.Size([1, 1056]))

    Raises `ValueError` for images of which a layer gets too few positions, and for weights that do not fit.
    """
    shape = REDUCTIONS.shape(inputs)
    net = NASNetMobile(shape, num_outputs(outputs, "nasnet_mobile"))
    made(net, "nasnet_mobile", inputs=shape, outputs=int(outputs))
    if weights is not None:
        load_published(net, weights, IMAGENET, first="conv0.conv", head="last_linear", download=download)
    return net


class NASNetMobile(Net):
    """See `nasnet_mobile`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        self.conv0 = _conv_norm(nn.Conv2d(inputs[0], STEM, 3, 2, bias=False))
        channels = before = STEM
        for name, filters, reduces, kind in CELLS:
            self.add_module(name, Cell(channels, before, filters, reduces=reduces, kind=kind))
            channels, before = (4 if reduces else 6) * filters, channels
        self.dropout = Dropout(0.5)
        self.last_linear = nn.Linear(channels, outputs)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """The maps of the last cell, rectified and averaged over positions: [N, 1056]."""
        REDUCTIONS.check(x, self.inputs)
        x = before = self.conv0(x)
        for name, *_ in CELLS:
            x, before = self.get_submodule(name)(x, before), x
        return F.relu(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.last_linear(self.dropout(self.features(x)))


class Cell(nn.Module):
    """A normal or reduction cell: x [N, C, H, W] and what came before it → [N, 6·filters, H, W] or [N, 4·filters, ⌈H/2⌉, ⌈W/2⌉]."""

    def __init__(self, in_channels: int, before: int, filters: int, *, reduces: bool, kind: Before):
        super().__init__()
        self.reduces, self.kind = reduces, kind
        if kind is Before.SAME:
            self.conv_prev_1x1 = _conv_norm(nn.Conv2d(before, filters, 1, bias=False))
        self.conv_1x1 = _conv_norm(nn.Conv2d(in_channels, filters, 1, bias=False))
        if kind is Before.TWICE:
            for path in ("path_1", "path_2"):
                conv = nn.Conv2d(before, filters // 2, 1, 2, bias=False)
                self.add_module(path, nn.Sequential(OrderedDict(conv=conv)))
            self.final_path_bn = _norm(filters)
        if reduces:
            width = before if kind is Before.RAW else filters
            self.comb_iter_0_left = Branch(filters, filters, 5, stride=2)
            self.comb_iter_0_right = Branch(width, filters, 7, stride=2)
            self.comb_iter_1_right = Branch(width, filters, 7, stride=2)
            self.comb_iter_2_right = Branch(width, filters, 5, stride=2)
        else:
            self.comb_iter_0_left = Branch(filters, filters, 5)
            self.comb_iter_0_right = Branch(filters, filters, 3)
            self.comb_iter_1_left = Branch(filters, filters, 5)
            self.comb_iter_1_right = Branch(filters, filters, 3)
        self.comb_iter_4_left = Branch(filters, filters, 3)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """The formula of this module."""
        h, p = self.conv_1x1(F.relu(x)), self._fitted(before)
        return self._reduced(h, p) if self.reduces else self._normal(h, p)

    def _fitted(self, before: Tensor) -> Tensor:
        """`before` with the size of x and the filters of the cell (the first cell takes it as it is)."""
        if self.kind is Before.RAW:
            return before
        before = F.relu(before)
        if self.kind is Before.SAME:
            return self.conv_prev_1x1(before)
        shifted = F.pad(before[:, :, 1:, 1:], (0, 1, 0, 1))  # the pixels between those of the first path
        paths = [self.get_submodule("path_1")(before), self.get_submodule("path_2")(shifted)]
        return self.final_path_bn(torch.cat(paths, dim=1))

    def _normal(self, h: Tensor, p: Tensor) -> Tensor:
        average = average_pool_same(p, 3, 1)
        parts = [
            p,
            self.comb_iter_0_left(h) + self.comb_iter_0_right(p),
            self.comb_iter_1_left(p) + self.comb_iter_1_right(p),
            average_pool_same(h, 3, 1) + p,
            average + average,
            self.comb_iter_4_left(h) + h,
        ]
        return torch.cat(parts, dim=1)

    def _reduced(self, h: Tensor, p: Tensor) -> Tensor:
        largest = max_pool_same(h, 3, 2)
        first = self.comb_iter_0_left(h) + self.comb_iter_0_right(p)
        second = largest + self.comb_iter_1_right(p)
        third = average_pool_same(h, 3, 2) + self.comb_iter_2_right(p)
        fourth = average_pool_same(first, 3, 1) + second
        return torch.cat([second, third, fourth, self.comb_iter_4_left(first) + largest], dim=1)


class Branch(nn.Module):
    """Twice relu, separable convolution, norm; the first has the stride and changes the channels."""

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1):
        super().__init__()
        names = ("depthwise_conv2d", "pointwise_conv2d")
        self.separable_1 = SeparableConv2d(in_channels, channels, kernel, stride=stride, names=names)
        self.bn_sep_1 = _norm(channels)
        self.separable_2 = SeparableConv2d(channels, channels, kernel, names=names)
        self.bn_sep_2 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out = relu(self.bn_sep_1(self.separable_1(F.relu(x))), training=self.training)
        return self.bn_sep_2(self.separable_2(out))


def _conv_norm(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=conv, bn=_norm(conv.out_channels)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
