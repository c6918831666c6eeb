"""All that has to vanish, as one long vector r of the weights and the unknown parameters: equation, soft conditions, data.

Every part is scaled by its size and by the number of its points, so that |r|^2 is a sum of mean squares of numbers about 1. Derivatives
are taken in blocks of points. The roughness of unknown functions (`splines`), with a weight of its own, stands below all parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.linalg import get_blas_funcs
from torch import Tensor

from hubel.physics.ansatz import Ansatz, Prepared
from hubel.physics.conditions import Soft
from hubel.physics.jets import Jet
from hubel.physics.problem import Problem
from hubel.physics.unknown import Unknown

(SYRK,) = get_blas_funcs(("syrk",), dtype="float64")
BLOCK = 3072  # points that are differentiated at once


@dataclass(frozen=True)
class Part:
    """Some rows of r: an equation (or a soft condition) at prepared points, or the difference to data.

    `weights` multiply its residuals, one each. `observed` are the measured values [N] of components, one tensor for every block.
    """

    blocks: tuple[Prepared, ...]
    weights: tuple[float, ...]
    condition: Soft | None = None
    observed: tuple[dict[str, Tensor], ...] | None = None

    @property
    def num_points(self) -> int:
        """The number of points."""
        return sum(map(len, self.blocks))


@dataclass(frozen=True)
class Linearized:
    """R [R] and J [R, P] at one theta."""

    here: Tensor
    jacobian: Tensor

    @property
    def loss(self) -> float:
        """|r|^2."""
        return float(self.here.square().sum())

    @property
    def slope(self) -> Tensor:
        """J^T r [P]."""
        return self.jacobian.t() @ self.here

    @property
    def matrix(self) -> Tensor:
        """J^T J [P, P], by a symmetric product: half of the arithmetic of a general one."""
        upper = torch.from_numpy(SYRK(1.0, self.jacobian.numpy(), trans=1).T)
        return upper + upper.tril(-1).t()


class System:
    """The vector r(theta) and what a least-squares method needs of it; theta [P] are the weights and then the numbers behind the unknowns.

    `places` are those of every unknown, `smoothing` the weights of the roughness of unknown functions.
    """

    def __init__(self, ansatz: Ansatz, parts: Sequence[Part], smoothing: Mapping[str, float] | None = None):
        self.ansatz, self.parts, self.smoothing = ansatz, tuple(parts), dict(smoothing or {})
        problem = ansatz.problem
        self.unknowns: dict[str, Unknown] = {
            name: value for name, value in problem.parameters.items() if isinstance(value, Unknown)
        }
        self.places: dict[str, slice] = {}
        self.size = ansatz.network.size
        for name, basis in problem.bases.items():
            self.places[name] = slice(self.size, self.size + basis.size)
            self.size += basis.size
        self._room: Tensor | None = None
        self._tape = ansatz.network.tape()

    @property
    def shapes(self) -> list[torch.Size]:
        """Those of the arrays that theta is made of, one after the other; the numbers behind the unknowns are one."""
        shapes, others = self.ansatz.network.shapes, self.size - self.ansatz.network.size
        return [*shapes, torch.Size((others,))] if others else shapes

    def residuals(self, theta: Tensor) -> Tensor:
        """R [R] itself."""
        self._read(theta)
        with torch.no_grad():
            return torch.cat(
                [
                    value * (weight / part.num_points**0.5)
                    for part in self.parts
                    for place in range(len(part.blocks))
                    for value, weight in zip(self._of(part, place, theta).values, part.weights, strict=True)
                ]
                + [root @ theta[own] for own, root in self._roughness()]
            )

    def loss(self, theta: Tensor) -> float:
        """|r|^2."""
        return float(self.residuals(theta).square().sum())

    def linearized(self, theta: Tensor) -> Linearized:
        """R and J at `theta`. J [R, P] is written where the last one of this system stood: one at a time is of use."""
        self._read(theta)
        if self._room is None:
            count = sum(part.num_points * len(part.weights) for part in self.parts)
            count += sum(len(root) for _, root in self._roughness())
            self._room = torch.zeros(self.size, count, dtype=torch.float64)
        here, begin = [], 0
        for part in self.parts:
            for place in range(len(part.blocks)):
                for value in self._rows(part, place, theta, begin):
                    here.append(value)
                    begin += len(value)
        for own, root in self._roughness():
            here.append(root @ theta[own])
            self._room[own, begin : begin + len(root)] = root.t()
            begin += len(root)
        return Linearized(torch.cat(here), self._room.t())

    def gradient(self, theta: Tensor) -> tuple[Tensor, float]:
        """J^T r [P] and |r|^2, without J."""
        self._read(theta)
        slope, loss = torch.zeros(self.size, dtype=torch.float64), 0.0
        for part in self.parts:
            for place, prepared in enumerate(part.blocks):
                found = self._of(part, place, theta, differentiated=True)
                squares = [weight**2 / part.num_points for weight in part.weights]
                pulled = [value.detach() * share for value, share in zip(found.values, squares, strict=True)]
                loss += sum(
                    float(value.detach() @ pull) for value, pull in zip(found.values, pulled, strict=True)
                )
                slopes, others = found.slopes(found.values, pulled)
                own = self._tape.gradient(self.ansatz.back(prepared, slopes))
                slope[: len(own)] += own
                for name, of_unknown in others.items():
                    for basis, other in zip(prepared.bases[name], of_unknown, strict=True):
                        slope[self.places[name]] += basis @ other
        for own, root in self._roughness():
            rough = root @ theta[own]
            slope[own] += root.t() @ rough
            loss += float(rough @ rough)
        return slope, loss

    def _read(self, theta: Tensor) -> None:
        """Give the weights to the network."""
        self.ansatz.network.read(theta[: self.ansatz.network.size])

    def _roughness(self) -> list[tuple[slice, Tensor]]:
        """Which numbers of theta, and the matrix [r, B] whose product with them has to vanish, for every unknown function."""
        return [
            (self.places[name], weight**0.5 * self.ansatz.problem.bases[name].roughness)
            for name, weight in self.smoothing.items()
        ]

    def _of(self, part: Part, place: int, theta: Tensor, *, differentiated: bool = False) -> Evaluated:
        """The residuals [N] of one block, which hold until the next one is asked for."""
        prepared = part.blocks[place]
        with torch.set_grad_enabled(differentiated):
            series = {
                name: [values.requires_grad_(differentiated) for values in own.unbind()]
                for name, own in self.ansatz.series(prepared, self._tape).items()
            }
            if part.observed is not None:
                given = part.observed[place]
                return Evaluated([series[name][0] - values for name, values in given.items()], series, {})
            others = {
                name: [
                    values.requires_grad_(differentiated)
                    for values in (theta[own] @ prepared.bases[name]).unbind()
                ]
                for name, own in self.places.items()
            }
            values = {
                name: unknown.series(others[name], self.ansatz.problem.bases[name].jet)
                for name, unknown in self.unknowns.items()
            }
            found = self.ansatz.problem.residuals(
                series, prepared.jet, prepared.coordinates, values, part.condition
            )
            if prepared.weight is not None:
                found = [value * prepared.weight for value in found]
        return Evaluated(found, series, others)

    def _rows(self, part: Part, place: int, theta: Tensor, begin: int) -> Iterator[Tensor]:
        """Each scaled residual of a block; its rows of J are written from row `begin` on."""
        assert self._room is not None
        prepared, weights = part.blocks[place], self.ansatz.network.size
        found = self._of(part, place, theta, differentiated=True)
        for value, weight in zip(found.values, part.weights, strict=True):
            share = weight / part.num_points**0.5
            into = self._room[:, begin : begin + len(value)]
            slopes, others = found.slopes([value], [torch.full_like(value, share)])
            self._tape.rows(
                self.ansatz.back(prepared, slopes), images=self.ansatz.images, into=into[:weights]
            )
            for name, of_unknown in others.items():
                column = into[self.places[name]]
                torch.mul(prepared.bases[name][0], of_unknown[0], out=column)
                for basis, other in zip(prepared.bases[name][1:], of_unknown[1:], strict=True):
                    column.addcmul_(basis, other)
            begin += len(value)
            yield value.detach() * share


@dataclass(frozen=True)
class Evaluated:
    """Residuals [N] each, and the Taylor coefficients (M of [N]) of the components and of what is searched behind the unknowns, of which
    they are made.
    """

    values: list[Tensor]
    series: dict[str, list[Tensor]]
    others: dict[str, list[Tensor]]

    def slopes(
        self, values: list[Tensor], along: list[Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Sequence[Tensor]]]:
        """The slopes of the sum of  along * values  by the coefficients: [M, N] of every component, and M of [N] of every unknown."""
        leaves = [leaf for own in (*self.series.values(), *self.others.values()) for leaf in own]
        found = torch.autograd.grad(values, leaves, along, retain_graph=True, materialize_grads=True)
        slopes, others, place = {}, {}, 0
        for name, own in self.series.items():
            slopes[name] = torch.stack(found[place : place + len(own)])
            place += len(own)
        for name, own in self.others.items():
            others[name] = found[place : place + len(own)]
            place += len(own)
        return slopes, others


def prepared_blocks(ansatz: Ansatz, points: Tensor, jet: Jet) -> tuple[Prepared, ...]:
    """The points [N, D], prepared in blocks."""
    return tuple(ansatz.prepare(block, jet) for block in points.split(BLOCK))


def rows_of_values(ansatz: Ansatz, theta: Tensor, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The scaled values [n] of every component at blocks of the points [N, D], with their rows [n, P] of derivatives by the weights."""
    ansatz.network.read(theta[: ansatz.network.size])
    jet = Jet(((0,) * points.shape[1],))
    for block in prepared_blocks(ansatz, points, jet):
        tape = ansatz.network.tape()
        series = ansatz.series(block, tape)
        for name, scale in ansatz.scales.items():
            slopes = {other: torch.zeros_like(values) for other, values in series.items()}
            slopes[name] += 1 / scale
            found = torch.empty(ansatz.network.size, len(block), dtype=torch.float64)
            tape.rows(ansatz.back(block, slopes), images=ansatz.images, into=found)
            yield series[name][0] / scale, found.t()


