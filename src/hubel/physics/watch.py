"""Whether a solver is on its way: what follows from the residual at points that are never used, measured every few iterations.

A residual that has not fallen to STUCK of the first one belongs to a network that rests where it began, as some networks do: after PLATEAU
measurements without progress another one begins. One that rests farther down belongs to a network that is too small; above FALLEN of the
first one it may cross a plateau, and is given as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PATIENCE = 4  # measurements without progress, and the network grows
LAST = 30  # the same where the network can not grow any more: then nothing is to be gained
PLATEAU = 10  # the same far from a solution
STUCK = 0.5
FALLEN = 0.05
BEGINNINGS = 6  # networks that may begin; the last one stays
PROGRESS = 0.8  # of the residual: what counts as progress
DENSE = 3.0  # mean square residual between the points, over the one at them: beyond, there are too few points


@dataclass
class Watch:
    """What was seen: the `first` residual, the `best` one, the one at the last progress (`mark`) and the measurements `since` then.

    `sampling` is the mean square of the residual where it is not used over the one where it is; `beginning` counts the networks, and
    `largest` says that they can not grow.

    >>> watch = Watch()
    >>> [watch.next(residual, 1e-4) for residual in (1.0, 0.1, 0.01, 0.0099, 0.0098, 0.0097, 0.0096)]
    ['on', 'on', 'on', 'on', 'on', 'on', 'wider']
    """

    first: float | None = None
    best: float | None = None
    mark: float | None = None
    since: int = 0
    sampling: float = 1.0
    beginning: int = 0
    largest: bool = False

    @staticmethod
    def of_one_network() -> Watch:
        """Of a solver whose network neither grows nor is exchanged."""
        return Watch(beginning=BEGINNINGS - 1, largest=True)

    @property
    def too_few_points(self) -> bool:
        """Whether the residual is small at the points alone."""
        return self.sampling > DENSE

    def next(self, residual: float, loss: float) -> Literal["on", "again", "wider"]:
        """What follows from a `residual` where it is not used and the mean square `loss` where it is."""
        self.sampling = residual**2 / max(loss, 1e-300)
        self.first = residual if self.first is None else self.first
        self.best = residual if self.best is None else min(residual, self.best)
        self.since += 1
        if self.mark is None or self.best < PROGRESS * self.mark:
            self.mark, self.since = self.best, 0
        far = self.best > FALLEN * self.first
        patience = PLATEAU if far else PATIENCE
        if self.since < (LAST if self.largest else patience):
            return "on"
        self.mark, self.since = self.best, 0
        if self.best > STUCK * self.first and self.beginning < BEGINNINGS - 1:
            self.beginning += 1
            self.best = self.mark = None
            return "again"
        return "wider"
