"""From an equation to its solution: `solve(problem, tol=...)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubel.physics.problem import Problem
from hubel.physics.solution import Record, Solution


def solve(
    problem: Problem,
    *,
    data: Any = None,
    tol: float = 1e-4,
    seed: int = 0,
    seconds: float | None = None,
    width: int | None = None,
    depth: int = 3,
    progress: Callable[[int, float, float | None, float], None] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Solution:
    """A network that fulfils the equation and its conditions to a relative L2 error of `tol`, as estimated; or the best that was reached.

    `data` is a table (a mapping of columns, or a DataFrame) with a column for every coordinate and for one field or more. `seconds` limits
    the time. `progress(iteration, loss, estimate, seconds)` is called after every iteration, `save(state)` every few seconds, with what
    `state=` takes to go on as if nothing had happened. A Ctrl-C ends the work and answers what was reached, `stopped="interrupted"`.
    """
    raise NotImplementedError


class Solver:
    """The same, one iteration after the other: `for record in solver.steps(): ...`, then `solver.solution()`; `solver.state()` at any time."""
