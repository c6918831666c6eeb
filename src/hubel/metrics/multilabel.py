"""Scores for examples that may carry several labels at once."""

from __future__ import annotations

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.classification import per_class_by_bootstrap, per_class_from_counts, proportion
from hubel.metrics.inputs import yes_or_no
from hubel.metrics.intervals import bootstrap


def subset_accuracy(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Share of examples whose labels are all right. `targets`, `values` [N, K] are 0 or 1.

    Interval: Wilson's; over `groups` the bootstrap.

    Source: M.-L. Zhang and Z.-H. Zhou, IEEE Trans. Knowl. Data Eng. 26, 1819 (2014),
    doi:10.1109/TKDE.2013.39, section 2.2.

    >>> subset_accuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]]).value
    0.5
    """
    targets, values = yes_or_no(targets, values)
    return proportion((targets == values).all(axis=1), groups=groups, level=level, seed=seed)


def per_label(
    targets, values, *, groups=None, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[Interval, ...]]:
    """Precision, recall and F1 of each label, as `per_class` gives them. `targets`, `values` [N, K] are 0 or 1.

    Source: as `per_class`.

    >>> [i.value for i in per_label([[1, 0], [1, 1]], [[1, 0], [0, 1]])["recall"]]
    [0.5, 1.0]
    """
    targets, values = yes_or_no(targets, values)
    if groups is not None:
        return per_class_by_bootstrap(values, targets, groups=groups, level=level, seed=seed)
    hits = (targets & values).sum(axis=0)
    return per_class_from_counts(hits, values.sum(axis=0) - hits, targets.sum(axis=0) - hits, level=level)


def f1_over_labels(
    targets, values, *, groups=None, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """F1 over all labels: `{"micro": …, "macro": …}`. `targets`, `values` [N, K] are 0 or 1.

    Micro pools the decisions: 2 Σ tp / Σ (2 tp + fp + fn); macro is the mean of the labels' F1, where a
    label that is neither true nor predicted anywhere is left out. Interval: bootstrap over examples (their
    labels are not independent), or over `groups`.

    Source: Y. Yang, Inf. Retr. 1, 69 (1999), doi:10.1023/A:1009982220290.

    >>> {name: round(i.value, 3) for name, i in f1_over_labels([[1, 0], [1, 1]], [[1, 0], [0, 1]]).items()}
    {'micro': 0.8, 'macro': 0.833}
    """
    targets, values = yes_or_no(targets, values)
    width = targets.shape[1]
    columns = np.concatenate([targets & values, targets.astype(np.float64) + values], axis=1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        both, either = 2 * sums[:, :width], sums[:, width:]
        there = either > 0.5
        macro = np.where(there, both / np.where(there, either, 1), 0).sum(axis=1) / there.sum(axis=1)
        return np.stack([both.sum(axis=1) / either.sum(axis=1), macro], axis=1)

    micro, macro = bootstrap(columns, statistic, groups=groups, level=level, seed=seed)
    return {"micro": micro, "macro": macro}
