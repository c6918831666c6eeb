"""Every network says which layer an input of the wrong size is too small for, and `shape_check` says it of any module."""

import re

import pytest
import torch
from test_contract import CASES, OF_ANY_SHAPE
from torch import nn

from hubel import nets

MAKERS = {
    f"{name}{list(variant.values()) or ''}": (name, variant)
    for name, variant in CASES
    if name not in (*OF_ANY_SHAPE, "symmetrized")
}
FULL = {"vision_transformer": (1, 32, 32)}


def trial(name, variant, side):
    with torch.device("meta"):
        net = getattr(nets, name)(**variant, inputs=(1, side, side), outputs=3).eval()
        return net(torch.zeros(2, 1, side, side))


@pytest.mark.parametrize("side", [1, 7, 16])
@pytest.mark.parametrize(("name", "variant"), MAKERS.values(), ids=MAKERS)
def test_a_small_size_works_or_the_layer_is_named_with_its_sizes(name, variant, side):
    try:
        assert trial(name, variant, side).shape == (2, 3)
    except ValueError as error:
        said = str(error)
        assert name in said, said
        assert f"{side}×{side}" in said, said
        if name in ("compact", "enet", "self_explaining", "unet"):  # which shrink as little as they must
            assert re.search(r"at least \d+×\d+", said), said
        else:
            assert re.search(r"layer \S.* \d+×\d+", said), said


@pytest.mark.parametrize(
    ("make", "layer", "sizes"),
    [
        (nets.lenet, "c5", "16×5×5 positions"),
        (nets.simple_cnn, "fc", "5×5 positions"),
        (nets.strided_cnn, "fc1", "14×14 positions"),
    ],
)
def test_networks_that_read_every_position_say_how_many_they_were_made_for(make, layer, sizes):
    net = make()
    channels, height, width = net.inputs
    with pytest.raises(
        ValueError,
        match=rf"received \[2, {channels}, {height + 8}, {width}\], of which layer {layer} would get .*made for",
    ):
        net(torch.zeros(2, channels, height + 8, width))


def test_the_wrong_number_of_values_is_named_by_the_mlp_and_the_perceptron():
    for net in (nets.mlp((4,), inputs=(1, 8, 8), outputs=2), nets.perceptron((1, 8, 8), 2)):
        with pytest.raises(ValueError, match=r"layer.* would get 81 values, and it was made for 64"):
            net(torch.zeros(2, 1, 9, 9))


def toy():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.MaxPool2d(3), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 2)
    )


def test_shape_check_lists_what_every_layer_makes():
    shapes = nets.shape_check(toy(), (3, 16, 16))
    assert [(s.layer, s.given, s.answered) for s in shapes] == [
        ("0", (3, 16, 16), (8, 12, 12)),
        ("1", (8, 12, 12), (8, 4, 4)),
        ("2", (8, 4, 4), (4, 2, 2)),
        ("4", (16,), (2,)),
    ]
    net = nets.resnet(18, inputs=(3, 64, 64), outputs=5)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    found = nets.shape_check(net, (3, 64, 64))
    assert found[-1].answered == (5,)
    assert all(
        torch.equal(value, weights[name]) for name, value in net.state_dict().items()
    )  # nothing was changed


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((3, 32, 32), r"3×32×32 do not fit: layer 4 \(Linear\) would get 196, and it was made for 16"),
        ((3, 9, 9), r"layer 2 \(Conv2d\) would get 8×1×1: .*[Kk]ernel size"),
        ((1, 16, 16), r"layer 0 \(Conv2d\) would get 1×16×16, and it was made for 3 channels"),
    ],
)
def test_shape_check_names_the_layer_and_the_sizes(inputs, message):
    with pytest.raises(ValueError, match=message):
        nets.shape_check(toy(), inputs)


class FailsItself(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x).view(len(x), 2, 7)


def test_a_layer_that_worked_is_not_blamed():
    with pytest.raises(
        ValueError,
        match=r"examples of 1×5×5 do not fit: layer of the network \(FailsItself\) would get 1×5×5: shape",
    ):
        nets.shape_check(FailsItself(), (1, 5, 5))


def test_shape_check_passes_on_what_our_networks_say_themselves():
    with pytest.raises(
        ValueError,
        match=r"resnet\(18\) expects images .*received \[2, 3, 9, 9\], of which layer layer4\.0 would get",
    ):
        nets.shape_check(nets.resnet(18, inputs=(3, 64, 64), outputs=5), (3, 9, 9))
