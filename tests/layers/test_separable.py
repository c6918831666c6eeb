"""Separable convolution, "same" pooling and dense blocks against their definitions."""

import pytest
import torch
import torch.nn.functional as F

from hubel.layers.dense_block import DenseBlock, DenseLayer, Transition
from hubel.layers.same_pooling import average_pool_same, max_pool_same
from hubel.layers.separable import SeparableConv2d


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_separable_convolution_is_the_full_one_with_product_kernels(kernel):
    layer = SeparableConv2d(4, 6, kernel).double()
    depthwise, pointwise = (part.weight for part in layer)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    full = torch.einsum("oi,ihw->oihw", pointwise[:, :, 0, 0], depthwise[:, 0])
    torch.testing.assert_close(layer(x), F.conv2d(x, full, padding=kernel // 2))
    assert sum(p.numel() for p in layer.parameters()) == kernel**2 * 4 + 4 * 6


def test_parts_of_a_separable_convolution_are_named():
    layer = SeparableConv2d(4, 6, 3, stride=2, names=("conv1", "pointwise"))
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert shapes == {"conv1.weight": (4, 1, 3, 3), "pointwise.weight": (6, 4, 1, 1)}
    assert layer(torch.zeros(1, 4, 7, 8)).shape == (1, 6, 4, 4)


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 2), (5, 6), (7, 9), (8, 4)])
def test_same_pooling_by_definition(kernel, stride, size):
    """Output i sees the pixels from i·stride − before on that exist."""
    x = torch.randn(1, 1, *size, dtype=torch.float64)
    if kernel == 2 and stride == 1:
        with pytest.raises(ValueError, match=r"needs an odd kernel.*received 2"):
            max_pool_same(x, kernel, stride)
        return

    def windows(n):
        out = -(-n // stride)
        before = max((out - 1) * stride + kernel - n, 0) // 2
        starts = [i * stride - before for i in range(out)]
        return [slice(max(start, 0), min(start + kernel, n)) for start in starts]

    parts = [[x[0, 0, rows, columns] for columns in windows(size[1])] for rows in windows(size[0])]
    largest = torch.stack([torch.stack([part.max() for part in row]) for row in parts])
    mean = torch.stack([torch.stack([part.mean() for part in row]) for row in parts])
    torch.testing.assert_close(max_pool_same(x, kernel, stride)[0, 0], largest)
    torch.testing.assert_close(average_pool_same(x, kernel, stride)[0, 0], mean)


@pytest.mark.parametrize("training", [True, False])
def test_a_dense_block_keeps_its_input_and_every_layer_reads_all_before_it(training):
    block = DenseBlock(5, layers=3, growth=2).train(training)
    x = torch.randn(2, 5, 4, 4)
    kept = x.clone()
    y = block(x)
    assert torch.equal(x, kept)
    assert y.shape == (2, 11, 4, 4)
    assert torch.equal(y[:, :5], x)
    for index, layer in enumerate(block):
        width = 5 + 2 * index
        torch.testing.assert_close(y[:, width : width + 2], layer(y[:, :width]))


def test_a_dense_layer_norms_before_it_convolves():
    layer = DenseLayer(3, 2).eval()
    torch.nn.init.constant_(layer.norm1.bias, -100.0)  # everything is rectified away
    torch.nn.init.constant_(layer.norm2.bias, 0.0)
    assert (layer(torch.randn(1, 3, 4, 4)) == 0).all()
    assert layer.conv1.out_channels == 8


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_a_transition_is_the_published_order(size):
    """Norm, relu, 1×1 convolution, then the average."""
    transition = Transition(6, 3).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    norm = torch.nn.BatchNorm2d(6).double()
    expected = F.avg_pool2d(F.conv2d(F.relu(norm(x)), transition.conv.weight), 2)
    torch.testing.assert_close(transition(x), expected)
