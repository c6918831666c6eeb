"""The solution of an equation in its run folder, opened again.

run.json       what was asked, what came out, where the equation comes from
equation.py    the text of the user's own file, where there was one; it is read, and never executed from here
data.npz       the columns of the table, where there was one
curves.jsonl   a line an iteration
checkpoints/   the solver's state and the network, two generations, with checksums
solution.npz   fields, residuals and reference on a grid, from which the page is drawn
report.html    all of it on one page
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubel.core.errors import DamagedRun
from hubel.fitting import Checkpoints
from hubel.fitting.about import read_equation
from hubel.physics.equations import Equation
from hubel.physics.posing import Posed, named, posed
from hubel.physics.problem import Problem
from hubel.physics.solution import Solution

RESTORE = "restore it from a copy, or solve again"


def open_solution(folder: Path | str, *, equation: Problem | Equation | str | Path | None = None) -> Solution:
    """The solution that `hubel.solve` wrote into `folder`.

    The equation is rebuilt by its name. One of your own is passed again: the `Problem`, or the path of the file, whose text must be the one
    that was solved.

    Raises `FileNotFoundError` where there is none, `DamagedRun` where it can not be read, `ValueError` where the equation has to be passed,
    or is another one.
    """
    folder = Path(folder)
    about = read_equation(folder)
    again = posed_again(folder, about, equation)
    found = Checkpoints(folder).read(("chosen",))
    if "chosen" not in found.trees:
        why = " ".join(found.notes) or "it has not ended"
        raise DamagedRun(f"{folder} holds no solution yet: {why}. Go on with: hubel resume {folder}")
    return solution_of(folder, again.equation.problem, found.trees["chosen"])


def posed_again(
    folder: Path, about: Mapping[str, Any], equation: Problem | Equation | str | Path | None
) -> Posed:
    """The equation of a run. Raises `ValueError` where it has to be passed, or another one was passed."""
    known = about["equation"]
    if equation is None:
        if "named" in known:
            return named(known["named"])
        what = f"the file {known['file']}" if "file" in known else "a Problem of your own"
        raise ValueError(
            f"{folder} solves {what}, which a folder does not run: pass it again (equation=...; hubel resume RUN --equation FILE)"
        )
    again = posed(equation)
    if "sha256" in known and again.about.get("sha256") != known["sha256"]:
        raise ValueError(
            f"{folder} solves {known['file']} as it was then; what was passed is another text. What was solved is in {folder / 'equation.py'}"
        )
    problem, was = again.equation.problem, about["problem"]
    ranges = {name: [float(end) for end in ends] for name, ends in problem.ranges.items()}
    if list(problem.fields) != list(was["fields"]) or ranges != {
        k: list(map(float, v)) for k, v in was["ranges"].items()
    }:
        raise ValueError(
            f"{folder} solves for {', '.join(was['fields'])} on {was['ranges']}; what was passed has {', '.join(problem.fields)} on {ranges}"
        )
    return again


def solution_of(folder: Path, problem: Problem, tree: Any) -> Solution:
    """The solution in a checkpoint. Raises `DamagedRun` where it is none of this problem."""
    try:
        return replace(Solution.built(problem, tree["tensors"], tree["numbers"]), folder=folder)
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise DamagedRun(f"the solution in {folder} is none of this equation ({error}): {RESTORE}") from error
