"""Where to put the threshold of a detector: precision against recall, recall against false alarms, and single points of them.

All boxes of all classes (or of one `label`) stand in one list from the best score down; a threshold keeps a beginning of it. With TP true and FP false positives among what
is kept, and W truths that are wanted,

    precision = TP / (TP + FP)      recall = TP / W      F1 = 2 TP / (TP + FP + W)      false alarms = FP / number of images

(images without objects count). Boxes of equal score come together. These scores need a rule with one threshold of overlap.

A point that was chosen on the same images flatters: choose the threshold on validation images, then ask `scores_at` for the test images. Intervals are from the
bootstrap over images, or over `groups`; each draw of images chooses its point anew.

Sources: C. J. van Rijsbergen, Information Retrieval (1979), chapter 7 (F); D. P. Chakraborty and L. H. L. Winter, Radiology 174, 873 (1990),
doi:10.1148/radiology.174.3.2305073 (recall against false alarms an image, FROC).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.detection import CACHED, Ranked, in_doubt, ranked, units_of_images
from hubel.metrics.detection_matching import match, scenes_of
from hubel.metrics.detection_rules import Rule
from hubel.metrics.intervals import RESAMPLES, bootstrap_of_weights, normal_quantile, undefined

RECALLS = tuple(i / 100 for i in range(101))
FALSE_ALARMS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

Images = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(Interval):
    """A score at one `threshold` of the boxes' scores, with the three numbers there; its `name` tells the rule."""

    name: str
    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """`y` [P] at `x` [P], with the ends `low`, `high` [P] of an interval at each point, and the `thresholds` [P] of the boxes' scores (NaN where the
    point is not reached). `name` tells the rule.
    """

    name: str
    x_name: str
    y_name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    thresholds: np.ndarray
    level: float
    method: str


def best_f1(
    predictions: Images,
    truths: Images,
    *,
    rule: Rule,
    label: int | str | None = None,
    groups=None,
    level=0.95,
    seed=0,
) -> OperatingPoint:
    """The greatest F1 over all thresholds, and the threshold where it is reached.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [50, 50, 60, 60]], "labels": [0, 0], "scores": [0.9, 0.4]}]
    >>> point = best_f1(found, truths, rule=all_point)
    >>> point.name, round(point.value, 3), point.threshold
    ('best F1[all-point, IoU ≥ 0.5]', 0.667, 0.9)
    """

    def choose(curve: _Counts) -> tuple[np.ndarray, np.ndarray]:
        return curve.f1.argmax(1), curve.f1.max(1)

    return _point(_question(predictions, truths, rule, label, groups), "best F1", choose, level, seed)


def precision_at_recall(
    predictions: Images,
    truths: Images,
    recall: float,
    *,
    rule: Rule,
    label: int | str | None = None,
    groups=None,
    level=0.95,
    seed=0,
) -> OperatingPoint:
    """The greatest precision at a recall of `recall` or more. NaN, with the reason, where no threshold gives so much recall; draws where none does count as 0.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [50, 50, 60, 60]], "labels": [0, 0], "scores": [0.4, 0.9]}]
    >>> precision_at_recall(found, truths, 0.5, rule=all_point).value
    0.5
    """
    _check_share(recall, "recall")

    def choose(curve: _Counts) -> tuple[np.ndarray, np.ndarray]:
        allowed = np.where(curve.recall >= recall - 1e-12, curve.precision, -1.0)
        return allowed.argmax(1), allowed.max(1)

    question = _question(predictions, truths, rule, label, groups)
    most = question.counts(np.ones((1, question.units))).recall.max(initial=0)
    reason = f"recall ends at {most:.3g}" if most < recall - 1e-12 else None
    return _point(question, f"precision at recall {recall:g}", choose, level, seed, reason)


