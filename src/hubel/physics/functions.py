"""Unknown functions that were found, with the band in which the truth lies, and how smooth the data want them to be.

The posterior of the numbers c of a function f = c^T B, for rows of data of variance s^2 and the roughness lambda c^T S c beside them, is
normal with the covariance  s^2 H^-1  (`discovery`): bands from it cover the truth across the function at about their level, for the
roughness makes the bias that it brings a part of their width. lambda is the one for which data and roughness agree, by iterating

    lambda = s^2 gamma / c^T S c,     gamma = r - lambda tr(H^-1 S),     r the rank of S:

gamma of the r directions that roughness sees were determined by the data.

G. Wahba, J. R. Stat. Soc. B 45 (1983) 133; D. Nychka, J. Am. Stat. Assoc. 83 (1988) 1134, doi:10.1080/01621459.1988.10478711;
D. J. C. MacKay, Neural Comput. 4 (1992) 415, doi:10.1162/neco.1992.4.3.415, equation 4.9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hubel.physics.points import points_of
from hubel.physics.splines import Spline
from hubel.physics.unknown import SURE, Unknown

BEGIN = 1e-4  # the weight of the roughness of a function before the data have said anything
FEWEST, MOST = 1e-16, 1e2  # weights between which it stays
SLOWEST = 10.0  # by which it changes at once
GAP = 0.2  # of the range of a coordinate: what is wider without data is said


def next_smoothing(weight: float, variance: float, rough: Tensor, used: float) -> float:
    """The weight of the roughness after this one: `rough` [r] is R c (S = R^T R), `used` the trace of H^-1 S.

    >>> next_smoothing(1e-4, 1e-6, torch.ones(2), 2e3)  # 2 - 0.2 directions, of 1e-6 each
    1e-05
    """
    determined = max(len(rough) - weight * used, 1e-3)
    found = variance * determined / max(float(rough.square().sum()), 1e-300)
    found = min(max(found, weight / SLOWEST), weight * SLOWEST)
    return min(max(found, FEWEST), MOST)


@dataclass(frozen=True, kw_only=True, repr=False)
class FoundFunction:
    """A function that was found: `found.k(x=0.3)`, with its pointwise standard error and its band of 95 %.

    Coordinates are numbers, NumPy arrays or torch tensors, which are broadcast; the answers have their shape and kind. `numbers` [B] are
    those of its `spline`, `covariance` [B, B] theirs; where the unknown is positive, they make its logarithm.
    """

    unknown: Unknown
    spline: Spline
    numbers: Tensor
    covariance: Tensor

    def __call__(self, **coordinates: Any) -> Any:
        inner, _, answer = self._inner(coordinates)
        return answer(self.unknown.value(inner))

    def standard_error(self, **coordinates: Any) -> Any:
        """The standard error at every point, from the Jacobian at the solution."""
        inner, errors, answer = self._inner(coordinates)
        return answer(self.unknown.slope(inner) * errors)

    def interval(self, **coordinates: Any) -> tuple[Any, Any]:
        """The ends of the band in which the true values lie with 95 % confidence, each point by itself, if the noise is normal and the
        equation true. That of a positive function is one of its logarithm.
        """
        inner, errors, answer = self._inner(coordinates)
        return answer(self.unknown.value(inner - SURE * errors)), answer(
            self.unknown.value(inner + SURE * errors)
        )

    def _inner(self, coordinates: Mapping[str, Any]) -> tuple[Tensor, Tensor, Callable[[Tensor], Any]]:
        """What was searched and its standard errors [N] at these points, and how to answer."""
        points, answer = points_of(dict(zip(self.spline.names, self.spline.ranges, strict=True)), coordinates)
        basis = self.spline.values(points)
        return self.numbers @ basis, errors_of(self.covariance, basis), answer

    def series(self, points: Tensor) -> list[Tensor]:
        """Its Taylor coefficients (M of [N]) at points [N, D] of the domain: those that the equation uses."""
        inner = (self.numbers @ self.spline.series(points)).unbind()
        return self.unknown.series(inner, self.spline.jet)

    def on_grid(self) -> tuple[Tensor, Tensor]:
        """Its values and standard errors [G] at points that cover its coordinates."""
        inner, errors = self.numbers @ self.spline.grid, errors_of(self.covariance, self.spline.grid)
        return self.unknown.value(inner), self.unknown.slope(inner) * errors

    def __str__(self) -> str:
        values, errors = self.on_grid()
        typical = float(errors.square().mean().sqrt())
        return f"{float(values.min()):.4g} to {float(values.max()):.4g} over {', '.join(self.spline.names)} ± {typical:.2g}"

    __repr__ = __str__


def errors_of(covariance: Tensor, basis: Tensor) -> Tensor:
    """The standard errors [N] of  c^T B  for numbers c with this covariance [B, B], B [B, N]."""
    return ((covariance @ basis) * basis).sum(0).clamp_min(0).sqrt()


def untold(name: str, found: FoundFunction) -> str | None:
    """Where the data do not tell a function, in words: where its standard error is larger than the function is; None where they tell it."""
    values, errors = found.on_grid()
    size = values.abs() if found.unknown.positive else values.square().mean().sqrt()
    lost = ~(errors <= size)
    if not bool(lost.any()):
        return None
    what = "its standard error is larger than its value"
    if bool(lost.all()):
        return f"{name} is not determined: {what}"
    x, *others = found.spline.names
    if others:
        return f"{name} is not determined at {float(lost.double().mean()):.0%} of its points: there {what}"
    axis = torch.linspace(*found.spline.ranges[0], steps=len(lost), dtype=torch.float64)
    edges = torch.diff(lost.int(), prepend=torch.zeros(1), append=torch.zeros(1)).nonzero()[:, 0].tolist()
    parts = [
        f"{float(axis[first]):.3g} to {float(axis[last - 1]):.3g}"
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    return f"{name} is not determined for {x} from {' and '.join(parts)}: there {what}"


def unseen(name: str, spline: Spline, points: Tensor) -> list[str]:
    """The parts of its coordinates in which nothing was measured at `points` [N, D], in words, where they are wide."""
    said = []
    for x, place, (low, high) in zip(spline.names, spline.places, spline.ranges, strict=True):
        ends = torch.tensor([low, high], dtype=torch.float64)
        at = torch.cat([points[:, place], ends]).sort().values
        for first, last in zip(at.tolist(), at.tolist()[1:], strict=False):
            if last - first > GAP * (high - low):
                said.append(
                    f"there are no data for {x} from {first:.3g} to {last:.3g}: {name} and its band rest there on the equation and on its smoothness"
                )
    return said
