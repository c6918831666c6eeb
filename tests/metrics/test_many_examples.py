"""Scores of many examples: the same numbers whatever the size of the pieces they are computed in, and few bytes an example."""

import importlib
import tracemalloc

import numpy as np
import pytest

from hubel.metrics import classification, reliability

MANY = 150_000


def drawn(count, classes, dtype, seed=0):
    generator = np.random.default_rng(seed)
    scores = np.round(generator.normal(size=(count, classes)), 1)  # rounded, so that there are ties
    targets = generator.integers(0, classes, count)
    scores[np.arange(count), targets] += 1
    odds = np.exp(scores)
    return targets, (odds / odds.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize(("classes", "dtype"), [(2, "float32"), (7, "float32"), (3, "float64")])
def test_the_size_of_the_pieces_changes_nothing(classes, dtype, monkeypatch):
    targets, probabilities = drawn(300, classes, dtype)
    whole = classification(targets, probabilities), reliability(targets, probabilities)
    monkeypatch.setattr(importlib.import_module("hubel.metrics.inputs"), "PIECE", 17)
    assert (classification(targets, probabilities), reliability(targets, probabilities)) == whole
    assert classification(targets, probabilities.astype(np.float64)) == whole[0]


def test_what_many_examples_take(monkeypatch):
    targets, probabilities = drawn(MANY, 2, "float32")
    classification(targets[:100], probabilities[:100])  # what is imported and kept
    monkeypatch.setattr(importlib.import_module("hubel.metrics.inputs"), "PIECE", 2_000)
    tracemalloc.start()
    classification(targets.astype(np.int32), probabilities)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 52 * MANY
