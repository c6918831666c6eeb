"""The corrected interval over folds: by hand, by its limits, and that it covers where the naive one does not."""

import math

import numpy as np
import pytest
import scipy.stats

from hubel.metrics import over_folds


def test_by_hand():
    scores = [0.90, 0.94, 0.92, 0.96, 0.93]
    found = over_folds(scores, num_train=80, num_test=20, level=0.9)
    half = scipy.stats.t(4).ppf(0.95) * math.sqrt((1 / 5 + 20 / 80) * np.var(scores, ddof=1))
    assert found.value == pytest.approx(np.mean(scores))
    assert (found.low, found.high) == pytest.approx((np.mean(scores) - half, np.mean(scores) + half))
    assert found.method == "corrected t over 5 folds" and found.level == 0.9


def test_without_test_examples_it_is_students_interval():
    scores = np.random.default_rng(0).normal(size=7)
    found = over_folds(scores, num_train=1e12, num_test=1)
    low, high = scipy.stats.t.interval(0.95, 6, loc=scores.mean(), scale=scipy.stats.sem(scores))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


def test_it_covers_where_students_interval_does_not():
    """Five folds of 100 examples: the error of a linear classifier, against its true error on examples without end."""
    rng = np.random.default_rng(0)
    plane, repeats, covered = np.array([1.0, -1.0, 0.5, 0.0, 0.0]), 250, {"corrected": 0, "student": 0}
    far = rng.normal(size=(20_000, 5))
    truth = far @ plane + rng.normal(size=20_000) > 0

    def fitted(x, y):
        return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), 2.0 * y - 1, rcond=None)[0]

    def right(w, x, y):
        return float(((np.column_stack([x, np.ones(len(x))]) @ w > 0) == y).mean())

    for _ in range(repeats):
        x = rng.normal(size=(100, 5))
        y = x @ plane + rng.normal(size=100) > 0
        parts = np.array_split(rng.permutation(100), 5)
        machines = [fitted(np.delete(x, part, 0), np.delete(y, part)) for part in parts]
        scores = [right(w, x[part], y[part]) for w, part in zip(machines, parts, strict=True)]
        true = np.mean([right(w, far, truth) for w in machines])
        for name, ratio in (("corrected", 20 / 80), ("student", 1e-9)):
            found = over_folds(scores, num_train=1.0, num_test=ratio)
            covered[name] += found.low <= true <= found.high
    assert covered["corrected"] >= 0.95 * repeats
    assert covered["student"] < covered["corrected"]


def test_limits_and_what_does_not_exist():
    assert over_folds([0.99, 1.0, 0.98], num_train=2, num_test=1, limits=(0, 1)).high == 1.0
    for scores in ([0.5], [0.5, math.nan]):
        found = over_folds(scores, num_train=2, num_test=1)
        assert math.isnan(found.value) and found.method.startswith("undefined")
    for wrong in ({"num_train": 0, "num_test": 1}, {"num_train": 1, "num_test": 1, "level": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            over_folds([0.5, 0.6], **wrong)
