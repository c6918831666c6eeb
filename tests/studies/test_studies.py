"""Studies: each runs in its quick form, writes a page that needs no network, and makes its point against a closed form or a margin.

They are found by themselves: every name in `hubel.studies.__all__` needs a test `test_NAME` here.
"""

import itertools
import json
import re

import numpy as np
import pytest
import torch

from hubel import studies
from hubel.explain.loss_landscape import Landscape
from hubel.show.study import Study
from hubel.studies.loss_landscapes import curved_down

FINISHED = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    yield tmp_path_factory.mktemp("studies")
    FINISHED.clear()


@pytest.fixture
def numbers(request, folder):
    """The numbers of the study for which a test is named."""
    return quick(request.node.name.removeprefix("test_"), folder).numbers


def quick(name, folder) -> Study:
    if name not in FINISHED:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            FINISHED[name] = getattr(studies, name)(quick=True, out=folder / name)
        finally:
            torch.set_num_threads(threads)
    return FINISHED[name]


@pytest.mark.parametrize("name", studies.__all__)
def test_writes_a_page_and_its_numbers(name, folder):
    study = quick(name, folder)
    assert f"test_{name}" in globals(), f"no test of the point of {name}"
    page = (folder / name / "study.html").read_text("utf-8")
    stored = json.loads((folder / name / "numbers.json").read_text("utf-8"))
    assert stored["numbers"] == study.numbers and stored["study"]["quick"] is True
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(?!data:)", page.replace('href="data:', "")), (
        "loads something"
    )
    assert "<script" not in page and "http" not in page.split("<body>")[0].replace("http-equiv", "")
    drawings = re.findall(r'<svg class="chart.*?</svg>', page, re.DOTALL)
    assert len(drawings) == len(study.figures) >= 2
    for drawing in drawings:
        assert len(re.findall(r'class="name"[^>]*>[^<]+<', drawing)) == 2, "an axis without a name"
        assert len(re.findall(r'class="tick"[^>]*>[^<]+<', drawing)) >= 4
        assert 'aria-label=""' not in drawing and "nan" not in drawing
    assert page.count("<tr>") >= 2 and page.count("<li>") >= 2
    for word in ("nan", "None", "inf<", "VIOLATED"):
        assert word not in re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split(), word


def test_a_seed_decides_everything(tmp_path):
    first, again, other = (
        studies.symmetry_breaking(quick=True, seed=seed, out=tmp_path / str(n)).numbers
        for n, seed in enumerate((3, 3, 4))
    )
    assert first == again
    assert first["losses"]["random"] != other["losses"]["random"]


