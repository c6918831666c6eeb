"""Whether the parts of an explanation sum to what they explain."""

from __future__ import annotations

from torch import Tensor


def completeness_residual(values: Tensor, difference: Tensor, absorbed: Tensor | None = None) -> Tensor:
    """|Σ values + absorbed - difference| of each example [N], over the greater of |difference| and the greatest |value|.

    Sums are taken in float64. Where everything is zero, so is the residual.

    >>> import torch
    >>> completeness_residual(torch.tensor([[1.0, 2.0]]), torch.tensor([4.0]), torch.tensor([0.5]))
    tensor([0.1250], dtype=torch.float64)
    """
    flat = values.detach().flatten(1).double()
    wanted = difference.detach().double()
    missing = flat.sum(1) - wanted if absorbed is None else flat.sum(1) + absorbed.detach().double() - wanted
    scale = flat.abs().amax(1).maximum(wanted.abs())
    return missing.abs() / scale.masked_fill(scale == 0, 1)
