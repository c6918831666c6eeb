"""Windows of time: exact where they meet, to the tolerance against closed forms, resumed, interrupted, saved."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import safetensors.torch
import torch
from test_solver import heat, heat_exactly

from hubel.physics import Problem, Solution, Solver, Windows, shapes, solve, unknown
from hubel.physics.jets import Jet
from hubel.physics.way import together
from hubel.physics.windows import share_of

sin, cos, exp, pi = torch.sin, torch.cos, torch.exp, math.pi


CASES = {
    "heat": (heat(), heat_exactly),
    "advection, periodic": (
        Problem(
            lambda u: u.t + u.x,
            domain={"t": (0, 1.5), "x": (0, 1)},
            initial=lambda x: sin(2 * pi * x),
            boundary={"x": "periodic"},
        ),
        lambda t, x: sin(2 * pi * (x - t)),
    ),
    "wave, with a speed at the beginning": (
        Problem(
            lambda u: u.tt - u.xx,
            domain={"x": (0, 1), "t": (0, 1)},
            initial={"u": lambda x: sin(pi * x), "u.t": lambda x: 2 * pi * sin(2 * pi * x)},
            boundary={"x": 0.0},
        ),
        lambda x, t: cos(pi * t) * sin(pi * x) + sin(2 * pi * t) * sin(2 * pi * x),
    ),
    "two fields, of second and first order, one with a slope at its end": (
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
    "two dimensions of space, values at ends that change with time": (
        Problem(
            lambda u, t, x, y: u.t - u.xx - u.yy + exp(-t) * x * y**2 + 2 * exp(-t) * x,
            domain={"t": (0, 1), "x": (0, 1), "y": (0, 1)},
            initial=lambda x, y: x * y**2,
            boundary={
                "x=0": 0.0,
                "x=1": lambda t, y: exp(-t) * y**2,
                "y=0": 0.0,
                "y=1": lambda t, x: exp(-t) * x,
            },
        ),
        lambda t, x, y: exp(-t) * x * y**2,
    ),
    "no space": (Problem(lambda u: u.t + u, domain={"t": (0, 3)}, initial=1.0), lambda t: exp(-t)),
}


def grid_of(problem, num=25):
    ranges = problem.ranges.values()
    grid = torch.meshgrid(
        *(torch.linspace(*ends, num, dtype=torch.float64) for ends in ranges), indexing="ij"
    )
    return dict(zip(problem.coordinates, grid, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_to_the_tolerance_at_all_times_and_honestly(case):
    problem, truth = CASES[case]
    solution = solve(problem, tol=1e-3, windows=3)
    grid = grid_of(problem)
    found, true = solution(**grid), truth(*grid.values())
    found = found["u"] if isinstance(found, dict) else found
    error = float((found - true).abs().norm() / true.abs().norm())
    assert solution.reached and solution.stopped == "tolerance" and error < 1.5e-3
    assert error / 5 < solution.estimate or error < 2e-4
    assert float((found - true).abs().max()) < 1e-2 * float(true.abs().max())
    assert [r.iteration for r in solution.history] == list(range(1, len(solution.history) + 1))
    assert all(a.seconds < b.seconds for a, b in pairwise(solution.history))
    assert {r.window for r in solution.history} == {1, 2, 3}
    assert solution.history[-1].estimate == pytest.approx(solution.estimate)
    assert solution.num_weights == sum(window.network.size for window in solution.ansatz.windows)


def handed_on(problem, num=3, **chosen):
    """Windows at the first iterations of the last one, whose network is far from a solution."""
    windows = Windows(problem, num, tol=0.3, width=5, depth=1, **chosen)
    assert any(record.window == num for record in windows.steps())
    assert len(windows.way.windows) == num - 1
    return windows


@pytest.mark.parametrize("case", CASES)
def test_each_begins_exactly_where_the_one_before_ended(case):
    problem, _ = CASES[case]
    forms = handed_on(problem)
    place = problem.coordinates.index("t")
    orders = max(index[place] for own in problem.needed.values() for index in own)
    jet = Jet.of([tuple((orders - 1) if k == place else 3 for k in range(len(problem.coordinates)))])
    points = torch.rand(40, len(problem.coordinates), dtype=torch.float64)
    for earlier, later in pairwise((*forms.way.windows, forms.ansatz)):
        seam = earlier.problem.ranges["t"][1]
        assert later.problem.ranges["t"][0] == seam
        points[:, place] = seam
        before, after = earlier.at(points, jet), later.at(points, jet)
        for name, known in problem.conditions.initial.items():
            rows = [k for k, index in enumerate(jet.indices) if index[place] < len(known)]
            torch.testing.assert_close(after[name][rows], before[name][rows], atol=1e-11, rtol=1e-11)
        points[:, place] = seam + 0.1 * (problem.ranges["t"][1] - problem.ranges["t"][0])
        name = problem.components[0]
        assert not torch.allclose(later.at(points, jet)[name], earlier.at(points, jet)[name])


def test_values_at_ends_hold_exactly_in_every_window():
    problem, truth = CASES["two dimensions of space, values at ends that change with time"]
    forms = handed_on(problem)
    points = torch.rand(50, 3, dtype=torch.float64)
    for form in (*forms.way.windows, forms.ansatz):
        low, high = form.problem.ranges["t"]
        at = points * torch.tensor([high - low, 1.0, 1.0]) + torch.tensor([low, 0.0, 0.0])
        for axis, end in ((1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)):
            face = at.clone()
            face[:, axis] = end
            torch.testing.assert_close(form.values(face)[0], truth(*face.unbind(1)), atol=1e-12, rtol=0)


def test_derivatives_go_on_through_a_seam():
    solution = handed_on(CASES["wave, with a speed at the beginning"][0]).solution()
    x, near = np.linspace(0, 1, 9), 1e-9
    for derivative in (solution.u, solution.u.x, solution.u.xxx, solution.u.t, solution.u.tx):
        before, after = derivative(t=1 / 3 - near, x=x), derivative(t=1 / 3 + near, x=x)
        np.testing.assert_allclose(after, before, atol=1e-5 * max(1.0, np.abs(before).max()))
    assert not np.allclose(solution.u.tt(t=1 / 3 - near, x=x), solution.u.tt(t=1 / 3 + near, x=x))
    left = solution.u.tt(t=0.5, x=x) - solution.u.xx(t=0.5, x=x)
    np.testing.assert_allclose(solution.residuals(t=0.5, x=x)[0], left, atol=1e-12)


def test_within_a_shape():
    plate = Problem(
        lambda u, x, y: u.t - u.xx - u.yy,
        domain={"t": (0, 1), ("x", "y"): shapes.disk(0, 0, 1)},
        initial=lambda x, y: 1 - x**2 - y**2,
        boundary={"around": 0.0},
    )
    solution = handed_on(plate, 2).solution()
    angle = np.linspace(0, 2 * pi, 7)
    np.testing.assert_allclose(solution(t=0.8, x=np.cos(angle), y=np.sin(angle)), 0.0, atol=1e-12)
    assert np.isnan(solution(t=0.8, x=0.9, y=0.9)) and np.isfinite(solution(t=1.0, x=0.1, y=0.2))


def test_a_beginning_with_a_kink_is_learnt_and_later_ones_are_exact():
    bowl = Problem(
        lambda u: u.t - u.xx,
        domain={"t": (0, 1), "x": (-1, 1)},
        initial=lambda x: x**2,
        boundary={"x": "periodic"},
    )
    forms = handed_on(bowl)
    assert [form.exact for form in (*forms.way.windows, forms.ansatz)] == [False, True, True]
    solution = forms.solution()
    x = np.linspace(-1, 1, 7)
    np.testing.assert_allclose(solution(t=1 / 3 - 1e-12, x=x), solution(t=1 / 3, x=x), atol=1e-9)
    assert set(solution.violations) == {"u at t = 0"}
    learnt = handed_on(bowl, exact=False)
    assert [form.exact for form in (*learnt.way.windows, learnt.ansatz)] == [False, False, False]
    assert len(learnt.solution().violations) == 3


def test_what_is_learnt_at_a_seam_is_the_end_of_the_window_before():
    windows = handed_on(heat(), 2, exact=False)
    found = windows.solution().violations
    t = windows.ansatz.problem.ranges["t"][0]
    x = torch.linspace(0, 1, 300, dtype=torch.float64)
    at = torch.stack([torch.full_like(x, t), x], dim=1)
    last = windows.solution().ansatz.windows
    jump = float((last[0].values(at) - last[1].values(at)).abs().max())
    assert found["u at t = 0.5"] == pytest.approx(jump, rel=0.05)


def test_a_symmetry_must_hold_at_all_times():
    def pushed(u, t, x):
        return u.t - u.xx - torch.where(t > 0.6, x, 0 * x)

    problem = Problem(
        pushed, domain={"t": (0, 1), "x": (-1, 1)}, initial=lambda x: cos(pi * x / 2), boundary={"x": 0.0}
    )
    assert Windows(problem, 2).ansatz.mirror is None
    assert Windows(problem.during(0, 0.5, problem.conditions.initial), 2).ansatz.mirror is not None


def test_one_window_is_one_network():
    small = {"tol": 1e-9, "width": 6, "depth": 2}
    alone, window = Solver(heat(), **small), Windows(heat(), 1, **small)
    for solver in (alone, window):
        next(record for record in solver.steps() if record.iteration == 35)
    assert torch.equal(window.solver.trial.theta, alone.trial.theta)
    assert [r.loss for r in window.history] == [r.loss for r in alone.history]
    assert window.solution().estimate == pytest.approx(alone.solution().estimate)


@pytest.mark.parametrize("stopped", ["in a window", "at its end"])
def test_stopped_and_resumed_is_as_if_never_stopped(tmp_path, stopped):
    arguments = {"tol": 1e-2, "width": 6, "depth": 2, "seed": 3}
    whole = Windows(heat(), 3, **arguments)
    records = list(whole.steps())
    ends = [a.iteration for a, b in pairwise(records) if a.window < b.window]
    assert len(ends) == 2 and ends[1] - ends[0] > 8
    last = ends[0] + 7 if stopped == "in a window" else ends[0]
    first = Windows(heat(), 3, **arguments)
    next(record for record in first.steps() if record.iteration == last)
    state = first.state()
    copies = {name: value.clone() for name, value in state["tensors"].items()}  # of some that are one
    safetensors.torch.save_file(copies, tmp_path / "state.safetensors")
    again = {
        "tensors": safetensors.torch.load_file(tmp_path / "state.safetensors"),
        "numbers": json.loads(json.dumps(state["numbers"])),
    }
    second = Windows(heat(), 3, **arguments, state=again)
    assert (second.iteration, second.seconds) == (last, first.seconds)
    list(second.steps())
    assert torch.equal(second.solver.trial.theta, whole.solver.trial.theta)
    for one, other in zip(second.whole.windows, whole.whole.windows, strict=True):
        assert torch.equal(one.network.weights(), other.network.weights())
    plain = [(r.iteration, r.loss, r.estimate, r.window) for r in second.history]
    assert plain == [(r.iteration, r.loss, r.estimate, r.window) for r in whole.history]
    assert second.solution().estimate == whole.solution().estimate
    with pytest.raises(ValueError, match="the state is of 3 windows of time; this is one of 2"):
        Windows(heat(), 2, **arguments, state=again)
    with pytest.raises(ValueError, match="the state is of 3 windows of time: pass the same windows="):
        Solver(heat(), **arguments, state=again)
    with pytest.raises(ValueError, match="one network for all times"):
        Windows(heat(), 2, **arguments, state=Solver(heat(), **arguments).state())


def test_an_interrupt_answers_what_was_reached():
    def stop(iteration, loss, estimate, seconds):
        if windows["at"] == 0 and estimate is not None and loss < 1e-4:
            windows["at"] = iteration
        if windows["at"] and iteration == windows["at"] + 2:
            raise KeyboardInterrupt

    windows = {"at": 0}
    solution = solve(heat(), tol=1e-2, windows=4, progress=stop)
    reached = len(solution.ansatz.windows)
    assert solution.stopped == "interrupted" and 1 <= reached < 4
    assert solution.estimate is None and not solution.reached
    assert (
        f"came to window {reached} of 4; times after t = {reached / 4:g} were not reached" in solution.limit
    )
    t = np.linspace(0, 1, 41)
    assert (np.isnan(solution(t=t, x=0.5)) == (t > reached / 4)).all()
    assert (np.isnan(solution.u.xx(t=t, x=0.5)) == (t > reached / 4)).all()
    assert (np.isnan(solution.residuals(t=t, x=0.5)[0]) == (t > reached / 4)).all()
    assert math.isfinite(solution.residual)


def test_what_is_left_of_the_time_is_shared_by_the_windows_that_are_left(monkeypatch):
    given, taken, steps = [], [], Solver.steps

    def noted(self, seconds):
        given.append(seconds)
        yield from steps(self, 1e-9)
        taken.append(self.seconds)

    monkeypatch.setattr(Solver, "steps", noted)
    solution = solve(CASES["no space"][0], tol=1e-9, windows=3, seconds=60.0)
    left = [60.0, 60.0 - taken[0], 60.0 - taken[0] - taken[1]]
    assert given == pytest.approx([left[0] / 3, left[1] / 2, left[2]], rel=1e-12)
    assert solution.stopped == "time" and [r.window for r in solution.history] == [1, 2, 3]
    assert solution.estimate is None and "which adds most to the error: the optimizer" in solution.limit
    assert np.isfinite(solution(t=3.0))


def test_time_that_is_over_ends_with_an_answer_at_all_times():
    solution = solve(CASES["no space"][0], tol=1e-9, windows=3, seconds=1e-6)
    assert len(solution.history) == 3 and np.isfinite(solution(t=3.0))


def test_a_solution_is_saved_and_built_again(tmp_path):
    solution = solve(heat(), tol=0.02, windows=2)
    tensors, numbers = solution.saved()
    safetensors.torch.save_file(tensors, tmp_path / "solution.safetensors")
    read = safetensors.torch.load_file(tmp_path / "solution.safetensors")
    again = Solution.built(heat(), read, json.loads(json.dumps(numbers)))
    t, x = np.linspace(0, 1, 7)[:, None], np.linspace(0, 1, 7)
    assert np.array_equal(again.u.xx(t=t, x=x), solution.u.xx(t=t, x=x))
    assert (again.estimate, again.history, str(again)) == (solution.estimate, solution.history, str(solution))
    with pytest.raises(ValueError, match="another problem"):
        Solution.built(CASES["a complex field"][0], read, numbers)


def test_a_network_of_ones_own():
    own = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    before = own[0].weight.detach().clone()
    with pytest.warns(UserWarning, match="nested differentiation"):
        solution = solve(CASES["no space"][0], tol=1e-2, windows=2, network=own)
    assert solution.reached and torch.equal(own[0].weight, before)
    assert float(solution(t=3.0)) == pytest.approx(math.exp(-3), abs=1e-2)
    again = Solution.built(CASES["no space"][0], *solution.saved(), own)
    assert again(t=2.0) == solution(t=2.0)


def test_the_sum_of_errors_comes_to_the_tolerance_whatever_the_sizes():
    for num in (1, 2, 8, 16):
        matrix = np.eye(num) + math.sqrt(3) * np.tril(np.ones((num, num)), -1)
        largest = math.sqrt(np.linalg.eigvalsh(matrix.T @ matrix)[-1])
        assert share_of(0.1, num) == pytest.approx(0.1 / largest)
    errors, sizes = [1e-3, 3e-3, 2e-3], [1.0, 0.5, 2.0]
    sums = np.cumsum(np.multiply(errors, sizes))
    carried = [0.0, *sums[:-1]]
    expected = np.linalg.norm(sums) / np.linalg.norm(sizes)
    assert together(list(zip(errors, sizes, carried, strict=True))) == pytest.approx(expected)
    assert together([(1e-3, 1.0, 0.0), (None, 1.0, 0.0)]) is None and together([(0.1, 0.0, 0.0)]) is None


def test_the_end_of_a_decay_may_have_the_errors_of_its_beginning():
    """Of exp(-t) until t = 4 the last of 4 windows holds 1e-3 of the square: asked for the same share, it would be solved twenty times too well."""
    decay = Problem(lambda u: u.t + u, domain={"t": (0, 4)}, initial=1.0)
    windows, asked = Windows(decay, 4, tol=1e-4), {}
    for record in windows.steps():
        if record.window == len(windows.way.done) + 1 and not windows.stopped:
            asked[record.window] = windows.solver.strategy.tol / share_of(1e-4, 4)
    sizes = np.array([done.size for done in windows.whole.done])
    assert sizes == pytest.approx(
        [math.sqrt((1 - math.exp(-2)) / 2) * math.exp(-k) for k in range(4)], rel=1e-3
    )
    whole = np.sqrt(np.cumsum(sizes**2) / 4)
    assert [asked[k] for k in (1, 2, 3, 4)] == pytest.approx(np.maximum(1, whole / sizes), rel=0.02)
    assert asked[4] > 8 and windows.solver.settings.tol == share_of(1e-4, 4)
    t = torch.linspace(0, 4, 401, dtype=torch.float64)
    error = torch.as_tensor(windows.solution()(t=t)) - exp(-t)
    assert windows.stopped == "tolerance" and float(error.norm() / exp(-t).norm()) < 1e-4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"windows": 0}, "windows is 0; expected a whole number"),
        ({"windows": 2.0}, "windows is 2.0"),
        ({"windows": True}, "windows is True"),
        ({"windows": 2, "causal": True}, "causal weights go with one network"),
        ({"windows": 2, "continuation": {"k": (1.0,)}}, "a continuation goes with one network"),
        ({"windows": 2, "data": {"t": [0.1], "u": [1.0]}}, "windows are for problems without data"),
        ({"windows": 2, "tol": 2.0}, "tol is 2.0"),
        ({"windows": 2, "seconds": -1.0}, "seconds is -1"),
    ],
)
def test_refused_before_the_first_step(arguments, text):
    problem = Problem(lambda u, k: u.t + k * u, domain={"t": (0, 1)}, k=1.0, initial=1.0)
    with pytest.raises(ValueError, match=text):
        solve(problem, **arguments)


def test_time_that_can_not_be_cut():
    flat = Problem(lambda u: u.xx + u, domain={"x": (0, 1)}, boundary={"x": 1.0})
    with pytest.raises(ValueError, match="the domain has x; name it by time="):
        solve(flat, windows=2)
    with pytest.raises(ValueError, match="k must be the same at all times"):
        Windows(Problem(lambda u, k: u.t + k * u, domain={"t": (0, 1)}, k=unknown()), 2)
    moving = Problem(
        lambda u: u.t - u.xx,
        domain={("t", "x"): shapes.polygon([(0, 0), (1, 0), (1, 2), (0, 1)])},
        boundary={"around": 0.0},
    )
    with pytest.raises(ValueError, match="t lies within a shape"):
        solve(moving, windows=2)
