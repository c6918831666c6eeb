"""Folds: every example tested once, classes in proportion, groups whole."""

import numpy as np
import pytest

from hubel.data import Dataset
from hubel.data.folds import folds


def dataset(num=60, classes=("a", "b", "c"), groups=None, targets=None):
    targets = np.arange(num) % 3 if targets is None else targets
    return Dataset(inputs=np.zeros((num, 2), np.float32), targets=targets, classes=classes, groups=groups)


@pytest.mark.parametrize("num", [2, 5, 7])
@pytest.mark.parametrize("grouped", [False, True])
def test_every_example_is_tested_once(num, grouped):
    groups = np.array([f"plate {k // 4}" for k in range(60)]) if grouped else None
    parts = folds(dataset(groups=groups), num, seed=1)
    assert len(parts) == num
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    if grouped:
        held = [set(groups[rows]) for rows in parts]
        assert sum(map(len, held)) == len(set(groups)), "a group stands in two folds"


def test_classes_in_proportion():
    targets = np.repeat([0, 1, 2], [40, 15, 5])
    for rows in folds(dataset(targets=targets), 5):
        assert np.bincount(targets[rows]).tolist() == [8, 3, 1]


def test_a_function_of_the_seed():
    one, again, other = (folds(dataset(), 5, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_real_values_have_folds_too():
    data = Dataset(
        inputs=np.zeros((10, 2), np.float32), targets=np.linspace(0, 1, 10)[:, None], target_names=("t",)
    )
    assert sorted(np.concatenate(folds(data, 3)).tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("num", "groups", "match"),
    [
        (1, None, "at least 2"),
        (61, None, "61 folds of 60 examples"),
        (3, np.arange(60) % 2, "3 folds of 2 groups"),
        (2, [1], "1 entries"),
    ],
)
def test_too_few_are_refused(num, groups, match):
    with pytest.raises(ValueError, match=match):
        folds(dataset(), num, groups=groups)
