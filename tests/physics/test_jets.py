"""Taylor series against nested reverse differentiation, and against series that are known."""

import math

import pytest
import torch

from hubel.physics.jets import Jet, cosine, silu, silu_and_slope, sine, sine_and_slope, tanh_and_slope
from hubel.physics.network import SmallNetwork

FUNCTIONS = {
    "sine": (sine, torch.sin),
    "cosine": (cosine, torch.cos),
    "silu": (silu, torch.nn.functional.silu),
}
NEEDED = [(1, 0, 0), (0, 3, 0), (1, 2, 0), (0, 1, 1), (0, 0, 4)]


WITH_SLOPES = {
    "tanh": (tanh_and_slope, torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "sine": (sine_and_slope, torch.sin, torch.cos),
    "silu": (
        silu_and_slope,
        torch.nn.functional.silu,
        lambda z: torch.sigmoid(z) * (1 + z * torch.sigmoid(-z)),
    ),
}


def points(num=5, dimensions=3):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num, generator=generator, dtype=torch.float64) for _ in range(dimensions)]


def inner(x, y, z):
    return x * y + torch.sin(y) * z + 0.3 * z**2 + 0.1 * x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_series(name):
    ours, plain = FUNCTIONS[name]
    jet, at = Jet.of(NEEDED), points()
    expected = jet.of_function(lambda *c: plain(inner(*c)), at)
    found = jet.apply(ours, jet.of_function(inner, at))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", WITH_SLOPES)
def test_activations_with_their_slopes(name):
    ours, plain, slope = WITH_SLOPES[name]
    jet, at = Jet.of(NEEDED), points()
    z = jet.of_function(inner, at)
    a, w = torch.empty_like(z), torch.empty_like(z)
    ours(jet, z, a, w)
    torch.testing.assert_close(a, jet.of_function(lambda *c: plain(inner(*c)), at), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(w, jet.of_function(lambda *c: slope(inner(*c)), at), rtol=1e-12, atol=1e-12)


def test_slopes_turn_around_in_a_product():
    jet, generator = Jet.of(NEEDED), torch.Generator().manual_seed(1)
    first, second, slope = torch.randn(3, len(jet.indices), 4, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        (jet.times(first, second) * slope).sum(),
        (second * jet.turned(first, slope)).sum(),
        rtol=1e-13,
        atol=0,
    )


def test_products_of_series():
    jet, (x, y, z) = Jet.of(NEEDED), points()
    first, second = (
        jet.of_function(f, (x, y, z))
        for f in (lambda x, y, z: torch.exp(x * y) + z, lambda x, y, z: torch.cos(z * y) * x)
    )
    expected = jet.of_function(lambda x, y, z: (torch.exp(x * y) + z) * torch.cos(z * y) * x, (x, y, z))
    torch.testing.assert_close(jet.times(first, second), expected, rtol=1e-12, atol=1e-12)


def test_coefficients_are_derivatives_over_factorials():
    jet, x = Jet.of([(4,)]), torch.tensor([0.7], dtype=torch.float64)
    found = jet.apply(sine, jet.coordinate(x, 0))[:, 0]
    known = [math.sin(0.7), math.cos(0.7), -math.sin(0.7), -math.cos(0.7), math.sin(0.7)]
    assert found.tolist() == pytest.approx(
        [value / math.factorial(k) for k, value in enumerate(known)], abs=1e-15
    )


def plainly(network, weights, x):
    """The network [N, K] at [N, F] by torch's own functions, differentiable by the weights [P] and by x."""
    activation = {"tanh": torch.tanh, "sine": torch.sin, "silu": torch.nn.functional.silu}[network.activation]
    parts = iter(weights.split([parameter.numel() for parameter in network.parameters()]))
    if network.waves is not None:
        phases = x @ network.waves.t()
        x = torch.cat([torch.cos(phases), torch.sin(phases)], 1)
    for number, layer in enumerate(network.linear):
        z = torch.nn.functional.linear(x, next(parts).view_as(layer.weight), next(parts))
        if number == network.depth:
            return z
        x = activation(z) + (x if network.architecture.residual and number else 0)
    raise AssertionError


CHOICES = [
    {"activation": "tanh"},
    {"activation": "sine"},
    {"activation": "silu"},
    {"activation": "tanh", "residual": True},
    {"activation": "sine", "fourier": 4},
    {"activation": "silu", "residual": True, "fourier": 3, "frequency": 0.2},
]
NAMED = {"ids": lambda choice: " ".join(f"{name}={value}" for name, value in choice.items())}


@pytest.mark.parametrize("choice", CHOICES, **NAMED)
def test_a_network_against_nested_reverse_differentiation(choice):
    jet, at = Jet.of([(1, 0), (0, 3), (1, 2)]), points(7, 2)
    network = SmallNetwork(2, 2, width=6, depth=3, seed=1, **choice)
    features = torch.stack([jet.coordinate(values, axis) for axis, values in enumerate(at)], dim=1)
    found, weights = network.series(features, jet), network.weights()
    torch.testing.assert_close(network(torch.stack(at, 1)), found[0].t(), rtol=1e-14, atol=1e-14)
    for output in range(2):
        expected = jet.of_function(
            lambda *c, k=output: plainly(network, weights, torch.stack(c, -1))[:, k], at
        )
        torch.testing.assert_close(found[:, output], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("choice", CHOICES, **NAMED)
def test_the_reverse_pass_against_one_point_after_the_other(choice):
    jet, at = Jet.of([(1, 0), (0, 3)]), points(4, 2)
    network = SmallNetwork(2, 2, width=5, depth=3, seed=2, **choice)
    weights = network.weights().requires_grad_()
    grids = [values.clone().requires_grad_() for values in at]
    u, v = plainly(network, weights, torch.stack(grids, 1)).unbind(1)
    u_t, u_x = torch.autograd.grad(u.sum(), grids, create_graph=True)
    u_xx = torch.autograd.grad(u_x.sum(), grids[1], create_graph=True)[0]
    u_xxx = torch.autograd.grad(u_xx.sum(), grids[1], create_graph=True)[0]
    values = u_t + u * u_x - 0.1 * u_xx + 0.01 * u_xxx + v
    expected = torch.stack([torch.autograd.grad(value, weights, retain_graph=True)[0] for value in values], 1)
    features = torch.stack([jet.coordinate(values, axis) for axis, values in enumerate(at)], dim=1)
    tape = network.tape()
    for _ in range(2):  # it can be used again
        series = network.series(features, jet, tape)
        slope = torch.zeros_like(series)
        slope[jet.places[1, 0], 0] = 1
        slope[0, 0], slope[jet.places[0, 1], 0] = series[jet.places[0, 1], 0], series[0, 0]
        slope[jet.places[0, 2], 0], slope[jet.places[0, 3], 0], slope[0, 1] = -0.2, 0.06, 1
        found = torch.empty(network.size, 4, dtype=torch.float64)
        tape.rows(slope, into=found)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tape.gradient(slope), expected.sum(1), rtol=1e-12, atol=1e-12)


def test_needed_sets_are_refused():
    with pytest.raises(ValueError, match="multi-indices of one length"):
        Jet.of([(1,), (1, 0)])
    with pytest.raises(ValueError, match="at least one"):
        Jet.of([])
