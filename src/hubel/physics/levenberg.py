"""Levenberg-Marquardt: least squares by damped linearization, for some thousand unknowns.

The step solves  (J^T J + lambda I) step = -J^T r.  It is accepted if |r|^2 falls; the gain, the ratio of the decrease to the one that the
linearization predicts, moves lambda (Nielsen's rule): good agreement lets it fall by 3 or more, none makes it rise.

K. Levenberg, Quart. Appl. Math. 2 (1944) 164, doi:10.1090/qam/10666; D. W. Marquardt, SIAM J. 11 (1963) 431, doi:10.1137/0111030;
H. B. Nielsen, report IMM-REP-1999-05, Technical University of Denmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hubel.physics.system import System

TRIALS = 12
SMALLEST = 1e-18  # of the mean of the diagonal: below it lies rounding


@dataclass
class LevenbergMarquardt:
    """The method and its state: `damping` relative to the mean diagonal of J^T J."""

    damping: float = 1.0
    growth: float = 2.0

    def step(self, system: System, theta: Tensor) -> tuple[Tensor, float, bool]:
        """The new theta [P], |r|^2 there, and whether a step was found."""
        matrix, slope, before = system.normal(theta)
        size = float(matrix.diagonal().mean())
        for _ in range(TRIALS):
            damped = matrix.clone()
            damped.diagonal().add_(self.damping * size)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if not int(failed):
                step = -torch.cholesky_solve(slope[:, None], factor)[:, 0]
                after = system.loss(theta + step)
                predicted = -float(slope @ step) + self.damping * size * float(step @ step)
                if after < before and predicted > 0:
                    gain = (before - after) / predicted
                    self.damping = max(self.damping * max(1 / 5, 1 - (2 * gain - 1) ** 3), SMALLEST)
                    self.growth = 2.0
                    return theta + step, after, True
            self.damping = max(self.damping, SMALLEST) * self.growth
            self.growth *= 2
        self.growth = 2.0
        return theta, before, False
