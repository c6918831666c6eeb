"""How well unknown coefficients are determined by data: standard errors, and what the data can not tell.

With rows of data of standard deviation sigma the covariance of theta (weights and unknowns) is  sigma^2 H^-1,  H = J_d^T J_d + w^2 J_e^T J_e,
J_d the rows of the data, J_e those of the equation with the weight w that they had. The unknowns' part of H^-1 is the inverse of the Schur
complement  H_uu - H_uw H_ww^-1 H_wu:  what the data tell of the unknowns after the network has taken its freedom. sigma^2 is the sum of
squares of the data's residuals over N - p, p = trace(H^-1 J_d^T J_d) the number of weights that the data have determined.

G. A. F. Seber, C. J. Wild, "Nonlinear Regression", Wiley 1989, doi:10.1002/0471725315, chapter 5; S. N. Wood, "Generalized Additive
Models", 2nd edition, CRC 2017, doi:10.1201/9781315370279, section 6.1 for p.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hubel.physics.observations import Observations
from hubel.physics.system import System, rows_of_values
from hubel.physics.unknown import Found

RIDGES = tuple(10.0**-k for k in range(13, 2, -1))
"""Of the mean diagonal, the least that is enough: directions of the weights that change nothing are left where they are."""
SAME = 0.999  # of a correlation: beyond, only a combination of two unknowns is determined


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What data say: unknowns with standard errors, the noise of every component, the relative error of the field, warnings."""

    parameters: Mapping[str, Found] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    error: float | None = None
    warnings: tuple[str, ...] = ()


def inner_errors(system: System, theta: Tensor) -> Tensor:
    """The standard errors [U] of the numbers behind the unknowns; the last part of the `system` is the data."""
    factor, variance, _ = _information(system, theta)
    covariance = variance * torch.cholesky_inverse(factor)
    return covariance.diagonal()[system.ansatz.network.size :].clamp_min(0).sqrt()


def judged(system: System, theta: Tensor, observed: Observations, checked: Tensor) -> Judgement:
    """Standard errors at the solution `theta`; the last part of the `system` is the data, `checked` [N, D] where the field is judged."""
    factor, variance, freedom = _information(system, theta)
    weights = system.ansatz.network.size
    covariance = variance * torch.cholesky_inverse(factor)
    parameters, warnings = {}, []
    errors = covariance.diagonal()[weights:].clamp_min(0).sqrt()
    for (name, unknown), inner, error in zip(system.unknowns.items(), theta[weights:], errors, strict=True):
        value, slope = float(unknown.value(inner)), float(unknown.slope(inner))
        parameters[name] = Found(value=value, standard_error=abs(slope) * float(error))
        if parameters[name].standard_error > abs(value):
            warnings.append(f"{name} is not determined: its standard error is larger than its value")
    warnings += _inseparable(tuple(system.unknowns), covariance[weights:, weights:])
    scales = observed.scales
    noise = {}
    for place, name in enumerate(observed.values):
        own = _own(system, theta, place)
        noise[name] = math.sqrt(float(own.square().sum()) / (len(own) * freedom)) * scales[name]
    return Judgement(
        parameters=parameters,
        noise=noise,
        error=_field_error(system, theta, covariance[:weights, :weights], checked),
        warnings=tuple(warnings),
    )


def _information(system: System, theta: Tensor) -> tuple[Tensor, float, float]:
    """The Cholesky factor of H, sigma^2 in the units of the rows, and the share of the data that was not used up, (N - p) / N."""
    whole = system.linearized(theta).matrix
    own = System(system.ansatz, system.parts[-1:]).linearized(theta)
    data, square = own.matrix, own.loss
    factor = _factor(whole)
    used = float(torch.cholesky_solve(data, factor).diagonal().sum())
    count = system.parts[-1].num_points * len(system.parts[-1].weights)
    freedom = max(count - used, 1.0) / count
    return factor, square / (freedom * count), freedom


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


def _inseparable(names: tuple[str, ...], covariance: Tensor) -> list[str]:
    size = covariance.diagonal().clamp_min(1e-300).sqrt()
    correlation = covariance / (size[:, None] * size)
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
