"""AlexNet: five convolutions, three overlapping max-poolings, three linear layers; the network that won ImageNet in 2012.

Two versions. The usual one is that of 2014, made for one processor, with torchvision's names and weights: 64, 192, 384, 256, 256
channels, no normalization. `grouped=True` is that of 2012, made for two: 96, 256, 384, 384, 256 channels, the second, fourth and fifth
convolution in two groups, and local response normalization after the first two,

    b_i = a_i / (2 + 10⁻⁴ · sum of a_j² over the five channels j around i)^0.75

with 659,272 units at 224×224 (the paper rounds to 650,000; it counts 253,440 in its first layer, where 55·55·96 = 290,400).

Where we differ from the papers: initial weights He normal by fan-in, not of deviation 0.01, and biases 0, not 1 (see
`hubel.nets.plain`). The images of 2012 are 224×224; their 55×55 positions follow with a padding of 2, as here.

Source: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012,
doi:10.1145/3065386, section 3; A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014,
arXiv:1404.5997). Parameters at 1000 outputs: 61,100,840, grouped 60,965,224.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from hubel.layers.dropout import Dropout
from hubel.nets.made import image_shape, made, num_outputs
from hubel.nets.plain import PlainNet, ReLU, hidden_width, reductions_of
from hubel.nets.weights import Source, load_published

GRID = 6

IMAGENET = Source(
    title="AlexNet on ImageNet-1k, with torchvision's names and preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
)
GROUPED_SOURCE = Source(title="the grouped AlexNet of 2012")


def alexnet(
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    *,
    grouped: bool = False,
    hidden: int = 4096,
    weights: str | Path | None = None,
    download: bool = False,
) -> PlainNet:
    """AlexNet. Input [N, C, H, W], output [N, outputs]; other sizes from 63×63 on are accepted.

    `grouped` is the network as published in 2012. `hidden` is the width of the two hidden linear layers, which hold nine tenths of
    the parameters: few examples need fewer.

    `weights` is a file with torchvision's names (.safetensors, .pth), see `hubel.nets.weights.load_published`; the images it
    expects are described in `net.published`.

    >>> net = alexnet(inputs=(1, 64, 64), outputs=10, hidden=32)
    >>> sum(p.numel() for p in net.parameters())
    2750538

    Raises `ValueError` for images under 63×63 pixels, and for weights that do not fit.
    """
    shape = image_shape(inputs, smallest=1, net="alexnet")
    hidden = hidden_width(hidden, "alexnet")
    outputs = num_outputs(outputs, "alexnet")
    convolutions = _convolutions_of_2012(shape[0]) if grouped else _convolutions(shape[0])
    reductions = reductions_of("alexnet", convolutions)
    reductions.shape(shape)
    first, second, last = (
        nn.Linear(256 * GRID * GRID, hidden),
        nn.Linear(hidden, hidden),
        nn.Linear(hidden, outputs),
    )
    if grouped:
        classifier = [first, ReLU(), Dropout(0.5), second, ReLU(), Dropout(0.5), last]
    else:
        classifier = [Dropout(0.5), first, ReLU(), Dropout(0.5), second, ReLU(), last]
    net = PlainNet(reductions, shape, convolutions=convolutions, grid=GRID, classifier=classifier)
    made(net, "alexnet", inputs=shape, outputs=outputs, grouped=bool(grouped), hidden=hidden)
    if weights is not None:
        source = GROUPED_SOURCE if grouped else IMAGENET
        load_published(net, weights, source, first="features.0", head="classifier.6", download=download)
    return net


def _convolutions(channels: int) -> list[nn.Module]:
    """The layers of 2014 up to the last pooling: [N, C, H, W] → [N, 256, H', W'], 6×6 positions of 224×224."""
    return [
        nn.Conv2d(channels, 64, 11, stride=4, padding=2),
        ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        ReLU(),
        nn.MaxPool2d(3, 2),
    ]


def _convolutions_of_2012(channels: int) -> list[nn.Module]:
    """The layers of 2012 up to the last pooling, of the same shape."""
    return [
        nn.Conv2d(channels, 96, 11, stride=4, padding=2),
        ReLU(),
        _response_norm(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        ReLU(),
        _response_norm(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1),
        ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        ReLU(),
        nn.MaxPool2d(3, 2),
    ]


def _response_norm() -> nn.LocalResponseNorm:
    """The paper's section 3.3; torch divides α by the number of channels in the sum, the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
