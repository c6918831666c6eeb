import itertools

import numpy as np
import pytest
from sklearn import metrics as oracle

from hubel.metrics import brier, calibration, expected_calibration_error, log_loss, reliability


@pytest.fixture
def honest():
    """Probabilities that mean what they say, and targets drawn from them."""

    def draw(seed, count=500, classes=3):
        generator = np.random.default_rng(seed)
        probabilities = generator.dirichlet(np.full(classes, 0.7), size=count)
        targets = (
            (generator.random((count, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
        )
        return targets, probabilities

    return draw


def test_log_loss_and_brier_agree_with_sklearn(honest):
    targets, probabilities = honest(0)
    assert log_loss(targets, probabilities).value == pytest.approx(
        oracle.log_loss(targets, probabilities, labels=range(3))
    )
    one_hot = np.eye(3)[targets]
    assert brier(targets, probabilities).value == pytest.approx(
        ((one_hot - probabilities) ** 2).sum(axis=1).mean()
    )
    binary = brier(targets == 0, probabilities[:, 0]).value
    assert binary == pytest.approx(2 * oracle.brier_score_loss(targets == 0, probabilities[:, 0]))


def test_calibration_error_is_the_mean_gap_of_equal_bins(honest):
    targets, probabilities = honest(1, count=600)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    order = np.argsort(confidence)
    gaps = [abs(right[rows].mean() - confidence[rows].mean()) for rows in np.array_split(order, 10)]
    assert expected_calibration_error(targets, probabilities, bins=10).value == pytest.approx(np.mean(gaps))
    bins = reliability(targets, probabilities, bins=10)
    assert [b.accuracy.count for b in bins] == [60] * 10
    assert all(a.high <= b.low for a, b in itertools.pairwise(bins))


def sharpened(probabilities):
    return probabilities**1.5 / (probabilities**1.5).sum(axis=1, keepdims=True)


def test_calibration_error_covers_the_truth_of_a_calibrated_and_of_a_bold_model(honest):
    targets, probabilities = honest(0, count=200_000)
    truth = expected_calibration_error(targets, sharpened(probabilities)).value
    calibrated, bold = [], []
    for seed in range(1, 51):
        targets, probabilities = honest(seed, count=400)
        calibrated.append(expected_calibration_error(targets, probabilities).low == 0)
        found = expected_calibration_error(targets, sharpened(probabilities))
        bold.append(found.low <= truth <= found.high)
    assert np.mean(calibrated) >= 0.93
    assert np.mean(bold) >= 0.9


def test_log_loss_interval_covers(honest):
    targets, probabilities = honest(0, count=200_000)
    truth = log_loss(targets, probabilities).value
    found = [log_loss(*honest(seed, count=80)) for seed in range(1, 201)]
    assert np.mean([i.low <= truth <= i.high for i in found]) >= 0.9


def test_what_is_not_a_probability_is_refused():
    with pytest.raises(ValueError, match=r"lie between -1 and 2; expected 0 to 1"):
        log_loss([0, 1], [[2.0, -1.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="expected 1"):
        brier([0, 1], [[0.9, 0.9], [0.5, 0.5]])
    with pytest.raises(ValueError, match="no examples"):
        log_loss([], np.zeros((0, 2)))
    assert log_loss([1], [[1.0, 0.0]]).value < 88


def test_the_error_of_many_examples_is_that_of_few(monkeypatch):
    """Above a number of examples the sums are drawn from their normal limit, without a column a bin."""
    generator = np.random.default_rng(0)
    p = generator.uniform(size=3000)
    targets = (generator.uniform(size=3000) < 0.9 * p).astype(int)
    few = expected_calibration_error(targets, p)
    monkeypatch.setattr(calibration, "EXACT_UNITS", 2000)
    many = expected_calibration_error(targets, p)
    assert many.value == few.value
    assert (many.low, many.high) == pytest.approx((few.low, few.high), rel=0.1)
    gaps, number = generator.normal(size=500), generator.integers(0, 3, size=500)
    columns = np.zeros((500, 4))
    columns[np.arange(500), number], columns[:, -1] = gaps, 1
    drawn = calibration._sums_of_many(gaps, number, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), columns.sum(axis=0), atol=3)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(columns.T) * 500, atol=25)
