"""How large the error is, from what the solver has seen: the amplification of residuals to errors, measured on the way.

Let rho be the root mean square residual of an approximation u at points that were never used. When a later approximation v has a residual
that is several times smaller, u - v is nearly the error of u. So every earlier state tells the ratio  |u - v| / rho(u),  by which this
equation turns residuals into errors, and the error of v is this ratio times rho(v). The ratios change slowly (smooth parts of the error
are removed first, and rough residuals cause smaller errors), so the latest that can be known is used; states count as earlier where their
residual is at least SEPARATED times larger.

On the way through eleven equations (seed 0) the last ratio foretold the error to a factor of 0.3 to 4.5; the greatest of the
last three was up to 20 times too large where ratios fell fast (Schroedinger's equation: from 26 to 4 while residuals fell to a third).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SEPARATED = 3.0
STEP = 1.25  # a state is kept when the residual fell by this factor since the last one that was kept
KEPT = 24


class Amplification:
    """States with falling residuals, and the estimate from them."""

    def __init__(self) -> None:
        self.residuals: list[float] = []
        self.values: list[Tensor] = []

    def note(self, residual: float, values: Tensor) -> None:
        """Keep a state: its residual, and the values [C, N] at fixed points."""
        if not self.residuals or residual < self.residuals[-1] / STEP:
            self.residuals.append(residual)
            self.values.append(values)
            del self.residuals[:-KEPT], self.values[:-KEPT]

    def error(self, residual: float, values: Tensor) -> float | None:
        """The estimated error of `values` [C, N], relative in the L2 norm; None while no state is far enough behind."""
        earlier = [place for place, rho in enumerate(self.residuals) if rho >= SEPARATED * residual]
        size = float(values.norm())
        if not earlier or size == 0:
            return None
        ratio = float((self.values[earlier[-1]] - values).norm()) / self.residuals[earlier[-1]]
        return ratio * residual / size

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        tensors = {"values": torch.stack(self.values)} if self.values else {}
        return tensors, {"residuals": self.residuals}

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again."""
        self.residuals = list(numbers["residuals"])
        self.values = [row.clone() for row in tensors["values"]] if self.residuals else []
