"""From an equation to its solution, one iteration after the other (`solve` makes all of them).

A small network in double precision, conditions exact where they can be, Levenberg-Marquardt on points that follow the residual: few points
and a small network first, more of both when they are what limits the error. The work ends when the estimated error is below `tol`.
What is fitted is a `trial`; what happens to it between iterations is another thing without data (`forward`) and with data (`inverse`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.architecture import Architecture, sized
from hubel.physics.causal import Causal
from hubel.physics.continuation import Continuation
from hubel.physics.forward import Forward
from hubel.physics.inverse import Inverse
from hubel.physics.methods import Method, refuse_other
from hubel.physics.parts import violations
from hubel.physics.pieces import Window
from hubel.physics.problem import Problem
from hubel.physics.solution import Record, Solution
from hubel.physics.trial import FACE, Settings


class Solver:
    """What `solve` does, step by step, from the same arguments: `for record in solver.steps(): ...`, then `solver.solution()`; `solver.state()` at any time.

    All is a function of the arguments, the number of threads and the machine; a solver made from the `state` of another goes on as that
    one would have. `window` says of which longer time the problem is a part (`windows`).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        data: Any = None,
        tol: float = 1e-4,
        seed: int = 0,
        width: int | None = None,
        depth: int | None = None,
        network: Architecture | nn.Module | None = None,
        method: Method | None = None,
        exact: bool = True,
        points: int | None = None,
        continuation: Mapping[str, Sequence[float]] | None = None,
        causal: bool | float = False,
        window: Window | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        refuse_tolerance(tol)
        if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
            raise ValueError(f"points is {points!r}; expected a whole number, at least 1")
        if method is not None:
            refuse_other(method, from_data=data is not None)
        if not exact:
            refuse_learnt(problem)
        self.problem = problem
        self.settings = Settings(
            tol=float(tol),
            seed=int(seed),
            network=sized(network, width, depth),
            method=method,
            exact=exact,
            points=points,
        )
        if data is None:
            stages, later = Continuation.of(continuation, problem), Causal.of(causal, problem)
            self.strategy = Forward(problem, self.settings, stages, later, window or Window(problem))
        elif continuation is not None or causal is not False:
            raise ValueError("continuation and causal weights are for problems without data")
        else:
            self.strategy = Inverse(problem, self.settings, data)
        self.trial = self.strategy.trial
        self.iteration, self.seconds, self.stopped = 0, 0.0, ""
        self.history: list[Record] = []
        self.libraries = ThreadpoolController()
        if state is not None:
            self._read(state)

    def steps(self, seconds: float | None = None) -> Iterator[Record]:
        """One record after every iteration, until the estimate is below the tolerance, nothing improves, or the `seconds` are over."""
        trial, strategy, self.stopped = self.trial, self.strategy, ""
        begin = time.perf_counter() - self.seconds
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds is {seconds}; expected a positive time")
        while not self.stopped:
            with self.libraries.limit(limits=torch.get_num_threads(), user_api="blas"):
                if not trial.left:
                    self.stopped = strategy.draw()
                if self.stopped:
                    return
                theta, loss, found = trial.method.step(trial.system, trial.theta)
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the residual is NaN or infinite at iteration {self.iteration + 1}: check roots, logarithms and divisions of "
                        "fields, or begin with another seed"
                    )
                self.iteration += 1
                trial.theta, trial.left = theta, trial.left - 1 if found else 0
                if self.iteration % trial.method.every == 0:
                    self.stopped = strategy.measure(loss)
            self.seconds = time.perf_counter() - begin
            if seconds is not None and self.seconds >= seconds and not self.stopped:
                self.stopped = "time"
            record = Record(
                iteration=self.iteration,
                loss=loss,
                estimate=strategy.estimate,
                seconds=self.seconds,
                num_weights=self.ansatz.network.size,
                num_points=trial.num_points,
            )
            self.history.append(record)
            yield record

    @property
    def ansatz(self) -> Ansatz:
        """The form as it is now."""
        return self.trial.ansatz

    @property
    def notice(self) -> str | None:
        """What has to be said of the network before it works, if anything."""
        network = self.ansatz.network
        if network.in_one_pass:
            return None
        return (
            f"the derivatives of {network.label} by nested differentiation, which is slow; those of "
            "hubel.physics.Architecture travel in one pass"
        )

    def solution(self) -> Solution:
        """The best that was found so far, with its error and what limits it."""
        state, reached = self.state(), self.stopped == "tolerance"
        theta, judgement = self.strategy.answer()
        network = self.ansatz.network.copied()
        network.read(theta[: network.size])
        ansatz = replace(self.ansatz, network=network, problem=self.problem)
        return Solution(
            problem=self.problem,
            ansatz=ansatz,
            tol=self.settings.tol,
            estimate=judgement.error,
            residual=self.trial.residual(ansatz, theta),
            stopped=self.stopped or "not finished",
            limit="the tolerance was reached" if reached else self.strategy.limit(self.stopped),
            history=tuple(self.history),
            seconds=self.seconds,
            parameters=judgement.parameters,
            functions=judgement.functions,
            warnings=judgement.warnings,
            noise=judgement.noise,
            violations=violations(ansatz, theta, FACE, self.settings.seed),
            state=state,
        )

    def state(self) -> dict[str, Any]:
        """Everything that the solver knows, as tensors and plain numbers."""
        (tensors, numbers), (others, more) = self.trial.state(), self.strategy.state()
        return {
            "tensors": tensors | others,
            "numbers": copy.deepcopy(numbers | more)
            | {
                "seed": self.settings.seed,
                "iteration": self.iteration,
                "until": self.iteration + self.trial.left,
                "seconds": self.seconds,
                "history": [asdict(record) for record in self.history],
            },
        }

    def _read(self, state: Mapping[str, Any]) -> None:
        tensors, numbers = state["tensors"], copy.deepcopy(dict(state["numbers"]))
        if "windows" in numbers:
            raise ValueError(f"the state is of {numbers['windows']} windows of time: pass the same windows=")
        if numbers["seed"] != (seed := self.settings.seed):
            raise ValueError(f"the state is of seed {numbers['seed']}; this solver has seed {seed}")
        self.trial.read(tensors, numbers)
        self.strategy.read(tensors, numbers)
        self.iteration, self.seconds = numbers["iteration"], numbers["seconds"]
        self.history = [Record(**record) for record in numbers["history"]]
        self.trial.left = numbers["until"] - self.iteration
        if self.trial.round:
            self.strategy.assemble()


def refuse_tolerance(tol: Any) -> None:
    """Raises `ValueError` for what is no relative error."""
    if isinstance(tol, bool) or not isinstance(tol, (int, float)) or not 0 < tol < 1:
        raise ValueError(f"tol is {tol!r}; expected a relative error between 0 and 1, such as 1e-4")


def refuse_learnt(problem: Problem) -> None:
    """Raises `ValueError` where values must hold exactly."""
    if any(len(values) > 1 for values in problem.conditions.initial.values()):
        raise ValueError("an initial speed can only be fulfilled exactly: leave out exact=False")
    if problem.conditions.around:
        raise ValueError("values around a shape can only be fulfilled exactly: leave out exact=False")
