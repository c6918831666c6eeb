"""Unknown functions: rows against finite differences, errors against Bayesian linear regression, bands against the truth."""

import math

import numpy as np
import pytest
import torch

from hubel.physics import Problem, Solution, Solver, solve, unknown
from hubel.physics.functions import FoundFunction, next_smoothing, untold
from hubel.physics.jets import Jet
from hubel.physics.ladder import Fit, Ladder
from hubel.physics.splines import Spline

DOMAIN = {"t": (0, 1), "x": (0, 1)}


def diffusion(u, k):
    return u.t - (k * u.xx + k.x * u.x)


def table(num=40, seed=0):
    generator = np.random.default_rng(seed)
    t, x = generator.uniform(0, 1, num), generator.uniform(0, 1, num)
    return {"t": t, "x": x, "u": np.exp(-t) * np.sin(math.pi * x) + 0.01 * generator.normal(size=num)}


def begun(problem, **changes):
    """A solver after one iteration, with numbers of the unknowns that are not 0."""
    solver = Solver(problem, **({"data": table(), "width": 3, "depth": 1, "points": 25} | changes))
    next(iter(solver.steps()))
    generator = torch.Generator().manual_seed(2)
    noise = 0.3 * torch.randn(len(solver.trial.theta), dtype=torch.float64, generator=generator)
    return solver.trial.system, solver.trial.theta + noise


@pytest.mark.parametrize(
    "problem",
    [
        Problem(diffusion, domain=DOMAIN, k=unknown(of="x")),
        Problem(
            lambda u, k, a: u.t - torch.exp(-k) * u.xx - a * k.tx + k.d("x", 2),
            domain=DOMAIN,
            a=unknown(),
            k=unknown(0.5, positive=True, of=("x", "t")),
        ),
        Problem(
            lambda u, q, k: (u.t - u.xx - k * q, q.x - k),
            domain=DOMAIN,
            k=unknown(of="t"),
            boundary={"x=1": lambda u, k: u.x + k, "x=0": lambda k, t: k - t},
        ),
    ],
    ids=["one coordinate", "positive, of two, beside a number", "a system, at the ends too"],
)
def test_rows_and_gradient_are_those_of_finite_differences(problem):
    system, theta = begun(problem)
    linear = system.linearized(theta)
    step = 1e-6
    columns = [
        (system.residuals(theta + step * unit) - system.residuals(theta - step * unit)) / (2 * step)
        for unit in torch.eye(len(theta), dtype=torch.float64)
    ]
    torch.testing.assert_close(linear.here, system.residuals(theta))
    torch.testing.assert_close(linear.jacobian, torch.stack(columns, dim=1), atol=2e-7, rtol=1e-5)
    slope, loss = system.gradient(theta)
    torch.testing.assert_close(slope, linear.slope)
    assert loss == pytest.approx(linear.loss)


@pytest.fixture(scope="module")
def regression():
    """du/dt = k(t), u(0) = 0, from values of u: without an error of the equation it is linear regression on integrals of the splines."""
    generator = np.random.default_rng(3)
    t = generator.uniform(0, 1, 150)
    u = np.sin(5 * t) / 5 + 0.005 * generator.normal(size=150)
    problem = Problem(lambda u, k: u.t - k, domain={"t": (0, 1)}, initial=0.0, k=unknown(of="t"))
    solver = Solver(problem, data={"t": t, "u": u}, width=4, depth=2)
    for _ in solver.steps(20):
        pass
    return t, u, solver, solver.solution()


def test_values_and_errors_are_those_of_bayesian_regression(regression):
    t, u, solver, found = regression
    basis, weight = found.k.spline, solver.trial.system.smoothing["k"]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    at = torch.tensor(t[:, None] * (nodes + 1) / 2)
    values = basis.values(at.reshape(-1, 1)).numpy().reshape(basis.size, *at.shape)
    rows = (values @ weights * t / 2).T / (np.sqrt(np.mean(u**2) * len(t)))
    information = rows.T @ rows + weight * (basis.roughness.t() @ basis.roughness).numpy()
    numbers = np.linalg.solve(information, rows.T @ (u - t)) / np.sqrt(np.mean(u**2) * len(t))
    noise = found.noise["u"] ** 2 / (np.mean(u**2) * len(t))
    grid = np.linspace(0, 1, 21)
    at_grid = basis.values(torch.tensor(grid[:, None])).numpy()
    errors = np.sqrt(noise * np.sum(at_grid * np.linalg.solve(information, at_grid), axis=0))
    assert np.all(np.abs(found.k(t=grid) - (1 + numbers @ at_grid)) < 0.3 * errors)
    np.testing.assert_allclose(found.k.standard_error(t=grid), errors, rtol=0.1)
    assert found.noise["u"] == pytest.approx(0.005, rel=0.15)


