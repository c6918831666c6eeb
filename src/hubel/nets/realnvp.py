"""RealNVP: an invertible network that turns the data into standard normal numbers, and so knows their density.

    ln p(x) = ln N(z; 0, 1) + ln |det ∂z/∂x|,   z = f(x)

f is a chain of affine couplings: the entries of a vector are cut in two, and one half is shifted and scaled by what a small
network makes of the other,

    z₁ = x₁,   z₂ = (x₂ − t(x₁)) · exp(−s(x₁)),   ln |det| = −Σ s(x₁)

which is undone exactly by x₂ = z₂ exp(s) + t. Between couplings the entries are shuffled (an order that is fixed when the
network is made, and stored with it). At the end every entry has a shift and a scale of its own.
s = limit · tanh(raw / limit), so that no scale runs away. At the start f is the identity: p is the standard normal.

Source: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", ICLR 2017 (arXiv:1605.08803), equations 4 to
8. Differences: dense networks, also for (flattened, small) pictures; no multi-scale architecture and no batch norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hubel.layers.activation import Activation
from hubel.nets.autoencoder import dense
from hubel.nets.latent import Encoder, Generator, check_examples, check_own_outputs, example_shape
from hubel.nets.made import made

LIMIT = 2.0  # of the logarithm of one coupling's scale


def realnvp(
    couplings: int = 8,
    hidden: Sequence[int] = (64, 64),
    *,
    inputs: int | Sequence[int],
    outputs: int | None = None,
) -> RealNVP:
    """Log densities [N, 1] (nats) of examples [N, *inputs], which are flattened; `encode` gives z, `generate` is the inverse.

    >>> net = realnvp(4, inputs=2)
    >>> x = torch.tensor([[0.0, 0.0]])
    >>> round(net(x).item(), 4)  # at the start the standard normal in two dimensions: −ln 2π
    -1.8379
    >>> torch.allclose(net.generate(net.encode(x)), x, atol=1e-6)
    True

    Raises `ValueError` for fewer than 2 values an example, fewer than 2 couplings, sizes that are not positive, and outputs other
    than the values of an example.
    """
    shape = example_shape(inputs, "realnvp")
    if math.prod(shape) < 2:
        raise ValueError("realnvp: a coupling needs two values an example at least; received one")
    if couplings < 2 or int(couplings) != couplings:
        raise ValueError(
            f"realnvp: couplings must be a whole number of at least 2, so that every value is changed; received {couplings!r}"
        )
    hidden = tuple(int(size) for size in hidden)
    if hidden and min(hidden) < 1:
        raise ValueError(f"realnvp: hidden widths must be positive; received {hidden}")
    check_own_outputs(outputs, shape, "realnvp")
    net = RealNVP(shape, int(couplings), hidden)
    return made(
        net, "realnvp", couplings=int(couplings), hidden=hidden, inputs=shape, outputs=math.prod(shape)
    )


class RealNVP(Encoder, Generator):
    """See `realnvp`."""

    def __init__(self, inputs: tuple[int, ...], couplings: int, hidden: tuple[int, ...]):
        super().__init__()
        self.inputs = inputs
        self.latent = math.prod(inputs)
        self.couplings = nn.ModuleList(Coupling(self.latent, hidden) for _ in range(couplings))
        self.shift = nn.Parameter(torch.zeros(self.latent))
        self.log_scale = nn.Parameter(torch.zeros(self.latent))

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes z [N, F] of examples [N, *inputs], and ln |det ∂z/∂x| [N]."""
        check_examples(x, self.inputs, "realnvp")
        z = x.flatten(1)
        z = z.float() if z.dtype.itemsize < 4 else z
        total = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, change = coupling(z)
            total = total + change
        z = (z - self.shift) * (-self.log_scale).exp()
        return z, total - self.log_scale.sum()

    def encode(self, x: Tensor) -> Tensor:
        """The codes z [N, F]."""
        return self.flow(x)[0]

    def generate(self, z: Tensor) -> Tensor:
        """The examples [N, *inputs] whose codes are `z` [N, F]."""
        x = z * self.log_scale.exp() + self.shift
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            x = coupling.inverse(x)
        return x.unflatten(1, self.inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Log densities ln p(x) in nats, [N, 1], of scaled inputs."""
        z, log_determinant = self.flow(x)
        normal = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        return (normal + log_determinant).unsqueeze(1)


class Coupling(nn.Module):
    """One affine coupling over shuffled entries: [N, F] → [N, F], and the logarithm of its determinant [N]."""

    order: Tensor
    back: Tensor

    def __init__(self, size: int, hidden: Sequence[int]):
        super().__init__()
        self.kept = size // 2
        order = torch.randperm(size)
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())
        self.net = dense((self.kept, *hidden, 2 * (size - self.kept)), Activation.RELU)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The changed entries, and ln |det|."""
        kept, other = x[:, self.order].split((self.kept, x.shape[1] - self.kept), dim=1)
        shift, scale = self._of(kept)
        z = torch.cat([kept, (other - shift) * (-scale).exp()], dim=1)
        return z[:, self.back], -scale.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """The x of z."""
        kept, other = z[:, self.order].split((self.kept, z.shape[1] - self.kept), dim=1)
        shift, scale = self._of(kept)
        return torch.cat([kept, other * scale.exp() + shift], dim=1)[:, self.back]

    def _of(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.net(kept).chunk(2, dim=1)
        shift, raw = shift.to(kept.dtype), raw.to(kept.dtype)
        return shift, LIMIT * torch.tanh(raw / LIMIT)
