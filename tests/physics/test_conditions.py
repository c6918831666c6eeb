"""Conditions that hold exactly: the form u = g + d N against the values that were asked for, whatever the network answers."""

import math

import pytest
import torch

from hubel.physics import Problem
from hubel.physics.ansatz import Ansatz, inputs_of, scales_of
from hubel.physics.jets import Jet
from hubel.physics.mirror import Mirror, mirror_of
from hubel.physics.network import SmallNetwork

sin, cos, pi = torch.sin, torch.cos, math.pi


def ansatz_of(problem, mirror=None, seed=3):
    network = SmallNetwork(inputs_of(problem, mirror), len(problem.components), width=6, depth=2, seed=seed)
    return Ansatz(problem, network, mirror, scales_of(problem))


def on_face(problem, coordinate, at, num=40):
    generator = torch.Generator().manual_seed(5)
    columns = []
    for name, (low, high) in problem.ranges.items():
        share = torch.rand(num, dtype=torch.float64, generator=generator)
        columns.append(torch.full_like(share, at) if name == coordinate else low + (high - low) * share)
    return torch.stack(columns, 1)


def test_time_dependent_values_on_all_sides_and_at_the_beginning():
    def truth(t, x, y):
        return cos(t + x) * (1 + y**2)

    problem = Problem(
        lambda u: u.t - u.xx - u.yy,
        domain={"t": (0, 2), "x": (-1, 1), "y": (0, 3)},
        initial=lambda x, y: truth(torch.zeros_like(x), x, y),
        boundary={
            "x=-1": lambda t, y: truth(t, -1 + 0 * t, y),
            "x=1": lambda t, y: truth(t, 1 + 0 * t, y),
            "y=0": lambda t, x: truth(t, x, 0 * t),
            "y=3": lambda t, x: truth(t, x, 3 + 0 * t),
        },
    )
    ansatz = ansatz_of(problem)
    for face, at in [("t", 0.0), ("x", -1.0), ("x", 1.0), ("y", 0.0), ("y", 3.0)]:
        points = on_face(problem, face, at)
        torch.testing.assert_close(ansatz.values(points)[0], truth(*points.unbind(1)), rtol=1e-12, atol=1e-12)
    inside = on_face(problem, "t", 1.0)
    assert (ansatz.values(inside)[0] - truth(*inside.unbind(1))).abs().max() > 0.01


def test_value_and_speed_at_the_beginning():
    problem = Problem(
        lambda u: u.tt - u.xx,
        domain={"t": (1, 3), "x": (0, 1)},
        initial={"u": lambda x: sin(pi * x), "u.t": lambda x: x * (1 - x)},
        boundary={"x": 0.0},
    )
    ansatz, jet, points = ansatz_of(problem), Jet.of([(1, 0)]), on_face(problem, "t", 1.0)
    series, x = ansatz.series(ansatz.prepare(points, jet))["u"], points[:, 1]
    torch.testing.assert_close(series[0], sin(pi * x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(series[1], x * (1 - x), rtol=1e-12, atol=1e-12)


def test_periodic_with_all_derivatives():
    problem = Problem(
        lambda u: u.t + u.xxx, domain={"t": (0, 1), "x": (2, 5)}, initial=0.0, boundary={"x": "periodic"}
    )
    ansatz, jet = ansatz_of(problem), problem.jet
    low, high = (ansatz.series(ansatz.prepare(on_face(problem, "x", at), jet))["u"] for at in (2.0, 5.0))
    torch.testing.assert_close(low, high, rtol=1e-11, atol=1e-11)
    assert low[0].abs().max() > 0.01


def burgers(**changes):
    arguments = {
        "domain": {"t": (0, 1), "x": (-1, 1)},
        "initial": lambda x: -sin(pi * x),
        "boundary": {"x": 0.0},
    }
    return Problem(lambda u: u.t + u * u.x - 0.1 * u.xx, **{**arguments, **changes})


def test_the_symmetry_of_burgers_is_found_and_built_in():
    problem = burgers()
    mirror = mirror_of(problem)
    assert mirror == Mirror("x", {"u": -1}, True)
    ansatz = ansatz_of(problem, mirror)
    points = on_face(problem, "t", 0.7)
    values = ansatz.values(points)
    torch.testing.assert_close(
        ansatz.values(points * torch.tensor([1.0, -1.0]))[0], -values[0], rtol=1e-12, atol=1e-12
    )
    assert ansatz.values(on_face(problem, "x", 1.0)).abs().max() < 1e-14
    assert ansatz.region["x"] == (0.0, 1.0)
    of_the_network = values[0] - ansatz.conditions.given("u", *points.unbind(1))
    assert of_the_network.abs().max() > 0.01


@pytest.mark.parametrize(
    "problem",
    [
        burgers(initial=lambda x: -sin(pi * x) - 0.1 * sin(2 * pi * x) ** 2),
        burgers(boundary={"x=-1": lambda t: 0.1 * t, "x=1": lambda t: 0.1 * t}),
        Problem(
            lambda u: u.t + u.x - u.xx,
            domain={"t": (0, 1), "x": (-1, 1)},
            initial=lambda x: sin(pi * x),
            boundary={"x": 0.0},
        ),
        Problem(
            lambda u, x: u.t - x * u.xx,
            domain={"t": (0, 1), "x": (-1, 1)},
            initial=lambda x: sin(pi * x),
            boundary={"x": 0.0},
        ),
    ],
    ids=["initial values", "boundary values", "an odd derivative", "a coefficient"],
)
def test_no_symmetry_where_something_breaks_it(problem):
    assert mirror_of(problem) is None


def test_odd_about_the_middle_alone_is_not_continued():
    mirror = mirror_of(burgers(initial=lambda x: x * (1 - x**2)))
    assert mirror == Mirror("x", {"u": -1}, False)


def test_odd_about_both_ends_alone_is_built_in():
    problem = Problem(
        lambda u: u.tt - 4 * u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial={"u": lambda x: sin(pi * x) + sin(4 * pi * x) / 2, "u.t": 0.0},
        boundary={"x": 0.0},
    )
    mirror = mirror_of(problem)
    assert mirror == Mirror("x", {"u": -1}, continues=True, at_end=True)
    ansatz = ansatz_of(problem, mirror)
    assert ansatz.region["x"] == (0.0, 1.0)
    for face in (0.0, 1.0):
        assert ansatz.values(on_face(problem, "x", face)).abs().max() < 1e-13
    points = on_face(problem, "t", 0.7)
    values = ansatz.values(points)[0]
    for sign, shift in ((-1, 0.0), (-1, 2.0), (1, 2.0)):  # about 0, about 1, and a period of 2
        there = torch.stack([points[:, 0], sign * points[:, 1] + shift], 1)
        torch.testing.assert_close(ansatz.values(there)[0], sign * values, rtol=1e-11, atol=1e-12)
    of_the_network = values - ansatz.conditions.given("u", *points.unbind(1))
    assert of_the_network.abs().max() > 0.01
    there = torch.stack([points[:, 0], 1 - points[:, 1]], 1)
    assert (ansatz.values(there)[0].abs() - values.abs()).abs().max() > 0.01


def test_a_slope_at_an_end_is_no_odd_continuation():
    problem = Problem(
        lambda u: u.t - u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: x * (1 - x) * (1 + x / 3),  # bent at its ends
        boundary={"x": 0.0},
    )
    assert mirror_of(problem) is None