def test_the_band_holds_the_truth(regression):
    *_, found = regression
    grid = np.linspace(0, 1, 101)
    low, high = found.k.interval(t=grid)
    truth = np.cos(5 * grid)
    assert np.mean((low <= truth) & (truth <= high)) > 0.85
    assert np.abs(found.k(t=grid) - truth).max() < 0.25 and not found.warnings
    assert found.stopped == "data" and "k: " in str(found)


def found_function(numbers, spread, of=("x",), **changes):
    jet = Jet.of([(0,) * len(of)])
    basis = Spline(
        names=of,
        places=tuple(range(len(of))),
        ranges=((0.0, 2.0),) * len(of),
        periodic=(False,) * len(of),
        jet=jet,
    )
    numbers = torch.full((basis.size,), float(numbers), dtype=torch.float64)
    spread = torch.full_like(numbers, spread) if isinstance(spread, float) else spread(basis.size)
    return FoundFunction(
        unknown=unknown(of=of, **changes), spline=basis, numbers=numbers, covariance=torch.diag(spread**2)
    )


def test_values_errors_and_bands_by_the_rules_of_linear_numbers():
    found = found_function(0.5, 0.1)
    basis = found.spline.values(torch.tensor([[0.3]], dtype=torch.float64))[:, 0].numpy()
    error = 0.1 * np.linalg.norm(basis)
    assert found(x=0.3) == pytest.approx(1.5) and found.standard_error(x=0.3) == pytest.approx(error)
    assert found.interval(x=0.3) == pytest.approx((1.5 - 1.96 * error, 1.5 + 1.96 * error), rel=1e-4)
    positive = found_function(0.5, 0.1, start=2.0, positive=True)
    value = 2 * math.exp(0.5)
    assert positive(x=0.3) == pytest.approx(value)
    assert positive.standard_error(x=0.3) == pytest.approx(value * error)
    expected = (value * math.exp(-1.96 * error), value * math.exp(1.96 * error))
    assert positive.interval(x=0.3) == pytest.approx(expected, rel=1e-4)
    assert isinstance(found(x=torch.zeros(2, 3)), torch.Tensor) and found(x=np.zeros((2, 3))).shape == (2, 3)
    with pytest.raises(TypeError, match="'y' is no coordinate; expected x"):
        found(y=0.1)
    with pytest.raises(ValueError, match="x is between 3 and 3; the solution is known for 0 to 2"):
        found(x=3.0)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (found_function(0.5, 0.1), None),
        (found_function(0.5, 9.0), "k is not determined: its standard error is larger than its value"),
        (
            found_function(0.5, lambda n: 1e-3 + 50.0 * (torch.arange(n) > 20).double()),
            "k is not determined for x from 1.75 to 2: there its standard error is larger than its value",
        ),
        (
            found_function(0.5, lambda n: 1e-3 + 50.0 * (torch.arange(n) < n // 2).double(), of=("x", "y")),
            "k is not determined at 67% of its points",
        ),
    ],
    ids=["told", "not told", "at one end", "in a half"],
)
def test_what_data_do_not_tell_of_a_function_is_named(found, text):
    said = untold("k", found)
    assert said is None if text is None else said.startswith(text)


