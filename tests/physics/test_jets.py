"""Taylor series against nested reverse differentiation, and against series that are known."""

import math

import pytest
import torch

from hubel.physics.jets import Jet, cosine, silu, sine, tanh
from hubel.physics.network import SmallNetwork, Tape, rows

FUNCTIONS = {
    "tanh": (tanh, torch.tanh),
    "sine": (sine, torch.sin),
    "cosine": (cosine, torch.cos),
    "silu": (silu, torch.nn.functional.silu),
}
NEEDED = [(1, 0, 0), (0, 3, 0), (1, 2, 0), (0, 1, 1), (0, 0, 4)]


def points(num=5, dimensions=3):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num, generator=generator, dtype=torch.float64) for _ in range(dimensions)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_series(name):
    ours, plain = FUNCTIONS[name]
    jet, at = Jet.of(NEEDED), points()

    def inner(x, y, z):
        return x * y + torch.sin(y) * z + 0.3 * z**2 + 0.1 * x

    expected = jet.of_function(lambda *c: plain(inner(*c)), at)
    found = jet.apply(ours, jet.of_function(inner, at))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize("activation", ["tanh", "sine", "silu"])
def test_a_network_against_nested_reverse_differentiation(activation):
    jet, at = Jet.of([(1, 0), (0, 2), (1, 1)]), points(7, 2)
    network = SmallNetwork(2, 2, width=6, depth=3, activation=activation, seed=1)
    features = torch.stack([jet.coordinate(values, axis) for axis, values in enumerate(at)], dim=-1)
    found = network.series(features, jet)
    for output in range(2):
        expected = jet.of_function(lambda *c, k=output: network(torch.stack(c, -1))[:, k], at)
        torch.testing.assert_close(found[..., output], expected, rtol=1e-11, atol=1e-12)


def test_rows_of_the_jacobian_against_one_point_after_the_other():
    jet, at = Jet.of([(1, 0), (0, 2)]), points(4, 2)
    network = SmallNetwork(2, 1, width=5, depth=2, seed=2)
    features = torch.stack([jet.coordinate(values, axis) for axis, values in enumerate(at)], dim=-1)

    def residual(tape=None):
        u = network.series(features, jet, tape)[..., 0]
        return u[jet.places[1, 0]] + u[0] * u[jet.places[0, 1]] - 0.1 * 2 * u[jet.places[0, 2]]

    for parameter in network.parameters():
        parameter.requires_grad_(True)
    values = residual()
    expected = torch.stack(
        [
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(
                        value, list(network.parameters()), retain_graph=True, materialize_grads=True
                    )
                ]
            )
            for value in values
        ]
    )
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    tape = Tape()
    found = rows(tape, residual(tape), last=True)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_needed_sets_are_refused():
    with pytest.raises(ValueError, match="multi-indices of one length"):
        Jet.of([(1,), (1, 0)])
    with pytest.raises(ValueError, match="at least one"):
        Jet.of([])
