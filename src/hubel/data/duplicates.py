"""Examples that occur twice: within train they count double, across parts they let a network be examined on what it learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.splits import SplitRows

PIECE = 1_000_000
PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """Exact duplicates (equal stored values, bit by bit) and where they are.

    `within_train` counts training examples beyond the first of each kind; `across` counts, for each pair of parts, the examples of
    the first that also occur in the second; `conflicting` counts sets of equal inputs with different targets. `ids` names up to ten sets.
    `leaked` [N] (int64, sorted) are the N training rows that also occur in validation or test.
    """

    within_train: int
    across: dict[tuple[str, str], int]
    conflicting: int
    ids: tuple[tuple[str, ...], ...]
    leaked: np.ndarray

    def __bool__(self) -> bool:
        return bool(self.within_train or any(self.across.values()))

    def __str__(self) -> str:
        if not self:
            return "No exact duplicates."
        said = [f"{n:,} of {a} also in {b}" for (a, b), n in self.across.items() if n]
        if self.within_train:
            said.append(f"{self.within_train:,} repeated within train")
        conflict = f"; {self.conflicting:,} sets have different targets" if self.conflicting else ""
        return f"Exact duplicates: {', '.join(said)}{conflict}; for example {' = '.join(self.ids[0])}."


def duplicates(data: Dataset, rows: SplitRows) -> Duplicates:
    """The exact duplicates of a split.

    >>> data = Dataset(inputs=np.array([[1], [2], [2], [3]]), targets=np.array([0, 1, 1, 0]), classes=("a", "b"))
    >>> none = np.empty(0, np.int64)
    >>> print(duplicates(data, SplitRows(train=np.array([0, 1]), validation=none, test=np.array([2, 3]), how="by hand")))
    Exact duplicates: 1 of train also in test; for example row 1 = row 2.
    """
    part = np.full(len(data), -1, dtype=np.int8)
    for k, name in enumerate(("train", "validation", "test")):
        part[getattr(rows, name)] = k
    used = _suspects(data.digests, part >= 0)
    _, kind, counts = np.unique(data.digests[used], return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[kind] > 1)  # positions in `used`
    order = repeated[np.argsort(kind[repeated], kind="stable")]
    sets = np.split(used[order], np.flatnonzero(np.diff(kind[order])) + 1) if len(order) else []
    across = dict.fromkeys(PAIRS, 0)
    within, conflicting, leaked = 0, 0, []
    for members in sets:
        parts = part[members]
        for (a, b), (i, j) in zip(PAIRS, ((0, 1), (0, 2), (1, 2)), strict=True):
            if (parts == j).any():
                across[a, b] += int((parts == i).sum())
        within += max(0, int((parts == 0).sum()) - 1)
        conflicting += bool((data.targets[members] != data.targets[members[0]]).any())
        if (parts > 0).any():
            leaked.extend(members[parts == 0].tolist())
    first = sorted(sets, key=lambda members: len(np.unique(part[members])) == 1)[
        :10
    ]  # those across parts first
    return Duplicates(
        within_train=within,
        across=across,
        conflicting=conflicting,
        ids=tuple(tuple(_name(data, row) for row in members[:5]) for members in first),
        leaked=np.array(sorted(leaked), dtype=np.int64),
    )


def _suspects(digests: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The `used` [N] rows of which the first 8 bytes of the digest occur twice: among them are all duplicates.

    Sorting 8 bytes an example takes a tenth of the memory that sorting whole digests with their places takes.
    """
    keys = np.ascontiguousarray(digests).view(np.uint64)[::2]
    ordered = np.sort(keys[used])
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.empty(0, dtype=np.int64)
    found = []
    for start in range(0, len(keys), PIECE):
        some = keys[start : start + PIECE]
        place = np.searchsorted(repeated, some).clip(max=len(repeated) - 1)
        found.append(start + np.flatnonzero((repeated[place] == some) & used[start : start + PIECE]))
    return np.concatenate(found)


def without_leaks(data: Dataset, rows: SplitRows) -> SplitRows:
    """The same split less the training rows whose input also occurs in validation or test; those parts stay as they are."""
    leaked = duplicates(data, rows).leaked
    if not len(leaked):
        return rows
    return SplitRows(
        train=np.setdiff1d(rows.train, leaked),
        validation=rows.validation,
        test=rows.test,
        how=f"{rows.how}; {len(leaked):,} duplicates of validation or test examples left out of train",
    )


def _name(data: Dataset, row: int) -> str:
    return str(data.ids[row]) if data.ids is not None else f"row {row}"
