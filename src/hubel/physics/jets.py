"""Derivatives that travel forward through a network: truncated Taylor series in several coordinates, in one pass.

Around a point x a function is known by its Taylor coefficients  f_a = (1/a!) d^a f,  a = (a_1 ... a_D) a multi-index. Coefficients add,
multiply by the rule of Cauchy  (f g)_a = sum over b + c = a of f_b g_c,  and a function s of a series z = z_0 + dz is

    s(z) = sum over k of s_k (dz)^k,     s_k = s^(k)(z_0) / k!,

which ends at the highest order that is kept, for (dz)^k begins at order k. A linear map acts on every coefficient alike, so that a layer
is one matrix product for all of them. Only the coefficients that an equation needs are kept, and those below them.

Source: A. Griewank, A. Walther, "Evaluating Derivatives", 2nd edition, SIAM 2008, doi:10.1137/1.9780898717761, chapter 13; for networks
J. Bettencourt, M. Johnson, D. Duvenaud, "Taylor-mode automatic differentiation for higher-order derivatives in JAX" (2019).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Index = tuple[int, ...]


@dataclass(frozen=True)
class Jet:
    """The multi-indices that are kept: closed downwards, lower orders first, so that `indices[0]` is the value itself.

    >>> Jet.of([(1, 0), (0, 2)]).indices  # u_t and u_xx: their own, the value, and u_x
    ((0, 0), (0, 1), (1, 0), (0, 2))
    """

    indices: tuple[Index, ...]

    @staticmethod
    def of(needed: Iterable[Index]) -> Jet:
        """The smallest set that is closed downwards and holds all that are `needed`.

        Raises `ValueError` where they have different lengths, or there are none.
        """
        needed = [tuple(int(order) for order in index) for index in needed]
        if not needed or len({len(index) for index in needed}) != 1 or min(map(min, needed)) < 0:
            raise ValueError(f"expected multi-indices of one length, at least one; received {needed}")
        below = {
            lower for index in needed for lower in itertools.product(*(range(order + 1) for order in index))
        }
        return Jet(tuple(sorted(below, key=lambda index: (sum(index), index))))

    @property
    def order(self) -> int:
        """The highest order that is kept."""
        return max(sum(index) for index in self.indices)

    @property
    def dimensions(self) -> int:
        """The number of coordinates D."""
        return len(self.indices[0])

    @cached_property
    def places(self) -> dict[Index, int]:
        """Where each index stands."""
        return {index: place for place, index in enumerate(self.indices)}

    @cached_property
    def products(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For every index a the pairs of places (b, c) with b + c = a."""
        return tuple(
            tuple(
                (self.places[lower], self.places[tuple(a - b for a, b in zip(index, lower, strict=True))])
                for lower in itertools.product(*(range(order + 1) for order in index))
            )
            for index in self.indices
        )

    @cached_property
    def factorials(self) -> tuple[float, ...]:
        """A! of every index: a derivative is its coefficient times this."""
        return tuple(float(math.prod(math.factorial(order) for order in index)) for index in self.indices)

    def coordinate(self, values: Tensor, axis: int) -> Tensor:
        """The series [M, N] of coordinate number `axis` itself, at `values` [N]."""
        rows = [values]
        for index in self.indices[1:]:
            own = sum(index) == 1 and index[axis] == 1
            rows.append(torch.ones_like(values) if own else torch.zeros_like(values))
        return torch.stack(rows)

    def times(self, first: Tensor, second: Tensor) -> Tensor:
        """The series of a product; both [M, ...]."""
        return torch.stack(
            [sum((first[b] * second[c] for b, c in pairs), start=torch.zeros(())) for pairs in self.products]  # type: ignore[misc]
        )

    def apply(self, coefficients: Callable[[Tensor, int], Sequence[Tensor]], series: Tensor) -> Tensor:
        """The series of s(z), z given as `series` [M, ...]; `coefficients(z_0, order)` are s_0 ... s_order there."""
        found = coefficients(series[0], self.order)
        powers: list[dict[int, Tensor]] = [
            {},
            {place: series[place] for place in range(1, len(self.indices))},
        ]
        for power in range(2, self.order + 1):
            powers.append(self._next_power(powers[1], powers[-1], power))
        rows = [found[0]]
        for place in range(1, len(self.indices)):
            row = found[1] * powers[1][place]
            for power in range(2, sum(self.indices[place]) + 1):
                if place in powers[power]:
                    row = row + found[power] * powers[power][place]
            rows.append(row)
        return torch.stack(rows)

    def _next_power(
        self, series: dict[int, Tensor], before: dict[int, Tensor], power: int
    ) -> dict[int, Tensor]:
        """(dz)^power, from dz and (dz)^(power - 1); only what does not vanish."""
        found = {}
        for place, pairs in enumerate(self.products):
            if sum(self.indices[place]) < power:
                continue
            terms = [series[b] * before[c] for b, c in pairs if b in series and c in before]
            if terms:
                total = terms[0]
                for term in terms[1:]:
                    total = total + term
                found[place] = total
        return found

    def of_function(self, function: Callable[..., Tensor], coordinates: Sequence[Tensor]) -> Tensor:
        """The series [M, N] of any differentiable `function` of the coordinates [N], by repeated reverse differentiation.

        Slow for high orders, and exact to rounding; for functions that are known once and for all, such as conditions.
        """
        given = [values.detach().clone().requires_grad_() for values in coordinates]
        with torch.enable_grad():
            value = function(*given)
            known: dict[Index, Tensor] = {self.indices[0]: value + 0 * given[0]}
            for index in self.indices[1:]:
                axis = max(axis for axis, order in enumerate(index) if order)
                lower = tuple(order - (place == axis) for place, order in enumerate(index))
                before = known[lower]
                slope = (
                    torch.autograd.grad(before.sum(), given[axis], create_graph=True, allow_unused=True)[0]
                    if before.requires_grad
                    else None
                )
                known[index] = torch.zeros_like(given[axis]) if slope is None else slope
        return torch.stack(
            [
                known[index].detach() / factor
                for index, factor in zip(self.indices, self.factorials, strict=True)
            ]
        )


def tanh(z: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of tanh: (k + 1) s_{k+1} = [k = 0] - sum of s_i s_{k-i}, for s' = 1 - s^2."""
    found = [torch.tanh(z)]
    for k in range(order):
        total = found[0] * found[k] if k else found[0] * found[0]
        for i in range(1, k + 1):
            total = total + found[i] * found[k - i]
        found.append((1 - total) if k == 0 else total * (-1.0 / (k + 1)))
    return found


def sine(z: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of the sine."""
    s, c = torch.sin(z), torch.cos(z)
    cycle = (s, c, -s, -c)
    return [cycle[k % 4] / math.factorial(k) for k in range(order + 1)]


def cosine(z: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of the cosine."""
    s, c = torch.sin(z), torch.cos(z)
    cycle = (c, -s, -c, s)
    return [cycle[k % 4] / math.factorial(k) for k in range(order + 1)]


def silu(z: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of z / (1 + e^-z), from those of the logistic function, s' = s - s^2."""
    logistic = [torch.sigmoid(z)]
    for k in range(order):
        total = logistic[0] * logistic[k]
        for i in range(1, k + 1):
            total = total + logistic[i] * logistic[k - i]
        logistic.append((logistic[k] - total) / (k + 1))
    return [z * logistic[0]] + [z * logistic[k] + logistic[k - 1] for k in range(1, order + 1)]
