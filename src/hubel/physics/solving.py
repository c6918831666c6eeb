"""`solve(problem, tol=...)`: from an equation to its solution, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from hubel.physics.architecture import Architecture
from hubel.physics.methods import Method
from hubel.physics.problem import Problem
from hubel.physics.quasi_newton import LimitedMemory
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver
from hubel.physics.windows import Windows


def solve(
    problem: Problem,
    *,
    data: Any = None,
    tol: float = 1e-4,
    seed: int = 0,
    seconds: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    network: Architecture | nn.Module | None = None,
    method: Method | None = None,
    exact: bool = True,
    points: int | None = None,
    continuation: Mapping[str, Sequence[float]] | None = None,
    causal: bool | float = False,
    windows: int | None = None,
    progress: Callable[[int, float, float | None, float], None] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
    save_every: float = 10.0,
    state: Mapping[str, Any] | None = None,
) -> Solution:
    """A network that fulfils the equation and its conditions to a relative L2 error of `tol`, as estimated; or the best that was reached.

    `data` is a table (a mapping of columns, or a DataFrame) with a column for every coordinate and for one field or more; with unknowns the
    work ends when their relative standard errors are below `tol`, or the data tell no more. `seconds` limits the time. `width` and `depth` are the network's at the beginning: 10 and 4,
    with data 12 and 3, with nearly exact ones 20 and 4. `network` is an `Architecture`, or any `torch.nn.Module` of your own that maps features [N, F] (`features_of`) to
    answers [N, K] in float64; a copy of it is fitted. `method` is one of `methods.METHODS`, by default the one that the size of the
    network allows (`method_for`). Where not `exact`, values at the faces are learnt as
    well. So they are where the beginning has a kink that the equation takes away. `points` fixes the number of points, which are then drawn once and stay. `continuation`, such as {"nu": (0.1, 0.03)}, are values of
    numbers of the equation that are walked through before their own, the network carried along. With `causal` (True, or the epsilon of the
    weights) later times count when earlier ones are solved. With `windows` the time is cut into so many equal ones, solved one after the other
    by a network each (`Windows`). `progress(iteration, loss, estimate, seconds)` is called after every
    iteration, `save(state)` every `save_every` seconds, with what `state=` takes to go on as if nothing had happened. A Ctrl-C ends the
    work and answers what was reached, `stopped="interrupted"`.

    Raises `ValueError` or `TypeError` for a tolerance that is no number in (0, 1), for a problem whose conditions do not suffice, for data
    that do not fit, and where the residual becomes NaN.

    >>> import math, torch
    >>> heat = Problem(lambda u: u.t - 0.1 * u.xx, domain=dict(t=(0, 1), x=(0, 1)), initial=lambda x: torch.sin(math.pi * x), boundary={"x": 0.0})
    >>> solution = solve(heat, tol=1e-3)
    >>> solution.stopped, round(float(solution(t=1.0, x=0.5)), 2), round(math.exp(-0.1 * math.pi**2), 2)
    ('tolerance', 0.37, 0.37)
    """
    solver = solver_of(
        problem,
        data=data,
        tol=tol,
        seed=seed,
        width=width,
        depth=depth,
        network=network,
        method=method,
        exact=exact,
        points=points,
        continuation=continuation,
        causal=causal,
        windows=windows,
        state=state,
    )
    if (notice := solver.notice) is not None:
        warnings.warn(notice, UserWarning, stacklevel=2)
    saved = solver.seconds
    try:
        for record in solver.steps(seconds):
            if progress is not None:
                progress(record.iteration, record.loss, record.estimate, record.seconds)
            if save is not None and record.seconds - saved > save_every:
                save(solver.state())
                saved = record.seconds
    except KeyboardInterrupt:
        solver.stopped = "interrupted"
    return solver.solution()


def solver_of(
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
    windows: int | None = None,
    state: Mapping[str, Any] | None = None,
) -> Solver | Windows:
    """What makes the iterations: of one network for all times, or of one for each of so many `windows`.

    Raises `ValueError` for windows with data, a continuation or causal weights, beside what `Solver` and `Windows` raise.

    >>> decay = Problem(lambda u: u.t + u, domain=dict(t=(0, 1)), initial=1.0)
    >>> type(solver_of(decay)).__name__, type(solver_of(decay, windows=2)).__name__
    ('Solver', 'Windows')
    """
    if windows is None:
        return Solver(
            problem,
            data=data,
            tol=tol,
            seed=seed,
            width=width,
            depth=depth,
            network=network,
            method=method,
            exact=exact,
            points=points,
            continuation=continuation,
            causal=causal,
            state=state,
        )
    if data is not None:
        raise ValueError("windows are for problems without data: leave out windows=")
    if continuation is not None or causal is not False:
        what = "causal weights go" if continuation is None else "a continuation goes"
        raise ValueError(f"{what} with one network for all times, not with windows: leave out one of both")
    return Windows(
        problem,
        windows,
        tol=tol,
        seed=seed,
        width=width,
        depth=depth,
        network=network,
        method=method,
        exact=exact,
        points=points,
        state=state,
    )


def raissi() -> dict[str, Any]:
    """The set-up of the first paper, to compare with: 8 layers of 20, learnt conditions, 10,000 fixed points, L-BFGS.

    `solve(problem, **raissi())`. M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686,
    doi:10.1016/j.jcp.2018.10.045, section 3; Sobol points in place of a Latin hypercube.
    """
    return {"width": 20, "depth": 8, "exact": False, "points": 10_000, "method": LimitedMemory()}
