"""Overlap of masks against scikit-learn; pictures, not pixels, are what is independent."""

import numpy as np
import pytest
import sklearn.metrics

from hubel import metrics

N, H, W, K = 12, 6, 5, 3
NAMES = ["sky", "star", "dust"]


def case(seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, K, (N, H, W))
    values = np.where(rng.random((N, H, W)) < 0.6, targets, rng.integers(0, K, (N, H, W)))
    targets[rng.random((N, H, W)) < 0.2] = 255
    return targets, values


def test_values_are_scikit_learns():
    targets, values = case()
    there = targets != 255
    y, z = targets[there], values[there]
    found = metrics.segmentation(targets, values, NAMES, unlabelled=255)
    assert list(found)[:3] == ["mean_iou", "pixel_accuracy", "mean_dice"]
    assert found["mean_iou"].value == pytest.approx(sklearn.metrics.jaccard_score(y, z, average="macro"))
    assert found["pixel_accuracy"].value == pytest.approx(sklearn.metrics.accuracy_score(y, z))
    for k, name in enumerate(NAMES):
        assert found[f"iou_{name}"].value == pytest.approx(sklearn.metrics.jaccard_score(y == k, z == k))
        assert found[f"dice_{name}"].value == pytest.approx(sklearn.metrics.f1_score(y == k, z == k))
    matrix = sum(metrics.pixel_confusions(targets, values, K, unlabelled=255))
    assert np.array_equal(matrix, sklearn.metrics.confusion_matrix(y, z))
    right, true, said = (part.sum(0) for part in metrics.overlaps(targets, values, K, unlabelled=255))
    assert metrics.mean_overlap(right, true, said) == pytest.approx(found["mean_iou"].value)


def test_pictures_are_what_is_independent():
    """The same pictures in four times the resolution are not more evidence; groups are pictures put together."""
    targets, values = case()
    one = metrics.segmentation(targets, values, NAMES, unlabelled=255)
    fine = [np.kron(part, np.ones((1, 2, 2), int)) for part in (targets, values)]
    again = metrics.segmentation(*fine, NAMES, unlabelled=255)
    pairs = [part.reshape(N // 2, 2 * H, W) for part in (targets, values)]
    grouped = metrics.segmentation(targets, values, NAMES, unlabelled=255, groups=np.arange(N) // 2)
    together = metrics.segmentation(*pairs, NAMES, unlabelled=255)
    for name, score in one.items():
        assert score.count == N and score.low < score.value < score.high
        assert (again[name].low, again[name].high) == pytest.approx((score.low, score.high))
        ends = (together[name].low, together[name].high)
        assert (grouped[name].low, grouped[name].high) == pytest.approx(ends)


def test_a_class_that_is_nowhere_does_not_count():
    targets, values = case()
    more = metrics.segmentation(targets, values, [*NAMES, "comet"], unlabelled=255)
    less = metrics.segmentation(targets, values, NAMES, unlabelled=255)
    assert more["mean_iou"].value == pytest.approx(less["mean_iou"].value)
    assert np.isnan(more["iou_comet"].value)
    said = np.where(values == 0, 3, values)  # said, but never true: found nowhere, and counted
    wrong = metrics.segmentation(targets, said, [*NAMES, "comet"], unlabelled=255)
    assert wrong["iou_comet"].value == 0 and wrong["iou_sky"].value == 0


@pytest.mark.parametrize(
    ("targets", "values", "said"),
    [
        ([[[0, 1]]], [[[0]]], r"same shape \(N, H, W\)"),
        ([0, 1], [0, 1], r"same shape \(N, H, W\)"),
        ([[[0.0, 1.0]]], [[[0, 1]]], "masks are float64"),
        ([[[0, 3]]], [[[0, 1]]], "masks hold class numbers from 0 to 3; expected 0 to 2"),
        ([[[0, 1]]], [[[0, -1]]], "answers hold class numbers from -1"),
    ],
)
def test_refusals(targets, values, said):
    with pytest.raises(ValueError, match=said):
        metrics.segmentation(targets, values, NAMES)
