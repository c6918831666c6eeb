"""What no smooth function can do: given values that jump, and those that are no smooth period.

A network is smooth. Where the values that it is given jump, a residual at points knows nothing of the jump: a step that stands still fulfils
u_t + f(u)_x = 0 at every point beside it, and so does a step of any speed. Which of them is the solution (R. Courant, K. O. Friedrichs and
P. D. Lax: the one with entropy) is told by the integral of the equation, not by its residual. Jumps are looked for before anything is solved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hubel.physics.problem import Problem

COARSE = 257  # points along a coordinate
STEP = 1e-9  # of the range: to which a jump is narrowed down
SIZE = 0.02  # of the spread of the values: what is smaller is none


def jumps(problem: Problem) -> list[str]:
    """Where given values jump, in words, one sentence a place; a steep but continuous function has none.

    >>> step = Problem(lambda u: u.t + u * u.x, domain=dict(t=(0, 1), x=(-1, 1)), initial=lambda x: (x < 0).double(), boundary={"x=-1": 1.0})
    >>> jumps(step)
    ['the beginning of u jumps by 1 at x = 0']
    """
    found = []
    for what, names, value in _given(problem):
        for place, name in enumerate(names):
            low, high = problem.ranges[name]
            for share in (0.31, 0.72):
                others = [
                    problem.ranges[n][0] + share * (problem.ranges[n][1] - problem.ranges[n][0])
                    for n in names
                ]

                def along(
                    points: Tensor,
                    others: list[float] = others,
                    place: int = place,
                    value: Callable[..., Tensor] = value,
                ) -> Tensor:
                    columns = [
                        points if k == place else torch.full_like(points, other)
                        for k, other in enumerate(others)
                    ]
                    return value(*columns)

                found += [
                    f"{what} jumps by {size:.3g} at {name} = {at:.4g}"
                    for at, size in _jumps_along(along, low, high)
                ]
                if len(names) == 1:
                    break
    return list(dict.fromkeys(found))


def kinks(problem: Problem) -> list[str]:
    """Where initial values have another slope at the end of a period than at its beginning, in words.

    The equation takes such a kink away at once; what holds the initial values exactly would keep it, so they are learnt. Only equations of second order or more in that
    coordinate are asked.

    >>> bowl = Problem(lambda u: u.t - u.xx, domain=dict(t=(0, 1), x=(-1, 1)), initial=lambda x: x**2, boundary={"x": "periodic"})
    >>> kinks(bowl)
    ['the beginning of u has a kink where x begins again: its slope jumps by 4']
    """
    conditions, found = problem.conditions, []
    others = [x for x in problem.coordinates if x != problem.time]
    for component in problem.components:
        for x in conditions.periodic:
            field = component.partition(".")[0]
            order = max(index[problem.coordinates.index(x)] for index in problem.needed[field])
            if order < 2 or not conditions.initial[component]:
                continue
            slopes = []
            for end in problem.ranges[x]:
                shares = {name: low + 0.37 * (high - low) for name, (low, high) in problem.ranges.items()} | {
                    x: end
                }
                points = [
                    torch.tensor([shares[name]], dtype=torch.float64, requires_grad=True) for name in others
                ]
                with torch.enable_grad():
                    value = conditions.initial[component][0](*points)
                    slope = (
                        torch.autograd.grad(value.sum(), points[others.index(x)], allow_unused=True)[0]
                        if value.requires_grad
                        else None
                    )
                slopes.append(0.0 if slope is None else float(slope))
            jump = abs(slopes[1] - slopes[0])
            low, high = problem.ranges[x]
            if jump * (high - low) > 1e-3 * max(1.0, *map(abs, slopes)):
                found.append(
                    f"the beginning of {component} has a kink where {x} begins again: its slope jumps by {jump:.3g}"
                )
    return found


def _given(problem: Problem) -> Iterator[tuple[str, tuple[str, ...], Callable[..., Tensor]]]:
    """Every function that is given: what it is, of which coordinates, and itself."""
    conditions = problem.conditions
    for name in problem.components:
        for order, value in enumerate(conditions.initial[name]):
            others = tuple(x for x in problem.coordinates if x != problem.time)
            yield f"the beginning of {name}{'' if order == 0 else f'.{problem.time}'}", others, value
        for x, pair in conditions.ends[name].items():
            others = tuple(other for other in problem.coordinates if other != x)
            for end, value in zip(problem.ranges[x], pair, strict=True):
                if value is not None:
                    yield f"{name} at {x} = {end:g}", others, value


def _jumps_along(function: Callable[[Tensor], Tensor], low: float, high: float) -> list[tuple[float, float]]:
    """Places and sizes of the jumps of a function on a line: differences that stay while their interval is halved."""
    points = torch.linspace(low, high, COARSE, dtype=torch.float64)
    values = function(points)
    spread = float(values.max() - values.min())
    if spread == 0:
        return []
    found = []
    for (a, b), (left, right) in zip(
        itertools.pairwise(points.tolist()), itertools.pairwise(values.tolist()), strict=True
    ):
        if abs(right - left) > SIZE * spread:
            at, size = _narrowed(function, (a, b), (left, right), SIZE * spread, STEP * (high - low))
            if size > SIZE * spread:
                found.append((round(at, 6) + 0.0, size))
    return found


def _narrowed(
    function: Callable[[Tensor], Tensor],
    ends: tuple[float, float],
    values: tuple[float, float],
    least: float,
    step: float,
) -> tuple[float, float]:
    """The half with the larger difference, again and again: its middle and its difference, at the `step` or where that is below `least`."""
    (a, b), (left, right) = ends, values
    while abs(right - left) > least and b - a > step:
        middle = (a + b) / 2
        between = float(function(torch.tensor([middle], dtype=torch.float64)))
        if abs(between - left) >= abs(right - between):
            b, right = middle, between
        else:
            a, left = middle, between
    return (a + b) / 2, abs(right - left)