def sizes_of(
    problem: Problem, scales: Mapping[str, float], condition: Soft | None = None
) -> tuple[float, ...]:
    """The size of every residual for fields of the given scales that vary once over the domain: what the residuals are divided by."""
    generator = torch.Generator().manual_seed(4)
    jet = problem.jet
    half = [(high - low) / 2 for low, high in problem.ranges.values()]
    share = torch.rand(256, len(half), dtype=torch.float64, generator=generator)
    at = {x: low + (high - low) * share[:, k] for k, (x, (low, high)) in enumerate(problem.ranges.items())}
    series = {}
    for name, scale in scales.items():
        sizes = [scale / math.prod(h**k for h, k in zip(half, index, strict=True)) for index in jet.indices]
        random = torch.randn(len(sizes), 256, dtype=torch.float64, generator=generator)
        series[name] = random * torch.tensor(sizes, dtype=torch.float64)[:, None]
    unknowns = {
        name: [
            torch.full((256,), value.start, dtype=torch.float64),
            *(
                size * torch.randn(256, dtype=torch.float64, generator=generator)
                for size in problem.bases[name].typical(abs(value.start))
            ),
        ]
        for name, value in problem.parameters.items()
        if isinstance(value, Unknown)
    }
    found = [
        float(value.square().mean().sqrt())
        for value in problem.residuals(series, jet, at, unknowns, condition)
    ]
    return tuple(size if math.isfinite(size) and size > 0 else 1.0 for size in found)
