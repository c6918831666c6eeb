"""Coefficients from data: values and standard errors against linear theory and the truth, and what data can not tell."""

import math

import numpy as np
import pytest
import torch

from hubel.physics import Problem, Solver, solve, unknown
from hubel.physics.discovery import _factor
from hubel.physics.ladder import EMPHASIS, Ladder
from hubel.physics.unknown import Found

A, NU, NOISE = 0.7, 0.03, 0.02
DOMAIN = {"t": (0, 1), "x": (-1, 1)}


def measured(num=400, noise=NOISE, seed=0):
    """A wave that moves and fades, u_t + A u_x = NU u_xx, with noise."""
    generator = np.random.default_rng(seed)
    t, x = generator.uniform(0, 1, num), generator.uniform(-1, 1, num)
    u = np.exp(-NU * math.pi**2 * t) * np.sin(math.pi * (x - A * t))
    return {"t": t, "x": x, "u": u + noise * generator.standard_normal(num)}


def test_two_coefficients_with_honest_errors():
    problem = Problem(
        lambda u, a, nu: u.t + a * u.x - nu * u.xx, domain=DOMAIN, a=unknown(), nu=unknown(0.1, positive=True)
    )
    found = solve(problem, data=measured(), width=8, depth=2)
    assert found.stopped == "data" and not found.warnings
    for value, truth in [(found.a, A), (found.nu, NU)]:
        assert abs(value.value - truth) < 4 * value.standard_error
        assert 0 < value.standard_error < 0.1 * truth
    assert found.noise["u"] == pytest.approx(NOISE, rel=0.1)
    assert found.estimate < 0.1
    assert "found.a" not in str(found) and f"a = {found.a}" in str(found)


def test_the_standard_error_is_that_of_linear_regression_where_the_field_is_known():
    """With exact conditions of an ODE the network has no freedom: du/dt = a, u(0) = 0, so u = a t."""
    generator = np.random.default_rng(1)
    t = generator.uniform(0, 1, 60)
    y = 2 * t + 0.05 * generator.standard_normal(60)
    problem = Problem(lambda u, a: u.t - a, domain={"t": (0, 1)}, initial=0.0, a=unknown())
    found = solve(problem, data={"t": t, "u": y}, width=4, depth=1)
    expected = (t * y).sum() / (t * t).sum()
    sigma = math.sqrt(((y - expected * t) ** 2).sum() / 59)
    assert found.a.value == pytest.approx(expected, rel=0.01)
    assert found.a.standard_error == pytest.approx(sigma / math.sqrt((t * t).sum()), rel=0.1)
    assert found.noise["u"] == pytest.approx(sigma, rel=0.05)


def test_discovery_is_resumed_as_if_never_stopped():
    problem = Problem(lambda u, a: u.t + a * u.x, domain=DOMAIN, a=unknown())
    arguments = {"data": measured(60), "width": 4, "depth": 1}
    whole, first = Solver(problem, **arguments), Solver(problem, **arguments)
    for solver, last in ((whole, 31), (first, 14)):
        next(record for record in solver.steps() if record.iteration == last)
    second = Solver(problem, **arguments, state=first.state())
    next(record for record in second.steps() if record.iteration == 31)
    assert (
        torch.equal(second.trial.theta, whole.trial.theta) and second.strategy.ladder == whole.strategy.ladder
    )
    assert second.solution().a == whole.solution().a


@pytest.mark.parametrize(
    ("num", "noise", "chosen", "expected"),
    [
        (1200, 0.0, {}, (20, 4)),
        (1200, 0.02, {}, (12, 3)),
        (200, 0.0, {}, (12, 3)),  # 361 weights: what they follow may be noise
        (1200, 0.0, {"depth": 3}, (20, 3)),
        (1200, 0.0, {"width": 12, "depth": 3}, (12, 3)),
        (1200, 0.0, {"points": 300}, (20, 4)),
    ],
)
def test_nearly_exact_data_are_worth_a_larger_network(num, noise, chosen, expected):
    problem = Problem(lambda u, a: u.t + a * u.x, domain=DOMAIN, a=unknown())
    t, x = np.random.default_rng(0).uniform([[0.0], [-1.0]], [[1.0], [1.0]], (2, num))
    u = np.sin(math.pi * (x - A * t)) + noise * np.random.default_rng(1).standard_normal(num)
    solver = Solver(problem, data={"t": t, "x": x, "u": u}, **chosen)
    for record in solver.steps():
        if record.num_weights > 400 or solver.strategy.ladder.rungs or record.iteration == 80:
            break
    described = solver.ansatz.network.described()
    assert (described["width"], described["depth"]) == expected
    if expected[0] == 20:
        assert (
            record.iteration % 12 == 1 and solver.strategy.ladder == Ladder()
        )  # the first one of the new network
        assert record.num_points == len(solver.trial.points)
        again = Solver(problem, data={"t": t, "x": x, "u": u}, **chosen, state=solver.state())
        for one in (solver, again):
            next(iter(one.steps()))
        assert torch.equal(solver.trial.theta, again.trial.theta)


