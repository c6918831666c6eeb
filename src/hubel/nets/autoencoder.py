"""The autoencoder: a network that has to give back what it was shown, through a bottleneck that is smaller.

    z = encoder(x) ∈ R^Z,   x̂ = decoder(z) ∈ R^F,   Z < F

so that the code z keeps what is common in the data. Without hidden layers and with squared error it finds the subspace of the
first Z principal components (P. Baldi, K. Hornik, Neural Networks 2, 53 (1989), doi:10.1016/0893-6080(89)90014-2), which is
what hubel compares it with.

Source: G. E. Hinton, R. R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 504
(2006), doi:10.1126/science.1127647; initial weights by Glorot and by He, as in `mlp`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hubel.layers.activation import Activation
from hubel.nets.latent import Encoder, check_examples, check_own_outputs, example_shape, latent_size
from hubel.nets.made import made


def autoencoder(
    latent: int = 3,
    hidden: Sequence[int] = (100,),
    *,
    inputs: int | Sequence[int],
    outputs: int | None = None,
    activation: Activation | str = Activation.RELU,
) -> Autoencoder:
    """A dense autoencoder: [N, *inputs] → codes [N, latent] → [N, *inputs]. `hidden` widths of the encoder; the decoder mirrors them.

    Five values through three and back:

    >>> import torch
    >>> net = autoencoder(3, (), inputs=5)
    >>> sum(p.numel() for p in net.parameters())
    38
    >>> x = torch.zeros(7, 5)
    >>> net.encode(x).shape, net.decode(net.encode(x)).shape, net(x).shape
    (torch.Size([7, 3]), torch.Size([7, 5]), torch.Size([7, 5]))

    Raises `ValueError` for sizes that are not positive, an unknown activation, and outputs other than the values of an example.
    """
    shape = example_shape(inputs, "autoencoder")
    hidden = tuple(int(width) for width in hidden)
    if hidden and min(hidden) < 1:
        raise ValueError(f"autoencoder: hidden widths must be positive; received {hidden}")
    check_own_outputs(outputs, shape, "autoencoder")
    activation = Activation(activation)
    latent = latent_size(latent, "autoencoder")
    net = Autoencoder(shape, latent, hidden, activation)
    return made(
        net,
        "autoencoder",
        latent=latent,
        hidden=hidden,
        inputs=shape,
        outputs=math.prod(shape),
        activation=str(activation),
    )


class Autoencoder(Encoder):
    """See `autoencoder`."""

    def __init__(self, inputs: tuple[int, ...], latent: int, hidden: tuple[int, ...], activation: Activation):
        super().__init__()
        self.inputs = inputs
        self.latent = latent
        widths = (math.prod(inputs), *hidden)
        self.encoder = dense((*widths, latent), activation)
        self.decoder = dense((latent, *reversed(widths)), activation)

    def encode(self, x: Tensor) -> Tensor:
        """Codes [N, Z]."""
        check_examples(x, self.inputs, "autoencoder")
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Examples [N, *inputs] of codes [N, Z]."""
        return self.decoder(z).unflatten(1, self.inputs)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of `x`, in the same shape."""
        return self.decode(self.encode(x))


def dense(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Linear maps between `widths`, with `activation` between them and none at the end."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths), start=2):
        linear = nn.Linear(before, after)
        if number < len(widths) and activation.rectifies:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation.module()] if number < len(widths) else [linear]
    return nn.Sequential(*layers)
