"""An explanation trained together with the task: the formula, the modes, and what is passed on."""

import pytest
import torch
from torch import nn

from hubel import nets
from hubel.core import names
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.layers.explanation import masks_of
from hubel.objectives import CrossEntropy, SparseExplanation, check

BATCH = Batch(
    inputs=torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(1)), targets=torch.arange(8) % 3
)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nets.self_explaining("mask", width=8, inputs=(1, 16, 16), outputs=3)


def test_the_total_is_the_formula(net):
    torch.manual_seed(5)
    loss = SparseExplanation(CrossEntropy(3), weight=0.7)(net, BATCH)
    torch.manual_seed(5)  # the same noise
    with masks_of(net) as masks:
        scores = net(BATCH.inputs)
    expected = nn.functional.cross_entropy(scores, BATCH.targets) + 0.7 * masks[0].mean()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["seen"], masks[0].mean().detach())
    assert not any(part.requires_grad for part in loss.parts.values())
    loss.total.backward()
    assert net.choose.bias.grad.abs() > 0


def test_in_evaluation_it_is_the_question_itself(net):
    asked = SparseExplanation(CrossEntropy(3))(net.eval(), BATCH)
    assert torch.equal(asked.total, CrossEntropy(3)(net, BATCH).total) and "seen" not in asked.parts


def test_a_network_without_a_mask_is_refused_before_the_first_step(net):
    plain = nets.self_explaining("attention", width=8, inputs=(1, 16, 16), outputs=3)
    with pytest.raises(ContractError, match=r'no mask: make it with hubel.nets.self_explaining\("mask"'):
        check(plain, SparseExplanation(CrossEntropy(3)), BATCH)
    with pytest.raises(ContractError, match="pass CrossEntropy without"):
        SparseExplanation(CrossEntropy(3))(plain, BATCH)
    check(net, SparseExplanation(CrossEntropy(3)), BATCH)


@pytest.mark.parametrize("weight", [-1, float("nan")])
def test_weights_that_are_none(weight):
    with pytest.raises(ContractError, match="the weight of the mask is"):
        SparseExplanation(CrossEntropy(3), weight=weight)


def test_a_run_folder_can_hold_it():
    objective = SparseExplanation(CrossEntropy(3, classes=("a", "b", "c")), weight=0.4)
    assert names.rebuild(names.describe(objective)) == objective
    assert objective.headline == "accuracy" and objective.num_outputs == 3


def test_nobody_listens_afterwards(net):
    with masks_of(net) as outer:
        net(BATCH.inputs)
        with masks_of(net) as inner:
            net(BATCH.inputs)
    net(BATCH.inputs)
    assert len(outer) == 1 and len(inner) == 1 and net.mask.asked is None
