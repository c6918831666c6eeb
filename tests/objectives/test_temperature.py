"""The temperature of cross-entropy: against SciPy's minimizer, and on data whose right temperature is known."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from hubel.objectives import CrossEntropy
from hubel.objectives.cross_entropy import best_temperature


def scores_and_targets(num, classes, sharpness, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num, classes, generator=generator, dtype=torch.float64) * 2
    targets = torch.multinomial(scores.softmax(1), 1, generator=generator).squeeze(1)
    return scores * sharpness, targets


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_is_the_minimum_that_scipy_finds(sharpness, classes):
    scores, targets = scores_and_targets(500, classes, sharpness)

    def loss(log_t):
        likelihood = torch.nn.functional.cross_entropy(scores / math.exp(log_t), targets, reduction="sum")
        return (
            float(likelihood) + 0.5 * (log_t / 0.5) ** 2
        )  # before the data, log t is normal with a deviation of 1/2

    theirs = scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert math.isclose(best_temperature(scores, targets), math.exp(theirs.x), rel_tol=1e-3)


def test_recovers_the_sharpness_of_scores_that_say_too_much():
    scores, targets = scores_and_targets(100_000, 5, 3.0)
    assert math.isclose(best_temperature(scores, targets), 3.0, rel_tol=0.02)


def test_changes_no_answer_and_leaves_the_loss_alone():
    scores, targets = scores_and_targets(200, 4, 4.0)
    before = CrossEntropy(4)
    after = before.calibrated(scores, targets)
    assert after.temperature != 1
    assert np.array_equal(before.read(scores).values, after.read(scores).values)
    assert before.score(scores, targets) == after.score(scores, targets)
    expected = (scores.float() / after.temperature).softmax(1).numpy()
    assert np.allclose(after.read(scores).probabilities, expected, atol=1e-6)


def test_a_few_right_answers_make_nothing_sure():
    scores = torch.eye(3).repeat(5, 1)
    few = best_temperature(scores, scores.argmax(1))
    many = best_temperature(scores.repeat(1000, 1), scores.argmax(1).repeat(1000))
    assert 0.3 < few < 0.4 and 0.05 <= many < 0.15
    assert CrossEntropy(3).calibrated(torch.empty(0, 0), torch.empty(0)).temperature == 1.0


def test_a_temperature_that_is_none_is_refused():
    with pytest.raises(ValueError, match="temperature is 0"):
        CrossEntropy(3, temperature=0.0)
