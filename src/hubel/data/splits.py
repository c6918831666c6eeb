"""Which examples train, which decide, which are kept for the end.

Parts that came with the data are honoured: a given test part is never touched, a missing validation part is carved from train.
Otherwise: consecutive stretches where the examples are cut from one long series; whole groups where there are groups; the same share of
every class where there are classes (of masks and boxes, of the rarest class that each picture has); at random else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.core.random import numpy_generator
from hubel.data.boxes import rarest_objects
from hubel.data.dataset import PARTS, Dataset
from hubel.data.digests import pieces_of
from hubel.data.levels import PIECE, levels_of
from hubel.data.masks import rarest_classes
from hubel.data.targets import is_missing

TEST_SHARE = 0.2
MOST_VALIDATION = 5_000
SMALL = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitRows:
    """Row numbers of each part, how they were found, and the SHA-256 of all three.

    `train`, `validation` and `test` [N] (int64, sorted) each have an N of their own, which may be 0.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    how: str

    @property
    def sha256(self) -> str:
        """Equal exactly where the three parts have the same rows."""
        digest = hashlib.sha256()
        for rows in (self.train, self.validation, self.test):
            digest.update(f"{len(rows)}:".encode())
            for some in pieces_of(rows):
                digest.update(some.astype("<i8").tobytes())
        return digest.hexdigest()

    def check(self, num: int, groups: np.ndarray | None = None) -> None:
        """Raise `ValueError` where these are not rows of `num` examples, some stand in two parts (or some of the same of `groups` [N]), or none
        train.
        """
        for part in PARTS:
            rows = np.asarray(getattr(self, part))
            if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
                raise ValueError(
                    f"the {part} part is {rows.dtype} of shape {rows.shape}; expected row numbers [N] as whole numbers"
                )
            if len(rows) and not (rows.min() >= 0 and rows.max() < num):
                raise ValueError(
                    f"the {part} part names rows from {rows.min()} to {rows.max()}, but there are {num:,} examples: rows count from 0"
                )
        every = np.concatenate([np.asarray(getattr(self, part)) for part in PARTS])
        twice = len(every) - len(np.unique(every))
        if twice:
            raise ValueError(
                f"{twice:,} rows stand more than once in the split: every example belongs to one part"
            )
        if len(self.train) == 0:
            raise ValueError("the training part of the split is empty: expected rows to train on")
        if (numbers := _group_numbers(groups, num)) is not None:
            _refuse_parted(
                {part: np.asarray(getattr(self, part), np.int64) for part in PARTS}, numbers, groups
            )

    def __repr__(self) -> str:
        return f"SplitRows(train {len(self.train):,}, validation {len(self.validation):,}, test {len(self.test):,}: {self.how})"


def assign_parts(
    data: Dataset,
    *,
    seed: int,
    validation: float | None = None,
    test: float | None = None,
    groups: np.ndarray | Sequence[Any] | None = None,
    stratify: bool = True,
) -> SplitRows:
    """Rows of train, validation and test.

    `test` is a share of all examples or a whole number of them (default 20 %), `validation` of those that are left (default 15 %,
    from 2,000 examples on 10 %, at most 5,000); 0 leaves the part empty. `groups` [N] (default: those of the data) are never split
    apart; where one of them has more than half of all examples it is left to train on, and a share is one of the others. Classes with a single example stay in train, which `how` says.

    Raises `ValueError`: too few examples or groups, a group on both sides of a given split, a share given for a part that came with the data.

    >>> data = Dataset(inputs=np.zeros((100, 3)), targets=np.arange(100) % 2, classes=("a", "b"))
    >>> rows = assign_parts(data, seed=0)
    >>> len(rows.train), len(rows.validation), len(rows.test)
    (68, 12, 20)
    """
    if data.spans is not None and data.part is None:
        if groups is not None:
            raise ValueError(
                f"{data.name} is one long series, which is parted into stretches in order of time: leave the groups out"
            )
        return _in_order(data.spans, validation, test)
    groups = data.groups if groups is None else np.asarray(groups)
    numbers = _group_numbers(groups, len(data))
    given = _given_parts(data, numbers, groups)
    for part, share in (("validation", validation), ("test", test)):
        if share is not None and part in given:
            raise ValueError(
                f"{part}={share} was asked for, but the data came with a {part} part of {len(given[part]):,} examples, which is kept"
            )
    rest = given["train"] if "train" in given else _numbered(len(data))
    said = [f"{part} as given" for part in PARTS if part in given and part != "train"]
    strata, by = _strata(data) if stratify else (np.zeros(len(data), dtype=np.int64), "at random")
    generator = numpy_generator(seed, "split")
    parts: dict[str, np.ndarray] = {part: rows for part, rows in given.items() if part != "train"}
    for part, share in (("test", test), ("validation", validation)):
        if part in given:
            continue
        wanted = _count(part, share, len(rest))
        left = strata if len(rest) == len(strata) else strata[rest]
        if wanted == 0:
            chosen = np.zeros(len(rest), dtype=bool)
        elif numbers is not None:
            counted = share is not None and share >= 1
            chosen = _choose_groups(left, numbers[rest], wanted, generator, counted=counted)
        else:
            chosen = _choose_stratified(left, wanted, generator)
        if wanted and not chosen.any():
            raise ValueError(
                f"no class has an example to spare for the {part} part: {len(rest):,} examples are left, one of each class. Add examples, "
                f"or ask for no {part} part ({part}=0)"
            )
        parts[part], rest = rest[chosen], rest[~chosen]  # in order, as `rest` is
        if wanted:
            said.append(
                f"{part} {len(parts[part]):,} of {len(chosen):,} {'by whole groups' if numbers is not None else by}"
            )
    if len(rest) == 0:
        raise ValueError(
            f"nothing is left to train on: {len(data):,} examples, of which test and validation take all"
        )
    alone = _single_classes(data, rest, parts) if stratify and numbers is None else ""
    return SplitRows(
        train=rest.astype(np.int64, copy=False),
        validation=parts["validation"].astype(np.int64, copy=False),
        test=parts["test"].astype(np.int64, copy=False),
        how=f"{'; '.join(said)} (seed {seed}){alone}" if said else "all examples train",
    )


