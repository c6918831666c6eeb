"""Jumps of given values are found where they are, and steep functions have none."""

import pytest
import torch

from hubel.physics import Problem, equations
from hubel.physics.smoothness import jumps, kinks
from hubel.physics.solver import Solver


def problem(initial, **boundary):
    return Problem(
        lambda u: u.t - u.xx,
        domain={"t": (0, 1), "x": (-1, 1)},
        initial=initial,
        boundary=boundary or {"x": "periodic"},
    )


def test_a_step_is_found_where_it_is():
    def steps(x):
        return torch.where(x < 0.3, 2.0, torch.where(x < 0.8, 1.5, 2.0)).double()

    assert jumps(problem(steps)) == [
        "the beginning of u jumps by 0.5 at x = 0.3",
        "the beginning of u jumps by 0.5 at x = 0.8",
    ]


def test_values_at_a_side_may_jump_as_well():
    def pulse(t):
        return (t > 0.5).double()

    found = jumps(problem(0.0, **{"x=-1": pulse, "x=1": 0.0}))
    assert found == ["u at x = -1 jumps by 1 at t = 0.5"]


@pytest.mark.parametrize(
    "smooth",
    [
        lambda x: torch.tanh(1e4 * x) - torch.tanh(1e4 * (x - 1)),
        lambda x: torch.sin(60 * torch.pi * x),
        lambda x: x.abs(),
        lambda x: torch.sqrt(x.abs()),
        0.0,
    ],
    ids=["steep", "fast", "kink", "root", "nothing"],
)
def test_what_is_continuous_has_none(smooth):
    assert jumps(problem(smooth)) == []


def test_in_two_coordinates():
    wide = Problem(
        lambda u: u.t - u.xx - u.yy,
        domain={"t": (0, 1), "x": (-1, 1), "y": (-1, 1)},
        initial=lambda x, y: torch.where(x * x + y * y < 0.5, 1.0, 0.0).double(),
        boundary={"x": "periodic", "y": "periodic"},
    )
    found = jumps(wide)
    assert found
    for sentence in found:
        name, at = sentence.rpartition(" at ")[2].split(" = ")
        other = 2 * (0.31 if "0.596" in at else 0.72) - 1
        assert abs(float(at) ** 2 + other**2 - 0.5) < 1e-3, name


def test_kinks_of_a_period():
    assert kinks(equations.allen_cahn().problem) == [
        "the beginning of u has a kink where x begins again: its slope jumps by 4"
    ]
    for equation in (
        equations.kdv(),
        equations.advection(),
        equations.schroedinger(),
        equations.heat(),
        equations.taylor_green(),
    ):
        assert kinks(equation.problem) == []


def test_a_beginning_with_a_kink_is_learnt_and_others_hold_exactly():
    kinked = Solver(equations.allen_cahn().problem)
    assert not kinked.ansatz.exact and kinked.ansatz.mirror is not None
    assert kinked.ansatz.conditions.is_free("u") and len(kinked.trial.faces) == 1
    assert Solver(equations.kdv().problem).ansatz.exact
