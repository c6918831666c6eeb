"""Time in windows, solved one after the other: each begins where the one before ended, with a network of its own.

A long time asks much of one network: it has to be right at the beginning before anything later can be, and the later is as hard to express
as the earlier. In a window there is less to express, and the way to it is short. Each one begins exactly with the answer of the one before
(`ansatz`), so that nothing is interpolated and nothing learnt twice.

An error that is handed on stays, or grows, or decays as the equation has it. With the errors e_k that each window k = 1 ... n adds, as it estimates
them by itself, what became in it of the errors of those before, h_k (`growth`), and the sizes s_k of the solution (all root mean squares),

    error^2 = sum over k of (h_k + e_k)^2 / sum over k of s_k^2.

What is asked of each window supposes errors that stay: those of a window grow from 0 at its beginning to sqrt(3) e_k at its end, if they grow evenly, so that
h_k = sqrt(3) (e_1 + ... + e_(k-1)), and the error is at most tol where every e_k is tol / M s_k, M the largest singular value of the sums (8.9 for 8 windows). Where a
solution decays, the root of (s_1^2 + ... + s_k^2) / n stands for a smaller s_k: its end may have the errors that its beginning may.
Where the equation lets errors grow it does not suffice: then all windows are solved again, to a smaller part of the tolerance, up to three times.

KdV's equation after 120 s of processor time, seed 0: error 3.8e-5 in 8 windows, 5.5e-4 by one network. To begin
a window with the network of the one before, wide as it had become, was no better than with a fresh one: 5.4e-5.

A. S. Krishnapriyan, A. Gholami, S. Zhe, R. M. Kirby, M. W. Mahoney, NeurIPS 2021, arXiv:2109.01050, section 5.2 (sequence to sequence);
R. Mattey, S. Ghosh, Comput. Methods Appl. Mech. Eng. 390 (2022) 114474, doi:10.1016/j.cma.2021.114474. There the beginning is learnt.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.architecture import Architecture
from hubel.physics.forward import Forward
from hubel.physics.growth import Change, alike, became, size_of
from hubel.physics.methods import Method
from hubel.physics.networks import under
from hubel.physics.pieces import Pieces, Window, edges_of
from hubel.physics.problem import Problem
from hubel.physics.solution import Record, Solution
from hubel.physics.solver import Solver, refuse_tolerance
from hubel.physics.trial import FACE
from hubel.physics.way import Done, Way, together

WORST_FIRST = ("time", "stagnation", "growth", "rounding", "tolerance")  # why a window ended
MOST_WAYS = 4  # through all windows, each more strict than the one before
STRICTER = 0.5  # than the growth that was seen asks for
LARGEST_SHARE = 0.5  # of a solution, that an error may be
STAYS = "what becomes of an error that a window hands on could not be followed in all windows: there the estimate supposes that it stays as it is"
LEAST = 1e-9  # seconds: a window whose time is over makes one iteration


class Windows:
    """What `solve(..., windows=num)` does, step by step; used as a `Solver` is.

    Raises `ValueError` for a number that is none, a problem without time, unknowns, a tolerance that is none, and a state of other windows; `steps` for
    seconds that are not positive.

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
            "method": method,
            "exact": exact,
            "points": points,
        }
        self.way = Way()
        self.whole: Way | None = None
        self.changes: tuple[Change, ...] = ()
        self.strictness, self.ways, self.spent, self.made = 1.0, 1, 0.0, 0
        self.history: list[Record] = []
        self.stopped = ""
        self._size: tuple[Tensor, float] | None = None
        self.solver = self._solver(None if state is None else self._read(state))

    def steps(self, seconds: float | None = None) -> Iterator[Record]:
        """One record after every iteration, window after window; what is left of the `seconds` is shared by the windows that are left."""
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds is {seconds}; expected a positive time")
        self.stopped = ""
        while not self.stopped:
            self._relax()
            before, left = self.seconds - self.solver.seconds, self.num - len(self.way.done)
            share = None if seconds is None else (seconds - before) / left
            for record in self.solver.steps(share if share is None else max(share, LEAST)):
                self.history.append(self._told(record))
                if self.solver.stopped:
                    self._hand_on()
                else:
                    self._relax()
                yield self.history[-1]

    @property
    def seconds(self) -> float:
        """The time that was worked."""
        return self.spent + sum(done.seconds for done in self.way.done) + self.solver.seconds

    @property
    def iteration(self) -> int:
        """The iterations in all windows."""
        return self.made + sum(done.iterations for done in self.way.done) + self.solver.iteration

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
        found = self.whole
        if found is None:
            begun = self.solver.iteration > 0 or not self.way.done
            found = self.way.then(_form(now), self._done(now, None)) if begun else self.way
        estimate = found.estimate if len(found.done) == self.num else None
        violations: dict[str, float] = {}
        for name, value in itertools.chain.from_iterable(done.violations.items() for done in found.done):
            violations[name] = max(value, violations.get(name, 0.0))
        return replace(
            now,
            problem=self.problem,
            ansatz=Pieces(self.problem, self.num, found.windows),
            tol=self.tol,
            estimate=estimate,
            residual=math.sqrt(sum(done.residual**2 for done in found.done) / len(found.done)),
            stopped=self.stopped or "not finished",
            limit=self._limit(found),
            history=tuple(self.history),
            seconds=self.seconds,
            violations=violations,
            warnings=(*now.warnings, STAYS)
            if estimate is not None and not found.is_followed
            else now.warnings,
            state=self.state(),
        )

    # ---- from window to window

    def _solver(self, state: Mapping[str, Any] | None = None) -> Solver:
        """The solver of the next window."""
        window = Window(self.problem, self.num, self.way.windows)
        self._size = None
        return Solver(
            window.problem,
            tol=self.asked,
            seed=self.seed,
            window=window,
            state=state,
            **self.chosen,
        )

    @property
    def asked(self) -> float:
        """The relative error that each window may add."""
        return self.strictness * share_of(self.tol, self.num)

    def _relax(self) -> None:
        """Where the solution has decayed, a window may add as much as while it was large; how large it is here is seen on the way."""
        here = self._magnitude()
        whole = math.sqrt((sum(done.size**2 for done in self.way.done) + here**2) / self.num)
        if here > 0:
            self.solver.strategy.tol = min(self.asked * max(1.0, whole / here), LARGEST_SHARE)

    def _hand_on(self) -> None:
        """To the next window; after the last one to the end, or again from the beginning."""
        begin = time.perf_counter()
        now = self.solver.solution()
        done, changes = self._ended(now)
        way = self.way.then(_form(now), done)
        if len(way.done) == self.num:
            self._end(way)
            if self.stopped and self.stopped != "time":
                return
            self.spent += sum(one.seconds for one in way.done)
            self.made += sum(one.iterations for one in way.done)
            way, changes = Way(), ()  # from the beginning, at once or when there is more time
        self.way, self.changes = way, changes
        self.solver = self._solver()
        self.solver.seconds = time.perf_counter() - begin

    def _end(self, way: Way) -> None:
        """Whether all is done, after the whole `way`: where errors grew beyond the tolerance, more is asked of every window."""
        if way.is_better(self.whole):
            self.whole = way
        estimate, reasons = way.estimate, {one.stopped for one in way.done}
        grew = estimate is not None and estimate > self.tol and reasons == {"tolerance"}
        if grew and self.ways < MOST_WAYS:
            assert estimate is not None
            self.strictness *= STRICTER * self.tol / estimate
            self.ways += 1
            return
        if grew:
            reasons = {"growth"}
        elif estimate is not None and estimate <= self.tol:
            reasons = {"tolerance"}
        self.stopped = next(why for why in WORST_FIRST if why in reasons)
        self.history[-1] = replace(self.history[-1], estimate=self.whole.estimate if self.whole else None)

    def _told(self, record: Record) -> Record:
        """A record of the solver of this window as one of the whole."""
        estimate = record.estimate
        if estimate is not None:
            # as if what is handed on stayed as it is: what becomes of it is known at the end of the window
            now = (estimate, self._magnitude(), self._handed_on())
            estimate = together([*((done.estimate, done.size, done.carried) for done in self.way.done), now])
        return replace(
            record,
            iteration=self.iteration,
            estimate=estimate,
            seconds=self.seconds,
            window=len(self.way.done) + 1,
        )

    def _magnitude(self) -> float:
        """The size of the best solution in this window, measured where it is another one than before."""
        trial = self.solver.trial
        if self._size is None or self._size[0] is not trial.best:
            self._size = trial.best, float(trial.values(trial.best).square().mean().sqrt())
        return self._size[1]

    def _ended(self, now: Solution) -> tuple[Done, tuple[Change, ...]]:
        """What is known of this window, and the errors that it hands on."""
        form, number = _form(now), len(self.way.done)
        if number and not form.exact:  # where the beginning is learnt, nothing is handed on exactly
            return self._done(now, None), ()
        points = torch.cat([block.points for block in self.solver.trial.checked])
        changes, carried = list(self.changes), None
        moved = became(number, form, changes, points, FACE) if changes else None
        if moved is not None:
            carried = size_of(moved.values(points), form)
            changes.append(moved.change)
        assert isinstance(self.solver.strategy, Forward)
        earlier = self.solver.strategy.amplification.earlier(now.residual)
        if earlier is not None:
            own = Change(number, form, *earlier)
            changes.append(alike(own, changes, points))
        return self._done(now, carried), tuple(changes)

    def _done(self, now: Solution, carried: float | None) -> Done:
        """What is known of this window; what was `carried` into it is supposed to have stayed where it is not known."""
        if not self.way.done:
            carried = 0.0
        return Done(
            estimate=now.estimate,
            size=self._magnitude(),
            carried=self._handed_on() if carried is None else carried,
            followed=carried is not None,
            residual=now.residual,
            stopped=now.stopped,
            limit=now.limit,
            seconds=now.seconds,
            iterations=self.solver.iteration,
            violations=now.violations,
        )

    def _handed_on(self) -> float:
        """The error of the window before, all in all."""
        last = self.way.done[-1] if self.way.done else None
        return 0.0 if last is None or last.estimate is None else last.carried + last.estimate * last.size

    def _limit(self, found: Way) -> str:
        """What stands in the way of a smaller error, in words."""
        reached, estimate = len(found.done), found.estimate
        if reached < self.num:
            edges = edges_of(self.problem, self.num)
            return (
                f"the way through time: it came to window {len(self.way.done) + 1} of {self.num}; times after {self.problem.time} = "
                f"{edges[reached]:g} were not reached"
            )
        if estimate is not None and estimate <= self.tol:
            return "the tolerance was reached"
        if all(one.stopped == "tolerance" for one in found.done):
            return f"errors grow from window to window: each was as good as asked, and {estimate:.1e} came of them"
        errors = [math.inf if one.estimate is None else one.estimate * one.size for one in found.done]
        most = errors.index(max(errors))
        return f"window {most + 1} of {self.num}, which adds most to the error: {found.done[most].limit}"

    # ---- the state

    def state(self) -> dict[str, Any]:
        """Everything that is known, as tensors and plain numbers."""
        now = self.solver.state()
        tensors = {f"now.{name}": value for name, value in now["tensors"].items()}
        parts: dict[str, Any] = {"way": self.way.saved(self.problem, self.num)}
        if self.whole is not None:
            parts["whole"] = self.whole.saved(self.problem, self.num)
        parts |= {f"change.{place}": change.saved() for place, change in enumerate(self.changes)}
        for part, (own, _) in parts.items():
            tensors |= {f"{part}.{name}": value for name, value in own.items()}
        return {
            "tensors": tensors,
            "numbers": {
                "windows": self.num,
                "parts": {part: numbers for part, (_, numbers) in parts.items()},
                "now": now["numbers"] | {"history": []},
                "method": now["numbers"]["method"],
                "history": [asdict(record) for record in self.history],
                "iteration": self.iteration,
                "seconds": self.seconds,
            }
            | {name: getattr(self, name) for name in COUNTED},
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
        network, parts = self.chosen["network"], numbers["parts"]
        own = network if isinstance(network, nn.Module) else None
        ways = {
            name: Way.built(self.problem, under(f"{name}.", tensors), parts[name], own)
            for name in ("way", "whole")
            if name in parts
        }
        self.way, self.whole = ways["way"], ways.get("whole")
        self.changes = tuple(
            Change.built(self.way.windows, under(f"{name}.", tensors), change)
            for name, change in parts.items()
            if name.startswith("change.")
        )
        self.history = [Record(**record) for record in numbers["history"]]
        for name in COUNTED:
            setattr(self, name, numbers[name])
        return {"tensors": under("now.", tensors), "numbers": numbers["now"]}


COUNTED = ("strictness", "ways", "spent", "made")


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
    (0.001, 8.9)
    """
    sums = np.eye(num) + math.sqrt(3) * np.tri(num, k=-1)
    return tol / float(np.linalg.norm(sums, 2))


def _form(solution: Solution) -> Ansatz:
    assert isinstance(solution.ansatz, Ansatz)
    return solution.ansatz
