"""The scores of a detector together, and those of every epoch."""

import warnings

import numpy as np
import pytest

from hubel import metrics
from hubel.metrics.detection_scores import average_precisions


def pictures(num=6, boxes=4, classes=2, seed=0):
    random = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(num):
        corners = np.arange(boxes)[:, None] * 30 + random.uniform(0, 5, (boxes, 2))
        true = np.concatenate([corners, corners + 12], axis=1)
        labels = random.integers(0, classes, boxes)
        truths.append({"boxes": true, "labels": labels})
        moved = true + random.normal(0, 2, true.shape)
        said = np.where(random.random(boxes) < 0.8, labels, 1 - labels)
        found.append({"boxes": moved, "labels": said, "scores": random.random(boxes)})
    return found, truths


def test_the_values_of_every_epoch_are_those_of_the_end():
    found, truths = pictures()
    scores = metrics.object_detection(found, truths, classes=("a", "b"))
    half, mean = average_precisions(found, truths, (metrics.all_point, metrics.coco))
    assert half == pytest.approx(scores["AP50[all-point]"].value)
    assert mean == pytest.approx(scores["AP[coco]"].value)
    assert 0 < mean < half < 1
    assert list(scores)[:2] == ["AP50[all-point]", "AP[coco]"]
    each = [scores[f"AP50[all-point] of {name}"].value for name in ("a", "b")]
    assert np.mean(each) == pytest.approx(half)


def test_one_class_has_no_scores_of_its_own():
    found, truths = pictures(classes=1)
    found = [one | {"labels": one["labels"] * 0} for one in found]
    assert list(metrics.object_detection(found, truths, classes=("a",))) == ["AP50[all-point]", "AP[coco]"]


def test_many_boxes_are_no_warning_in_every_epoch():
    found, truths = pictures(num=1, boxes=120, classes=1)
    found = [one | {"labels": one["labels"] * 0} for one in found]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average_precisions(found, truths, (metrics.coco,))
        fewer = [{name: values[:100] for name, values in one.items()} for one in truths]
        metrics.average_precision(found, fewer, rule=metrics.coco)  # the limit cuts poor boxes alone
    with pytest.warns(UserWarning, match="120 objects of a class: no more than 83 % of all objects"):
        metrics.average_precision(found, truths, rule=metrics.coco)
