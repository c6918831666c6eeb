"""A network of the user's own against hubel's of the same weights, whose derivatives are computed in another way; and what is refused."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from hubel.physics import LevenbergMarquardt, LimitedMemory, Problem, Solution, Solver, solve, unknown
from hubel.physics.ansatz import Ansatz, features_of
from hubel.physics.given import GivenNetwork
from hubel.physics.mirror import Mirror
from hubel.physics.network import SmallNetwork
from hubel.physics.parts import equation
from hubel.physics.system import System, rows_of_values


def burgers():
    return Problem(
        lambda u, v: (u.t + u * u.x - 0.1 * u.xxx, v.t - u * v.xx),
        domain={"t": (0, 1), "x": (-1, 1)},
        initial={"u": lambda x: -torch.sin(math.pi * x), "v": 0.0},
        boundary={"x": "periodic"},
    )


def rod():
    return Problem(
        lambda u: u.t - 0.1 * u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: torch.sin(math.pi * x),
        boundary={"x": 0.0},
    )


def perceptron(inputs=2, width=6, outputs=1, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
        ).double()


@pytest.mark.parametrize("mirror", [None, Mirror("x", {"u": -1, "v": 1})])
def test_derivatives_gradient_and_rows_are_those_of_the_same_perceptron(mirror):
    problem, module = burgers(), perceptron(3, outputs=2)
    small = SmallNetwork(3, 2, width=6, depth=2, activation="tanh")
    given = GivenNetwork(module, features_of(problem), 2)
    points = torch.rand(45, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for network in (small, given):
        ansatz = Ansatz(problem, network, mirror, {"u": 1.0, "v": 2.0})
        system = System(ansatz, [equation(ansatz, points, (1.0, 0.5))])
        theta = given.weights()
        linear = system.linearized(theta)
        ((values, rows), _) = rows_of_values(ansatz, theta, points)
        found.append(
            [system.residuals(theta), *system.gradient(theta), linear.here, linear.jacobian, values, rows]
        )
    assert small.shapes == given.shapes and small.size == given.size
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-12, atol=1e-12)


class Gated(nn.Module):
    """With a frozen matrix, a buffer, and a layer that is used twice."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(
            torch.randn(5, 2, dtype=torch.float64, generator=generator), requires_grad=False
        )
        self.register_buffer("phase", torch.randn(5, dtype=torch.float64, generator=generator))
        self.inner = nn.Linear(5, 5, dtype=torch.float64)
        self.last = nn.Linear(5, 1, dtype=torch.float64)
        for parameter in (*self.inner.parameters(), *self.last.parameters()):
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def forward(self, v):
        h = torch.sin(v @ self.first.t() + self.phase)
        return self.last(h * torch.sigmoid(self.inner(torch.tanh(self.inner(h)))))


def test_a_solution_by_a_network_of_ones_own_is_saved_and_built_again():
    module = Gated()
    before = [value.clone() for value in module.state_dict().values()]
    with pytest.warns(
        UserWarning, match=r"Gated \(your own\) by nested differentiation, which is slow"
    ) as said:
        solution = solve(rod(), network=module, tol=1e-2, points=60)
    assert len(said) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, module.state_dict().values(), strict=True))
    t, x = np.linspace(0, 1, 5)[:, None], np.linspace(0, 1, 9)
    np.testing.assert_allclose(solution(t=t, x=x), np.exp(-0.1 * np.pi**2 * t) * np.sin(np.pi * x), atol=0.02)
    assert solution.reached and solution.ansatz.mirror is None
    tensors, numbers = solution.saved()
    numbers = json.loads(json.dumps(numbers))
    built = Solution.built(
        rod(), tensors, numbers, network=Gated(seed=5)
    )  # what is not fitted was saved as well
    assert np.array_equal(built.u.xx(t=t, x=x), solution.u.xx(t=t, x=x))
    with pytest.raises(ValueError, match=r"a network of your own, Gated, which no file holds: pass it again"):
        Solution.built(rod(), tensors, numbers)
    with pytest.raises(
        ValueError, match=r"'inner.weight': \[5, 5\].*the one that was passed has \{'0.weight'"
    ):
        Solution.built(rod(), tensors, numbers, network=perceptron())
    tensors, numbers = Solver(rod()).solution().saved()
    with pytest.raises(ValueError, match="a network of hubel's: leave out network=Sequential"):
        Solution.built(rod(), tensors, numbers, network=perceptron(3))


