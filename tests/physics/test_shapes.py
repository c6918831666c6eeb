"""Shapes: what is inside, what vanishes on the boundary, and equations whose domain is one."""

import math

import numpy as np
import pytest
import torch

from hubel.physics import Problem, shapes, solve
from hubel.physics.ansatz import Ansatz, inputs_of, scales_of
from hubel.physics.jets import Jet
from hubel.physics.network import SmallNetwork
from hubel.physics.parts import equation
from hubel.physics.system import System


def residual(u):
    return u.xx + u.yy + 1


CORNERS = [(0, 0), (1, 0), (1, -1), (-1, -1), (-1, 1), (0, 1)]
EVERY = {
    "disk": shapes.disk(0.5, -1, 2),
    "polygon": shapes.polygon(CORNERS),
    "joined": shapes.disk(0, 0, 1) | shapes.polygon([(0, -0.5), (3, -0.5), (3, 0.5), (0, 0.5)]),
    "common": shapes.disk(0, 0, 1) & shapes.disk(1, 0, 1),
    "difference": shapes.polygon([(-2, -2), (2, -2), (2, 2), (-2, 2)]) - shapes.disk(0, 0, 1),
}


def true_distance(name, x, y):
    """To the boundary, by its pieces."""

    def to_circle(cx, cy, r):
        return (torch.hypot(x - cx, y - cy) - r).abs()

    def to_sides(corners):
        found = []
        for (px, py), (qx, qy) in zip(corners, corners[1:] + corners[:1], strict=True):
            dx, dy = qx - px, qy - py
            along = (((x - px) * dx + (y - py) * dy) / (dx**2 + dy**2)).clamp(0, 1)
            found.append(torch.hypot(x - px - along * dx, y - py - along * dy))
        return torch.stack(found).amin(0)

    return {
        "disk": lambda: to_circle(0.5, -1, 2),
        "polygon": lambda: to_sides(CORNERS),
        "difference": lambda: torch.minimum(
            to_circle(0, 0, 1), to_sides([(-2, -2), (2, -2), (2, 2), (-2, 2)])
        ),
    }[name]()


