"""The worked numbers of the lectures for neurons, convolution, ReLU, pooling, batch norm, dropout and derivatives (docs/catalogue.md, A)."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hubel.core.types import Batch
from hubel.fitting import Backprop, Closure, linearly_separable, steps
from hubel.layers.sizes import field_of_view, output_size
from hubel.nets import mlp
from hubel.objectives import BinaryCrossEntropy, SquaredError

DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
OTHER = [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]]
CROSS = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
X5 = [[-1, -1, -1, -1, -1], [-1, 1, -1, 1, -1], [-1, -1, 1, -1, -1], [-1, 1, -1, 1, -1], [-1, -1, -1, -1, -1]]
CHAIN = [[7.0, -3, 3], [-3, 5, -3], [3, -3, 7]]


def image(rows):
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def correlated(rows, template):
    return F.conv2d(image(rows), image(template))[0, 0]


def x9():
    """A true 9 × 9 "X" of ±1, with an empty border."""
    rows = -np.ones((9, 9))
    for k in range(1, 8):
        rows[k, k] = rows[k, 8 - k] = 1
    return rows.tolist()


def test_the_small_x_under_its_diagonals():
    assert correlated(X5, DIAGONAL).tolist() == CHAIN
    assert correlated(X5, OTHER).tolist() == [[3, -3, 7], [-3, 5, -3], [7, -3, 3]]


@pytest.mark.parametrize("template", [DIAGONAL, OTHER, CROSS])
def test_the_large_x_is_made_of_ninths(template):
    found = correlated(x9(), template)
    assert found.shape == (7, 7)
    assert torch.equal(found, torch.from_numpy(scipy.signal.correlate2d(x9(), template, mode="valid")))
    printed = {1.00, 0.77, 0.55, 0.33, 0.11, -0.11, -0.33, -0.55, -0.77}
    assert {float(np.trunc(100 * v) / 100) for v in (found / 9).flatten().tolist()} <= printed
    assert float(found.max()) == 9 or template is CROSS


def test_the_edge_filter_on_a_patch():
    """A 5 × 6 patch gives 3 × 4 (the slide says 3 × 5), and the pooled numbers of the slide, whose grey values are a picture only."""
    patch = [[0, 0, 3, 7, 7, 8], [0] * 6, [0] * 6, [0, 0, 5, 17, 7, 21], [0, 0, 1, 4, 2, 0]]
    found = F.conv2d(image(patch), image([[-1, 0, 1]] * 3))
    assert found[0, 0].tolist() == [[3, 7, 4, 1], [5, 17, 2, 4], [6, 21, 3, 0]]
    assert F.max_pool2d(found, 2, stride=1)[0, 0].tolist() == [[17, 17, 4], [21, 21, 4]]


def test_rectified_and_pooled():
    rectified = F.relu(image(CHAIN))
    assert rectified[0, 0].tolist() == [[7, 0, 3], [0, 5, 0], [3, 0, 7]]
    assert F.max_pool2d(rectified, 2, stride=1)[0, 0].tolist() == [[7, 5], [5, 7]]
    rows = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]
    assert F.max_pool2d(image(rows), 2, stride=2)[0, 0].tolist() == [[6, 8], [3, 4]]


def test_sizes_of_the_lectures():
    assert output_size(6, 2) == 5
    assert output_size(6, 2, stride=2) == 3
    assert output_size(6, 2, stride=2, padding=1) == 4


@given(
    inputs=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
)
def test_sizes_are_torchs(inputs, kernel, stride, padding, dilation):
    layer = nn.Conv1d(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)
    try:
        expected = layer(torch.zeros(1, 1, inputs)).shape[2]
    except RuntimeError:
        with pytest.raises(ValueError, match="does not fit"):
            output_size(inputs, kernel, stride=stride, padding=padding, dilation=dilation)
    else:
        assert output_size(inputs, kernel, stride=stride, padding=padding, dilation=dilation) == expected


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=4))
def test_the_field_of_view_is_what_the_gradient_reaches(layers):
    net = nn.Sequential(
        *[nn.Conv1d(1, 1, k, stride=s, dilation=d, bias=False) for k, s, d in layers]
    ).double()
    for layer in net:
        nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 200, dtype=torch.float64, requires_grad=True)
    net(x)[0, 0, 0].backward()
    reached = x.grad[0, 0].nonzero()[:, 0]
    assert int(reached.max()) - int(reached.min()) + 1 == field_of_view(layers)


def test_the_field_of_view_of_equal_layers():
    for depth in (1, 2, 5):
        assert field_of_view([(3, 1)] * depth) == depth * 2 + 1


@given(st.integers(0, 10_000))
def test_the_convolution_theorem(seed):
    """The transform of a convolution is the product of the transforms."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(9, 7)), rng.normal(size=(3, 4))
    shape = (a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1)
    by_transform = np.fft.irfft2(np.fft.rfft2(a, shape) * np.fft.rfft2(b, shape), shape)
    flipped = torch.from_numpy(b[::-1, ::-1].copy())  # torch's "convolution" is a cross-correlation
    padding = (b.shape[0] - 1, b.shape[1] - 1)
    direct = F.conv2d(torch.from_numpy(a)[None, None], flipped[None, None], padding=padding)[0, 0]
    assert np.allclose(direct.numpy(), by_transform)


