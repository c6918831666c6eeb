"""The variational autoencoder: an autoencoder whose codes are Gaussians near N(0, 1), so that new examples can be drawn.

    encoder: x → μ(x), ln σ²(x);   z = μ + σ ε;   decoder: z → mean of p(x | z);   a new example is the decoder's mean at z ~ N(0, 1)

The network answers with the decoder's mean, one tensor as any autoencoder; μ and ln σ² are left beside it for
`objectives.Variational`, which asks for the evidence lower bound.

Source: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv:1312.6114); D. J. Rezende, S. Mohamed,
D. Wierstra, ICML 2014 (arXiv:1401.4082).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.activation import Activation
from hubel.layers.gaussian_code import GaussianCode
from hubel.nets.autoencoder import dense
from hubel.nets.conv_autoencoder import SMALLEST, PictureDecoder, PictureEncoder, checked_width
from hubel.nets.latent import (
    Encoder,
    Generator,
    check_examples,
    check_own_outputs,
    example_shape,
    latent_size,
)
from hubel.nets.made import image_shape, made


def variational_autoencoder(
    latent: int = 16,
    width: int = 32,
    hidden: Sequence[int] = (100,),
    *,
    inputs: int | Sequence[int] = (1, 28, 28),
    outputs: int | None = None,
) -> VariationalAutoencoder:
    """[N, *inputs] → Gaussian codes [N, latent] → [N, *inputs]: convolutions of `width` channels for pictures (C, H, W), dense layers of
    `hidden` widths for everything else.

    >>> import torch
    >>> net = variational_autoencoder(2, inputs=(1, 28, 28)).eval()
    >>> net(torch.zeros(3, 1, 28, 28)).shape, net.sample(4, seed=1).shape
    (torch.Size([3, 1, 28, 28]), torch.Size([4, 1, 28, 28]))

    Raises `ValueError` for pictures smaller than 8×8, sizes that are not positive, and outputs other than the values of an example.
    """
    shape = example_shape(inputs, "variational_autoencoder")
    if len(shape) == 3:
        shape = image_shape(shape, smallest=SMALLEST, net="variational_autoencoder")
    hidden = tuple(int(size) for size in hidden)
    if hidden and min(hidden) < 1:
        raise ValueError(f"variational_autoencoder: hidden widths must be positive; received {hidden}")
    check_own_outputs(outputs, shape, "variational_autoencoder")
    latent = latent_size(latent, "variational_autoencoder")
    width = checked_width(width, "variational_autoencoder")
    net = VariationalAutoencoder(shape, latent, width, hidden)
    return made(
        net,
        "variational_autoencoder",
        latent=latent,
        width=width,
        hidden=hidden,
        inputs=shape,
        outputs=math.prod(shape),
    )


class VariationalAutoencoder(Encoder, Generator):
    """See `variational_autoencoder`."""

    def __init__(self, inputs: tuple[int, ...], latent: int, width: int, hidden: tuple[int, ...]):
        super().__init__()
        self.inputs = inputs
        self.latent = latent
        self.code = GaussianCode()
        self.encoder: nn.Module
        self.decoder: nn.Module
        if len(inputs) == 3:
            self.encoder = PictureEncoder(inputs, 2 * latent, width)
            self.decoder = PictureDecoder(inputs, latent, width)
        else:
            widths = (math.prod(inputs), *hidden)
            self.encoder = nn.Sequential(nn.Flatten(), dense((*widths, 2 * latent), Activation.RELU))
            self.decoder = nn.Sequential(
                dense((latent, *reversed(widths)), Activation.RELU), nn.Unflatten(1, inputs)
            )

    def encode(self, x: Tensor) -> Tensor:
        """The means of the codes [N, Z]."""
        check_examples(x, self.inputs, "variational_autoencoder")
        return self.encoder(x).chunk(2, dim=1)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x | z): [N, *inputs] of codes [N, Z]."""
        return self.decoder(z)

    def generate(self, z: Tensor) -> Tensor:
        """As `decode`."""
        return self.decode(z)

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's mean at a drawn code (in training) or at the code's mean."""
        check_examples(x, self.inputs, "variational_autoencoder")
        return self.decode(self.code.codes(self.encoder(x)))