def test_where_nothing_was_measured_is_said():
    data = table(200)
    seen = (data["x"] < 0.3) | (data["x"] > 0.62)
    problem = Problem(diffusion, domain=DOMAIN, k=unknown(of="x"))
    found = solve(problem, data={name: c[seen] for name, c in data.items()}, width=3, depth=1, seconds=0.1)
    said = [text for text in found.warnings if "no data" in text]
    assert len(said) == 1 and said[0].startswith(
        "there are no data for x from 0.294 to 0.634: k and its band rest"
    )
    found = solve(problem, data=data, width=3, depth=1, seconds=0.1)
    assert not any("no data" in text for text in found.warnings)


def test_a_number_that_acts_like_a_function_is_named():
    problem = Problem(
        lambda u, a, k: u.t + a * k,
        domain={"t": (0, 1)},
        a=unknown(positive=True),
        k=unknown(positive=True, of="t"),
    )
    t = np.linspace(0, 1, 60)
    found = solve(problem, data={"t": t, "u": -t - t**2}, width=4, depth=1, seconds=1)
    assert any("k and a can not be told apart" in text for text in found.warnings)


def test_the_weight_of_roughness_rests_where_data_and_roughness_agree():
    """Many numbers with one variance: the weight that rests is noise over their mean square, less noise."""
    generator = torch.Generator().manual_seed(0)
    true = 2 * torch.randn(4000, dtype=torch.float64, generator=generator)
    seen = true + 0.5 * torch.randn(4000, dtype=torch.float64, generator=generator)
    weight = 1e-3
    for _ in range(60):
        weight = next_smoothing(weight, 0.25, seen / (1 + weight), 4000 / (1 + weight))
    assert weight == pytest.approx(0.25 / 4, rel=0.06)


def test_a_sum_of_squares_may_grow_by_what_is_not_determined_any_more():
    before = Fit(squares=80.0, determined=20.0, count=100)  # variance 1
    assert not Fit(squares=90.0, determined=10.0, count=100).grew_since(before.squares, before.determined)
    assert Fit(squares=102.0, determined=10.0, count=100).grew_since(before.squares, before.determined)


def test_a_rung_on_which_the_data_are_met_worse_does_not_stand():
    ladder, k = Ladder(), [torch.linspace(1, 2, 5)]
    errors = [0.1 * torch.ones(5)]

    def rest(squares, certain):
        fit = Fit(squares=squares, determined=20.0, count=400)
        return [ladder.next(1.0, k, [certain * error for error in errors], fit) for _ in range(2)][-1]

    assert rest(400.0, 1.0) == "up"
    assert rest(480.0, 0.5) == "wider"  # for it may be the network that is too small
    assert rest(470.0, 0.5) == "down"  # it was not
    assert rest(401.0, 0.5) == "up"
    assert ladder.emphasis == 9.0


def test_the_ladder_ends_where_the_equation_holds_as_well_as_the_data_tell():
    """Though errors shrink on: then the function keeps those shapes alone that the network can follow."""
    ladder, k = Ladder(), [torch.linspace(1, 2, 5)]

    def rest(residual, certain):
        fit = Fit(squares=400.0, determined=20.0, count=400, residual=residual)
        return [ladder.next(0.03, k, [certain * torch.ones(5)], fit) for _ in range(2)][-1]

    assert [rest(1e-3, 0.1), rest(1e-4, 0.09), rest(2e-5, 0.08)] == ["up", "up", "down"]
    assert len(ladder.rungs) == 2


def test_a_function_moves_by_the_root_mean_square_over_its_points():
    ladder, errors = Ladder(), [torch.ones(4)]
    ladder.next(1.0, [torch.zeros(4)], errors)
    assert ladder.next(1.0, [torch.tensor([0.5, 0.0, 0.0, 0.0])], errors) == "up"  # 0.25 < 0.3
    ladder = Ladder()
    ladder.next(1.0, [torch.zeros(4)], errors)
    assert ladder.next(1.0, [torch.tensor([0.5, 0.5, 0.0, 0.0])], errors) == "stay"


