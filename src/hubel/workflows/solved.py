"""How far a solution is from the reference: on the way, and at the end with all that the page needs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core import files
from hubel.physics.equations import Equation
from hubel.physics.functions import FoundFunction
from hubel.physics.references import Reference
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver
from hubel.physics.windows import Windows
from hubel.workflows.display import Display

ON_THE_WAY = 2_500  # points at which the error is looked at while the solver works
RESTING = ("tolerance", "data")  # why the solver ends where unknowns do not move any more
GROWTH = 1.15  # by which the time between two looks grows


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A reference on a grid: its axes, its values, and the seconds that they took."""

    axes: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    seconds: float


class Watch:
    """Looks at the error against the reference while the solver works, at times that grow apart; without a reference it never does."""

    def __init__(self, equation: Equation, measured: Measured | None):
        self.equation, self.measured = equation, measured
        self.latest: float | None = None
        self._next = 0.5
        self._some: Measured | None = None if measured is None else _some(measured)

    @staticmethod
    def of(equation: Equation) -> Watch:
        """Computes the reference on the grid of the equation."""
        return Watch(
            equation, None if equation.reference is None else measured_by(equation.reference, equation)
        )

    def is_due(self, seconds: float) -> bool:
        """Whether it is time to look."""
        return self._some is not None and seconds >= self._next

    def error(self, solver: Solver | Windows) -> float:
        """The relative L2 error of all fields together, at some points of the grid."""
        assert self._some is not None
        self._next = solver.seconds * GROWTH + 0.2
        solution = solver.solution()
        found = on_grid(solution, self._some.axes)
        self.latest = together(errors_of(found, self._some.values, self.equation, solution.noise))
        return self.latest


def measured_by(reference: Reference, equation: Equation) -> Measured:
    """A reference on the grid of the equation, timed."""
    axes = equation.axes()
    known = reference.on(**axes)
    return Measured(axes=axes, values=known.values, seconds=known.seconds)


