"""Examples that occur twice: within train they count double, across parts they let a network be examined on what it learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.digests import SIZE, digests_of
from hubel.data.rows import Rows
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
    used = _suspects(data.keys(), part >= 0)
    kind, counts = _kinds(data.inputs, used)
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


def _suspects(keys: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The `used` [N] rows whose `keys` [N] (uint64) occur twice: among them are all duplicates.

    The keys are sorted in parts, of those that begin with the same bits: sorting all of them would take as much memory again.
    """
    pieces = [slice(start, start + PIECE) for start in range(0, len(keys), PIECE)]
    bits = min(3, (len(pieces) - 1).bit_length())
    found = []
    for first in range(2**bits):
        some = np.concatenate([_beginning(keys[piece][used[piece]], first, bits) for piece in pieces])
        some.sort()
        found.append(np.unique(some[1:][some[1:] == some[:-1]]))
    repeated = np.concatenate(found)  # in order, as their first bits are
    if not len(repeated):
        return np.empty(0, dtype=np.int64)
    found = []
    for piece in pieces:
        place = np.searchsorted(repeated, keys[piece]).clip(max=len(repeated) - 1)
        found.append(piece.start + np.flatnonzero((repeated[place] == keys[piece]) & used[piece]))
    return np.concatenate(found)


def _beginning(keys: np.ndarray, first: int, bits: int) -> np.ndarray:
    """The keys whose first bits are the number `first`."""
    return keys if bits == 0 else keys[keys >> np.uint64(64 - bits) == first]


def _kinds(inputs: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each of these rows, equal where the stored values are, and how many rows have each number."""
    digests = np.concatenate([np.empty(0, f"V{SIZE}"), *digests_of(Rows(inputs, rows))])
    _, kind, counts = np.unique(digests, return_inverse=True, return_counts=True)
    return kind, counts


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


def num_kinds(data: Dataset, rows: np.ndarray) -> int:
    """How many different examples there are among these rows.

    >>> num_kinds(Dataset(inputs=np.array([[1], [2], [2]]), targets=np.array([0, 1, 1]), classes=("a", "b")), np.arange(3))
    2
    """
    return len(_kinds(data.inputs, rows)[1])


def _name(data: Dataset, row: int) -> str:
    return str(data.ids[row]) if data.ids is not None else f"row {row}"
