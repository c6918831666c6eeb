"""Batches: what an epoch holds, in which order, in which type; scaling against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data import Dataset
from hubel.data.augmentation import Flip, Mixup, Shift
from hubel.data.batches import Batches
from hubel.data.preprocessing import Scaling, scaling_of


def dataset(num=50, shape=(2, 5, 4), dtype="uint8", seed=0):
    generator = np.random.default_rng(seed)
    high = {"uint8": 256, "uint16": 65536, "int16": 3000, "int32": 2**20, "uint32": 2**32, "int8": 127}.get(
        dtype
    )
    x = (
        generator.normal(size=(num, *shape))
        if high is None
        else generator.integers(0, high, (num, *shape), dtype=np.int64)
    )
    return Dataset(
        inputs=x.astype(dtype),
        targets=generator.integers(0, 3, num).astype(np.int64),
        classes=("a", "b", "c"),
    )


@given(num=st.integers(1, 40), size=st.integers(1, 17), epoch=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_an_epoch_holds_every_example_and_only_full_batches(num, size, epoch):
    batches = Batches(data=dataset(num), scaling=scaling_of(dataset(num)), batch_size=size)
    seen = [batch.ids for batch in batches.epoch(epoch)]
    assert len(seen) == batches.steps_per_epoch
    assert all(len(ids) == min(size, num) for ids in seen)
    assert set(torch.cat(seen).tolist()) == set(range(num))


def test_order_is_a_function_of_seed_and_epoch_and_starts_anywhere():
    data = dataset()
    batches = Batches(
        data=data, scaling=scaling_of(data), batch_size=8, seed=3, augmentation=(Flip(), Shift(pixels=1))
    )
    again = Batches(
        data=data, scaling=scaling_of(data), batch_size=8, seed=3, augmentation=(Flip(), Shift(pixels=1))
    )
    whole = list(batches.epoch(2))
    rest = list(again.epoch(2, start=4))
    for late, one in zip(rest, whole[4:], strict=True):
        assert torch.equal(late.inputs, one.inputs)
        assert torch.equal(late.ids, one.ids)
    assert not torch.equal(whole[0].ids, next(batches.epoch(3)).ids)
    other = Batches(data=data, scaling=scaling_of(data), batch_size=8, seed=4)
    assert not torch.equal(whole[0].ids, next(other.epoch(2)).ids)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
)
def test_scaled_values_are_those_of_numpy_whatever_is_stored(dtype):
    data = dataset(num=60, dtype=dtype)
    scaling = scaling_of(data)
    values = data.inputs.astype(np.float64)
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3))
    assert np.allclose(scaling.mean, mean)
    assert np.allclose(scaling.std, std)
    (batch,) = Batches(data=data, scaling=scaling, batch_size=60).in_order()
    tolerance = 1e-3 if dtype == "float16" else 1e-5
    expected = (values - mean[:, None, None]) / std[:, None, None]
    assert np.allclose(batch.inputs.numpy(), expected, atol=tolerance)
    assert torch.allclose(
        scaling.invert(batch.inputs.double()), torch.from_numpy(values), rtol=1e-5, atol=1e-6 * max(std)
    )


def test_mixup_makes_probabilities_of_class_numbers_in_training_only():
    data = dataset()
    batches = Batches(
        data=data, scaling=scaling_of(data), batch_size=8, augmentation=(Flip(), Mixup(alpha=1.0))
    )
    batch = next(batches.epoch(1))
    assert batch.targets.shape == (8, 3) and torch.allclose(batch.targets.sum(1), torch.ones(8))
    assert torch.equal(batch.targets, next(batches.epoch(1)).targets)
    assert next(batches.in_order()).targets.dtype == torch.int64


def test_one_example_reads_the_same_alone_and_in_a_batch_bit_by_bit():
    data = dataset(dtype="uint16")
    scaling = scaling_of(data)
    batches = Batches(data=data, scaling=scaling, batch_size=50)
    (together,) = batches.in_order()
    alone = [b.inputs for b in batches.in_order(1)]
    assert torch.equal(torch.cat(alone), together.inputs)


def test_a_constant_channel_becomes_zero():
    data = dataset()
    data.inputs[:, 1] = 7
    (batch,) = Batches(data=data, scaling=scaling_of(data), batch_size=50).in_order()
    assert torch.equal(batch.inputs[:, 1], torch.zeros(50, 5, 4))


def test_large_offsets_do_not_cancel():
    data = dataset(dtype="float64")
    shifted = Dataset(inputs=data.inputs + 1e9, targets=data.targets, classes=data.classes)
    assert np.allclose(scaling_of(shifted).std, scaling_of(data).std, rtol=1e-5)


def test_memory_mapped_and_resident_batches_are_equal(tmp_path):
    data = dataset(dtype="uint16")
    np.save(tmp_path / "x.npy", data.inputs)
    mapped = Dataset(
        inputs=np.load(tmp_path / "x.npy", mmap_mode="r"), targets=data.targets, classes=data.classes
    )
    scaling = scaling_of(data)
    assert scaling_of(mapped) == scaling
    pairs = zip(
        Batches(data=data, scaling=scaling, batch_size=7).epoch(1),
        Batches(data=mapped, scaling=scaling, batch_size=7).epoch(1),
        strict=True,
    )
    for resident, read in pairs:
        assert torch.equal(resident.inputs, read.inputs)
        assert torch.equal(resident.targets, read.targets)


def test_layouts():
    data = dataset()
    scaling = scaling_of(data)
    last = next(Batches(data=data, scaling=scaling, batch_size=8, layout="channels_last").epoch(1))
    plain = next(Batches(data=data, scaling=scaling, batch_size=8).epoch(1))
    assert last.inputs.is_contiguous(memory_format=torch.channels_last)
    assert plain.inputs.is_contiguous()
    assert torch.equal(last.inputs, plain.inputs)


def test_example_weights_travel():
    data = dataset()
    weighted = Dataset(
        inputs=data.inputs, targets=data.targets, classes=data.classes, weights=np.arange(50.0)
    )
    batch = next(Batches(data=weighted, scaling=scaling_of(data), batch_size=8).epoch(1))
    assert torch.equal(batch.weights, batch.ids.float())


def test_refusals():
    data = dataset()
    scaling = scaling_of(data)
    with pytest.raises(ValueError, match="no examples"):
        Batches(data=data.select([]), scaling=scaling, batch_size=8)
    with pytest.raises(ValueError, match="batch_size is 0"):
        Batches(data=data, scaling=scaling, batch_size=0)
    with pytest.raises(ValueError, match=r"fitted on \(2, 5, 4\)"):
        scaling(torch.zeros(1, 2, 4, 5))
    with pytest.raises(ValueError, match="training part is empty"):
        scaling_of(data.select([]))
    broken = dataset(dtype="float32")
    broken.inputs[3, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"channels \[1\] .* NaN"):
        scaling_of(broken)


def test_scaling_prints_and_compares_as_a_value():
    assert Scaling(mean=(0.0,), std=(1.0,), dtype="uint8", shape=(1, 2, 2)) == Scaling(
        mean=(0.0,), std=(1.0,), dtype="uint8", shape=(1, 2, 2)
    )


@pytest.mark.parametrize("mapped", [False, True])
def test_a_view_is_the_selection_without_a_copy(tmp_path, mapped):
    data = dataset(dtype="uint16")
    rows = np.array([40, 3, 17, 3, 29, 8, 11])
    if mapped:
        np.save(tmp_path / "x.npy", data.inputs)
        inputs = np.load(tmp_path / "x.npy", mmap_mode="r")
        data = Dataset(inputs=inputs, targets=data.targets, classes=data.classes)
    view, copy = data.view(rows), data.select(rows)
    assert view.inputs.whole is data.inputs
    assert np.array_equal(np.asarray(view.inputs), copy.inputs)
    assert np.array_equal(view.view([1, 4]).inputs[:], copy.inputs[[1, 4]])
    assert view.fingerprint == copy.fingerprint
    scaling = scaling_of(view)
    assert scaling == scaling_of(copy)
    pairs = zip(
        Batches(data=view, scaling=scaling, batch_size=3).epoch(1),
        Batches(data=copy, scaling=scaling, batch_size=3).epoch(1),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
        assert one.ids.tolist() == rows[other.ids].tolist(), "ids are rows of the whole dataset"
