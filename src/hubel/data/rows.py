"""Some rows of an array, without copying them: what the parts of a dataset hold while a network is fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Rows:
    """`base[rows]`, read only where it is asked for.

    It has the shape and type of the array that it stands for; a slice or an array of row numbers gives a real array, and
    `np.asarray` the whole of it.

    >>> part = Rows(np.arange(10) * 10, np.array([1, 3, 5]))
    >>> part.shape, part[1:].tolist(), np.asarray(part).tolist()
    ((3,), [30, 50], [10, 30, 50])
    """

    def __init__(self, base: np.ndarray, rows: np.ndarray):
        self.whole = base
        self.rows = rows
        self.shape = (len(rows), *base.shape[1:])
        self.dtype = base.dtype
        self.ndim = base.ndim

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the array that it stands for."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, which: Any) -> np.ndarray:
        return gather(self.whole, self.rows[which])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("these rows have to be gathered, which copies them")
        found = gather(self.whole, self.rows)
        return found if dtype is None else found.astype(dtype)


def gather(base: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`base[rows]` as an array in memory; a memory-mapped file is read in the order of the disk."""
    if not isinstance(base, np.memmap) or np.ndim(rows) == 0:
        return np.asarray(base[rows])
    order = np.argsort(rows, kind="stable")
    found = np.empty((len(rows), *base.shape[1:]), base.dtype)
    found[order] = base[rows[order]]
    return found
