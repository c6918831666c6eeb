"""Walking to a number through easier values: the stages, the state, and that a stiff layer is found."""

import json

import numpy as np
import pytest
import torch
from scipy.integrate import solve_bvp

from hubel.physics import Problem, Solver, solve, unknown
from hubel.physics.continuation import Continuation

EPSILON = 3e-4


def layer(u, eps):
    return eps * u.xx + u * u.x - u


def problem(eps=EPSILON):
    """An inner layer of the width eps between u = x - 1 and u = x + 1/2."""
    return Problem(layer, domain={"x": (0, 1)}, eps=eps, boundary={"x=0": -1.0, "x=1": 1.5})


def test_the_stages_are_the_values_in_their_order_and_then_the_own():
    made = problem()
    found = Continuation.of({"eps": (0.1, 0.01)}, made)
    assert [stage.parameters["eps"] for stage in found.stages] == [0.1, 0.01, EPSILON]
    assert found.stages[-1] is made and found.told(0) == "eps = 0.1"
    assert made.parameters["eps"] == EPSILON
    assert Continuation.of(None, made).stages == (made,)


def test_the_network_is_carried_to_the_last_value():
    solver = Solver(problem(0.02), tol=1e-3, width=8, depth=2, continuation={"eps": (0.2, 0.06)})
    seen = {}
    for record in solver.steps(15):
        seen.setdefault(solver.strategy.stage, record.iteration)
        assert solver.ansatz.problem.parameters["eps"] == (0.2, 0.06, 0.02)[solver.strategy.stage]
    found, x = solver.solution(), np.linspace(0, 1, 401)
    begin = np.vstack([1.5 * x - 0.5, np.ones_like(x)])
    true = solve_bvp(
        lambda x, y: np.vstack([y[1], (y[0] - y[0] * y[1]) / 0.02]),
        lambda left, right: np.array([left[0] + 1, right[0] - 1.5]),
        x,
        np.vstack([found(x=x), found.u.x(x=x)]) if found.reached else begin,
        tol=1e-6,
        max_nodes=20_000,
    ).sol(x)[0]
    assert sorted(seen) == [0, 1, 2] and found.reached and found.stopped == "tolerance"
    assert np.linalg.norm(found(x=x) - true) < 5e-3 * np.linalg.norm(true)
    assert found.problem.parameters["eps"] == found.ansatz.problem.parameters["eps"] == 0.02


def test_on_the_way_nothing_is_estimated_and_it_is_said_how_far_it_came():
    made = problem()
    solver = Solver(made, width=3, depth=1, continuation={"eps": (0.1, 0.03)})
    next(iter(solver.steps()))
    found = solver.solution()
    assert found.problem is made and found.ansatz.problem is made
    assert found.estimate is None and found.limit == "the continuation: it came to eps = 0.1"
    x = np.linspace(0, 1, 5)
    expected = EPSILON * found.u.xx(x=x) + found(x=x) * found.u.x(x=x) - found(x=x)
    np.testing.assert_allclose(found.residuals(x=x)[0], expected)


def test_it_is_resumed_as_if_never_stopped():
    arguments = {"width": 6, "depth": 1, "continuation": {"eps": (2.0, 1.5, 1.0)}}
    whole, first = Solver(problem(0.8), **arguments), Solver(problem(0.8), **arguments)
    for solver, stage in ((whole, 3), (first, 1)):
        for record in solver.steps():
            if solver.strategy.stage == stage and record.iteration % 5 == 2:
                break
    state = json.loads(json.dumps(first.state()["numbers"]))
    second = Solver(problem(0.8), **arguments, state={"tensors": first.state()["tensors"], "numbers": state})
    assert second.strategy.stage == 1 and second.ansatz.problem.parameters["eps"] == 1.5
    for record in second.steps():
        if record.iteration == whole.iteration:
            break
    assert (
        torch.equal(second.trial.theta, whole.trial.theta)
        and second.strategy.stage == whole.strategy.stage == 3
    )
    with pytest.raises(ValueError, match="the state is of another continuation"):
        Solver(problem(0.8), width=6, depth=1, state=second.state())


def test_conditions_that_are_learnt_weigh_the_same_after_a_resume():
    """The number that is walked through stands in a condition, whose size is that of the first stage."""
    made = Problem(
        layer, domain={"x": (0, 1)}, eps=0.8, boundary={"x=0": -1.0, "x=1": lambda u, eps: eps * u.x - 1}
    )
    arguments = {"width": 4, "depth": 1, "continuation": {"eps": (2.0, 1.5)}}
    first = Solver(made, **arguments)
    next(record for record in first.steps() if first.strategy.stage == 1)
    second = Solver(made, **arguments, state=first.state())
    for solver in (first, second):
        next(iter(solver.steps()))
    assert torch.equal(first.trial.theta, second.trial.theta)


@pytest.mark.parametrize(
    ("given", "kind", "error"),
    [
        (
            {"nu": (0.1,)},
            ValueError,
            "continuation has 'nu', which is no number of the problem. There are: eps.",
        ),
        ({"eps": "0.1"}, TypeError, "continuation of eps is '0.1'; expected its values before its own"),
        ({"eps": ()}, TypeError, "expected its values before its own"),
        ({"eps": (0.1, float("nan"))}, TypeError, "continuation of eps has nan; expected finite numbers"),
    ],
)
def test_values_that_can_not_be_walked_through(given, kind, error):
    with pytest.raises(kind, match=error):
        solve(problem(), continuation=given)


def test_numbers_are_walked_through_together():
    two = Problem(lambda u, a, b: a * u.xx + b * u, domain={"x": (0, 1)}, a=1.0, b=2.0, boundary={"x": 1.0})
    found = Continuation.of({"a": (3.0, 2.0), "b": (5.0, 4.0)}, two)
    assert [tuple(stage.parameters.values()) for stage in found.stages] == [
        (3.0, 5.0),
        (2.0, 4.0),
        (1.0, 2.0),
    ]
    with pytest.raises(ValueError, match="equally many values of every number; received of a 1, b 2"):
        Continuation.of({"a": (3.0,), "b": (5.0, 4.0)}, two)


def test_it_is_for_problems_without_data():
    decay = Problem(lambda u, k, c: u.t + k * c * u, domain={"t": (0, 1)}, k=unknown(), c=1.0)
    with pytest.raises(ValueError, match="for problems without data"):
        solve(decay, data={"t": [0.1, 0.2], "u": [1.0, 0.9]}, continuation={"c": (2.0,)})
