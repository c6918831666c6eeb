"""The scores of a detector on labelled pictures, by the two usual rules, of all classes and of each."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from hubel.core.types import Interval
from hubel.metrics.detection import average_precision_alone, detection_average_precision
from hubel.metrics.detection_matching import match, scenes_of
from hubel.metrics.detection_rules import Rule, all_point, coco

Pictures = Sequence[Mapping[str, Any]]


def object_detection(
    predictions: Pictures,
    truths: Pictures,
    *,
    classes: Sequence[str] | None = None,
    groups=None,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Average precision at an overlap of a half, over overlaps from 0.5 to 0.95, and both of each of the `classes`, with their intervals.

    `predictions` and `truths` are one mapping a picture, as `average_precision` takes them; labels are places in `classes`.

    >>> truth = [{"boxes": [[0, 0, 9, 9]], "labels": [0]}] * 6
    >>> found = [{"boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [0.9]}] * 6
    >>> {name: score.value for name, score in object_detection(found, truth, classes=["nucleus"]).items()}
    {'AP50[all-point]': 1.0, 'AP[coco]': 1.0}
    """
    scores: dict[str, Interval] = {}
    of_classes: dict[str, Interval] = {}
    for rule in (all_point, coco):
        found = detection_average_precision(predictions, truths, rule=rule, groups=groups, level=level)
        scores[str(rule)] = _plain(found)
        for number, score in found.per_class.items():
            name = str(number) if classes is None or isinstance(number, str) else classes[number]
            of_classes[f"{rule} of {name}"] = _plain(score)
    return scores | (of_classes if len(of_classes) > 2 else {})


def average_precisions(predictions: Pictures, truths: Pictures, rules: Sequence[Rule]) -> list[float]:
    """The average precision by each rule, without intervals and without the warning that a limit cuts: for every epoch.

    >>> truth = [{"boxes": [[0, 0, 9, 9]], "labels": [0]}] * 2
    >>> found = [{"boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [0.9]}] * 2
    >>> average_precisions(found, truth, (all_point, coco))
    [1.0, 1.0]
    """
    scenes = scenes_of(predictions, truths)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*best boxes of a class in an image.*")
        matches = [match(scenes, rule) for rule in rules]
    return [average_precision_alone(scenes, *found) for found in zip(matches, rules, strict=True)]


def _plain(score: Interval) -> Interval:
    return Interval(
        **{name: getattr(score, name) for name in ("value", "low", "high", "level", "count", "method")}
    )
