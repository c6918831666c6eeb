"""Whole solutions against closed forms; the estimate against the true error; resuming, interrupting, saving."""

import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from hubel.physics import (
    SOAP,
    LimitedMemory,
    Problem,
    SelfScaledBroyden,
    Solution,
    Solver,
    raissi,
    solve,
    unknown,
)

sin, cos, exp, pi = torch.sin, torch.cos, torch.exp, math.pi


def heat():
    return Problem(
        lambda u: u.t - 0.1 * u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: sin(pi * x) + 0.5 * sin(2 * pi * x),
        boundary={"x": 0.0},
    )


def heat_exactly(t, x):
    return exp(-0.1 * pi**2 * t) * sin(pi * x) + 0.5 * exp(-0.4 * pi**2 * t) * sin(2 * pi * x)


CASES = {
    "heat": (heat(), heat_exactly),
    "advection, periodic": (
        Problem(
            lambda u: u.t + u.x,
            domain={"t": (0, 0.5), "x": (0, 1)},
            initial=lambda x: sin(2 * pi * x),
            boundary={"x": "periodic"},
        ),
        lambda t, x: sin(2 * pi * (x - t)),
    ),
    "two fields of second order, one with a slope at its end": (
        Problem(
            lambda u, v: (u.tt - u.xx, v.t - u.x),
            domain={"t": (0, 0.5), "x": (0, 1)},
            initial={"u": lambda x: cos(pi * x / 2), "u.t": 0.0, "v": 0.0},
            boundary={"x=0": {"u.x": 0.0}, "x=1": {"u": 0.0}},
        ),
        lambda t, x: cos(pi * t / 2) * cos(pi * x / 2),
    ),
    "a complex field": (
        Problem(
            lambda h: 1j * h.t + 0.1 * h.xx,
            domain={"t": (0, 1), "x": (0, 1)},
            complex="h",
            initial=lambda x: sin(2 * pi * x),
            boundary={"x": "periodic"},
        ),
        lambda t, x: sin(2 * pi * x) * exp(-0.4j * pi**2 * t),
    ),
    "three dimensions of space": (
        Problem(
            lambda u, x, y, z: u.xx + u.yy + u.zz - 6 * x * y * z - u + x**3 * y * z,
            domain={"x": (0, 1), "y": (0, 1), "z": (0, 1)},
            boundary={
                "x=0": 0.0,
                "x=1": lambda y, z: y * z,
                "y=0": 0.0,
                "y=1": lambda x, z: x**3 * z,
                "z=0": 0.0,
                "z=1": lambda x, y: x**3 * y,
            },
        ),
        lambda x, y, z: x**3 * y * z,
    ),
}


def error(solution, truth):
    names, ranges = solution.problem.coordinates, solution.problem.ranges.values()
    grid = torch.meshgrid(*(torch.linspace(*ends, 21, dtype=torch.float64) for ends in ranges), indexing="ij")
    found = solution(**dict(zip(names, grid, strict=True)))
    found = found["u"] if isinstance(found, dict) else found
    return float(
        (found - truth(*grid)).abs().square().sum().sqrt() / truth(*grid).abs().square().sum().sqrt()
    )


@pytest.mark.parametrize("case", CASES)
def test_to_the_tolerance_and_honestly(case):
    problem, truth = CASES[case]
    solution = solve(problem, tol=1e-3)
    true = error(solution, truth)
    assert solution.reached and solution.stopped == "tolerance" and true < 2e-3
    assert true / 5 < solution.estimate or true < 2e-4
    assert all(violation < 0.02 for violation in solution.violations.values())


def test_a_field_that_is_known_up_to_a_constant_does_not_hinder_the_estimate():
    problem = Problem(
        lambda u, p, x: (u.xx + pi**2 * sin(pi * x), p.x - u),
        domain={"x": (0, 1)},
        boundary={"x": {"u": 0.0}},
    )
    solution = solve(problem, tol=1e-4, width=6, depth=2)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert solution.stopped == "tolerance"
    torch.testing.assert_close(solution.p.x(x=x), sin(pi * x), atol=1e-3, rtol=0)


def test_what_the_equation_does_not_see_of_a_field_is_no_part_of_its_error():
    problem = Problem(lambda u, p: (u.xx + p.x, u.x - p.x), domain={"x": (0, 1)}, boundary={"x": {"u": 0.0}})
    trial = Solver(problem).trial
    network, before = trial.ansatz.network, trial.values(trial.theta)
    network.linear[-1].bias[1] += 5
    assert torch.equal(trial.values(network.weights()), before)
    network.linear[-1].bias[0] += 5
    assert not torch.allclose(trial.values(network.weights()), before)


def test_violations_are_in_the_units_of_the_condition():
    problem = Problem(
        lambda u: u.t - u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: 50 * cos(pi * x / 2),
        boundary={"x=0": {"u.x": 0.0}, "x=1": 0.0},
    )
    solution = Solver(problem).solution()
    largest = np.abs(solution.u.x(t=np.linspace(0, 1, 400), x=0.0)).max()
    assert solution.violations == {"u.x at x = 0": pytest.approx(largest, rel=0.05)} and largest > 1


