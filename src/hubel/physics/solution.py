"""What was solved: a function of the coordinates with all its derivatives, an estimate of its error, and what limits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.errors import nearest
from hubel.physics.ansatz import Ansatz
from hubel.physics.field import index_of
from hubel.physics.functions import FoundFunction
from hubel.physics.jets import Index, Jet
from hubel.physics.networks import Network
from hubel.physics.pieces import Pieces
from hubel.physics.points import points_of
from hubel.physics.problem import Problem
from hubel.physics.splines import Spline
from hubel.physics.unknown import Found, Unknown

BLOCK = 4096  # points that are evaluated at once
ON_BOUNDARY = 1e-9  # of the width of a shape: what is farther out is outside


@dataclass(frozen=True, kw_only=True)
class Record:
    """One iteration: its number, the mean square of the scaled residuals at the points, the estimated relative L2 error (None before
    there is one), the seconds since the start, the sizes of the network and of the set of points, and the window of time (None where there
    is one alone). In windows the estimate is of the times up to the end of this one.
    """

    iteration: int
    loss: float
    estimate: float | None
    seconds: float
    num_weights: int
    num_points: int
    window: int | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Solution:
    """A solution `u`, called as a function: `solution(t=0.5, x=0.1)`, `solution.u(...)`, `solution.u.x(...)`, `solution.u.d("radius", 2)(...)`.

    Coordinates are numbers, NumPy arrays or torch tensors, which are broadcast; the answer has their shape and kind, and is NaN outside of a
    domain that is no box. Of several fields the call answers a dict. Unknown parameters are attributes with their standard errors: `solution.nu`;
    unknown functions are called: `solution.k(x=0.3)`, `solution.k.interval(x=0.3)`.

    `estimate` is the estimated relative L2 error over the domain (None where nothing could be estimated), `reached` whether it is below
    `tol`, `stopped` why the solver ended ("tolerance", "time", "stagnation", "growth", "rounding", "data", "interrupted"), `limit` what limits the error, in words.
    `residual` is the root mean square of the scaled residuals at points that were not used, `violations` the largest violation of every
    condition that is not exact, `noise` the estimated standard deviation of the data of each field. `folder` is where `hubel.solve` wrote it.
    """

    problem: Problem
    ansatz: Ansatz | Pieces
    tol: float
    estimate: float | None
    residual: float
    stopped: str
    limit: str
    history: tuple[Record, ...]
    seconds: float
    parameters: Mapping[str, Found] = field(default_factory=dict)
    functions: Mapping[str, FoundFunction] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def reached(self) -> bool:
        """Whether the estimate is below the tolerance."""
        return self.estimate is not None and self.estimate <= self.tol

    @property
    def network(self) -> Network:
        """The network N of the ansatz u = g + d s N; of several windows of time the last one's."""
        return self.ansatz.network

    @property
    def num_weights(self) -> int:
        """The weights of all networks."""
        return self.ansatz.num_weights

    def __call__(self, **coordinates: Any) -> Any:
        answers = {name: FieldOf(self, name)(**coordinates) for name in self.problem.fields}
        return answers[self.problem.fields[0]] if len(answers) == 1 else answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self.__dataclass_fields__:
            raise AttributeError(name)
        if name in self.problem.fields:
            return FieldOf(self, name)
        if name in self.parameters:
            return self.parameters[name]
        if name in self.functions:
            return self.functions[name]
        known = [*self.problem.fields, *self.parameters, *self.functions]
        raise AttributeError(
            f"the solution has no {name!r}; it has {', '.join(known)}.{nearest(name, known)}"
        )

    def residuals(self, **coordinates: Any) -> list[Any]:
        """What the equation leaves at these points, in its own units: one array for every residual."""
        points, answer = points_of(self.problem.ranges, coordinates)
        jet, found = self.problem.jet, []
        for part in points.split(BLOCK):
            unknowns: dict[str, Sequence[Tensor]] = {
                name: [torch.full((len(part),), value.value, dtype=torch.float64)]
                for name, value in self.parameters.items()
            }
            unknowns |= {name: function.series(part) for name, function in self.functions.items()}
            at = dict(zip(self.problem.coordinates, part.unbind(1), strict=True))
            with torch.no_grad():
                found.append(self.problem.residuals(self.ansatz.at(part, jet), jet, at, unknowns))
        inside = self.problem.inside(points)
        return [answer(_only(torch.cat(parts), inside)) for parts in zip(*found, strict=True)]

    def solver_state(self) -> dict[str, Any]:
        """The state of the solver, as `solve(..., state=...)` takes it to go on: `{"tensors": {name: Tensor}, "numbers": json-able dict}`."""
        return dict(self.state)

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything numeric: tensors (for a safetensors file) and plain numbers (for JSON). `Solution.built` reads them."""
        tensors, form = self.ansatz.saved()
        numbers = form | {
            "tol": self.tol,
            "estimate": self.estimate,
            "residual": self.residual,
            "stopped": self.stopped,
            "limit": self.limit,
            "seconds": self.seconds,
            "history": [asdict(record) for record in self.history],
            "parameters": {name: asdict(value) for name, value in self.parameters.items()},
            "warnings": list(self.warnings),
            "noise": dict(self.noise),
            "violations": dict(self.violations),
        }
        for name, function in self.functions.items():
            tensors |= {f"{name}.numbers": function.numbers, f"{name}.covariance": function.covariance}
        return tensors, numbers

    @staticmethod
    def built(
        problem: Problem,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        network: nn.Module | None = None,
    ) -> Solution:
        """A solution again, from the problem and what `saved()` answered; a `network` of your own is passed again.

        Raises `ValueError` where the numbers belong to another problem, or the network is lacking or another one.
        """
        form = Pieces if "windows" in numbers else Ansatz
        functions = {name: _function(problem, name, tensors) for name in problem.functions}
        return Solution(
            problem=problem,
            ansatz=form.built(problem, tensors, numbers, network),
            tol=numbers["tol"],
            estimate=numbers["estimate"],
            residual=numbers["residual"],
            stopped=numbers["stopped"],
            limit=numbers["limit"],
            history=tuple(Record(**record) for record in numbers["history"]),
            seconds=numbers["seconds"],
            parameters={name: Found(**value) for name, value in numbers["parameters"].items()},
            functions=functions,
            warnings=tuple(numbers["warnings"]),
            noise=dict(numbers["noise"]),
            violations=dict(numbers["violations"]),
        )

    def __str__(self) -> str:
        estimate = "not estimated" if self.estimate is None else f"{self.estimate:.1e}"
        lines = [
            f"{self.problem.name}: relative error {estimate} (estimated; asked {self.tol:.1e}) after {self.seconds:.1f} s, "
            f"{len(self.history)} iterations, {self.num_weights} weights",
            f"stopped: {self.stopped}; {self.limit}",
        ]
        lines += [f"{name} = {value}" for name, value in self.parameters.items()]
        lines += [f"{name}: {value}" for name, value in self.functions.items()]
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True)
class FieldOf:
    """A field of a solution or one of its derivatives, as a function of the coordinates."""

    solution: Solution
    name: str
    index: Index | None = None

    def d(self, coordinate: str, order: int = 1) -> FieldOf:
        """The derivative by a coordinate, of this one."""
        names = self.solution.problem.coordinates
        if coordinate not in names:
            raise AttributeError(f"{self.name} has no coordinate {coordinate!r}.{nearest(coordinate, names)}")
        if order < 1 or int(order) != order:
            raise ValueError(f"the order of a derivative is {order!r}; expected 1, 2, ...")
        before = self.index or (0,) * len(names)
        more = tuple(k + order * (own == coordinate) for k, own in zip(before, names, strict=True))
        return FieldOf(self.solution, self.name, more)

    def __getattr__(self, word: str) -> FieldOf:
        if word.startswith("_"):
            raise AttributeError(word)
        names = self.solution.problem.coordinates
        index = index_of(word, names)
        if index is None:
            raise AttributeError(
                f"{self.name}.{word} is no derivative of {self.name}; its coordinates are {', '.join(names)}"
            )
        before = self.index or (0,) * len(names)
        return FieldOf(self.solution, self.name, tuple(a + b for a, b in zip(before, index, strict=True)))

    def __call__(self, **coordinates: Any) -> Any:
        problem, ansatz = self.solution.problem, self.solution.ansatz
        points, answer = points_of(problem.ranges, coordinates)
        index = self.index or (0,) * points.shape[1]
        jet = Jet.of([index])
        parts = (f"{self.name}.real", f"{self.name}.imag") if self.name in problem.complex else (self.name,)
        found = []
        for block in points.split(BLOCK):
            series = ansatz.at(block, jet)
            values = [series[part][jet.places[index]] * jet.factorials[jet.places[index]] for part in parts]
            found.append(torch.complex(*values) if len(values) == 2 else values[0])
        within = problem.conditions.within
        there = None if within is None else within.distance(*points.t()) > -ON_BOUNDARY
        return answer(_only(torch.cat(found), there))


def _only(values: Tensor, there: Tensor | None) -> Tensor:
    """The values [N] where the domain is, NaN elsewhere."""
    return values if there is None else torch.where(there, values, torch.nan)


def _function(problem: Problem, name: str, tensors: Mapping[str, Tensor]) -> FoundFunction:
    """An unknown function again. Raises `ValueError` where its numbers belong to another."""
    unknown, spline = problem.parameters[name], problem.bases[name]
    assert isinstance(unknown, Unknown) and isinstance(spline, Spline)
    numbers, covariance = tensors[f"{name}.numbers"], tensors[f"{name}.covariance"]
    if numbers.shape != (spline.size,) or covariance.shape != (spline.size, spline.size):
        raise ValueError(
            f"expected {spline.size} numbers of {name}; received {list(numbers.shape)} and {list(covariance.shape)}"
        )
    return FoundFunction(unknown=unknown, spline=spline, numbers=numbers, covariance=covariance)
