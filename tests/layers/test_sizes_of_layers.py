"""Sizes along one, two and three axes against torch's own convolutions and poolings."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from hubel.layers.sizes import output_size, output_sizes

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOLINGS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
SIDES = (9, 12, 7)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_and_poolings_have_these_sizes(axes):
    choices = itertools.product(((1, 2, 3), 2, 3), ((1, 2, 1), 2), ((0, 1, 1), 1), (1, 2))
    for kernel, stride, padding, dilation in choices:
        k, s, p = ((v[:axes] if isinstance(v, tuple) else v) for v in (kernel, stride, padding))
        inputs = SIDES[:axes]
        filters = torch.zeros(1, 1, *(k if isinstance(k, tuple) else (k,) * axes), device="meta")
        x = torch.zeros(1, 1, *inputs, device="meta")
        made = CONVOLUTIONS[axes](x, filters, None, s, p, dilation)
        assert output_sizes(inputs, k, stride=s, padding=p, dilation=dilation) == tuple(made.shape[2:])
    pooled = POOLINGS[axes](torch.zeros(1, 1, *SIDES[:axes]), 3, 2, 1)
    assert output_sizes(SIDES[:axes], 3, stride=2, padding=1) == tuple(pooled.shape[2:])


def test_one_axis_is_output_size():
    assert output_sizes((6,), 2, stride=2, padding=1) == (output_size(6, 2, stride=2, padding=1),) == (4,)


def test_the_wrong_number_of_entries_is_named():
    with pytest.raises(
        ValueError, match=r"kernel, padding must have one number, or one for each of the 2 axes of \(6, 6\)"
    ):
        output_sizes((6, 6), (3, 3, 3), padding=(1,))