def recall_at_precision(
    predictions: Images,
    truths: Images,
    precision: float,
    *,
    rule: Rule,
    label: int | str | None = None,
    groups=None,
    level=0.95,
    seed=0,
) -> OperatingPoint:
    """The greatest recall at a precision of `precision` or more; 0 where no threshold gives so much precision (the threshold is then infinite).

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [50, 50, 60, 60]], "labels": [0, 0], "scores": [0.9, 0.4]}]
    >>> recall_at_precision(found, truths, 0.8, rule=all_point).value
    0.5
    """
    _check_share(precision, "precision")

    def choose(curve: _Counts) -> tuple[np.ndarray, np.ndarray]:
        allowed = np.where(curve.precision >= precision - 1e-12, curve.recall, -1.0)
        return allowed.argmax(1), allowed.max(1)

    question = _question(predictions, truths, rule, label, groups)
    return _point(question, f"recall at precision {precision:g}", choose, level, seed)


def scores_at(
    predictions: Images,
    truths: Images,
    threshold: float,
    *,
    rule: Rule,
    label: int | str | None = None,
    groups=None,
    level=0.95,
    seed=0,
) -> dict[str, Interval]:
    """Precision, recall, F1 and false alarms an image of the boxes with a score of `threshold` or more.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [50, 50, 60, 60]], "labels": [0, 0], "scores": [0.9, 0.4]}]
    >>> for name, score in scores_at(found, truths, 0.3, rule=all_point).items():
    ...     print(name, score.value)
    precision[all-point, IoU ≥ 0.5] 0.5
    recall[all-point, IoU ≥ 0.5] 0.5
    F1[all-point, IoU ≥ 0.5] 0.5
    false alarms an image[all-point, IoU ≥ 0.5] 1.0
    """
    if not isinstance(threshold, Real) or math.isnan(threshold):
        raise ValueError(f"threshold is {threshold!r}; expected the least score that counts")
    question = _question(predictions, truths, rule, label, groups)
    last = int((question.scores >= threshold).sum()) - 1

    def read(weights: np.ndarray) -> np.ndarray:
        counts = question.counts(weights)
        found, false = (
            part[:, last] if last >= 0 else np.zeros(len(weights)) for part in (counts.found, counts.false)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.column_stack(
                [
                    found / (found + false),
                    found / counts.wanted,
                    2 * found / (found + false + counts.wanted),
                    false / counts.images,
                ]
            )

    *shares, alarms = question.intervals(read, level, seed)
    trials = int((question.boxes.wanted > 0).sum())
    names = [rule.named(what) for what in ("precision", "recall", "F1", "false alarms an image")]
    scores = [*(in_doubt(share, trials) for share in shares), _rate_in_doubt(alarms, question.units)]
    return dict(zip(names, scores, strict=True))


def _rate_in_doubt(rate: Interval, units: int) -> Interval:
    """`rate`, with the upper end of a Poisson rate of which `units` saw nothing where it is 0."""
    if rate.value > 0 or units < 2:
        return rate
    return replace(
        rate, high=-math.log((1 - rate.level) / 2) / units, method=f"Poisson, none in {units} trials"
    )


def precision_recall(
    predictions: Images,
    truths: Images,
    *,
    rule: Rule,
    label: int | str | None = None,
    recalls: Sequence[float] = RECALLS,
    groups=None,
    level=0.95,
    seed=0,
) -> Curve:
    """The greatest precision at each of the `recalls` or more (0 where so much recall is not reached), with an interval at each.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [50, 50, 60, 60]], "labels": [0, 0], "scores": [0.9, 0.4]}]
    >>> precision_recall(found, truths, rule=all_point, recalls=(0, 0.5, 1)).y.tolist()
    [1.0, 1.0, 0.0]
    """
    for recall in recalls:
        _check_share(recall, "recall")

    def best(counts: _Counts) -> tuple[np.ndarray, np.ndarray]:
        return _best_beyond(counts.recall, counts.precision, np.asarray(recalls, float))

    question = _question(predictions, truths, rule, label, groups)
    return _curve(
        question, rule.named("precision–recall"), ("recall", "precision"), recalls, best, level, seed
    )


def froc(
    predictions: Images,
    truths: Images,
    *,
    rule: Rule,
    label: int | str | None = None,
    false_alarms: Sequence[float] = FALSE_ALARMS,
    groups=None,
    level=0.95,
    seed=0,
) -> Curve:
    """The greatest recall with at most so many `false_alarms` an image, with an interval at each. Images without objects count.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9]], "labels": [0]}, {"boxes": [], "labels": []}]
    >>> found = [{"boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [0.4]}, {"boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [0.9]}]
    >>> froc(found, truths, rule=all_point, false_alarms=(0.25, 0.5)).y.tolist()
    [0.0, 1.0]
    """

    def best(counts: _Counts) -> tuple[np.ndarray, np.ndarray]:
        rate = counts.false / counts.images[:, None]
        last = np.stack([(rate <= most + 1e-12).sum(1) for most in false_alarms], axis=1) - 1
        padded = np.column_stack([counts.recall, np.zeros(len(rate))])  # -1: nothing is kept
        return last, np.take_along_axis(padded, last, axis=1)

    question = _question(predictions, truths, rule, label, groups)
    return _curve(
        question, rule.named("FROC"), ("false alarms an image", "recall"), false_alarms, best, level, seed
    )


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """True and false positives down to each of E scores [R, E], truths [R] and images [R]."""

    found: np.ndarray
    false: np.ndarray
    wanted: np.ndarray
    images: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        return self.found / np.maximum(self.found + self.false, 1e-300)

    @property
    def recall(self) -> np.ndarray:
        return self.found / np.where(self.wanted > 0, self.wanted, 1)[:, None]

    @property
    def f1(self) -> np.ndarray:
        return 2 * self.found / np.maximum(self.found + self.false + self.wanted[:, None], 1e-300)


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One list of boxes, and how its images are drawn."""

    rule: Rule
    boxes: Ranked
    ends: np.ndarray  # [E], last box of each run of equal scores
    images: np.ndarray  # [U], images of each unit
    what: str

    @property
    def units(self) -> int:
        return len(self.images)

    @property
    def scores(self) -> np.ndarray:
        return self.boxes.scores[self.ends]

    def counts(self, weights: np.ndarray) -> _Counts:
        there = weights[:, self.boxes.unit]
        hit, void = self.boxes.hit[0], self.boxes.void[0]
        return _Counts(
            found=np.cumsum(there * hit, axis=1)[:, self.ends],
            false=np.cumsum(there * ~(hit | void), axis=1)[:, self.ends],
            wanted=weights @ self.boxes.wanted,
            images=weights @ self.images,
        )

    def shares(self, read: Callable[[np.ndarray], np.ndarray], level: float, seed: int) -> list[Interval]:
        """`intervals` of shares, of which 0 and 1 are never certain."""
        trials = int((self.boxes.wanted > 0).sum())
        return [in_doubt(score, trials) for score in self.intervals(read, level, seed)]

    def intervals(self, read: Callable[[np.ndarray], np.ndarray], level: float, seed: int) -> list[Interval]:
        """Of what `read` makes of weights [R, U]: [R, Q]."""
        size = max(1, len(self.boxes.unit))
        rows = max(1, CACHED // size)

        def in_parts(weights: np.ndarray) -> np.ndarray:
            return np.concatenate(
                [read(weights[start : start + rows]) for start in range(0, len(weights), rows)]
            )

        return bootstrap_of_weights(
            in_parts,
            self.units,
            count=int(self.images.sum()),
            what=self.what,
            level=level,
            seed=seed,
            resamples=int(min(RESAMPLES, max(200, 50_000_000 // size))),
            width=size,
        )


def _question(predictions: Images, truths: Images, rule: Rule, label: int | str | None, groups) -> _Question:
    if len(rule.thresholds) != 1:
        raise ValueError(
            f"{rule} has {len(rule.thresholds)} thresholds; expected a rule with one, such as dataclasses.replace({rule.name}, thresholds=(0.5,))"
        )
    scenes = scenes_of(predictions, truths)
    places = [place for place, name in enumerate(scenes.names.tolist()) if name == label]
    if label is not None and not places:
        raise ValueError(f"label is {label}; expected one of {scenes.names.tolist()}, which occur")
    units, what = units_of_images(scenes, groups)
    boxes = ranked(scenes, match(scenes, rule), units, None if label is None else places[0])
    ends = np.flatnonzero(np.diff(boxes.scores, append=np.nan) != 0)
    return _Question(rule=rule, boxes=boxes, ends=ends, images=np.bincount(units).astype(float), what=what)


def _point(
    question: _Question,
    what: str,
    choose: Callable[[_Counts], tuple[np.ndarray, np.ndarray]],
    level: float,
    seed: int,
    reason: str | None = None,
) -> OperatingPoint:
    normal_quantile(level)
    name, count = question.rule.named(what), int(question.images.sum())
    if not question.boxes.wanted.any():
        reason = "no truth counts"
    if reason is not None or not len(question.ends):
        value = undefined(reason or "no box was predicted", level=level, count=count)
        return _nowhere(value, name)

    def read(weights: np.ndarray) -> np.ndarray:
        counts = question.counts(weights)
        return np.where(counts.wanted > 0, np.maximum(choose(counts)[1], 0), np.nan)[:, None]

    score = question.shares(read, level, seed)[0]
    counts = question.counts(np.ones((1, question.units)))
    at, best = choose(counts)
    if best[0] < 0:
        return _nowhere(score, name)
    return OperatingPoint(
        **vars(score),
        name=name,
        threshold=float(question.scores[at[0]]),
        precision=float(counts.precision[0, at[0]]),
        recall=float(counts.recall[0, at[0]]),
        f1=float(counts.f1[0, at[0]]),
    )


def _nowhere(score: Interval, name: str) -> OperatingPoint:
    return OperatingPoint(**vars(score), name=name, threshold=np.inf, precision=np.nan, recall=0.0, f1=0.0)


def _curve(
    question: _Question,
    name: str,
    axes: tuple[str, str],
    x: Sequence[float],
    best: Callable[[_Counts], tuple[np.ndarray, np.ndarray]],
    level: float,
    seed: int,
) -> Curve:
    normal_quantile(level)

    def read(weights: np.ndarray) -> np.ndarray:
        counts = question.counts(weights)
        return np.where(counts.wanted[:, None] > 0, best(counts)[1], np.nan)

    scores = question.shares(read, level, seed)
    at = best(question.counts(np.ones((1, question.units))))[0][0]
    padded = np.append(question.scores, np.nan)
    return Curve(
        name=name,
        x_name=axes[0],
        y_name=axes[1],
        x=np.asarray(x, float),
        y=np.array([s.value for s in scores]),
        low=np.array([s.low for s in scores]),
        high=np.array([s.high for s in scores]),
        thresholds=padded[np.where(at < len(question.scores), at, -1)],
        level=level,
        method=question.what,
    )


def _best_beyond(
    recall: np.ndarray, precision: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the greatest precision at a recall of at least `wanted` [Q] is, and that precision: [R, Q] of curves [R, E]."""
    end = recall.shape[1]
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    records = np.where(precision == envelope, np.arange(end), end)
    records = np.minimum.accumulate(records[:, ::-1], axis=1)[:, ::-1]
    rows = np.arange(len(recall))[
        :, None
    ]  # one search in all curves: each two further right than the one before
    first = np.searchsorted((recall + 2 * rows).ravel(), (wanted - 1e-9 + 2 * rows).ravel(), "left")
    first = first.reshape(len(rows), -1) - rows * end
    values = np.column_stack([envelope, np.zeros(len(rows))])[rows, first]
    return np.column_stack([records, np.full(len(rows), end)])[rows, first], values


def _check_share(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a share from 0 to 1")
