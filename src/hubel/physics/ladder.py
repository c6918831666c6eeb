"""How much the equation weighs against noisy data: rung by rung more, while that makes the unknowns more certain and nothing worse.

Too little weight lets the network follow the noise, too much asks it to fulfil the equation better than it can, and moves the unknowns to
where that is easier. On a rung the unknowns settle. The next one, with EMPHASIS times the weight, must then move them by no more than the
variance that it removes allows: for two estimates of which the second is efficient, the variance of the difference is the difference of the
variances. Where they move by more, the network is too small; where nothing becomes more certain, the rung before was enough.

A function has room to follow a network that can not fulfil the equation, step by step. So where functions are looked for, the sum of squares
of the data's residuals must not grow from rung to rung by more than what the directions that the data have ceased to determine explain, a
chi-squared number. Where it does, and a wider network does not lower it, the rung before was enough, too.

There, too, errors may shrink without an end: more weight leaves the function those shapes alone that the network can follow, though nothing is
to be gained any more. So the ladder ends where the residual of the equation is next to nothing beside that of the data.

J. A. Hausman, Econometrica 46 (1978) 1251, doi:10.2307/1913827.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

EMPHASIS = 3.0  # by which the weight grows from rung to rung
RESTS = 0.3  # of a standard error: what an unknown may move between two sets of points and be at rest
LONGEST = 8  # sets of points on one rung
ALLOWED = 2.0  # standard deviations of a difference
GAINED = 0.95  # of a standard error: what is less has become more certain
UNSETTLED = 0.01  # of the sum of squares: what it may grow by where it has not settled
EXACT = 1e-3  # of the misfit: a residual of the equation below which it holds as well as the data can tell
HELPED = 0.9  # of the sum of squares: what is less after the network was widened was its fault


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How the data are met: the sum of `squares` of their residuals, how many numbers they have `determined`, and how many they are; and how
    the equation is: its `residual`, scaled as the data are.
    """

    squares: float
    determined: float
    count: int
    residual: float = math.inf

    def grew_since(self, squares: float, determined: float) -> bool:
        """Whether the sum of squares has grown by more than what the numbers that are not determined any more explain."""
        variance = squares / max(self.count - determined, 1.0)
        fewer = max(determined - self.determined, 1.0)
        allowed = fewer + ALLOWED * math.sqrt(2 * fewer) + UNSETTLED * self.count
        return self.squares - squares > allowed * variance


@dataclass
class Ladder:
    """The weight `emphasis`, what was seen on this rung (`trail`: misfit and unknowns), and the rungs before (unknowns, standard errors).

    `widened` is the sum of squares for which the network was widened. An unknown is one number or, of a function, its values at some points; what moves by less than it may is judged by the root mean square
    over these.

    >>> ladder, a, error = Ladder(), [torch.tensor([0.70])], [torch.tensor([0.02])]
    >>> [ladder.next(0.05, a, error) for _ in range(3)], ladder.emphasis
    (['stay', 'up', 'stay'], 3.0)
    >>> ladder.next(0.05, a, [error[0] / 2])  # it has not moved, and is more certain
    'up'
    """

    emphasis: float = 1.0
    trail: list[list[float]] = field(default_factory=list)
    rungs: list[list[list[float]]] = field(default_factory=list)
    widened: float | None = None

    def next(
        self, misfit: float, unknowns: Sequence[Tensor], errors: Sequence[Tensor], fit: Fit | None = None
    ) -> Literal["stay", "up", "wider", "down"]:
        """What follows from the `misfit` of the data, the `unknowns` [G] each and their standard `errors` [G] after one set of points, and
        from the `fit` where functions are among them.
        """
        before = self.trail[-1] if self.trail else None
        self.trail.append([misfit, *_listed(unknowns)])
        if before is None:
            return "stay"
        moved = _apart(unknowns, _like(before[1:], unknowns), [RESTS * error for error in errors])
        rests = abs(misfit - before[0]) <= 0.02 * misfit and moved <= 1
        if not rests and len(self.trail) < LONGEST:
            return "stay"
        self.trail = []
        if self.rungs:
            old, old_errors = (_like(numbers, unknowns) for numbers in self.rungs[-1][:2])
            if fit is not None and fit.residual < EXACT * misfit:
                return "down"
            if fit is not None and fit.grew_since(*self.rungs[-1][2]):
                before_it, self.widened = self.widened, fit.squares
                return "wider" if before_it is None or fit.squares < HELPED * before_it else "down"
            allowed = [
                ALLOWED * (then**2 - now**2).clamp_min(0).sqrt() + RESTS * now
                for then, now in zip(old_errors, errors, strict=True)
            ]
            if _apart(unknowns, old, allowed) > 1:
                return "wider"
            if not any(_rms(now) < GAINED * _rms(then) for then, now in zip(old_errors, errors, strict=True)):
                return "down"
        self.rungs.append([_listed(unknowns), _listed(errors)])
        if fit is not None:
            self.rungs[-1].append([fit.squares, fit.determined])
        self.widened = None
        self.emphasis *= EMPHASIS
        return "up"

    def back(self) -> None:
        """To the weight of the last rung that stands."""
        self.emphasis /= EMPHASIS


def _apart(first: Sequence[Tensor], second: Sequence[Tensor], allowed: Sequence[Tensor]) -> float:
    """The largest over all unknowns of the root mean square of |first - second| / allowed."""
    return max(
        (_rms((a - b) / limit.clamp_min(1e-300)) for a, b, limit in zip(first, second, allowed, strict=True)),
        default=0.0,
    )


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _listed(unknowns: Sequence[Tensor]) -> list[float]:
    return [number for values in unknowns for number in values.reshape(-1).tolist()]


def _like(numbers: Sequence[float], unknowns: Sequence[Tensor]) -> list[Tensor]:
    """Numbers that were listed, as tensors of the shapes of the `unknowns` again."""
    sizes = [values.numel() for values in unknowns]
    listed = torch.tensor(numbers, dtype=torch.float64).split(sizes)
    return [values.view_as(like) for values, like in zip(listed, unknowns, strict=True)]