def test_learnt_values_are_learnt_and_their_violation_is_measured():
    solution = solve(heat(), tol=2e-3, exact=False, width=10, depth=2)
    assert solution.reached and error(solution, heat_exactly) < 5e-3
    at_ends = max(abs(solution(t=t, x=x)) for t in (0.1, 0.6) for x in (0.0, 1.0))
    assert set(solution.violations) == {"u at x = 0", "u at x = 1", "u at t = 0"}
    assert 0.2 * at_ends < max(solution.violations.values()) < 0.05


@pytest.mark.parametrize("method", [SelfScaledBroyden, LimitedMemory])
def test_other_methods_lower_the_residual_and_are_resumed(method):
    whole = Solver(heat(), tol=1e-9, width=6, depth=2, method=method(), points=300)
    for record in whole.steps():
        if record.iteration == 60:
            break
    assert whole.history[-1].loss < 0.01 * whole.history[0].loss
    state = whole.state()
    again = Solver(heat(), tol=1e-9, width=6, depth=2, method=method(), points=300, state=state)
    for solver in (whole, again):
        next(iter(solver.steps()))
    assert torch.equal(whole.trial.theta, again.trial.theta)
    with pytest.raises(ValueError, match="pass the same method"):
        Solver(heat(), width=6, depth=2, state=state)


def test_a_method_is_copied_and_begins_again_with_its_settings():
    method = LimitedMemory(memory=3)
    for _ in range(2):
        solver = Solver(heat(), tol=1e-9, width=4, depth=1, method=method)
        next(record for record in solver.steps() if record.iteration == 6)
        assert len(solver.trial.method.steps) == 3 and method == LimitedMemory(memory=3)
    solver.trial.begin_with(solver.ansatz.network.another(1))
    assert solver.trial.method == method


def test_the_first_papers_set_up():
    solver = Solver(heat(), **(raissi() | {"points": 200, "depth": 3}))
    record = next(iter(solver.steps()))
    assert (record.num_points, solver.ansatz.exact, solver.ansatz.mirror) == (200, False, None)
    assert raissi()["points"] == 10_000 and raissi()["method"] is not raissi()["method"]


def test_a_solution_is_saved_and_built_again(tmp_path):
    solution = solve(heat(), tol=0.02)
    tensors, numbers = solution.saved()
    safetensors.torch.save_file(tensors, tmp_path / "solution.safetensors")
    again = Solution.built(
        heat(),
        safetensors.torch.load_file(tmp_path / "solution.safetensors"),
        json.loads(json.dumps(numbers)),
    )
    x = np.linspace(0, 1, 7)
    assert np.array_equal(again.u.xx(t=0.3, x=x), solution.u.xx(t=0.3, x=x))
    assert (again.estimate, again.history, str(again)) == (solution.estimate, solution.history, str(solution))
    with pytest.raises(ValueError, match="another problem"):
        Solution.built(CASES["a complex field"][0], tensors, numbers)


def test_stopped_and_resumed_is_as_if_never_stopped(tmp_path):
    whole = Solver(heat(), tol=1e-9, seed=3)
    for record in whole.steps():
        if record.iteration == 34:
            break
    first = Solver(heat(), tol=1e-9, seed=3)
    for record in first.steps():
        if record.iteration == 13:
            break
    state = first.state()
    safetensors.torch.save_file(state["tensors"], tmp_path / "state.safetensors")
    second = Solver(
        heat(),
        tol=1e-9,
        seed=3,
        state={
            "tensors": safetensors.torch.load_file(tmp_path / "state.safetensors"),
            "numbers": json.loads(json.dumps(state["numbers"])),
        },
    )
    for record in second.steps():
        if record.iteration == 34:
            break
    assert (
        torch.equal(second.trial.theta, whole.trial.theta) and second.strategy.watch == whole.strategy.watch
    )
    assert [r.loss for r in second.history] == [r.loss for r in whole.history]
    with pytest.raises(ValueError, match="seed 3"):
        Solver(heat(), seed=4, state=state)


@pytest.mark.parametrize("kind", ["forward", "inverse", "SOAP"])
def test_a_state_stays_as_it_was_whoever_goes_on(kind):
    decay = Problem(
        lambda u, k: u.t + k * u,
        domain={"t": (0, 1)},
        initial=1.0,
        k=unknown() if kind == "inverse" else 1.0,
    )
    t = np.linspace(0, 1, 40)
    noisy = {"t": t, "u": np.exp(-t) + 0.01 * np.cos(50 * t)}
    more = {"forward": {}, "inverse": {"data": noisy}, "SOAP": {"method": SOAP(warm_up=3)}}[kind]

    def until(last, solver):
        next(record for record in solver.steps() if record.iteration == last)
        return solver

    def begun(state=None):
        return Solver(decay, tol=1e-14, width=4, depth=1, **more, state=state)

    first = until(20, begun())
    state = first.state()
    for solver in (until(45, first), until(45, begun(state)), until(45, begun(state))):
        assert torch.equal(solver.trial.theta, first.trial.theta)
        assert [(r.loss, r.estimate) for r in solver.history] == [(r.loss, r.estimate) for r in first.history]


