"""Intervals from few units hold the truth as often as they say."""

import numpy as np
import pytest

from hubel.metrics.intervals import bootstrap


def mean_of(columns):
    return columns[:, :1] / columns[:, 1:]


@pytest.mark.parametrize("num", [4, 8])
def test_the_mean_of_few_groups_is_covered(num):
    """Groups of different means, each of three examples: 400 times the 95 % interval of their mean. Student's own covers 95 %."""
    generator = np.random.default_rng(0)
    groups, hits = np.repeat(np.arange(num), 3), 0
    for _ in range(400):
        x = np.repeat(generator.normal(size=num), 3) + generator.normal(0, 0.1, 3 * num)
        (found,) = bootstrap(np.stack([x, np.ones(len(x))], axis=1), mean_of, groups=groups)
        hits += found.low <= 0 <= found.high
    assert 0.9 <= hits / 400 <= 0.985


def test_of_many_units_nothing_is_widened():
    x = np.random.default_rng(0).normal(size=20_000)
    (found,) = bootstrap(np.stack([x, np.ones(len(x))], axis=1), mean_of)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / np.sqrt(20_000), rel=0.05)
