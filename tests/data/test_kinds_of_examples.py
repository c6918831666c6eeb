"""Series with their lengths, symbols with their alphabet, inputs as their own targets: views, scaling, batches."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.data import Dataset, from_arrays
from hubel.data.batches import Batches
from hubel.data.preprocessing import scaling_of
from hubel.fitting import Precision
from hubel.fitting.run import outputs_of
from hubel.nets import recurrent
from hubel.objectives import CrossEntropy, check


def series(num=7, steps=5, features=2, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, steps + 1, num)
    inputs = rng.normal(3.0, 2.0, (num, steps, features)) * (np.arange(steps) < lengths[:, None])[..., None]
    return Dataset(inputs=inputs, targets=np.arange(num) % 2, classes=("a", "b"), lengths=lengths)


def pictures():
    values = np.arange(5 * 16, dtype=np.uint8).reshape(5, 1, 4, 4)
    return Dataset(inputs=values, targets=np.array([0, 1, 0, 1, 1]), classes=("a", "b"))


def test_scaling_of_series_counts_only_the_steps_that_there_are():
    data = series()
    steps = np.concatenate([row[:n] for row, n in zip(data.inputs, data.lengths, strict=True)])
    scaling = scaling_of(data)
    np.testing.assert_allclose(scaling.mean, steps.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, steps.std(0), rtol=1e-12)


def test_batches_of_series_bring_their_lengths_and_zeros_beyond_them():
    data = series().view([6, 2, 4, 0])
    batches = Batches(data=data, scaling=scaling_of(data), batch_size=2)
    for batch in [*batches.in_order(), *batches.epoch(1)]:
        assert batch.lengths is not None
        rows = batch.ids.tolist()
        assert batch.lengths.tolist() == [int(series().lengths[row]) for row in rows]
        beyond = torch.arange(5) >= batch.lengths.unsqueeze(1)
        assert (batch.inputs[beyond] == 0).all()
        assert (batch.inputs[~beyond] != 0).all()


def test_a_network_sees_the_same_of_a_series_however_it_is_padded():
    data = series()
    net, scaling = recurrent("gru", 4, inputs=2, outputs=2).eval(), scaling_of(data)
    together = outputs_of(net, scaling, Precision(), data.inputs, torch.device("cpu"), lengths=data.lengths)
    for row, length in enumerate(data.lengths):
        alone = data.inputs[row : row + 1, :length]
        one = outputs_of(net, scaling, Precision(), alone, torch.device("cpu"), lengths=[length])
        torch.testing.assert_close(one[0], together[row])


@pytest.mark.parametrize("lengths", [[0, 1], [1, 6], [1.0, 2.0]])
def test_lengths_that_can_not_be_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths run from"):
        Dataset(inputs=np.zeros((2, 5, 1)), targets=np.zeros((2, 1)), lengths=np.array(lengths))


def test_a_network_that_takes_no_lengths_is_refused_with_the_remedy():
    data = series()
    batch = next(Batches(data=data, scaling=scaling_of(data), batch_size=7).in_order())
    with pytest.raises(ContractError, match="let forward take both"):
        check(nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), CrossEntropy(2), batch)
    check(recurrent("gru", 4, inputs=2, outputs=2), CrossEntropy(2), batch)


def test_symbols_are_not_scaled():
    inputs = np.array([[0, 255, 3], [2, 1, 0]], np.uint8)
    data = Dataset(inputs=inputs, targets=inputs, alphabet=tuple(map(str, range(256))))
    assert data.kind == "symbols"
    batch = next(Batches(data=data, scaling=scaling_of(data), batch_size=2).in_order())
    assert batch.inputs.dtype == torch.int64
    assert batch.inputs.tolist() == inputs.tolist()


def test_inputs_that_are_their_own_targets_stay_so_in_parts():
    data = pictures().as_its_own_target()
    assert data.labels.tolist() == ["a", "b", "a", "b", "b"]
    for part in (data.view([3, 1]), data.select([3, 1]), data.view([0, 3, 1]).view([1, 2])):
        assert part.is_its_own_target
        assert part.labels.tolist() == ["b", "b"]
        np.testing.assert_array_equal(np.asarray(part.targets), data.inputs[[3, 1]])
    batches = Batches(data=data.view([3, 1]), scaling=scaling_of(data), batch_size=2)
    np.testing.assert_array_equal(next(batches.in_order()).targets.numpy(), data.inputs[[3, 1]])
    assert data.fingerprint != pictures().fingerprint


def test_the_kind_follows_from_the_axes():
    kinds = {(3,): "features", (5, 3): "series", (1, 4, 4): "pictures", (1, 4, 4, 4): "volumes"}
    for shape, kind in kinds.items():
        assert Dataset(inputs=np.zeros((2, *shape)), targets=np.zeros((2, 1))).kind == kind
    with pytest.raises(ValueError, match="inputs of shape"):
        _ = Dataset(inputs=np.zeros(2), targets=np.zeros((2, 1))).kind


def test_arguments_of_a_network():
    x, lengths = torch.zeros(2, 3, 1), torch.tensor([1, 3])
    assert Batch(inputs=x, targets=x).arguments == (x,)
    assert Batch(inputs=x, targets=x, lengths=lengths).arguments == (x, lengths)


def test_scaling_of_films_counts_only_the_pictures_that_there_are():
    rng = np.random.default_rng(1)
    films = [rng.normal((5.0, -3.0), (2.0, 0.5), (n, 4, 3, 2)).transpose(0, 3, 1, 2) for n in (2, 5, 3, 1)]
    data = from_arrays(films, [0, 1, 0, 1], kind="image series")
    pictures = np.concatenate(films)
    scaling = scaling_of(data)
    np.testing.assert_allclose(scaling.mean, pictures.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(scaling.std, pictures.std((0, 2, 3)), rtol=1e-12)
    scaled = scaling(torch.from_numpy(data.inputs), torch.from_numpy(data.lengths))
    assert (scaled[0, 2:] == 0).all()
    np.testing.assert_allclose(
        scaled[1].mean((0, 2, 3)), ((films[1].mean((0, 2, 3)) - scaling.mean) / scaling.std), atol=1e-5
    )