def _in_order(spans: np.ndarray, validation: float | None, test: float | None) -> SplitRows:
    """Stretches of the steps from first to last: train, validation, test. Examples that lie across a border are in none of them."""
    first, end = int(spans[:, 0].min()), int(spans[:, 1].max())
    longest = int((spans[:, 1] - spans[:, 0]).max())
    num_test = _count("test", test, end - first)
    num_validation = _count("validation", validation, end - first - num_test)
    borders = (first, end - num_test - num_validation, end - num_test, end)
    rows = {}
    for part, low, high in zip(PARTS, borders[:-1], borders[1:], strict=True):
        rows[part] = np.flatnonzero((spans[:, 0] >= low) & (spans[:, 1] <= high)).astype(np.int64)
        if not len(rows[part]) and (high > low or part == "train"):
            raise ValueError(
                f"the {part} part has {high - low:,} steps of {end - first:,}, but one window takes {longest:,} (the steps that are looked at and those "
                f"that follow): give a longer series, a smaller length, or another share"
                + (f", or do without this part ({part}=0)" if part != "train" else "")
            )
    inside = sum(map(len, rows.values()))
    how = f"in order of time: {borders[1] - first:,} steps train, {num_validation:,} validation, {num_test:,} test"
    across = (
        f"; {len(spans) - inside:,} windows across a border are in no part" if inside < len(spans) else ""
    )
    return SplitRows(**rows, how=how + across)


def _group_numbers(groups: np.ndarray | None, num: int) -> np.ndarray | None:
    if groups is None:
        return None
    if len(groups) != num:
        raise ValueError(
            f"groups has {len(groups):,} entries, but there are {num:,} examples: there must be one per example"
        )
    missing = [k for k, g in enumerate(groups.tolist()) if is_missing(g)]
    if missing:
        raise ValueError(
            f"{len(missing):,} examples have no group, first row {missing[0]}; give each a group, its own if it stands alone"
        )
    return np.unique(groups.astype(np.str_), return_inverse=True)[1]


def _given_parts(
    data: Dataset, numbers: np.ndarray | None, groups: np.ndarray | None
) -> dict[str, np.ndarray]:
    if data.part is None:
        return {}
    given = {part: rows for part in PARTS if len(rows := np.flatnonzero(data.part == part))}
    if sum(map(len, given.values())) != len(data):
        unknown = sorted(set(np.unique(data.part).tolist()) - set(PARTS))
        raise ValueError(
            f"the data name the parts {', '.join(map(repr, unknown))}; expected {', '.join(PARTS)}"
        )
    if "train" not in given:
        raise ValueError(
            f"the data came with parts ({', '.join(given)}), but none is called train; expected a train part"
        )
    if numbers is not None:
        _refuse_parted(given, numbers, groups)
    return given


def _refuse_parted(given: Mapping[str, np.ndarray], numbers: np.ndarray, groups: Any) -> None:
    """Raise `ValueError` where a group stands in two parts."""
    names = list(given)
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            shared = np.intersect1d(numbers[given[first]], numbers[given[second]])
            if len(shared):
                shown = ", ".join(str(groups[np.flatnonzero(numbers == g)[0]]) for g in shared[:10])
                raise ValueError(
                    f"{len(shared):,} groups are in both the given {first} part and the given {second} part: {shown}. Scores would be "
                    "too good; correct the split, or leave the groups out"
                )


def _strata(data: Dataset) -> tuple[np.ndarray, str]:
    if data.has_boxes:
        assert data.classes is not None
        return rarest_objects(
            data.targets, len(data.classes)
        ), "with the same share of each rarest class of an object"
    if data.has_masks:
        assert data.classes is not None
        return rarest_classes(
            data.targets, len(data.classes)
        ), "with the same share of each rarest class of a mask"
    if data.classes is None or data.targets.ndim > 1:
        return np.zeros(len(data), dtype=np.int64), "at random"
    return data.targets, "with the same share of each class"


