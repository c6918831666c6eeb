"""`dense_chain` against the layers one after the other, finite differences, and where it must step aside."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from hubel.layers.dense_chain import dense_chain
from hubel.nets import mlp


def layers_of(*widths, dtype=torch.float64):
    torch.manual_seed(0)
    made = []
    for before, after in pairwise(widths):
        made += [nn.Linear(before, after, dtype=dtype), nn.ReLU()]
    return made[:-1]


def gradients(layers, x, fused):
    x = x.clone().requires_grad_()
    out = dense_chain(x, layers) if fused else nn.Sequential(*layers)(x)
    wanted = [x, *(p for layer in layers for p in layer.parameters())]
    return out, torch.autograd.grad((out**2).sum(), wanted)


@pytest.mark.parametrize("widths", [(4, 3), (4, 5, 3), (4, 7, 6, 2)])
def test_values_and_gradients_are_those_of_the_layers(widths):
    layers, x = layers_of(*widths), torch.randn(9, 4, dtype=torch.float64)
    out, found = gradients(layers, x, fused=True)
    assert type(out.grad_fn).__name__ == "_ChainBackward"
    expected_out, expected = gradients(layers, x, fused=False)
    torch.testing.assert_close(out, expected_out, rtol=0, atol=0)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_first_and_second_derivatives_against_finite_differences():
    layers = layers_of(3, 4, 2)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    parameters = [p for layer in layers for p in layer.parameters()]

    def scores(x, *_):
        return dense_chain(x, layers)

    assert torch.autograd.gradcheck(scores, (x, *parameters))
    assert torch.autograd.gradgradcheck(scores, (x, *parameters))


def test_frozen_layers_get_no_gradient_and_the_others_the_right_one():
    layers, x = layers_of(4, 5, 3), torch.randn(6, 4, dtype=torch.float64)
    layers[0].requires_grad_(False)
    dense_chain(x, layers).sum().backward()
    assert layers[0].weight.grad is None and layers[0].bias.grad is None
    expected = nn.Sequential(*layers)(x).sum()
    (weight,) = torch.autograd.grad(expected, [layers[2].weight])
    torch.testing.assert_close(layers[2].weight.grad, weight)


def _eval(layers):
    for layer in layers:
        layer.eval()


def _other(layers):
    layers[1] = nn.Tanh()


def _hook(layers):
    layers[1].register_forward_hook(lambda *_: None)


def _half(layers):
    for layer in layers:
        layer.to(torch.bfloat16)


@pytest.mark.parametrize("change", [_eval, _other, _hook, _half])
def test_it_steps_aside(change):
    layers = layers_of(4, 5, 3, dtype=torch.float32)
    change(layers)
    out = dense_chain(torch.randn(2, 4).to(layers[0].weight.dtype), layers)
    assert type(out.grad_fn).__name__ != "_ChainBackward"


def test_the_perceptron_uses_it_in_training_and_an_edited_one_does_not():
    net, x = mlp((8, 8), inputs=4, outputs=3), torch.randn(5, 4)
    assert type(net(x).grad_fn).__name__ == "_ChainBackward"
    torch.testing.assert_close(net(x), net.eval()(x))
    net.train()
    net.body[1] = nn.Tanh()
    assert type(net(x).grad_fn).__name__ != "_ChainBackward"
    torch.testing.assert_close(net(x), net.head(net.features(x)))
