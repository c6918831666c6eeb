"""The different values of a long column, and the places of its entries among them, without sorting all of it at once."""

from __future__ import annotations

from typing import Any

import numpy as np

PIECE = 1_000_000  # entries that are looked at together
MOST = 200_000  # different values up to which they are collected piece by piece


def levels_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values [K] of `values` [N] in order, and how often each occurs [K].

    >>> levels_of(np.array([3, 1, 3, 2]))
    (array([1, 2, 3]), array([1, 1, 2]))
    """
    counts: dict[Any, int] = {}
    for start in range(0, len(values), PIECE):
        found = np.unique(values[start : start + PIECE], return_counts=True)
        for level, count in zip(*(part.tolist() for part in found), strict=True):
            counts[level] = counts.get(level, 0) + count
        if len(counts) > MOST:  # a sort of all takes less memory than a Python object each
            return np.unique(values, return_counts=True)
    levels = sorted(counts)
    return np.array(levels, values.dtype), np.array([counts[level] for level in levels], np.int64)


def places_among(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The place of each of `values` [N] among the `levels` [K] in order, in which it is: int64 [N].

    >>> places_among(np.array([3, 1, 3, 2]), np.array([1, 2, 3]))
    array([2, 0, 2, 1])
    """
    found = np.empty(len(values), np.int64)
    for start in range(0, len(values), PIECE):
        found[start : start + PIECE] = np.searchsorted(levels, values[start : start + PIECE])
    return found
