"""Weights from the beginning of time on: the formula, the rows, the state, and that all times count in the end."""

import math

import pytest
import torch

from hubel.physics import Problem, Solver, solve, unknown
from hubel.physics.causal import CHUNKS, DONE, PATIENCE, Causal


def advection(**changes):
    return Problem(
        lambda u, c: u.t + c * u.x,
        domain={"t": (0, 1), "x": (0, 1)},
        c=1.0,
        initial=lambda x: torch.sin(2 * math.pi * x),
        boundary={"x": "periodic"},
        **changes,
    )


def test_the_weights_are_those_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    times = 3 + 2 * torch.rand(2000, dtype=torch.float64, generator=generator)
    squares = torch.rand(2000, dtype=torch.float64, generator=generator)
    causal = Causal(epsilon=0.2, begin=3.0, end=5.0, time="t")
    assert causal.learn(times, squares) == "on"
    means = [
        float(squares[(times >= 3 + 2 * k / CHUNKS) & (times < 3 + 2 * (k + 1) / CHUNKS)].mean())
        for k in range(CHUNKS)
    ]
    expected = [math.exp(-0.2 * sum(means[:k])) for k in range(CHUNKS)]
    assert causal.weights == pytest.approx(expected)
    middle = torch.tensor([3 + 2 * (k + 0.5) / CHUNKS for k in range(CHUNKS)], dtype=torch.float64)
    assert causal.at(middle).square().tolist() == pytest.approx(expected)
    assert causal.at(torch.tensor([5.0])).item() ** 2 == pytest.approx(expected[-1])


def test_it_is_done_when_all_weights_are_near_one_and_stuck_when_they_rest():
    times = torch.linspace(0, 1, 320, dtype=torch.float64)
    causal = Causal(epsilon=1.0, begin=0.0, end=1.0, time="t")
    large = torch.full_like(times, 0.5)
    said = [causal.learn(times, large) for _ in range(PATIENCE + 1)]
    assert said == ["on"] * PATIENCE + ["stuck"]
    small = torch.full_like(times, -math.log(DONE) / CHUNKS)
    assert causal.learn(times, 0.9 * small) == "done" and causal.weights == [1.0] * CHUNKS


def test_rows_are_multiplied_by_the_roots_of_the_weights():
    arguments = {"width": 3, "depth": 1, "points": 60}
    plain, causal = Solver(advection(), **arguments), Solver(advection(), **arguments, causal=1.0)
    causal.strategy.causal.weights = [0.9**k for k in range(CHUNKS)]
    for solver in (plain, causal):
        solver.strategy.draw()
    theta = plain.trial.theta
    times = plain.trial.points[:, 0]
    roots = torch.tensor([0.9 ** (int(t * CHUNKS) / 2) for t in times], dtype=torch.float64)
    expected = plain.trial.system.residuals(theta) * roots
    torch.testing.assert_close(causal.trial.system.residuals(theta), expected)
    assert float((causal.trial.system.linearized(theta).here - expected).abs().max()) < 1e-12


def test_the_beginning_is_solved_first_and_all_in_the_end():
    solver = Solver(advection(), tol=1e-2, width=8, depth=2, causal=True)
    early = None
    for _ in solver.steps(15):
        weights = torch.tensor(solver.strategy.causal.weights)
        if early is None and 0.05 < float(weights.mean()) < 0.9:
            early = weights
            assert solver.strategy.estimate is None and not solver.strategy.causal.done
            assert float(solver.trial.points[:, 0].max()) <= solver.strategy.causal.front
    found = solver.solution()
    assert early is not None and bool((early.diff() <= 0).all()) and early[0] == 1
    assert solver.strategy.causal.done and found.reached
    t = torch.linspace(0, 1, 41, dtype=torch.float64)[:, None]
    x = torch.linspace(0, 1, 41, dtype=torch.float64)
    truth = torch.sin(2 * math.pi * (x - t))
    assert float((found(t=t, x=x) - truth).norm() / truth.norm()) < 2e-2


def test_it_is_resumed_as_if_never_stopped():
    arguments = {"width": 4, "depth": 1, "causal": 10.0}
    whole, first = Solver(advection(), **arguments), Solver(advection(), **arguments)
    for solver, last in ((whole, 43), (first, 18)):
        for record in solver.steps():
            if record.iteration == last:
                break
    assert 0 < sum(first.strategy.causal.weights) < CHUNKS
    second = Solver(advection(), **arguments, state=first.state())
    for record in second.steps():
        if record.iteration == 43:
            break
    assert (
        torch.equal(second.trial.theta, whole.trial.theta) and second.strategy.causal == whole.strategy.causal
    )
    with pytest.raises(ValueError, match="or other causal weights"):
        Solver(advection(), width=4, depth=1, state=first.state())


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, "yes"])
def test_epsilon_is_a_positive_number(epsilon):
    with pytest.raises(ValueError, match="expected True, or a positive number"):
        solve(advection(), causal=epsilon)


def test_there_must_be_a_time_and_no_data():
    flat = Problem(lambda u: u.xx + u, domain={"x": (0, 1)}, boundary={"x": 1.0})
    with pytest.raises(ValueError, match="the domain has x; name it by time="):
        solve(flat, causal=True)
    decay = Problem(lambda u, k: u.t + k * u, domain={"t": (0, 1)}, k=unknown())
    with pytest.raises(ValueError, match="for problems without data"):
        solve(decay, data={"t": [0.1, 0.2], "u": [1.0, 0.9]}, causal=True)