def on_grid(solution: Solution, axes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every field on the grid."""
    points = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
    return {name: np.asarray(getattr(solution, name)(**points)) for name in solution.problem.fields}


def errors_of(
    found: Mapping[str, np.ndarray],
    known: Mapping[str, np.ndarray],
    equation: Equation,
    seen: Collection[str] = (),
) -> dict[str, tuple[float, float, float]]:
    """For every field its L2 error, the L2 norm of the truth, and the largest error; the mean of undetermined fields is taken off,
    except of those of which data have `seen` values. All are of the points that were `found`, and not NaN.
    """
    answers = {}
    for name, truth in known.items():
        error = levelled(found[name], name, equation, seen) - levelled(truth, name, equation, seen)
        size = np.where(np.isnan(error), np.nan, np.abs(levelled(truth, name, equation, seen)))
        answers[name] = (
            float(np.sqrt(np.nanmean(np.abs(error) ** 2))),
            float(np.sqrt(np.nanmean(size**2))),
            float(np.nanmax(np.abs(error))),
        )
    return answers


def levelled(values: np.ndarray, name: str, equation: Equation, seen: Collection[str] = ()) -> np.ndarray:
    """A field that is known up to a number (at every time) without its mean; others, and those that data have `seen`, as they are."""
    if name not in equation.problem.undetermined or name in seen:
        return values
    time = equation.problem.time
    others = tuple(place for place, x in enumerate(equation.problem.coordinates) if x != time)
    return values - np.nanmean(values, axis=others, keepdims=True)


def together(errors: Mapping[str, tuple[float, float, float]]) -> float:
    """The relative L2 error of all fields, each in units of its own size."""
    shares = [error / size if size else error for error, size, _ in errors.values()]
    return math.sqrt(sum(share**2 for share in shares) / len(shares))


def conclude(
    folder: Path, equation: Equation, solution: Solution, measured: Measured | None, display: Display
) -> dict[str, Any]:
    """Write `solution.npz`, say what came out, and answer the entries of `run.json` that say it."""
    axes = equation.axes()
    found = on_grid(solution, axes)
    points = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
    content = {f"axis_{name}": axis for name, axis in axes.items()}
    content |= {
        f"field_{name}": levelled(values, name, equation, solution.noise) for name, values in found.items()
    }
    content |= {
        f"residual_{k}": np.asarray(values) for k, values in enumerate(solution.residuals(**points), start=1)
    }
    for name, function in solution.functions.items():
        content |= _on_its_grid(name, function, axes, equation)
    changes: dict[str, Any] = {
        "status": "finished",
        "stopped": _why(solution),
        "seconds": solution.seconds,
        "estimate": solution.estimate,
        "reached": solution.reached,
        "residual": solution.residual if math.isfinite(solution.residual) else None,
        "limit": solution.limit,
        "warnings": [*solution.warnings, *_moving(solution)],
        "noise": dict(solution.noise),
        "violations": dict(solution.violations),
        "weights": solution.num_weights,
        "network": solution.network.label,
        "method": solution.state["numbers"]["method"]["name"],
        "iterations": len(solution.history),
        "unknowns": _unknowns(solution, equation),
        "functions": {name: _summary(function) for name, function in solution.functions.items()},
        "test": {},
        "reference": None,
        "classical": None,
    }
    if measured is not None and equation.reference is not None:
        content |= {
            f"reference_{name}": levelled(values, name, equation, solution.noise)
            for name, values in measured.values.items()
        }
        errors = errors_of(found, measured.values, equation, solution.noise)
        changes["test"] = {
            f"relative error of {name}": _score(error / size if size else error, measured)
            for name, (error, size, _) in errors.items()
        }
        changes["errors"] = {
            name: {"rms": error, "size": size, "largest": most}
            for name, (error, size, most) in errors.items()
        }
        changes["reference"] = _told(equation.reference, measured.seconds)
        changes["classical"] = None if solution.problem.unknowns else _classical(equation, measured)
    with files.replacing(folder / "solution.npz") as file:
        np.savez_compressed(file, **content)  # pyright: ignore[reportArgumentType]
    display.facts("Result:", _rows(solution, changes))
    return changes


def _why(solution: Solution) -> str:
    """Why the solver ended, as a sentence."""
    reasons = {
        "tolerance": "the estimated error is below the tolerance",
        "time": "the time was over before the tolerance was reached",
        "data": "the data are met as well as the equation allows",
        "stagnation": "nothing improved any more before the tolerance was reached",
        "growth": "errors grew from window to window, and the tolerance was not kept",
    }
    if solution.estimate is None and not solution.problem.unknowns and solution.stopped == "tolerance":
        return "the residual is small, which says nothing of the error here"
    if solution.problem.unknowns and solution.stopped in RESTING:
        return "the unknowns rest, and the data are met as well as the equation allows"
    return reasons.get(solution.stopped, solution.stopped)


def _moving(solution: Solution) -> list[str]:
    """What has to be said of intervals that were computed too early."""
    if not solution.problem.unknowns or solution.stopped in RESTING:
        return []
    return [
        f"{', '.join(solution.problem.unknowns)} had not come to rest: the intervals do not hold yet; give it more time (budget)"
    ]


def _unknowns(solution: Solution, equation: Equation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in solution.parameters.items():
        low, high = value.interval
        numbers = {"value": value.value, "standard_error": value.standard_error, "low": low, "high": high}
        found[name] = {key: number if math.isfinite(number) else None for key, number in numbers.items()}
        found[name]["truth"] = equation.truth.get(name)
    return found


def _on_its_grid(
    name: str, function: FoundFunction, axes: Mapping[str, np.ndarray], equation: Equation
) -> dict[str, np.ndarray]:
    """An unknown function, its band, and the truth where it is known, on the grid of its own coordinates."""
    own = [axes[x] for x in function.spline.names]
    at = dict(zip(function.spline.names, np.meshgrid(*own, indexing="ij"), strict=True))
    low, high = function.interval(**at)
    found = {f"function_{name}": function(**at), f"low_{name}": low, f"high_{name}": high}
    truth = equation.truth.get(name)
    return found | {f"truth_{name}": np.asarray(truth(**at), dtype=float)} if callable(truth) else found


def _summary(function: FoundFunction) -> dict[str, Any]:
    """An unknown function in a few numbers, from a grid of its coordinates."""
    values, errors = function.on_grid()
    told = {
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "standard_error": float(errors.square().mean().sqrt()),
    }
    return {"of": list(function.spline.names)} | {
        key: number if math.isfinite(number) else None for key, number in told.items()
    }


def _score(value: float, measured: Measured) -> dict[str, Any]:
    count = math.prod(len(axis) for axis in measured.axes.values())
    return {
        "value": value,
        "low": None,
        "high": None,
        "level": None,
        "count": count,
        "method": "against the reference",
    }


def _told(reference: Reference, seconds: float) -> dict[str, Any]:
    return {
        "how": reference.how,
        "accuracy": reference.accuracy,
        "known_by": reference.known_by,
        "seconds": seconds,
    }


def _classical(equation: Equation, measured: Measured) -> dict[str, Any]:
    """What a method without networks needs for the same grid, and its error."""
    assert equation.reference is not None
    if equation.classical is None:
        return _told(equation.reference, measured.seconds) | {"error": equation.reference.accuracy}
    other = measured_by(equation.classical, equation)
    return _told(equation.classical, other.seconds) | {
        "error": together(errors_of(other.values, measured.values, equation))
    }


def _rows(solution: Solution, changes: Mapping[str, Any]) -> dict[str, str]:
    estimate = (
        "not estimated" if solution.estimate is None else f"{solution.estimate:.1e} relative, estimated"
    )
    reached = (
        ""
        if solution.reached
        else f" (asked: {solution.tol:.1e}; the tolerance was not reached, this is the best that was found)"
    )
    rows = {"error": f"{estimate}{reached}"}
    if solution.problem.unknowns:
        rows = {}
    if changes["test"]:
        told = ", ".join(
            f"{score['value']:.1e} of {name.removeprefix('relative error of ')}"
            for name, score in changes["test"].items()
        )
        rows["measured"] = f"{told}, relative, against {changes['reference']['how']}"
    for name, value in solution.parameters.items():
        truth = changes["unknowns"][name]["truth"]
        low, high = value.interval
        rows[name] = (
            f"{value} (95 % interval {low:.6g} to {high:.6g}{'' if truth is None else f'; true: {truth:.6g}'})"
        )
    for name, function in solution.functions.items():
        unit = f" {solution.problem.units[name]}" if name in solution.problem.units else ""
        rows[f"{name}({', '.join(function.spline.names)})"] = f"{function}{unit} (typical standard error)"
    for name, value in solution.noise.items():
        rows[f"noise of {name}"] = f"{value:.3g}"
    for name, value in solution.violations.items():
        rows[f"violation of {name}"] = f"{value:.1e}"
    rows["ended"] = _why(solution) + (
        "" if solution.reached else f"; what limits the error: {solution.limit}"
    )
    rows["effort"] = (
        f"{solution.seconds:.1f} s, {len(solution.history):,} iterations, {solution.num_weights:,} weights"
    )
    if (classical := changes["classical"]) is not None:
        error = "" if classical["error"] is None else f", error {classical['error']:.0e}"
        rows["without a network"] = f"{_seconds(classical['seconds'])}{error} ({classical['how']})"
    for number, text in enumerate(changes["warnings"]):
        rows["warning" if number == 0 else " " * (number + 1)] = text
    return rows


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"


def _some(measured: Measured) -> Measured:
    """Every so manyth point of each axis, at most `ON_THE_WAY` together; the ends are kept."""
    num = max(2, int(ON_THE_WAY ** (1 / len(measured.axes))))
    places = {
        name: np.unique(np.linspace(0, len(axis) - 1, min(num, len(axis))).round().astype(int))
        for name, axis in measured.axes.items()
    }
    axes = {name: axis[places[name]] for name, axis in measured.axes.items()}
    values = {name: array[np.ix_(*places.values())] for name, array in measured.values.items()}
    return Measured(axes=axes, values=values, seconds=measured.seconds)
