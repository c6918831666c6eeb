"""Real values with outliers: the absolute difference, and Huber's loss, which is squared near the truth and absolute far from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hubel.core.errors import ContractError
from hubel.objectives.real_values import RealValues


@dataclass(frozen=True)
class AbsoluteError(RealValues):
    """Absolute error |z - t|, summed over the K values of an example; what it learns is the median, which few outliers do not move.

    Targets [N] (for K = 1) or [N, K], linear last layer. `center` and `scale` [K] standardize the targets; `target_names` and
    `units` [K] label what is shown.

    Raises `ContractError` where `num_outputs` is below 1, one of these does not have K entries, or a scale is not positive.

    >>> import torch
    >>> from hubel.core.types import Batch
    >>> batch = Batch(inputs=torch.tensor([[0.0], [0], [1], [1]]), targets=torch.tensor([1.0, 1, 1, 3]))
    >>> AbsoluteError(1)(torch.nn.Identity(), batch).total.item()
    1.0
    """

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Sum of absolute differences over the values of every example: [N]."""
        return (outputs - wanted).abs().sum(1)


@dataclass(frozen=True)
class Huber(RealValues):
    """Huber's loss of r = z - t: r² / 2 up to `delta`, delta (|r| - delta / 2) beyond; summed over the K values of an example.

    Targets [N] (for K = 1) or [N, K], linear last layer. `delta` is in standardized units: in standard deviations of the targets
    where `scale` is that. `center`, `scale`, `target_names`, `units` [K] as in `SquaredError`.

    Source: P. J. Huber, Ann. Math. Stat. 35, 73 (1964), doi:10.1214/aoms/1177703732.

    Raises `ContractError` as `SquaredError`, and where `delta` is not positive.

    >>> import torch
    >>> from hubel.core.types import Batch
    >>> batch = Batch(inputs=torch.tensor([[0.0], [0.0]]), targets=torch.tensor([1.0, 3.0]))
    >>> Huber(1, delta=1.0)(torch.nn.Identity(), batch).total.item()  # (1/2 + (3 - 1/2)) / 2
    1.5
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.delta < math.inf:
            raise ContractError(f"delta is {self.delta}; expected a positive number")

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Huber's loss summed over the values of every example: [N]."""
        return F.huber_loss(outputs, wanted, reduction="none", delta=self.delta).sum(1)
