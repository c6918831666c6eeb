"""Positive values over several powers of ten: the squared difference of logarithms.

    loss = sum_k (z_k - log(1 + y_k))^2,   read as ŷ = exp(z) - 1

The network's score *is* log(1 + ŷ), so that nothing has to be cut off at zero; of the reading, the loss is the usual mean squared
logarithmic error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hubel.core.errors import ContractError
from hubel.objectives.real_values import RealValues


@dataclass(frozen=True)
class SquaredLogError(RealValues):
    """Mean squared logarithmic error of K values above -1, targets [N] (for K = 1) or [N, K]; linear last layer.

    A factor of two costs alike for small and for large values. `center` and `scale` [K] standardize log(1 + y); `target_names`
    and `units` [K] label what is shown.

    Raises `ContractError` as `SquaredError`, and for targets of -1 or less.

    >>> import math, torch
    >>> from hubel.core.types import Batch
    >>> batch = Batch(inputs=torch.tensor([[math.log(2.0)]]), targets=torch.tensor([3.0]))
    >>> loss = SquaredLogError(1)(torch.nn.Identity(), batch).total.item()  # (log 2 - log 4)²
    >>> round(loss, 4), round(math.log(2) ** 2, 4)
    (0.4805, 0.4805)
    """

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Sum of squares over the values of every example: [N]."""
        return (outputs - wanted).square().sum(1)

    def standardized(self, targets: Tensor) -> Tensor:
        """log(1 + y) in units of `scale` about `center`: [N, K]."""
        return super().standardized(torch.log1p(targets))

    def in_units(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `standardized`, of values [N, K]."""
        with np.errstate(over="ignore"):
            return np.minimum(np.expm1(super().in_units(values)), np.finfo(np.float64).max)

    def check_targets(self, targets: Tensor) -> None:
        super().check_targets(targets)
        least = float(targets.min())
        if least <= -1:
            raise ContractError(
                f"squared log error takes the logarithm of 1 + y, but the targets go down to {least:g}: for values that may be "
                "negative write SquaredError, or shift them"
            )
