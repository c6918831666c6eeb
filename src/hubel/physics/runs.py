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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from hubel.core.errors import DamagedRun
from hubel.fitting import Checkpoints
from hubel.fitting.about import read_equation
from hubel.physics.architecture import Architecture
from hubel.physics.equations import Equation
from hubel.physics.given import shapes_of
from hubel.physics.posing import Posed, named, posed
from hubel.physics.problem import Problem
from hubel.physics.solution import Solution

RESTORE = "restore it from a copy, or solve again"


def open_solution(
    folder: Path | str,
    *,
    equation: Problem | Equation | str | Path | None = None,
    network: nn.Module | None = None,
) -> Solution:
    """The solution that `hubel.solve` wrote into `folder`.

    The equation is rebuilt by its name. One of your own is passed again: the `Problem`, or the path of the file, whose text must be the one
    that was solved. So is a `network` of your own, with any weights: those that were found are in the folder.

    Raises `FileNotFoundError` where there is none, `DamagedRun` where it can not be read, `ValueError` where the equation or the network has
    to be passed, or is another one.
    """
    folder = Path(folder)
    about = read_equation(folder)
    again = posed_again(folder, about, equation)
    refuse_other_network(folder, about, network)
    found = Checkpoints(folder).read(("chosen",))
    if "chosen" not in found.trees:
        why = " ".join(found.notes) or "it has not ended"
        raise DamagedRun(f"{folder} holds no solution yet: {why}. Go on with: hubel resume {folder}")
    return solution_of(folder, again.equation.problem, found.trees["chosen"], network)


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


def network_asked(network: Architecture | nn.Module | None) -> dict[str, Any] | None:
    """What a run folder says of the network that was asked for: its choices, or the name and the weights of one of your own."""
    if isinstance(network, nn.Module):
        return {"given": type(network).__name__, "shapes": shapes_of(network)}
    return asdict(network) if isinstance(network, Architecture) else None


def network_again(asked: Mapping[str, Any], network: nn.Module | None) -> Architecture | nn.Module | None:
    """The choice of a run: what its folder says was asked for, or the one of your own that was passed again."""
    known = asked.get("network")
    return network if known is None or "given" in known else Architecture(**known)


def refuse_other_network(folder: Path, about: Mapping[str, Any], network: nn.Module | None) -> None:
    """Raises `ValueError` where a run has a network of your own and none, or another one, was passed."""
    known = about["asked"].get("network") or {}
    if network is None and "given" in known:
        raise ValueError(
            f"{folder} has a network of your own, {known['given']}, which a folder does not hold: pass it again "
            "(hubel.open_solution(..., network=...), hubel.resume_solution(..., network=...))"
        )
    if network is not None and "given" not in known:
        raise ValueError(
            f"{folder} has a network of hubel's: leave out network={type(network).__name__}(...)"
        )
    if network is not None and shapes_of(network) != known.get("shapes"):
        raise ValueError(
            f"{folder} has a network with the weights {known.get('shapes')}; the one that was passed has {shapes_of(network)}"
        )


def solution_of(folder: Path, problem: Problem, tree: Any, network: nn.Module | None = None) -> Solution:
    """The solution in a checkpoint. Raises `DamagedRun` where it is none of this problem."""
    try:
        return replace(Solution.built(problem, tree["tensors"], tree["numbers"], network), folder=folder)
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise DamagedRun(f"the solution in {folder} is none of this equation ({error}): {RESTORE}") from error
