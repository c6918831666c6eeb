"""Symmetries that an equation and its conditions share, found by computation.

Where  x -> 2c - x,  u -> p u  (p = 1 or -1, one sign a field) turns solutions into solutions and leaves the conditions as they are, a
solution that is unique has the symmetry itself. The network is then made even or odd by construction, and half of the domain suffices. Where
it is odd about both ends as well (values zero there), it continues to a function with the period of the domain, and the network reads
cosine and sine of the coordinate in its place: the values at both ends hold by themselves. Where it is odd about both ends, and has no symmetry
about the middle, it continues to a function with twice that period, and the network is made odd about one end.

Whether the equation has the symmetry is tested at random derivatives: it is a statement about a function of numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hubel.physics.problem import Problem

TESTED = 32  # random points: a chance agreement of analytic functions at all of them does not happen
CLOSE = 1e-9


@dataclass(frozen=True)
class Mirror:
    """Reflection of `coordinate` about the middle of its range, or about its lower end where `at_end`; `parities` are the sign of every
    component. `continues` says that the solution is odd about both ends, and so has the length of the range as a period, twice the length
    where `at_end`.
    """

    coordinate: str
    parities: Mapping[str, int]
    continues: bool = False
    at_end: bool = False


def mirror_of(problem: Problem) -> Mirror | None:
    """The first symmetry of this kind, or None. Soft conditions and shapes are not searched: with some there is none.

    >>> from hubel.physics import Problem
    >>> heat = Problem(lambda u: u.t - u.xx, domain=dict(t=(0, 1), x=(0, 2)), initial=lambda x: torch.sin(torch.pi * x), boundary={"x": 0.0})
    >>> mirror_of(heat)
    Mirror(coordinate='x', parities={'u': -1}, continues=True, at_end=False)
    """
    if (
        problem.unknowns
        or problem.conditions.soft
        or problem.conditions.within
        or len(problem.components) > 4
    ):
        return None
    for x in problem.coordinates:
        if x == problem.time:
            continue
        low, high = problem.ranges[x]
        for signs in itertools.product((1, -1), repeat=len(problem.components)):
            parities = dict(zip(problem.components, signs, strict=True))
            middle = (low + high) / 2
            if not _equation_has(problem, x, middle, parities) or not _conditions_have(
                problem, x, middle, parities
            ):
                continue
            return Mirror(x, parities, _continues(problem, x, parities))
    odd = dict.fromkeys(problem.components, -1)
    for x in problem.coordinates:
        if x != problem.time and _continues(problem, x, odd):
            return Mirror(x, odd, continues=True, at_end=True)
    return None


def _equation_has(problem: Problem, x: str, center: float, parities: Mapping[str, int]) -> bool:
    generator = torch.Generator().manual_seed(1)
    jet, place = problem.jet, problem.coordinates.index(x)
    series = {
        name: torch.randn(len(jet.indices), TESTED, dtype=torch.float64, generator=generator)
        for name in problem.components
    }
    signs = torch.tensor([(-1.0) ** index[place] for index in jet.indices], dtype=torch.float64)[:, None]
    there = {name: values * signs * parities[name] for name, values in series.items()}
    at = _points(problem)
    try:
        before = problem.residuals(series, jet, at, {})
        after = problem.residuals(there, jet, at | {x: 2 * center - at[x]}, {})
    except (ValueError, RuntimeError, ArithmeticError):
        return False
    return all(_same(a, b) or _same(a, -b) for a, b in zip(before, after, strict=True))


def _conditions_have(problem: Problem, x: str, center: float, parities: Mapping[str, int]) -> bool:
    at = _points(problem)
    there = at | {x: 2 * center - at[x]}
    conditions = problem.conditions
    for name in problem.components:
        for part, sign in ((conditions.given, parities[name]), (conditions.distance, 1)):
            if not _same(part(name, *at.values()), sign * part(name, *there.values())):
                return False
    return True


def _continues(problem: Problem, x: str, parities: Mapping[str, int]) -> bool:
    """Whether everything is odd about both ends of x as well."""
    conditions, place = problem.conditions, problem.coordinates.index(x)
    if x in conditions.periodic or any(sign > 0 for sign in parities.values()):
        return False
    at = _points(problem)
    for end in problem.ranges[x]:
        if not _equation_has(problem, x, end, parities):
            return False
        others = [values for name, values in at.items() if name != x]
        face = [torch.full_like(v, end) if k == place else v for k, v in enumerate(at.values())]
        for name in problem.components:
            pair = conditions.ends[name].get(x)
            if pair is None or pair[0] is None or pair[1] is None:
                return False
            if any(float(value(*others).abs().max()) > CLOSE for value in pair if value is not None):
                return False
            if float(conditions.given(name, *face).abs().max()) > CLOSE:
                return False
            kept = conditions.without(x)
            here, there = [dict(at), at | {x: 2 * end - at[x]}]
            try:
                if not _same(kept.given(name, *here.values()), -kept.given(name, *there.values())):
                    return False
            except (ValueError, RuntimeError, ArithmeticError):
                return False
    return True


def _points(problem: Problem) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        name: low + (high - low) * torch.rand(TESTED, dtype=torch.float64, generator=generator)
        for name, (low, high) in problem.ranges.items()
    }


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() <= CLOSE * (1 + a.abs())).all())
