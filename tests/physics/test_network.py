"""A network that grows keeps its answers; every choice of one is saved, read and refused by name."""

import json
import math

import pytest
import torch

from hubel.physics import Architecture, Problem, Solution, Solver, solve
from hubel.physics.network import SmallNetwork

CHOICES = [{}, {"residual": True}, {"fourier": 3}, {"activation": "silu", "residual": True, "fourier": 2}]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_wider_network_is_the_same_function(choice):
    network = SmallNetwork(2, 3, width=5, depth=3, seed=0, **choice)
    points = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network.read(torch.linspace(-1, 1, network.size, dtype=torch.float64))
    wide = network.widened(8, seed=1)
    torch.testing.assert_close(wide(points), network(points), rtol=1e-13, atol=1e-13)
    assert wide.size > network.size and wide.width == 8
    with pytest.raises(ValueError, match="can not be widened to 4"):
        network.widened(4, seed=1)


def test_weights_are_read_in_the_order_in_which_they_are_answered():
    network = SmallNetwork(2, 1, width=3, depth=2, seed=0)
    weights = torch.arange(network.size, dtype=torch.float64)
    network.read(weights)
    assert torch.equal(network.weights(), weights)
    assert [shape.numel() for shape in network.shapes] == [6, 3, 9, 3, 3, 1]


def test_the_frequencies_have_the_standard_deviation_that_was_asked_for():
    waves = SmallNetwork(3, 1, width=2, depth=1, fourier=4000, frequency=0.7).waves
    assert float(waves.std()) / (2 * math.pi) == pytest.approx(0.7, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"width": 0}, "width is 0; expected a whole number, at least 1"),
        ({"depth": 2.0}, "depth is 2.0"),
        ({"activation": "tan"}, r"no activation 'tan'\. Did you mean \"tanh\"\? There are: tanh, sine, silu"),
        ({"residual": 1}, "residual is 1; expected True or False"),
        ({"fourier": -1}, "fourier is -1; expected a whole number, at least 0"),
        ({"fourier": True}, "fourier is True"),
        ({"frequency": 0.0}, "frequency is 0.0; expected a positive number"),
        ({"frequency": math.inf}, "frequency is inf"),
    ],
)
def test_an_architecture_that_can_not_be(arguments, text):
    with pytest.raises(ValueError, match=text):
        Architecture(**arguments)


def heat():
    return Problem(
        lambda u: u.t - 0.1 * u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: torch.sin(math.pi * x) + 0.5 * torch.sin(2 * math.pi * x),
        boundary={"x": 0.0},
    )


BOTH = Architecture(width=8, depth=3, residual=True, fourier=4, frequency=0.3, activation="sine")


def test_the_choice_is_resumed_bit_for_bit_and_saved():
    def after(number, state=None):
        solver = Solver(heat(), tol=1e-12, network=BOTH, state=state)
        for record in solver.steps():
            if record.iteration == number:
                return solver
        raise AssertionError

    whole, state = after(18), after(7).state()
    again = after(18, {"tensors": state["tensors"], "numbers": json.loads(json.dumps(state["numbers"]))})
    assert (
        torch.equal(whole.trial.theta, again.trial.theta)
        and whole.ansatz.network.label == again.ansatz.network.label
    )
    solution = again.solution()
    tensors, numbers = solution.saved()
    built = Solution.built(heat(), tensors, json.loads(json.dumps(numbers)))
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert torch.equal(built.u.xx(t=0.4, x=x), solution.u.xx(t=0.4, x=x))
    assert built.network.label.endswith("sine, residual, 4 Fourier features")
    with pytest.raises(
        ValueError, match=r"with activation = 'sine', residual = True.*pass the same network="
    ):
        Solver(heat(), state=state)
    tensors["network.waves"] = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"\{'waves': \[4, 3\]\} beside the weights; received .*\[3, 2\]"):
        Solution.built(heat(), tensors, numbers)


def test_symmetry_and_ends_stay_exact_with_fourier_features():
    burgers = Problem(
        lambda u: u.t + u * u.x - 0.1 * u.xx,
        domain={"t": (0, 1), "x": (-1, 1)},
        initial=lambda x: -torch.sin(math.pi * x),
        boundary={"x": 0.0},
    )
    solution = Solver(burgers, network=BOTH).solution()
    t, x = torch.rand(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert solution.ansatz.mirror is not None and solution.ansatz.mirror.continues
    torch.testing.assert_close(solution(t=t, x=-x), -solution(t=t, x=x), rtol=0, atol=1e-14)
    assert float(solution(t=t, x=torch.ones_like(t)).abs().max()) < 1e-13
    assert float(solution(t=t, x=x).abs().max()) > 0.1


def test_periods_stay_exact_with_fourier_features():
    wave = Problem(
        lambda u: u.t + u.x,
        domain={"t": (0, 0.5), "x": (0, 1)},
        initial=lambda x: torch.sin(2 * math.pi * x),
        boundary={"x": "periodic"},
    )
    solution = Solver(wave, network=BOTH).solution()
    t = torch.linspace(0, 0.5, 7, dtype=torch.float64)
    for function in (solution.u, solution.u.x, solution.u.xx):
        torch.testing.assert_close(function(t=t, x=0.0), function(t=t, x=1.0), rtol=1e-12, atol=1e-12)


def test_a_solution_by_residual_layers_and_fourier_features():
    solution = solve(heat(), tol=2e-3, network=BOTH)
    t, x = torch.meshgrid(*(torch.linspace(0, 1, 15, dtype=torch.float64),) * 2, indexing="ij")
    decay = math.pi**2 * t
    known = torch.exp(-0.1 * decay) * torch.sin(math.pi * x)
    known += 0.5 * torch.exp(-0.4 * decay) * torch.sin(2 * math.pi * x)
    assert solution.reached
    assert float((solution(t=t, x=x) - known).norm() / known.norm()) < 4e-3


def test_a_size_is_given_once():
    assert Solver(heat(), width=5, network=Architecture(residual=True)).ansatz.network.label == (
        "4 layers of 5, tanh, residual"
    )
    with pytest.raises(ValueError, match="width of the network is given twice"):
        Solver(heat(), width=5, network=Architecture(width=5))
    with pytest.raises(ValueError, match="width and depth of the network are given twice"):
        Solver(heat(), width=5, depth=2, network=torch.nn.Linear(2, 1))
    with pytest.raises(TypeError, match=r"network is str; expected a hubel\.physics\.Architecture"):
        Solver(heat(), network="mlp")
