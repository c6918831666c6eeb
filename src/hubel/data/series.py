"""Series of different lengths as one array, with the lengths beside it: light curves, spectra, tracks, recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.arrays import stored_values
from hubel.data.storage import room_for
from hubel.data.targets import as_numpy


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """`values` [N, L, F], zero beyond the `lengths` [N] (int64) of the series; L is that of the longest.

    A network of sequences takes them as `net(x, lengths)`.

    >>> series = pad_series([[1.0, 2.0, 3.0], [4.0]])
    >>> series, series.values[1, :, 0].tolist()
    (Series(2 of 1 to 3 steps, 1 feature, float64), [4.0, 0.0, 0.0])
    """

    values: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        features = self.values.shape[2]
        return (
            f"Series({len(self):,} of {self.lengths.min():,} to {self.lengths.max():,} steps, "
            f"{features} feature{'' if features == 1 else 's'}, {self.values.dtype})"
        )

    @property
    def mask(self) -> np.ndarray:
        """[N, L], True where there is a step."""
        return np.arange(self.values.shape[1]) < self.lengths[:, None]

    def __getitem__(self, row: int) -> np.ndarray:
        """Series number `row` [L_i, F], without its padding."""
        return self.values[row, : self.lengths[row]]

    def scale(self, rows: np.ndarray | Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [F] of each feature over the steps of these series (pass the training ones; default all).

        A feature that never changes keeps a standard deviation of 1.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        steps = self.values[rows][self.mask[rows]].astype(np.float64)
        mean, std = steps.mean(axis=0), steps.std(axis=0)
        return mean, np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-300), std, 1.0)


def pad_series(series: Sequence[Any]) -> Series:
    """`series`, a list of arrays [L_i, F] or [L_i], as one array.

    The type is the smallest that holds all of theirs.

    Raises `ValueError` for series without a step or with different numbers of features, `UnreadableData` for NaN and infinite
    values, each naming the series.
    """
    if not len(series):
        raise ValueError("there are no series: expected a list of arrays [L, F]")
    arrays = [_steps(one, row) for row, one in enumerate(series)]
    features = arrays[0].shape[1]
    other = [row for row, array in enumerate(arrays) if array.shape[1] != features]
    if other:
        raise ValueError(
            f"series 0 has {features} features a step, but series {other[0]} has {arrays[other[0]].shape[1]} ({len(other):,} of "
            f"{len(arrays):,} differ); expected one number of features: arrays [L, F] with time along the first axis"
        )
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    values = room_for((len(arrays), int(lengths.max()), features), np.result_type(*arrays))
    values[:] = 0
    for row, array in enumerate(arrays):
        values[row, : len(array)] = array
    return Series(values=values, lengths=lengths)


def _steps(one: Any, row: int) -> np.ndarray:
    """One series as [L, F]."""
    array, _ = stored_values(as_numpy(one, f"series {row}"), f"series {row}")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"series {row} has shape {array.shape}; expected [L, F] or [L], with at least one step. Leave empty series out"
        )
    wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if wrong.any():
        raise UnreadableData(
            f"series {row} holds NaN or infinite values in {int(wrong.sum()):,} of {len(array):,} steps (first in step "
            f"{int(wrong.argmax())}). Remove these steps"
        )
    return array.reshape(len(array), -1)
