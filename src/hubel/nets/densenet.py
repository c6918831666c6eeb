"""DenseNets for ImageNet: 121, 161, 169, 201 layers. Every layer of a block reads all maps made before it.

conv 7×7 of stride 2, max-pool, four dense blocks with a transition between each two, norm, relu, average over
positions, linear. State-dict names are torchvision's.

Where we differ: transitions average before their 1×1 convolution (the same result, see `hubel.layers.dense_block`),
which saves 0.23 of 2.83 billion multiply–adds of DenseNet-121 at 224². Initial weights: convolutions He normal by
fan-in (arXiv:1502.01852), batch norms 1 and 0, the bias of the linear layer 0, as in torchvision.

Parameters at 1000 outputs: 121 7,978,856 · 161 28,681,000 · 169 14,149,480 · 201 20,013,928.

Source: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks", CVPR 2017
(arXiv:1608.06993), table 1. The growth is 48 maps a layer for 161, 32 for the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.dense_block import DenseBlock, Transition
from hubel.layers.relu import relu
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

# channels of the stem, growth, layers of the four blocks
CONFIGURATIONS = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}

IMAGENET = Source(
    title="a DenseNet on ImageNet-1k, with torchvision's names and preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
    renamed=((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),  # the files of 2017
)


def densenet(
    depth: int,
    *,
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    weights: str | Path | None = None,
    download: bool = False,
) -> DenseNet:
    """A DenseNet of `depth` layers: 121, 161, 169 or 201. Input [N, C, H, W], output [N, outputs].

    Other sizes from 29×29 on are accepted. `weights` is a file with torchvision's names (.safetensors, .pth), see
    `hubel.nets.weights.load_published`; the images it expects are described in `net.published`.

    >>> import torch
    >>> net = densenet(121, outputs=10).eval()
    >>> net(torch.zeros(1, 3, 32, 32)).shape, net.features(torch.zeros(1, 3, 32, 32)).shape
    (torch.Size([1, 10]), torch.Size([1, 1024]))

    Raises `ValueError` for other depths, for images of which a layer gets too few positions, and for weights that
    do not fit.
    """
    if depth not in CONFIGURATIONS:
        raise ValueError(f"densenet: depth must be one of {tuple(CONFIGURATIONS)}; received {depth!r}")
    shape = _reductions(depth).shape(inputs)
    net = DenseNet(depth, shape, num_outputs(outputs, f"densenet({depth})"))
    made(net, "densenet", depth=depth, inputs=shape, outputs=int(outputs))
    if weights is not None:
        load_published(net, weights, IMAGENET, first="features.conv0", head="classifier", download=download)
    return net


class DenseNet(Net):
    """See `densenet`."""

    def __init__(self, depth: int, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        trunk = Trunk(depth, inputs)
        self.features = trunk  # type: ignore[method-assign]
        self.classifier = nn.Linear(trunk.channels, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.classifier.bias)

    @property
    def features(self) -> Trunk:  # type: ignore[override]
        """The module from [N, C, H, W] to [N, F], F = 1024, 2208, 1664 or 1920; it has this name in published files."""
        return cast(Trunk, self._modules["features"])

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.classifier(self.features(x))


class Trunk(nn.Sequential):
    """All but the last layer."""

    def __init__(self, depth: int, inputs: tuple[int, int, int]):
        channels, growth, blocks = CONFIGURATIONS[depth]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv0"] = nn.Conv2d(inputs[0], channels, 7, 2, 3, bias=False)
        layers["norm0"] = nn.BatchNorm2d(channels)
        for number, count in enumerate(blocks, start=1):
            layers[f"denseblock{number}"] = DenseBlock(channels, layers=count, growth=growth)
            channels += count * growth
            if number < len(blocks):
                layers[f"transition{number}"] = Transition(channels, channels // 2)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        super().__init__(layers)
        self.inputs, self.channels = inputs, channels
        self.reductions = _reductions(depth)

    def forward(self, input: Tensor) -> Tensor:
        """The maps of the last block, normed, rectified, averaged over positions: [N, F]."""
        self.reductions.check(input, self.inputs)
        conv, norm, *stages, last = self.children()
        x = F.max_pool2d(relu(norm(conv(input)), training=self.training), 3, 2, 1)
        for stage in stages:
            x = stage(x)
        return relu(last(x), training=self.training).mean(dim=(2, 3))


def _reductions(depth: int) -> Reductions:
    return Reductions(
        f"densenet({depth})",
        Reduction("features.conv0", 7, 2, 3),
        Reduction("features.pool0", 3, 2, 1),
        *(Reduction(f"features.transition{number}", 2, 2) for number in (1, 2, 3)),
    )
