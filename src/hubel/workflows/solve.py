"""`solve`: from an equation to a run folder with its solution and the evidence. `resume_solution`: go on where that was interrupted."""

from __future__ import annotations

import datetime
import json
import math
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files, names
from hubel.core.errors import DamagedRun, nearest
from hubel.core.version import VERSION
from hubel.data.archives import opened_npz
from hubel.fitting import Checkpoints, machine
from hubel.fitting.about import EQUATION, FORMAT, read_equation
from hubel.physics.architecture import Architecture
from hubel.physics.equations import Equation
from hubel.physics.methods import Method, described, rebuilt
from hubel.physics.posing import Posed, posed
from hubel.physics.problem import Problem
from hubel.physics.runs import (
    network_again,
    network_asked,
    open_solution,
    posed_again,
    refuse_other_network,
)
from hubel.physics.smoothness import jumps, kinks
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver
from hubel.physics.solving import solver_of
from hubel.physics.windows import Windows
from hubel.workflows import choices, folders
from hubel.workflows.display import Display
from hubel.workflows.fit import _command, _still_intact
from hubel.workflows.solved import Measured, Watch, conclude
from hubel.workflows.table_of_points import read_points
from hubel.workflows.training import CHECKPOINT_SECONDS, CHECKPOINT_SHARE, INTERRUPTED, interruptible

TOLERANCE = 1e-4
THREADS = 1  # matrices are small: Burgers to 1e-5 took 4.0 s on one thread and 10.7 s on two
SAID = 1.4  # the time between two lines grows by this factor


