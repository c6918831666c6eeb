"""From what a user names to what is solved: the name of an equation, a file of the user's own, a `Problem`, an `Equation`.

A run folder holds the name, or the text of the file with its checksum. A name is looked up among the public functions of
`hubel.physics.equations`. A file is executed only where the user names it: a folder from a stranger runs nothing.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import nearest
from hubel.physics import equations
from hubel.physics.equations import Equation
from hubel.physics.problem import Problem
from hubel.physics.references import Reference

NAMES = tuple(name.replace("_", "-") for name in equations.__all__ if name != "Equation")
"""The equations that have a name, as the command line writes them."""

GRID = {1: 501, 2: 101, 3: 31, 4: 13}  # points of an axis, by the number of coordinates


@dataclass(frozen=True, kw_only=True)
class Posed:
    """What is to be solved: an `equation`, the `name` for its folder, what a run folder says of it (`about`), and the `text` of its file."""

    equation: Equation
    name: str
    about: Mapping[str, Any]
    text: str | None = None


def posed(problem: Problem | Equation | str | Path) -> Posed:
    """What is meant by a name ("burgers"), a file (`my_equation.py`, which is executed), a `Problem` or an `Equation`.

    A file defines `problem`, a `hubel.physics.Problem` (or an `Equation`), and may define `reference`: a function of arrays of the coordinates,
    all of one shape, that answers the field (or a dict of several).

    Raises `ValueError` for an unknown name or a file without a problem, `FileNotFoundError` for one that does not exist, `TypeError` for
    anything else.

    >>> posed("allen-cahn").equation.title, posed("allen-cahn").about
    ('Allen–Cahn', {'named': 'allen-cahn'})
    """
    if isinstance(problem, Equation):
        name = problem.problem.name.replace("_", "-")
        return Posed(equation=problem, name=name, about={"given": name})
    if isinstance(problem, Problem):
        return Posed(equation=_plain(problem), name=problem.name, about={"given": problem.name})
    if not isinstance(problem, (str, Path)):
        raise TypeError(
            f"received {type(problem).__name__}; expected a hubel.physics.Problem, the name of an equation ({', '.join(NAMES)}), or a .py file"
        )
    word = str(problem)
    if word.endswith(".py") or isinstance(problem, Path):
        return _of_file(Path(problem))
    return named(word)


def named(word: str) -> Posed:
    """The equation of a name, and nothing else: what a run folder says may come from a stranger.

    Raises `ValueError` for an unknown name.
    """
    name = word.replace("_", "-").lower()
    if name not in NAMES:
        also = " (a file of your own has to end in .py)" if Path(word).exists() else ""
        raise ValueError(f"there is no equation {word!r}{also}.{nearest(name, NAMES)}")
    return Posed(equation=getattr(equations, name.replace("-", "_"))(), name=name, about={"named": name})


def _of_file(path: Path) -> Posed:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected a Python file that defines `problem`, or one of {', '.join(NAMES)}"
        )
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error}); expected a Python file that defines `problem`"
        ) from error
    content: dict[str, Any] = {"__name__": "equation", "__file__": str(path), "__builtins__": builtins}
    try:
        exec(compile(text, str(path), "exec"), content)  # the user named it
    except Exception as error:
        line = next((f", line {number}" for number in _lines_of(error, path)), "")
        raise ValueError(f"{path}{line}: {type(error).__name__}: {error}") from error
    found = content.get("equation", content.get("problem"))
    if isinstance(found, Problem):
        found = _plain(found, title=path.stem, reference=_reference(content.get("reference"), found, path))
    if not isinstance(found, Equation):
        there = f"it is a {type(found).__name__}" if found is not None else "it is missing"
        raise ValueError(
            f"{path} must define `problem`, and {there}: write problem = hubel.physics.Problem(residual, domain=..., ...)"
        )
    about = {"file": path.name, "sha256": sha256_of(text)}
    return Posed(equation=found, name=path.stem, about=about, text=text)


def sha256_of(text: str) -> str:
    """The checksum of the text of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(problem: Problem, *, title: str = "", reference: Reference | None = None) -> Equation:
    """An equation of a problem of which nothing else is known."""
    size = GRID.get(len(problem.coordinates), 7)
    return Equation(
        title=title or problem.name,
        formula="",
        source="",
        problem=problem,
        reference=reference,
        sizes=dict.fromkeys(problem.coordinates, size),
    )


def _reference(given: Any, problem: Problem, path: Path) -> Reference | None:
    """The function `reference` of a file, checked on a few points."""
    if given is None or isinstance(given, Reference):
        return given
    if not callable(given):
        raise ValueError(
            f"{path}: reference is {given!r}; expected a function of {', '.join(problem.coordinates)}"
        )

    def solve(**axes: np.ndarray) -> dict[str, np.ndarray]:
        points = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
        return _as_fields(given(**points), problem, next(iter(points.values())).shape, path)

    reference = Reference(
        how=f"the function reference of {path.name}",
        accuracy=None,
        known_by="stated by that file",
        solve=solve,
    )
    try:
        reference.on(**{name: np.linspace(*ends, 3) for name, ends in problem.ranges.items()})
    except TypeError as error:
        raise ValueError(
            f"{path}: reference must be a function of arrays {', '.join(problem.coordinates)}: {error}"
        ) from error
    return reference


def _as_fields(answered: Any, problem: Problem, shape: tuple[int, ...], path: Path) -> dict[str, np.ndarray]:
    if not isinstance(answered, Mapping):
        answered = {problem.fields[0]: answered} if len(problem.fields) == 1 else {}
    if lacking := [name for name in problem.fields if name not in answered]:
        raise ValueError(
            f"{path}: reference does not answer {', '.join(lacking)}; expected a dict with an array for every field"
        )
    found = {}
    for name in problem.fields:
        values = np.asarray(answered[name])
        if values.shape != shape or values.dtype.kind not in "fiuc":
            raise ValueError(
                f"{path}: reference answers {name} as {values.dtype} {list(values.shape)} for points {list(shape)}; expected a number a point"
            )
        found[name] = values
    return found


def _lines_of(error: BaseException, path: Path) -> list[int]:
    """The line of the file in which an error arose, if it did in the file itself; the last one first."""
    found, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            found.append(trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        found.append(error.lineno)
    return found[::-1]
