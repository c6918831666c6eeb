"""Proposals: selective search against merging by brute force, windows against loops, recall by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from hubel.core.boxes import iou
from hubel.data import Dataset
from hubel.data.boxes import packed
from hubel.detection import Proposals, SelectiveSearch, SlidingWindow, labelled_crops, propose_all, warped
from hubel.detection.selective_search import COLOURS, DIRECTIONS, STRENGTHS, _merged


def silent(text):
    pass


def merged_by_brute_force(segments, channels):
    """The most alike neighbours become one, all computed from their pixels each time."""
    num_channels = channels.shape[2]
    bins = []
    for c in range(num_channels):
        colour = np.minimum((channels[..., c] * COLOURS).astype(int), COLOURS - 1)
        down, right = np.gradient(channels[..., c])
        strength = np.hypot(down, right)
        level = np.minimum((strength / strength.max() * STRENGTHS).astype(int), STRENGTHS - 1)
        turn = (np.mod(np.arctan2(down, right), 2 * np.pi) / (2 * np.pi) * DIRECTIONS).astype(
            int
        ) % DIRECTIONS
        bins += [(colour, COLOURS), (turn * STRENGTHS + level, DIRECTIONS * STRENGTHS)]
    masks = [segments == k for k in range(segments.max() + 1)]

    def box(mask):
        y, x = np.nonzero(mask)
        return [x.min(), y.min(), x.max() + 1, y.max() + 1]

    def touch(a, b):
        grown = np.zeros_like(a)
        grown[1:] |= a[:-1]
        grown[:-1] |= a[1:]
        grown[:, 1:] |= a[:, :-1]
        grown[:, :-1] |= a[:, 1:]
        return (grown & b).any()

    def alike(a, b):
        total = 0.0
        for values, num in bins:
            one, other = (np.bincount(values[m], minlength=num) / m.sum() for m in (a, b))
            total += np.minimum(one, other).sum() / num_channels
        x0, y0, x1, y1 = box(a | b)
        size = a.sum() + b.sum()
        return total + (1 - size / segments.size) + (1 - ((x1 - x0) * (y1 - y0) - size) / segments.size)

    found = [box(mask) for mask in masks]
    while len(masks) > 1:
        pairs = [(i, j) for i in range(len(masks)) for j in range(i) if touch(masks[i], masks[j])]
        i, j = max(pairs, key=lambda pair: alike(masks[pair[0]], masks[pair[1]]))
        both = masks[i] | masks[j]
        masks = [mask for k, mask in enumerate(masks) if k not in (i, j)] + [both]
        found.append(box(both))
    return np.array(found)[::-1]


@pytest.mark.parametrize("seed", range(3))
def test_merging_is_that_of_brute_force(seed):
    draw = np.random.default_rng(seed)
    coarse = draw.permutation(20).reshape(4, 5)
    segments = np.kron(coarse, np.ones((6, 7), int))
    channels = np.clip(
        np.kron(draw.random((4, 5, 2)), np.ones((6, 7, 1))) + 0.1 * draw.random((24, 35, 2)), 0, 1
    )
    found = _merged(segments, channels)
    assert len(found) == 2 * 20 - 1
    assert np.array_equal(found[0], [0, 0, 35, 24])
    assert np.array_equal(found[:19], merged_by_brute_force(segments, channels)[:19])
    assert {tuple(box) for box in found[19:]} == {
        (7.0 * x, 6.0 * y, 7.0 * x + 7, 6.0 * y + 6) for x in range(5) for y in range(4)
    }


def scene(channels=1):
    picture = np.random.default_rng(0).normal(0.2, 0.02, (channels, 60, 80))
    picture[:, 10:30, 15:40] += 0.5
    picture[:, 35:55, 50:70] += 0.25
    return picture


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_objects_on_a_ground_are_proposed_whatever_the_units(channels):
    search = SelectiveSearch(scales=(100.0,))
    found = search(scene(channels))
    assert found.dtype == np.float32 and len(np.unique(found, axis=0)) == len(found)
    best = iou(torch.tensor([[15.0, 10, 40, 30], [50, 35, 70, 55]])[:, None], torch.from_numpy(found)).amax(1)
    assert best.min() > 0.9
    assert np.array_equal(search(1000 * scene(channels) - 7), found)
    assert ((found[:, 2:] - found[:, :2]) >= 6).all()
    assert np.array_equal(SelectiveSearch(scales=(100.0,), most=2)(scene(channels)), found[:2])


def test_pictures_of_one_value_and_wrong_ones():
    assert SelectiveSearch()(np.full((1, 20, 30), 7)).tolist() == [[0, 0, 30, 20]]
    with pytest.raises(ValueError, match=r"expected \[C, H, W\]"):
        SelectiveSearch()(np.zeros((20, 30)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        SelectiveSearch()(np.full((1, 20, 30), np.nan))
    with pytest.raises(ValueError, match="scales above 0"):
        SelectiveSearch(scales=(0.0,))
    with pytest.raises(ValueError, match="most is 0"):
        SelectiveSearch(most=0)


def test_windows_are_at_every_place_and_reach_the_edges():
    windows = SlidingWindow(((16, 12), (200, 30)), step=0.5)(np.zeros((3, 40, 64)))
    expected = [[x, y, x + 16, y + 12] for y in np.linspace(0, 28, 6) for x in range(0, 49, 8)]
    expected += [[0, 0, 64, 30], [0, 10, 64, 40]]
    np.testing.assert_allclose(windows, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="step is 0"):
        SlidingWindow(((16, 16),), step=0)


def test_recall_counts_objects_that_a_proposal_overlaps():
    objects = packed(
        [
            np.array([[0, 0, 10, 10, 0, 0], [20, 0, 30, 10, 1, 0], [40, 40, 50, 50, 0, 1]]),
            np.array([[5, 5, 15, 15, 0, 0]]),
            np.zeros((0, 6)),
        ]
    )
    made = Proposals(
        boxes=(np.array([[0, 0, 10, 6], [20, 0, 30, 10.0]]), np.zeros((0, 4)), np.ones((1, 4))), seconds=0.1
    )
    assert made.recall(objects) == pytest.approx(2 / 3)
    assert made.recall(objects, 0.7) == pytest.approx(1 / 3)
    assert np.isnan(made.recall(np.zeros((3, 0, 6))))
    assert made.padded(2)[0].tolist() == [[0, 0, 10, 6], [20, 0, 30, 10]]
    assert made.padded(3)[1].abs().sum() == 0
    with pytest.raises(ValueError, match="3 pictures and objects of 2"):
        made.recall(objects[:2])


def test_the_recall_is_said_and_wrong_proposals_are_named():
    said = []
    objects = packed([np.array([[0, 0, 10, 10, 0, 0], [20, 0, 30, 10, 1, 0]])])
    propose_all(
        np.zeros((1, 1, 32, 32)),
        lambda picture: np.array([[0, 0, 10, 6.0]]),
        objects=objects,
        say=said.append,
    )
    assert "50.0 % by 0.5, 0.0 % by 0.7" in said[0] and said[0].startswith("1 proposals a picture")
    with pytest.raises(ValueError, match=r"picture 0 have shape \[3\]"):
        propose_all(np.zeros((1, 1, 32, 32)), lambda picture: np.zeros(3))


def test_crops_are_interpolated_linearly():
    draw = np.random.default_rng(0)
    picture, boxes = draw.random((2, 30, 40)), np.array([[3.5, 4, 20, 17], [-5, 10, 8, 36], [0, 0, 40, 30.0]])
    found = warped(torch.from_numpy(picture), torch.from_numpy(boxes), (6, 9), context=0.1)
    assert found.shape == (3, 2, 6, 9)
    for crop, (x0, y0, x1, y1) in zip(found.numpy(), boxes, strict=True):
        wide, high = 1.2 * (x1 - x0), 1.2 * (y1 - y0)
        x = (x0 + x1) / 2 - wide / 2 + (np.arange(9) + 0.5) / 9 * wide - 0.5
        y = (y0 + y1) / 2 - high / 2 + (np.arange(6) + 0.5) / 6 * high - 0.5
        at = np.meshgrid(y, x, indexing="ij")
        for channel in range(2):
            expected = map_coordinates(picture[channel], at, order=1, mode="nearest")
            np.testing.assert_allclose(crop[channel], expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"expected \[C, H, W\] and \[n, 4\]"):
        warped(torch.zeros(30, 40), torch.zeros(1, 4), (4, 4))


def test_crops_are_labelled_by_what_they_overlap():
    """Each picture's values tell where a crop comes from."""
    y, x = np.mgrid[:32, :32].astype(np.float32)
    pictures = np.stack([np.stack([x, y])] * 2)
    boxes = packed(
        [np.array([[0, 0, 16, 16, 1, 0], [16, 16, 32, 32, 0, 1]]), np.array([[8, 8, 24, 24, 0, 0]])]
    )
    data = Dataset(inputs=pictures, targets=boxes, classes=("a", "b"), name="plane")
    made = propose_all(pictures, SlidingWindow(((16, 16),), step=0.125), say=silent)
    crops = labelled_crops(data, made, (4, 4), per_object=3, per_picture=5, context=0.0)
    assert crops.classes == ("a", "b", "background")
    centres = np.asarray(crops.inputs)[:, :, 1:3, 1:3].mean((2, 3)) + 0.5
    for centre, label, parent in zip(centres, crops.targets, crops.groups, strict=True):
        crop = torch.tensor([*(centre - 8), *(centre + 8)]).float()
        overlaps = [float(iou(crop, torch.from_numpy(row[:4]))) for row in boxes[parent] if row[4] >= 0]
        if label == 2:
            assert max(overlaps) < 0.3
        else:
            best = int(np.argmax(overlaps))
            assert overlaps[best] >= 0.6 and boxes[parent, best, 4] == label and not boxes[parent, best, 5]
    assert np.bincount(crops.targets).tolist() == [4, 4, 10]
    with pytest.raises(ValueError, match="has no boxes"):
        labelled_crops(Dataset(inputs=pictures, targets=np.array([0, 1])), made, (4, 4))
    with pytest.raises(ValueError, match="proposals for 2 pictures, but plane has 1"):
        labelled_crops(data.select([0]), made, (4, 4))
