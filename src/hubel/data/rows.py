"""Some rows of an array, without copying them: what the parts of a dataset hold while a network is fitted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

SOME = 2**18  # rows of a mapped file that are gathered at a time


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


class Counted:
    """The numbers `first`, `first` + 1, …, one a row, or those of some `rows`, which are not held but made where they are asked for.

    >>> ids = Counted(5, first=1)
    >>> np.asarray(ids).tolist(), ids[2], ids[np.array([0, 4])].tolist()
    ([1, 2, 3, 4, 5], 3, [1, 5])
    """

    ndim, dtype = 1, np.dtype(np.int64)

    def __init__(self, rows: int | np.ndarray, *, first: int = 0):
        self.rows, self.first = rows, first
        self.shape = (rows if isinstance(rows, int) else len(rows),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> Any:
        """A number, for one place; else what stands for the numbers of some."""
        if isinstance(which, (int, np.integer)):
            place = range(len(self))[which]
            return self.first + (place if isinstance(self.rows, int) else int(self.rows[place]))
        if isinstance(self.rows, int):
            held = isinstance(which, np.ndarray) and which.dtype.kind in "iu"
            if held and (not len(which) or 0 <= which.min() <= which.max() < self.rows):
                return Counted(which, first=self.first)
            return Counted(np.arange(self.rows)[which], first=self.first)
        return Counted(self.rows[which], first=self.first)

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("these numbers have to be made, which copies them")
        rows = np.arange(self.rows) if isinstance(self.rows, int) else self.rows
        return (rows + self.first).astype(self.dtype if dtype is None else dtype, copy=False)

    def tolist(self) -> list[int]:
        """All of them."""
        return np.asarray(self).tolist()


def gather(base: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`base[rows]` as an array in memory; a memory-mapped file is read in the order of the disk."""
    if not isinstance(base, np.memmap) or np.ndim(rows) == 0:
        return np.asarray(base[rows])
    order = np.argsort(rows, kind="stable")
    found, mapped = np.empty((len(rows), *base.shape[1:]), base.dtype), np.asarray(base)
    for start in range(0, len(rows), SOME):
        some = order[start : start + SOME]
        found[some] = mapped[rows[some]]
    return found
