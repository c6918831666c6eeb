import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as oracle

from hubel.metrics import (
    chance_level,
    expected_initial_loss,
    f1_over_labels,
    majority_accuracy,
    per_label,
    subset_accuracy,
)


@pytest.fixture
def labels():
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(int)
    return targets, np.where(generator.random((300, 4)) < 0.8, targets, 1 - targets)


def test_multilabel_scores_agree_with_sklearn(labels):
    targets, values = labels
    assert subset_accuracy(targets, values).value == pytest.approx(oracle.accuracy_score(targets, values))
    found = f1_over_labels(targets, values)
    for average in ("micro", "macro"):
        assert found[average].value == pytest.approx(oracle.f1_score(targets, values, average=average))
        assert found[average].low < found[average].value < found[average].high
    expected = oracle.precision_recall_fscore_support(targets, values)
    for groups in (None, np.arange(300)):
        scores = per_label(targets, values, groups=groups)
        for name, numbers in zip(("precision", "recall", "f1"), expected, strict=False):
            np.testing.assert_allclose([i.value for i in scores[name]], numbers)


def test_the_closed_f1_interval_agrees_with_the_bootstrap(labels):
    closed, drawn = per_label(*labels)["f1"], per_label(*labels, groups=np.arange(300))["f1"]
    for a, b in zip(closed, drawn, strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=0.04)


def test_f1_interval_covers():
    generator, inside = np.random.default_rng(0), []
    truth = 2 * 0.3 / (2 * 0.3 + 0.1 + 0.15)
    for tp, fp, fn, _ in generator.multinomial(60, [0.3, 0.1, 0.15, 0.45], size=500):
        targets = np.repeat([1, 0, 1, 0], [tp, fp, fn, 60 - tp - fp - fn])[:, None]
        values = np.repeat([1, 1, 0, 0], [tp, fp, fn, 60 - tp - fp - fn])[:, None]
        found = per_label(targets, values)["f1"][0]
        inside.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.98


def test_chance():
    assert majority_accuracy([1, 1, 0], [1, 1, 1, 0]).value == 0.75
    assert chance_level([1, 1, 2]) == pytest.approx(0.375)
    assert expected_initial_loss("cross-entropy", num_classes=1000) == pytest.approx(math.log(1000))
    assert expected_initial_loss("prior cross-entropy", [1, 1, 0]) == pytest.approx(math.log(2))
    assert expected_initial_loss("binary cross-entropy") == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="kind is 'hinge'"):
        expected_initial_loss("hinge", [1, 1])
    with pytest.raises(ValueError, match="not all zero"):
        chance_level([0, 0])


def test_wrong_labels_are_refused(labels):
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        subset_accuracy(labels[0], labels[1] * 0.5)
    with pytest.raises(ValueError, match="same shape"):
        subset_accuracy(labels[0], labels[1][:, :2])


def test_importing_metrics_brings_neither_torch_nor_sklearn():
    code = (
        "import hubel.metrics, sys; assert not {'torch', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
