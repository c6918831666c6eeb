"""Generator and discriminator (DCGAN, small): one makes pictures of random numbers, the other tells them from real ones.

Generator: one linear layer, then enlargements and 3×3 convolutions with batch norm and ReLU, as the decoder of
`conv_autoencoder`; no squashing at the end, since pictures arrive standardized. Discriminator: 3×3 convolutions of stride 2 with
leaky ReLU 0.2, then one linear layer. It has no batch norm, so that what it says of one picture does not depend on whether the
others are real.

The network answers with the discriminator's score [N, 1] of pictures, positive for "real"; `generate` and `sample` make some.
`objectives.Adversarial` trains both at once.

Source: A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", ICLR 2016 (arXiv:1511.06434); I. Goodfellow et al., NeurIPS 2014 (arXiv:1406.2661). Differences: as said above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nets.conv_autoencoder import SMALLEST, PictureDecoder, channels, checked_width, halvings
from hubel.nets.latent import Generator, check_own_outputs, latent_size
from hubel.nets.made import check_images, image_shape, made

SLOPE = 0.2  # of the leaky ReLU, as published


def dcgan(
    latent: int = 64, width: int = 32, *, inputs: Sequence[int] = (1, 28, 28), outputs: int | None = None
) -> DCGAN:
    """Scores [N, 1] of pictures [N, C, H, W], and pictures of random numbers [N, latent]; any size from 8×8 on.

    >>> import torch
    >>> net = dcgan(inputs=(1, 28, 28))
    >>> net(torch.zeros(3, 1, 28, 28)).shape, net.sample(4, seed=1).shape
    (torch.Size([3, 1]), torch.Size([4, 1, 28, 28]))

    Raises `ValueError` for pictures smaller than 8×8, sizes that are not positive, and outputs other than the values of a picture.
    """
    shape = image_shape(inputs, smallest=SMALLEST, net="dcgan")
    check_own_outputs(outputs, shape, "dcgan")
    latent, width = latent_size(latent, "dcgan"), checked_width(width, "dcgan")
    net = DCGAN(shape, latent, width)
    return made(net, "dcgan", latent=latent, width=width, inputs=shape, outputs=math.prod(shape))


class DCGAN(Generator):
    """See `dcgan`."""

    def __init__(self, inputs: tuple[int, int, int], latent: int, width: int):
        super().__init__()
        self.inputs = inputs
        self.latent = latent
        self.generator = PictureDecoder(inputs, latent, width)
        self.discriminator = Discriminator(inputs, width)

    def generate(self, z: Tensor) -> Tensor:
        """Pictures [N, C, H, W] of `z` [N, Z]."""
        return self.generator(z)

    def features(self, x: Tensor) -> Tensor:
        """What the discriminator's last layer reads: [N, F]."""
        check_images(x, self.inputs, "dcgan")
        return self.discriminator.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """The discriminator's scores [N, 1], positive for "real"."""
        check_images(x, self.inputs, "dcgan")
        return self.discriminator(x)


class Discriminator(nn.Module):
    """Pictures [N, C, H, W] to scores [N, 1]."""

    def __init__(self, inputs: tuple[int, int, int], width: int):
        super().__init__()
        sides = halvings(inputs[1:])
        widths = (inputs[0], *channels(width, len(sides) - 1))
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.last = nn.Linear(widths[-1] * math.prod(sides[-1]), 1)
        for layer in self.halve:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def features(self, x: Tensor) -> Tensor:
        """[N, F]."""
        for halve in self.halve:
            x = F.leaky_relu(halve(x), SLOPE)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1]."""
        return self.last(self.features(x))
