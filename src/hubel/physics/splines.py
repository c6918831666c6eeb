"""Functions of one to three coordinates by B-splines, and how rough they are.

f(x) = sum of c_j B_j(x), products of B-splines of degree 5 on equal intervals of every coordinate: all derivatives to the fourth are
continuous, and f is linear in its numbers c, so that the rows of a Jacobian are the B-splines themselves. Along a periodic coordinate the
splines are periodic. How rough f is, is measured by the integral of its squared second derivatives on coordinates scaled to [-1, 1],

    c^T S c = mean of  sum over |a| = 2 of (2! / a!) (d^a f)^2,

the penalty of smoothing splines, which straight lines and planes do not pay.

C. de Boor, "A Practical Guide to Splines", Springer 2001, chapters IX to XI; S. N. Wood, "Generalized Additive Models", 2nd edition,
CRC 2017, doi:10.1201/9781315370279, chapter 5.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from hubel.physics.jets import Index, Jet

DEGREE = 5
INTERVALS = {1: 20, 2: 7, 3: 3}  # of every coordinate, by the number of coordinates
ALONG = {
    1: 41,
    2: 9,
    3: 5,
}  # points of the grid on which functions are compared, by the number of coordinates
FLAT = 1e-10  # of the largest eigenvalue of S: below it lies rounding


@dataclass(frozen=True)
class Constant:
    """A number as a function of no coordinates: there is one, and it is 1."""

    names: ClassVar[tuple[str, ...]] = ()
    size: ClassVar[int] = 1
    jet: ClassVar[Jet] = Jet(((),))
    grid: ClassVar[Tensor] = torch.ones(1, 1, dtype=torch.float64)
    roughness: ClassVar[Tensor] = torch.empty(0, 1, dtype=torch.float64)

    def series(self, points: Tensor) -> Tensor:
        """1 at all points, [1, 1, N]."""
        return torch.ones(1, 1, len(points), dtype=torch.float64)

    def typical(self, size: float) -> list[float]:
        """A number has no derivatives."""
        return []


@dataclass(frozen=True, kw_only=True)
class Spline:
    """All functions of the coordinates `names`, which stand at `places` among those of the domain and have these `ranges`.

    `jet` are the derivatives that are needed, by the own coordinates alone.

    >>> spline = Spline(names=("x",), places=(1,), ranges=((0.0, 2.0),), periodic=(False,), jet=Jet(((0,), (1,))))
    >>> points = torch.tensor([[9.0, 0.5], [9.0, 1.5]], dtype=torch.float64)
    >>> spline.size, spline.series(points).sum(1).abs().round(decimals=9).tolist()
    (25, [[1.0, 1.0], [0.0, 0.0]])
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...]
    periodic: tuple[bool, ...]
    jet: Jet

    @property
    def intervals(self) -> int:
        """Those of every coordinate."""
        return INTERVALS[len(self.names)]

    @property
    def size(self) -> int:
        """How many numbers a function has, B."""
        return math.prod(self.intervals + (0 if around else DEGREE) for around in self.periodic)

    def series(self, points: Tensor) -> Tensor:
        """Taylor coefficients [M, B, N] of every B-spline at `points` [N, D] of the domain."""
        return self._series(points[:, list(self.places)], self.jet)

    def typical(self, size: float) -> list[float]:
        """How large the Taylor coefficients beyond the first are of a function of this size that varies once over its coordinates."""
        half = [(high - low) / 2 for low, high in self.ranges]
        return [
            size / math.prod(h**k for h, k in zip(half, index, strict=True)) for index in self.jet.indices[1:]
        ]

    def values(self, points: Tensor) -> Tensor:
        """The B-splines [B, N] themselves, at points [N, d] of the own coordinates."""
        return self._series(points, Jet(((0,) * len(self.names),)))[0]

    @cached_property
    def grid(self) -> Tensor:
        """The B-splines [B, G] at points that cover the coordinates, on which functions are compared."""
        num = ALONG[len(self.names)]
        axes = [torch.linspace(*ends, num, dtype=torch.float64) for ends in self.ranges]
        return self.values(torch.cartesian_prod(*axes).view(-1, len(axes)))

    @cached_property
    def roughness(self) -> Tensor:
        """A root R [r, B] of S = R^T R."""
        indices: list[Index] = [
            index for index in itertools.product(range(3), repeat=len(self.names)) if sum(index) == 2
        ]
        total = np.zeros((self.size, self.size))
        for index in indices:
            product = np.ones((1, 1))
            for axis, order in enumerate(index):
                product = np.kron(product, self._gram(axis, order))
            total += 2 / math.prod(math.factorial(order) for order in index) * product
        sizes, vectors = np.linalg.eigh(total)
        kept = sizes > FLAT * sizes[-1]
        return torch.from_numpy(np.ascontiguousarray((vectors[:, kept] * np.sqrt(sizes[kept])).T))

    def _series(self, points: Tensor, jet: Jet) -> Tensor:
        orders = [sorted({index[axis] for index in jet.indices}) for axis in range(len(self.names))]
        along = [
            {order: self._along(axis, points[:, axis].numpy(), order) for order in orders[axis]}
            for axis in range(len(self.names))
        ]
        rows = []
        for index, factor in zip(jet.indices, jet.factorials, strict=True):
            found = along[0][index[0]].T
            for axis in range(1, len(self.names)):
                more = along[axis][index[axis]].T
                found = (found[:, None] * more).reshape(-1, len(points))
            rows.append(torch.from_numpy(np.ascontiguousarray(found / factor)))
        return torch.stack(rows)

    def _gram(self, axis: int, order: int) -> np.ndarray:
        """The mean over a coordinate, scaled to [-1, 1], of the products of derivatives of its B-splines; exact by Gauss's rule."""
        nodes, weights = np.polynomial.legendre.leggauss(DEGREE + 1)
        low, high = self.ranges[axis]
        begins = np.arange(self.intervals)[:, None]
        at = low + (high - low) * (begins + (nodes + 1) / 2).ravel() / self.intervals
        values = self._along(axis, at, order) * ((high - low) / 2) ** order
        share = np.tile(weights / 2, self.intervals)[:, None] / self.intervals
        return values.T @ (share * values)

    def _along(self, axis: int, at: np.ndarray, order: int) -> np.ndarray:
        """The derivative of the B-splines [N, B_axis] of one coordinate."""
        low, high = self.ranges[axis]
        step = (high - low) / self.intervals
        knots = low + step * np.arange(-DEGREE, self.intervals + DEGREE + 1)
        if not self.periodic[axis]:
            knots = np.clip(knots, low, low + step * self.intervals)
        count = self.intervals + DEGREE
        found = np.asarray(BSpline(knots, np.eye(count), DEGREE)(np.clip(at, low, high), nu=order))
        if not self.periodic[axis]:
            return found
        folded = np.zeros((len(at), self.intervals))
        for place in range(count):
            folded[:, place % self.intervals] += found[:, place]
        return folded


Basis = Constant | Spline
