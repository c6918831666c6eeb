"""What the networks of sequences share: how `inputs` is said, which batches are refused, how steps become one row of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from hubel.layers.masks import at_last, mean_of_valid

Pooling = Literal["last", "mean"]


def sequence_inputs(inputs: int | Sequence[int], net: str) -> tuple[int, ...]:
    """`inputs` as (F,), or (L, F) where the usual length was said too; any length is taken later."""
    shape = (inputs,) if isinstance(inputs, (int, float)) else tuple(inputs)
    if len(shape) not in (1, 2) or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(
            f"{net}: inputs must be the number of features F of a step, or (L, F) with L steps, all positive whole numbers; "
            f"received {inputs!r}"
        )
    return tuple(int(n) for n in shape)


def check_sequences(x: Tensor, features: int, net: str) -> None:
    """Refuse a batch that is not [N, L, F]."""
    if x.ndim != 3 or x.shape[2] != features or x.shape[1] < 1:
        raise ValueError(f"{net} expects sequences [N, L, {features}]; received {list(x.shape)}")


def check_pooling(pooling: str, net: str) -> None:
    """Refuse a word that is no way to pool."""
    if pooling not in ("last", "mean"):
        raise ValueError(f'{net}: pooling must be "last" or "mean"; received {pooling!r}')


def pooled(x: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """One row [N, F] of the steps [N, L, F]: the last valid one, or the mean over valid ones."""
    return at_last(x, mask) if pooling == "last" else mean_of_valid(x, mask)
