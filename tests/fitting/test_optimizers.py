"""Optimizers against torch's own and a step by hand; decay where it belongs."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from hubel.fitting import SGD, Adadelta, Adagrad, Adam, AdamW, Momentum, Muon, RMSProp
from hubel.fitting.muon import orthogonalized
from hubel.fitting.parameters import matrices_and_vectors


def net_of():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.LayerNorm([6, 4, 4]),
        nn.Flatten(),
        nn.Linear(96, 8),
        nn.PReLU(),
        nn.Linear(8, 3),
    )


X, Y = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3


def trained(net, optimizer, num=5):
    for _ in range(num):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X.to(net[0].weight)), Y).backward()
        optimizer.step()
    return net


def close(one, other, **tolerance):
    return all(
        torch.allclose(a, b, **tolerance)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def groups(net, decay):
    matrices = [
        p for name, p in net.named_parameters() if name in ("0.weight", "3.weight", "6.weight", "8.weight")
    ]
    chosen = {id(p) for p in matrices}
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": [p for p in net.parameters() if id(p) not in chosen], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_torchs(nesterov):
    ours, theirs = net_of(), net_of()
    trained(ours, SGD(learning_rate=0.05, momentum=0.8, nesterov=nesterov, weight_decay=0.1).build(ours))
    trained(
        theirs, torch.optim.SGD(groups(theirs, 0.1), lr=0.05, momentum=0.8, nesterov=nesterov, foreach=False)
    )
    assert close(ours, theirs, atol=1e-6)


def test_sgd_by_hand():
    """v <- m v + g, w <- w - lr (g + m v)."""
    net = nn.Linear(2, 1, bias=False).double()
    optimizer = SGD(learning_rate=0.1, momentum=0.5, weight_decay=0.0).build(net)
    weight, velocity = net.weight.detach().clone(), torch.zeros(1, 2).double()
    for number in range(4):
        gradient = torch.tensor([[1.0, -number]]).double()
        net.weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.5 * velocity + gradient
        weight -= 0.1 * (gradient + 0.5 * velocity)
        assert torch.allclose(net.weight, weight)


def test_sgd_without_momentum():
    net = net_of()
    trained(net, SGD(momentum=0.0, learning_rate=0.01).build(net), 1)


def test_adamw_is_torchs():
    ours, theirs = net_of().double(), net_of().double()
    choice = AdamW(learning_rate=0.01, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=0.1)
    trained(ours, choice.build(ours))
    trained(
        theirs, torch.optim.AdamW(groups(theirs, 0.1), lr=0.01, betas=(0.8, 0.95), eps=1e-6, foreach=False)
    )
    assert close(ours, theirs, atol=1e-9)


def momentum(g, w, state, t):
    """Lecture 004: v <- a v + (1 - a) g."""
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g
    return w - 0.5 * state["v"]


def adagrad(g, w, state, t):
    state["s"] = state.get("s", 0.1) + g**2
    return w - 0.05 * g / (np.sqrt(state["s"]) + 1e-6)


def adadelta(g, w, state, t):
    state["s"] = 0.9 * state.get("s", 0) + 0.1 * g**2
    step = np.sqrt(state.get("d", 0) + 1e-3) / np.sqrt(state["s"] + 1e-3) * g
    state["d"] = 0.9 * state.get("d", 0) + 0.1 * step**2
    return w - 0.7 * step


def rmsprop(g, w, state, t):
    state["s"] = 0.8 * state.get("s", 0) + 0.2 * g**2
    return w - 0.01 * g / (np.sqrt(state["s"]) + 1e-6)


def adam(g, w, state, t):
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["s"] = 0.9 * state.get("s", 0) + 0.1 * g**2
    return w - 0.01 * state["m"] / (1 - 0.8**t) / (np.sqrt(state["s"] / (1 - 0.9**t)) + 1e-6)


def amsgrad(g, w, state, t):
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["s"] = 0.9 * state.get("s", 0) + 0.1 * g**2
    state["most"] = np.maximum(state.get("most", 0), state["s"])
    return w - 0.01 * state["m"] / (1 - 0.8**t) / (np.sqrt(state["most"] / (1 - 0.9**t)) + 1e-6)


@pytest.mark.parametrize(
    ("choice", "by_hand"),
    [
        (Momentum(learning_rate=0.5, momentum=0.9), momentum),
        (Adagrad(learning_rate=0.05, initial=0.1, epsilon=1e-6), adagrad),
        (Adadelta(learning_rate=0.7, epsilon=1e-3), adadelta),
        (RMSProp(learning_rate=0.01, decay=0.8, epsilon=1e-6), rmsprop),
        (Adam(learning_rate=0.01, betas=(0.8, 0.9), epsilon=1e-6), adam),
        (Adam(learning_rate=0.01, betas=(0.8, 0.9), epsilon=1e-6, amsgrad=True), amsgrad),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_by_hand(choice, by_hand):
    """Eight steps along gradients that change sign and size, in float64, against the formula of the paper."""
    net = nn.Linear(3, 1, bias=False).double()
    optimizer = choice.build(net)
    weight, state = net.weight.detach().numpy().copy(), {}
    for t in range(1, 9):
        gradient = np.array([[1.0 / t, (-1.0) ** t * 3, 0.01 * t]])
        net.weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        weight = by_hand(gradient, weight, state, t)
        assert np.allclose(net.weight.detach().numpy(), weight, atol=1e-12), t


@pytest.mark.parametrize(
    "choice",
    [
        SGD(weight_decay=0.5),
        AdamW(weight_decay=0.5),
        Muon(weight_decay=0.5),
        Momentum(weight_decay=0.5),
        Adam(weight_decay=0.5),
        Adagrad(weight_decay=0.5),
        Adadelta(weight_decay=0.5),
        RMSProp(weight_decay=0.5),
    ],
    ids=lambda c: type(c).__name__,
)
def test_decay_never_acts_on_norms_and_biases(choice):
    net = net_of()
    optimizer = choice.build(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"0.weight", "3.weight", "6.weight", "8.weight"}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(net[4].weight)] == decay[id(net[1].weight)] == decay[id(net[8].bias)] == 0
    assert len(decay) == len(list(net.parameters()))


def test_frozen_parameters_are_left_out():
    net = net_of()
    net[0].requires_grad_(False)
    for choice in (SGD(), AdamW(), Muon(), Momentum(), Adam(), Adagrad(), Adadelta(), RMSProp()):
        held = {id(p) for group in choice.build(net).param_groups for p in group["params"]}
        assert id(net[0].weight) not in held and id(net[3].weight) in held
    net.requires_grad_(False)
    for choice in (SGD(), AdamW(), Muon(), Momentum(), Adam(), Adagrad(), Adadelta(), RMSProp()):
        with pytest.raises(ValueError, match="no trainable parameters: unfreeze"):
            choice.build(net)


def test_matrices_and_vectors_are_all():
    net = net_of()
    matrices, vectors = matrices_and_vectors(net)
    assert {id(p) for p in (*matrices, *vectors)} == {id(p) for p in net.parameters()}
    assert all(p.ndim < 2 or p is net[4].weight or p is net[4].bias for p in vectors)


# Muon


@pytest.mark.parametrize("shape", [(8, 8), (5, 20), (20, 5), (64, 288)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_directions_are_orthogonal(shape, scale):
    """Against U V^T of the singular value decomposition: the same singular vectors, singular values near 1."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    u, _, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    found = orthogonalized(matrix, 5).double()
    inner = u.T @ found @ vt.T
    values = inner.diagonal()
    assert values.min() > 0.3 and values.max() < 1.3
    assert (inner - values.diag()).abs().max() < 0.02
    well = values[torch.linalg.svdvals(matrix.double()) > 0.1 * scale * shape[0] ** 0.5]
    assert well.min() > 0.6