def test_refuses_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileExistsError, match="taken"):
        studies.grokking(out=tmp_path / "taken")
    with pytest.raises(TypeError, match="seed is 'one'; expected a whole number"):
        studies.grokking(seed="one", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_pages_claim_what_their_runs_measured(folder):
    """And say where a number is better than it would be for somebody without labels, or what was not tried."""
    seen = {name: " ".join(quick(name, folder).seen.split()) for name in ("clustering", "grokking")}
    assert "chosen by comparing what came out with the true digits" in seen["clustering"]
    assert "optimistic" in seen["clustering"]
    (run,) = quick("grokking", folder).numbers["runs"]
    then = run["weight_norm"][run["steps"].index(run["training_100"])]
    assert (
        f"is {then:.1f} when all training sums are right, and {run['weight_norm'][-1]:.1f} at the end"
        in seen["grokking"]
    )
    circle = "about a circle" if run["circle_after"] > 0.85 else "about no single circle"
    assert f"at the end {run['circle_after']:.0%} (frequency {run['frequency']})" in seen["grokking"]
    assert circle in seen["grokking"]
    assert "All runs here have weight decay, so that they do not show what it does" in seen["grokking"]


def test_perceptron(numbers):
    assert all(made <= bound for made, bound in zip(numbers["mistakes"], numbers["bound"], strict=True))
    assert max(numbers["mistakes"]) > 5  # the bound is met by some work
    logic = numbers["logic"]
    assert [logic[k]["separable"] for k in ("AND", "OR", "XOR")] == [True, True, False]
    assert logic["AND"]["mistakes"][-1] == logic["OR"]["mistakes"][-1] == 0
    assert min(logic["XOR"]["mistakes"]) > 0 and logic["XOR"]["best"] <= 0.75
    assert numbers["xor_solved_by_two_layers"] >= 4


def test_decision_regions(numbers):
    half, convex, any_shape = numbers["written"].values()
    area = 0.5 * 1.8**2  # of the triangle x + y >= 0.2 in the square from -1 to 1
    assert half["area"] == pytest.approx(area, abs=0.03)
    assert convex["area"] == pytest.approx(
        6 * np.tan(np.pi / 6) * 0.7**2, abs=0.03
    )  # a hexagon about a circle
    assert any_shape["area"] == pytest.approx(1.6**2 - 0.8**2, abs=0.03)
    assert half["halfway_inside"] == convex["halfway_inside"] == 1.0
    assert any_shape["halfway_inside"] < 0.9
    none, one, two = numbers["fitted_accuracy"].values()
    assert none < 0.75 < 0.9 < one and two > 0.93
    assert (
        0.3 < numbers["fitted_halfway_inside"] < 0.9
    )  # of a ring with inner radius 1/3 and outer 2/3 about 0.6


def test_universal_approximation(numbers):
    assert all(w <= b for w, b in zip(numbers["written"], numbers["bound"], strict=True))
    assert numbers["power"] == pytest.approx(-2, abs=0.1)
    for kind in ("tanh", "2 layers"):
        assert numbers["fitted"][kind][-1] < numbers["fitted"][kind][0] / 2


def test_loss_landscapes(numbers):
    for name, surface in numbers["surfaces"].items():
        middle = len(surface) // 2
        assert surface[middle][middle] == pytest.approx(numbers["center"][name], rel=1e-4)
        assert numbers["center"][name] == np.min(surface) and np.max(surface) > 10 * np.log(10)
        assert 0 <= numbers["curved_down"][name] <= 1
    with_shortcuts, without = numbers["accuracies"].values()
    assert with_shortcuts[1] > without[1] > 0.3


@pytest.mark.parametrize(
    ("surface", "share"),
    [(lambda a, b: a**2 + 3 * b**2 + a * b, 0), (lambda a, b: a * b, 1), (lambda a, b: a**3 + b**2, 4 / 9)],
)
def test_planes_that_curve_down_are_counted(surface, share):
    steps = np.linspace(-1, 1, 11)
    losses = surface(*np.meshgrid(steps, steps))
    plane = Landscape(losses=losses, alphas=steps, betas=steps, center=0.0, examples=1)
    assert curved_down(plane) == pytest.approx(share)


def test_depth_and_width(numbers):
    assert [pieces for _, _, pieces, _ in numbers["counted"]] == [2**k for k in range(1, 11)]
    assert numbers["deep_error"] == numbers["written_shallow_error"] == 0
    assert all(f >= b for f, b in zip(numbers["fitted_error"], numbers["least_error"], strict=True))
    assert numbers["least_error"][0] > 0.3


def test_vanishing_gradient(numbers):
    assert all(ratio <= bound * (1 + 1e-5) for ratio, bound in numbers["sigmoid_ratios_and_bounds"])
    assert numbers["first_to_last"]["sigmoid"] < 1e-6
    assert all(0.02 < numbers["first_to_last"][kind] < 50 for kind in ("ReLU", "batch norm", "residual"))
    assert numbers["accuracies"]["sigmoid"] < 0.25
    assert min(numbers["accuracies"][kind] for kind in ("ReLU", "batch norm", "residual")) > 0.5


def test_recurrent_memory(numbers):
    back = np.arange(numbers["length"])
    for gain, values in numbers["at_rest"].items():
        np.testing.assert_allclose(values, float(gain) ** back, rtol=1e-9)
    forget = 1 / (1 + np.exp(-numbers["forget_bias"]))
    np.testing.assert_allclose(numbers["cell"], forget**back, rtol=1e-9)
    reach = {name: values[-1] / values[0] for name, values in numbers["before"].items()}
    assert reach["LSTM"] > 10 * reach["RNN"]
    assert reach["GRU"] > 10 * reach["RNN"]
    assert min(*numbers["accuracies"]["LSTM"], *numbers["accuracies"]["GRU"]) > 0.5  # guessing: 0.25


def test_symmetry_breaking(numbers):
    for scheme, factor in numbers["factor"].items():
        assert factor == pytest.approx(numbers["expected_factor"][scheme], rel=0.05), scheme
    assert numbers["distinct_units"] == {"random": 32, "equal": 1, "zeros": 1}
    assert numbers["accuracy"]["random"] > numbers["accuracy"]["equal"] + 0.3
    assert numbers["accuracy"]["zeros"] < 0.2


def test_sparsity_and_shrinkage(numbers):
    m, c = np.array(numbers["minimum"]), np.array(numbers["curvature"])
    for row, a in zip(range(len(numbers["strengths"])), numbers["strengths"], strict=True):
        np.testing.assert_allclose(numbers["fitted"]["L2"][row], m * c / (c + a), atol=1e-9)
        soft = np.sign(m) * np.maximum(np.abs(m) - a / c, 0)
        np.testing.assert_allclose(numbers["fitted"]["L1"][row], soft, atol=1e-9)
        both = np.sign(m) * np.maximum(c * np.abs(m) - a, 0) / (c + a)
        np.testing.assert_allclose(numbers["fitted"]["both"][row], both, atol=1e-9)
        assert numbers["zeros"]["L1"][row] == (soft == 0).sum()
    assert numbers["zeros"]["L1"][-1] > numbers["zeros"]["L1"][0] and max(numbers["zeros"]["L2"]) == 0
    w, strength = torch.zeros(len(m), dtype=torch.float64, requires_grad=True), numbers["strengths"][-1]
    for _ in range(3000):  # by autograd, whose derivative of |w| at 0 is 0
        loss = (torch.tensor(c) * (w - torch.tensor(m)) ** 2).sum() / 2 + strength * w.abs().sum()
        (gradient,) = torch.autograd.grad(loss, w)
        w = (w - gradient / c.max()).detach().requires_grad_()
    left = w.detach().numpy()[np.array(numbers["fitted"]["L1"][-1]) == 0]
    assert numbers["zeros_by_subgradient"] == (left == 0).sum() < numbers["zeros"]["L1"][-1]
    assert numbers["furthest_by_subgradient"] == pytest.approx(np.abs(left).max(), rel=1e-6)


def test_bias_and_variance(numbers):
    found = numbers["polynomials"]
    for degree, row in found.items():
        assert abs(row["deviation"]) < 4, degree
        assert row["sum"] == pytest.approx(row["bias2"] + row["variance"] + 0.09)
        expected = 0.09 * (int(degree) + 1) / 30  # least squares: s² P / N at the training inputs
        assert row["variance_at_training"] == pytest.approx(expected, rel=0.25), degree
    training = [row["training"] for row in found.values()]
    assert all(a > b for a, b in itertools.pairwise(training))
    assert found["12"]["training"] == pytest.approx(0.09 * (1 - 13 / 30), rel=0.08)
    assert (
        found["0"]["bias2"] > 10 * found["5"]["bias2"]
        and found["12"]["variance"] > 3 * found["3"]["variance"]
    )
    assert 2 <= numbers["best_degree"] <= 6


def test_structural_risk(numbers):
    assert studies.structural_risk.__module__ == "hubel.studies.structural_risk"
    from hubel.studies.structural_risk import confidence

    # Burges 1998 draws the term for 10,000 examples and 95 %: it exceeds 1 where h / N exceeds 0.37
    assert confidence(3650, 10_000) < 1 < confidence(3750, 10_000)
    training, new = np.array(numbers["training"]), np.array(numbers["new"])
    assert (new <= training + np.array(numbers["confidence"])).all()
    assert (np.diff(numbers["confidence"]) > 0).all()
    assert training[:, -1].max() <= training[:, 4].min() + 0.01
    assert numbers["truth"] <= numbers["chosen"] < 9
    assert new.mean(axis=0)[numbers["chosen"]] < new.mean(axis=0).min() + 0.01
    assert new[:, 0].min() > 0.3


def test_batch_size(numbers):
    for size, measured in numbers["noise"].items():
        assert measured == pytest.approx(numbers["expected_noise"][size], rel=0.2), size
    small = [numbers["noise"][s] for s in ("4", "64")]
    assert small[0] / small[1] == pytest.approx(4, rel=0.25)
    done = numbers["equal_epochs"]
    assert done["4"]["accuracy"] > done["1024"]["accuracy"] + 0.2


def test_finite_differences(numbers):
    expected = {
        "forward, rounding": -1,
        "forward, truncation": 1,
        "central, rounding": -1,
        "central, truncation": 2,
    }
    for branch, power in expected.items():
        assert numbers["slopes"][branch] == pytest.approx(power, abs=0.2), branch
    for row in numbers["costs"]:
        p = row["variables"]
        assert (row["forward evaluations"], row["central evaluations"], row["backprop evaluations"]) == (
            p + 1,
            2 * p,
            1,
        )
    assert numbers["least_error"]["central"] < numbers["least_error"]["forward"] < 1e-6
    assert numbers["square_at_three"] == [6.0, 2.0]


def test_grokking(numbers):
    (run,) = numbers["runs"]
    assert run["validation_99"] is not None, "it did not find the rule"
    assert run["validation_99"] >= 4 * run["training_100"]
    assert run["validation_then"] < 0.5
    assert max(run["training"]) == 1.0 and max(run["validation"]) >= 0.99
    strongest = [sum(sorted(run[power])[-5:]) for power in ("power_before", "power_after")]
    assert strongest[0] < 0.45 < 0.6 < strongest[1]  # of 18 frequencies


def test_clustering(numbers):
    for variances in numbers["variances"]:
        for inside, between, whole in variances.values():
            assert inside + between == pytest.approx(whole, rel=1e-6)
    index = {way: np.mean(values) for way, values in numbers["index"].items()}
    assert index["k-means, pixels"] > 0.5
    assert index["head"] > index["k-means, pixels"] + 0.02
    assert numbers["ratio"]["k-means, head"] < 0.7 * numbers["ratio"]["k-means, pixels"]
