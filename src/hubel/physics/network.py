"""Small networks for equations, with derivatives by the coordinates in one pass, and with the rows of the Jacobian by the weights.

h_0 = features(x),  h_i = s(W_i h_{i-1} + b_i),  N = W h + b. All Taylor coefficients of a layer travel together (`jets`), and so do the slopes
on the way back, which is written by hand: with Z = W A + b and w the series of s'(Z),

    d/dZ_c = sum over b + c = a of w_b d/ds(Z)_a,     d/dA = W^T d/dZ.

The row of the Jacobian of a residual r_n by the weights follows from what arrives at each layer,  dr_n / dW = sum over m of (dr_n / dZ_mn)
A_mn^T, and so does the gradient of a sum of residuals. Points are the last axis of every array, so that they lie side by side in memory.

The arrays of all layers stay where they are from one evaluation to the next: fresh memory costs as much as the arithmetic.

Residual and gradient of Burgers' equation with 3 layers of 20 at 2,780 points, one thread: 6.1 ms, by torch's reverse
differentiation of the same series 26 ms (the least of 135 each, in alternation, on a busy machine); the arithmetic alone needs 1.5 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from hubel.physics.jets import Jet, cosine, silu_and_slope, sine, sine_and_slope, tanh_and_slope

ACTIVATIONS: dict[str, Callable[[Jet, Tensor, Tensor, Tensor], None]] = {
    "tanh": tanh_and_slope,
    "sine": sine_and_slope,
    "silu": silu_and_slope,
}
AT_ONCE = 50_000  # entries of J that are written at once: they stay in the cache


@dataclass(frozen=True)
class Passed:
    """A layer on the way: what it received (A [M, in, N]), and the series of the slope of what follows it (w [M, out, N]; None of the last)."""

    layer: nn.Linear
    received: Tensor
    slope: Tensor | None


class Tape:
    """Every layer that was passed, in order. It can be used again, and then writes over what it held."""

    def __init__(self) -> None:
        self.jet = Jet(((0,),))
        self.layers: list[Passed] = []
        self._rooms: dict[tuple[str, int], Tensor] = {}

    def room(self, what: str, number: int, *shape: int) -> Tensor:
        """An array of this shape, with what was left there."""
        size, there = math.prod(shape), self._rooms.get((what, number))
        if there is None or there.numel() < size:
            there = self._rooms[what, number] = torch.empty(size, dtype=torch.float64)
        return there[:size].view(shape)

    def back(self, slope: Tensor) -> Iterator[tuple[Passed, Tensor]]:
        """From the last layer to the first: the layer, and the slopes by its answers [M, out, N]; they hold until the next one is asked for.

        `slope` [M, K, N] are those by the answer of the network.
        """
        for number, passed in reversed(list(enumerate(self.layers))):
            if passed.slope is not None:
                slope = self.jet.turned(passed.slope, slope, self.room("turned", 0, *passed.slope.shape))
            yield passed, slope
            if number:
                weight = passed.layer.weight.t().expand(len(slope), -1, -1)
                slope = torch.bmm(weight, slope, out=self.room("back", 0, *passed.received.shape))


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
        return self.series(features.t()[None], Jet(((0,),)))[0].t()

    def series(self, features: Tensor, jet: Jet, tape: Tape | None = None) -> Tensor:
        """Taylor coefficients [M, K, N] of the answer, from those of the features [M, F, N]; with a `tape` every layer is noted."""
        tape = Tape() if tape is None else tape
        tape.jet, tape.layers, values = jet, [], features
        for place, layer in enumerate(self.linear):
            shape = len(features), layer.out_features, features.shape[2]
            answered = tape.room("answered", int(place == self.depth), *shape)
            torch.bmm(layer.weight.expand(len(features), -1, -1), values, out=answered)
            answered[0] += layer.bias[:, None]
            if place == self.depth:
                tape.layers.append(Passed(layer, values, None))
                return answered
            after, slope = tape.room("after", place, *shape), tape.room("slope", place, *shape)
            ACTIVATIONS[self.activation](jet, answered, after, slope)
            tape.layers.append(Passed(layer, values, slope))
            values = after
        raise AssertionError("a network has a last layer")


def gradient(tape: Tape, slope: Tensor) -> Tensor:
    """The slopes by all weights [P], ordered as `parameters()`, from those by the answer of the network [M, K, N]."""
    found = []
    for passed, own in tape.back(slope):
        found += [own[0].sum(1), torch.bmm(own, passed.received.transpose(1, 2)).sum(0).flatten()]
    return torch.cat(found[::-1])


def rows(tape: Tape, slope: Tensor, *, images: int = 1, into: Tensor) -> None:
    """Write the rows of the Jacobian of a residual whose n-th value depends on point n alone into `into` [P, N], its transpose.

    `slope` [M, K, R N] are the slopes of all residuals by the answer of the network, which was given R N points where `images` = R: value n
    depends on n, n + N, ... P as `parameters()` are ordered.
    """
    num, place = into.shape[1], len(into)
    for passed, own in tape.back(slope):
        left = [values for of_m in own.unbind() for values in of_m.split(num, dim=1)]  # M R of [out, N]
        right = [values for of_m in passed.received.unbind() for values in of_m.split(num, dim=1)]
        place -= passed.layer.bias.numel()
        torch.sum(torch.stack(left[:images]), 0, out=into[place : place + len(left[0])])
        place -= passed.layer.weight.numel()
        units = max(1, AT_ONCE // (len(right[0]) * num))
        block = into[place : place + passed.layer.weight.numel()].unflatten(0, passed.layer.weight.shape)
        for begin in range(0, len(block), units):
            here = block[begin : begin + units]
            for m, (ours, theirs) in enumerate(zip(left, right, strict=True)):
                if m == 0:
                    torch.mul(ours[begin : begin + units, None], theirs, out=here)
                else:
                    here.addcmul_(ours[begin : begin + units, None], theirs)


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
