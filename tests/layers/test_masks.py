"""Masks, pooling and positions, each by its definition written out."""

import math

import pytest
import torch

from hubel.layers.masks import (
    allowed_pairs,
    at_last,
    causal_mask,
    mean_of_valid,
    valid_steps,
    without_padding,
)
from hubel.layers.positions import sinusoidal_positions

HOLES = torch.tensor([[True, False, True, False], [False, True, True, True], [False, False, False, True]])


def test_lengths_and_the_mask_that_they_mean():
    x = torch.zeros(3, 4, 2)
    mask = valid_steps(torch.tensor([4, 1, 2], dtype=torch.int32), x)
    assert mask.tolist() == [[True] * 4, [True, False, False, False], [True, True, False, False]]
    assert valid_steps(HOLES, x) is HOLES


@pytest.mark.parametrize(
    ("valid", "said"),
    [
        (torch.tensor([4, 0, 2]), "sequence 1 of the batch has 0 valid steps; expected 1 to 4"),
        (torch.tensor([4, 1, 5]), "sequence 2 of the batch has 5 valid steps"),
        (HOLES & torch.tensor([[True], [False], [True]]), "sequence 1 of the batch has 0 valid steps"),
        (torch.tensor([4, 1]), r"shape \[2\] and type int64; expected whole-number lengths \[3\]"),
        (torch.tensor([4.0, 1.0, 2.0]), "type float32"),
        (HOLES[:, :3], r"shape \[3, 3\] and type bool; expected .* yes/no mask \[3, 4\]"),
        (HOLES.long(), "expected whole-number lengths"),
        (torch.tensor([True, True, False]), r"shape \[3\] and type bool"),
    ],
)
def test_what_says_no_valid_steps_is_refused(valid, said):
    with pytest.raises(ValueError, match=said):
        valid_steps(valid, torch.zeros(3, 4, 2))


@pytest.mark.parametrize("causal", [False, True])
def test_allowed_pairs_step_by_step(causal):
    found = allowed_pairs(HOLES, causal=causal).expand(3, 1, 4, 4)
    for n in range(3):
        for i in range(4):
            for j in range(4):
                expected = (bool(HOLES[n, j]) and (j <= i or not causal)) or (causal and i == j)
                assert found[n, 0, i, j] == expected
    assert causal_mask(3).tolist() == [[j <= i for j in range(3)] for i in range(3)]


def test_pooling_reads_valid_steps_alone():
    x = torch.randn(3, 4, 2)
    x[~HOLES] = math.nan
    for row, last in enumerate([2, 3, 3]):
        assert torch.equal(at_last(x, HOLES)[row], x[row, last])
        torch.testing.assert_close(mean_of_valid(x, HOLES)[row], x[row][HOLES[row]].mean(0))
    whole = torch.randn(3, 4, 2)
    assert torch.equal(at_last(whole), whole[:, 3])
    assert torch.equal(mean_of_valid(whole), whole.mean(1))
    assert (without_padding(x, HOLES) == x.nan_to_num()).all()


@pytest.mark.parametrize(("length", "width"), [(1, 1), (7, 6), (40, 9)])
def test_positions_by_the_formula(length, width):
    received = sinusoidal_positions(length, width, dtype=torch.float64)
    assert received.shape == (length, width)
    for position in range(length):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert received[position, column].item() == pytest.approx(expected, abs=1e-12)


def test_a_product_of_positions_depends_on_their_distance_alone():
    p = sinusoidal_positions(30, 16, dtype=torch.float64)
    products = p @ p.T
    for distance in range(30):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert (products.diagonal(0) > products.diagonal(1).max()).all()
    assert sinusoidal_positions(3, 4, dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="must be positive; received length=0, width=4"):
        sinusoidal_positions(0, 4)
