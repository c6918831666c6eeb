import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from hubel.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    per_class,
    proportion,
    top_k_accuracy,
)


@pytest.fixture
def guesses():
    generator = np.random.default_rng(3)
    targets = generator.choice(5, size=400, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    values = np.where(generator.random(400) < 0.7, targets, generator.integers(0, 5, 400))
    return targets, values


def test_accuracy_has_the_value_of_sklearn_and_the_interval_of_scipy(guesses):
    targets, values = guesses
    found = accuracy(targets, values)
    right = int((targets == values).sum())
    expected = stats.binomtest(right, len(targets)).proportion_ci(method="wilson")
    assert found.value == pytest.approx(oracle.accuracy_score(targets, values))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.count == 400


def test_wilson_covers_at_forty_examples():
    right, chances = np.arange(41), np.linspace(0.02, 0.98, 97)
    low, high = np.array([(i.low, i.high) for i in (proportion(np.arange(40) < r) for r in right)]).T
    inside = (low <= chances[:, None]) & (chances[:, None] <= high)
    coverage = (stats.binom.pmf(right, 40, chances[:, None]) * inside).sum(axis=1)
    assert coverage.mean() >= 0.945
    assert np.quantile(coverage, 0.1) >= 0.93


def test_balanced_accuracy_and_confusion_and_scores_agree_with_sklearn(guesses):
    targets, values = guesses
    assert balanced_accuracy(targets, values).value == pytest.approx(
        oracle.balanced_accuracy_score(targets, values)
    )
    np.testing.assert_array_equal(confusion_matrix(targets, values), oracle.confusion_matrix(targets, values))
    expected = oracle.precision_recall_fscore_support(targets, values)
    for name, numbers in zip(("precision", "recall", "f1"), expected, strict=False):
        np.testing.assert_allclose([i.value for i in per_class(targets, values)[name]], numbers)


def test_top_k_agrees_with_sklearn():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(6), size=200)
    targets = generator.integers(0, 6, 200)
    for k in (1, 3, 5):
        expected = oracle.top_k_accuracy_score(targets, probabilities, k=k, labels=range(6))
        assert top_k_accuracy(targets, probabilities, k).value == pytest.approx(expected)


def test_a_class_never_predicted_has_no_precision_and_says_why():
    scores = per_class([0, 0, 1], [0, 0, 0])
    assert math.isnan(scores["precision"][1].value)
    assert "never predicted" in scores["precision"][1].method
    assert scores["recall"][1].value == 0
    assert scores["f1"][1].value == 0
