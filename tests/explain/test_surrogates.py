"""Surrogates of networks that are themselves simple, so that the right rules are known."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

import hubel
from hubel import explain
from hubel.explain.surrogate import patch_means


class Rule(nn.Module):
    """Class 1 where x₀ > 0 and x₂ > 0, by its formula."""

    def forward(self, x):
        yes = ((x[:, 0] > 0) & (x[:, 2] > 0)).to(x.dtype)
        return torch.stack([1 - yes, yes], 1)


X = np.random.default_rng(0).normal(size=(800, 5)).astype("float32")
NAMES = ("mass", "colour", "speed", "age", "noise")


def test_a_tree_finds_the_rule():
    found = explain.surrogate(Rule(), X, names=NAMES, outputs=("no", "yes"), depth=2)
    assert found.used == ("mass", "speed")
    assert found.fidelity.value > 0.97 and found.fidelity.method == "Wilson"
    assert found.held_out == 240 and found.learned_from == 560
    assert 0.6 < found.chance < 0.9
    assert "mass" in found.rules and "class: yes" in found.rules
    assert "decision tree of 2 of 5 features" in str(found)


def test_the_fidelity_is_the_agreement_on_what_is_held_out():
    found = explain.surrogate(Rule(), X, depth=1, seed=3)
    from hubel.core.random import numpy_generator

    test = numpy_generator(3, "surrogate").permutation(800)[:240]
    truth = Rule()(torch.from_numpy(X[test])).argmax(1).numpy()
    assert found.fidelity.value == pytest.approx((found.model.predict(X[test]) == truth).mean())


def test_a_sparse_linear_model_of_a_sparse_linear_network_is_exact():
    net = nn.Linear(5, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, 0.0, -1.0, 0.0, 0.0]]))
        net.bias.fill_(0.5)
    found = explain.surrogate(net, X, "linear", names=NAMES, outputs=("y",), terms=2)
    assert found.used == ("mass", "speed") and found.rules == "y = 0.5 + 2 × mass - 1 × speed"
    assert found.fidelity.value > 0.999999
    assert "explains 100.0 %" in str(found)
    few = explain.surrogate(net, X, "linear", names=NAMES, outputs=("y",), terms=1)
    assert few.used == ("mass",) and 0.7 < few.fidelity.value < 0.9  # 4 of 5 parts of the variance


def test_a_tree_of_real_values():
    net = nn.Linear(5, 1)
    found = explain.surrogate(net, X, "tree", depth=6)
    assert 0.5 < found.fidelity.value < 1 and "value:" in found.rules


def test_pictures_are_read_by_patches():
    x = np.random.default_rng(1).normal(size=(300, 1, 6, 6)).astype("float32")

    class Corner(nn.Module):
        def forward(self, x):
            level = x[:, 0, :2, 4:].mean((1, 2))
            return torch.stack([level, -level], 1)

    found = explain.surrogate(Corner(), x, patches=3, depth=1)
    assert found.used == ("rows 0-1, columns 4-5",) and found.fidelity.value > 0.97
    assert "means of patches" in str(found)
    own = explain.surrogate(Corner(), x, on=x[:, 0, 0, 4:], names=("a", "b"))
    assert set(own.features) == {"a", "b"} and not own.notes


def test_patch_means_by_numpy():
    x = np.random.default_rng(0).normal(size=(4, 2, 5, 6))
    values, names = patch_means(x, 2)
    assert values.shape == (4, 8) and names[0] == "channel 0, rows 0-2, columns 0-2"
    np.testing.assert_allclose(values[:, 7], x[:, 1, 3:, 3:].mean((1, 2)))
    assert patch_means(x[:, 0], 3)[1][0] == "channel 0, steps 0-1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "forest"}, "tree or linear; received 'forest'"),
        ({"names": ("a",)}, "1 names for 5 features"),
        ({"outputs": ("a",)}, "1 names for 2 outputs"),
        ({"on": np.zeros((3, 2))}, r"expected \[N, F\] with 800 rows"),
        ({"held_out": 1.0}, "held_out 1.0 between"),
    ],
)
def test_refused(options, said):
    with pytest.raises(ValueError, match=said):
        explain.surrogate(Rule(), X, **options)
    with pytest.raises(ValueError, match="19 examples are too few"):
        explain.surrogate(Rule(), X[:19])


def test_of_a_run_on_a_table_with_its_names(tmp_path):
    rng = np.random.default_rng(0)
    with open(tmp_path / "t.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["mass", "kind", "label"])
        for _ in range(300):
            kind, mass = rng.choice(["dwarf", "giant"]), rng.normal(5, 2)
            rows.writerow([f"{mass:.4f}", kind, "yes" if kind == "giant" else "no"])
    recipe = hubel.Recipe(epochs=6, precision=hubel.fitting.Precision())
    run = hubel.fit(
        tmp_path / "t.csv", net=hubel.nets.mlp((16,), inputs=5, outputs=2), recipe=recipe, out=tmp_path / "run", quiet=True
    )  # fmt: skip
    found = explain.surrogate(run, tmp_path / "t.csv")
    assert set(found.outputs) == {"yes", "no"}
    assert "mass" in found.features and any("giant" in name for name in found.features)
    assert found.fidelity.value > 0.9 and any("kind" in name for name in found.used)


@pytest.mark.parametrize("objective", ["SquaredError", "GaussianLikelihood", "SquaredLogError"])
def test_rules_about_values_are_in_their_own_units(tmp_path, objective):
    """y = 1000 or 3000 by one step: what stands in the rules is no standardized score."""
    y = np.where(X[:, 0] > 0, 3000, 1000).astype("float32")
    made = getattr(hubel.objectives, objective)
    about = {"GaussianLikelihood": (2, 2000.0, 500.0), "SquaredLogError": (1, 7.0, 2.0)}
    outputs, center, scale = about.get(objective, (1, 2000.0, 500.0))
    fitted = made(outputs, center=(center,), scale=(scale,))

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.none = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            wanted = torch.where(x[:, :1] > 0, 3000.0, 1000.0)
            score = fitted.standardized(wanted) + 0 * self.none
            return torch.cat([score, 0 * score], 1) if objective == "GaussianLikelihood" else score

    recipe = hubel.Recipe(epochs=1, augmentation=(), precision=hubel.fitting.Precision())
    run = hubel.fit(X, y, net=Step(), objective=fitted, recipe=recipe, out=tmp_path / "run", quiet=True)
    tree = explain.surrogate(run, X, "tree", names=NAMES, depth=1)
    assert "value: 1000" in tree.rules and "value: 3000" in tree.rules
    assert tree.fidelity.value > 0.97 and set(np.round(tree.model.predict(X))) == {1000, 3000}
    linear = explain.surrogate(run, X, "linear", names=NAMES, terms=1)
    constant = float(linear.rules.partition(" = ")[2].split()[0])
    expected = np.log1p([1000, 3000]).mean() if objective == "SquaredLogError" else 2000
    assert constant == pytest.approx(expected, rel=0.1)
    assert linear.rules.startswith("ln(1 + ") == (objective == "SquaredLogError")


def test_small_numbers_keep_their_digits():
    x = X * np.float32(1e-17)

    class Step(nn.Module):
        def forward(self, x):
            return 1e-9 * (x[:, :1] > 5e-18) + 2e-9

    found = explain.surrogate(Step(), x, names=NAMES, depth=1)
    assert "value: 2e-09" in found.rules and "value: 3e-09" in found.rules
    assert float(found.rules.partition("mass <= ")[2].split()[0]) == pytest.approx(5e-18, rel=0.05)


def test_splits_both_of_whose_sides_say_the_same_are_left_out():
    """A tree of classes also splits where only its certainty changes; the answers are those of the whole tree."""
    from sklearn.tree import DecisionTreeClassifier

    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4)).eval()
    found = explain.surrogate(net, X, names=NAMES, depth=4)
    tree = found.model.tree_

    def leaves(node):
        if tree.children_left[node] < 0:
            return {tree.value[node, 0].argmax()}
        below = [leaves(child) for child in (tree.children_left[node], tree.children_right[node])]
        assert len(set.union(*below)) > 1
        return set.union(*below)

    leaves(0)
    from hubel.core.random import numpy_generator

    train = numpy_generator(0, "surrogate").permutation(800)[240:]
    answers = net(torch.from_numpy(X[train])).argmax(1).numpy()
    whole = DecisionTreeClassifier(max_depth=4, min_samples_leaf=2, random_state=0).fit(X[train], answers)
    assert (whole.predict(X) == found.model.predict(X)).all()
    assert whole.get_n_leaves() > found.rules.count("class:")
