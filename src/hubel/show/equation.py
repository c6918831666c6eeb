"""The solution of an equation as one page: what came out, figures, unknowns, numbers.

Everything is read from the run's folder; nothing is computed by a network here.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hubel.core.version import VERSION
from hubel.show import wording
from hubel.show.digits import digits, duration, seconds, short
from hubel.show.equation_figures import course, functions, maps, profiles
from hubel.show.solved_run import Solved, solved_run
from hubel.show.template import rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Solved", "course", "functions", "maps", "profiles", "report"]


def report(run: Solved | os.PathLike[str] | str) -> str:
    """The page of the run of an equation: HTML in one file that loads nothing."""
    solved = solved_run(run)
    about = solved.about
    figures = [("Over the domain", _maps_said(solved), maps(solved))]
    if solved.functions:
        figures.insert(0, ("The functions that were unknown", _functions_said(solved), functions(solved)))
    if len(solved.axes) > 1:
        figures.append(
            (
                "Profiles",
                "What the network answers, and the reference where one is known (dashed).",
                profiles(solved),
            )
        )
    if solved.rows:
        figures.append(("Error against time", _course_said(about), course(solved)))
    return rendered(
        "equation.html",
        title=solved.title,
        formula=about["problem"].get("formula", ""),
        kicker=" · ".join(
            part
            for part in (str(about.get("created"))[:10], "equation", duration(about.get("seconds")))
            if part
        ),
        verdict=_verdict(solved),
        figures=[
            {"title": title, "caption": caption, "picture": _address(figure)}
            for title, caption, figure in figures
        ],
        unknowns=_unknowns(solved),
        numbers=_numbers(solved),
        warnings=list(about.get("warnings", ())),
        facts=_facts(about),
        source=about["problem"].get("source", ""),
        version=VERSION,
    )


def _verdict(solved: Solved) -> list[str]:
    """What came out, in sentences: the first one is the answer."""
    about = solved.about
    tol = about["asked"]["tol"]
    sentences = []
    if solved.functions:
        named = ", ".join(f"{name}({', '.join(found.of)})" for name, found in solved.functions.items())
        also = " The table has the numbers, with their intervals." if about.get("unknowns") else ""
        sentences.append(f"What was unknown of the equation was found from data: {named}.{also}")
    elif about.get("unknowns"):
        sentences.append(
            "The numbers of the equation were found from data; the table below has their intervals."
        )
    elif about.get("estimate") is None:
        sentences.append(
            f"That the tolerance of {short(tol)} was reached can not be said: the error could not be estimated."
        )
    elif about.get("reached"):
        sentences.append(
            f"Solved to an estimated relative error of {short(about['estimate'])} (asked: {short(tol)})."
        )
    else:
        sentences.append(
            f"The tolerance of {short(tol)} was not reached: the estimated relative error of this solution is {short(about['estimate'])}."
        )
    if measured := solved.measured:
        sentences.append(f"Against the reference the relative error is {short(measured)}.")
    if not about.get("reached") and about.get("limit"):
        sentences.append(f"What limits the error: {about['limit']}.")
    classical = about.get("classical")
    if classical:
        error = "" if classical.get("error") is None else f" to an error of {short(classical['error'])}"
        sentences.append(
            f"A method without networks does it in {seconds(classical['seconds'])}{error} ({classical['how']}); this took "
            f"{seconds(about['seconds'])}."
        )
    return sentences


def _unknowns(solved: Solved) -> list[list[str]]:
    rows = []
    for name, found in solved.about.get("unknowns", {}).items():
        if not isinstance(found, Mapping):
            continue
        error = found.get("standard_error")
        value, low, high, truth = (digits(found.get(key), error) for key in ("value", "low", "high", "truth"))
        rows.append([solved.labelled(name), value, short(error), f"{low} to {high}", truth])
    return rows


def _numbers(solved: Solved) -> list[tuple[str, str]]:
    about = solved.about
    units = about["problem"].get("units", {})
    rows = [
        ("estimated relative error", short(about.get("estimate"))),
        ("asked", short(about["asked"]["tol"])),
    ]
    rows += [(name, short(score.get("value"))) for name, score in about["test"].items()]
    for name, error in about.get("errors", {}).items():
        rows.append((f"largest error of {name}", f"{short(error.get('largest'))}{_unit(units, name)}"))
    rows.append(("residual at points that were not used", short(about.get("residual"))))
    rows += [(f"violation of {name}", short(value)) for name, value in about.get("violations", {}).items()]
    rows += [
        (f"noise of {name}", f"{short(value)}{_unit(units, name)}")
        for name, value in about.get("noise", {}).items()
    ]
    rows.append(("time", duration(about.get("seconds"))))
    rows.append(("iterations", wording.number(about.get("iterations"))))
    rows.append(("weights", wording.number(about.get("weights"))))
    if (windows := about["asked"].get("windows")) is not None:
        rows.append(("windows of time", wording.number(windows)))
    rows += [(name, str(about[name])) for name in ("network", "method") if about.get(name)]
    return rows


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the equation and the reference come from, and how to repeat it."""
    known, facts = about["equation"], []
    facts.append(("ended", str(about.get("stopped", ""))))
    if reference := about.get("reference"):
        accuracy = (
            "" if reference.get("accuracy") is None else f", relative error {short(reference['accuracy'])}"
        )
        facts.append(("reference", f"{reference['how']}{accuracy} ({reference['known_by']})"))
    if data := about.get("data"):
        facts.append(("data", f"{data['rows']:,} rows of {', '.join(data['columns'])}, {data['source']}"))
    if "file" in known:
        facts.append(("equation", f"{known['file']}, kept as equation.py (SHA-256 {known['sha256'][:16]}…)"))
    units = about["problem"].get("units", {})
    ranges = ", ".join(
        f"{name} from {low:g} to {high:g}{_unit(units, name)}"
        for name, (low, high) in about["problem"]["ranges"].items()
    )
    facts.append(("domain", ranges))
    if within := about["problem"].get("within"):
        facts.append(("within", str(within)))
    numbers = [
        f"{name} = {value:g}{_unit(units, name)}"
        for name, value in about["problem"]["parameters"].items()
        if value is not None
    ]
    if numbers:
        facts.append(("numbers", ", ".join(numbers)))
    facts.append(("seed", str(about["asked"]["seed"])))
    facts.append(("command", str(about.get("command", ""))))
    facts.append(
        (
            "machine",
            ", ".join(f"{v}" for k, v in about.get("machine", {}).items() if k in ("processor", "system")),
        )
    )
    facts.append(("versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())))
    return facts


def _unit(units: Mapping[str, str], name: str) -> str:
    return f" {units[name]}" if name in units else ""


def _functions_said(solved: Solved) -> str:
    true = " Dashed: the truth." if any(f.truth is not None for f in solved.functions.values()) else ""
    return (
        "What was found, and the band in which the truth lies at 95 of 100 points, if the equation is true and the noise normal and "
        f"independent.{true}"
    )


def _maps_said(solved: Solved) -> str:
    said = "The solution, and on logarithmic scales the size of what the equation leaves (the residual)"
    return (
        f"{said} and of the error against the reference."
        if solved.known
        else f"{said}. No reference is known."
    )


def _course_said(about: Mapping[str, Any]) -> str:
    said = "The estimate is made without the reference, from how far earlier states were from later ones."
    if about["asked"].get("windows") is None:
        return said
    return f"{said} Errors are those at the times up to the end of the window that was worked on: they rise where one begins."


def _address(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