def _count(part: str, share: float | None, available: int) -> int:
    if share is None:
        usual = (0.15 if available < SMALL else 0.1) if part == "validation" else TEST_SHARE
        wanted = max(1, round(usual * available))
        wanted = min(wanted, MOST_VALIDATION) if part == "validation" else wanted
    elif isinstance(share, bool) or not share >= 0 or (share >= 1 and share != int(share)):
        raise ValueError(f"{part}={share!r}: expected a share from 0 to 1, or a whole number of examples")
    else:
        wanted = max(1, round(share * available)) if 0 < share < 1 else int(share)
    if wanted >= available:
        raise ValueError(
            f"{part} would take {wanted:,} of {available:,} examples, which leaves none to train on; give fewer"
        )
    return wanted


def _choose_stratified(strata: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
    levels, sizes = levels_of(strata)
    quota = sizes * (wanted / len(strata))
    take = np.floor(quota).astype(np.int64)
    while (
        take.sum() < wanted and (take < sizes - 1).any()
    ):  # largest remainders first; every class keeps an example to train on
        remainder = np.where(take < sizes - 1, quota - take, -np.inf)
        best = np.argsort(-remainder, kind="stable")[: wanted - take.sum()]
        take[best[remainder[best] > -np.inf]] += 1
    order = _numbered(len(strata))
    generator.shuffle(order)
    chosen = np.zeros(len(strata), dtype=bool)
    for start in range(0, len(order), PIECE):  # of every level those that come first in this order
        some = order[start : start + PIECE]
        number = np.searchsorted(levels, strata[some])
        by_level = np.argsort(number, kind="stable")
        counts = np.bincount(number, minlength=len(levels))
        ends = np.cumsum(counts)
        for level in np.flatnonzero((take > 0) & (counts > 0)):
            chosen[some[by_level[ends[level] - counts[level] : ends[level]][: take[level]]]] = True
        take = np.maximum(take - counts, 0)
    return chosen


def _numbered(num: int) -> np.ndarray:
    """The numbers from 0 on [N], in half the memory where they are small enough."""
    return np.arange(num, dtype=np.int32 if num < 2**31 else np.int64)


def _choose_groups(
    strata: np.ndarray, numbers: np.ndarray, wanted: int, generator: np.random.Generator, *, counted: bool
) -> np.ndarray:
    """Whole groups, largest first, each taken where that brings the part's class counts closer to their share.

    A group with more than half of all examples is left where a smaller part is wanted, and the share is one of the others, unless examples were
    `counted`: of 30 pictures, of which one makes 1,296 of 1,325 tiles, a fifth of all tiles would be all the others.
    """
    found, number = np.unique(numbers, return_inverse=True)
    if len(found) < 2:
        raise ValueError(
            "too few groups: one is left to train on and to take a part from; expected at least 3 groups in all. Give more (a large picture as several files), or "
            "do without a part (test=0, validation=0; --test 0, --validation 0)"
        )
    _, stratum = np.unique(strata, return_inverse=True)
    table = np.zeros((len(found), stratum.max() + 1))
    np.add.at(table, (number, stratum), 1)
    sizes = table.sum(1)
    others = sizes <= len(strata) / 2
    if counted or 2 * wanted > len(strata):
        others[:] = True
    aim = table[others].sum(0) * (wanted / len(strata))
    order = generator.permutation(len(found))
    order = order[np.argsort(-sizes[order], kind="stable")]
    have, taken = np.zeros_like(aim), []
    for g in order[others[order]]:
        if ((have + table[g] - aim) ** 2).sum() < ((have - aim) ** 2).sum() and len(taken) < len(found) - 1:
            have += table[g]
            taken.append(g)
    if not taken:  # every group is larger than the part should be: the smallest
        taken = [order[-1]]
    return np.isin(number, taken)


def _single_classes(data: Dataset, train: np.ndarray, parts: dict[str, np.ndarray]) -> str:
    if data.classes is None or data.targets.ndim > 1:
        return ""
    num = len(data.classes)
    held = sum((_counts(data.targets, rows, num) for rows in parts.values()), np.zeros(num, np.int64))
    only = [data.classes[k] for k in np.flatnonzero((_counts(data.targets, train, num) > 0) & (held == 0))]
    if not only or not any(len(rows) for rows in parts.values()):
        return ""
    return f"; too few examples of {', '.join(only[:10])}{' …' if len(only) > 10 else ''} for validation and test: they only train"


def _counts(targets: np.ndarray, rows: np.ndarray, num: int) -> np.ndarray:
    """How many of these rows have each of `num` classes."""
    found = np.zeros(num, np.int64)
    for start in range(0, len(rows), PIECE):
        found += np.bincount(targets[rows[start : start + PIECE]], minlength=num)
    return found
