"""The perceptron's rule by hand, its convergence theorem, and where it can not succeed."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.core.types import Batch
from hubel.fitting import PerceptronRule, linearly_separable, steps
from hubel.nets import mlp
from hubel.objectives import Hinge

CORNERS = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
GATES = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "nand": [1, 1, 1, 0], "xor": [0, 1, 1, 0]}


def epochs(net, x, y, num, **more):
    records = steps(
        net, Hinge(1), [Batch(inputs=x, targets=torch.as_tensor(y))] * num, rule=PerceptronRule(), **more
    )
    return [record.read() for record in records]


@pytest.mark.parametrize("gate", ["and", "or", "nand"])
def test_gates_that_a_plane_separates_are_learned(gate):
    net = mlp((), inputs=2, outputs=1)
    last = epochs(net, CORNERS, GATES[gate], 50)[-1]
    assert last == {"loss": 0.0, "mistakes": 0.0}
    assert (net(CORNERS)[:, 0] >= 0).long().tolist() == GATES[gate]
    assert linearly_separable(CORNERS, GATES[gate])


def test_xor_is_not_learned_and_that_is_said():
    net = mlp((), inputs=2, outputs=1)
    assert min(record["mistakes"] for record in epochs(net, CORNERS, GATES["xor"], 200)) >= 1
    assert not linearly_separable(CORNERS, GATES["xor"])


def test_one_epoch_by_hand():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, -1.0]]))
        net.bias.fill_(0.25)
    epochs(net, CORNERS, GATES["and"], 1)
    # (0,0): 0.25 fires, wrong: b = -0.75. (0,1): -1.75 rests. (1,0): -0.25 rests. (1,1): -1.25 rests, wrong: w = (1.5, 0), b = 0.25
    assert net.weight.tolist() == [[1.5, 0.0]] and net.bias.tolist() == [0.25]


@pytest.mark.parametrize("seed", range(5))
def test_novikoffs_bound(seed):
    """Mistakes ≤ (R / margin)², with the bias as an input of 1 and weights that begin at zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 3))
    plane = np.array([1.0, -2.0, 0.5, 0.3])
    full = np.column_stack([x, np.ones(len(x))])
    margins = full @ plane / np.linalg.norm(plane)
    keep = np.abs(margins) > 0.1
    x, full, margins = x[keep], full[keep], margins[keep]
    net = nn.Linear(3, 1).double()
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    y = torch.from_numpy((margins > 0).astype(np.int64))
    mistakes = sum(r["mistakes"] for r in epochs(net, torch.from_numpy(x), y, 400))
    assert 0 < mistakes <= np.square(np.linalg.norm(full, axis=1).max() / np.abs(margins).min())
    assert ((net(torch.from_numpy(x))[:, 0] >= 0).long() == y).all()


def test_the_schedule_scales_the_step():
    net = nn.Linear(2, 1)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    list(
        steps(
            net,
            Hinge(1),
            [Batch(inputs=CORNERS[3:], targets=torch.tensor([0]))],
            rule=PerceptronRule(2.0),
            schedule=lambda s: 0.25,
        )
    )
    assert net.weight.tolist() == [[-0.5, -0.5]] and net.bias.tolist() == [-0.5]


@pytest.mark.parametrize(
    ("net", "targets", "error", "match"),
    [
        (mlp((4,), inputs=2, outputs=1), [0, 1, 1, 0], TypeError, "one linear layer with one output"),
        (nn.Linear(2, 3), [0, 1, 1, 0], TypeError, "received Linear"),
        (nn.Linear(2, 1), [-1, 1, 1, -1], ValueError, "0 and 1"),
    ],
)
def test_what_is_no_perceptron_is_refused(net, targets, error, match):
    with pytest.raises(error, match=match):
        epochs(net, CORNERS, targets, 1)


@pytest.mark.parametrize("seed", range(10))
def test_separability_is_that_of_the_convergence_theorem(seed):
    """Against the convergence theorem: scikit-learn's perceptron makes no mistake in the end exactly where a plane separates."""
    from sklearn.linear_model import Perceptron

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9, 3))
    y = rng.integers(2, size=9)
    y[:2] = 0, 1
    machine = Perceptron(max_iter=20_000, tol=None, shuffle=False).fit(x, y)
    assert linearly_separable(x, y) == (machine.score(x, y) == 1.0)


def test_separability_asks_for_labels():
    with pytest.raises(ValueError, match=r"0 or 1.*\[0, 2\]"):
        linearly_separable(np.zeros((2, 1)), np.array([0, 2]))
