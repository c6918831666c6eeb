"""Looking inside changes nothing: weights, buffers, modes, hooks, gradients, random state; whatever happens. And the recorder sees everything."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import explain
from hubel.core.capture import until
from hubel.explain.tracing import record


def made():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(5, 2),
    )  # fmt: skip


X = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
CALLS = {
    "filters": explain.filters,
    "feature_maps": lambda net: explain.feature_maps(net, X, "4"),
    "templates": lambda net: explain.templates(net, X),
    "receptive_field": lambda net: explain.receptive_field(net, "4", inputs=(3, 16, 16), samples=2),
    "maximize": lambda net: explain.maximize(net, 1, inputs=(3, 16, 16), steps=2),
    "gallery": lambda net: explain.gallery(net, "4", inputs=(3, 16, 16), steps=2),
    "dream": lambda net: explain.dream(net, X[0], "4", octaves=2, steps=2),
    "most_exciting": lambda net: explain.most_exciting(net, X, explain.Unit(layer="4", channel=1)),
    "circuit": lambda net: explain.circuit(net, "4", 1, inputs=(3, 16, 16), x=X),
    "codes_map": lambda net: explain.codes_map(net, X, method="pca"),
    "a wrong layer": lambda net: explain.dream(net, X[0], "7x"),
    "a failing target": lambda net: explain.maximize(net, lambda outputs: 1 / 0, inputs=(3, 16, 16)),
    "too small": lambda net: explain.gallery(net, "4", inputs=(3, 2, 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_network_is_what_it_was(name):
    net = made().eval()
    net[0].weight.requires_grad_(False)
    net[9].weight.grad = torch.full_like(net[9].weight, 7.0)
    modes = [m.training for m in net.modules()]
    state = {k: v.clone() for k, v in net.state_dict().items()}
    versions = [p._version for p in net.parameters()]
    random, x = torch.random.get_rng_state(), X.clone()
    try:
        CALLS[name](net)
    except (ValueError, RuntimeError, ZeroDivisionError):
        assert name in ("a wrong layer", "a failing target", "too small")
    else:
        assert name not in ("a wrong layer", "a failing target", "too small")
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert versions == [p._version for p in net.parameters()]
    assert modes == [m.training for m in net.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())
    flags = [p.requires_grad for p in net.parameters()]
    assert flags == [False] + [True] * (len(flags) - 1)
    assert net[9].weight.grad.eq(7).all() and net[9].bias.grad is None
    assert torch.equal(torch.random.get_rng_state(), random) and torch.equal(X, x)


@pytest.mark.parametrize("name", ["maximize", "gallery", "dream", "receptive_field", "codes_map"])
def test_the_same_seed_gives_the_same_numbers(name):
    first, second = (CALLS[name](made().eval()) for _ in range(2))
    for field, value in vars(first).items():
        if isinstance(value, np.ndarray) and field != "seconds":
            assert np.array_equal(value, getattr(second, field))


@pytest.mark.parametrize(
    "name", ["feature_maps", "receptive_field", "maximize", "dream", "circuit", "codes_map"]
)
def test_a_network_in_training_mode_is_refused(name):
    with pytest.raises(ValueError, match="training mode"):
        CALLS[name](made().train())


class Written(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.same = nn.Identity()

    def forward(self, x):
        y = self.conv(x)
        y = self.same(y)
        y.relu_()
        y += F.max_pool2d(x, 3, 1, 1)
        a, b = y.chunk(2, dim=1)
        return torch.cat([self.conv(a), b.mT[..., None, :].squeeze(-2)], dim=1)


def test_every_operation_is_recorded_in_order():
    net = Written().eval()
    x = torch.randn(1, 1, 6, 6)
    found = record(net, x)
    names = [call.name for call in found.calls[1:]]
    assert names == [
        "conv2d",
        "relu",
        "max_pool2d",
        "add",
        "chunk",
        "chunk",
        "conv2d",
        "mT",
        "getitem",
        "squeeze",
        "cat",
    ]
    assert found.answered["same"] == 1  # not what the operation in place made of it afterwards
    assert found.answered["conv"] == 7 and found.answered[""] == 11
    assert [number for number, _ in found.calls[4].read()] == [2, 3]
    assert torch.equal(found.tensors[11], net(x))


def test_nothing_is_computed_behind_the_layer():
    calls = []

    class Counts(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x + 1

    again = Counts()
    net = nn.Sequential(nn.Identity(), again, again, nn.Linear(3, 3))
    x = torch.zeros(1, 3)
    assert until(net, "1", (x,)).sum() == 3 and len(calls) == 1
    assert until(net, "1", (x,), call=2).sum() == 6 and len(calls) == 3
    with pytest.raises(LookupError, match="called 2 times, not 3"):
        until(net, "1", (x,), call=3)
    assert not again._forward_hooks
