"""Pooling and relu by bits against torch's own: equal values, equal gradients, the same at second order."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.layers.pooling import MaxPoolReLU, _MaxPoolReLU
from hubel.layers.relu import relu

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def plain(x):
    return F.relu(F.max_pool2d(x, 2))


def value_and_gradient(function, x, grad):
    x = x.detach().clone().requires_grad_()
    y = function(x)
    y.backward(grad)
    return y.detach(), x.grad


@given(
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_pooling_equals_torch_where_there_are_no_ties(height, width, dtype, channels_last, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 3, height, width)
    numbers = torch.randperm(3 * height * width, generator=generator) - 80  # different and exact in bfloat16
    x = numbers.to(dtype).view(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    grad = torch.randn(plain(x).shape, generator=generator).to(dtype)
    y, gradient = value_and_gradient(_MaxPoolReLU.apply, x, grad)
    expected, expected_gradient = value_and_gradient(plain, x, grad)
    assert torch.equal(y, expected)
    assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_tied_winners_one_gets_all(dtype):
    grad = torch.ones(1, 1, 1, 1, dtype=dtype)
    for block, winner in [
        ([[1, 1], [1, 1]], 0),  # upper left
        ([[0, 1], [1, 0]], 2),  # left column before right: torch would take 1
        ([[0, 1], [0, 1]], 1),
        ([[0, 0], [1, 1]], 2),
    ]:
        x = torch.tensor(block, dtype=dtype).view(1, 1, 2, 2)
        _, gradient = value_and_gradient(_MaxPoolReLU.apply, x, grad)
        assert gradient.flatten().tolist() == [float(i == winner) for i in range(4)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_gradient_where_the_maximum_is_not_positive(dtype):
    for block in ([[-1, -2], [-3, -4]], [[0, 0], [0, -0.0]], [[-0.0, -1], [-2, -3]]):
        x = torch.tensor(block, dtype=dtype).view(1, 1, 2, 2)
        y, gradient = value_and_gradient(_MaxPoolReLU.apply, x, torch.ones(1, 1, 1, 1, dtype=dtype))
        assert y.item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_nan_and_infinity_pass(sign):
    nan = torch.copysign(torch.tensor(float("nan")), torch.tensor(float(sign)))
    for dtype in DTYPES:
        x = torch.zeros(1, 1, 2, 4, dtype=dtype)
        x[..., 0, 1] = nan
        x[..., 1, 2] = float("inf")
        y = _MaxPoolReLU.apply(x)
        assert torch.isnan(y[..., 0]).all()
        assert torch.isinf(y[..., 1]).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(7, 7), (6, 5), (1, 3), (4, 4)])
def test_the_last_row_and_column_make_blocks_of_their_own(size, training):
    generator = torch.Generator().manual_seed(1)
    count = 3 * size[0] * size[1]
    x = (torch.randperm(count, generator=generator) - count / 2).view(1, 3, *size)

    def ceiled(x):
        return F.relu(F.max_pool2d(x, 2, ceil_mode=True))

    grad = torch.randn(ceiled(x).shape, generator=generator)
    y, gradient = value_and_gradient(MaxPoolReLU(ceil_mode=True).train(training), x, grad)
    expected, expected_gradient = value_and_gradient(ceiled, x, grad)
    assert torch.equal(y, expected)
    assert torch.equal(gradient, expected_gradient)


def test_the_module_is_plain_outside_of_training():
    layer = MaxPoolReLU()
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    assert "MaxPoolReLU" in type(layer(x).grad_fn).__name__
    assert "Relu" in type(layer.eval()(x).grad_fn).__name__
    y = MaxPoolReLU()(x.double())
    assert "Relu" in type(y.grad_fn).__name__


def test_second_derivatives():
    x = torch.randn(2, 2, 4, 6, requires_grad=True)
    seconds = []
    for function in (_MaxPoolReLU.apply, plain):
        (first,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        seconds += torch.autograd.grad(first.square().sum(), x)
    torch.testing.assert_close(*seconds)


def test_transforms_and_backward_twice():
    layer = MaxPoolReLU()
    x = torch.randn(3, 2, 4, 4)
    per_example = torch.func.vmap(torch.func.grad(lambda e: layer(e.unsqueeze(0)).sum()))(x)
    x.requires_grad_()
    y = layer(x).sum()
    y.backward(retain_graph=True)
    torch.testing.assert_close(x.grad, per_example)
    y.backward()
    torch.testing.assert_close(x.grad, 2 * per_example)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_relu_has_the_bits_of_torch(dtype):
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1e-30, -1e-30]).to(dtype)
    source = torch.cat([torch.randn(500).to(dtype), special]).requires_grad_()
    grad = torch.randn(506).to(dtype)
    results = []
    for function in (lambda x: relu(x, training=True), F.relu):
        source.grad = None
        y = function(source * 1)
        y.backward(grad)
        results.append((y.detach(), source.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_relu_works_in_place_only_in_training():
    for dtype in DTYPES:
        x = torch.tensor([-1.0, 2.0], dtype=dtype)
        assert relu(x, training=False).tolist() == [0, 2]
        assert x.tolist() == [-1, 2]
        assert relu(x, training=True).data_ptr() == x.data_ptr()
        assert x.tolist() == [0, 2]


def test_relu_second_derivatives():
    x = torch.randn(40).bfloat16().requires_grad_()
    (first,) = torch.autograd.grad(relu(x * 1, training=True).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(second, 2 * (x > 0).bfloat16())
