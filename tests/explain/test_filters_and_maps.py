"""Filters, feature maps and templates: the numbers are those of the network."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.explain import feature_maps, filters, templates
from hubel.layers.inverted_residual import SameConv2d


def test_filters_are_the_weights():
    net = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(3, 8, 5), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3, groups=2))
    found = filters(net)
    assert found.layer == "1" and np.array_equal(found.weights, net[1].weight.detach().double().numpy())
    assert filters(net, "0").weights.shape == (4, 4)
    transposed = filters(net, "3")
    assert transposed.weights.shape == (6, 4, 3, 3)
    # filter 4 belongs to the second group: it reads channels 4 to 7, and is its second of three
    assert np.array_equal(transposed.weights[4], net[3].weight.detach().double().numpy()[4:, 1])


def test_feature_maps_are_what_the_layer_answers():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3)).eval()
    x = torch.randn(2, 3, 9, 9)
    found = feature_maps(net, x, "1")
    assert np.allclose(found.maps, net[:2](x).detach().numpy())
    with torch.no_grad():
        net[0].weight[3] = 0
        net[0].bias[3] = -1
    assert feature_maps(net, x, "1").silent.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=True),
        nn.Conv2d(2, 4, (3, 2), dilation=2, padding=2),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        SameConv2d(2, 4, 3, stride=2),
    ],
)
def test_the_best_patch_gives_the_greatest_answer(conv):
    """The product of filter and patch, with the bias, is the maximum of the layer's own answers."""
    torch.manual_seed(1)
    x = torch.randn(3, conv.in_channels, 12, 11)
    found = templates(nn.Sequential(conv).eval(), x)
    bias = 0 if conv.bias is None else conv.bias.detach().double().numpy()
    assert np.allclose(found.response + bias, conv(x).amax((0, 2, 3)).detach().numpy(), atol=1e-5)
    norms = [np.linalg.norm(a.reshape(4, -1), axis=1) for a in (found.filters, found.patches)]
    assert np.allclose(found.cosine, found.response / norms[0] / norms[1])


def test_a_planted_template_is_found_where_it_is():
    net = nn.Sequential(nn.Conv2d(1, 3, 5, bias=False)).eval()
    x = torch.zeros(4, 1, 20, 20)
    x[2, 0, 7:12, 3:8] = net[0].weight[1, 0].detach()
    found = templates(net, x)
    assert found.where[1].tolist() == [2, 7, 3]
    assert found.cosine[1] == pytest.approx(1)
    assert np.allclose(found.patches[1], found.filters[1])


def test_wrong_layers_are_told():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
    with pytest.raises(ValueError, match="no layer 'conv1'"):
        filters(net, "conv1")
    with pytest.raises(ValueError, match="1 has no weights over channels"):
        filters(net, "1")
    with pytest.raises(ValueError, match="no convolution"):
        filters(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="expected a convolution of pictures"):
        templates(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2), "0")
    with pytest.raises(ValueError, match="NaN or infinite"):
        feature_maps(net, torch.full((1, 1, 8, 8), float("nan")), "0")
    with pytest.raises(ValueError, match="training mode"):
        feature_maps(nn.Sequential(nn.BatchNorm2d(1)), torch.zeros(1, 1, 4, 4), "0")


def test_transposed_filters_are_those_that_answer():
    """A single 1 at the input is answered with the filters themselves."""
    layer = nn.ConvTranspose2d(2, 3, 3, bias=False)
    x = torch.zeros(1, 2, 1, 1)
    x[0, 1] = 1
    assert np.allclose(
        filters(nn.Sequential(layer), "0").weights[:, 1], F.conv_transpose2d(x, layer.weight)[0].detach()
    )
