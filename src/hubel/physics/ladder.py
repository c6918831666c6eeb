"""How much the equation weighs against noisy data: rung by rung more, while that makes the unknowns more certain and nothing worse.

Too little weight lets the network follow the noise, too much asks it to fulfil the equation better than it can, and moves the unknowns to
where that is easier. On a rung the unknowns settle. The next one, with EMPHASIS times the weight, must then move them by no more than the
variance that it removes allows: for two estimates of which the second is efficient, the variance of the difference is the difference of the
variances. Where they move by more, the network is too small; where nothing becomes more certain, the rung before was enough.

J. A. Hausman, Econometrica 46 (1978) 1251, doi:10.2307/1913827.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

EMPHASIS = 3.0  # by which the weight grows from rung to rung
RESTS = 0.3  # of a standard error: what an unknown may move between two sets of points and be at rest
LONGEST = 8  # sets of points on one rung
ALLOWED = 2.0  # standard deviations of a difference
GAINED = 0.95  # of a standard error: what is less has become more certain


@dataclass
class Ladder:
    """The weight `emphasis`, what was seen on this rung (`trail`: misfit and unknowns), and the rungs before (unknowns, standard errors).

    >>> ladder, a, error = Ladder(), torch.tensor([0.70]), torch.tensor([0.02])
    >>> [ladder.next(0.05, a, error) for _ in range(3)], ladder.emphasis
    (['stay', 'up', 'stay'], 3.0)
    >>> ladder.next(0.05, a, error / 2)  # it has not moved, and is more certain
    'up'
    """

    emphasis: float = 1.0
    trail: list[list[float]] = field(default_factory=list)
    rungs: list[list[list[float]]] = field(default_factory=list)

    def next(self, misfit: float, unknowns: Tensor, errors: Tensor) -> Literal["stay", "up", "wider", "down"]:
        """What follows from the `misfit` of the data, the `unknowns` [U] and their standard `errors` [U] after one set of points."""
        before = self.trail[-1] if self.trail else None
        self.trail.append([misfit, *unknowns.tolist()])
        if before is None:
            return "stay"
        moved = (unknowns - torch.tensor(before[1:], dtype=unknowns.dtype)).abs()
        rests = abs(misfit - before[0]) <= 0.02 * misfit and not bool((moved > RESTS * errors).any())
        if not rests and len(self.trail) < LONGEST:
            return "stay"
        self.trail = []
        if self.rungs:
            old, old_errors = torch.tensor(self.rungs[-1], dtype=unknowns.dtype)
            allowed = ALLOWED * (old_errors**2 - errors**2).clamp_min(0).sqrt() + RESTS * errors
            if bool(((unknowns - old).abs() > allowed).any()):
                return "wider"
            if not bool((errors < GAINED * old_errors).any()):
                return "down"
        self.rungs.append([unknowns.tolist(), errors.tolist()])
        self.emphasis *= EMPHASIS
        return "up"

    def back(self) -> None:
        """To the weight of the last rung that stands."""
        self.emphasis /= EMPHASIS
