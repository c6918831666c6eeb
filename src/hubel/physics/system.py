"""All that has to vanish, as one long vector r of the weights and the unknown parameters: equation, soft conditions, data.

Every part is scaled by its size and by the number of its points, so that |r|^2 is a sum of mean squares of numbers about 1. Derivatives
are taken in blocks of points, which stay in the cache. For one thread and 1000 points of Burgers' equation with 941 weights: r takes
2.5 ms, the rows of J 10 ms, J^T J 18 ms.
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
from hubel.physics.network import Tape, rows
from hubel.physics.problem import Problem
from hubel.physics.unknown import Unknown

(SYRK,) = get_blas_funcs(("syrk",), dtype="float64")
BLOCK = 1024  # points that are differentiated at once


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
        upper = torch.from_numpy(SYRK(1.0, self.jacobian.numpy().T).T)
        return upper + upper.tril(-1).t()


class System:
    """The vector r(theta) and what a least-squares method needs of it; theta [P] are the weights and then the unknowns."""

    def __init__(self, ansatz: Ansatz, parts: Sequence[Part]):
        self.ansatz, self.parts = ansatz, tuple(parts)
        problem = ansatz.problem
        self.unknowns: dict[str, Unknown] = {
            name: value for name, value in problem.parameters.items() if isinstance(value, Unknown)
        }
        self.size = ansatz.network.size + len(self.unknowns)
        self._room: Tensor | None = None

    def residuals(self, theta: Tensor) -> Tensor:
        """R [R] itself."""
        inner = self._read(theta)
        with torch.no_grad():
            return torch.cat(
                [
                    value * (weight / part.num_points**0.5)
                    for part in self.parts
                    for place in range(len(part.blocks))
                    for value, weight in zip(self._of(part, place, inner, None)[0], part.weights, strict=True)
                ]
            )

    def loss(self, theta: Tensor) -> float:
        """|r|^2."""
        return float(self.residuals(theta).square().sum())

    def linearized(self, theta: Tensor) -> Linearized:
        """R and J at `theta`. J [R, P] is written where the last one of this system stood: one at a time is of use."""
        inner = self._read(theta)
        if self._room is None:
            count = sum(part.num_points * len(part.weights) for part in self.parts)
            self._room = torch.zeros(count, self.size, dtype=torch.float64)
        here, begin = [], 0
        for part in self.parts:
            for place in range(len(part.blocks)):
                for value in self._rows(part, place, inner, begin):
                    here.append(value)
                    begin += len(value)
        return Linearized(torch.cat(here), self._room)

    def gradient(self, theta: Tensor) -> tuple[Tensor, float]:
        """J^T r [P] and |r|^2, without J."""
        inner = self._read(theta)
        slope, loss = torch.zeros(self.size, dtype=torch.float64), 0.0
        for part in self.parts:
            for place in range(len(part.blocks)):
                tape = Tape()
                values, others = self._of(part, place, inner, tape)
                share = part.num_points**-0.5
                half = torch.zeros((), dtype=torch.float64)
                for value, weight in zip(values, part.weights, strict=True):
                    half = half + (value * (weight * share)).square().sum() / 2
                loss += 2 * float(half.detach())
                slopes = torch.autograd.grad(
                    half, [*(answered for _, _, answered in tape.layers), *others], materialize_grads=True
                )
                found = []
                for (_, received, _), back in zip(tape.layers, slopes, strict=False):
                    weights = back.flatten(0, 1).t() @ received.flatten(0, 1)
                    found += [weights.flatten(), back[0].sum(0)]
                found += [back.sum()[None] for back in slopes[len(tape.layers) :]]
                together = torch.cat(found)
                slope[: len(together)] += together
        return slope, loss

    def _read(self, theta: Tensor) -> Tensor:
        """Give the weights to the network; the rest are the numbers behind the unknowns."""
        weights = self.ansatz.network.size
        self.ansatz.network.read(theta[:weights])
        return theta[weights:]

    def _of(
        self, part: Part, place: int, inner: Tensor, tape: Tape | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The residuals [N] of one block, and the numbers behind the unknowns at every point [N]."""
        prepared = part.blocks[place]
        series = self.ansatz.series(prepared, tape)
        if part.observed is not None:
            return [series[name][0] - values for name, values in part.observed[place].items()], []
        others = [value.expand(len(prepared)).clone().requires_grad_(tape is not None) for value in inner]
        values = {
            name: unknown.value(other)
            for (name, unknown), other in zip(self.unknowns.items(), others, strict=True)
        }
        found = self.ansatz.problem.residuals(
            series, prepared.jet, prepared.coordinates, values, part.condition
        )
        return found, others

    def _rows(self, part: Part, place: int, inner: Tensor, begin: int) -> Iterator[Tensor]:
        """Each scaled residual of a block; its rows of J are written from row `begin` on."""
        assert self._room is not None
        tape = Tape()
        values, others = self._of(part, place, inner, tape)
        columns = self.ansatz.network.size + len(others)
        for number, (value, weight) in enumerate(zip(values, part.weights, strict=True)):
            scaled = value * (weight / part.num_points**0.5)
            into = self._room[begin : begin + len(value), :columns]
            last = number == len(values) - 1
            rows(tape, scaled, last=last, images=self.ansatz.images, others=others, into=into)
            begin += len(value)
            yield scaled.detach()


def prepared_blocks(ansatz: Ansatz, points: Tensor, jet: Jet) -> tuple[Prepared, ...]:
    """The points [N, D], prepared in blocks."""
    return tuple(ansatz.prepare(block, jet) for block in points.split(BLOCK))


def rows_of_values(ansatz: Ansatz, theta: Tensor, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The scaled values [n] of every component at blocks of the points [N, D], with their rows [n, P] of derivatives by the weights."""
    ansatz.network.read(theta[: ansatz.network.size])
    jet = Jet(((0,) * points.shape[1],))
    for block in prepared_blocks(ansatz, points, jet):
        tape = Tape()
        series = ansatz.series(block, tape)
        for name, scale in ansatz.scales.items():
            value = series[name][0] / scale
            yield value.detach(), rows(tape, value, last=False, images=ansatz.images)


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
        name: torch.full((256,), value.start, dtype=torch.float64)
        for name, value in problem.parameters.items()
        if isinstance(value, Unknown)
    }
    found = [
        float(value.square().mean().sqrt())
        for value in problem.residuals(series, jet, at, unknowns, condition)
    ]
    return tuple(size if math.isfinite(size) and size > 0 else 1.0 for size in found)
