"""How often a classifier is right, over all and class by class."""

from __future__ import annotations

import math

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.inputs import class_numbers, class_probabilities
from hubel.metrics.intervals import bootstrap, normal_quantile, undefined, wilson


def accuracy(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Share of examples whose predicted class is the true one: Σ [targets = values] / N.

    `targets`, `values` [N] are class numbers. Interval: Wilson's; with `groups` [N] the bootstrap over groups.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953.

    >>> print(accuracy([0, 1, 2, 2], [0, 1, 2, 1]))
    0.75 [0.3006, 0.9544]
    """
    targets, values, _ = class_numbers(targets, values)
    return proportion(targets == values, groups=groups, level=level, seed=seed)


def top_k_accuracy(
    targets, probabilities, k: int = 5, *, groups=None, level: float = 0.95, seed: int = 0
) -> Interval:
    """Share of examples whose true class is among the `k` most probable.

    `targets` [N] are class numbers; `probabilities` [N, K]. Of equal probabilities, the lower class number comes first.
    Interval: Wilson's; with `groups` [N] the bootstrap over groups.

    Source: O. Russakovsky et al., Int. J. Comput. Vis. 115, 211 (2015), doi:10.1007/s11263-015-0816-y, section 4.1.

    >>> top_k_accuracy([2, 0], [[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], k=2).value
    0.5
    """
    targets, probabilities = class_probabilities(targets, probabilities)
    if not 1 <= k <= probabilities.shape[1]:
        raise ValueError(f"k is {k}; expected 1 to {probabilities.shape[1]}, the number of classes")
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1])[None, :] < targets[:, None]
    ahead = (probabilities > own).sum(axis=1) + ((probabilities == own) & earlier).sum(axis=1)
    return proportion(ahead < k, groups=groups, level=level, seed=seed)


def proportion(right: np.ndarray, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Share of true values in `right` [N], with Wilson's interval or, with `groups`, the bootstrap over groups.

    Where all groups agree the bootstrap would claim certainty; Wilson's interval with the number of groups
    in place of the number of examples stands in.

    >>> print(proportion(np.array([True, True]), groups=[0, 1]))
    1 [0.3424, 1]
    """
    right = np.asarray(right, bool)
    if groups is None:
        return wilson(int(right.sum()), len(right), level=level)
    columns = np.stack([right, np.ones(len(right))], axis=1)
    (interval,) = bootstrap(columns, lambda s: s[:, :1] / s[:, 1:], groups=groups, level=level, seed=seed)
    if interval.low == interval.high:
        num_groups = len(np.unique(np.asarray(groups)))
        stand_in = wilson(interval.value * num_groups, num_groups, level=level)
        return Interval(
            value=interval.value,
            low=stand_in.low,
            high=stand_in.high,
            level=level,
            count=len(right),
            method=f"Wilson over {num_groups} groups",
        )
    return interval


def balanced_accuracy(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over the classes present of the share found (recall): (1/K) Σ_k right_k / n_k.

    `targets`, `values` [N] are class numbers. Interval: the classes are independent, so Wilson's limits l_k, u_k of each recall p_k combine to
    low = p − √Σ (p_k − l_k)² / K and high = p + √Σ (u_k − p_k)² / K (MOVER); it does not collapse where a
    class is right every time, as the stratified bootstrap does. With `groups`: bootstrap over groups.

    Source: K. H. Brodersen et al., ICPR (2010), doi:10.1109/ICPR.2010.764; limits: G. Y. Zou and A. Donner,
    Stat. Med. 27, 1693 (2008), doi:10.1002/sim.3095.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0]).value
    0.5
    """
    targets, values, num_classes = class_numbers(targets, values)
    present = np.unique(targets)
    if groups is not None:
        one_hot = targets[:, None] == present
        columns = np.concatenate([one_hot & (targets == values)[:, None], one_hot], axis=1)
        width = len(present)
        return bootstrap(
            columns,
            lambda s: _mean_of_ratios(s[:, :width], s[:, width:]),
            groups=groups,
            level=level,
            seed=seed,
        )[0]
    counts = np.bincount(targets, minlength=num_classes)[present]
    right = np.bincount(targets[targets == values], minlength=num_classes)[present]
    recalls = [wilson(r, n, level=level) for r, n in zip(right, counts, strict=True)]
    value = sum(i.value for i in recalls) / len(recalls)
    below = math.sqrt(sum((i.value - i.low) ** 2 for i in recalls)) / len(recalls)
    above = math.sqrt(sum((i.high - i.value) ** 2 for i in recalls)) / len(recalls)
    return Interval(
        value=value,
        low=max(0.0, value - below),
        high=min(1.0, value + above),
        level=level,
        count=len(targets),
        method="Wilson of each class, combined by MOVER",
    )


def confusion_matrix(targets, values, num_classes: int | None = None) -> np.ndarray:
    """Counts [K, K]: row = true class, column = predicted class.

    `targets`, `values` [N] are class numbers; K is `num_classes`, or one more than the highest of them.

    Source: S. V. Stehman, Remote Sens. Environ. 62, 77 (1997), doi:10.1016/S0034-4257(97)00083-7.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0])
    array([[1, 0],
           [1, 1]])
    """
    targets, values, num_classes = class_numbers(targets, values, num_classes)
    cells = np.bincount(targets * num_classes + values, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def per_class(
    targets, values, num_classes: int | None = None, *, groups=None, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[Interval, ...]]:
    """Precision, recall and F1 of each class: `{"precision": K intervals, "recall": …, "f1": …}`.

    `targets`, `values` [N] are class numbers; K is `num_classes`, or one more than the highest of them.
    With tp, fp and fn of a class: precision = tp/(tp+fp), recall = tp/(tp+fn), F1 = 2tp/(2tp+fp+fn).
    NaN, with the reason, where a class was never predicted (precision) or never true (recall).

    Intervals: Wilson's for precision and recall. F1 = 2J/(1+J) grows with J = tp/(tp+fp+fn), which is a
    proportion once its denominator is given, so Wilson's limits of J are carried over. With `groups`:
    bootstrap over groups.

    Source: C. J. van Rijsbergen, Information Retrieval (1979); C. Goutte and E. Gaussier, ECIR (2005),
    doi:10.1007/978-3-540-31865-1_25.

    >>> scores = per_class([0, 0, 1, 1], [0, 1, 1, 1])
    >>> [round(i.value, 3) for i in scores["f1"]]
    [0.667, 0.8]
    """
    targets, values, num_classes = class_numbers(targets, values, num_classes)
    kinds = np.arange(num_classes)
    if groups is None:
        confusion = confusion_matrix(targets, values, num_classes)
        hits = np.diag(confusion)
        return per_class_from_counts(
            hits, confusion.sum(axis=0) - hits, confusion.sum(axis=1) - hits, level=level
        )
    said, true = values[:, None] == kinds, targets[:, None] == kinds
    return per_class_by_bootstrap(said, true, groups=groups, level=level, seed=seed)


def per_class_from_counts(
    hits: np.ndarray, false_alarms: np.ndarray, missed: np.ndarray, *, level: float = 0.95
) -> dict[str, tuple[Interval, ...]]:
    """Precision, recall and F1 from counts [K] of hits (tp), false alarms (fp) and missed ones (fn).

    >>> print(per_class_from_counts(np.array([8]), np.array([2]), np.array([0]))["recall"][0])
    1 [0.6756, 1]
    """
    normal_quantile(level)
    result: dict[str, list[Interval]] = {"precision": [], "recall": [], "f1": []}
    for tp, fp, fn in zip(hits.tolist(), false_alarms.tolist(), missed.tolist(), strict=True):
        result["precision"].append(_share(tp, tp + fp, "never predicted", level))
        result["recall"].append(_share(tp, tp + fn, "no example is of this class", level))
        overlap = _share(tp, tp + fp + fn, "neither true nor predicted", level)
        result["f1"].append(_f1_of_overlap(overlap))
    return {name: tuple(intervals) for name, intervals in result.items()}


def per_class_by_bootstrap(
    said: np.ndarray, true: np.ndarray, *, groups=None, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[Interval, ...]]:
    """Precision, recall and F1 of K labels from booleans `said`, `true` [N, K], by the bootstrap."""
    width = said.shape[1]
    columns = np.concatenate([said & true, said, true], axis=1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        both, predicted, present = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width :]
        return np.concatenate([both / predicted, both / present, 2 * both / (predicted + present)], axis=1)

    found = bootstrap(columns, statistic, groups=groups, level=level, seed=seed)
    return {
        "precision": tuple(found[:width]),
        "recall": tuple(found[width : 2 * width]),
        "f1": tuple(found[2 * width :]),
    }


def _share(part: int, whole: int, otherwise: str, level: float) -> Interval:
    return wilson(part, whole, level=level) if whole else undefined(otherwise, level=level, count=0)


def _f1_of_overlap(overlap: Interval) -> Interval:
    def f1(j: float) -> float:
        return 2 * j / (1 + j)

    return Interval(
        value=f1(overlap.value),
        low=f1(overlap.low),
        high=f1(overlap.high),
        level=overlap.level,
        count=overlap.count,
        method=overlap.method,
    )


def _mean_of_ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Mean of parts/wholes over the columns whose whole is not zero, [R, 1]."""
    there = wholes > 0
    ratios = np.where(there, parts / np.where(there, wholes, 1), 0)
    return ratios.sum(axis=1, keepdims=True) / there.sum(axis=1, keepdims=True)
