"""A problem with data: between two sets of points the equation is given more weight, a wider network, or the work ends.

How much the equation weighs is for the `ladder` to say, how smooth unknown functions are for `functions`, what the data have told for `discovery`.
Nearly exact data are worth a larger network than noisy ones, which it would follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

from torch import Tensor

from hubel.physics.ansatz import Ansatz, features_of, scales_of
from hubel.physics.discovery import Judgement, judged, standing
from hubel.physics.functions import BEGIN as ROUGH
from hubel.physics.ladder import Ladder
from hubel.physics.methods import Method, method_for
from hubel.physics.networks import network_for
from hubel.physics.observations import Observations
from hubel.physics.parts import equation, of_data
from hubel.physics.problem import Problem
from hubel.physics.system import System
from hubel.physics.trial import Settings, Trial

ROUND = 12  # iterations on one set of points, after which the weights change
BEGIN = (12, 3)  # width and depth of the network
BEGIN_CLEAN = (20, 4)  # the same with nearly exact data
CLEAN = 3e-3  # of the values: a misfit below which noise is none that a small network could hide behind
CLEAR = 3  # values a weight, without which a small misfit says nothing of the noise


class Inverse:
    """What happens to a `trial` between its sets of points. There is no `estimate` of the error on the way: the answer is `judged`."""

    estimate: ClassVar[None] = None

    def __init__(self, problem: Problem, settings: Settings, data: Any):
        self.observed, self.tol = Observations.of(data, problem), settings.tol
        first, self.larger = (
            network_for(settings.network, problem, features_of(problem), begin=begin, seed=settings.seed)
            for begin in (BEGIN, BEGIN_CLEAN)
        )
        scales = scales_of(problem) | self.observed.scales
        settings = replace(settings, method=settings.method or method_for(first.size, from_data=True))
        self.trial = Trial(Ansatz(problem, first, None, scales, settings.exact), settings, enough)
        self.first = first.shapes
        self.ladder, self.smoothing = Ladder(), dict.fromkeys(problem.functions, ROUGH)

    def draw(self) -> str:
        """What follows from the set of points that is over, and a new one: why the work ends, or ""."""
        if self.trial.round and (ended := self._weigh()):
            return ended
        self.trial.draw(self.trial.ansatz.region, ROUND)
        self.assemble()
        return ""

    def assemble(self) -> None:
        """The system on the points as they are."""
        trial = self.trial
        rows = equation(trial.ansatz, trial.points, trial.sizes, self.ladder.emphasis)
        trial.system = System(
            trial.ansatz, [rows, *trial.faces, of_data(trial.ansatz, self.observed)], self.smoothing
        )

    def measure(self, loss: float) -> str:
        """Nothing follows from single iterations."""
        return ""

    def answer(self) -> tuple[Tensor, Judgement]:
        """The latest theta [P], and what the data say of it."""
        trial = self.trial
        if not trial.round:
            self.draw()
        return trial.theta, judged(trial.system, trial.theta, self.observed, trial.checked[0].points)

    def limit(self, stopped: str) -> str:
        """What stands in the way of a smaller error, in words."""
        return "the data" if stopped == "data" else "the optimizer: the fit was still moving"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        return {}, {"ladder": asdict(self.ladder), "smoothing": self.smoothing}

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again. Raises `ValueError` where it is one without data."""
        if "ladder" not in numbers:
            raise ValueError("the state is of a problem without data: leave out data=")
        self.ladder, self.smoothing = Ladder(**numbers["ladder"]), numbers["smoothing"]

    def _weigh(self) -> str:
        """The next rung, a wider network, or the end."""
        trial = self.trial
        misfit = math.sqrt(System(trial.ansatz, trial.system.parts[-1:]).loss(trial.theta))
        if self._is_small_for_the_data(misfit):
            self._begin_larger()
            return ""
        now, ended, fit = standing(trial.system, trial.theta), "", None
        self.smoothing = dict(now.smoothing)
        if self.smoothing:
            fit = replace(now.fit, residual=trial.residual(trial.ansatz, trial.theta))
        verdict = self.ladder.next(misfit, now.values, now.errors, fit)
        if verdict == "up":
            trial.best = trial.theta
            relative = [
                unknown.relative(values, errors)
                for unknown, values, errors in zip(
                    trial.system.unknowns.values(), now.values, now.errors, strict=True
                )
            ]
            if relative and max(relative) <= self.tol:
                ended = "tolerance"
        elif verdict == "down" or (verdict == "wider" and not trial.widen()):
            trial.theta, ended = trial.best, "data"
        if ended:
            self.ladder.back()
            self.assemble()
        return ended

    def _is_small_for_the_data(self, misfit: float) -> bool:
        """Whether the network is the one that noisy data are begun with, and these have next to no noise."""
        network = self.trial.ansatz.network
        values = len(self.observed) * len(self.observed.values)
        is_first = network.shapes == self.first != self.larger.shapes
        return is_first and values >= CLEAR * network.size and misfit < CLEAN

    def _begin_larger(self) -> None:
        """The network that nearly exact data are worth, from the start."""
        self.trial.begin_with(self.larger)
        self.ladder, self.smoothing = Ladder(), dict.fromkeys(self.smoothing, ROUGH)


def enough(method: Method, size: int) -> int:
    """Points for so many weights."""
    return 4 * size
