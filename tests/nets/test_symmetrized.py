"""Symmetrized networks: invariance to every element of the group, and the group itself."""

import itertools

import pytest
import torch

from hubel import nets
from hubel.core import names
from hubel.nets.symmetrized import _as_before, _changed, _group

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


@pytest.mark.parametrize("size", [(32, 48), (24, 40)], ids=str)  # the second is continued to 32 x 48
@pytest.mark.parametrize("symmetries", [("flip_horizontal",), ("flip_horizontal", "flip_vertical")], ids=str)
def test_a_detector_finds_the_same_in_a_mirror(symmetries, size):
    torch.manual_seed(0)
    inside = nets.anchor_free(8, strides=(8, 16), inputs=(1, *size), outputs=3).double()
    net = nets.symmetrized(inside, symmetries).eval()
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    x = torch.nn.functional.pad(
        x, (0, 48 - size[1], 0, 32 - size[0])
    )  # so that the mirror image lies on places
    with torch.no_grad():
        found, alone, seen = net(x), inside(x), net(x.flip(3))
    torch.testing.assert_close(found[:, :, :4], alone[:, :, :4])  # the places themselves
    assert not torch.allclose(found[:, :, 4:], alone[:, :, 4:])
    by_hand = candidates_by_hand(seen, 48)
    for row in found[0]:
        place = (by_hand[0, :, :4] - row[:4]).abs().sum(1).argmin()
        torch.testing.assert_close(by_hand[0, place], row)


def candidates_by_hand(candidates, width):
    """Those of a mirror image, as the picture has them, in whatever order."""
    found = candidates.clone()
    for first in (0, 4):
        found[:, :, first], found[:, :, first + 2] = (
            width - candidates[:, :, first + 2],
            width - candidates[:, :, first],
        )
    return found


@pytest.mark.parametrize("change", _group(("rotate_90", "flip_horizontal")), ids=str)
def test_candidates_of_a_view_are_brought_back_to_their_places(change):
    """A detector that finds, at every place, the square of the place itself, and says which pixel it sees."""
    height, width, strides = 8, 16, (2, 4)
    x = torch.arange(float(height * width)).view(1, 1, height, width)
    view = _changed(x, change)
    candidates = torch.cat([squares_with_pixels(view, stride) for stride in strides], 1)
    expected = torch.cat([squares_with_pixels(x, stride) for stride in strides], 1)
    torch.testing.assert_close(_as_before(candidates, change, (height, width), strides), expected)


def squares_with_pixels(x, stride):
    rows = []
    for i in range(0, x.shape[2], stride):
        for j in range(0, x.shape[3], stride):
            square = [j, i, j + stride, i + stride]
            rows.append([*square, *square, x[0, 0, i : i + stride, j : j + stride].mean()])
    return torch.tensor([rows], dtype=torch.float32)


def test_other_detectors_are_refused():
    with pytest.raises(ValueError, match=r"YOLO.*do not lie at the same places.*Take anchor_free"):
        nets.symmetrized(nets.yolo(8, inputs=(1, 64, 64), outputs=2), ["flip_horizontal"])
