"""The least-squares method on systems that are known, and the vector r with its derivatives against nested differentiation."""

import math

import pytest
import torch

from hubel.physics import Problem, levenberg, unknown
from hubel.physics.ansatz import Ansatz, inputs_of, scales_of
from hubel.physics.levenberg import LevenbergMarquardt
from hubel.physics.mirror import mirror_of
from hubel.physics.network import SmallNetwork
from hubel.physics.observations import Observations
from hubel.physics.system import Linearized, Part, System, prepared_blocks, rows_of_values


class Plain:
    """R(theta) by a function, with derivatives by torch."""

    def __init__(self, function):
        self.residuals = function

    def linearized(self, theta):
        return Linearized(self.residuals(theta), torch.autograd.functional.jacobian(self.residuals, theta))


def test_a_linear_system_as_lstsq_solves_it():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(20, 6, dtype=torch.float64, generator=generator)
    right = torch.randn(20, dtype=torch.float64, generator=generator)
    method, theta = LevenbergMarquardt(), torch.zeros(6, dtype=torch.float64)
    for _ in range(30):
        theta, loss, _ = method.step(Plain(lambda x: matrix @ x - right), theta)
    expected = torch.linalg.lstsq(matrix, right[:, None]).solution[:, 0]
    torch.testing.assert_close(theta, expected, rtol=1e-9, atol=1e-9)
    assert loss == pytest.approx(float((matrix @ expected - right).square().sum()), rel=1e-9)


def steps_through_the_valley():
    def valley(x):
        return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    method, theta, losses = LevenbergMarquardt(), torch.tensor([-1.2, 1.0], dtype=torch.float64), [1.0]
    while losses[-1] > 1e-20 and len(losses) < 100:
        theta, loss, _ = method.step(Plain(valley), theta)
        losses.append(loss)
    torch.testing.assert_close(theta, torch.ones(2, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    return len(losses)


def test_the_valley_of_rosenbrock_takes_fewer_steps_with_the_acceleration(monkeypatch):
    accelerated = steps_through_the_valley()
    monkeypatch.setattr(levenberg, "BEARABLE", 0.0)
    assert accelerated < 0.8 * steps_through_the_valley()


def test_at_a_minimum_no_step_is_found_and_theta_stays():
    theta = torch.tensor([2.0], dtype=torch.float64)
    same, loss, found = LevenbergMarquardt().step(
        Plain(lambda x: torch.stack([x[0] - 2, x[0] * 0 + 1])), theta
    )
    assert not found and loss == 1.0 and torch.equal(same, theta)


def burgers_with_all_kinds_of_rows(mirrored):
    """Equation, a soft condition, data, and an unknown; or, `mirrored`, an equation with a symmetry."""
    if mirrored:
        problem = Problem(
            lambda u: u.t + u * u.x - 0.1 * u.xx,
            domain={"t": (0, 1), "x": (-1, 1)},
            initial=lambda x: -torch.sin(math.pi * x),
            boundary={"x": 0.0},
        )
    else:
        problem = Problem(
            lambda u, v, nu: (u.t + u * u.x - nu * u.xx, v.t - nu * v.x * u),
            domain={"t": (0, 1), "x": (-1, 1)},
            nu=unknown(0.3, positive=True),
            boundary={"x=1": lambda u, nu: u.x + nu * u},
        )
    mirror = mirror_of(problem)
    assert (mirror is not None) == mirrored
    network = SmallNetwork(inputs_of(problem, mirror), len(problem.components), width=4, depth=2, seed=1)
    ansatz = Ansatz(problem, network, mirror, scales_of(problem))
    points = torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    blocks = tuple(b for piece in points.split(4) for b in prepared_blocks(ansatz, piece, problem.jet))
    parts = [Part(blocks, (0.7,) if mirrored else (0.7, 2.0))]
    if not mirrored:
        face = torch.cat([points[:3, :1], torch.ones(3, 1, dtype=torch.float64)], 1)
        parts.append(
            Part(prepared_blocks(ansatz, face, problem.jet), (3.0,), condition=problem.conditions.soft[0])
        )
        data = Observations.of({"t": points[:, 0], "x": points[:, 1], "v": points[:, 0] ** 2}, problem)
        parts.append(Part(prepared_blocks(ansatz, data.points, problem.jet), (1.5,), observed=(data.values,)))
    system = System(ansatz, parts)
    theta = torch.cat(
        [network.weights() + 0.1, torch.full((len(problem.unknowns),), 0.2, dtype=torch.float64)]
    )
    return system, theta


@pytest.mark.parametrize("mirrored", [False, True])
def test_normal_equations_against_differences(mirrored):
    system, theta = burgers_with_all_kinds_of_rows(mirrored)
    step, here = 1e-6, system.residuals(theta)
    columns = []
    for place in range(len(theta)):
        moved = torch.zeros_like(theta)
        moved[place] = step
        columns.append((system.residuals(theta + moved) - system.residuals(theta - moved)) / (2 * step))
    jacobian = torch.stack(columns, 1)
    linear = system.linearized(theta)
    torch.testing.assert_close(linear.jacobian, jacobian, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(linear.matrix, jacobian.T @ jacobian, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(linear.here, here, rtol=1e-13, atol=1e-15)
    slope, loss = system.gradient(theta)
    torch.testing.assert_close(slope, linear.slope, rtol=1e-12, atol=1e-14)
    assert loss == pytest.approx(float(here @ here), rel=1e-12)


def test_rows_of_values_against_differences():
    system, theta = burgers_with_all_kinds_of_rows(True)
    points = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ((values, jacobian),) = rows_of_values(system.ansatz, theta, points)
    along, step = torch.linspace(-1, 1, len(theta), dtype=torch.float64), 1e-6

    def at(weights):
        system.ansatz.network.read(weights)
        return system.ansatz.values(points)[0] / system.ansatz.scales["u"]

    torch.testing.assert_close(values, at(theta), rtol=1e-13, atol=1e-13)
    difference = (at(theta + step * along) - at(theta - step * along)) / (2 * step)
    torch.testing.assert_close(jacobian @ along, difference, rtol=1e-6, atol=1e-8)