def test_a_zero_matrix_stays_zero():
    assert torch.equal(orthogonalized(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_one_step_of_muon_by_hand():
    net = net_of()
    choice = Muon(learning_rate=0.1, weight_decay=0.2, momentum=0.7, iterations=3)
    optimizer = choice.build(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    nn.functional.cross_entropy(net(X), Y).backward()
    optimizer.step()
    for name, p in net.named_parameters():
        g = p.grad
        if name in ("3.weight", "6.weight"):
            flat = (g + 0.7 * g).reshape(len(g), -1)
            step = orthogonalized(flat, 3).reshape(g.shape) * max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5
            expected = before[name] * (1 - 0.1 * 0.2) - 0.1 * step
        else:
            g = g + (0.2 * before[name] if name in ("0.weight", "8.weight") else 0)
            expected = before[name] - choice.other_learning_rate * (g + choice.other_momentum * g)
        assert torch.allclose(p, expected, atol=1e-6), name


def test_the_rest_of_muon_is_torchs_sgd():
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    choice = Muon(weight_decay=0.3, other_learning_rate=0.05, other_momentum=0.8)
    mine = choice.build(ours)
    reference = torch.optim.SGD(
        [{"params": [theirs.weight], "weight_decay": 0.3}, {"params": [theirs.bias]}],
        lr=0.05,
        momentum=0.8,
        nesterov=True,
    )
    x = torch.randn(10, 4)
    for _ in range(6):
        for net, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), Y).backward()
            optimizer.step()
    assert close(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("choice", [SGD(), AdamW(), AdamW(before_last=0.1), Muon()], ids=repr)
def test_state_goes_out_and_comes_back(choice):
    whole, parts = net_of(), net_of()
    trained(whole, choice.build(whole), 6)
    first = choice.build(parts)
    trained(parts, first, 3)
    second = choice.build(parts)
    second.load_state_dict(first.state_dict())
    trained(parts, second, 3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("choice", [SGD(), AdamW(), Adam(amsgrad=True), Adagrad(), Adadelta(), RMSProp()])
def test_an_optimizer_steps_and_is_stored_as_torchs_own(choice):
    net, twin = net_of(), net_of()
    ours, groups = choice.build(net), choice.build(twin).param_groups
    theirs = type(ours).__mro__[1]([{**group} for group in groups])
    trained(net, ours)
    trained(twin, theirs)
    assert close(net, twin, rtol=0, atol=0)
    again = choice.build(net)
    again.load_state_dict(copy.deepcopy(theirs.state_dict()))
    trained(net, again)
    trained(twin, theirs)
    assert close(net, twin, rtol=0, atol=0)


def test_no_optimizer_imports_the_compiler():
    program = (
        "import sys, torch, hubel.fitting as f\n"
        "for kind in (f.SGD, f.AdamW, f.Adam, f.Adagrad, f.Adadelta, f.RMSProp, f.Momentum, f.Muon):\n"
        "    net = torch.nn.Linear(3, 2)\n"
        "    optimizer = kind().build(net)\n"
        "    optimizer.zero_grad()\n"
        "    net(torch.ones(1, 3)).sum().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "assert 'torch._dynamo' not in sys.modules, kind\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
