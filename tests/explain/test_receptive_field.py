"""Receptive fields against closed forms, and theory against what a gradient measures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import nets
from hubel.explain import receptive_field
from hubel.explain.receptive_field import Fields
from hubel.layers.sizes import field_of_view


def test_vgg16_is_that_of_the_literature():
    """13 convolutions of 3×3 and 4 poolings before the last: 196; each stage of n convolutions of 3 adds 2n strides, each pooling one."""
    net = nets.vgg(16, inputs=(3, 64, 64), outputs=2, hidden=4).eval()
    last = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d)][-1]
    stages = (2, 2, 3, 3)
    layers = [step for n in stages for step in [(3, 1)] * n + [(2, 2)]] + [(3, 1)] * 3
    found = receptive_field(net, last, inputs=(3, 64, 64), measure=False)
    assert found.size == (196, 196) == (field_of_view(layers),) * 2
    assert found.stride == (16, 16)


def test_resnet18_takes_the_longest_path():
    net = nets.resnet(18, inputs=(3, 64, 64), outputs=2).eval()
    block = [(3, 1), (3, 1)]
    down = [(3, 2), (3, 1)]
    layers = [(7, 2), (3, 2), *block, *block, *down, *block, *down, *block, *down, *block]
    found = receptive_field(net, "layer4", inputs=(3, 64, 64), measure=False)
    assert found.size == (435, 435) == (field_of_view(layers),) * 2
    assert found.stride == (32, 32)
    assert receptive_field(net, "layer1", inputs=(3, 64, 64), measure=False).size == (43, 43)


class Written(nn.Module):
    """Everything that hooks on modules do not see: functions, weights of its own, in place, reuse, concatenation, attributes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 1, 3, 3))
        self.conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.end = nn.Identity()

    def forward(self, x):
        x = F.conv2d(x, self.first, padding=1).relu_()
        y = self.conv(x)
        y += x
        y = self.conv(F.relu(y))
        z = torch.cat([y, x], dim=1)
        return self.end(F.max_pool2d(z, 2)[:, :4])


def sequence(*layers):
    """The layers with weights that are the same in every run, and the name of what stands behind them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    net = nn.Sequential(*layers, nn.Identity())
    return net.eval(), str(len(layers))


CASES = {
    "strides": (sequence(nn.Conv2d(1, 3, 5, 2, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, 2)), (1, 33, 41), 9),
    "dilated": (
        sequence(nn.Conv2d(1, 3, 3, dilation=3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)),
        (1, 40, 40),
        9,
    ),
    "pooled": (sequence(nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 2), nn.AvgPool2d(2), nn.ReLU6()), (1, 40, 40), 7),
    "transposed": (sequence(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 4, 2, 1)), (1, 19, 19), 4),
    "grouped": (
        sequence(nn.Conv2d(2, 4, 3, groups=2), nn.GELU(), nn.Conv2d(4, 4, 3, groups=4)),
        (2, 20, 20),
        5,
    ),
    "same": (sequence(nn.Conv2d(1, 1, 4, padding="same", dilation=2), nn.SiLU()), (1, 20, 20), 7),
    "written": ((Written().eval(), "end"), (1, 32, 32), 2 + 2 + 4 + 4),
    "volume": (sequence(nn.Conv3d(1, 2, 3), nn.MaxPool3d(2), nn.Conv3d(2, 1, 2)), (1, 16, 16, 16), 6),
}


@pytest.mark.parametrize("name", CASES)
def test_theory_agrees_with_the_gradient(name):
    (net, layer), inputs, size = CASES[name]
    found = receptive_field(net, layer, inputs=inputs, samples=4)
    assert set(found.size) == {size}
    assert found.measured == found.box
    assert found.effective.shape == inputs[1:] and np.isclose(found.effective.sum(), 1)
    outside = np.ones(inputs[1:], bool)
    outside[tuple(slice(a, b + 1) for a, b in found.box)] = False
    assert not found.effective[outside].any()


@pytest.mark.parametrize("position", [(0, 0), (3, 5), (9, 9)])
def test_every_position_has_its_own_box(position):
    """Against the gradient at that position, through adaptive pooling and padding of one side, which are not the same everywhere."""
    net = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 3, 2, padding=1), nn.AdaptiveAvgPool2d(10)
    ).eval()
    with torch.no_grad():
        net[1].weight.fill_(1.0)
    x = torch.ones(1, 1, 33, 33, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[(0, 0, *position)], x)
    seen = [np.flatnonzero(gradient[0, 0].sum(1 - axis).numpy()) for axis in (0, 1)]
    fields = Fields(net, "2", (1, 33, 33))
    assert fields.cut(fields.at(position)) == tuple((s[0], s[-1]) for s in seen)


def test_all_of_the_input_behind_a_linear_layer():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 3)).eval()
    found = receptive_field(net, "2", inputs=(1, 8, 8))
    assert found.size == (8, 8) and found.stride == (None, None)
    assert found.measured == ((0, 7), (0, 7))


def test_the_effective_field_is_smaller_than_the_theoretical():
    net, layer = sequence(*[nn.Conv2d(1 if k == 0 else 4, 4, 3, padding=1) for k in range(8)])
    found = receptive_field(net, layer, inputs=(1, 40, 40), samples=8)
    assert found.size == (17, 17)
    # squared weights spread as a random walk, by 2/3 a layer; their roots, the mean gradients, twice as far: 4 √(2 · 8 · 2/3) = 13.1
    assert all(abs(s - 13.1) < 2 for s in found.effective_size)


def test_wrong_input_is_told():
    net, _ = sequence(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"no layer 'conv9'.*There are: 0"):
        receptive_field(net, "conv9", inputs=(3, 8, 8))
    with pytest.raises(ValueError, match="shape of one example"):
        receptive_field(net, "0", inputs=(3, 0, 8))
    with pytest.raises(ValueError, match="expected at least 1 random input"):
        receptive_field(net, "0", inputs=(3, 8, 8), samples=0)

    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.end = nn.Identity()

        def forward(self, x):
            return self.end(torch.sort(x, dim=2).values)

    with pytest.raises(ValueError, match="not known which positions sort reads"):
        receptive_field(Strange().eval(), "end", inputs=(3, 8, 8))
