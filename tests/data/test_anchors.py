"""Anchors: sizes found again, against the best of all choices, and bad input."""

import itertools

import numpy as np
import pytest
import torch

from hubel.core.boxes import pairwise
from hubel.data import anchors_of
from hubel.data.anchors import overlaps_of_sizes
from hubel.data.boxes import packed


def boxes_of(sizes, ignored=0):
    corner = np.random.default_rng(1).uniform(0, 50, (len(sizes), 2))
    return packed(
        [
            np.concatenate(
                [corner, corner + sizes, np.zeros((len(sizes), 1)), np.full((len(sizes), 1), ignored)], 1
            )
        ]
    )


def test_overlaps_are_those_of_boxes_about_one_centre():
    draw = np.random.default_rng(0)
    sizes, others = draw.uniform(1, 30, (6, 2)), draw.uniform(1, 30, (4, 2))
    expected = pairwise(*[torch.from_numpy(np.concatenate([-s / 2, s / 2], 1)) for s in (sizes, others)])
    np.testing.assert_allclose(overlaps_of_sizes(sizes, others), expected.numpy())


def test_clusters_are_found_again_whatever_their_sizes():
    draw = np.random.default_rng(0)
    true = np.array([[6.0, 12], [30, 14], [90, 120]])
    sizes = np.repeat(true, [40, 30, 20], axis=0) * np.exp(0.08 * draw.standard_normal((90, 2)))
    found = anchors_of(boxes_of(sizes), 3)
    np.testing.assert_allclose(found.sizes, true, rtol=0.06)
    assert found.assigned == (40, 30, 20)
    assert found.coverage == pytest.approx(
        overlaps_of_sizes(sizes, np.array(found.sizes)).max(1).mean(), abs=1e-6
    )
    assert found == anchors_of(boxes_of(sizes), 3)


def test_the_coverage_is_near_that_of_the_best_objects_taken_as_anchors():
    sizes = np.random.default_rng(3).uniform(5, 60, (24, 2))
    overlaps = overlaps_of_sizes(sizes, sizes)
    best = max(overlaps[:, list(chosen)].max(1).mean() for chosen in itertools.combinations(range(24), 3))
    assert anchors_of(boxes_of(sizes), 3).coverage > best - 0.01


def test_too_few_sizes_and_ignored_objects():
    sizes = np.array([[4.0, 5], [4, 5], [8, 9]])
    corner = np.zeros((3, 2))
    same = packed([np.concatenate([corner, sizes, np.zeros((3, 2))], 1)])
    with pytest.raises(
        ValueError, match="3 anchors were asked for, but the 3 objects that count have 2 different sizes"
    ):
        anchors_of(same, 3)
    with pytest.raises(ValueError, match="0 objects that count"):
        anchors_of(boxes_of(sizes, ignored=1), 1)
    with pytest.raises(ValueError, match="0 anchors"):
        anchors_of(same, 0)
