"""How far two clouds of points are apart: the Fréchet distance of the Gaussians that have their means and covariances.

    d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½)

Source: D. C. Dowson, B. V. Landau, J. Multivar. Anal. 12, 450 (1982), doi:10.1016/0047-259X(82)90077-X. As a measure of generated
pictures, on features of an Inception network: M. Heusel et al., NeurIPS 2017 (arXiv:1706.08500). Here the features are principal
components of the real examples, which need no downloaded network and mean the same for spectra, tables and pictures; the
distance is therefore comparable between generators of the same data, and not with published FIDs.
"""

from __future__ import annotations

import math

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.intervals import normal_quantile, undefined

BLOCKS = 20


def frechet_distance(real: np.ndarray, made: np.ndarray, *, level: float = 0.95) -> Interval:
    """d² of points [N, F] and [M, F], in the square of their unit. 0 where means and covariances agree; it is biased upwards for
    few points, alike for all generators that are compared at the same N and M.

    Interval: normal, with the standard error of a jackknife over 20 blocks of both (a bootstrap would repeat points, which the
    distance takes for a difference).

    Raises `ValueError` where the points are not of the same dimension.

    >>> points = np.random.default_rng(0).normal(size=(500, 2))
    >>> round(frechet_distance(points, points + [3.0, 0.0]).value, 6)
    9.0
    """
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1]:
        raise ValueError(
            f"received points of shapes {real.shape} and {made.shape}; expected [N, F] and [M, F] with the same F"
        )
    count = min(len(real), len(made))
    if count <= real.shape[1] + 1:
        return undefined(
            f"{count} points do not have a covariance in {real.shape[1]} dimensions", level=level, count=count
        )
    one, two = _Sums.of(real), _Sums.of(made)
    value = _distance(one.moments(), two.moments())
    blocks = min(BLOCKS, count // (real.shape[1] + 2))
    if blocks < 3:
        return Interval(
            value=value,
            low=math.nan,
            high=math.nan,
            level=level,
            count=count,
            method="too few points for an interval",
        )
    parts = [
        _distance(one.less(_Sums.of(a)).moments(), two.less(_Sums.of(b)).moments())
        for a, b in zip(np.array_split(real, blocks), np.array_split(made, blocks), strict=True)
    ]
    error = math.sqrt((blocks - 1) / blocks * float(np.square(np.array(parts) - np.mean(parts)).sum()))
    reach = normal_quantile(level) * error
    return Interval(
        value=value,
        low=max(0.0, value - reach),
        high=value + reach,
        level=level,
        count=count,
        method=f"jackknife over {blocks} blocks",
    )


class _Sums:
    """Number, sum and sum of outer products of points, from which blocks can be taken away."""

    def __init__(self, number: int, first: np.ndarray, second: np.ndarray):
        self.number, self.first, self.second = number, first, second

    @classmethod
    def of(cls, points: np.ndarray) -> _Sums:
        return cls(len(points), points.sum(axis=0), points.T @ points)

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.number - other.number, self.first - other.first, self.second - other.second)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self.first / self.number
        return mean, (self.second - self.number * np.outer(mean, mean)) / (self.number - 1)


def _distance(one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray]) -> float:
    root = _root(one[1])
    both = np.sqrt(np.clip(np.linalg.eigvalsh(root @ two[1] @ root), 0, None)).sum()
    square = np.square(one[0] - two[0]).sum() + np.trace(one[1]) + np.trace(two[1]) - 2 * both
    return max(0.0, float(square))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
