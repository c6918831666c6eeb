"""A committee is so many perceptrons beside each other: the same scores, the same gradients as each trained alone."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel import nets
from hubel.core.types import Batch
from hubel.fitting import SGD, Backprop, steps
from hubel.objectives import CrossEntropy

MEMBERS = 3


def alone(net, member):
    """The perceptron that is one member."""
    other = nets.mlp((6, 5), inputs=4, outputs=2)
    ours = [layer for layer in (*net.body, net.head) if hasattr(layer, "weight")]
    theirs = [layer for layer in (*other.body, other.head) if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for one, single in zip(ours, theirs, strict=True):
            single.weight.copy_(one.weight[member].T)
            single.bias.copy_(one.bias.view(MEMBERS, -1)[member])
    return other


def made(seed=0):
    torch.manual_seed(seed)
    return nets.committee((6, 5), inputs=4, outputs=2, members=MEMBERS)


def test_scores_are_the_mean_of_the_members():
    net, x = made().eval(), torch.randn(7, 4)
    singles = [alone(net, m).eval() for m in range(MEMBERS)]
    torch.testing.assert_close(net(x), torch.stack([one(x) for one in singles]).mean(0))
    torch.testing.assert_close(net.features(x), torch.cat([one.features(x) for one in singles], dim=1))
    assert len({one.head.weight.sum().item() for one in singles}) == MEMBERS


@pytest.mark.parametrize("rows", [6, 7, 2])
def test_in_training_rows_are_dealt_out_to_the_members(rows):
    net, x = made().train(), torch.randn(rows, 4)
    share = -(-rows // MEMBERS)
    expected = torch.cat([alone(net, m)(x[m * share : (m + 1) * share]) for m in range(MEMBERS)])
    torch.testing.assert_close(net(x), expected)


def test_the_loop_teaches_every_member_as_if_it_were_alone():
    net = made()
    singles = [alone(net, m) for m in range(MEMBERS)]
    generator = np.random.default_rng(0)
    batches = [
        Batch(
            inputs=torch.from_numpy(generator.normal(size=(8, 4)).astype("float32")),
            targets=torch.from_numpy(generator.integers(0, 2, 8)),
            weights=torch.rand(8) + 0.1,
            ids=torch.arange(8),
        )
        for _ in range(5)
    ]
    choice = SGD(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    more = SGD(
        learning_rate=0.1 * MEMBERS, momentum=0.0, nesterov=False, weight_decay=0.0
    )  # the loss is a mean over members
    records = list(steps(net, CrossEntropy(2), batches, rule=Backprop(more.build(net))))
    losses = [list(steps(one, CrossEntropy(2), batches, rule=Backprop(choice.build(one)))) for one in singles]
    assert records[0].examples == 8
    assert records[-1].loss == pytest.approx(np.mean([found[-1].loss for found in losses]), rel=1e-5)
    for member, one in enumerate(singles):
        torch.testing.assert_close(alone(net, member).state_dict(), one.state_dict())


def test_biases_are_not_decayed():
    from hubel.fitting.parameters import matrices_and_vectors

    matrices, vectors = matrices_and_vectors(made())
    assert {p.ndim for p in matrices} == {3} and {p.ndim for p in vectors} == {1}
