"""Whatever a method of perturbation does, and also when it fails: the network and torch's random numbers are as before."""

import copy

import pytest
import torch
from torch import nn

from hubel import explain


def network():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(1024, 3),
    )
    net(torch.rand(4, 1, 16, 16)).sum().backward()
    net.eval()
    net[0].weight.requires_grad_(False)
    net[2].train()
    return net


DATA = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(3))
METHODS = {
    "occlusion": lambda net, x, **more: explain.occlusion(net, x, patch=4, **more),
    "occlusion_cost": lambda net, x, **more: explain.occlusion_cost(net, x, patch=4, **more),
    "prediction_difference": lambda net, x, **more: explain.prediction_difference(net, x, data=DATA, patch=4, samples=2, **more),
    "meaningful_perturbation": lambda net, x, **more: explain.meaningful_perturbation(net, x, steps=3, **more),
    "representation_erasure": lambda net, x, **more: explain.representation_erasure(net, x, layer="0", **more),
    "rise": lambda net, x, **more: explain.rise(net, x, masks=20, **more),
    "lime": lambda net, x, **more: explain.lime(net, x, parts=torch.arange(256).view(16, 16) // 32, samples=30, **more),
    "shapley_exact": lambda net, x, **more: explain.shapley_exact(net, x, parts=2, **more),
    "shapley_sampling": lambda net, x, **more: explain.shapley_sampling(net, x, permutations=4, **more),
}  # fmt: skip


def everything(net):
    return (
        {name: (value.clone(), value.requires_grad, None if value.grad is None else value.grad.clone()) for name, value in net.named_parameters()},
        {name: value.clone() for name, value in net.named_buffers()},
        {name: (module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for name, module in net.named_modules()},
        torch.get_rng_state(),
    )  # fmt: skip


def same(a, b):
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", METHODS)
def test_the_network_is_left_as_it_was(name):
    net, x = network(), DATA[:2].clone()
    before, given = everything(net), x.clone()
    first = METHODS[name](net, x)
    assert same(before, everything(net))
    assert torch.equal(x, given)
    with pytest.raises(ValueError, match="out of range"):
        METHODS[name](net, x, target=7)
    assert same(before, everything(net))
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[5].bias.add_(1)
    assert not same(before, everything(changed)), "the comparison sees changes"
    if name != "occlusion_cost":
        again = METHODS[name](net, x)
        assert torch.equal(first.values, again.values)
        assert first.passes == again.passes > len(x)
        assert torch.isfinite(first.values).all()
        assert not first.values.requires_grad
        assert len(first.target) == 2


def test_leaving_one_feature_out_leaves_the_network():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    before = everything(net)
    explain.leave_one_feature_out(net, torch.rand(2, 4), data=torch.rand(5, 4))
    first = everything(net)
    assert same((before[0], before[1], before[2]), (first[0], first[1], first[2]))


def test_a_failure_in_the_middle_leaves_the_network():
    net, x = network(), DATA[:1]
    before = everything(net)

    def failing(done, num):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain.occlusion(net, x, patch=4, progress=failing)
    assert same(before, everything(net))
