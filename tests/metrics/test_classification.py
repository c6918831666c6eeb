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


def test_balanced_accuracy_covers_and_is_quick():
    generator, inside = np.random.default_rng(0), []
    recalls = np.array([0.9, 0.7, 0.98])
    targets = np.repeat([0, 1, 2], [60, 30, 25])
    for _ in range(400):
        right = generator.random(len(targets)) < recalls[targets]
        found = balanced_accuracy(targets, np.where(right, targets, (targets + 1) % 3))
        inside.append(found.low <= recalls.mean() <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.985


def test_groups_are_drawn_whole(guesses):
    targets, values = guesses
    repeated, groups = (np.tile(a, 6) for a in guesses), np.tile(np.arange(400), 6)
    repeated = tuple(repeated)
    for score in (accuracy, balanced_accuracy):
        once, many = score(targets, values), score(*repeated, groups=groups)
        assert many.value == pytest.approx(once.value)
        assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.2)
    once, many = per_class(targets, values)["recall"][0], per_class(*repeated, groups=groups)["recall"][0]
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.2)


def test_accuracy_over_groups_covers():
    """40 patients with 10 correlated examples each: the interval over groups holds, the naive one does not."""
    generator, grouped, naive = np.random.default_rng(1), [], []
    patient = np.repeat(np.arange(40), 10)
    for _ in range(200):
        right = generator.random(400) < generator.beta(4, 1, size=40)[patient]
        values = np.where(right, 0, 1)
        for found, inside in (
            (accuracy(np.zeros(400), values, groups=patient), grouped),
            (accuracy(np.zeros(400), values), naive),
        ):
            inside.append(found.low <= 0.8 <= found.high)
    assert np.mean(grouped) >= 0.91
    assert np.mean(naive) < 0.85


def test_groups_that_all_agree_give_no_certainty():
    found = accuracy([0, 1, 1, 0], [0, 1, 1, 0], groups=["a", "a", "b", "b"])
    assert found.value == found.high == 1
    assert 0.3 < found.low < 0.4
    assert "2 groups" in found.method


@pytest.mark.parametrize(
    ("targets", "values", "message"),
    [
        ([], [], "there are no examples"),
        ([0, 1], [0], "2 targets and 1 values"),
        (["cat"], ["dog"], "expected class numbers"),
        ([0.5], [0], "expected class numbers"),
        ([math.nan], [0], "expected class numbers"),
        ([-1], [0], "class numbers begin at 0"),
        ([[0]], [0], r"has shape \(1, 1\)"),
    ],
)
def test_what_is_no_class_number_is_refused(targets, values, message):
    with pytest.raises(ValueError, match=message):
        accuracy(targets, values)


def test_limits_of_k_and_of_the_number_of_classes():
    with pytest.raises(ValueError, match="k is 3; expected 1 to 2"):
        top_k_accuracy([0], [[0.5, 0.5]], k=3)
    with pytest.raises(ValueError, match="expected at most 1"):
        confusion_matrix([2], [0], num_classes=2)
    assert confusion_matrix([0], [0], num_classes=3).shape == (3, 3)
