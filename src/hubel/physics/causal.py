"""Weights by which an equation is solved from its beginning on: later times count when earlier ones are solved.

Time is cut into CHUNKS parts with the mean square residuals L_1, L_2, ... (scaled, at points that are not used). The rows of part i are
multiplied by the root of

    w_i = exp(- epsilon sum over k < i of L_k),

and all weights are 1 from when the smallest is above DONE. Points are drawn up to where the weights vanish. A network that is asked for all times at once may settle on a solution of the
equation that belongs to another beginning, for there it is easier.

S. Wang, S. Sankaran, P. Perdikaris, Comput. Methods Appl. Mech. Eng. 421 (2024) 116813, doi:10.1016/j.cma.2024.116813, equations 2.11 and
2.12; there epsilon grows in steps, here it stays: a least-squares method follows at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hubel.physics.problem import Problem

CHUNKS = 32
EPSILON = 100.0  # where nothing else is asked
DONE = 0.99
SEEN = 1e-3  # weights below have no points
MOVED = 0.005  # of the mean weight: what counts as progress
PATIENCE = 10  # measurements without progress


@dataclass
class Causal:
    """The weights [CHUNKS] of the parts of time from `begin` to `end`, the largest mean that they had, the measurements since it grew.

    >>> causal = Causal(epsilon=1.0, begin=0.0, end=2.0, time="t")
    >>> causal.learn(torch.tensor([0.1, 1.9]), torch.tensor([2.0, 5.0])), [round(weight, 4) for weight in causal.at(torch.tensor([0.0, 1.0])).tolist()]
    ('on', [1.0, 0.3679])
    """

    epsilon: float
    begin: float
    end: float
    time: str
    weights: list[float] = field(default_factory=lambda: [1.0] + [0.0] * (CHUNKS - 1))
    reached: float = 0.0
    since: int = 0
    done: bool = False

    @staticmethod
    def of(given: bool | float, problem: Problem) -> Causal | None:
        """From what was asked: True, or epsilon. Raises `ValueError` where there is no time, or the number is not positive."""
        if given is False:
            return None
        if problem.time is None:
            raise ValueError(
                f"causal weights go on from the beginning of time, and the domain has {', '.join(problem.coordinates)}; name it by time=..."
            )
        epsilon = EPSILON if given is True else given
        if not isinstance(epsilon, (int, float)) or not 0 < epsilon < float("inf"):
            raise ValueError(f"causal is {given!r}; expected True, or a positive number such as {EPSILON:g}")
        return Causal(float(epsilon), *problem.ranges[problem.time], problem.time)

    def at(self, times: Tensor) -> Tensor:
        """What rows at these times [N] are multiplied by."""
        return torch.tensor(self.weights, dtype=times.dtype)[self._places(times)].sqrt()

    @property
    def front(self) -> float:
        """The time at which the last part ends that has points."""
        last = max(place for place, weight in enumerate(self.weights) if weight > SEEN)
        return self.begin + (self.end - self.begin) * (last + 1) / CHUNKS

    def learn(self, times: Tensor, squares: Tensor) -> str:
        """New weights from the squares [N] of the residual at these times [N]; "done", "on" while they grow, "stuck" when they do not."""
        places = self._places(times)
        total, count = (torch.zeros(CHUNKS, dtype=squares.dtype) for _ in range(2))
        total.index_add_(0, places, squares)
        count.index_add_(0, places, torch.ones_like(squares))
        means = total / count.clamp_min(1)
        weights = torch.exp(-self.epsilon * (means.cumsum(0) - means))
        self.weights = weights.tolist()
        self.since += 1
        if float(weights.mean()) > self.reached + MOVED:
            self.reached, self.since = float(weights.mean()), 0
        if float(weights.min()) > DONE:
            self.finish()
        return "done" if self.done else "stuck" if self.since >= PATIENCE else "on"

    def finish(self) -> None:
        """All times count alike from now on."""
        self.weights, self.done = [1.0] * CHUNKS, True

    def _places(self, times: Tensor) -> Tensor:
        share = (times - self.begin) / (self.end - self.begin)
        return (share * CHUNKS).long().clamp(0, CHUNKS - 1)

    def state(self) -> dict[str, Any]:
        """As plain numbers."""
        return {"weights": self.weights, "reached": self.reached, "since": self.since, "done": self.done}

    def read(self, numbers: Mapping[str, Any]) -> None:
        """Take a state again."""
        self.weights, self.reached = list(numbers["weights"]), numbers["reached"]
        self.since, self.done = numbers["since"], numbers["done"]
