"""The numbers that enter a network, against NumPy in float64."""

import numpy as np
import pytest
import torch

from hubel.data import Dataset, from_arrays
from hubel.data.preprocessing import Scaling, scaling_of


def pictures(symmetries=(), num=40):
    rng = np.random.default_rng(0)
    sky = rng.integers(200, 20_000, size=(num, 2, 1, 1))
    x = (sky + rng.integers(0, 300, size=(num, 2, 6, 5))).astype(np.uint16)
    return from_arrays(x, np.arange(num) % 2, symmetries=symmetries)


def test_channels_have_mean_zero_and_deviation_one():
    data = pictures()
    scaled = scaling_of(data)(torch.from_numpy(np.array(data.inputs))).double()
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(2).double(), atol=1e-4)
    assert torch.allclose(scaled.std((0, 2, 3), correction=0), torch.ones(2).double(), atol=1e-4)


def test_a_declared_background_is_taken_off_every_picture():
    data = pictures(["background"])
    scaling = scaling_of(data)
    stored = np.asarray(data.inputs, np.float64)
    left = stored - stored.mean((2, 3), keepdims=True)
    wanted = (left - left.mean((0, 2, 3), keepdims=True)) / left.std((0, 2, 3), keepdims=True)
    scaled = scaling(torch.from_numpy(np.array(data.inputs)))
    assert np.allclose(scaled.numpy(), wanted, atol=2e-3)  # float32 of values near 20,000
    brighter = (data.inputs + np.uint16(777)).astype(np.uint16)
    assert np.allclose(scaling(torch.from_numpy(brighter)).numpy(), scaled.numpy(), atol=2e-3)
    above = scaling.invert(scaled)
    assert np.allclose(above.numpy(), left, atol=0.1)


def test_without_the_word_the_background_stays():
    data = pictures(["flip_horizontal"])
    scaling = scaling_of(data)
    assert scaling.background == "kept"
    first = scaling(torch.from_numpy(np.array(data.inputs[:1])))
    brighter = scaling(torch.from_numpy((data.inputs[:1] + np.uint16(777)).astype(np.uint16)))
    assert (brighter - first).min() > 0.01


def test_a_table_has_no_background():
    with pytest.raises(ValueError, match="only pictures"):
        Scaling(mean=(0.0,), std=(1.0,), dtype="float32", shape=(1,), background="subtracted")
    table = from_arrays(np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]), symmetries=["background"])
    assert scaling_of(table).background == "kept"


def test_features_of_sequences_have_mean_zero_and_deviation_one_over_examples_and_steps():
    x = np.random.default_rng(0).normal((5, -300), (1, 40), size=(30, 7, 2)).astype(np.float32)
    data = Dataset(inputs=x, targets=np.zeros(30))
    scaling = scaling_of(data)
    flat = x.reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(scaling.mean, flat.mean(0))
    np.testing.assert_allclose(scaling.std, flat.std(0))
    scaled = scaling(torch.from_numpy(x))
    np.testing.assert_allclose(scaled, ((flat - flat.mean(0)) / flat.std(0)).reshape(x.shape), atol=1e-5)
    torch.testing.assert_close(scaling.invert(scaled), torch.from_numpy(x), rtol=1e-5, atol=1e-3)
    with pytest.raises(ValueError, match=r"7 means and 7 deviations for inputs of shape \(7, 2\)"):
        Scaling(mean=(0.0,) * 7, std=(1.0,) * 7, dtype="float32", shape=(7, 2))