def test_batch_norm_of_the_lecture():
    x = torch.tensor([[-1.0, 4, 1], [1, -4, 3]])
    norm = nn.BatchNorm1d(3, momentum=0.01)
    assert torch.allclose(norm(x), torch.tensor([[-1.0, 1, -1], [1, -1, 1]]), atol=1e-3)
    fresh = nn.BatchNorm1d(3).eval()
    assert torch.allclose(fresh(x), x, atol=1e-3)
    # Keras' momentum of 0.99 is torch's 0.01, and Keras takes the variance with 1/N: 0.99 + 0.01 * 16
    variance = 0.99 + 0.01 * x[:, 1].var(correction=0)
    assert float(4 / (variance + 1e-3).sqrt()) == pytest.approx(3.73, abs=0.005)
    norm.eval()
    assert norm(x)[0, 1].item() == pytest.approx(
        4 / np.sqrt(0.99 + 0.01 * 32), abs=1e-3
    )  # torch keeps the variance with 1/(N - 1)


def test_dropout_of_the_lecture():
    from hubel.layers.dropout import Dropout

    ones = torch.ones(20_000)
    out = Dropout(0.5)(ones)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert float(out.mean()) == pytest.approx(1.0, abs=0.03)
    assert torch.equal(Dropout(0.5).eval()(ones), ones)


def test_derivatives_of_the_lecture():
    x = torch.tensor(3.0, requires_grad=True)
    (first,) = torch.autograd.grad(x**2, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert first.item() == 6.0 and second.item() == 2.0


def test_a_derivative_is_the_limit_of_finite_differences():
    """The error of a central difference falls with the square of its step: as it should around a derivative that is right."""
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.sin(x) * x.exp(), x)

    def error(step):
        up, down = (math.sin(0.7 + s) * math.exp(0.7 + s) for s in (step, -step))
        return abs((up - down) / (2 * step) - slope.item())

    assert error(1e-2) / error(1e-3) == pytest.approx(100, rel=0.01)


def one_neuron(x, y, objective, num=100):
    """A network of one linear node, fitted to the whole of the data by L-BFGS."""
    torch.manual_seed(0)
    net = mlp((), inputs=x.shape[1], outputs=1).double()
    optimizer = torch.optim.LBFGS(
        net.parameters(), line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=0
    )
    batch = Batch(inputs=torch.from_numpy(x), targets=torch.from_numpy(y))
    for _ in steps(net, objective, [batch] * num, rule=Closure(optimizer)):
        pass
    return net.head.weight.detach().numpy()[0], net.head.bias.item()


def test_linear_regression_is_one_neuron():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x @ [2.0, -1.0, 0.5] + 3 + 0.1 * rng.normal(size=80)
    weights, bias = one_neuron(x, y, SquaredError(1), 20)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(80)]), y, rcond=None)[0]
    assert np.allclose([*weights, bias], expected, atol=1e-6)


def test_logistic_regression_is_one_neuron():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2))
    y = (x @ [1.5, -1.0] + 0.3 + rng.logistic(size=200) > 0).astype(np.int64)
    weights, bias = one_neuron(x, y, BinaryCrossEntropy(1))
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    assert np.allclose([*weights, bias], [*theirs.coef_[0], theirs.intercept_[0]], atol=1e-4)


def test_two_layers_solve_xor_where_one_neuron_can_not():
    corners = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    wanted = torch.tensor([0, 1, 1, 0])
    answers = {}
    for hidden in ((), (8,)):
        torch.manual_seed(1)
        net = mlp(hidden, inputs=2, outputs=1)
        rule = Backprop(torch.optim.Adam(net.parameters(), lr=0.05))
        for _ in steps(net, BinaryCrossEntropy(1), [Batch(inputs=corners, targets=wanted)] * 300, rule=rule):
            pass
        answers[hidden] = (net(corners)[:, 0] > 0).long().tolist()
    assert answers[(8,)] == wanted.tolist()
    assert answers[()] != wanted.tolist() and not linearly_separable(corners, wanted)


def test_parameters_of_the_lectures_perceptrons():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert count(mlp((4, 3), inputs=3, outputs=1)) == 16 + 15 + 4 == 35
    assert count(mlp((4, 4), inputs=3, outputs=1)) == 41
