"""The lean step is torch's own, bit by bit; also after its state was loaded, a copy, and where a gradient is missing."""

import copy

import pytest
import torch
from torch import nn

from hubel.fitting.lean_adam import lean


def net(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def groups(model):
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0, "lr": 0.003},
    ]


def learn(model, optimizer, steps, first=0, without=None):
    for step in range(first, first + steps):
        x = torch.randn(6, 5, generator=torch.Generator().manual_seed(step)).to(
            next(model.parameters()).dtype
        )
        optimizer.zero_grad()
        model(x).square().mean().backward()
        if without is not None:
            without.grad = None
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
        optimizer.step()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize(
    "more", [{}, {"amsgrad": True}, {"maximize": True}, {"betas": (0.5, 0.9), "eps": 1e-3}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_torchs_own(kind, more, dtype):
    one, other = net(dtype), net(dtype)
    ours, theirs = (
        make(groups(m), lr=0.01, fused=True, **more) for make, m in ((lean(kind), one), (kind, other))
    )
    learn(one, ours, 8)
    learn(other, theirs, 8)
    assert ours._known is not None
    assert same(one, other)
    for a, b in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_after_loading_and_copying_it_goes_on_with_the_new_state():
    one, other = net(), net()
    ours, theirs = (
        lean(torch.optim.AdamW)(groups(one), lr=0.01, fused=True),
        torch.optim.AdamW(groups(other), lr=0.01, fused=True),
    )
    learn(one, ours, 3)
    learn(other, theirs, 3)
    stored = copy.deepcopy(theirs.state_dict())
    learn(one, ours, 2, first=50)
    one.load_state_dict(other.state_dict())
    ours.load_state_dict(stored)
    learn(one, ours, 3, first=3)
    learn(other, theirs, 3, first=3)
    assert same(one, other)
    pair = copy.deepcopy((one, ours))
    learn(*pair, 2, first=6)
    learn(other, theirs, 2, first=6)
    assert same(pair[0], other) and not same(one, other)


def test_where_a_gradient_is_missing_the_parameter_stays():
    one, other = net(), net()
    ours, theirs = (
        lean(torch.optim.Adam)(one.parameters(), lr=0.01, fused=True),
        torch.optim.Adam(other.parameters(), lr=0.01, fused=True),
    )
    for model, optimizer in ((one, ours), (other, theirs)):
        learn(model, optimizer, 3)
        learn(model, optimizer, 2, first=3, without=model[0].weight)
        learn(model, optimizer, 2, first=5)
    assert same(one, other)
    assert float(ours.state[one[0].weight]["step"]) == 5
