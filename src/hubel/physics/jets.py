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
ONE, MINUS_ONE = torch.tensor([1.0, -1.0], dtype=torch.float64)


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

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Where the indices of each order from 1 on begin and end."""
        orders = [sum(index) for index in self.indices]
        return tuple((orders.index(k), orders.index(k) + orders.count(k)) for k in range(1, self.order + 1))

    def times(self, first: Tensor, second: Tensor) -> Tensor:
        """The series of a product; both [M, ...]."""
        found = first[0] * second
        for place, pairs in enumerate(self.products):
            for b, c in pairs:
                if b:
                    found[place].addcmul_(first[b], second[c])
        return found

    def turned(self, first: Tensor, slope: Tensor, out: Tensor | None = None) -> Tensor:
        """What `times` does to slopes on the way back: from d/d(first f)_a [M, ...] those by f_c, the sum over b + c = a of first_b slope_a."""
        found = torch.mul(first[0], slope, out=out)
        if len(self.indices) > 1:
            of_found, of_first, of_slope = found.unbind(), first.unbind(), slope.unbind()
            for place, pairs in enumerate(self.products):
                for b, c in pairs:
                    if b:
                        of_found[c].addcmul_(of_first[b], of_slope[place])
        return found

    @cached_property
    def flows(self) -> tuple[tuple[tuple[int, int, float], ...], ...]:
        """For a_b = w_0 z_b + sum of share w_c z_d, which is the coefficient b of  da/dx_i = w dz/dx_i:  for every b the (c, d, share)."""
        found = []
        for index, pairs in zip(self.indices, self.products, strict=True):
            axis = min((order, axis) for axis, order in enumerate(index) if order)[1] if any(index) else 0
            shares = [(c, d, self.indices[d][axis] / max(index[axis], 1)) for c, d in pairs if c]
            found.append(tuple(term for term in shares if term[2]))
        return tuple(found)

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
            return self.differentiated(function(*given), given).detach()

    def differentiated(self, value: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """The series [M, N] of a `value` [N] that torch computed from the coordinates [N], each entry from its own; it can be differentiated on.

        The function that is looked at may depend on other things as well, such as weights.
        """
        known: dict[Index, Tensor] = {self.indices[0]: value + 0 * coordinates[0]}
        slopes: dict[Index, Sequence[Tensor | None]] = {}
        for index in self.indices[1:]:
            axis = max(axis for axis, order in enumerate(index) if order)
            lower = tuple(order - (place == axis) for place, order in enumerate(index))
            if lower not in slopes:
                before = known[lower]
                slopes[lower] = (
                    torch.autograd.grad(before.sum(), coordinates, create_graph=True, allow_unused=True)
                    if before.requires_grad
                    else (None,) * len(coordinates)
                )
            slope = slopes[lower][axis]
            known[index] = torch.zeros_like(coordinates[axis]) if slope is None else slope
        return torch.stack(
            [known[index] / factor for index, factor in zip(self.indices, self.factorials, strict=True)]
        )


def exponential(z: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of the exponential function."""
    e = torch.exp(z)
    return [e / math.factorial(k) for k in range(order + 1)]


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


def tanh_and_slope(jet: Jet, z: Tensor, a: Tensor, w: Tensor) -> None:
    """Write the series of tanh(z) to `a` and that of its slope 1 - tanh(z)^2 to `w`, all [M, ...], order by order from each other:

    b_i a_b = sum over c + d = b of d_i w_c z_d,   w_b = - sum over c + d = b of a_c a_d.

    tanh(z) is 2 / (1 + exp(-2z)) - 1: in absolute terms as exact as torch.tanh, and faster (0.9 against 4.9 ns a number).
    """
    of_a, of_w, of_z = a.unbind(), w.unbind(), z.unbind()
    torch.mul(of_z[0], 2, out=of_w[0])
    torch.sigmoid(of_w[0], out=of_a[0])
    torch.add(MINUS_ONE, of_a[0], alpha=2, out=of_a[0])
    torch.addcmul(ONE, of_a[0], of_a[0], value=-1, out=of_w[0])
    if jet.order == 0:
        return
    torch.mul(of_w[0], z[1:], out=a[1:])
    twice = -2 * of_a[0]
    for begin, end in jet.levels:
        for place in range(begin, end):
            for c, d, share in jet.flows[place]:
                of_a[place].addcmul_(of_w[c], of_z[d], value=share)
        torch.mul(twice, a[begin:end], out=w[begin:end])
        for place in range(begin, end):
            for c, d in jet.products[place]:
                if 0 < c <= d:
                    of_w[place].addcmul_(of_a[c], of_a[d], value=-1 if c == d else -2)


def sine_and_slope(jet: Jet, z: Tensor, a: Tensor, w: Tensor) -> None:
    """Write the series of sin(z) to `a` and that of its slope cos(z) to `w`, all [M, ...], order by order from each other:

    b_i a_b = sum over c + d = b of d_i w_c z_d,   b_i w_b = - sum over c + d = b of d_i a_c z_d.
    """
    of_a, of_w, of_z = a.unbind(), w.unbind(), z.unbind()
    torch.sin(of_z[0], out=of_a[0])
    torch.cos(of_z[0], out=of_w[0])
    for place in range(1, len(of_z)):
        torch.mul(of_w[0], of_z[place], out=of_a[place])
        torch.mul(of_a[0], of_z[place], out=of_w[place]).neg_()
        for c, d, share in jet.flows[place]:
            of_a[place].addcmul_(of_w[c], of_z[d], value=share)
            of_w[place].addcmul_(of_a[c], of_z[d], value=-share)


def silu_and_slope(jet: Jet, z: Tensor, a: Tensor, w: Tensor) -> None:
    """Write the series of z / (1 + e^-z) to `a` and that of its slope to `w`, all [M, ...]."""

    def slope(z: Tensor, order: int) -> list[Tensor]:
        return [k * coefficient for k, coefficient in enumerate(silu(z, order + 1)) if k]

    a.copy_(jet.apply(silu, z))
    w.copy_(jet.apply(slope, z))