def test_discovery_of_a_function_is_resumed_and_saved_as_if_never_stopped():
    problem = Problem(diffusion, domain=DOMAIN, k=unknown(of="x"))
    arguments = {"data": table(60), "width": 4, "depth": 1}
    whole, first = Solver(problem, **arguments), Solver(problem, **arguments)
    for solver, last in ((whole, 31), (first, 14)):
        next(record for record in solver.steps() if record.iteration == last)
    second = Solver(problem, **arguments, state=first.state())
    next(record for record in second.steps() if record.iteration == 31)
    assert (
        torch.equal(second.trial.theta, whole.trial.theta)
        and second.strategy.smoothing == whole.strategy.smoothing != first.strategy.smoothing
    )
    found = whole.solution()
    again = Solution.built(problem, *found.saved())
    x = np.linspace(0, 1, 5)
    np.testing.assert_array_equal(again.k.interval(x=x), second.solution().k.interval(x=x))
    np.testing.assert_array_equal(again.residuals(t=0.5, x=x), found.residuals(t=0.5, x=x))
    tensors, numbers = found.saved()
    with pytest.raises(ValueError, match=r"expected 25 numbers of k; received \[3\]"):
        Solution.built(problem, tensors | {"k.numbers": torch.zeros(3)}, numbers)


def test_the_residual_of_a_solution_is_made_with_the_function():
    problem = Problem(diffusion, domain=DOMAIN, k=unknown(of="x"))
    found = solve(problem, data=table(), width=4, depth=1, seconds=0.2)
    x, step = np.linspace(0.1, 0.9, 7), 1e-5
    slope = (found.k(x=x + step) - found.k(x=x - step)) / (2 * step)
    at = {"t": 0.5, "x": x}
    expected = found.u.t(**at) - (found.k(x=x) * found.u.xx(**at) + slope * found.u.x(**at))
    np.testing.assert_allclose(found.residuals(**at)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            {"k": lambda: unknown(of="y")},
            "k is an unknown function of 'y', which is no coordinate. There are: t, x.",
        ),
        ({"k": lambda: unknown(of=("x", "x"))}, "expected names of coordinates, each once"),
        ({"k": lambda: unknown(of=("t", "x", "y", "z"))}, "expected 3 coordinates at most"),
        (
            {"residual": lambda u, k: u.t - k.t, "k": lambda: unknown(of="x")},
            "k.t is no derivative of k: write one or more of its coordinates x",
        ),
        (
            {"residual": lambda u, k: u.t - u.x, "k": lambda: unknown(of="x")},
            "k is an unknown function that the residual does not use",
        ),
        (
            {"residual": lambda u, k: u.t - k.d("x", 5), "k": lambda: unknown(of="x")},
            "a derivative of order 5 of the unknown function k; expected 4",
        ),
    ],
)
def test_unknown_functions_that_can_not_be(arguments, error):
    residual = arguments.get("residual", diffusion)
    with pytest.raises(ValueError, match=error):
        Problem(residual, domain=DOMAIN, k=arguments["k"]())


def test_a_function_can_only_be_found_from_data():
    with pytest.raises(ValueError, match="k can only be found from data"):
        solve(Problem(diffusion, domain=DOMAIN, initial=0.0, boundary={"x": 0.0}, k=unknown(of="x")))


def test_a_conductivity_that_varies():
    """Steady heat, -(k u')' = f with k = 1 + cos(2 pi x) / 2 and u = sin(pi x) + x / 2."""

    def source(x):
        slope, bend = math.pi * torch.cos(math.pi * x) + 0.5, -(math.pi**2) * torch.sin(math.pi * x)
        return math.pi * torch.sin(2 * math.pi * x) * slope - (1 + torch.cos(2 * math.pi * x) / 2) * bend

    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, 150)
    u = np.sin(math.pi * x) + x / 2
    problem = Problem(
        lambda u, k, x: k * u.xx + k.x * u.x + source(x), domain={"x": (0, 1)}, k=unknown(of="x")
    )
    data = {"x": x, "u": u + 0.003 * generator.normal(size=150)}
    found = solve(problem, data=data, width=6, depth=1, seconds=10)
    x = np.linspace(0, 1, 61)
    truth = 1 + np.cos(2 * math.pi * x) / 2
    low, high = found.k.interval(x=x)
    assert np.mean((low <= truth) & (truth <= high)) > 0.85 and not found.warnings
    assert np.linalg.norm(found.k(x=x) - truth) < 0.02 * np.linalg.norm(truth)
    assert 0.001 < np.median(found.k.standard_error(x=x)) < 0.02
