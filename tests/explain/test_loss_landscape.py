"""Loss landscapes against closed forms, and networks that are what they were."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from hubel import nets
from hubel.core.types import Batch
from hubel.explain import loss_landscape, loss_line
from hubel.objectives import CrossEntropy, SquaredError

landscapes = sys.modules["hubel.explain.loss_landscape"]


def test_a_quadratic_has_its_closed_form():
    """Of squared error of a linear network, L(α, β) is a quadratic whose coefficients follow from the directions."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2).double()
    x, y = torch.randn(40, 3).double(), torch.randn(40, 2).double()
    found = loss_landscape(net, SquaredError(2), Batch(inputs=x, targets=y), points=5, reach=2.0, seed=3)
    parameters = list(net.named_parameters())
    one, two = (
        landscapes._direction(parameters, [p.detach() for _, p in parameters], 3, k)[0] for k in (0, 1)
    )
    weight, bias = net.weight.detach(), net.bias.detach()
    for row, beta in enumerate(found.betas):
        for column, alpha in enumerate(found.alphas):
            error = x @ (weight + alpha * one + beta * two).T + bias - y
            assert found.losses[row, column] == pytest.approx(float(error.square().sum(1).mean()), rel=1e-10)
    assert found.center == found.losses[2, 2]
    along = np.polynomial.polynomial.polyfit(found.alphas, found.losses[2], 2)
    curvature = (x @ one.T).square().sum(1).mean()
    assert along[2] == pytest.approx(float(curvature), rel=1e-8)


def test_directions_have_the_norms_of_the_filters():
    net = nets.simple_cnn((1, 28, 28), 10)
    parameters = list(net.named_parameters())
    start = [p.detach() for _, p in parameters]
    found = landscapes._direction(parameters, start, 0, 0)
    other = landscapes._direction(parameters, start, 0, 1)
    for way, second, weight in zip(found, other, start, strict=True):
        if weight.ndim < 2:
            assert not way.any()
            continue
        assert torch.allclose(way.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1), rtol=1e-5)
        assert abs(float(torch.cosine_similarity(way.flatten(), second.flatten(), 0))) < 0.2


def test_scaled_weights_have_the_same_landscape():
    """ReLU nets whose layers are scaled by 10 and 1/10 are the same function: so are their filter-normalized landscapes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled[0].weight.mul_(10.0)
        scaled[2].weight.div_(10.0)
    batch = Batch(inputs=torch.randn(30, 4).double(), targets=torch.randint(0, 3, (30,)))
    found = [loss_landscape(n, CrossEntropy(3), batch, directions=1, points=7).losses for n in (net, scaled)]
    assert np.allclose(*found, rtol=1e-10)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )
    net(torch.randn(20, 1, 8, 8))
    return net.train()


BATCHES = [Batch(inputs=torch.randn(n, 1, 8, 8), targets=torch.randint(0, 3, (n,))) for n in (8, 5)]


@pytest.mark.parametrize("statistics", ["kept", "batch"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_what_it_was(net, statistics, fails):
    net[0].weight.requires_grad_(False)
    net[5].bias.grad = torch.ones(3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.random.get_rng_state()

    class Fails(CrossEntropy):
        def __call__(self, module, batch):
            if len(batch) == 5:
                raise RuntimeError("in the middle")
            return super().__call__(module, batch)

    objective = Fails(3) if fails else CrossEntropy(3)
    if fails:
        with pytest.raises(RuntimeError, match="in the middle"):
            loss_landscape(net, objective, BATCHES, points=3, statistics=statistics)
    else:
        loss_landscape(net, objective, BATCHES, points=3, statistics=statistics)
        loss_line(net, copy.deepcopy(net), objective, BATCHES, points=3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(m.training for m in net.modules())
    assert not net[0].weight.requires_grad and net[5].bias.requires_grad and net[5].bias.grad.sum() == 3
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_middle_is_the_loss_of_the_network(net):
    """In evaluation mode, over all examples; or with the statistics of the batches."""
    together = sum(float(CrossEntropy(3)(net.eval(), b).total.detach()) * len(b) for b in BATCHES) / 13
    found = loss_landscape(net, CrossEntropy(3), BATCHES, directions=1, points=3, reach=0.1)
    assert found.losses[1] == pytest.approx(together, rel=1e-6) and found.examples == 13
    net[1].train()
    own = sum(float(CrossEntropy(3)(net, b).total.detach()) * len(b) for b in BATCHES) / 13
    net.eval()
    batch = loss_landscape(
        net, CrossEntropy(3), BATCHES, directions=1, points=3, reach=0.1, statistics="batch"
    )
    assert batch.center == pytest.approx(own, rel=1e-6) and abs(own - together) > 1e-4


def test_the_line_goes_from_one_network_to_the_other(net):
    other = copy.deepcopy(net)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.3)
        other[1].running_mean.add_(1.0)
    found = loss_line(net, other, CrossEntropy(3), BATCHES, points=3, reach=(0.0, 1.0))
    ends = [
        sum(float(CrossEntropy(3)(n.eval(), b).total.detach()) * len(b) for b in BATCHES) / 13
        for n in (net, other)
    ]
    assert found.losses[[0, 2]] == pytest.approx(ends, rel=1e-5)
    middle = copy.deepcopy(net)
    state, end = net.state_dict(), other.state_dict()
    middle.load_state_dict({k: (v + end[k]) / 2 if v.is_floating_point() else v for k, v in state.items()})
    half = sum(float(CrossEntropy(3)(middle.eval(), b).total.detach()) * len(b) for b in BATCHES) / 13
    assert found.losses[1] == pytest.approx(half, rel=1e-5)


def test_progress_is_told(net):
    told = []
    loss_landscape(
        net.eval(), CrossEntropy(3), BATCHES[0], points=3, progress=lambda *step: told.append(step)
    )
    assert told == [(k, 9) for k in range(1, 10)]


def test_wrong_input_is_told(net):
    bad = Batch(inputs=torch.full((2, 1, 8, 8), float("nan")), targets=torch.tensor([0, 1]))
    for words, said in (
        ({"directions": 3}, "directions is 3"),
        ({"points": 2}, "points is 2"),
        ({"reach": 0}, "reach 0"),
        ({"statistics": "new"}, 'expected "kept" or "batch"'),
        ({"data": bad}, "NaN or infinite inputs"),
    ):
        with pytest.raises(ValueError, match=said):
            loss_landscape(net, CrossEntropy(3), **{"data": BATCHES, **words})
    with pytest.raises(TypeError, match="received nothing"):
        loss_landscape(net, CrossEntropy(3), [])
    with pytest.raises(ValueError, match=r"no line between these networks: 0\.bias, 0\.weight"):
        loss_line(net, nn.Sequential(nn.Linear(1, 1)), CrossEntropy(3), BATCHES)