@pytest.mark.parametrize("method", [LevenbergMarquardt, LimitedMemory])
def test_resumed_bit_for_bit(method):
    def after(number, network, state=None):
        solver = Solver(rod(), tol=1e-12, network=network, method=method(), points=60, state=state)
        for record in solver.steps():
            if record.iteration == number:
                return solver
        raise AssertionError

    whole, state = after(12, Gated()), after(5, Gated()).state()
    state["numbers"] = json.loads(json.dumps(state["numbers"]))
    assert torch.equal(after(12, Gated(seed=1), state).trial.theta, whole.trial.theta)
    assert whole.history[-1].loss < whole.history[0].loss
    with pytest.raises(ValueError, match="a network of your own, Gated, which no file holds"):
        Solver(rod(), method=method(), state=state)


class Beside(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(2, 1, dtype=torch.float64), function

    def forward(self, v):
        return self.function(self.layer, v)


REFUSED = {
    "straight lines": (
        nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 1)).double(),
        r"all derivatives of order 2 of Sequential \(your own\) are zero.*such as Tanh",
    ),
    "float32": (nn.Linear(2, 1), r"weight of Linear \(your own\) is torch.float32.*network.double\(\)"),
    "other features": (
        perceptron(3),
        r"can not be asked for \[6, 2\] numbers: .*maps features \[N, 2\] \(t, x\) to answers \[N, 1\]",
    ),
    "other answers": (perceptron(outputs=2), r"answers \[6, 2\] to \[6, 2\] numbers. Expected .*\[N, 1\]"),
    "no tensor": (Beside(lambda layer, v: [layer(v)]), "answers list to"),
    "nothing to fit": (perceptron().requires_grad_(False), "nothing to fit"),
    "points beside": (
        Beside(lambda layer, v: torch.tanh(layer(v) - layer(v).mean())),
        "to a point alone, and .* where others stand beside",
    ),
    "chance": (Beside(lambda layer, v: torch.tanh(layer(v)) * torch.rand(1).double()), "without chance"),
    "detached": (
        Beside(lambda layer, v: torch.tanh(layer(v)).detach()),
        r"know nothing of its weights: leave out torch.no_grad",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_the_first_step(name):
    module, text = REFUSED[name]
    with pytest.raises(ValueError, match=text):
        Solver(rod(), network=module)


def test_numbers_are_found_from_data_with_a_network_of_ones_own():
    generator = np.random.default_rng(0)
    t = generator.uniform(0, 2, 40)
    data = {"t": t, "u": np.exp(-2 * t) + 0.01 * generator.normal(size=40)}
    problem = Problem(lambda u, k: u.t + k * u, domain={"t": (0, 2)}, k=unknown())
    found, ours = (
        solve_quietly(problem, data=data, tol=1e-2, points=60, **choice)
        for choice in ({"network": perceptron(1)}, {"width": 6, "depth": 2})
    )
    assert abs(found.k.value - 2) < 4 * found.k.standard_error < 0.4
    assert found.k.value == pytest.approx(ours.k.value, rel=0.02)
    assert found.k.standard_error == pytest.approx(ours.k.standard_error, rel=0.3)


def solve_quietly(*arguments, **more):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*by nested differentiation")
        return solve(*arguments, **more)


def test_dropout_and_running_statistics_are_those_of_evaluation():
    module = nn.Sequential(
        nn.Linear(2, 4), nn.Tanh(), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1)
    ).double()
    solver = Solver(rod(), network=module, points=40, method=LimitedMemory())
    next(iter(solver.steps()))
    assert module.training and set(solver.ansatz.network.fixed()) == {
        "3.running_mean",
        "3.running_var",
        "3.num_batches_tracked",
    }
