"""Residual and inverted residual blocks, padding and activations."""

import pytest
import torch
import torch.nn.functional as F

from hubel.layers.activation import Activation, Maxout
from hubel.layers.inverted_residual import InvertedResidual, SameConv2d
from hubel.layers.residual import BasicBlock, Bottleneck, PaddedShortcut


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_whose_last_norm_is_zero_is_relu(block):
    net = block(8 * block.expansion, 8)
    torch.nn.init.zeros_((net.bn3 if block is Bottleneck else net.bn2).weight)
    for mode in (True, False):
        x = torch.randn(2, 8 * block.expansion, 5, 5)
        torch.testing.assert_close(net.train(mode)(x), F.relu(x))


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_padded_shortcut_keeps_every_second_pixel(size):
    x = torch.randn(2, 3, *size)
    y = PaddedShortcut(8)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert (y[:, 3:] == 0).all()
    assert y.shape[2:] == F.conv2d(x, torch.zeros(1, 3, 3, 3), stride=2, padding=1).shape[2:]


@pytest.mark.parametrize("size", [6, 7, 8, 9, 32, 33])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_by_definition(size, kernel, stride):
    """Output i reads inputs from i·stride − before on, with the total padding split and the odd pixel after."""
    layer = SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, size, size)
    x[..., 0, 0] = x[..., -1, -1] = 1
    with torch.no_grad():
        y = layer(x)[0, 0]
    out = -(-size // stride)
    before = max((out - 1) * stride + kernel - size, 0) // 2
    covers = [[0 <= pixel - (i * stride - before) < kernel for i in range(out)] for pixel in (0, size - 1)]
    first, last = (torch.tensor(row).float() for row in covers)
    torch.testing.assert_close(y, torch.outer(first, first) + torch.outer(last, last))


def test_inverted_residual_adds_its_input_where_shapes_agree():
    block = InvertedResidual(4, 4, kernel=3, stride=1, expansion=6).eval()
    torch.nn.init.zeros_(block._bn2.weight)
    x = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(x), x)
    assert not InvertedResidual(4, 4, kernel=3, stride=2, expansion=6).residual
    assert not InvertedResidual(4, 6, kernel=3, stride=1, expansion=6).residual


@pytest.mark.parametrize("word", list(Activation))
def test_activations_by_their_formula(word):
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    formula = {
        "relu": x.clamp(min=0),
        "leaky_relu": torch.where(x > 0, x, 0.01 * x),
        "prelu": torch.where(x > 0, x, 0.25 * x),  # the slope is learned and begins at 1/4
        "selu": 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
        "identity": x,
        "elu": torch.where(x > 0, x, x.exp() - 1),
        "gelu": x * 0.5 * (1 + torch.erf(x / 2**0.5)),
        "silu": x / (1 + (-x).exp()),
        "softplus": (1 + x.exp()).log(),
        "tanh": (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
        "sigmoid": 1 / (1 + (-x).exp()),
        "sine": x.sin(),
    }
    torch.testing.assert_close(word.module().double()(x), formula[word])
    assert Activation(str(word)) is word


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'rellu' is not an activation\. Did you mean .relu.\?"):
        Activation("rellu")


def test_maxout_is_the_largest_of_its_pieces():
    x = torch.randn(3, 12, 2, 2)
    out = Maxout(4)(x)
    assert out.shape == (3, 3, 2, 2)
    assert torch.equal(out[:, 1], torch.stack([x[:, k] for k in (4, 5, 6, 7)]).amax(0))
    with pytest.raises(ValueError, match=r"multiple of 5.*received \[3, 12, 2, 2\]"):
        Maxout(5)(x)
