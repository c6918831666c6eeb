import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from hubel.metrics import average_precision, roc_auc


def drawn(generator, count, classes=2, separation=1.0):
    targets = np.concatenate([np.arange(classes), generator.integers(0, classes, count - classes)])
    scores = generator.normal(size=(count, classes)) + separation * (targets[:, None] == np.arange(classes))
    return targets, np.round(scores, 1)  # rounded, so that there are ties


def test_values_agree_with_sklearn():
    targets, scores = drawn(np.random.default_rng(0), 300)
    assert roc_auc(targets, scores[:, 1]).value == pytest.approx(oracle.roc_auc_score(targets, scores[:, 1]))
    assert average_precision(targets, scores[:, 1]).value == pytest.approx(
        oracle.average_precision_score(targets, scores[:, 1])
    )
    targets, scores = drawn(np.random.default_rng(1), 300, classes=4)
    one_hot = np.eye(4)[targets]
    assert roc_auc(targets, scores).value == pytest.approx(
        oracle.roc_auc_score(one_hot, scores, average="macro")
    )
    assert average_precision(targets, scores).value == pytest.approx(
        oracle.average_precision_score(one_hot, scores, average="macro")
    )


def test_the_variance_is_delongs():
    targets, scores = drawn(np.random.default_rng(2), 60)
    positive, negative = scores[targets == 1, 1], scores[targets == 0, 1]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = kernel.mean(axis=1).var(ddof=1) / len(positive) + kernel.mean(axis=0).var(ddof=1) / len(
        negative
    )
    area = kernel.mean()
    half = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    found = roc_auc(targets, scores[:, 1])
    np.testing.assert_allclose(
        (found.low, found.high), 1 / (1 + np.exp([half - centre, -half - centre])), rtol=1e-6
    )


def test_the_interval_covers():
    truth, inside = stats.norm.cdf(1 / math.sqrt(2)), []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        targets = np.arange(80) % 2
        found = roc_auc(targets, generator.normal(size=80) + targets)
        inside.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.985


def test_groups_widen_the_interval_of_repeated_examples():
    targets, scores = drawn(np.random.default_rng(3), 100)
    targets, scores, patient = np.tile(targets, 5), np.tile(scores[:, 1], 5), np.tile(np.arange(100), 5)
    once, naive, grouped = (
        roc_auc(targets[:100], scores[:100]),
        roc_auc(targets, scores),
        roc_auc(targets, scores, groups=patient),
    )
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.05)
    grouped = average_precision(targets, scores, groups=patient)
    once = average_precision(targets[:100], scores[:100])
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.15)


def test_one_class_gives_nan_with_a_reason_and_perfect_order_no_false_certainty():
    assert math.isnan(roc_auc([1, 1], [0.2, 0.3]).value)
    assert "one class" in roc_auc([1, 1], [0.2, 0.3]).method
    assert "class 2" in roc_auc([0, 1], [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]).method
    assert math.isnan(average_precision([0, 0], [0.2, 0.3]).value)
    perfect = roc_auc(np.arange(20) >= 10, np.arange(20.0))
    assert perfect.value == perfect.high == 1
    assert 0.6 < perfect.low < 0.8


def test_wrong_scores_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 2 rows, the first is row 1"):
        roc_auc([0, 1], [0.5, math.nan])
    with pytest.raises(ValueError, match=r"expected scores \(N, 3\)"):
        roc_auc([0, 1, 2], [0.5, 0.1, 0.2])
