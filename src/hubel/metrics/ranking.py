"""How well scores order the examples, whatever threshold is chosen later."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import overload

import numpy as np

from hubel.core.random import numpy_generator
from hubel.core.types import Interval
from hubel.metrics.detection import AveragePrecision, detection_average_precision
from hubel.metrics.detection_rules import Rule
from hubel.metrics.inputs import class_numbers, finite, floating, pieces_of, scores_of_classes
from hubel.metrics.intervals import (
    RESAMPLES,
    group_numbers,
    normal_quantile,
    resampling_weights,
    undefined,
    wilson,
)


def roc_auc(targets, scores, *, groups=None, level: float = 0.95) -> Interval:
    """Area under the ROC curve: the probability that a positive example scores above a negative one, ties half.

    `targets` [N] are class numbers; `scores` [N] for two classes (higher means class 1), or [N, K]: the
    mean of the K one-against-rest areas. NaN, with the reason, where a class has no positive or no negative.

    Interval: DeLong's variance, from each example's share in the area, added up within `groups` where
    given (Obuchowski), carried to the logit scale so that it stays in [0, 1]. With perfect order that
    variance is zero; the low end is then Wilson's for as many trials as the rarer side has examples.

    Source: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44, 837 (1988),
    doi:10.2307/2531595; ranks: X. Sun and W. Xu, IEEE Signal Process. Lett. 21, 1389 (2014),
    doi:10.1109/LSP.2014.2337313; groups: N. A. Obuchowski, Biometrics 53, 567 (1997), doi:10.2307/2533958.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value
    0.75
    """
    normal_quantile(level)
    positives, scores = _one_against_rest(targets, scores)
    if (reason := _missing_side(positives)) is not None:
        return undefined(reason, level=level, count=len(positives))
    areas, shares = [], np.zeros(len(positives))
    for column in range(positives.shape[1]):
        areas.append(_area_and_shares(positives[:, column], scores[:, column], shares))
    area = float(np.mean(areas))
    shares /= len(areas)
    units = shares
    if groups is not None:
        numbers = group_numbers(groups, len(shares))
        units = np.bincount(numbers, weights=shares)
        if len(units) < 2:
            return undefined("one group: no interval", level=level, count=len(shares))
        units *= math.sqrt(len(units) / (len(units) - 1))
    deviation = math.sqrt(float(np.sum(units**2)))
    rarer = int(np.minimum(positives.sum(axis=0), (~positives).sum(axis=0)).min())
    return _logit_interval(area, deviation, rarer, level, len(shares))


@overload
def average_precision(targets, scores, /, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval: ...


@overload
def average_precision(
    predictions, truths, /, *, rule: Rule, groups=None, level: float = 0.95, seed: int = 0
) -> AveragePrecision: ...


def average_precision(first, second, /, *, rule=None, groups=None, level=0.95, seed=0):
    """Area under the precision–recall curve, of examples or, with a `rule`, of boxes.

    `average_precision(targets, scores)` of examples is a sum of steps: Σ_t (recall_t − recall_{t−1}) · precision_t.
    `targets` [N] and `scores` [N] for two classes, or [N, K] for the mean of one class against the rest.
    Interval: percentile bootstrap over examples, or over `groups`.

    `average_precision(predictions, truths, rule=hubel.metrics.all_point)` of objects takes one mapping an image: `boxes` [n, 4] as (x0, y0, x1, y1) in
    pixels, `labels` [n] (class numbers, or names), and `scores` [n] of predictions; truths may have `ignore` [n], for objects that count neither as found nor as missed. The rules are
    `all_point`, `voc07` and `coco`; the answer has a `name` that tells the rule, the parts `per_class` and `per_threshold`, and an interval from the bootstrap over
    images or over `groups` [N], the parent images of tiles. Boxes beyond the limit of a rule are warned of; input that is no such list raises `ValueError`.

    Source: W. Su, Y. Yuan and M. Zhu, ICTIR (2015), doi:10.1145/2808194.2809481; intervals: K. Boyd,
    K. H. Eng and C. D. Page, ECML PKDD (2013), doi:10.1007/978-3-642-40994-3_29; boxes: see `hubel.metrics.detection_rules`.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value, 3)
    0.833
    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 10, 10], [20, 20, 30, 30]], "labels": [0, 0]}, {"boxes": [], "labels": []}]
    >>> found = [{"boxes": [[0, 0, 10, 9]], "labels": [0], "scores": [0.7]}, {"boxes": [[5, 5, 9, 9]], "labels": [0], "scores": [0.9]}]
    >>> score = average_precision(found, truths, rule=all_point)
    >>> score.name, score.value
    ('AP50[all-point]', 0.25)
    """
    if rule is not None:
        return detection_average_precision(first, second, rule=rule, groups=groups, level=level, seed=seed)
    if len(first) and isinstance(first[0], Mapping):
        raise ValueError(
            "mappings of boxes need the rule by which they are counted; write rule=hubel.metrics.all_point, voc07 or coco"
        )
    return _average_precision_of_examples(first, second, groups=groups, level=level, seed=seed)


def _average_precision_of_examples(targets, scores, *, groups, level: float, seed: int) -> Interval:
    normal_quantile(level)
    positives, scores = _one_against_rest(targets, scores)
    count = len(positives)
    if not positives.any(axis=0).all():
        return undefined("a class has no positive example", level=level, count=count)
    readers = [_precision_reader(positives[:, k], scores[:, k]) for k in range(positives.shape[1])]
    value = float(np.mean([read(np.ones((1, count)))[0] for read in readers]))
    numbers = np.arange(count) if groups is None else group_numbers(groups, count)
    num_units = int(numbers.max()) + 1
    resamples = int(min(RESAMPLES, max(200, 20_000_000 // (count * len(readers)))))
    draws = [
        np.mean([read(weights[:, numbers]) for read in readers], axis=0)
        for weights in resampling_weights(
            numpy_generator(seed, "average precision"), num_units, resamples, width=count
        )
    ]
    kept = np.concatenate(draws)
    kept = kept[np.isfinite(kept)]
    if num_units < 2 or len(kept) == 0:
        return undefined("too few units for an interval", level=level, count=count)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    what = "bootstrap" if groups is None else f"bootstrap over {num_units} groups"
    return Interval(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        level=level,
        count=count,
        method=what,
    )


def _one_against_rest(targets, scores) -> tuple[np.ndarray, np.ndarray]:
    """Booleans and scores, both [N, Q]: one column for two classes, one a class for more."""
    scores = finite(floating(scores), "scores")
    targets = np.asarray(targets)
    if scores.ndim == 2 and scores.shape[1] <= 2:
        scores = scores[:, -1]
    if scores.ndim == 1:
        numbers, _, num_classes = class_numbers(targets, targets)
        if len(numbers) != len(scores):
            raise ValueError(
                f"there are {len(numbers)} targets and {len(scores)} scores; expected one an example"
            )
        if num_classes > 2:
            raise ValueError(
                f"targets has classes up to {num_classes - 1}, scores has one column; expected scores (N, {num_classes})"
            )
        return (numbers == 1)[:, None], scores[:, None]
    numbers, scores = scores_of_classes(targets, scores, "scores")
    return numbers[:, None] == np.arange(scores.shape[1]), scores


def _missing_side(positives: np.ndarray) -> str | None:
    share = positives.mean(axis=0)
    lone = np.flatnonzero((share == 0) | (share == 1))
    if len(lone) == 0:
        return None
    if positives.shape[1] == 1:
        return "only one class among the targets"
    return f"class {lone[0]} has no {'positive' if share[lone[0]] == 0 else 'negative'} example"


def _area_and_shares(positive: np.ndarray, scores: np.ndarray, shares: np.ndarray) -> float:
    """The area; each example's share of its error is added to `shares` [N]: the squares of these sum to DeLong's variance.

    A share follows from how many of the other side are lower, equal ones half: found by search among those in order, as ranks of all
    take several times the memory.
    """
    sides = [np.sort(scores[~positive]), np.sort(scores[positive])]
    placement = np.empty(len(scores))
    for rows in pieces_of(len(scores)):
        for side in (False, True):
            mine = rows.start + np.flatnonzero(positive[rows] == side)
            lower = _below(scores[mine], sides[not side]) / len(sides[not side])
            placement[mine] = lower if side else 1 - lower
    area = float(placement[positive].mean())
    for rows in pieces_of(len(scores)):
        size = np.where(positive[rows], len(sides[True]), len(sides[False])).astype(np.float64)
        shares[rows] += (placement[rows] - area) / np.sqrt(size * np.maximum(size - 1, 1))
    return area


def _below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of `others` (in order) are lower than each of `values` [N], equal ones counted half.

    >>> _below(np.array([3.0, 0.0, 2.0]), np.array([1.0, 2.0, 2.0])).tolist()
    [3.0, 0.0, 2.0]
    """
    order = np.argsort(values)
    ordered, found = values[order], np.empty(len(values))
    found[order] = (np.searchsorted(others, ordered, "left") + np.searchsorted(others, ordered, "right")) / 2
    return found


def _logit_interval(area: float, deviation: float, rarer: int, level: float, count: int) -> Interval:
    if deviation == 0 or not 0 < area < 1:
        stand_in = wilson(area * rarer, rarer, level=level)
        low, high, method = (
            stand_in.low,
            stand_in.high,
            f"Wilson for {rarer} trials, as DeLong's variance is zero",
        )
    else:
        centre = math.log(area / (1 - area))
        half = normal_quantile(level) * deviation / (area * (1 - area))
        low, high = (0.5 * (1 + math.tanh((centre + side) / 2)) for side in (-half, half))
        method = "DeLong, on the logit scale"
    return Interval(value=area, low=low, high=high, level=level, count=count, method=method)


def _precision_reader(positive: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from weights [R, N] to average precision [R]; the order is found once."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hit = positive[order].astype(np.float64)

    def read(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        seen = np.cumsum(weights, axis=1)[:, ends]
        found = np.cumsum(weights * hit, axis=1)[:, ends]
        gained = np.diff(found, axis=1, prepend=0.0)
        precision = found / np.maximum(seen, 1e-300)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (gained * precision).sum(axis=1) / found[:, -1]

    return read
