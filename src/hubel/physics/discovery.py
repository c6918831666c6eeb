"""How well unknown coefficients are determined by data: standard errors, and what the data can not tell.

With rows of data of standard deviation sigma the covariance of theta (weights and unknowns) is  sigma^2 H^-1,  H = J_d^T J_d + w^2 J_e^T J_e,
J_d the rows of the data, J_e those of the equation with the weight w that they had. The unknowns' part of H^-1 is the inverse of the Schur
complement  H_uu - H_uw H_ww^-1 H_wu:  what the data tell of the unknowns after the network has taken its freedom. sigma^2 is the sum of
squares of the data's residuals over N - p, p = trace(H^-1 J_d^T J_d) the number of weights that the data have determined. To H belongs the
roughness of unknown functions (`functions`).

G. A. F. Seber, C. J. Wild, "Nonlinear Regression", Wiley 1989, doi:10.1002/0471725315, chapter 5; S. N. Wood, "Generalized Additive
Models", 2nd edition, CRC 2017, doi:10.1201/9781315370279, section 6.1 for p.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hubel.physics.functions import FoundFunction, errors_of, next_smoothing, unseen, untold
from hubel.physics.ladder import Fit
from hubel.physics.observations import Observations
from hubel.physics.splines import Spline
from hubel.physics.system import System, rows_of_values
from hubel.physics.unknown import Found

RIDGES = tuple(10.0**-k for k in range(13, 2, -1))
"""Of the mean diagonal, the least that is enough: directions of the weights that change nothing are left where they are."""
SAME = 0.999  # of a correlation: beyond, only a combination of two unknowns is determined


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What data say: unknown numbers and functions with standard errors, the noise of every component, the relative error of the field,
    warnings.
    """

    parameters: Mapping[str, Found] = field(default_factory=dict)
    functions: Mapping[str, FoundFunction] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    error: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the unknowns stand after a set of points, in the order of the problem: what is searched behind each of them and its standard
    errors, [1] of a number and [G] of a function on its grid; the weights of roughness that follow (`functions`); and how the data are met.
    """

    values: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    smoothing: Mapping[str, float]
    fit: Fit


def standing(system: System, theta: Tensor) -> Standing:
    """Where the unknowns stand; the last part of the `system` is the data."""
    covariance, variance, freedom = _information(system, theta)
    values, errors, smoothing = [], [], {}
    count = system.parts[-1].num_points * len(system.parts[-1].weights)
    for name, own in system.places.items():
        basis = system.ansatz.problem.bases[name]
        values.append(theta[own] @ basis.grid)
        errors.append(errors_of(covariance[own, own], basis.grid))
    for name, weight in system.smoothing.items():
        own, root = system.places[name], system.ansatz.problem.bases[name].roughness
        used = float(((root @ covariance[own, own]) * root).sum()) / variance
        smoothing[name] = next_smoothing(weight, variance, root @ theta[own], used)
    fit = Fit(squares=variance * freedom * count, determined=(1 - freedom) * count, count=count)
    return Standing(values=tuple(values), errors=tuple(errors), smoothing=smoothing, fit=fit)


def judged(system: System, theta: Tensor, observed: Observations, checked: Tensor) -> Judgement:
    """Standard errors at the solution `theta`; the last part of the `system` is the data, `checked` [N, D] where the field is judged."""
    covariance, _, freedom = _information(system, theta)
    weights = system.ansatz.network.size
    parameters, functions, warnings = {}, {}, []
    for name, unknown in system.unknowns.items():
        own, basis = system.places[name], system.ansatz.problem.bases[name]
        if isinstance(basis, Spline):
            functions[name] = FoundFunction(
                unknown=unknown,
                spline=basis,
                numbers=theta[own].clone(),
                covariance=covariance[own, own].clone(),
            )
            warnings += [text for text in [untold(name, functions[name])] if text]
            warnings += unseen(name, basis, observed.points)
            continue
        error = float(errors_of(covariance[own, own], basis.grid))
        value, slope = float(unknown.value(theta[own])), float(unknown.slope(theta[own]))
        parameters[name] = Found(value=value, standard_error=abs(slope) * error, positive=unknown.positive)
        if parameters[name].standard_error > abs(value):
            warnings.append(f"{name} is not determined: its standard error is larger than its value")
    warnings += _inseparable(system, covariance)
    scales = observed.scales
    noise = {}
    for place, name in enumerate(observed.values):
        misfit = _own(system, theta, place)
        noise[name] = math.sqrt(float(misfit.square().sum()) / (len(misfit) * freedom)) * scales[name]
    return Judgement(
        parameters=parameters,
        functions=functions,
        noise=noise,
        error=_field_error(system, theta, covariance[:weights, :weights], checked),
        warnings=tuple(warnings),
    )


def _information(system: System, theta: Tensor) -> tuple[Tensor, float, float]:
    """The covariance of theta, sigma^2 in the units of the rows, and the share of the data that was not used up, (N - p) / N."""
    whole = system.linearized(theta).matrix
    own = System(system.ansatz, system.parts[-1:]).linearized(theta)
    data, square = own.matrix, own.loss
    factor = _factor(whole)
    used = float(torch.cholesky_solve(data, factor).diagonal().sum())
    count = system.parts[-1].num_points * len(system.parts[-1].weights)
    freedom = max(count - used, 1.0) / count
    variance = square / (freedom * count)
    return variance * torch.cholesky_inverse(factor), variance, freedom


def _factor(matrix: Tensor) -> Tensor:
    """The Cholesky factor of H [P, P] with the least ridge that rounding allows: where the equation has been weighed a lot H is nearly singular."""
    size = float(matrix.diagonal().mean())
    for ridge in RIDGES:
        ridged = matrix.clone()
        ridged.diagonal().add_(ridge * size)
        factor, failed = torch.linalg.cholesky_ex(ridged)
        if not int(failed):
            return factor
    raise ValueError("the Jacobian at the solution has entries that are NaN or infinite")


def _own(system: System, theta: Tensor, place: int) -> Tensor:
    """The misfit [N] of one component to its data, in units of its size."""
    part = system.parts[-1]
    rows = System(system.ansatz, [part]).residuals(theta) * part.num_points**0.5
    found, begin = [], 0
    for block in part.blocks:
        count = len(block) * len(part.weights)
        found.append(rows[begin : begin + count].view(len(part.weights), -1)[place])
        begin += count
    return torch.cat(found)


def _inseparable(system: System, covariance: Tensor) -> list[str]:
    """Unknowns of which the data tell a combination alone; functions are compared by their means."""
    names = tuple(system.places)
    means = torch.zeros(len(names), len(covariance), dtype=torch.float64)
    for row, (name, own) in zip(means, system.places.items(), strict=True):
        row[own] = system.ansatz.problem.bases[name].grid.mean(1)
    between = means @ covariance @ means.t()
    size = between.diagonal().clamp_min(1e-300).sqrt()
    correlation = between / (size[:, None] * size)
    return [
        f"{names[i]} and {names[j]} can not be told apart: their errors have the correlation {float(correlation[i, j]):.4f}"
        for i in range(len(names))
        for j in range(i)
        if abs(float(correlation[i, j])) > SAME
    ]


def _field_error(system: System, theta: Tensor, covariance: Tensor, points: Tensor) -> float:
    """The relative L2 error of the fields that the noise causes: the root of the mean variance over the mean square."""
    variance, square = 0.0, 0.0
    for values, jacobian in rows_of_values(system.ansatz, theta, points):
        variance += float(((jacobian @ covariance) * jacobian).sum().clamp_min(0))
        square += float(values.square().sum())
    return math.sqrt(variance / max(square, 1e-300))
