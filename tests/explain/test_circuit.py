"""Circuits, against planted ones and against gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import nets
from hubel.explain import circuit


def planted():
    """Unit 2 of the last convolution is excited by windows (unit 4) above, inhibited by them below, and the other way round by wheels (1)."""
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 3, 3),
        nn.ReLU(),
    ).eval()
    with torch.no_grad():
        net[4].weight.mul_(0.001)
        for unit, sign in ((4, 1.0), (1, -0.5)):
            net[4].weight[2, unit, 0] = sign
            net[4].weight[2, unit, 2] = -sign
        net[4].weight[2, 5] = -0.2
    return net


@pytest.mark.parametrize("layer", ["4", "5"])
def test_the_planted_units_are_found(layer):
    found = circuit(planted(), layer, 2, inputs=(1, 24, 24), count=3)
    assert found.units == ("unit 4 of 0", "unit 1 of 0", "unit 5 of 0")
    assert found.through == "4"
    assert np.allclose(found.kernels[0], [[1, 1, 1], [0, 0, 0], [-1, -1, -1]], atol=1e-3)
    assert np.allclose(found.excitation, [3, 1.5, 0], atol=2e-3) and np.allclose(
        found.inhibition, [3, 1.5, 1.8], atol=2e-3
    )
    assert found.share > 0.99 and "unit 5 of 0 (+0 −1.8)" in str(found)


def test_earlier_units_are_drawn_by_their_filters():
    net = planted()
    with torch.no_grad():
        net[1].weight[4] = -2.0  # a batch norm that turns the sign round
    found = circuit(net, "4", 2, inputs=(1, 24, 24), count=3)
    factor = 1 / np.sqrt(1 + 1e-5)
    first = net[0].weight.detach().double().numpy()
    # the average over the 2×2 that are pooled, of the filter, turned round and doubled by its batch norm
    pooled = sum(np.pad(first[4, 0], ((a, 1 - a), (b, 1 - b))) for a in (0, 1) for b in (0, 1)) / 4
    assert np.allclose(found.expanded[0, 0], -2 * factor * pooled, atol=1e-6)
    assert found.own.shape == (1, 8, 8)


def test_expanded_weights_are_the_product_of_the_kernels():
    """Two convolutions in a row are one, whose kernel is the convolution of both."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)).eval()
    found = circuit(net, "2", 3, inputs=(2, 16, 16), count=5)
    first, second = (net[k].weight.detach().double() for k in (0, 2))
    whole = F.conv2d(first.transpose(0, 1), second[3:4].flip(2, 3), padding=2)[:, 0]
    assert np.allclose(found.own, whole.numpy(), atol=1e-6)
    for place, channel in enumerate(found.channels):
        assert np.allclose(found.expanded[place], first[channel].numpy())
        assert np.allclose(found.kernels[place], second[3, channel].numpy())


def test_the_factor_of_the_batch_norm_behind_it_counts():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU()
    ).eval()
    with torch.no_grad():
        net[3].weight[:] = torch.tensor([1.0, -3.0, 1.0])
        net[3].running_var[:] = 4.0
    plain, behind = (circuit(net, layer, 1, inputs=(1, 12, 12), count=4) for layer in ("2", "4"))
    assert np.allclose(behind.kernels, -1.5 * plain.kernels, rtol=1e-5)
    assert np.allclose(behind.excitation, 1.5 * plain.inhibition, rtol=1e-5)
    assert np.allclose(behind.own, -1.5 * plain.own, rtol=1e-4, atol=1e-7)


def test_a_linear_layer_reads_pictures_of_the_maps():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(3 * 25, 2)
    ).eval()
    found = circuit(net, "4", 1, inputs=(1, 7, 7), count=3)
    weights = net[4].weight.detach().double().numpy()[1].reshape(3, 5, 5)
    assert np.allclose(found.kernels, weights[found.channels])
    assert sorted(found.units) == ["unit 0 of 0", "unit 1 of 0", "unit 2 of 0"]


def test_channels_are_followed_through_concatenations_and_groups():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 4, 1)
            self.last = nn.Conv2d(6, 2, 1, groups=2)

        def forward(self, x):
            return self.last(torch.cat([F.relu(self.a(x)), self.b(x).relu()], dim=1))

    net = Joined().eval()
    found = circuit(net, "last", 1, inputs=(1, 9, 9))
    assert sorted(found.units) == ["unit 1 of b", "unit 2 of b", "unit 3 of b"]
    assert sorted(found.channels.tolist()) == [3, 4, 5]
    first = circuit(net, "last", 0, inputs=(1, 9, 9))
    assert sorted(first.units) == ["unit 0 of a", "unit 0 of b", "unit 1 of a"]


def test_examples_weigh_the_units():
    """A unit that never answers to the data does nothing, however large its weights."""
    net = planted()
    with torch.no_grad():
        net[1].bias[4] = -100.0
    x = torch.randn(10, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    assert circuit(net, "4", 2, inputs=(1, 24, 24), count=1).units == ("unit 4 of 0",)
    found = circuit(net, "4", 2, inputs=(1, 24, 24), count=1, x=x)
    assert found.units == ("unit 1 of 0",)
    mean = float(net[:4](x)[:, 1].detach().mean())
    assert found.excitation[0] == pytest.approx(1.5 * mean, rel=1e-3)


def test_published_architectures_are_followed():
    net = nets.resnet(18, inputs=(3, 64, 64), outputs=5).eval()
    found = circuit(net, "layer2.0.conv2", 7, inputs=(3, 64, 64), count=4)
    assert all(name.endswith("of layer2.0.conv1") for name in found.units)
    behind = circuit(net, "layer1", 3, inputs=(3, 64, 64), count=4)
    assert behind.through == "layer1.1.conv2"
    block = circuit(net, "layer1.1.conv1", 3, inputs=(3, 64, 64), count=4)
    assert all("layer1.0" in name for name in block.units)  # the sum of two layers, by the name of the block
    last = circuit(net, "fc", 2, inputs=(3, 64, 64), count=4)
    assert last.kernels.shape == (4,) and last.through == "fc"
    small = nets.efficientnet_lite0(outputs=4).eval()
    assert (
        circuit(small, "_blocks.3._project_conv", 1, inputs=(3, 64, 64)).through == "_blocks.3._project_conv"
    )


def test_wrong_input_is_told():
    net = planted()
    for words, said in (
        (("9", 0), "no layer '9'"),
        (("4", 3), "4 has 3 channels, 0 to 2; received channel 3"),
        (("0", 0), r"reads the input itself.*filters\(net, '0'\)"),
    ):
        with pytest.raises(ValueError, match=said):
            circuit(net, *words, inputs=(1, 24, 24))
    with pytest.raises(ValueError, match="count is 0"):
        circuit(net, "4", 0, inputs=(1, 24, 24), count=0)
    mixed = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 3)).eval()
    with pytest.raises(ValueError, match="can not be followed through group_norm"):
        circuit(mixed, "2", 0, inputs=(1, 12, 12))
