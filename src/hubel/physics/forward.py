"""A problem without data: what follows from the residual at points that are never used, measured every few iterations.

It tells the error (`estimate`), and what limits it: few points, a network that is small or rests where it began (`watch`), an equation that has
to be come to from an easier one (`continuation`), later times that are looked at before earlier ones (`causal`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.random import key
from hubel.physics.ansatz import Ansatz, features_of, scales_of
from hubel.physics.causal import Causal
from hubel.physics.continuation import NEAR, Continuation
from hubel.physics.discovery import Judgement
from hubel.physics.estimate import Amplification
from hubel.physics.methods import Method
from hubel.physics.mirror import mirror_of
from hubel.physics.networks import network_for, under
from hubel.physics.parts import causally, equation, sizes_on
from hubel.physics.pieces import Window
from hubel.physics.problem import Problem
from hubel.physics.system import System
from hubel.physics.trial import Settings, Trial
from hubel.physics.watch import BEGINNINGS, Watch

FRESH = 1000  # points for methods of gradients, which see others before they have learnt these by heart
ROUND = 30  # iterations on one set of points
ROUNDING = 1e-13  # of a scaled residual: nothing is to be gained below
MEMORY = 30_000_000  # numbers in J: 240 MB
BEGIN = (10, 4)  # width and depth of the network


class Forward:
    """What happens to a `trial` between its iterations, and the `estimate` of the error of the best one that was seen."""

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        continuation: Continuation,
        causal: Causal | None,
        window: Window,
    ):
        if problem.unknowns:
            raise ValueError(
                f"{', '.join(problem.unknowns)} can only be found from data: solve(problem, data=table)"
            )
        if text := problem.missing():
            raise ValueError(f"without data the solution is not determined: {text}")
        self.continuation, self.stage, self.causal = continuation, 0, causal
        self.tol, self.trial = settings.tol, Trial(self._form(window, settings), settings, enough)
        self.watch = Watch() if self.trial.grows else Watch.of_one_network()
        self.amplification, self.keeps_networks = Amplification(), window.num > 1
        self.estimate: float | None = None

    def draw(self) -> str:
        """A new set of points, as far in time as these count; the work never ends here."""
        region = self.trial.ansatz.region
        if self.causal is not None:
            region = region | {self.causal.time: (self.causal.begin, self.causal.front)}
        self.trial.draw(region, ROUND)
        self.assemble()
        return ""

    def assemble(self) -> None:
        """The system on the points as they are."""
        trial = self.trial
        rows = equation(trial.ansatz, trial.points, trial.sizes)
        if self.causal is not None and not self.causal.done:
            rows = causally(rows, self.causal)
        trial.system = System(trial.ansatz, [rows, *trial.faces])

    def measure(self, loss: float) -> str:
        """What follows from the residual between the points, when `loss` is left at them: why the work ends, or ""."""
        trial, before = self.trial, self.watch.best
        residual, values = trial.residual(trial.ansatz, trial.theta), trial.values(trial.theta)
        self.amplification.note(residual, values, trial.ansatz.network if self.keeps_networks else None)
        if self.causal is not None and not self.causal.done:
            self._go_on_in_time(self.causal)
            return ""
        verdict = self.watch.next(residual, loss)
        if before is None or residual < before:
            trial.best, self.estimate = trial.theta, self.amplification.error(residual, values)
        if not self._at_last_stage:
            if verdict == "wider" or self._is_below(NEAR):
                self._next_stage()
                return ""
        elif self._is_below(self.tol):
            return "tolerance"
        elif residual < ROUNDING:
            return "rounding"
        if self.watch.too_few_points:
            self._take_more_points()
        if verdict == "again":
            self._begin_again()
        elif verdict == "wider":
            trial.theta = trial.best
            if not trial.widen():
                if self.watch.largest:
                    return "stagnation"
                self.watch.largest = True
        return ""

    def answer(self) -> tuple[Tensor, Judgement]:
        """The best theta [P] that was seen, and its error, which of an easier equation is none."""
        theta = self.trial.theta if self.watch.best is None else self.trial.best
        return theta, Judgement(error=self.estimate if self._at_last_stage else None)

    def limit(self, stopped: str) -> str:
        """What stands in the way of a smaller error, in words."""
        if not self._at_last_stage:
            return f"the continuation: it came to {self.continuation.told(self.stage)}"
        if self.causal is not None and not self.causal.done:
            return f"the way through time: the weights reached {self.causal.reached:.0%} of it"
        if stopped == "rounding":
            return "rounding: the residual is at the end of double precision"
        if self.watch.too_few_points:
            return f"sampling: the residual between the points is {self.watch.sampling**0.5:.1f} times the one at them"
        if stopped == "stagnation":
            return f"the network: {self.trial.ansatz.network.size} weights, and nothing improved any more"
        return "the optimizer: the residual was still falling"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        own, numbers = self.amplification.state()
        tensors = {f"amplification.{name}": value for name, value in own.items()}
        return tensors, {
            "amplification": numbers,
            "watch": asdict(self.watch),
            "causal": None if self.causal is None else self.causal.state(),
            "stage": self.stage,
            "best_estimate": self.estimate,
        }

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again. Raises `ValueError` where it is one with data, of another continuation or of other causal weights."""
        if "watch" not in numbers:
            raise ValueError("the state is of a problem with data: pass the same data=")
        self.stage, self.estimate = numbers["stage"], numbers["best_estimate"]
        if (numbers["causal"] is None) != (self.causal is None) or self.stage >= len(
            self.continuation.stages
        ):
            raise ValueError(
                "the state is of another continuation or other causal weights: pass the same ones"
            )
        if self.causal is not None:
            self.causal.read(numbers["causal"])
        self.amplification.read(
            under("amplification.", tensors), numbers["amplification"], self.trial.ansatz.network
        )
        self.watch = Watch(**numbers["watch"])
        self.trial.pose(self.continuation.stages[self.stage])

    def _form(self, window: Window, settings: Settings) -> Ansatz:
        """What is begun with. Its symmetry, its scales, and whether values hold exactly are those of the whole time."""
        problem, network, exact = self.continuation.stages[-1], settings.network, settings.exact
        mirror = mirror_of(window.whole) if exact and not isinstance(network, nn.Module) else None
        if any(mirror_of(easier) != mirror for easier in self.continuation.stages[:-1]):
            mirror = None
        if exact and window.begins_with_kinks:
            # exact values would keep what the equation takes away
            exact, mirror = False, None if mirror is not None and mirror.continues else mirror
        begun = network_for(network, problem, features_of(problem, mirror), begin=BEGIN, seed=settings.seed)
        before = window.before if exact else ()
        return Ansatz(self.continuation.stages[0], begun, mirror, scales_of(window.whole), exact, before)

    @property
    def _at_last_stage(self) -> bool:
        return self.stage == len(self.continuation.stages) - 1

    def _is_below(self, error: float) -> bool:
        return self.estimate is not None and self.estimate <= error

    def _go_on_in_time(self, causal: Causal) -> None:
        """New causal weights; where they do not grow any more a wider network, and where there is none all times at once."""
        trial, front = self.trial, causal.front
        times = torch.cat([block.coordinates[causal.time] for block in trial.checked])
        verdict = causal.learn(times, sizes_on(trial.ansatz, trial.theta, trial.checked_rows).square())
        trial.best = trial.theta
        if verdict == "stuck":
            causal.since = 0
            if not trial.widen():
                causal.finish()
        if causal.front != front:
            trial.left = 0
        self.assemble()

    def _next_stage(self) -> None:
        """To the next values of the numbers, with the network that was best at these."""
        self.stage += 1
        self.trial.theta, self.trial.left, self.estimate = self.trial.best, 0, None
        self.trial.pose(self.continuation.stages[self.stage])
        self.watch = Watch(beginning=BEGINNINGS - 1, largest=self.watch.largest)
        self.amplification = Amplification()

    def _take_more_points(self) -> None:
        """Half as many again, as long as there are few for so many weights and J has room."""
        trial, size = self.trial, len(self.trial.theta)
        most = min(6 * size, MEMORY // size) if trial.method.grows else 6 * size
        if trial.num_points < most:
            trial.ask_for(min(int(1.5 * trial.num_points), most))

    def _begin_again(self) -> None:
        """Another network from the start."""
        seed = key(self.trial.seed, "network", self.watch.beginning) % 2**31
        self.trial.begin_with(self.trial.ansatz.network.another(seed))
        self.amplification, self.estimate = Amplification(), None


def enough(method: Method, size: int) -> int:
    """Points to begin with for so many weights; they become more when the residual between them tells so."""
    return size if method.grows else min(size, FRESH)
