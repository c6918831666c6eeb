"""From a source to the parts of the data, scaled and checked: everything before a network is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data import Dataset, SplitRows
from hubel.data.duplicates import duplicates, num_kinds, without_leaks
from hubel.data.preprocessing import Preprocessing, scaling_of
from hubel.data.splits import assign_parts


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A dataset with its parts and its scaling. `rows` are those of the whole dataset."""

    whole: Dataset
    rows: Mapping[str, np.ndarray]
    how: str
    split_sha256: str
    scaling: Preprocessing
    duplicates: Mapping[str, Any]

    def part(self, name: str) -> Dataset:
        """The part called `name`: train, validation or test."""
        return self.whole.view(self.rows[name])


def prepare(
    whole: Dataset,
    *,
    seed: int,
    validation: float | None = None,
    test: float | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    precision: str = "float32",
    given: SplitRows | None = None,
) -> Prepared:
    """Split (or take the split that was `given`), look for duplicates across parts, and take the scaling from the training part."""
    if len(whole) == 0:
        raise ValueError(f"{whole.name} has no examples")
    if given is None:
        split = assign_parts(whole, seed=seed, validation=validation, test=test, groups=groups)
    else:
        split = given
    found = duplicates(whole, split)
    sentence = str(found) if found else ""
    left_out = 0
    if len(found.leaked) and len(whole.shape) in (3, 4):
        if len(found.leaked) == len(split.train):
            raise ValueError(_nothing_of_its_own(whole, split, given is not None))
        split, left_out = without_leaks(whole, split), len(found.leaked)
        sentence += f" The {left_out:,} training examples that also stand in validation or test were left out of training."
    elif len(found.leaked):
        sentence += (
            " They were kept: a text may repeat itself."
            if whole.alphabet is not None
            else " They were kept: a series may repeat itself."
            if whole.spans is not None
            else " They were kept: series may be equal by chance; where they are copies, give them a group."
            if whole.kind == "series"
            else " They were kept: rows of a table may be equal by chance; where they are copies, give them a group."
        )
    rows = {"train": split.train, "validation": split.validation, "test": split.test}
    return Prepared(
        whole=whole,
        rows=rows,
        how=split.how,
        split_sha256=split.sha256,
        scaling=scaling_of(whole.view(split.train), precision=precision),
        duplicates={
            "sentence": sentence,
            "within_train": found.within_train,
            "across": {f"{a} in {b}": count for (a, b), count in found.across.items()},
            "conflicting": found.conflicting,
            "left_out_of_train": left_out,
            "examples": [list(names) for names in found.ids[:5]],
        },
    )


def _nothing_of_its_own(whole: Dataset, split: SplitRows, given: bool) -> str:
    """Why no training example is left when those that also stand in validation or test are taken out, and what to do."""
    rows = np.concatenate([split.train, split.validation, split.test])
    kinds = num_kinds(whole, rows)
    if kinds == 1:
        return (
            f"{whole.name}: received {len(rows):,} examples that are all the same, bit by bit: there is nothing to tell apart, and nothing to test "
            "on. Look at what was read, hubel.data.load(…).inputs: is it one file copied, or were the values lost on the way (rounded, clipped, zeros)?"
        )
    remedy = "Correct the split" if given or whole.part is not None else "Remove the copies"
    return (
        f"{whole.name}: each of the {len(split.train):,} training examples also stands in validation or test ({kinds:,} different ones among "
        f"{len(rows):,}), where such copies would make the scores too good, so that none is left to train on. {remedy}, or give all copies of an "
        "example one group (groups=)"
    )
