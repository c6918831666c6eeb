"""What a network of layers did on the way forward, and the way back, written by hand.

With Z = W A + b the series that enters an activation s and w the series of s'(Z),

    d/dZ_c = sum over b + c = a of w_b d/ds(Z)_a,     d/dA = W^T d/dZ  (+ d/ds(Z) where A was added to s(Z)).

The row of the Jacobian of a residual r_n by the weights follows from what arrives at each layer,  dr_n / dW = sum over m of (dr_n / dZ_mn)
A_mn^T, and so does the gradient of a sum of residuals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hubel.physics.jets import Jet

AT_ONCE = 50_000  # entries of J that are written at once: they stay in the cache


@dataclass(frozen=True)
class Passed:
    """A layer on the way: what it received (A [M, in, N]), the series of the slope of what follows it (w [M, out, N]; None of the last), and
    whether A was added to its answer (`residual`).
    """

    layer: nn.Linear
    received: Tensor
    slope: Tensor | None
    residual: bool = False


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
            arrived = slope
            if passed.slope is not None:
                slope = self.jet.turned(passed.slope, slope, self.room("turned", 0, *passed.slope.shape))
            yield passed, slope
            if number:
                weight = passed.layer.weight.t().expand(len(slope), -1, -1)
                if passed.residual:
                    slope = arrived.baddbmm_(weight, slope)
                else:
                    slope = torch.bmm(weight, slope, out=self.room("back", 0, *passed.received.shape))

    def gradient(self, slope: Tensor) -> Tensor:
        """The slopes by all weights [P], ordered as `parameters()`, from those by the answer of the network [M, K, N]."""
        found = []
        for passed, own in self.back(slope):
            found += [own[0].sum(1), torch.bmm(own, passed.received.transpose(1, 2)).sum(0).flatten()]
        return torch.cat(found[::-1])

    def rows(self, slope: Tensor, *, images: int = 1, into: Tensor) -> None:
        """Write the rows of the Jacobian of a residual whose n-th value depends on point n alone into `into` [P, N], its transpose.

        `slope` [M, K, R N] are the slopes of all residuals by the answer of the network, which was given R N points where `images` = R:
        value n depends on n, n + N, ... P as `parameters()` are ordered.
        """
        num, place = into.shape[1], len(into)
        for passed, own in self.back(slope):
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
