"""Equations as they are declared: what is read from a signature, and what is refused."""

import math

import pytest
import torch

from hubel.physics import Problem, unknown

BOX = {"t": (0, 1), "x": (-1, 1)}


def burgers(u, nu):
    return u.t + u * u.x - nu * u.xx


def wave(x):
    return -torch.sin(math.pi * x)


def test_names_say_what_is_what():
    problem = Problem(burgers, domain=BOX, nu=0.1, initial=wave, boundary={"x": 0.0})
    assert (problem.fields, problem.coordinates, problem.time) == (("u",), ("t", "x"), "t")
    assert problem.needed["u"] == {(0, 0), (1, 0), (0, 1), (0, 2)}
    assert problem.name == "burgers" and problem.missing() is None


def test_a_system_with_several_residuals():
    def flow(u, v, p, Re):
        return u * u.x + v * u.y + p.x - (u.xx + u.yy) / Re, u.x + v.y

    problem = Problem(flow, domain={"x": (0, 1), "y": (0, 1)}, Re=100.0)
    assert problem.fields == ("u", "v", "p") and problem.num_residuals == 2
    assert problem.needed["p"] == {(1, 0)}


def test_long_names_of_coordinates():
    problem = Problem(
        lambda u, radius: u.d("radius", 2) + u.radius / radius,
        domain={"radius": (1, 2)},
        boundary={"radius": 0.0},
    )
    assert problem.needed["u"] == {(2,), (1,)}


def test_a_complex_field_has_two_components_and_two_residuals():
    problem = Problem(
        lambda h: 1j * h.t + 0.5 * h.xx + abs(h) ** 2 * h,
        domain=BOX,
        complex="h",
        initial=lambda x: torch.cos(math.pi * x) * (1 + 2j),
        boundary={"x": "periodic"},
    )
    assert problem.components == ("h.real", "h.imag") and problem.num_residuals == 2
    at = torch.zeros(1, dtype=torch.float64)
    assert [float(problem.conditions.given(name, at, at)) for name in problem.components] == [1.0, 2.0]


REFUSED = {
    "field without derivative": (lambda u, k: u.t + k, {"domain": BOX}, ValueError, "unknown()"),
    "misspelt parameter": (burgers, {"domain": BOX, "nuu": 0.1}, ValueError, "does not take it. .*nu"),
    "misspelt derivative": (lambda u: u.tz, {"domain": BOX}, ValueError, r"u\.tz is no derivative"),
    "constant": (lambda u: torch.zeros(7), {"domain": BOX}, ValueError, "depends on no field"),
    "NaN": (lambda u: torch.log(-1 - u.x**2), {"domain": BOX}, ValueError, "NaN"),
    "another shape": (lambda u: u.x[:, None], {"domain": BOX}, ValueError, r"\[7, 1\]"),
    "empty domain": (burgers, {"domain": {"t": (0, 0), "x": (0, 1)}, "nu": 0.1}, ValueError, "it is empty"),
    "boundary at no coordinate": (
        burgers,
        {"domain": BOX, "nu": 0.1, "boundary": {"y": 0.0}},
        ValueError,
        "no coordinate",
    ),
    "boundary at no end": (
        burgers,
        {"domain": BOX, "nu": 0.1, "boundary": {"x=2": 0.0}},
        ValueError,
        "no end of x",
    ),
    "complex of no field": (burgers, {"domain": BOX, "nu": 0.1, "complex": "h"}, ValueError, "no field"),
    "condition of an unknown name": (
        burgers,
        {"domain": BOX, "nu": 0.1, "boundary": {"x=1": lambda u, k: u.x + k * u}},
        ValueError,
        "takes 'k'",
    ),
    "condition of no derivative": (
        burgers,
        {"domain": BOX, "nu": 0.1, "boundary": {"x=1": {"u.q": 0.0}}},
        ValueError,
        "derivative of one",
    ),
    "parameter that is no number": (burgers, {"domain": BOX, "nu": "0.1"}, TypeError, "must be a number"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_at_declaration(what):
    residual, arguments, kind, text = REFUSED[what]
    with pytest.raises(kind, match=text):
        Problem(residual, **arguments)


def test_a_jump_at_a_corner_is_named_with_its_size():
    with pytest.raises(ValueError, match=r"t = 0 and x = .* differ by 0\.25"):
        Problem(burgers, domain=BOX, nu=0.1, initial=lambda x: wave(x) + 0.25, boundary={"x": 0.0})


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"boundary": {"x": 0.0}}, "initial"),
        ({"initial": wave}, "boundary"),
        ({"initial": wave, "boundary": {"x": 0.0}}, None),
    ],
)
def test_what_a_forward_problem_lacks(conditions, text):
    missing = Problem(burgers, domain=BOX, nu=0.1, **conditions).missing()
    assert missing is None if text is None else text in missing


def test_second_order_in_time_needs_the_speed():
    with pytest.raises(ValueError, match=r"u\.t"):
        Problem(lambda u: u.tt - u.xx, domain=BOX, initial=wave, boundary={"x": 0.0})


def test_unknowns_begin_where_they_are_told():
    problem = Problem(burgers, domain=BOX, nu=unknown(0.2, positive=True))
    assert problem.unknowns == ("nu",)
    with pytest.raises(ValueError, match="positive"):
        unknown(-1.0, positive=True)


def test_units_are_words_of_names_that_there_are():
    made = Problem(burgers, domain=BOX, nu=0.1, units={"t": "s", "u": " m/s ", "nu": "m²/s"})
    assert made.units == {"t": "s", "u": "m/s", "nu": "m²/s"}
    assert (made.labelled("t"), made.labelled("x")) == ("t (s)", "x")
    with pytest.raises(
        ValueError,
        match=r"units has 'tt', which is no coordinate, field or parameter\. Did you mean .t.\? There are: t, x, u, nu\.",
    ):
        Problem(burgers, domain=BOX, nu=0.1, units={"tt": "s"})
    with pytest.raises(TypeError, match="the unit of t is 1; expected a word"):
        Problem(burgers, domain=BOX, nu=0.1, units={"t": 1})
    with pytest.raises(TypeError, match="units must be words by names"):
        Problem(burgers, domain=BOX, nu=0.1, units="s")
