"""Series of different lengths as one array, with the lengths beside it: light curves, spectra, tracks, recordings, films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.arrays import Nan, finite, stored_values
from hubel.data.storage import room_for
from hubel.data.targets import as_numpy

SeriesKind = Literal["series", "image series"]
AXES: dict[SeriesKind, str] = {"series": "[L, F] or [L]", "image series": "[T, C, H, W] or [T, H, W]"}
WHAT: dict[SeriesKind, tuple[str, str]] = {
    "series": ("features a step", "number of features"),
    "image series": ("values a picture", "size of pictures"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """`values` [N, L, F] (of pictures [N, T, C, H, W]), zero beyond the `lengths` [N] (int64) of the series; L is that of the longest.

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
        what = f"{self.values.shape[2]} feature{'' if self.values.shape[2] == 1 else 's'}"
        if self.values.ndim > 3:
            what = f"pictures of {' × '.join(map(str, self.values.shape[2:]))}"
        return f"Series({len(self):,} of {self.lengths.min():,} to {self.lengths.max():,} steps, {what}, {self.values.dtype})"

    @property
    def mask(self) -> np.ndarray:
        """[N, L], True where there is a step."""
        return np.arange(self.values.shape[1]) < self.lengths[:, None]

    @property
    def is_ragged(self) -> bool:
        """Whether a series is shorter than the array."""
        return bool((self.lengths < self.values.shape[1]).any())

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


def pad_series(
    series: Sequence[Any],
    *,
    kind: SeriesKind = "series",
    names: Sequence[str] | None = None,
    refuse_nan: bool = True,
) -> Series:
    """`series`, a list of arrays [L_i, F] or [L_i], as one array; of `kind` "image series", of arrays [T_i, C, H, W] or [T_i, H, W].

    The type is the smallest that holds all of theirs. `names` [N] are what errors call the series.

    Raises `ValueError` for series without a step or with different numbers of features, `UnreadableData` for NaN and infinite
    values (unless `refuse_nan` is false), each naming the series.
    """
    if not len(series):
        raise ValueError(f"there are no series: expected a list of arrays {AXES[kind]}")
    called = [f"series {row}" for row in range(len(series))] if names is None else list(names)
    arrays = [_steps(one, called[row], kind, refuse_nan) for row, one in enumerate(series)]
    inner = arrays[0].shape[1:]
    other = [row for row, array in enumerate(arrays) if array.shape[1:] != inner]
    if other:
        raise ValueError(
            f"{called[0]} has {_size(inner)} {WHAT[kind][0]}, but {called[other[0]]} has {_size(arrays[other[0]].shape[1:])} "
            f"({len(other):,} of {len(arrays):,} differ); expected one {WHAT[kind][1]}: arrays {AXES[kind].partition(' or')[0]} with time "
            "along the first axis"
        )
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    try:
        values = room_for((len(arrays), int(lengths.max()), *inner), np.result_type(*arrays))
    except ValueError as error:
        raise ValueError(
            f"{str(error).partition(' Make the pictures')[0]} Every series takes as much room as the longest, which has {lengths.max():,} steps (half of "
            f"them have {np.median(lengths):,.0f} at most): cut the longest ones, or take fewer"
        ) from error
    values[:] = 0
    for row, array in enumerate(arrays):
        values[row, : len(array)] = array
    return Series(values=values, lengths=lengths)


def series_of(
    x: Any, kind: SeriesKind = "series", *, lengths: Any = None, nan: Nan = "refuse"
) -> tuple[Series, tuple[str, ...]]:
    """What a user may call series: a `Series`, a list of arrays, or one array [N, L, F] ([N, L] for one feature), with `lengths` [N]
    or all of one length; of pictures [N, T, C, H, W] or [N, T, H, W]. With notes on what was changed.

    NaN and infinite values are refused, or set to zero with `nan="zero"`.

    Raises what `pad_series` raises, and `ValueError` for other axes and for lengths that can not be.
    """
    if isinstance(x, Series):
        if lengths is not None:
            raise ValueError("x is a Series, which holds its lengths: leave lengths= out")
        found, notes = x, ()
    elif _is_list(x) and lengths is None:
        found, notes = pad_series(list(x), kind=kind, refuse_nan=nan == "refuse"), ()
    else:
        found, notes = _of_array(as_numpy(x, "x"), kind, lengths)
        if nan == "refuse":
            _refuse_nan(found)
    values, counted = finite(found.values, nan)
    return Series(values=values, lengths=found.lengths), (*notes, *counted)