def solve(
    problem: Problem | Equation | str | Path,
    *,
    data: Any = None,
    tol: float = TOLERANCE,
    seed: int = 0,
    network: Architecture | nn.Module | None = None,
    method: Method | None = None,
    budget: float | None = None,
    noise: float = 0.0,
    continuation: Mapping[str, Sequence[float]] | None = None,
    causal: bool | float = False,
    windows: int | None = None,
    out: Path | str | None = None,
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Solution:
    """Solve an equation by a network to a relative L2 error of `tol`, as estimated, and write a run folder with its evidence.

    `problem` is a `hubel.physics.Problem`, the name of an equation ("burgers"), or the path of a Python file that defines `problem` (and, if
    its solution is known, a function `reference`). Where it has unknown numbers, `data` are what they are found from: a mapping of columns, a
    DataFrame, or the path of a table (.csv, .tsv, .npz) with a column for every coordinate and for one field or more. A named equation with
    unknowns makes its own data where none are given, with normal noise of `noise` times their standard deviation.

    `network` is a `hubel.physics.Architecture` (size, activation, residual connections, Fourier features), or any `torch.nn.Module` of
    your own in float64 that maps features [N, F] (`hubel.physics.ansatz.features_of`) to answers [N, K]; `method` one of
    `hubel.physics.LevenbergMarquardt()`, `SelfScaledBroyden()`, `LimitedMemory()`, `Adam()`, `SOAP()`, `Muon()`, by default the one that
    the number of weights allows.

    `continuation`, such as {"nu": (0.1, 0.03)}, are values of numbers of the equation that are walked through before their own, the network
    carried along: for fronts and layers that are not found at once. With `causal=True` (or the epsilon of the weights) later times count
    when earlier ones are solved: for long times. With `windows=8` the time is cut into so many equal windows, solved one after the other by a
    network each, every one from where the one before ended.

    `budget` is the time in seconds (345); where it ends, or nothing improves any more, before the tolerance is reached, the best that was
    found is answered, with its estimated error and what limits it. `out` is the folder of the run, new or empty (runs/DATE-NAME-1). A Ctrl-C
    saves, and `hubel resume RUN` goes on as if nothing had happened.

    Returns the solution, a function of the coordinates; `solution.folder` holds `report.html`.

    Raises `ValueError` or `TypeError` for a problem or data that do not fit, before the first step.

    >>> import tempfile, torch
    >>> rod = Problem(lambda u: u.t - u.xx, domain=dict(t=(0, 1), x=(0, 1)), initial=lambda x: torch.sin(torch.pi * x), boundary={"x": 0.0})
    >>> solution = solve(rod, tol=1e-2, out=tempfile.mkdtemp() + "/rod", quiet=True)
    >>> bool(abs(solution(t=0.05, x=0.5) - 0.6105) < 0.02)
    True
    """
    if budget is not None and not (isinstance(budget, (int, float)) and 0 < budget < math.inf):
        raise ValueError(
            f"budget is {budget!r}; expected a positive number of seconds, such as 90 or 20 * 60"
        )
    if out is not None:
        folders.refuse_taken(out)
    files.refuse_unwritable("runs" if out is None else out)
    with Display(quiet=quiet) as display:
        what = posed(problem)
        table, source = _table(what, data, noise, seed)
        asked = {
            "tol": tol,
            "seed": seed,
            "budget": float(choices.DEFAULT_BUDGET if budget is None else budget),
            "threads": THREADS,
            "network": network_asked(network),
            "method": None if method is None else described(method),
            "continuation": _walk(continuation),
            "causal": causal,
            "windows": windows,
        }
        solver = solver_of(
            what.equation.problem,
            data=table,
            tol=tol,
            seed=seed,
            network=network,
            method=method,
            continuation=continuation,
            causal=causal,
            windows=windows,
        )  # raises for what does not fit: before there is a folder
        folder = folders.new_folder(out, what.name)
        with files.locked(folder):
            if what.text is not None:
                files.write_text(folder / "equation.py", what.text)
            about = _about(folder, what, asked)
            if table is not None:
                about["data"] = {
                    "source": source,
                    "rows": len(next(iter(table.values()))),
                    "columns": list(table),
                }
                about["data"]["sha256"] = _write_table(folder, table)
            files.write_json(folder / "run.json", about)
            _show(display, what, asked, table, source, solver)
            job = Job(folder=folder, what=what, asked=asked, checkpoint_seconds=checkpoint_seconds)
            return _work(job, solver, display)


def resume_solution(
    run: Path | str,
    *,
    equation: Problem | Equation | str | Path | None = None,
    network: nn.Module | None = None,
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Solution:
    """Go on with the interrupted run of an equation, to the solution that it would have had without the interruption, bit by bit.

    An equation of your own is passed again (`equation`: the `Problem`, or the path of its file, which is executed); its text must be the one
    that was begun with. So is a `network` of your own. A finished run is returned as it is.

    Raises `FileNotFoundError` where there is no run, `DamagedRun` where it can not be read, `RunBusy` where another process writes it,
    `ValueError` where the equation has to be passed, or is another one.
    """
    folder = Path(run)
    about = read_equation(folder)
    with Display(quiet=quiet) as display, files.locked(folder):
        files.sweep_temporaries(folder)
        what = posed_again(folder, about, equation)
        checkpoints = Checkpoints(folder)
        if about["status"] == "finished" and checkpoints.has("chosen"):
            display.say(f"{folder} is finished: {about.get('stopped', '')}")
            return open_solution(folder, equation=equation, network=network)
        table = _read_table(folder, about)
        asked = dict(about["asked"])
        refuse_other_network(folder, about, network)
        state = None
        if checkpoints.exists():
            found = checkpoints.read(("state",))
            for note in found.notes:
                display.say(note)
            checkpoints.forget(len(found.notes))
            state = found.trees["state"]
        try:
            solver = solver_of(
                what.equation.problem,
                data=table,
                tol=asked["tol"],
                seed=asked["seed"],
                network=network_again(asked, network),
                method=None if asked.get("method") is None else rebuilt(asked["method"]),
                continuation=asked.get("continuation"),
                causal=asked.get("causal", False),
                windows=asked.get("windows"),
                state=state,
            )
        except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            raise DamagedRun(
                f"the checkpoint in {folder} is none of this equation ({error}): solve it again"
            ) from error
        _keep_curves(folder, solver.iteration)
        _update(folder, status="running", stopped="", resumed=int(about.get("resumed", 0)) + 1)
        display.say(f"Going on after iteration {solver.iteration:,}.")
        job = Job(folder=folder, what=what, asked=asked, checkpoint_seconds=checkpoint_seconds)
        return _work(job, solver, display)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is solved, where, and as it was asked."""

    folder: Path
    what: Posed
    asked: Mapping[str, Any]
    checkpoint_seconds: float


def _work(job: Job, solver: Solver | Windows, display: Display) -> Solution:
    """Iterate to the end or to an interruption, and conclude."""
    try:
        interrupted, measured = _iterate(job, solver, display)
        if interrupted:
            _update(
                job.folder, status="interrupted", stopped=f"{INTERRUPTED} after iteration {solver.iteration}"
            )
            again = f"hubel resume {shlex.quote(str(job.folder))}"
            if job.what.text is not None:
                again += f" --equation {shlex.quote(job.what.about['file'])}"
            if not solver.ansatz.network.in_one_pass:
                again = f"hubel.resume_solution({str(job.folder)!r}, network=...)"
            display.say(f"Stopped and saved after iteration {solver.iteration:,}. Go on with:\n  {again}")
            return replace(solver.solution(), stopped="interrupted", folder=job.folder)
        with machine.threads(job.asked["threads"]):
            solution = replace(_honest(solver.solution()), folder=job.folder)
            tensors, numbers = solution.saved()
            _checkpoint(job, solver, chosen={"tensors": tensors, "numbers": numbers})
            changes = conclude(job.folder, job.what.equation, solution, measured, display)
        _update(job.folder, **changes)
        _page(job.folder, display)
        return solution
    except OSError as error:
        raise _still_intact(job.folder, error) from error
    except KeyboardInterrupt:
        display.say(
            f"Stopped at once. Go on from the last checkpoint with:\n  hubel resume {shlex.quote(str(job.folder))}"
        )
        raise


def _honest(solution: Solution) -> Solution:
    """Without an estimate where given values jump: the residual, from which it is made, knows nothing of jumps."""
    kept = [
        f"{sentence}. The equation takes it away at once: the beginning is learnt, and does not hold exactly"
        for sentence in kinks(solution.problem)
    ]
    solution = replace(solution, warnings=(*solution.warnings, *kept))
    found = jumps(solution.problem)
    if not found:
        return solution
    said = f"{'; '.join(found)}: a network is smooth, and a residual at points knows nothing of jumps, so that the error is not estimated"
    return replace(
        solution,
        estimate=None,
        limit=f"given values that jump ({'; '.join(found)})",
        warnings=(*solution.warnings, said),
    )


def _iterate(job: Job, solver: Solver | Windows, display: Display) -> tuple[bool, Measured | None]:
    """The iterations, with curves, checkpoints and an eye on the error; whether they were interrupted."""
    watch = Watch.of(job.what.equation)
    lines: list[str] = []
    written = said = time.monotonic()
    wait, cost = 1.0, 0.0
    with machine.threads(job.asked["threads"]), interruptible() as interrupted:
        for record in solver.steps(job.asked["budget"]):
            row = vars(record) | {"error": watch.error(solver) if watch.is_due(record.seconds) else None}
            lines.append(json.dumps({name: _finite(value) for name, value in row.items()}))
            now = time.monotonic()
            if now - said > wait or record.iteration == 1:
                display.iteration(row | {"error": watch.latest}, job.asked["tol"])
                said, wait = now, min(wait * SAID, 60.0)
            if now - written > max(job.checkpoint_seconds, cost / CHECKPOINT_SHARE) or interrupted():
                _append(job.folder, lines)
                _checkpoint(job, solver)
                written, cost = time.monotonic(), time.monotonic() - now
            if interrupted() and not solver.stopped:
                return True, watch.measured
        _append(job.folder, lines)
    return False, watch.measured


def _checkpoint(job: Job, solver: Solver | Windows, **more: Any) -> None:
    Checkpoints(job.folder).write(solver.iteration, {"state": solver.state(), **more})


def _append(folder: Path, lines: list[str]) -> None:
    if lines:
        files.append_line(folder / "curves.jsonl", "\n".join(lines))
        lines.clear()


def _keep_curves(folder: Path, iteration: int) -> None:
    """Drop the lines of iterations that will be made again."""
    rows = [row for row in files.read_lines(folder / "curves.jsonl") if row.get("iteration", 0) <= iteration]
    files.write_text(folder / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _update(folder: Path, **changes: Any) -> None:
    about = read_equation(folder)
    files.write_json(folder / "run.json", about | names.describe(changes))


def _page(folder: Path, display: Display) -> None:
    """The report; that it could not be written must not lose the solution."""
    from hubel.show.equation import report

    try:
        files.write_text(folder / "report.html", report(folder))
    except OSError as error:
        display.say(
            f"The report could not be written ({error}); again with: hubel report {shlex.quote(str(folder))}"
        )
    else:
        display.say(f"Report: {folder / 'report.html'}")


def _walk(continuation: Mapping[str, Sequence[float]] | None) -> dict[str, list[float]] | None:
    """The values that are walked through, as plain lists; `Continuation.of` says what is wrong with others."""
    if not isinstance(continuation, Mapping) or not all(
        isinstance(values, (list, tuple)) for values in continuation.values()
    ):
        return None
    return {name: list(values) for name, values in continuation.items()}


def _table(what: Posed, data: Any, noise: float, seed: int) -> tuple[Mapping[str, np.ndarray] | None, str]:
    """The columns of the data and where they come from."""
    if not (isinstance(noise, (int, float)) and 0 <= noise < math.inf):
        raise ValueError(
            f"noise is {noise!r}; expected a share of the standard deviation of the data, such as 0.01"
        )
    measured = what.equation.measured
    if data is None and measured is not None:
        said = (
            f"made from the reference, with {noise:.3g} of their standard deviation as noise"
            if noise
            else "made from the reference"
        )
        return measured(seed, float(noise)), said
    if noise:
        raise ValueError(
            "noise= is for data that a named equation makes of its reference; these were given, or there are none"
        )
    if data is None:
        return None, ""
    problem = what.equation.problem
    if isinstance(data, (str, os.PathLike)):
        return read_points(Path(data), (*problem.coordinates, *problem.fields)), str(Path(data).resolve())
    if not isinstance(data, Mapping) and not hasattr(data, "columns"):
        raise TypeError(
            f"data is {type(data).__name__}; expected a table with columns {', '.join((*problem.coordinates, *problem.fields))}, or its path"
        )
    wanted = [name for name in (*problem.coordinates, *problem.fields) if name in data]
    if lacking := [name for name in problem.coordinates if name not in wanted]:
        there = [str(name) for name in (data.keys() if isinstance(data, Mapping) else data.columns)]
        raise ValueError(
            f"data has no column {lacking[0]!r}; it has {', '.join(there)}.{nearest(lacking[0], there)}"
        )
    return {name: np.asarray(data[name]) for name in wanted}, "given in Python"


def _write_table(folder: Path, table: Mapping[str, np.ndarray]) -> str:
    with files.replacing(folder / "data.npz") as file:
        np.savez_compressed(file, **table)  # pyright: ignore[reportArgumentType]
    return files.sha256(folder / "data.npz")


def _read_table(folder: Path, about: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    if not about.get("data"):
        return None
    path = folder / "data.npz"
    try:
        if files.sha256(path) != about["data"]["sha256"]:
            raise DamagedRun(
                f"{path} is not the table that was begun with: restore it from a copy, or solve again"
            )
        with opened_npz(path) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, LookupError) as error:
        raise DamagedRun(
            f"{path} can not be read ({error}): restore it from a copy, or solve again"
        ) from error


def _about(folder: Path, what: Posed, asked: Mapping[str, Any]) -> dict[str, Any]:
    """`run.json` at the beginning."""
    equation, problem = what.equation, what.equation.problem
    return {
        "format": FORMAT,
        "kind": EQUATION,
        "name": folder.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command().replace("hubel.fit(...)", "hubel.solve(...)"),
        "hubel": VERSION,
        "versions": machine.versions(),
        "machine": machine.describe(torch.device("cpu")),
        "status": "running",
        "stopped": "",
        "equation": dict(what.about),
        "problem": {
            "title": equation.title,
            "formula": equation.formula,
            "source": equation.source,
            "fields": list(problem.fields),
            "time": problem.time,
            "ranges": {name: list(ends) for name, ends in problem.ranges.items()},
            "within": None if problem.conditions.within is None else str(problem.conditions.within.shape),
            "parameters": {
                name: None if name in problem.unknowns else float(value)  # type: ignore[arg-type]
                for name, value in problem.parameters.items()
            },
            "functions": {name: list(problem.bases[name].names) for name in problem.functions},
            "units": dict(problem.units),
        },
        "asked": dict(asked),
        "data": None,
        "resumed": 0,
        "test": {},
    }


def _show(
    display: Display,
    what: Posed,
    asked: Mapping[str, Any],
    table: Any,
    source: str,
    solver: Solver | Windows,
) -> None:
    equation, problem = what.equation, what.equation.problem
    rows = {"equation": equation.formula} if equation.formula else {}
    rows["domain"] = ", ".join(
        f"{name} from {low:g} to {high:g}{_unit(problem, name)}"
        for name, (low, high) in problem.ranges.items()
    )
    if problem.conditions.within is not None:
        rows["within"] = str(problem.conditions.within.shape)
    rows["fields"] = ", ".join(
        f"{name} (complex)" if name in problem.complex else name for name in problem.fields
    )
    given = [
        f"{name} = {value:g}{_unit(problem, name)}"
        for name, value in problem.parameters.items()
        if name not in problem.unknowns
    ]
    if given:
        rows["numbers"] = ", ".join(given)
    if problem.unknowns:
        rows["unknown"] = ", ".join(
            f"{name}({', '.join(problem.bases[name].names)})" if name in problem.functions else name
            for name in problem.unknowns
        )
    if table is not None:
        rows["data"] = f"{len(next(iter(table.values()))):,} rows of {', '.join(table)} ({source})"
    if equation.reference is not None:
        rows["reference"] = equation.reference.how
    for name, values in (asked["continuation"] or {}).items():
        rows[f"walk of {name}"] = f"{', '.join(f'{value:g}' for value in values)}, then its own"
    if asked["causal"] is not False:
        rows["causal"] = "later times count when earlier ones are solved"
    if asked["windows"] is not None:
        rows["windows"] = f"{asked['windows']} of {problem.time}, one after the other"
    rows["asked"] = f"a relative error of {asked['tol']:.1g} within {choices.duration(asked['budget'])}"
    if asked["network"] is not None:
        rows["network"] = solver.notice or f"{solver.ansatz.network.label} at the beginning"
    if asked["method"] is not None:
        rows["method"] = asked["method"]["is"]
    if found := kinks(problem):
        rows["note"] = (
            f"{'; '.join(found)}. The equation takes it away at once: the beginning is learnt, and does not hold exactly"
        )
    if found := jumps(problem):
        rows["warning"] = (
            f"{'; '.join(found)}. A network is smooth: the error of what it finds can not be estimated"
        )
    display.facts(f"To solve: {equation.title}", rows)


def _unit(problem: Problem, name: str) -> str:
    return f" {problem.units[name]}" if name in problem.units else ""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
