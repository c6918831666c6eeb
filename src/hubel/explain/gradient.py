"""The gradient of the number that is explained, by what it is taken apart into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from hubel.explain.checkpoints import checkpoints_refused

Answer = TypeVar("Answer")


def gradient(function: Callable[[Tensor], Tensor], point: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers y [M] = function(point [M, ...]), and the gradient of their sum, which is that of each by its own row: [M, ...].

    >>> y, slope = gradient(lambda x: (x**2).sum(1), torch.tensor([[1.0, -3.0]]))
    >>> y, slope
    (tensor([10.]), tensor([[ 2., -6.]]))

    Raises `ValueError` where the numbers do not depend on the point, and where the gradient is not finite.
    """

    def attempt(careful: bool) -> tuple[Tensor, Tensor]:
        with torch.enable_grad(), _mutable(careful):
            leaf = point.detach().requires_grad_()
            y = function(leaf)
            return y.detach(), slope_at(y, leaf)

    return again_if_in_place(attempt)


def slope_at(y: Tensor, leaf: Tensor, *, keep: bool = False) -> Tensor:
    """∂ Σ y / ∂ leaf; `keep` leaves the graph for another pass. Errors as in `gradient`."""
    if not y.requires_grad:
        raise independent()
    with checkpoints_refused():
        (slope,) = torch.autograd.grad(y, leaf, torch.ones_like(y), retain_graph=keep, allow_unused=True)
    if slope is None:
        raise independent()
    if not bool(torch.isfinite(slope).all()):
        row = int((~torch.isfinite(slope.flatten(1))).any(1).nonzero()[0])
        raise ValueError(
            f"the gradient for row {row} holds NaN or infinite values: there is nothing to explain with it. Are the inputs scaled as in "
            "training? A square root or logarithm at zero does this too; occlusion needs no gradient"
        )
    return slope


def independent() -> ValueError:
    """The error for a number that the input does not change."""
    return ValueError(
        "the output that is explained does not depend on the input, as far as gradients can see: it is a constant, or it is cut off by "
        "a comparison, by rounding, by detach or by torch.no_grad. Choose another target, or occlusion, which needs no gradient"
    )


def again_if_in_place(attempt: Callable[[bool], Answer]) -> Answer:
    """`attempt(False)`; and where the network changed in place what the way back needs, `attempt(True)`, which keeps copies."""
    try:
        return attempt(False)
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
    return attempt(True)


def _mutable(careful: bool):
    return torch.autograd.graph.allow_mutation_on_saved_tensors() if careful else torch.enable_grad()
