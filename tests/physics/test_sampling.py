"""Points, and the estimate of the error from the solver's own past."""

import pytest
import torch

from hubel.physics.estimate import Amplification
from hubel.physics.network import SmallNetwork
from hubel.physics.sampling import drawn, sobol

NETWORK = SmallNetwork(1, 1, width=2, depth=1)

REGION = {"t": (0.0, 1.0), "x": (-1.0, 1.0)}


def test_sobol_points_integrate_better_than_random_ones():
    def integral(points):
        return float(torch.exp(points[:, 0] * points[:, 1]).mean())

    exact = 1.0572508753757286  # of exp(t x) / 2 over the box: Shi(1)
    assert integral(sobol(REGION, 1024, 0, "test")) == pytest.approx(exact, abs=2e-3)
    assert not torch.equal(sobol(REGION, 8, 0, "test"), sobol(REGION, 8, 0, "test", round=1))


def test_points_are_drawn_to_where_the_residual_is_large():
    def residual(points):
        return (points[:, 1] > 0.9).double() * 19 + 0.0

    points = drawn(REGION, 1000, seed=0, round=0, residual=residual)
    assert points.shape == (1000, 2) and len(points.unique(dim=0)) == 1000
    share = float(
        (points[:, 1] > 0.9).double().mean()
    )  # 5 % of the box, with weight 21 instead of 1: all 150 candidates of 3000
    assert 0.12 < share <= 0.15
    assert torch.equal(points, drawn(REGION, 1000, seed=0, round=0, residual=residual))


def test_the_error_from_earlier_states_when_errors_follow_residuals():
    truth, direction = torch.ones(1, 50, dtype=torch.float64), torch.randn(1, 50, dtype=torch.float64)
    known = Amplification()
    for size in [1.0, 0.5, 0.2, 0.05, 0.01]:
        known.note(3 * size, truth + size * direction, NETWORK)
    last = truth + 0.001 * direction
    expected = float((last - truth).norm() / last.norm())
    assert known.error(0.003, last) == pytest.approx(expected, rel=0.2)


def test_the_latest_ratio_counts_where_they_fall():
    """Errors that fall faster than residuals, as they do while the smooth parts of an error go first: error = residual squared."""
    truth, direction = torch.ones(1, 50, dtype=torch.float64), torch.ones(1, 50, dtype=torch.float64)
    known = Amplification()
    for residual in [1.0, 0.5, 0.25, 0.12]:
        known.note(residual, truth + residual**2 * direction, NETWORK)
    assert known.error(0.04, truth + 0.04**2 * direction) == pytest.approx(0.12 * 0.04, rel=0.2)


def test_no_estimate_before_the_residual_has_fallen():
    known, values = Amplification(), torch.ones(1, 5, dtype=torch.float64)
    known.note(1.0, values, NETWORK)
    assert known.error(0.5, values) is None
    known.note(0.9, values, NETWORK)
    assert len(known.residuals) == 1  # too near to the one before
