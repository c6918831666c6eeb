"""What becomes of an error that a window of time hands on: how much of it is left, or has grown, in the windows after it.

The error of the best state v of a window has, as far as can be known, the form of what the solver last removed: v - w, of an earlier state w
with a larger residual, times the ratio of the residuals (`estimate`). Added to the beginning of the next window, it changes the residual r of the solution
found there; the change of the weights  -(J^T J)^-1 J^T (r' - r)  takes that away again, as fitting would, and what the solution then differs by is what
the equation, linearized there, made of the error. In the window after that this difference is what was handed on, and so forth.

Without it the error of a window would be supposed to stay as it is. For  u.t = 3 (u - cos t) - sin t  until t = 3, where errors grow as exp(3 t), that told 3.5e-6
in 8 windows where the error was 8.3e-3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hubel.physics.ansatz import Ansatz
from hubel.physics.jets import Jet
from hubel.physics.methods import LARGEST
from hubel.physics.networks import Network, under
from hubel.physics.parts import equation, learnt_conditions
from hubel.physics.system import System, sizes_of

DAMPING = 1e-12  # of the mean of the diagonal of J^T J: above rounding, below all that answers
SMALL = 1e-6  # of the weights: a step that is a linear one


@dataclass(frozen=True)
class Change:
    """`share` times the difference that another network would make to the answer in window `number`, handed on to later ones (`Ansatz.changes`)."""

    number: int
    form: Ansatz
    other: Network
    share: float

    def continued(self, points: Tensor, jet: Jet) -> dict[str, Tensor]:
        """Its Taylor coefficients [M, N] at `points` [N, D] after its window, of every component that has a beginning."""
        one, other = (form.continued(points, jet) for form in (self.form, self.form.with_network(self.other)))
        return {name: self.share * (values - other[name]) for name, values in one.items()}

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain numbers; `Change.built` reads them."""
        tensors = {"weights": self.other.weights()}
        tensors |= {f"fixed.{name}": value for name, value in self.other.fixed().items()}
        return tensors, {"number": self.number, "share": self.share, "network": self.other.described()}

    @staticmethod
    def built(forms: Sequence[Ansatz], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> Change:
        """It again, from the `forms` in all windows and what `saved()` answered."""
        form = forms[numbers["number"]]
        other = form.network.restored(numbers["network"], under("fixed.", tensors))
        other.read(tensors["weights"])
        return Change(numbers["number"], form, other, numbers["share"])


@dataclass(frozen=True)
class Moved:
    """A window after `share` times the changes of its beginning, small enough that all is linear; `change` hands on what became of the whole of them."""

    number: int
    form: Ansatz
    after: Ansatz
    share: float

    @property
    def change(self) -> Change:
        """What became of them, beside those themselves, which go on as they are."""
        return Change(self.number, self.form, self.after.network, -1 / self.share)

    def values(self, points: Tensor) -> Tensor:
        """How much the components [C, N] differ at `points` [N, D]."""
        return (self.after.values(points) - self.form.values(points)) / self.share


def became(number: int, form: Ansatz, changes: Sequence[Change], points: Tensor, faces: int) -> Moved | None:
    """What becomes of the `changes` of the beginning in window `number`, by the equation at `points` [N, D] and what is learnt at `faces` of each
    face; None where it tells nothing of them, and for networks too large for J^T J.
    """
    theta, sizes = form.network.weights(), sizes_of(form.problem, form.scales)
    if len(theta) > LARGEST:
        return None

    def system(own: Ansatz) -> System:
        return System(own, [equation(own, points, sizes), *learnt_conditions(own, faces, 0).values()])

    linear = system(form).linearized(theta)
    matrix = linear.matrix
    matrix.diagonal().add_(DAMPING * float(matrix.diagonal().mean()))
    by = system(replace(form, changes=tuple(changes))).residuals(theta) - linear.here
    factor, failed = torch.linalg.cholesky_ex(matrix)
    step = -torch.cholesky_solve((linear.jacobian.t() @ by)[:, None], factor)[:, 0]
    length = float(step.norm())
    if int(failed) or not 0 < length < math.inf:
        return None
    share = SMALL * float(theta.norm()) / length
    network = form.network.copied()
    network.read(theta + share * step)
    less = tuple(replace(change, share=share * change.share) for change in changes)
    return Moved(number, form, replace(form, network=network, changes=less), share)


def size_of(values: Tensor, form: Ansatz) -> float:
    """The root mean square of the components [C, N] that have a beginning, scaled."""
    scaled = [
        row / form.scales[name]
        for name, row in zip(form.problem.components, values, strict=True)
        if form.problem.conditions.initial.get(name)
    ]
    return float(torch.stack(scaled).square().mean().sqrt())


def alike(own: Change, others: Sequence[Change], points: Tensor) -> Change:
    """The change with the sign with which it adds to the others at the end of its window, where the signs of errors are not known."""
    if not others:
        return own
    problem = own.form.problem
    assert problem.time is not None
    at = points.clone()
    at[:, problem.coordinates.index(problem.time)] = problem.ranges[problem.time][1]
    jet = Jet(((0,) * points.shape[1],))
    known = [change.continued(at, jet) for change in others]
    product = sum(
        float((values * sum(other[name] for other in known)).sum()) / own.form.scales[name] ** 2
        for name, values in own.continued(at, jet).items()
    )
    return own if product >= 0 else replace(own, share=-own.share)
