"""What scikit-learn hands over, as the rows of a `Dataset`: tables [N, F], pictures [N, H, W], [N, C, H, W] or [N, H, W, C]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hubel.data.arrays import checked_weights, rows_of
from hubel.data.series import Series, is_ragged_list

SMALL_TYPES = (np.float16, np.uint8, np.int8, np.uint16, np.int16)
WIDE_TYPES = (np.float64, np.float32, np.uint32, np.int32)


def kept_types(device: torch.device) -> tuple[type[np.number], ...]:
    """The types that stay as they are, the first of which every other becomes.

    Apple's GPUs have no float64, in which types of more than 16 bits are scaled elsewhere.

    >>> kept_types(torch.device("cpu"))[0], kept_types(torch.device("mps"))[0]
    (<class 'numpy.float64'>, <class 'numpy.float32'>)
    """
    return (np.float32, *SMALL_TYPES) if device.type == "mps" else (*WIDE_TYPES, *SMALL_TYPES)


def rows_like(X: np.ndarray) -> np.ndarray:
    """`X` as rows [N, F], [N, C, H, W] or [N, C, D, H, W], without a copy.

    Five axes are volumes [N, C, D, H, W]. The last of four axes holds the channels where it is at most half of the two before it, and the first of the three does not pass
    for channels by the same rule; else the channels come first.

    Raises `ValueError` for other numbers of axes.

    >>> rows_like(np.zeros((5, 8, 8))).shape, rows_like(np.zeros((5, 8, 8, 3))).shape, rows_like(np.zeros((5, 6, 8, 8))).shape
    ((5, 1, 8, 8), (5, 3, 8, 8), (5, 6, 8, 8))
    """
    if X.ndim == 2:
        return X
    if X.ndim == 3:
        return rows_of(X, "NHW")
    if X.ndim == 5:
        return X
    if X.ndim != 4:
        raise ValueError(
            f"X has shape {X.shape}; expected a table [N, F], pictures [N, H, W] or [N, C, H, W], or volumes [N, C, D, H, W]"
        )
    first, second, last = X.shape[1:]
    return rows_of(X, "NHWC" if 2 * last <= min(first, second) and 2 * first > min(second, last) else "NCHW")


def refuse_series(X: Any) -> None:
    """Raise `ValueError` for series of different lengths, which are no array.

    >>> refuse_series([[1.0, 2.0], [3.0, 4.0]])
    """
    if isinstance(X, Series) or is_ragged_list(X):
        raise ValueError(
            "X holds series of different lengths, but scikit-learn's estimators take arrays: fit them with hubel.fit(series, y), or cut them to one "
            "length"
        )


def weighted(
    inputs: np.ndarray, targets: np.ndarray, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Inputs [N, ...], targets [N, ...] and weights [N] without the examples of weight zero, which are no examples.

    Raises `ValueError` for weights of another shape, and for negative, missing or only zero ones.

    >>> weighted(np.zeros((3, 2)), np.array([5, 6, 7]), [1, 0, 2])[1:]
    (array([5, 7]), array([1., 2.], dtype=float32))
    """
    if weights is None:
        return inputs, targets, None
    weights = np.asarray(weights)
    if weights.shape != (len(inputs),):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; expected one weight per example, ({len(inputs)},)"
        )
    values = checked_weights(weights)
    if values.all():
        return inputs, targets, values
    kept = values > 0
    return inputs[kept], targets[kept], values[kept]
