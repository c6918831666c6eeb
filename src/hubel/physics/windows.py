"""Time in windows, solved one after the other: each begins where the one before ended, with a network of its own.

A long time asks much of one network: it has to be right at the beginning before anything later can be, and the later is as hard to express
as the earlier. In a window there is less to express, and the way to it is short. Each one begins exactly with the answer of the one before
(`ansatz`), so that nothing is interpolated and nothing learnt twice.

An error that is handed on stays, or grows, or decays as the equation has it; the estimate supposes that it stays. With the errors e_k and the
sizes s_k of the solution in windows k = 1 ... n (root mean squares), as each window estimates them by itself,

    error^2 = sum over k of (e_1 + ... + e_k)^2 / sum over k of s_k^2,

which is at most tol where every e_k is tol 2 sin(pi / (4n + 2)) s_k: the inverse of the largest singular value of the sums (5.4 for 8 windows).
KdV's equation after 120 s of processor time, seed 0: error 3.8e-5 in 8 windows, 5.5e-4 by one network. To begin
a window with the network of the one before, wide as it had become, was no better than with a fresh one: 5.4e-5.

A. S. Krishnapriyan, A. Gholami, S. Zhe, R. M. Kirby, M. W. Mahoney, NeurIPS 2021, arXiv:2109.01050, section 5.2 (sequence to sequence);
R. Mattey, S. Ghosh, Comput. Methods Appl. Mech. Eng. 390 (2022) 114474, doi:10.1016/j.cma.2021.114474. There the beginning is learnt.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.architecture import Architecture
from hubel.physics.methods import Method
from hubel.physics.networks import under
from hubel.physics.pieces import Pieces, Window, edges_of
from hubel.physics.problem import Problem
from hubel.physics.solution import Record, Solution
from hubel.physics.solver import Solver, refuse_tolerance

WORST_FIRST = ("time", "stagnation", "rounding", "tolerance")  # why a window ended
LEAST = 1e-9  # seconds: a window whose time is over makes one iteration


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came out in one window, beside its network: `size` is the root mean square of the scaled solution, `estimate` relative to it."""

    estimate: float | None
    size: float
    residual: float
    stopped: str
    limit: str
    seconds: float
    iterations: int
    violations: Mapping[str, float]