def is_ragged_list(x: Any) -> bool:
    """Whether `x` is a list (or an array of Python objects) of arrays [L_i, F] or [L_i] of different lengths.

    >>> is_ragged_list([[1, 2, 3], [4]]), is_ragged_list([[1, 2], [3, 4]]), is_ragged_list(["ab", "c"])
    (True, False, False)
    """
    if not _is_list(x) or not len(x):
        return False
    shapes = {_shape(one) for one in x}
    axes, inner = {len(shape) for shape in shapes}, {shape[1:] for shape in shapes}
    return len(shapes) > 1 and axes <= {1, 2} and len(axes) == 1 and len(inner) == 1


def is_list_of_series(x: Any, *, axes: int = 2) -> bool:
    """Whether `x` holds series of `axes` axes one by one: a list (or a row of Python objects) of arrays or nested lists. Numbers in a row
    are one series.

    >>> is_list_of_series([[1.0, 2.0]]), is_list_of_series([1.0, 2.0]), is_list_of_series([[[1.0]]], axes=1)
    (True, False, False)
    """
    return _is_list(x) and len(x) > 0 and len(_shape(x[0])) in (axes - 1, axes)


def _is_list(x: Any) -> bool:
    return isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1)


def _shape(one: Any) -> tuple[int, ...]:
    """The shape of an array or of nested lists; () for what is none. Only the first entry of a list is looked into."""
    if hasattr(one, "shape"):
        return tuple(one.shape)
    if not isinstance(one, (list, tuple)):
        return ()
    return (len(one), *(_shape(one[0]) if len(one) else ()))


def _steps(one: Any, name: str, kind: SeriesKind, refuse_nan: bool) -> np.ndarray:
    """One series as [L, F], or [T, C, H, W]."""
    array, _ = stored_values(as_numpy(one, name), name)
    axes = 2 if kind == "series" else 4
    if array.ndim not in (axes - 1, axes) or 0 in array.shape:
        raise ValueError(
            f"{name} has shape {array.shape}; expected {AXES[kind]}, with at least one step. Leave empty series out"
        )
    if array.ndim < axes:
        array = array[:, None]
    wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if refuse_nan and wrong.any():
        raise UnreadableData(
            f"{name} holds NaN or infinite values in {int(wrong.sum()):,} of {len(array):,} steps (first in step "
            f'{int(wrong.argmax())}). Remove these steps, or set the values to zero with nan="zero"'
        )
    return array


def _of_array(array: np.ndarray, kind: SeriesKind, lengths: Any) -> tuple[Series, tuple[str, ...]]:
    axes = 3 if kind == "series" else 5
    if array.ndim not in (axes - 1, axes) or array.size == 0:
        expected = "[N, L, F] or [N, L]" if kind == "series" else "[N, T, C, H, W] or [N, T, H, W]"
        raise ValueError(
            f"x has shape {array.shape}; expected {kind} {expected}, a list of arrays {AXES[kind]}, or a hubel.data.Series, none of "
            "them empty"
        )
    values, notes = stored_values(array, "x")
    if values.ndim < axes:
        values = values[:, :, None]
    if lengths is None:
        return Series(values=values, lengths=np.full(len(values), values.shape[1], np.int64)), notes
    found = _checked_lengths(lengths, values)
    beyond = np.arange(values.shape[1]) >= found[:, None]
    if (values[beyond] != 0).any():  # NaN counts too
        values = values.copy()
        values[beyond] = 0
    return Series(values=values, lengths=found), notes


def _checked_lengths(lengths: Any, values: np.ndarray) -> np.ndarray:
    found = as_numpy(lengths, "lengths")
    if found.shape != (len(values),) or found.dtype.kind not in "iu":
        raise ValueError(
            f"lengths have shape {found.shape} and type {found.dtype}; expected {len(values):,} whole numbers, one a series"
        )
    found = found.astype(np.int64)
    wrong = np.flatnonzero((found < 1) | (found > values.shape[1]))
    if len(wrong):
        raise ValueError(
            f"series {wrong[0]} has the length {found[wrong[0]]} ({len(wrong):,} of {len(found):,} are wrong); expected 1 to "
            f"{values.shape[1]}. Leave empty series out"
        )
    return found


def _refuse_nan(series: Series) -> None:
    flat = series.values.reshape(*series.values.shape[:2], -1)
    wrong: np.ndarray = (~np.isfinite(flat)).sum(axis=2)  # values in each step [N, L]
    rows = np.flatnonzero(wrong.sum(axis=1))
    if len(rows):
        raise UnreadableData(
            f"{len(rows):,} of {len(series):,} series hold NaN or infinite values, first series {rows[0]} in step "
            f'{int(np.flatnonzero(wrong[rows[0]])[0])} of {series.lengths[rows[0]]}. Remove these steps, or set the values to zero with nan="zero"'
        )


def _size(inner: tuple[int, ...]) -> str:
    return " × ".join(map(str, inner))
