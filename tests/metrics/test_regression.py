import math

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as oracle

from hubel.metrics import bootstrap, coverage, mae, mean, r2, rmse


def drawn(seed, count, outputs=1):
    generator = np.random.default_rng(seed)
    targets = generator.normal(size=(count, outputs)) * 3 + 10
    return targets, targets + generator.normal(size=targets.shape)


@pytest.mark.parametrize("outputs", [1, 3])
def test_values_agree_with_sklearn(outputs):
    targets, values = drawn(0, 200, outputs)
    assert rmse(targets, values).value == pytest.approx(oracle.root_mean_squared_error(targets, values))
    assert mae(targets, values).value == pytest.approx(oracle.mean_absolute_error(targets, values))
    assert r2(targets, values).value == pytest.approx(oracle.r2_score(targets, values))


def test_intervals_cover():
    found = {
        name: [score(*drawn(seed, 50)) for seed in range(300)]
        for name, score in {"rmse": rmse, "mae": mae, "r2": r2}.items()
    }
    truth = {"rmse": 1.0, "mae": math.sqrt(2 / math.pi), "r2": 1 - 1 / 9}
    for name, intervals in found.items():
        assert np.mean([i.low <= truth[name] <= i.high for i in intervals]) >= 0.9, name


def test_groups_are_drawn_whole():
    targets, values = drawn(1, 60)
    once = rmse(targets, values)
    many = rmse(
        np.repeat(targets, 8, axis=0), np.repeat(values, 8, axis=0), groups=np.repeat(np.arange(60), 8)
    )
    assert many.value == pytest.approx(once.value)
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.15)
    assert many.method == "bootstrap over 60 groups"


def test_large_numbers_take_the_normal_limit_and_agree_with_the_resampled():
    values = np.random.default_rng(0).exponential(size=60_000)
    found = mean(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.15 * half
    )


def test_the_same_seed_gives_the_same_interval():
    targets, values = drawn(2, 40)
    assert mae(targets, values, seed=1) == mae(targets, values, seed=1) != mae(targets, values, seed=2)


def test_what_can_not_be_scored():
    assert math.isnan(r2([1.0, 1.0], [1.0, 2.0]).value)
    assert "do not vary" in r2([1.0, 1.0], [1.0, 2.0]).method
    assert "no interval" in rmse([1.0], [2.0]).method
    with pytest.raises(ValueError, match="expected one an example"):
        rmse([1.0], [2.0, 3.0])
    with pytest.raises(ValueError, match="the first is row 0"):
        mae([math.inf], [2.0])
    with pytest.raises(ValueError, match="level is 95; expected a probability"):
        bootstrap(np.ones((3, 1)), lambda s: s, level=95)
    with pytest.raises(ValueError, match="one group an example"):
        mae([1.0, 2.0], [2.0, 3.0], groups=[1])


def test_coverage_counts_what_lies_inside():
    generator = np.random.default_rng(0)
    truth, values = generator.normal(size=20_000), np.zeros(20_000)
    for share in (0.5, 0.6827, 0.95):
        assert coverage(truth, values, np.ones(20_000), share=share).value == pytest.approx(share, abs=0.01)
    halved = coverage(truth, values, np.full(20_000, 0.5), share=0.95)
    assert halved.value == pytest.approx(scipy.stats.norm.cdf(0.98) * 2 - 1, abs=0.01)
    assert halved.low < halved.value < halved.high
    several = coverage(
        np.stack([truth, 9 + truth], 1), np.zeros((20_000, 2)), np.ones((20_000, 2)), share=0.95
    )
    assert several.value == pytest.approx(0.95 / 2, abs=0.01)
    with pytest.raises(ValueError, match="uncertainties go down to 0"):
        coverage([1.0], [1.0], [0.0], share=0.95)
