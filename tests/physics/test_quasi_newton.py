"""Quasi-Newton methods on functions that are known."""

from itertools import pairwise

import pytest
import torch

from hubel.physics.quasi_newton import LimitedMemory, SelfScaledBroyden, updated


class Plain:
    """F = |r|^2 / 2 of a function r."""

    def __init__(self, function):
        self.function = function

    def gradient(self, theta):
        point = theta.clone().requires_grad_()
        here = self.function(point)
        (slope,) = torch.autograd.grad(here.square().sum() / 2, point)
        return slope, float(here.detach().square().sum())


def valley(x):
    return torch.cat([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


@pytest.mark.parametrize("method", [SelfScaledBroyden(), LimitedMemory()], ids=lambda m: type(m).__name__)
def test_the_valley_of_rosenbrock_in_six_dimensions(method):
    theta = torch.full((6,), -1.0, dtype=torch.float64)
    losses = []
    for _ in range(120):
        theta, loss, found = method.step(Plain(valley), theta)
        losses.append(loss)
        if not found or loss < 1e-22:
            break
    torch.testing.assert_close(theta, torch.ones(6, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    assert all(later <= before for before, later in pairwise(losses))


def random_case(size=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, dtype=torch.float64, generator=generator)
    inverse = root @ root.T + torch.eye(size, dtype=torch.float64)
    s, y = (torch.randn(size, dtype=torch.float64, generator=generator) for _ in range(2))
    y = y if float(s @ y) > 0 else -y
    return inverse, s, y, float(s @ torch.linalg.solve(inverse, s) / (s @ y))


@pytest.mark.parametrize("seed", range(5))
def test_the_update_fulfils_the_secant_equation_and_stays_positive(seed):
    inverse, s, y, b = random_case(seed=seed)
    found = updated(inverse, s, y, b)
    torch.testing.assert_close(found @ y, s, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found, found.T, rtol=1e-12, atol=1e-12)
    assert float(torch.linalg.eigvalsh(found).min()) > 0


def test_a_state_is_read_again_and_goes_on_alike():
    for method in (SelfScaledBroyden(), LimitedMemory(memory=3)):
        theta = torch.full((4,), -1.0, dtype=torch.float64)
        for _ in range(6):
            theta, _, _ = method.step(Plain(valley), theta)
        again = type(method)()
        again.read(*method.state())
        ours, theirs = (m.step(Plain(valley), theta) for m in (method, again))
        assert torch.equal(ours[0], theirs[0]) and ours[1] == theirs[1]


def test_where_nothing_is_lower_theta_stays():
    theta = torch.tensor([2.0], dtype=torch.float64)
    for method in (SelfScaledBroyden(), LimitedMemory()):
        same, loss, found = method.step(Plain(lambda x: torch.stack([x[0] - 2, x[0] * 0 + 1])), theta)
        assert not found and loss == 1.0 and torch.equal(same, theta)