def test_a_state_goes_on_with_data_where_it_had_some_alone():
    problem = Problem(
        lambda u: u.t + A * u.x - NU * u.xx, domain=DOMAIN, initial=lambda x: 1 - x**2, boundary={"x": 0.0}
    )
    plain, fitted = ({"width": 3, "depth": 1} | more for more in ({}, {"data": measured(20)}))
    with pytest.raises(ValueError, match="of a problem with data: pass the same data="):
        Solver(problem, **plain, state=Solver(problem, **fitted).state())
    with pytest.raises(ValueError, match="of a problem without data: leave out data="):
        Solver(problem, **fitted, state=Solver(problem, **plain).state())


def after(iterations, problem, **arguments):
    """The solution after so many iterations, however long they take, or fewer where it rests."""
    solver = Solver(problem, **arguments)
    next((record for record in solver.steps() if record.iteration == iterations), None)
    return solver.solution()


def test_two_coefficients_that_act_alike_are_named():
    problem = Problem(lambda u, a, b: u.t + (a + b) * u.x, domain=DOMAIN, a=unknown(), b=unknown(0.5))
    data = measured() | {}
    data["u"] = np.sin(math.pi * (data["x"] - A * data["t"]))
    found = after(120, problem, data=data, width=6, depth=1)
    assert any("b and a can not be told apart" in text for text in found.warnings)
    assert found.a.value + found.b.value == pytest.approx(A, abs=0.02)


def test_noisy_points_help_a_forward_problem():
    data = measured(num=100)
    problem = Problem(
        lambda u: u.t + A * u.x - NU * u.xx, domain=DOMAIN, initial=lambda x: torch.sin(math.pi * x)
    )
    found = after(120, problem, data=data, width=8, depth=2)
    t, x = np.meshgrid(np.linspace(0, 1, 9), np.linspace(-1, 1, 9))
    truth = np.exp(-NU * math.pi**2 * t) * np.sin(math.pi * (x - A * t))
    error = np.linalg.norm(found(t=t, x=x) - truth) / np.linalg.norm(truth)
    assert error < 0.1 and error / 5 < found.estimate < 5 * error
    assert found.parameters == {} and found.noise["u"] == pytest.approx(NOISE, rel=0.3)


ONE, ERROR = torch.tensor([1.0]), torch.tensor([0.1])


def climbed(steps):
    ladder = Ladder()
    return ladder, [ladder.next(0.5, value, error) for value, error in steps]


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (1.0, 0.05, "up"),
        (1.16, 0.05, "up"),  # 2 sqrt(0.1^2 - 0.05^2) + 0.3 x 0.05 = 0.188
        (1.2, 0.05, "wider"),
        (1.0, 0.099, "down"),
    ],
)
def test_the_next_rung_of_the_ladder(value, error, verdict):
    then = (torch.tensor([value]), torch.tensor([error]))
    ladder, verdicts = climbed([(ONE, ERROR), (ONE, ERROR), then, then])
    assert verdicts == ["stay", "up", "stay", verdict]
    assert ladder.emphasis == EMPHASIS ** (2 if verdict == "up" else 1)


def test_a_rung_lasts_while_an_unknown_moves():
    ladder, verdicts = climbed([(ONE * (1 + 0.05 * k), ERROR) for k in range(4)])
    assert verdicts == ["stay"] * 4 and len(ladder.trail) == 4


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0031834, 2.1e-6, "0.0031834 ± 0.0000021"),
        (1.0, 0.25, "1.00 ± 0.25"),
        (-12.3456, 3.0, "-12.3 ± 3.0"),
        (2.0, math.nan, "2 ± nan"),
    ],
)
def test_how_a_coefficient_is_printed(value, error, text):
    assert str(Found(value=value, standard_error=error)) == text


def test_information_that_rounding_left_indefinite_has_a_factor():
    """Squares of columns that are nearly alike: H loses half of the digits, and its least eigenvalues may become negative."""
    jacobian = torch.vander(torch.linspace(0, 1, 60, dtype=torch.float64), 30)
    matrix = jacobian.t() @ jacobian
    matrix -= 1e-12 * matrix.diagonal().mean() * torch.eye(30, dtype=torch.float64)
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(matrix)
    factor = _factor(matrix)
    assert torch.linalg.matrix_norm(factor @ factor.t() - matrix) < 1e-10 * torch.linalg.matrix_norm(matrix)
    with pytest.raises(ValueError, match="NaN or infinite"):
        _factor(torch.full((2, 2), math.nan, dtype=torch.float64))