@pytest.mark.parametrize("name", ["disk", "polygon", "difference"])
def test_near_the_boundary_it_is_the_distance(name):
    x, y = EVERY[name].boundary(200)
    assert float(true_distance(name, x, y).max()) < 1e-12
    angle = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    near_x, near_y = x + 1e-4 * torch.cos(angle), y + 1e-4 * torch.sin(angle)
    known, found = true_distance(name, near_x, near_y), EVERY[name].distance(near_x, near_y).abs()
    away = torch.stack([torch.hypot(x - a, y - b) for a, b in [*CORNERS, (2, 2), (-2, 2), (2, -2), (-2, -2)]])
    smooth = away.amin(0) > 0.05  # a corner has no one distance to a line
    torch.testing.assert_close(found[smooth], known[smooth], rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_inside_is_what_its_parts_say(name):
    x, y = (
        4 * torch.rand(2, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 2
    ).unbind()
    first, second = torch.hypot(x, y) < 1, torch.hypot(x - 1, y) < 1
    expected = {
        "disk": torch.hypot(x - 0.5, y + 1) < 2,
        "polygon": (x.abs() < 1) & (y.abs() < 1) & ~((x > 0) & (y > 0)),
        "joined": first | ((x > 0) & (x < 3) & (y.abs() < 0.5)),
        "common": first & second,
        "difference": ~first,
    }[name]
    assert torch.equal(EVERY[name].inside(x, y), expected)


@pytest.mark.parametrize("name", EVERY)
def test_the_form_of_the_solution_has_the_values_around_and_at_the_beginning(name):
    shape = EVERY[name]
    problem = Problem(
        lambda u: u.t - u.xx - u.yy,
        domain={"t": (0, 2), ("x", "y"): shape},
        initial=lambda x, y: x * y,
        boundary={"around": lambda t, x, y: x * y * (1 + t)},
    )
    network = SmallNetwork(inputs_of(problem, None), 1, width=6, depth=2, seed=3)
    ansatz = Ansatz(problem, network, None, scales_of(problem))
    x, y = shape.boundary(50)
    t = torch.linspace(0, 2, 50, dtype=torch.float64)
    at_edge = ansatz.values(torch.stack([t, x, y], 1))[0]
    torch.testing.assert_close(at_edge, x * y * (1 + t), rtol=1e-9, atol=1e-9)
    points = torch.stack([0 * t, 0.3 * x, 0.4 * y], 1)
    torch.testing.assert_close(ansatz.values(points)[0], 0.12 * x * y, rtol=1e-12, atol=1e-12)
    points[:, 0] = 1.0
    assert (ansatz.values(points)[0] - 0.24 * x * y).abs().max() > 1e-3


def test_a_side_ends_where_it_ends():
    """A line that is longer than its side would cut the L."""
    x, y = (
        2 * torch.rand(2, 2000, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) - 1
    ).unbind()
    away = true_distance("polygon", x, y)
    inside = EVERY["polygon"].inside(x, y)
    assert bool((EVERY["polygon"].distance(x, y)[inside] > 0.2 * away[inside]).all())


def test_residuals_weigh_less_near_the_boundary():
    problem = Problem(residual, domain={("x", "y"): EVERY["polygon"]}, boundary={"around": 0.0})
    ansatz = Ansatz(problem, SmallNetwork(2, 1, width=4, depth=2, seed=3), None, scales_of(problem))
    points = torch.tensor([[-0.5, -0.5], [-0.5, -0.999]], dtype=torch.float64)
    theta = ansatz.network.weights()
    rows = System(ansatz, [equation(ansatz, points, (1.0,))]).residuals(theta) * 2**0.5
    prepared = ansatz.prepare(points, problem.jet)
    plain = problem.residuals(ansatz.series(prepared), problem.jet, prepared.coordinates, {})[0]
    weights = 2 * EVERY["polygon"].distance(*points.t())  # 4 / width
    assert 0.3 < weights[0] < 1 and weights[1] < 0.01
    torch.testing.assert_close(rows, plain * weights, rtol=1e-12, atol=0)


def test_it_is_smooth_inside():
    jet = Jet.of([(2, 0), (0, 2)])
    for shape in EVERY.values():
        (left, right), (low, high) = shape.box
        share = torch.rand(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x, y = left + (right - left) * share[:, 0], low + (high - low) * share[:, 1]
        deep = shape.distance(x, y) > 0.05
        bent = jet.of_function(shape.distance, [x[deep], y[deep]])
        assert deep.sum() > 20 and bool(torch.isfinite(bent).all()) and float(bent.abs().max()) < 60


def test_a_membrane_on_a_disk():
    problem = Problem(
        lambda u: u.xx + u.yy + 1, domain={("x", "y"): shapes.disk(1, 0, 2)}, boundary={"around": 0.0}
    )
    solution = solve(problem, tol=1e-5)
    x, y = [1.0, 0.0, 1.0, 3.0], [0.0, 1.0, 2.0, 0.0]
    known = [(4 - (a - 1) ** 2 - b**2) / 4 for a, b in zip(x, y, strict=True)]
    assert solution(x=x, y=y).tolist() == pytest.approx(known, abs=1e-4)
    assert math.isnan(solution(x=-0.9, y=1.9)) and math.isnan(solution.residuals(x=-0.9, y=1.9)[0])
    assert math.isnan(solution.u.x(x=-0.9, y=1.9)) and solution.u.x(x=2.0, y=0.0) == pytest.approx(
        -0.5, abs=1e-3
    )


def test_a_membrane_on_a_ring():
    problem = Problem(
        residual,
        domain={("x", "y"): shapes.disk(0, 0, 2) - shapes.disk(0, 0, 1)},
        boundary={"around": 0.0},
    )
    solution = solve(problem, tol=2e-3)
    r, angle = np.linspace(1, 2, 11), np.linspace(0, 5, 11)
    known = (4 - r**2) / 4 + 3 / (4 * math.log(2)) * np.log(r / 2)
    np.testing.assert_allclose(solution(x=r * np.cos(angle), y=r * np.sin(angle)), known, atol=1e-3)
    assert solution.reached and math.isnan(solution(x=0.5, y=0.5))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"domain": {("x", "y"): (0, 1)}}, "a shape is given to two coordinates"),
        ({"domain": {"x": EVERY["disk"], "y": (0, 1)}}, "a shape is given to two coordinates"),
        ({"domain": {("x", "y"): shapes.disk(0, 0, 1) - shapes.disk(0, 0, 2)}}, "no point is inside"),
        ({"domain": {("x", "y"): shapes.disk(0, 0, 1) & shapes.disk(5, 0, 1)}}, "no point is inside"),
        ({"domain": {("x", "y"): EVERY["disk"], ("z", "w"): EVERY["disk"]}}, "two shapes"),
        ({"domain": {("x", "y"): EVERY["disk"]}, "boundary": {"x": 0.0}}, "has no ends"),
        ({"domain": {"x": (0, 1), "y": (0, 1)}, "boundary": {"around": 0.0}}, "at no coordinate"),
        (
            {"domain": {"t": (0, 1), ("x", "y"): EVERY["disk"]}, "initial": 1.0, "boundary": {"around": 0.0}},
            "t = 0 and the boundary of the shape meet: they differ by 1",
        ),
    ],
)
def test_what_fits_nothing_is_refused(given, said):
    with pytest.raises((TypeError, ValueError), match=said):
        Problem(residual, **given)


def test_values_around_are_needed_and_data_lie_inside():
    problem = Problem(residual, domain={("x", "y"): EVERY["disk"]})
    with pytest.raises(ValueError, match="no values around the shape"):
        solve(problem)
    with pytest.raises(ValueError, match="1 of 2 rows of data are outside of the shape"):
        solve(problem, data={"x": [0.5, 2.4], "y": [0.0, 0.9], "u": [0.0, 1.0]})
    with pytest.raises(ValueError, match="leave out exact=False"):
        solve(Problem(residual, domain={("x", "y"): EVERY["disk"]}, boundary={"around": 0.0}), exact=False)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: shapes.disk(0, 0, 0), "a positive radius"),
        (lambda: shapes.disk(0, math.nan, 1), "finite numbers"),
        (lambda: shapes.polygon([(0, 0), (1, 1)]), "three or more"),
        (lambda: shapes.polygon([(0, 0), (1, 0), (1, 0), (0, 1)]), "follows itself"),
        (lambda: shapes.polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "cross"),
        (lambda: shapes.disk(0, 0, 1) | 3, "received int"),
    ],
)
def test_shapes_that_are_none_are_refused(made, said):
    with pytest.raises((TypeError, ValueError), match=said):
        made()
