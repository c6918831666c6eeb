"""Average precision of boxes, by a rule that its name tells, with an interval over parent images.

Boxes of a class in the order of their scores are true or false positives (`detection_matching`). With P(r) the greatest precision at a recall of r or more,

    AP = ∫ P(r) dr  (all-point)     or the mean of P(r) over the recalls of the rule (voc07: 11, coco: 101),

then the mean over the classes that occur among the truths. A class that is nowhere among them has no average precision (NaN) and does not count.

What is independent is a parent image: not a box, not a tile of it, not a turned copy. The interval is from the bootstrap over images, or over `groups`. With
some twenty objects the sampling error is about ten points: two detectors are compared by `average_precision_difference`, on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.detection_matching import Matches, Scenes, match, scenes_of
from hubel.metrics.detection_rules import Rule
from hubel.metrics.intervals import RESAMPLES, bootstrap_of_weights, group_numbers, normal_quantile, wilson

CACHED = 50_000  # numbers that are worked on at a time
ROUNDING = 1e-9  # of sums of shares


@dataclass(frozen=True, kw_only=True)
class AveragePrecision(Interval):
    """An average precision: `value` in [`low`, `high`]; its `name` tells the rule.

    `per_class` by label (NaN for a class without truths), `per_threshold` by what the measure of the rule has to reach; `num_objects` are the truths that count.
    """

    name: str
    per_class: Mapping[int | str, Interval]
    per_threshold: Mapping[float, Interval]
    num_objects: int


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Boxes of one class (or of all) from the best score down: `unit` [D] that is drawn as a whole, true positive or not and without meaning or not [T, D] each;
    `wanted` [U] truths of each unit.
    """

    scores: np.ndarray
    unit: np.ndarray
    hit: np.ndarray
    void: np.ndarray
    wanted: np.ndarray

    def average_precision(self, weights: np.ndarray, points: tuple[float, ...] | None) -> np.ndarray:
        """[R, T] when unit u is there `weights` [R, U] times; NaN where there is no truth."""
        at_a_time = max(1, CACHED // max(1, len(self.unit)))
        parts = [weights[start : start + at_a_time] for start in range(0, len(weights), at_a_time)]
        return np.concatenate([self._average_precision(part, points) for part in parts])

    def _average_precision(self, weights: np.ndarray, points: tuple[float, ...] | None) -> np.ndarray:
        there = weights[:, self.unit]
        seen, wanted = np.cumsum(there, axis=1), weights @ self.wanted
        areas = np.zeros((len(weights), len(self.hit)))
        for t, (hit, void) in enumerate(zip(self.hit, self.void, strict=True)):
            places = np.flatnonzero(hit)
            if not len(places):
                continue
            counted = np.cumsum(there * ~void, axis=1) if void.any() else seen
            found = np.cumsum(there[:, places], axis=1)
            precision = found / np.maximum(counted[:, places], 1e-300)
            recall = found / np.where(wanted > 0, wanted, 1)[:, None]
            areas[:, t] = _area(recall, precision, points)
        return np.where(wanted[:, None] > 0, areas, np.nan)


def ranked(scenes: Scenes, matches: Matches, units: np.ndarray, label: int | None = None) -> Ranked:
    """The boxes of the class at place `label`, or of all; `units` [N] of the images."""
    rows, wanted = matches.rows, matches.wanted
    if label is not None:
        wanted = wanted & (scenes.true_labels == label)
        own = np.flatnonzero(scenes.labels[rows] == label)
    else:
        own = np.argsort(scenes.images[rows], kind="stable")
    own = own[np.argsort(-scenes.scores[rows[own]], kind="stable")]
    return Ranked(
        scores=scenes.scores[rows[own]],
        unit=units[scenes.images[rows[own]]],
        hit=matches.hit[:, own],
        void=matches.void[:, own],
        wanted=np.bincount(units[scenes.true_images[wanted]], minlength=int(units.max()) + 1).astype(float),
    )


def detection_average_precision(
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
    *,
    rule: Rule,
    groups=None,
    level: float = 0.95,
    seed: int = 0,
) -> AveragePrecision:
    """`hubel.metrics.average_precision` with a `rule`."""
    normal_quantile(level)
    scenes = scenes_of(predictions, truths)
    matches = match(scenes, rule)
    units, what = units_of_images(scenes, groups)
    read = _reader(scenes, matches, units, rule)
    scores = bootstrap_of_weights(
        lambda weights: _means(read(weights)),
        int(units.max()) + 1,
        count=scenes.num_images,
        what=what,
        level=level,
        seed=seed,
        resamples=_affordable(matches),
        width=len(matches.rows),
    )
    with_truths = _units_with(scenes, matches, units)
    whole, *thresholds = [
        in_doubt(one, with_truths.any(0).sum()) for one in scores[: 1 + len(rule.thresholds)]
    ]
    classes = [
        in_doubt(one, own.sum()) for one, own in zip(scores[1 + len(thresholds) :], with_truths, strict=True)
    ]
    return AveragePrecision(
        **vars(whole),
        name=str(rule),
        per_class=dict(zip(scenes.names.tolist(), classes, strict=True)),
        per_threshold=dict(zip(rule.thresholds, thresholds, strict=True)),
        num_objects=int(matches.wanted.sum()),
    )


def average_precision_alone(scenes: Scenes, matches: Matches, rule: Rule) -> float:
    """The average precision of boxes that are matched already, without an interval; NaN where there is no truth."""
    read = _reader(scenes, matches, np.zeros(scenes.num_images, int), rule)
    return float(_means(read(np.ones((1, 1))))[0, 0])


def average_precision_difference(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
    *,
    rule: Rule,
    groups=None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """How much greater the average precision of the `first` predictions is than that of the `second`, on the same images.

    Both are scored on the same draws of images (or `groups`), so that what makes an image hard for both drops out of the interval.

    >>> from hubel.metrics import all_point
    >>> truth = [{"boxes": [[0, 0, 9, 9]], "labels": [0]}] * 6
    >>> good = [{"boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [0.9]}] * 6
    >>> missing = good[:3] + [{"boxes": [], "labels": [], "scores": []}] * 3
    >>> average_precision_difference(good, missing, truth, rule=all_point).value
    0.5
    """
    normal_quantile(level)
    readers, width, resamples = [], 0, RESAMPLES
    for predictions in (first, second):
        scenes = scenes_of(predictions, truths)
        matches = match(scenes, rule)
        units, what = units_of_images(scenes, groups)
        readers.append(_reader(scenes, matches, units, rule))
        width, resamples = max(width, len(matches.rows)), min(resamples, _affordable(matches))
    return bootstrap_of_weights(
        lambda weights: _means(readers[0](weights))[:, :1] - _means(readers[1](weights))[:, :1],
        int(units.max()) + 1,
        count=len(truths),
        what=f"paired {what}",
        level=level,
        seed=seed,
        resamples=resamples,
        width=width,
    )[0]


def in_doubt(score: Interval, trials: int) -> Interval:
    """`score`, with Wilson's interval for so many `trials` where it is 0 or 1 in every draw: that is not certain."""
    certain = score.high - score.low < ROUNDING and min(abs(score.value), abs(score.value - 1)) < ROUNDING
    if not certain or trials < 1:
        return score
    stand_in = wilson(round(score.value) * trials, trials, level=score.level)
    return replace(
        score,
        low=stand_in.low,
        high=stand_in.high,
        method=f"Wilson for {trials} trials, as all draws are alike",
    )


def units_of_images(scenes: Scenes, groups) -> tuple[np.ndarray, str]:
    """The number of what an image is drawn with [N], and the name of the method."""
    if groups is None:
        return np.arange(scenes.num_images), f"bootstrap over {scenes.num_images} images"
    numbers = group_numbers(groups, scenes.num_images)
    return numbers, f"bootstrap over {int(numbers.max()) + 1} groups"


def _units_with(scenes: Scenes, matches: Matches, units: np.ndarray) -> np.ndarray:
    """Whether a unit has truths of a class that count: [K, U]."""
    there = np.zeros((len(scenes.names), int(units.max()) + 1), bool)
    there[scenes.true_labels[matches.wanted], units[scenes.true_images[matches.wanted]]] = True
    return there


def _reader(
    scenes: Scenes, matches: Matches, units: np.ndarray, rule: Rule
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from weights [R, U] to average precisions [R, K, T]."""
    classes = [ranked(scenes, matches, units, label) for label in range(len(scenes.names))]

    def read(weights: np.ndarray) -> np.ndarray:
        if not classes:
            return np.empty((len(weights), 0, len(rule.thresholds)))
        return np.stack([one.average_precision(weights, rule.points) for one in classes], axis=1)

    return read


def _means(areas: np.ndarray) -> np.ndarray:
    """Of [R, K, T] the mean over classes and thresholds, then those over classes, then those over thresholds: [R, 1 + T + K]."""
    there = np.isfinite(areas[:, :, 0])
    number = np.where(there.any(1), there.sum(1), np.nan)
    by_threshold = np.where(there[:, :, None], areas, 0).sum(1) / number[:, None]
    return np.column_stack([by_threshold.mean(1), by_threshold, areas.mean(2)])


def _area(recall: np.ndarray, precision: np.ndarray, points: tuple[float, ...] | None) -> np.ndarray:
    """[R] of curves [R, P] from left to right."""
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if points is None:
        return (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(1)
    padded = np.column_stack([envelope, np.zeros(len(envelope))])
    rows = np.arange(len(recall))[
        :, None
    ]  # one search in all curves: each two further right than the one before
    first = np.searchsorted((recall + 2 * rows).ravel(), (np.asarray(points) + 2 * rows).ravel(), "left")
    return padded[rows, first.reshape(len(rows), -1) - rows * recall.shape[1]].mean(1)


def _affordable(matches: Matches) -> int:
    """Resamples: fewer where there are many boxes, whose score varies less."""
    return int(min(RESAMPLES, max(200, 50_000_000 // max(1, matches.truth.size))))
