"""Explanations that come with the answer: they add up, and a mask is all that is seen."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hubel import explain, nets
from hubel.core.types import Batch
from hubel.explain.intrinsic import spread
from hubel.nets.self_explaining import Explained
from hubel.objectives import CrossEntropy, SparseExplanation

X = torch.randn(3, 2, 24, 26, generator=torch.Generator().manual_seed(0))


def made(kind, **more):
    torch.manual_seed(0)
    return nets.self_explaining(kind, inputs=(2, 24, 26), outputs=4, **more).eval()


@pytest.mark.parametrize("kind", ["class_activation", "attention"])
def test_the_map_adds_up_to_the_score_less_the_bias(kind):
    net = made(kind).double()
    found = explain.intrinsic(net, X.double(), target=[0, 1, 3])
    scores = net(X.double()).detach()[range(3), [0, 1, 3]]
    bias = net.fc.bias.detach()[[0, 1, 3]]
    torch.testing.assert_close(found.values.sum((1, 2, 3)), scores - bias)
    torch.testing.assert_close(found.absorbed, bias)
    assert float(found.residual.max()) < 1e-12
    assert found.values.shape == X.shape and found.coarse.shape == (3, 6, 6)
    assert torch.equal(found.values[:, 0], found.values[:, 1])  # channels can not be told apart


def test_the_class_activation_map_is_its_formula():
    net = made("class_activation")
    maps = net.trunk(X).detach()
    expected = (maps * net.fc.weight[2].detach().view(1, -1, 1, 1)).sum(1) / 36
    torch.testing.assert_close(explain.intrinsic(net, X, target=2).coarse, expected)


def test_attention_is_a_distribution_by_the_formula():
    net = made("attention")
    maps = net.trunk(X).detach()
    weights = net.attention(maps).detach()
    torch.testing.assert_close(weights.sum((1, 2)), torch.ones(3))
    h = maps[0, :, 2, 3].double()
    v, u, w = (layer.weight.detach().double() for layer in (net.value, net.gate, net.weigh))

    def logit(h):
        return w @ (torch.tanh(v @ h) * torch.sigmoid(u @ h))

    logits = torch.stack([logit(column) for column in maps[0].flatten(1).T.double()])
    expected = (logit(h) - logits.logsumexp(0)).exp()
    torch.testing.assert_close(weights[0, 2, 3].double(), expected[0], rtol=1e-5, atol=1e-8)


def test_what_the_mask_hides_can_not_reach_the_scores():
    net = made("mask")
    with torch.no_grad():
        net.choose.weight.zero_()
        net.choose.bias.fill_(-200.0)
    assert torch.equal(net(X), net(X + 5))
    with torch.no_grad():
        net.choose.bias.fill_(200.0)
    assert not torch.allclose(net(X), net(X + 5))
    found = explain.intrinsic(net, X)
    assert found.residual is None and "same for all outputs" in found.notes[0]
    torch.testing.assert_close(found.map, torch.ones(3, 24, 26))


def test_the_mask_is_noisy_in_training_only():
    net = made("mask")
    first, second = net(X), net(X)
    assert torch.equal(first, second)
    net.train()
    assert not torch.equal(net.mask(torch.zeros(2, 1, 3, 3)), net.mask(torch.zeros(2, 1, 3, 3)))
    many = net.mask(torch.full((1, 1, 200, 200), 1.5))
    share = float((many > 0.5).float().mean())  # a position is seen with probability sigmoid(1.5)
    assert share == pytest.approx(0.8176, abs=0.01)


def test_a_mask_learns_where_the_class_is_and_is_no_code():
    """The class is the level of a square that lies anywhere. Trained naively, one class is said by showing nothing."""
    generator = torch.Generator().manual_seed(1)
    levels = torch.tensor([-4.0, 4.0, 8.0])

    def batch(num):
        x = torch.randn(num, 1, 16, 16, generator=generator)
        y = torch.randint(0, 3, (num,), generator=generator)
        where = torch.zeros(num, 16, 16, dtype=torch.bool)
        for row in range(num):
            top, left = (4 * torch.randint(0, 4, (2,), generator=generator)).tolist()
            x[row, 0, top : top + 4, left : left + 4] = levels[y[row]]
            where[row, top : top + 4, left : left + 4] = True
        return x, y, where

    torch.manual_seed(0)
    net = nets.self_explaining("mask", width=8, inputs=(1, 16, 16), outputs=3)
    objective = SparseExplanation(CrossEntropy(3), weight=1.0)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    net.train()
    for _ in range(100):
        x, y, _ = batch(64)
        loss = objective(net, Batch(inputs=x, targets=y))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    net.eval()
    x, y, where = batch(200)
    with torch.no_grad():
        assert (net(x).argmax(1) == y).float().mean() > 0.95
        assert float(net.explanation(x).maps.mean()) < 0.12  # the square is a sixteenth
    found = explain.pointing_game(net, x, explain.intrinsic, where, target=0)
    assert all(found.each[(y == k).numpy()].mean() > 0.95 for k in range(3))
    assert found.beats_all


def test_what_is_behind_the_mask_learns_from_random_masks_only():
    torch.manual_seed(0)
    net = nets.self_explaining("mask", width=8, inputs=(2, 24, 26), outputs=4)
    x = torch.randn(6, 2, 24, 26, requires_grad=True)
    scores = net(x)

    def gradients(rows):
        found = torch.autograd.grad(
            scores[rows].sum(), list(net.parameters()), retain_graph=True, allow_unused=True
        )
        return {
            name.partition(".")[0]
            for (name, _), gradient in zip(net.named_parameters(), found, strict=True)
            if gradient is not None and float(gradient.abs().max()) > 0
        }

    assert gradients([0, 2, 4]) == {"selector", "choose"}
    assert gradients([1, 3, 5]) == {"seeing"}
    assert net(x[:1]).shape == (1, 4)


def test_shares_are_kept():
    coarse = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine = spread(coarse, (10, 13))
    torch.testing.assert_close(fine.sum((1, 2)), coarse.sum((1, 2)))
    assert fine.shape == (2, 10, 13)


def test_any_network_with_an_explanation_is_read():
    class Mine(nn.Module):
        def forward(self, x):
            return self.explanation(x).scores

        def explanation(self, x):
            maps = torch.stack([x.sum(1), -x.sum(1)], 1)
            return Explained(scores=maps.sum((2, 3)), maps=maps, absorbed=torch.zeros(2))

    found = explain.intrinsic(Mine(), X, target=1)
    torch.testing.assert_close(found.map, -X.sum(1))
    assert float(found.residual.max()) < 1e-5


def test_refused():
    with pytest.raises(ValueError, match="gives no explanation with its answer"):
        explain.intrinsic(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.ones(1, 1, 2, 2))
    with pytest.raises(TypeError, match="target must be an output's number"):
        explain.intrinsic(made("attention"), X, target=lambda outputs: outputs[:, 0])
    with pytest.raises(ValueError, match="there is no kind 'cam'"):
        nets.self_explaining("cam")
    with pytest.raises(ValueError, match="multiple of 8; received 12"):
        nets.self_explaining(width=12)


def test_the_network_is_untouched():
    net = made("mask")
    before = copy.deepcopy(net.state_dict())
    state = torch.get_rng_state()
    explain.intrinsic(net, X)
    assert torch.equal(state, torch.get_rng_state()) and net.mask.asked is None
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    np.testing.assert_array_equal([m.training for m in net.modules()], False)
