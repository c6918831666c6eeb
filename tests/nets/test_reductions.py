"""Sizes: what a layer makes of a side, and the least picture that a network takes, both against torch itself."""

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.layers.inverted_residual import SameConv2d
from hubel.nets.reductions import Reduction, Reductions

NETS = {
    "densenet": lambda inputs: nets.densenet(121, inputs=inputs, outputs=3),
    "mobilenet_v2": lambda inputs: nets.mobilenet_v2(0.35, inputs=inputs, outputs=3),
    "nasnet_mobile": lambda inputs: nets.nasnet_mobile(inputs, 3),
    "xception": lambda inputs: nets.xception(inputs, 3),
}
SMALLEST = {"densenet": 29, "mobilenet_v2": 17, "nasnet_mobile": 19, "xception": 23}
TOO_SMALL = {
    "densenet": "layer features.transition3 would get 1×1 positions, and it needs 2×2",
    "mobilenet_v2": "layer features.14 would get 1×1 positions, and it needs 2×2",
    "nasnet_mobile": "layer reduction_cell_1 would get 1×1 positions, and it needs 2×2",
    "xception": "layer block12 would get 1×1 positions, and it needs 2×2",
}


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(7, 2, 3), (3, 2, 1), (3, 2, 0), (3, 1, 0), (2, 2, 0)]
)
def test_positions_are_those_that_torch_makes(kernel, stride, padding):
    layer = Reduction("layer", kernel, stride, padding)
    for side in range(kernel, 20):
        made = F.conv2d(
            torch.zeros(1, 1, side, side), torch.zeros(1, 1, kernel, kernel), None, stride, padding
        )
        assert layer.after(side) == made.shape[2]
        same = SameConv2d(1, 1, kernel, stride)(torch.zeros(1, 1, side, side))
        assert Reduction("layer", kernel, stride, None).after(side) == same.shape[2]


def test_the_smallest_side_passes_every_layer_and_one_less_does_not():
    chain = Reductions("chain", Reduction("conv", 3, 2), Reduction("pool", 3, 2, None))
    assert chain.smallest == 5  # 5 → 2 → 1; 4 → 1, which can not be halved
    assert chain.shape((1, 5, 9)) == (1, 5, 9)
    with pytest.raises(
        ValueError,
        match=r"chain: images must be at least 5×5 pixels; received 9×4, of which layer pool would get 4×1",
    ):
        chain.shape((1, 9, 4))
    with pytest.raises(ValueError, match="layer conv would get 2×2 positions, and it needs 3×3"):
        chain.shape((1, 2, 2))


@pytest.mark.parametrize("name", NETS)
def test_the_smallest_pictures_are_taken_and_smaller_ones_refused_with_the_layer(name):
    side = SMALLEST[name]
    net = NETS[name]((1, side, side)).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 1, side, side)).shape == (2, 3)
        assert net(torch.zeros(1, 1, side + 20, side + 7)).shape == (1, 3)
    with pytest.raises(
        ValueError,
        match=f"at least {side}×{side} pixels; received {side - 1}×{side - 1}, of which {TOO_SMALL[name]}",
    ):
        NETS[name]((1, side - 1, side - 1))
    least = rf"expects images \[N, 1, H ≥ {side}, W ≥ {side}\]"
    with pytest.raises(
        ValueError,
        match=rf"{name}.* {least}; received \[2, 1, {side - 1}, {side - 1}\], of which {TOO_SMALL[name]}",
    ):
        net(torch.zeros(2, 1, side - 1, side - 1))
    with pytest.raises(ValueError, match=rf"{least}; received \[2, 3, 64, 64\]$"):
        net(torch.zeros(2, 3, 64, 64))
