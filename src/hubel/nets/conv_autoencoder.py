"""The convolutional autoencoder: pictures through a small code and back.

Encoder: 3×3 convolutions of stride 2, each followed by a batch norm and a ReLU, until a side is 7 pixels or less; then one
linear layer to the code. Decoder: the same way back, each step an enlargement of every pixel to a block and a 3×3 convolution,
which leaves no checkerboard behind, as transposed convolutions do (A. Odena, V. Dumoulin, C. Olah, Distill 2016,
doi:10.23915/distill.00003). Every step back restores the very size that the encoder met, so that any picture fits.

Source: J. Masci, U. Meier, D. Cireşan, J. Schmidhuber, "Stacked Convolutional Auto-Encoders for Hierarchical Feature
Extraction", ICANN 2011, doi:10.1007/978-3-642-21735-7_7; batch norm and stride 2 in place of their max-pooling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.nets.latent import Encoder, check_own_outputs, latent_size
from hubel.nets.made import check_images, image_shape, made

SMALLEST = 8
SMALL = 7  # pixels of the shorter side from which on the picture is not halved again
WIDEST = 8  # times the first width, at most


def conv_autoencoder(
    latent: int = 32, width: int = 32, *, inputs: Sequence[int] = (1, 28, 28), outputs: int | None = None
) -> ConvAutoencoder:
    """Pictures [N, C, H, W] → codes [N, latent] → [N, C, H, W], of any size from 8×8 on. `width` channels after the first
    convolution, doubled at every further one.

    >>> import torch
    >>> net = conv_autoencoder(5, inputs=(1, 28, 28)).eval()
    >>> x = torch.zeros(2, 1, 28, 28)
    >>> net.encode(x).shape, net(x).shape
    (torch.Size([2, 5]), torch.Size([2, 1, 28, 28]))

    Raises `ValueError` for pictures smaller than 8×8, sizes that are not positive, and outputs other than the values of a picture.
    """
    shape = image_shape(inputs, smallest=SMALLEST, net="conv_autoencoder")
    check_own_outputs(outputs, shape, "conv_autoencoder")
    latent, width = latent_size(latent, "conv_autoencoder"), checked_width(width, "conv_autoencoder")
    net = ConvAutoencoder(shape, latent, width)
    return made(net, "conv_autoencoder", latent=latent, width=width, inputs=shape, outputs=math.prod(shape))


class ConvAutoencoder(Encoder):
    """See `conv_autoencoder`."""

    def __init__(self, inputs: tuple[int, int, int], latent: int, width: int):
        super().__init__()
        self.inputs = inputs
        self.latent = latent
        self.encoder = PictureEncoder(inputs, latent, width)
        self.decoder = PictureDecoder(inputs, latent, width)

    def encode(self, x: Tensor) -> Tensor:
        """Codes [N, Z]."""
        check_images(x, self.inputs, "conv_autoencoder")
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures [N, C, H, W] of codes [N, Z]."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of `x`, in the same shape."""
        return self.decode(self.encode(x))


class PictureEncoder(nn.Module):
    """Pictures [N, C, H, W] to [N, outputs]: halved until they are small, then one linear layer."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int, width: int):
        super().__init__()
        sides = halvings(inputs[1:])
        widths = (inputs[0], *channels(width, len(sides) - 1))
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths[1:])
        self.last = nn.Linear(widths[-1] * math.prod(sides[-1]), outputs)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """[N, outputs]."""
        for halve, norm in zip(self.halve, self.norms, strict=True):
            x = relu(norm(halve(x)), training=self.training)
        return self.last(x.flatten(1))


class PictureDecoder(nn.Module):
    """[N, latent] to pictures [N, C, H, W]: the way of `PictureEncoder` back."""

    def __init__(self, inputs: tuple[int, int, int], latent: int, width: int):
        super().__init__()
        self.sides = halvings(inputs[1:])
        widths = channels(width, len(self.sides) - 1)
        self.small = (widths[-1], *self.sides[-1])
        self.first = nn.Linear(latent, math.prod(self.small))  # its biases hold the mean picture
        self.first_norm = nn.BatchNorm2d(widths[-1])
        back = (
            *reversed(widths),
            max(1, widths[0] // 2),
        )  # at full size half as many: most of the work is there
        self.refine = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in pairwise(back))
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in back[1:])
        self.last = nn.Conv2d(back[-1], inputs[0], 3, 1, 1)
        initialize(self)

    def forward(self, z: Tensor) -> Tensor:
        """[N, C, H, W]."""
        x = relu(self.first_norm(self.first(z).unflatten(1, self.small)), training=self.training)
        for refine, norm, size in zip(self.refine, self.norms, reversed(self.sides[:-1]), strict=True):
            x = relu(norm(refine(F.interpolate(x, size=size, mode="nearest"))), training=self.training)
        return self.last(x)


def halvings(sides: Sequence[int]) -> list[tuple[int, ...]]:
    """The sizes on the way: each side halved, rounded up, until the shorter is small.

    >>> halvings((28, 28)), halvings((9, 30))
    ([(28, 28), (14, 14), (7, 7)], [(9, 30), (5, 15)])
    """
    found = [tuple(sides)]
    while min(found[-1]) > SMALL:
        found.append(tuple(-(-side // 2) for side in found[-1]))
    return found


def channels(width: int, steps: int) -> tuple[int, ...]:
    """Channels after each halving: doubled every time, up to a limit.

    >>> channels(32, 5)
    (32, 64, 128, 256, 256)
    """
    return tuple(width * min(2**step, WIDEST) for step in range(steps))


def checked_width(width: int, net: str) -> int:
    """`width` as a positive integer."""
    if int(width) != width or width < 1:
        raise ValueError(f"{net}: width must be a positive whole number; received {width!r}")
    return int(width)


def initialize(module: nn.Module) -> None:
    """He's initial weights for convolutions, Glorot's for linear layers and for convolutions to pictures; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
