import numpy as np
import pytest
import torch

from hubel.data import from_arrays
from hubel.data.augmentation import CropSteps, Draw, Jitter, ScaleValues, augmented
from hubel.data.batches import Batches
from hubel.data.preprocessing import scaling_of
from hubel.fitting.recipe import default_augmentation

STEPS = 40


def series(num=200):
    lengths = torch.randint(1, STEPS + 1, (num,), generator=torch.Generator().manual_seed(0))
    steps = torch.arange(1.0, STEPS + 1).view(1, -1, 1) + 100 * torch.arange(num).view(-1, 1, 1)
    x = torch.cat([steps, -steps], dim=2)
    return x.masked_fill((torch.arange(STEPS) >= lengths[:, None])[..., None], 0.0), lengths


def draw(lengths=None, step=0, num=200):
    return Draw(3, 1, step, torch.arange(num), lengths)


def test_a_crop_is_a_stretch_of_the_series_and_nothing_else():
    x, lengths = series()
    crop = CropSteps(least=0.5)
    out, new = augmented(x, [crop], draw(lengths))
    assert out.shape == x.shape
    assert (new >= (0.5 * lengths).floor().clamp_min(1)).all()
    assert (new <= lengths).all()
    firsts = []
    for row in range(len(x)):
        first = int(out[row, 0, 0] - x[row, 0, 0])
        firsts.append(first)
        assert torch.equal(out[row, : new[row]], x[row, first : first + new[row]])
        assert first + new[row] <= lengths[row]
        assert (out[row, new[row] :] == 0).all()
    assert len(set(firsts)) > 10
    assert torch.equal(augmented(x, [crop], draw(lengths))[0], out)
    assert not torch.equal(augmented(x, [crop], draw(lengths, step=1))[0], out)


def test_series_of_one_length_get_lengths_from_a_crop():
    x = torch.ones(50, STEPS, 1)
    out, lengths = augmented(x, [CropSteps(least=0.2)], draw(num=50))
    assert (out.sum((1, 2)) == lengths).all()
    assert lengths.min() >= 8
    assert len(lengths.unique()) > 10


def test_jitter_and_scale_leave_the_padding_zero():
    x, lengths = series()
    beyond = torch.arange(STEPS) >= lengths[:, None]
    for change in (Jitter(amount=0.3), ScaleValues(amount=0.5)):
        out = change(x, draw(lengths))
        assert (out[beyond] == 0).all()
        assert not torch.equal(out, x)
        assert torch.equal(out, change(x, draw(lengths)))
    noise = (Jitter(amount=0.3)(x, draw(lengths)) - x)[~beyond]
    assert abs(noise.std() - 0.3) < 0.01


def test_scale_multiplies_how_far_values_are_from_their_mean():
    x, lengths = series()
    out = ScaleValues(amount=0.5)(x, draw(lengths))
    for row in range(0, 200, 20):
        n = int(lengths[row])
        if n < 2:
            continue
        old, new = x[row, :n].double(), out[row, :n].double()
        torch.testing.assert_close(new.mean(0), old.mean(0), rtol=1e-4, atol=1e-2)
        factor = (new - new.mean(0)).std() / (old - old.mean(0)).std()
        assert 1 / 1.5 - 1e-3 <= factor <= 1.5 + 1e-3
    whole = torch.randn(5, STEPS, 2)
    assert torch.allclose(ScaleValues()(whole, draw(num=5)).mean(1), whole.mean(1), atol=1e-5)


def test_batches_tell_the_network_the_new_lengths():
    generator = np.random.default_rng(0)
    arrays = [generator.normal(3, 1, (int(n), 2)) for n in generator.integers(10, STEPS, 32)]
    data = from_arrays(arrays, np.arange(32) % 2)
    batches = Batches(
        data=data, scaling=scaling_of(data), batch_size=8, augmentation=(CropSteps(least=0.5), Jitter())
    )
    for batch in batches.epoch(1):
        assert (batch.lengths < torch.from_numpy(data.lengths)[batch.ids]).any()
        beyond = torch.arange(batch.inputs.shape[1]) >= batch.lengths[:, None]
        assert (batch.inputs[beyond] == 0).all()
        assert (batch.inputs[~beyond] != 0).all()
    plain = next(batches.in_order())
    assert plain.lengths.tolist() == data.lengths[:8].tolist()


def test_only_what_is_declared_is_changed():
    x, y = np.zeros((8, 5, 1), np.float32), np.arange(8) % 2
    assert default_augmentation(from_arrays(x, y, kind="series"), 10)[0] == ()
    declared = from_arrays(x, y, kind="series", symmetries=["jitter", "crop"])
    assert default_augmentation(declared, 10)[0] == (CropSteps(), Jitter())
    with pytest.raises(ValueError, match="least is 0"):
        CropSteps(least=0)
    for change in (CropSteps(), Jitter(), ScaleValues()):
        with pytest.raises(ValueError, match=r"changes series \[N, L, F\]; received \[4, 1, 8, 8\]"):
            change(torch.zeros(4, 1, 8, 8), draw(num=4))
