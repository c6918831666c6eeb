"""Symmetrized networks: invariance to every element of the group, and the group itself."""

import itertools

import pytest
import torch

from hubel import nets
from hubel.core import names
from hubel.nets.symmetrized import _changed, _group

SETS = [
    (chosen, size)
    for chosen, size in [
        (("flip_horizontal",), 2),
        (("flip_vertical",), 2),
        (("flip_horizontal", "flip_vertical"), 4),
        (("rotate_90",), 4),
        (("rotate_90", "flip_vertical"), 8),
        (("flip_vertical", "rotate_90", "flip_horizontal"), 8),
    ]
]


@pytest.mark.parametrize(("symmetries", "size"), SETS)
def test_is_a_group_of_the_right_size(symmetries, size):
    picture = torch.arange(9.0).view(1, 1, 3, 3)
    group = _group(symmetries)
    seen = {tuple(_changed(picture, change).flatten().tolist()) for change in group}
    assert len(group) == len(seen) == size
    for one, other in itertools.product(group, group):
        assert tuple(_changed(_changed(picture, one), other).flatten().tolist()) in seen


@pytest.mark.parametrize(("symmetries", "size"), SETS)
def test_answers_alike_in_eval_and_is_the_network_inside_in_training(symmetries, size):
    torch.manual_seed(0)
    inside = nets.compact(16, inputs=(2, 12, 12), outputs=3)
    net = nets.symmetrized(inside, symmetries).double()
    x = torch.randn(4, 2, 12, 12, dtype=torch.float64)
    net.eval()
    with torch.no_grad():
        scores = net(x)
        for change in _group(symmetries):
            torch.testing.assert_close(net(_changed(x, change)), scores)
        mean = torch.stack([inside(_changed(x, change)) for change in _group(symmetries)]).mean(0)
        torch.testing.assert_close(scores, mean)
        assert not torch.allclose(inside(x), scores)
    net.train()
    twin = nets.compact(16, inputs=(2, 12, 12), outputs=3).double().train()
    twin.load_state_dict(inside.state_dict())
    torch.testing.assert_close(net(x), twin(x))


def test_is_made_again_by_name():
    net = nets.symmetrized(nets.compact(16, inputs=(2, 12, 12), outputs=3), ["rotate_90"])
    again = names.rebuild_net(net.made_by.name, dict(net.made_by.arguments))
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 2, 12, 12)
    assert torch.equal(again.eval()(x), net.eval()(x))


def test_refusals():
    inside = nets.compact(16, inputs=(2, 12, 14), outputs=3)
    with pytest.raises(ValueError, match="expected some of flip_horizontal"):
        nets.symmetrized(inside, ["shift"])
    with pytest.raises(ValueError, match="expected some of"):
        nets.symmetrized(inside, [])
    with pytest.raises(ValueError, match="square"):
        nets.symmetrized(inside, ["rotate_90"])
    with pytest.raises(ValueError, match="leave them out"):
        nets.symmetrized(inside, ["flip_vertical"], outputs=3)