class Windows:
    """What `solve(..., windows=num)` does, step by step; used as a `Solver` is.

    Raises `ValueError` for a number that is none, a problem without time, and unknowns.

    >>> decay = Problem(lambda u: u.t + u, domain=dict(t=(0, 4)), initial=1.0)
    >>> windows = Windows(decay, 4, tol=1e-4)
    >>> for record in windows.steps(): pass
    >>> record.window, windows.stopped, bool(abs(windows.solution()(t=4.0) - math.exp(-4)) < 1e-4)
    (4, 'tolerance', True)
    """

    def __init__(
        self,
        problem: Problem,
        num: int,
        *,
        tol: float = 1e-4,
        seed: int = 0,
        width: int | None = None,
        depth: int | None = None,
        network: Architecture | nn.Module | None = None,
        method: Method | None = None,
        exact: bool = True,
        points: int | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        refuse(problem, num)
        refuse_tolerance(tol)
        self.problem, self.num, self.tol, self.seed = problem, num, tol, seed
        self.chosen: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "network": network,
            "exact": exact,
            "points": points,
        }
        self.method = method
        self.windows: tuple[Ansatz, ...] = ()
        self.done: tuple[Done, ...] = ()
        self.history: list[Record] = []
        self.stopped = ""
        self._size: tuple[Tensor, float] | None = None
        now = None if state is None else self._read(state)
        self.solver = self._solver(self.windows, now)

    def steps(self, seconds: float | None = None) -> Iterator[Record]:
        """One record after every iteration, window after window; what is left of the `seconds` is shared by the windows that are left."""
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds is {seconds}; expected a positive time")
        self.stopped = ""
        while not self.stopped:
            before = sum(done.seconds for done in self.done)
            share = None if seconds is None else (seconds - before) / (self.num - len(self.done))
            for record in self.solver.steps(share if share is None else max(share, LEAST)):
                self.history.append(self._told(record))
                if self.solver.stopped:
                    self._hand_on()
                yield self.history[-1]

    @property
    def seconds(self) -> float:
        """The time that was worked."""
        return sum(done.seconds for done in self.done) + self.solver.seconds

    @property
    def iteration(self) -> int:
        """The iterations in all windows."""
        return sum(done.iterations for done in self.done) + self.solver.iteration

    @property
    def ansatz(self) -> Ansatz:
        """The form in the window that is worked on."""
        return self.solver.ansatz

    @property
    def notice(self) -> str | None:
        """What has to be said of the network before it works, if anything."""
        return self.solver.notice

    def solution(self) -> Solution:
        """The best that was found so far; NaN at times after the window that is worked on, and without an estimate while there are some."""
        now = self.solver.solution()
        begun = self.solver.iteration > 0 or not self.done
        found = (*self.done, self._done(now)) if begun else self.done
        windows = (*self.windows, _form(now)) if begun else self.windows
        estimate = _together(found) if len(found) == self.num else None
        violations: dict[str, float] = {}
        for name, value in itertools.chain.from_iterable(done.violations.items() for done in found):
            violations[name] = max(value, violations.get(name, 0.0))
        return replace(
            now,
            problem=self.problem,
            ansatz=Pieces(self.problem, self.num, windows),
            tol=self.tol,
            estimate=estimate,
            residual=math.sqrt(sum(done.residual**2 for done in found) / len(found)),
            stopped=self.stopped or "not finished",
            limit=self._limit(found, estimate),
            history=tuple(self.history),
            seconds=self.seconds,
            violations=violations,
            state=self.state(),
        )

    # ---- from window to window

    def _solver(self, before: tuple[Ansatz, ...], state: Mapping[str, Any] | None = None) -> Solver:
        """The solver of the window after those `before`."""
        window = Window(self.problem, self.num, before)
        return Solver(
            window.problem,
            tol=share_of(self.tol, self.num),
            seed=self.seed,
            method=copy.deepcopy(self.method),
            window=window,
            state=state,
            **self.chosen,
        )

    def _hand_on(self) -> None:
        """To the next window; after the last one to the end."""
        begin = time.perf_counter()
        now = self.solver.solution()
        windows, done = (*self.windows, _form(now)), (*self.done, self._done(now))
        if len(done) == self.num:
            estimate = _together(done)
            reached = estimate is not None and estimate <= self.tol
            reasons = {"tolerance"} if reached else {one.stopped for one in done}
            self.stopped = next(why for why in WORST_FIRST if why in reasons)
            return
        solver = self._solver(windows)
        solver.seconds = time.perf_counter() - begin
        self.windows, self.done, self.solver, self._size = windows, done, solver, None

    def _told(self, record: Record) -> Record:
        """A record of the solver of this window as one of the whole."""
        known = [(done.estimate, done.size) for done in self.done]
        estimate = self.solver.best_estimate
        if estimate is not None:
            estimate = together([*known, (estimate, self._magnitude())])
        return replace(
            record,
            iteration=self.iteration,
            estimate=estimate,
            seconds=self.seconds,
            window=len(self.done) + 1,
        )

    def _magnitude(self) -> float:
        """The size of the best solution in this window, measured where it is another one than before."""
        if self._size is None or self._size[0] is not self.solver.best:
            self._size = self.solver.best, self.solver.magnitude()
        return self._size[1]

    def _done(self, now: Solution) -> Done:
        """What is known of this window."""
        return Done(
            estimate=now.estimate,
            size=self._magnitude(),
            residual=now.residual,
            stopped=now.stopped,
            limit=now.limit,
            seconds=now.seconds,
            iterations=self.solver.iteration,
            violations=now.violations,
        )

    def _limit(self, found: Sequence[Done], estimate: float | None) -> str:
        """What stands in the way of a smaller error, in words."""
        worked = len(self.done) + 1
        if len(found) < self.num:
            edges = edges_of(self.problem, self.num)
            return (
                f"the way through time: it came to window {worked} of {self.num}; times after {self.problem.time} = "
                f"{edges[len(found)]:g} were not reached"
            )
        if estimate is not None and estimate <= self.tol:
            return "the tolerance was reached"
        errors = [math.inf if done.estimate is None else done.estimate * done.size for done in found]
        most = errors.index(max(errors))
        return f"window {most + 1} of {self.num}, which adds most to the error: {found[most].limit}"

    # ---- the state

    def state(self) -> dict[str, Any]:
        """Everything that is known, as tensors and plain numbers."""
        now = self.solver.state()
        tensors, form = Pieces(self.problem, self.num, self.windows).saved()
        return {
            "tensors": tensors | {f"now.{name}": value for name, value in now["tensors"].items()},
            "numbers": {
                "windows": self.num,
                "form": form,
                "done": [asdict(done) for done in self.done],
                "now": now["numbers"] | {"history": []},
                "method": now["numbers"]["method"],
                "history": [asdict(record) for record in self.history],
                "iteration": self.iteration,
                "seconds": self.seconds,
            },
        }

    def _read(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Take a state, and answer that of the solver of its window."""
        tensors, numbers = state["tensors"], state["numbers"]
        if numbers.get("windows") != self.num:
            was = numbers.get("windows")
            raise ValueError(
                f"the state is of {'one network for all times' if was is None else f'{was} windows of time'}; this is one of {self.num} "
                "windows: pass the same windows="
            )
        network = self.chosen["network"]
        own = network if isinstance(network, nn.Module) else None
        self.windows = Pieces.built(self.problem, tensors, numbers["form"], own).windows
        self.done = tuple(Done(**done) for done in numbers["done"])
        self.history = [Record(**record) for record in numbers["history"]]
        return {"tensors": under("now.", tensors), "numbers": numbers["now"]}


def refuse(problem: Problem, num: int) -> None:
    """Raises `ValueError` where time can not be cut into `num` windows."""
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise ValueError(f"windows is {num!r}; expected a whole number, at least 1")
    if problem.time is None:
        raise ValueError(
            f"windows are parts of the time, and the domain has {', '.join(problem.coordinates)}; name it by time=..."
        )
    if problem.unknowns:
        raise ValueError(
            f"windows are for problems whose numbers are all known; {', '.join(problem.unknowns)} must be the same at all times: leave out windows="
        )
    within = problem.conditions.within
    if within is not None and problem.time in within.names:
        raise ValueError(
            f"windows are equal parts of the time, and {problem.time} lies within a shape: leave out windows="
        )


def share_of(tol: float, num: int) -> float:
    """The relative error of each of `num` windows with which the sums of errors come to `tol` at most.

    >>> share_of(1e-3, 1), round(1e-3 / share_of(1e-3, 8), 1)
    (0.001, 5.4)
    """
    return tol if num == 1 else tol * 2 * math.sin(math.pi / (4 * num + 2))


def together(known: Sequence[tuple[float | None, float]]) -> float | None:
    """The relative error over all windows, from the estimate and the size of each; None where one is lacking.

    >>> together([(0.01, 1.0), (0.03, 1.0)]) == math.hypot(0.01, 0.04) / math.hypot(1.0, 1.0)
    True
    """
    total = squares = 0.0
    for estimate, size in known:
        if estimate is None:
            return None
        total += estimate * size
        squares += total**2
    whole = sum(size**2 for _, size in known)
    return math.sqrt(squares / whole) if whole > 0 else None


def _together(done: Sequence[Done]) -> float | None:
    return together([(one.estimate, one.size) for one in done])


def _form(solution: Solution) -> Ansatz:
    assert isinstance(solution.ansatz, Ansatz)
    return solution.ansatz
