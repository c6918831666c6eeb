"""Real values: the squared difference, summed over the outputs of an example, averaged over examples.

loss = sum_k ((z_k - (y_k - center_k) / scale_k))^2
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hubel.objectives.real_values import RealValues


@dataclass(frozen=True)
class SquaredError(RealValues):
    """Squared error of K real values, targets [N] (for K = 1) or [N, K]; linear last layer. What it learns is the mean.

    `center` and `scale` [K] standardize the targets; `target_names` and `units` [K] label what is shown.

    Raises `ContractError` where `num_outputs` is below 1, one of these does not have K entries, or a scale is not positive.

    >>> import torch
    >>> from hubel.core.types import Batch
    >>> batch = Batch(inputs=torch.tensor([[0.0], [0], [1], [1]]), targets=torch.tensor([1.0, 1, 1, 0]))
    >>> SquaredError(1)(torch.nn.Identity(), batch).total.item()
    0.75
    """

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Sum of squares over the values of every example: [N]."""
        return (outputs - wanted).square().sum(1)
