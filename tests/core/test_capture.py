"""Hooks are gone when the block ends; buffers can be put back."""

import pytest
import torch
from torch import nn

from hubel.core.buffers import places_of, put_back
from hubel.core.capture import captured


def hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def test_calls_in_order():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
    x = torch.randn(5, 3)
    with captured(net, lambda name, module: isinstance(module, nn.Linear)) as calls:
        out = net(x)
    assert [name for name, *_ in calls] == ["0", "2.0"]
    assert calls[0][2][0] is x and torch.equal(calls[-1][3], out)
    assert hooks(net) == 0


def test_hooks_are_removed_after_an_error():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4))
    with pytest.raises(RuntimeError), captured(net) as calls:  # noqa: PT012
        assert hooks(net) == 3
        net(torch.randn(5, 3))
    assert [name for name, *_ in calls] == ["0"]
    assert hooks(net) == 0


class Replacing(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("nothing", None)

    def forward(self, x):
        self.seen = self.seen + 1
        return x


def test_buffers_are_put_back_changed_or_replaced():
    net = nn.Sequential(nn.BatchNorm1d(2), Replacing())
    places = places_of(net)
    before = [buffer.clone() for *_, buffer in places]
    tensors = [buffer for *_, buffer in places]
    net(torch.randn(4, 2))
    assert net[1].seen == 1 and net[0].num_batches_tracked == 1
    put_back(places, before)
    assert all(now is tensor for now, tensor in zip(net.buffers(), tensors, strict=True))
    assert net[1].seen == 0 and net[0].num_batches_tracked == 0
    assert torch.equal(net[0].running_mean, torch.zeros(2))
