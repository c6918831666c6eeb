"""Small networks for equations, with derivatives by the coordinates in one pass, and with the rows of the Jacobian by the weights.

h_0 = features(x),  h_i = s(W_i h_{i-1} + b_i),  N = W h + b. All Taylor coefficients of a layer are one stacked matrix product (`jets`).

The row of the Jacobian of a residual r_n by the weights follows from what reverse differentiation leaves at each layer: with
Z = W A + b for every coefficient m,  dr_n / dW = sum over m of (dr_n / dZ_mn) A_mn^T. So the rows of all points cost one backward pass
and one batched outer product a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from hubel.physics.jets import Jet, cosine, silu, sine, tanh

ACTIVATIONS: dict[str, Callable[[Tensor, int], list[Tensor]]] = {"tanh": tanh, "sine": sine, "silu": silu}


@dataclass
class Tape:
    """What every linear layer received (A [M, N, in]) and answered (Z [M, N, out]), in order."""

    layers: list[tuple[nn.Linear, Tensor, Tensor]] = field(default_factory=list)


class SmallNetwork(nn.Module):
    """A perceptron of float64 weights on features of the coordinates: [N, F] to [N, K], `depth` hidden layers of `width`.

    >>> network = SmallNetwork(2, 1, width=20, depth=3, seed=0)
    >>> network(torch.zeros(5, 2, dtype=torch.float64)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 1]), 921)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 20,
        depth: int = 3,
        activation: str = "tanh",
        seed: int = 0,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"there is no activation {activation!r}; expected one of {', '.join(ACTIVATIONS)}"
            )
        self.inputs, self.outputs, self.width, self.depth = inputs, outputs, width, depth
        self.activation = activation
        widths = (inputs, *(width,) * depth, outputs)
        self.layers = nn.ModuleList(
            nn.Linear(before, after, dtype=torch.float64) for before, after in pairwise(widths)
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in self.linear:
                bound = math.sqrt(6 / (layer.in_features + layer.out_features))
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()
        for parameter in self.parameters():
            parameter.requires_grad_(False)  # what is differentiated are the answers of the layers (`rows`)

    @property
    def linear(self) -> list[nn.Linear]:
        """Its layers with weights."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def size(self) -> int:
        """The number of its weights P."""
        return sum(parameter.numel() for parameter in self.parameters())

    def weights(self) -> Tensor:
        """All of them, one after the other, [P]."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters()])

    def read(self, weights: Tensor) -> None:
        """Take these weights [P]."""
        place = 0
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(weights[place : place + parameter.numel()].view_as(parameter))
                place += parameter.numel()

    def widened(self, width: int, seed: int) -> SmallNetwork:
        """The same function by hidden layers of more units. New units listen to all of the layer before, and nobody listens to them yet.

        T. Chen, I. Goodfellow, J. Shlens, "Net2Net", ICLR 2016, arXiv:1511.05641, with other weights into the new units.
        """
        if width < self.width:
            raise ValueError(f"a network of width {self.width} can not be widened to {width}")
        found = SmallNetwork(
            self.inputs, self.outputs, width=width, depth=self.depth, activation=self.activation, seed=seed
        )
        with torch.no_grad():
            for old, new in zip(self.linear, found.linear, strict=True):
                new.weight[: old.out_features, old.in_features :] = 0
                new.weight[: old.out_features, : old.in_features] = old.weight
                new.bias[: old.out_features] = old.bias
        return found

    def forward(self, features: Tensor) -> Tensor:
        """The values alone."""
        return self.series(features[None], Jet(((0,),)))[0]

    def series(self, features: Tensor, jet: Jet, tape: Tape | None = None) -> Tensor:
        """Taylor coefficients [M, N, K] of the answer, from those of the features [M, N, F]; with a `tape` every layer is noted."""
        values = features
        for place, layer in enumerate(self.linear):
            answered = values @ layer.weight.t()
            answered = torch.cat([answered[:1] + layer.bias, answered[1:]])
            if tape is not None:
                if not answered.requires_grad:
                    answered.requires_grad_()
                tape.layers.append((layer, values.detach(), answered))
            values = (
                answered
                if place == len(self.layers) - 1
                else jet.apply(ACTIVATIONS[self.activation], answered)
            )
        return values


def rows(
    tape: Tape,
    residual: Tensor,
    *,
    last: bool,
    images: int = 1,
    others: Sequence[Tensor] = (),
    into: Tensor | None = None,
) -> Tensor:
    """The rows [N, P] of the Jacobian of a `residual` [N] whose n-th value depends on point n alone; P as `parameters()` are ordered.

    With `images` = R the network was given R N points, and value n depends on n, n + N, ... `last` says that nothing else will be
    differentiated on the same graph. `others` are further tensors [N] of which value n depends on entry n; their derivatives are the
    last columns. `into` is where the rows are written, if given.
    """
    slopes = torch.autograd.grad(
        residual.sum(),
        [*(answered for _, _, answered in tape.layers), *others],
        retain_graph=not last,
        materialize_grads=True,
    )
    num = len(residual)
    size = sum(layer.weight.numel() + layer.bias.numel() for layer, _, _ in tape.layers) + len(others)
    found = residual.new_empty(num, size) if into is None else into
    place = 0
    for (layer, received, _), slope in zip(tape.layers, slopes, strict=False):
        left = slope.unflatten(1, (images, num)).permute(2, 3, 0, 1).flatten(2)  # [N, out, M R]
        right = received.unflatten(1, (images, num)).permute(2, 0, 1, 3).flatten(1, 2)  # [N, M R, in]
        weights, bias = layer.weight.numel(), layer.bias.numel()
        found[:, place : place + weights] = (left @ right).flatten(1)
        found[:, place + weights : place + weights + bias] = slope[0].unflatten(0, (images, num)).sum(0)
        place += weights + bias
    for column, slope in enumerate(slopes[len(tape.layers) :], start=place):
        found[:, column] = slope
    return found


def with_cosines(
    jet: Jet, coordinate: Tensor, harmonics: Sequence[int], period: float, start: float
) -> list[Tensor]:
    """Series of the cosines and sines of a coordinate with this `period`: features of which every function is periodic."""
    found = []
    for harmonic in harmonics:
        phase = coordinate * (2 * math.pi * harmonic / period)
        phase = torch.cat([phase[:1] - 2 * math.pi * harmonic * start / period, phase[1:]])
        found += [jet.apply(cosine, phase), jet.apply(sine, phase)]
    return found
