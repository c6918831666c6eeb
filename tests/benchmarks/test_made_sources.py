"""The best possible accuracy of the made set, against dense Gaussians and against brute force."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import made_sources

TINY = made_sources.Sky(
    side=3,
    sky=(400.0, 900.0),
    psf=(0.8, 1.1),
    colours=((0.8, 1.0), (1.3, 0.9), (1.0, 1.0)),
    offsets=(-0.5, 0.5),
    num_angles=2,
    sizes=(1.0,),
    axis_ratios=(0.5,),
    separations=(1.5,),
    flux_ratios=(0.5,),
    brightness=(200.0, 500.0),
)


def test_evidence_is_the_sum_of_dense_gaussians():
    pictures, _ = made_sources.make(4, 0, TINY)
    log = np.zeros((4, 3))
    for kind in range(3):
        terms = []
        for profile, (weight, flux) in product(
            TINY.profiles[kind].astype(np.float64), zip(TINY.brightness_weights, TINY.brightness, strict=True)
        ):
            total = np.full(4, np.log(weight / len(TINY.profiles[kind])))
            for c in range(2):
                mean = flux * TINY.colours[kind][c]
                covariance = (
                    TINY.sigma[c] ** 2 * np.eye(9)
                    + TINY.sky_scatter**2
                    + (TINY.colour_scatter * mean) ** 2 * np.outer(profile[c], profile[c])
                )
                middle = made_sources.BIAS + TINY.sky[c] + mean * profile[c]
                total += multivariate_normal(middle, covariance).logpdf(pictures[:, c].reshape(4, 9))
            terms.append(total)
        log[:, kind] = logsumexp(terms, axis=0)
    wanted = np.exp(log - logsumexp(log, axis=1, keepdims=True))
    assert made_sources.posterior(pictures, TINY) == pytest.approx(wanted, abs=2e-4)


def test_best_accuracy_is_what_brute_force_finds():
    """One pixel, two channels: the most frequent class of each small square of values, learned from half of many pictures."""
    sky = made_sources.Sky(
        **{**vars_of(TINY), "side": 1, "offsets": (0.0,), "sky_scatter": 5.0, "brightness": (1000.0, 2000.0)}
    )
    pictures, targets = made_sources.make(120_000, 1, sky)
    square = (pictures.reshape(-1, 2).astype(np.int64) // 12) @ np.array([10_000, 1])
    _, square = np.unique(square, return_inverse=True)
    table = np.zeros((square.max() + 1, 3))
    np.add.at(table, (square[:60_000], targets[:60_000]), 1)
    found = float((table.argmax(1)[square[60_000:]] == targets[60_000:]).mean())
    best, error = made_sources.best_accuracy(made_sources.posterior(pictures[60_000:], sky))
    assert 0.4 < best < 0.95
    assert found == pytest.approx(best, abs=0.01)
    assert error < 0.002


def test_posterior_is_calibrated_and_best():
    pictures, targets = made_sources.make(3000, 2, TINY)
    posterior = made_sources.posterior(pictures, TINY)
    best, error = made_sources.best_accuracy(posterior)
    right = (posterior.argmax(1) == targets).mean()
    assert right == pytest.approx(best, abs=4 * error + 4 * (0.25 / 3000) ** 0.5)


def test_pictures_are_16_bit_with_four_channels():
    pictures, targets = made_sources.make(9, 0)
    assert pictures.shape == (9, 4, 32, 32) and pictures.dtype == np.uint16
    assert sorted(targets) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def vars_of(sky):
    return {name: getattr(sky, name) for name in sky.__dataclass_fields__}
