"""VGG: nothing but 3×3 convolutions and 2×2 max-poolings, in five stages, and three linear layers.

Two 3×3 convolutions see as far as one 5×5, three as far as one 7×7, with fewer parameters and a ReLU more between them.

    stages of 64, 128, 256, 512, 512 channels with
    1 1 2 2 2 convolutions: 11 layers (A)   ·   2 2 2 2 2: 13 (B)   ·   2 2 3 3 3: 16 (D)   ·   2 2 4 4 4: 19 (E)

Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015 (arXiv:1409.1556),
table 1. State-dict names are torchvision's. With batch norm after each convolution as torchvision has it too (later than the paper).
Initial weights: He normal by fan-in (see `hubel.nets.plain`); the paper began its deeper networks from trained shallower ones.

Parameters at 1000 outputs, without and with batch norm: vgg11 132,863,336 and 132,868,840 · 13 133,047,848 and 133,053,736 ·
16 138,357,544 and 138,365,992 · 19 143,667,240 and 143,678,248.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from hubel.layers.dropout import Dropout
from hubel.nets.made import image_shape, made, num_outputs
from hubel.nets.plain import PlainNet, ReLU, hidden_width, reductions_of
from hubel.nets.weights import Source, load_published

GRID = 7
WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

IMAGENET = Source(
    title="VGG on ImageNet-1k, with torchvision's names and preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
)


def vgg(
    depth: int,
    *,
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    batch_norm: bool = False,
    hidden: int = 4096,
    weights: str | Path | None = None,
    download: bool = False,
) -> PlainNet:
    """VGG of 11, 13, 16 or 19 layers. Input [N, C, H, W], output [N, outputs]; other sizes from 32×32 on are accepted.

    `batch_norm` normalizes after every convolution, which makes the deeper ones much easier to train from nothing. `hidden` is the
    width of the two hidden linear layers, which hold most of the parameters: few examples need fewer.

    `weights` is a file with torchvision's names (.safetensors, .pth), see `hubel.nets.weights.load_published`; the images it
    expects are described in `net.published`.

    >>> net = vgg(16, inputs=(3, 32, 32), outputs=10, batch_norm=True, hidden=64)
    >>> sum(p.numel() for p in net.parameters())
    16333642

    Raises `ValueError` for other depths, for images under 32×32 pixels, and for weights that do not fit.
    """
    if depth not in DEPTHS:
        raise ValueError(f"vgg: depth must be one of {tuple(DEPTHS)}; received {depth!r}")
    name = f"vgg({depth})"
    shape = image_shape(inputs, smallest=1, net=name)
    hidden = hidden_width(hidden, name)
    outputs = num_outputs(outputs, name)
    convolutions = _convolutions(depth, shape[0], batch_norm=batch_norm)
    reductions = reductions_of(name, convolutions)
    reductions.shape(shape)
    classifier = [
        nn.Linear(WIDTHS[-1] * GRID * GRID, hidden),
        ReLU(),
        Dropout(0.5),
        nn.Linear(hidden, hidden),
        ReLU(),
        Dropout(0.5),
        nn.Linear(hidden, outputs),
    ]
    net = PlainNet(reductions, shape, convolutions=convolutions, grid=GRID, classifier=classifier)
    more = {"batch_norm": bool(batch_norm), "hidden": hidden}
    made(net, "vgg", depth=depth, inputs=shape, outputs=outputs, **more)
    if weights is not None:
        load_published(net, weights, IMAGENET, first="features.0", head="classifier.6", download=download)
    return net


def _convolutions(depth: int, channels: int, *, batch_norm: bool) -> list[nn.Module]:
    """The five stages: [N, C, H, W] → [N, 512, ⌊H/32⌋, ⌊W/32⌋]."""
    layers: list[nn.Module] = []
    for width, count in zip(WIDTHS, DEPTHS[depth], strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return layers
