"""Examples that occur twice: within train they count double, across parts they let a network be examined on what it learned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data.dataset import PARTS, Dataset
from hubel.data.digests import SIZE, digests_of
from hubel.data.rows import Rows
from hubel.data.splits import SplitRows

PIECE = 1_000_000
NAMED = 10  # sets
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
    for k, name in enumerate(PARTS):
        part[getattr(rows, name)] = k
    across = dict.fromkeys(PAIRS, 0)
    within, conflicting = 0, 0
    leaked, shared, others = [np.empty(0, np.int64)], [], []  # rows, and sets across parts and within one
    for suspects in _suspects(data.keys(), part >= 0):
        members, number = _sets(data.inputs, suspects)
        if not len(members):
            continue
        where = part[members]
        counts = np.bincount(3 * number + where, minlength=3 * (number[-1] + 1)).reshape(-1, 3)
        for (a, b), (i, j) in zip(PAIRS, ((0, 1), (0, 2), (1, 2)), strict=True):
            across[a, b] += int(counts[counts[:, j] > 0, i].sum())
        within += int(np.maximum(counts[:, 0] - 1, 0).sum())
        conflicting += _num_conflicting(data, members, number)
        beyond_train = counts[:, 1:].sum(axis=1) > 0
        leaked.append(members[(where == 0) & beyond_train[number]])
        in_several = (counts > 0).sum(axis=1) > 1
        starts = np.searchsorted(number, np.arange(len(counts) + 1))
        for named, chosen in ((shared, in_several), (others, ~in_several)):
            for k in np.flatnonzero(chosen)[: NAMED - len(named)]:
                named.append(members[starts[k] : starts[k + 1]])
    return Duplicates(
        within_train=within,
        across=across,
        conflicting=conflicting,
        ids=tuple(tuple(_name(data, row) for row in one[:5]) for one in [*shared, *others][:NAMED]),
        leaked=np.sort(np.concatenate(leaked)),
    )


def _suspects(keys: np.ndarray, used: np.ndarray) -> Iterator[np.ndarray]:
    """The `used` [N] rows whose `keys` [N] (uint64) occur twice, among which are all duplicates: in parts, of those whose keys begin with the
    same bits, as sorting all of them would take as much memory again.
    """
    pieces = [slice(start, min(start + PIECE, len(keys))) for start in range(0, len(keys), PIECE)]
    bits = min(3, max(0, len(pieces) - 1).bit_length())
    for first in range(2**bits):

        def wanted(piece: slice, first: int = first) -> np.ndarray:
            return used[piece] & (keys[piece] >> np.uint64(64 - bits) == first) if bits else used[piece]

        some = np.concatenate([np.empty(0, np.uint64), *(keys[piece][wanted(piece)] for piece in pieces)])
        some.sort()
        repeated = np.unique(some[1:][some[1:] == some[:-1]])
        del some
        if not len(repeated):
            continue
        found = []
        for piece in pieces:
            rows = np.flatnonzero(wanted(piece))
            place = np.searchsorted(repeated, keys[piece][rows]).clip(max=len(repeated) - 1)
            found.append(piece.start + rows[repeated[place] == keys[piece][rows]])
        yield np.concatenate(found)


def _sets(inputs: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of these rows those that are equal to another, set by set, and the number of the set, from 0, that each is in."""
    kind, counts = _kinds(inputs, rows)
    repeated = np.flatnonzero(counts[kind] > 1)
    order = repeated[np.argsort(kind[repeated], kind="stable")]
    return rows[order], (np.cumsum(counts > 1) - 1)[kind[order]]


def _kinds(inputs: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each of these rows, equal where the stored values are, and how many rows have each number."""
    digests = np.concatenate([np.empty(0, f"V{SIZE}"), *digests_of(Rows(inputs, rows))])
    _, kind, counts = np.unique(digests, return_inverse=True, return_counts=True)
    return kind, counts


def _num_conflicting(data: Dataset, members: np.ndarray, number: np.ndarray) -> int:
    """How many sets of equal inputs have different targets."""
    if data.is_its_own_target:
        return 0
    targets: Any = data.targets
    first = members[np.searchsorted(number, number)]  # of the same set
    step = max(1, PIECE // max(1, math.prod(targets.shape[1:])))
    found = [np.empty(0, np.int64)]
    for start in range(0, len(members), step):
        some = slice(start, start + step)
        unlike = (targets[members[some]] != targets[first[some]]).reshape(len(members[some]), -1).any(axis=1)
        found.append(number[some][unlike])
    return len(np.unique(np.concatenate(found)))


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
