"""Explanations in closed form, for tests of what judges explanations."""

import torch
from torch import nn

from hubel.core.types import Attribution
from hubel.explain.question import Question, untouched


def attribution(values, net, x, target, method, **more):
    with untouched(net):
        question = Question(net, x, target)
    return Attribution(values=values, method=method, target=question.names, score=question.score, **more)


def slope(net, x, *, target=None):
    """The gradient of the score."""
    with untouched(net):
        question = Question(net, x, target)
        inputs = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(question(inputs).sum(), inputs)
    return attribution(gradient.detach(), net, x, target, "slope")


def contribution(net, x, *, target=None):
    """Gradient times input: exact on linear networks with the baseline 0."""
    found = slope(net, x, target=target)
    return attribution(found.values * x, net, x, target, "contribution")


def picture(net, x, *, target=None):
    """The input itself, whatever the network has learned."""
    return attribution(x.clone(), net, x, target, "picture")


def linear(*shape, outputs=3, seed=0, bias=True):
    """A linear network on inputs of this shape, in float64."""
    torch.manual_seed(seed)
    size = int(torch.tensor(shape).prod())
    return nn.Sequential(nn.Flatten(), nn.Linear(size, outputs, bias=bias)).double().eval()


def inputs(num, *shape, seed=1):
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
