"""Folds: every example is in the test part of exactly one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hubel.core.random import numpy_generator
from hubel.data.dataset import Dataset


def folds(
    data: Dataset, num: int = 5, *, seed: int = 0, groups: np.ndarray | Sequence[Any] | None = None
) -> list[np.ndarray]:
    """The rows of the test part of each of `num` folds, sorted: the same share of each class in all (one class out of several, without
    groups as exactly as whole examples allow), and no group of `groups` [N] (default: those of the data) in two.

    Raises `ValueError` for fewer than 2 folds, for fewer examples or groups than folds, and for windows of one long series or text.

    >>> data = Dataset(inputs=np.zeros((10, 3)), targets=np.arange(10) % 2, classes=("a", "b"))
    >>> [rows.tolist() for rows in folds(data, 5)][0]
    [0, 5]
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if data.spans is not None:
        raise ValueError(
            f"{data.name} is one long series: its windows share steps, so a network tested on some folds would have been trained on theirs. "
            "Fit it once, with the parts in order of time"
        )
    if data.reading.get("kind") == "text":
        raise ValueError(
            f"{data.name} is one text: its windows go on from one another, so a network tested on some folds would have been trained on what stands "
            "around them. Fit it once, with the parts in order of the text, or with several seeds (--members)"
        )
    groups = data.groups if groups is None else np.asarray(groups)
    if groups is not None and len(groups) != len(data):
        raise ValueError(f"groups has {len(groups):,} entries, but there are {len(data):,} examples")
    available = len(data) if groups is None else len(np.unique(groups))
    if num < 2 or num > available:
        what = "examples" if groups is None else "groups"
        raise ValueError(
            f"{num} folds of {available:,} {what}: expected at least 2 folds, and no more than {what}"
        )
    state = int(numpy_generator(seed, "folds").integers(2**31))
    classes = data.targets if data.classes is not None and data.targets.ndim == 1 else None
    rows = np.arange(len(data))
    if groups is None:
        maker = KFold if classes is None or np.bincount(classes).max() < num else StratifiedKFold
        parts = maker(num, shuffle=True, random_state=state).split(rows, classes)
    elif classes is None:
        parts = GroupKFold(num, shuffle=True, random_state=state).split(rows, groups=groups)
    else:
        parts = StratifiedGroupKFold(num, shuffle=True, random_state=state).split(rows, classes, groups)
    return [np.sort(test).astype(np.int64) for _, test in parts]