def test_an_interrupt_answers_what_was_reached():
    def stop(iteration, loss, estimate, seconds):
        if iteration == 12:
            raise KeyboardInterrupt

    states = []
    solution = solve(heat(), tol=1e-9, progress=stop, save=states.append, save_every=0.0)
    assert solution.stopped == "interrupted" and not solution.reached and len(solution.history) == 12
    assert len(states) == 11 and solution.solver_state()["numbers"]["iteration"] == 12
    assert solution.residual < 1 and np.isfinite(solution(t=0.5, x=0.5))


def test_the_time_is_over():
    solution = solve(heat(), tol=1e-9, seconds=1e-3)
    assert solution.stopped == "time" and "optimizer" in solution.limit and len(solution.history) == 1


def test_a_solution_is_a_function_with_derivatives():
    solution = solve(heat(), tol=0.05)
    t, x = np.linspace(0, 1, 4)[:, None], np.linspace(0, 1, 5)
    assert solution(t=t, x=x).shape == (4, 5) and isinstance(solution(t=0.5, x=0.5), float)
    assert isinstance(solution(t=torch.tensor(0.5), x=0.5), torch.Tensor)
    step = 1e-5
    for derivative, found in [
        ((solution.u(t=0.4, x=0.3 + step) - solution.u(t=0.4, x=0.3 - step)) / (2 * step), solution.u.x),
        ((solution.u.x(t=0.4 + step, x=0.3) - solution.u.x(t=0.4 - step, x=0.3)) / (2 * step), solution.u.tx),
        (
            (solution.u.x(t=0.4, x=0.3 + step) - solution.u.x(t=0.4, x=0.3 - step)) / (2 * step),
            solution.u.d("x", 2),
        ),
    ]:
        assert found(t=0.4, x=0.3) == pytest.approx(derivative, rel=1e-5, abs=1e-6)
    left = solution.u.t(t=0.4, x=0.3) - 0.1 * solution.u.xx(t=0.4, x=0.3)
    assert solution.residuals(t=0.4, x=0.3)[0] == pytest.approx(left, abs=1e-12)
    assert solution(t=0.5, x=0.0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda s: s(t=0.5), TypeError, "x is missing"),
        (lambda s: s(t=0.5, y=1), TypeError, "'y' is no coordinate"),
        (lambda s: s(t=0.5, x=2.0), ValueError, "known for 0 to 1"),
        (lambda s: s(t=np.zeros(2), x=np.zeros(3)), ValueError, r"t \[2\], x \[3\]"),
        (lambda s: s.w, AttributeError, "no 'w'"),
        (lambda s: s.u.y, AttributeError, "no derivative"),
        (lambda s: s.u.d("x", 0), ValueError, "order"),
    ],
)
def test_what_a_solution_can_not_answer(call, kind, text):
    solution = SOLUTIONS.setdefault("heat", Solver(heat()).solution())
    with pytest.raises(kind, match=text):
        call(solution)


SOLUTIONS: dict = {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tol": 0}, "tol is 0"),
        ({"tol": 1e-3, "seconds": -1.0}, "seconds is -1"),
        ({"width": 0}, "width is 0"),
        ({"points": 2.5}, "points is 2.5"),
    ],
)
def test_refused_before_the_first_step(arguments, text):
    with pytest.raises(ValueError, match=text):
        solve(heat(), **arguments)


def test_a_residual_that_becomes_nan_is_an_error_that_says_when():
    problem = Problem(lambda u: u.x + torch.log(u), domain={"x": (0, 1)}, boundary={"x=0": -1.0})
    with pytest.raises(ValueError, match="NaN or infinite at iteration 1"):
        solve(problem)


def test_a_solution_that_is_zero_ends_at_rounding():
    problem = Problem(lambda u: u.x + u, domain={"x": (0, 1)}, boundary={"x=0": 0.0})
    solution = solve(problem, width=4, depth=1)
    assert solution.stopped == "rounding" and abs(solution(x=0.7)) < 1e-12 and "rounding" in solution.limit


def test_unknowns_need_data_and_forward_problems_conditions():
    with pytest.raises(ValueError, match="nu can only be found from data"):
        solve(Problem(lambda u, nu: u.t - nu * u.xx, domain={"t": (0, 1), "x": (0, 1)}, nu=unknown()))
    with pytest.raises(ValueError, match="not determined: u has a derivative by t"):
        solve(Problem(lambda u: u.t - u.xx, domain={"t": (0, 1), "x": (0, 1)}, boundary={"x": 0.0}))
