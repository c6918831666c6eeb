"""Auxiliary losses: the formula, the modes, and what is passed on to the question itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.core import names
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.layers.auxiliary import AuxiliaryHead
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError, WithAuxiliary, check


class Head(AuxiliaryHead):
    def __init__(self, outputs):
        super().__init__()
        self.fc = nn.Linear(8, outputs)

    def forward(self, x):
        return self.fc(x)


class Two(nn.Module):
    """A network with two heads on the way."""

    def __init__(self, outputs, end=None):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, outputs)
        self.heads = nn.ModuleList([Head(outputs), Head(outputs)])
        self.end = end or nn.Identity()

    def forward(self, x):
        first = self.one(x).relu()
        self.heads[0].offer(first)
        second = self.two(first).relu()
        self.heads[1].offer(second)
        return self.end(self.three(second))

    def all_scores(self, x):
        first = self.one(x).relu()
        second = self.two(first).relu()
        return self.three(second), self.heads[0](first), self.heads[1](second)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Two(3)


BATCH = Batch(
    inputs=torch.randn(8, 6, generator=torch.Generator().manual_seed(1)),
    targets=torch.arange(8) % 3,
    weights=torch.linspace(0.5, 2, 8),
)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_total_is_the_sum_of_the_formula(net, smoothing):
    def reference(scores):
        losses = F.cross_entropy(scores, BATCH.targets, label_smoothing=smoothing, reduction="none")
        return (losses * BATCH.weights).sum() / BATCH.weights.sum()

    main, first, second = (reference(scores) for scores in net.all_scores(BATCH.inputs))
    loss = WithAuxiliary(CrossEntropy(3, label_smoothing=smoothing), weight=0.3)(net, BATCH)
    torch.testing.assert_close(loss.total, main + 0.3 * (first + second))
    torch.testing.assert_close(loss.parts["auxiliary"], first + second)
    assert not any(part.requires_grad for part in loss.parts.values())
    plain = CrossEntropy(3)(net, BATCH).total
    torch.testing.assert_close(loss.parts["plain"], plain.detach())


@pytest.mark.parametrize(
    ("objective", "targets"),
    [
        (BinaryCrossEntropy(3), (torch.arange(24).reshape(8, 3) % 2).float()),
        (SquaredError(3), torch.randn(8, 3, generator=torch.Generator().manual_seed(2))),
    ],
    ids=["binary", "squared"],
)
def test_every_question_can_be_asked(net, objective, targets):
    batch = Batch(inputs=BATCH.inputs, targets=targets)
    losses = [
        objective(nn.Identity(), Batch(inputs=scores, targets=targets)).total
        for scores in net.all_scores(BATCH.inputs)
    ]
    loss = WithAuxiliary(objective, weight=0.5)(net, batch)
    torch.testing.assert_close(loss.total, losses[0] + 0.5 * (losses[1] + losses[2]))


def test_in_evaluation_it_is_the_question_itself(net):
    objective = CrossEntropy(3, label_smoothing=0.1)
    received = WithAuxiliary(objective)(net.eval(), BATCH)
    assert torch.equal(received.total, objective(net, BATCH).total)
    assert "auxiliary" not in received.parts


def test_a_network_without_heads_is_refused_with_the_remedy():
    with pytest.raises(
        ContractError, match=r"no auxiliary heads: make it with auxiliary=True.*pass CrossEntropy"
    ):
        WithAuxiliary(CrossEntropy(3))(nn.Linear(6, 3), BATCH)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(weight):
    with pytest.raises(ContractError, match="the weight of auxiliary losses is"):
        WithAuxiliary(CrossEntropy(3), weight=weight)


def test_a_run_folder_can_hold_it():
    objective = WithAuxiliary(CrossEntropy(3, classes=("a", "b", "c")), weight=0.4)
    assert names.rebuild(names.describe(objective)) == objective


def test_the_contract_of_the_question_is_checked():
    with pytest.raises(ContractError, match="ends with a softmax"):
        check(Two(3, nn.Softmax(1)), WithAuxiliary(CrossEntropy(3)), BATCH)
    check(Two(3), WithAuxiliary(CrossEntropy(3)), BATCH)


def test_reading_and_scores_are_those_of_the_question():
    objective, scores = CrossEntropy(3, classes=("a", "b", "c")), torch.randn(8, 3)
    asked = WithAuxiliary(objective)
    assert (asked.num_outputs, asked.headline, asked.better) == (3, "accuracy", "higher")
    assert (asked.read(scores).probabilities == objective.read(scores).probabilities).all()
    assert asked.score(scores, BATCH.targets) == objective.score(scores, BATCH.targets)
    prediction = objective.read(scores)
    assert asked.metrics(prediction, BATCH.targets.numpy()) == objective.metrics(
        prediction, BATCH.targets.numpy()
    )
    assert asked.calibrated(scores, BATCH.targets) == WithAuxiliary(
        objective.calibrated(scores, BATCH.targets)
    )
    assert asked.expected_initial_loss(BATCH.targets) == objective.expected_initial_loss(BATCH.targets)
    with pytest.raises(ContractError, match="class numbers run from"):
        asked.check_targets(torch.tensor([5]))
