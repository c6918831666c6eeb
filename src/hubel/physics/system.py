"""All that has to vanish, as one long vector r of the weights and the unknown parameters: equation, soft conditions, data.

Every part is scaled by its size and by the number of its points, so that |r|^2 is a sum of mean squares of numbers about 1. The matrix
J^T J and the vector J^T r are summed over blocks of points; J itself is never whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from torch import Tensor

from hubel.physics.ansatz import Ansatz, Prepared
from hubel.physics.conditions import Soft
from hubel.physics.jets import Jet
from hubel.physics.network import Tape, rows
from hubel.physics.problem import Problem
from hubel.physics.unknown import Unknown

BLOCK = 1024  # points whose rows of J are held at once: 8 MB for 1000 weights


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


class System:
    """The vector r(theta) and what a least-squares method needs of it; theta [P] are the weights and then the unknowns."""

    def __init__(self, ansatz: Ansatz, parts: Sequence[Part]):
        self.ansatz, self.parts = ansatz, tuple(parts)
        problem = ansatz.problem
        self.unknowns: dict[str, Unknown] = {
            name: value for name, value in problem.parameters.items() if isinstance(value, Unknown)
        }
        self.size = ansatz.network.size + len(self.unknowns)

    def residuals(self, theta: Tensor) -> Tensor:
        """R [R] itself."""
        inner = self._read(theta)
        with torch.no_grad():
            return torch.cat(
                [
                    value * (weight / part.num_points**0.5)
                    for part in self.parts
                    for place in range(len(part.blocks))
                    for value, weight in zip(
                        self._of(part, place, inner, None)[0], part.weights, strict=True
                    )
                ]
            )

    def loss(self, theta: Tensor) -> float:
        """|r|^2."""
        return float(self.residuals(theta).square().sum())

    def normal(self, theta: Tensor) -> tuple[Tensor, Tensor, float]:
        """J^T J [P, P], J^T r [P] and |r|^2."""
        inner = self._read(theta)
        matrix = np.zeros((self.size, self.size), order="F")
        slope, loss = torch.zeros(self.size, dtype=torch.float64), 0.0
        room = torch.empty(BLOCK, self.size, dtype=torch.float64)
        for part in self.parts:
            for place in range(len(part.blocks)):
                for value, jacobian in self._rows(part, place, inner, room):
                    loss += float(value.square().sum())
                    slope += jacobian.t() @ value
                    matrix = dsyrk(1.0, jacobian.numpy().T, beta=1.0, c=matrix, overwrite_c=1)
        lower = torch.from_numpy(matrix.T)
        return lower + lower.tril(-1).t(), slope, loss

    def gradient(self, theta: Tensor, along: Tensor | None = None) -> tuple[Tensor, float]:
        """J^T r [P] (or J^T v, v = `along` [R]) and |r|^2, without J^T J."""
        inner = self._read(theta)
        slope, loss, begin = torch.zeros(self.size, dtype=torch.float64), 0.0, 0
        for part in self.parts:
            for place in range(len(part.blocks)):
                tape = Tape()
                values, others = self._of(part, place, inner, tape)
                total = torch.zeros((), dtype=torch.float64)
                for value, weight in zip(values, part.weights, strict=True):
                    scaled = value * (weight / part.num_points**0.5)
                    loss += float(scaled.detach().square().sum())
                    share = scaled.detach() if along is None else along[begin : begin + len(scaled)]
                    total = total + (scaled * share).sum()
                    begin += len(scaled)
                slopes = torch.autograd.grad(
                    total, [*(answered for _, _, answered in tape.layers), *others], materialize_grads=True
                )
                found = []
                for (_, received, _), back in zip(tape.layers, slopes, strict=False):
                    found += [
                        (back.flatten(0, 1).t() @ received.flatten(0, 1)).flatten(),
                        back[0].sum(0),
                    ]
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

    def _rows(self, part: Part, place: int, inner: Tensor, room: Tensor):
        """Each residual of a block with its rows of J, one after the other in the same `room`."""
        tape = Tape()
        values, others = self._of(part, place, inner, tape)
        weights = self.ansatz.network.size
        for number, (value, weight) in enumerate(zip(values, part.weights, strict=True)):
            scaled = value * (weight / part.num_points**0.5)
            into = room[: len(value)]
            into[:, weights:] = 0
            with_others = into if others else into[:, :weights]
            last = number == len(values) - 1
            rows(tape, scaled, last=last, images=self.ansatz.images, others=others, into=with_others)
            yield scaled.detach(), into


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


def sizes_of(problem: Problem, scales: Mapping[str, float], condition: Soft | None = None) -> tuple[float, ...]:
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
    found = [float(value.square().mean().sqrt()) for value in problem.residuals(series, jet, at, unknowns, condition)]
    return tuple(size if math.isfinite(size) and size > 0 else 1.0 for size in found)
