"""Quasi-Newton methods, for networks with more weights than J^T J can hold: gradients and a line search only.

`SelfScaledBroyden` keeps the whole inverse Hessian H [P, P] of f = |r|^2 / 2. With s the step, y the change of the gradient g,

    H <- (H - Hy y^T H / (y^T H y) + phi (y^T H y) v v^T) / tau + s s^T / (y^T s),   v = s / (y^T s) - Hy / (y^T H y),

where phi, a member of Broyden's family, and the scaling tau follow from  b = s^T H^-1 s / (y^T s)  and  h = y^T H y / (y^T s):

    a = b h - 1,   r- = min(1, h (1 - sqrt(a / (1 + a)))),   theta = max((r- - 1) / a, min(1 / r-, (1 - b) / b)),   sigma = 1 + theta a,
    phi = (1 - theta) / sigma,   tau = r+ min(sigma^(-1/(P-1)), 1/theta) for theta > 0, else min(r+ sigma^(-1/(P-1)), sigma),  r+ = min(1, 1/b).

`LimitedMemory` keeps the last pairs (s, y) only (L-BFGS). Both search along the line for the strong conditions of Wolfe.

M. Al-Baali, Comput. Optim. Appl. 9 (1998) 191, doi:10.1023/A:1018315205474; J. F. Urban, P. Stefanou, J. A. Pons, J. Comput. Phys. 523
(2025) 113656, doi:10.1016/j.jcp.2024.113656; D. C. Liu, J. Nocedal, Math. Program. 45 (1989) 503, doi:10.1007/BF01589116.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from scipy.optimize import line_search
from torch import Tensor

DECREASE, CURVATURE = 1e-4, 0.9  # of the conditions of Wolfe
LARGEST_DENSE = 10_000  # weights: H takes 800 MB


class Smooth(Protocol):
    """A function f = |r|^2 / 2 of theta [P]."""

    def gradient(self, theta: Tensor) -> tuple[Tensor, float]:
        """J^T r and |r|^2."""
        ...


@dataclass
class SelfScaledBroyden:
    """The method and its state H; `None` before the first step."""

    inverse: Tensor | None = None

    grows: ClassVar[bool] = False
    every: ClassVar[int] = 50

    def step(self, system: Smooth, theta: Tensor) -> tuple[Tensor, float, bool]:
        """The new theta [P], |r|^2 there, and whether a step was found; without one theta stays and H begins anew."""
        slope, before = system.gradient(theta)
        direction = -slope if self.inverse is None else -(self.inverse @ slope)
        found = _searched(system, theta, direction, slope, before)
        if found is None:
            self.inverse = None
            return theta, before, False
        length, new_slope, after = found
        s, y = length * direction, new_slope - slope
        if float(s @ y) > 1e-14 * float(s.norm() * y.norm()):
            if self.inverse is None:
                self.inverse = torch.eye(len(theta), dtype=theta.dtype) * (s @ y) / (y @ y)
                self.inverse = updated(self.inverse, s, y, b=float((y @ y) * (s @ s) / (s @ y) ** 2))
            else:
                self.inverse = updated(self.inverse, s, y, b=-length * float(s @ slope) / float(s @ y))
        return theta + s, after, True

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        return ({} if self.inverse is None else {"inverse": self.inverse}), {}

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again."""
        self.inverse = tensors.get("inverse")


def updated(inverse: Tensor, s: Tensor, y: Tensor, b: float) -> Tensor:
    """H after a step `s` [P] with the change `y` [P] of the gradient; `b` = s^T H^-1 s / (y^T s)."""
    product = inverse @ y
    along, curvature = float(y @ s), float(y @ product)
    h = curvature / along
    a = max(b * h - 1, 1e-16)
    lower = min(1.0, h * (1 - math.sqrt(a / (1 + a))))
    theta = max((lower - 1) / a, min(1 / lower, (1 - b) / b))
    sigma = 1 + theta * a
    phi = (1 - theta) / sigma
    upper, root = min(1.0, 1 / b), sigma ** (-1 / (len(s) - 1)) if len(s) > 1 else 1.0
    tau = upper * min(root, 1 / theta) if theta > 0 else min(upper * root, sigma)
    v = s / along - product / curvature
    found = inverse - torch.outer(product, product / curvature)
    found += torch.outer(v, (phi * curvature) * v)
    return found / tau + torch.outer(s, s / along)


@dataclass
class LimitedMemory:
    """L-BFGS with the last `memory` pairs."""

    memory: int = 50
    steps: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)

    grows: ClassVar[bool] = False
    every: ClassVar[int] = 50

    def step(self, system: Smooth, theta: Tensor) -> tuple[Tensor, float, bool]:
        """The new theta [P], |r|^2 there, and whether a step was found; without one theta stays and the memory is emptied."""
        slope, before = system.gradient(theta)
        found = _searched(system, theta, direction := self._direction(slope), slope, before)
        if found is None:
            self.steps, self.changes = [], []
            return theta, before, False
        length, new_slope, after = found
        s, y = length * direction, new_slope - slope
        if float(s @ y) > 1e-14 * float(s.norm() * y.norm()):
            self.steps, self.changes = [*self.steps, s][-self.memory :], [*self.changes, y][-self.memory :]
        return theta + s, after, True

    def _direction(self, slope: Tensor) -> Tensor:
        left, shares = -slope, []
        for s, y in zip(reversed(self.steps), reversed(self.changes), strict=True):
            shares.append(float(s @ left) / float(s @ y))
            left = left - shares[-1] * y
        if self.steps:
            s, y = self.steps[-1], self.changes[-1]
            left = left * (float(s @ y) / float(y @ y))
        for s, y, share in zip(self.steps, self.changes, reversed(shares), strict=True):
            left = left + (share - float(y @ left) / float(s @ y)) * s
        return left

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        pairs = {"steps": torch.stack(self.steps), "changes": torch.stack(self.changes)} if self.steps else {}
        return pairs, {"memory": self.memory}

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again."""
        self.memory = numbers["memory"]
        self.steps = [row.clone() for row in tensors.get("steps", ())]
        self.changes = [row.clone() for row in tensors.get("changes", ())]


def _searched(
    system: Smooth, theta: Tensor, direction: Tensor, slope: Tensor, before: float
) -> tuple[float, Tensor, float] | None:
    """How far to go, and the gradient and |r|^2 there; None where no point is lower."""
    known: dict[bytes, tuple[Tensor, float]] = {theta.numpy().tobytes(): (slope, before)}

    def at(point: np.ndarray) -> tuple[Tensor, float]:
        place = point.tobytes()
        if place not in known:
            known[place] = system.gradient(torch.from_numpy(point.copy()))
        return known[place]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a search that fails answers None, which is what we act on
        length = line_search(
            lambda point: at(point)[1] / 2,
            lambda point: at(point)[0].numpy(),
            theta.numpy(),
            direction.numpy(),
            gfk=slope.numpy(),
            old_fval=before / 2,
            c1=DECREASE,
            c2=CURVATURE,
            maxiter=20,
        )[0]
    if length is None:
        return None
    new_slope, after = at((theta + length * direction).numpy())
    return (float(length), new_slope, after) if after < before else None
