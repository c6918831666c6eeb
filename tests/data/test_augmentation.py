"""Augmentations against definitions written out by hand, and the properties that all of them share."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from hubel.core.layout import arranged
from hubel.data import augmentation
from hubel.data.augmentation import (
    Affine,
    Brightness,
    Colour,
    Contrast,
    Draw,
    Erase,
    Flip,
    Mixup,
    Noise,
    RotateCube,
    RotateQuarter,
    Shift,
)

EVERY = [
    getattr(augmentation, name)
    for name in augmentation.__all__
    if dataclasses.is_dataclass(getattr(augmentation, name))
    and name
    not in (
        "Draw",
        "CropSteps",
        "Jitter",
        "ScaleValues",
        "CopyPaste",
        "Mosaic",
    )  # of series and of boxes have tests of their own
]


def draw(num, *, epoch=1, step=0, seed=0):
    return Draw(seed, epoch, step, torch.arange(num))


def pictures(num=16, channels=3, height=12, width=12, dtype=torch.float32):
    return torch.randn(num, channels, height, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def examples(kind):
    """Pictures, or the volumes that a change asks for."""
    volumes = torch.randn(16, 2, 5, 5, 5, generator=torch.Generator().manual_seed(1))
    return volumes if kind is RotateCube else pictures()


@pytest.mark.parametrize("kind", EVERY)
def test_keeps_shape_type_and_input_and_repeats_itself(kind):
    x = examples(kind)
    before = x.clone()
    change = kind()
    once, again = change(x, draw(len(x))), change(x, draw(len(x)))
    assert once.shape == x.shape
    assert once.dtype == x.dtype
    assert torch.equal(x, before), "the batch that came in was written to"
    assert torch.equal(once, again), "the same moment must give the same picture"
    assert kind == Affine or not torch.equal(once, change(x, draw(len(x), epoch=2))), (
        "another epoch must differ"
    )


@pytest.mark.parametrize("kind", EVERY)
def test_layout_does_not_matter(kind):
    x = examples(kind)
    plain = kind()(x, draw(len(x)))
    other = kind()(arranged(x, "channels_last"), draw(len(x)))
    assert torch.allclose(plain, other, atol=1e-6)


def test_flip_shows_every_example_both_ways_in_two_epochs():
    x = pictures(num=200, channels=1)
    first, second = Flip()(x, draw(200, epoch=3)), Flip()(x, draw(200, epoch=4))
    mirrored_first = torch.tensor([not torch.equal(a, b) for a, b in zip(first, x, strict=True)])
    mirrored_second = torch.tensor([not torch.equal(a, b) for a, b in zip(second, x, strict=True)])
    assert bool((mirrored_first ^ mirrored_second).all())
    assert 60 < int(mirrored_first.sum()) < 140
    assert torch.equal(first[mirrored_first], x[mirrored_first].flip(-1))


def test_flip_follows_the_example_and_not_its_place_in_the_batch():
    x = pictures(num=50, channels=1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    straight = Flip()(x, Draw(0, 1, 0, torch.arange(50)))
    shuffled = Flip()(x[order], Draw(0, 1, 0, order))
    assert torch.equal(shuffled, straight[order])


def test_vertical_flip():
    x = pictures(num=50, channels=1)
    out = Flip(axis="vertical")(x, draw(50))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-2)) for a, b in zip(out, x, strict=True))


@pytest.mark.parametrize("fill", ["edge", "reflect", "mean"])
def test_shift_is_a_window_of_numpys_padding(fill):
    x = pictures(num=300, channels=2, height=9, width=7)
    out = Shift(pixels=2, fill=fill)(x, draw(300))
    mode = {"edge": "edge", "reflect": "reflect", "mean": "constant"}[fill]
    seen = set()
    for before, after in zip(x.numpy(), out.numpy(), strict=True):
        padded = np.pad(before, ((0, 0), (2, 2), (2, 2)), mode=mode)
        found = [
            (a, b)
            for a in range(5)
            for b in range(5)
            if np.array_equal(padded[:, a : a + 9, b : b + 7], after)
        ]
        assert found
        seen.add(found[0])
    assert len(seen) == 25, "every shift must occur"


def test_reflecting_more_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="cannot reflect 4 pixels"):
        Shift(pixels=4, fill="reflect")(pictures(height=4, width=4), draw(16))


def test_quarter_turns():
    x = pictures(num=200, channels=1)
    out = RotateQuarter()(x, draw(200))
    turns = [
        next(k for k in range(4) if torch.equal(a, torch.rot90(b, k, (-2, -1))))
        for a, b in zip(out, x, strict=True)
    ]
    assert min(np.bincount(turns, minlength=4)) > 25
    with pytest.raises(ValueError, match="square"):
        RotateQuarter()(pictures(height=4, width=6), draw(16))


def test_rotation_by_ninety_degrees_is_a_quarter_turn():
    x = pictures(num=4, channels=1, height=9, width=9)
    change = Affine(degrees=90.0)

    class Fixed(Draw):
        def uniform(self, purpose, num, low=0.0, high=1.0):
            return torch.full((num,), high if purpose == "affine/angle" else 0.0)

    out = change(x, Fixed(0, 1, 0, torch.arange(4)))
    assert torch.allclose(out, torch.rot90(x, 1, (-2, -1)), atol=1e-4) or torch.allclose(
        out, torch.rot90(x, -1, (-2, -1)), atol=1e-4
    )


def test_rotation_agrees_with_scipy_inside():
    y, x = np.mgrid[:41, :61]
    picture = np.exp(-((y - 22) ** 2 + (x - 27) ** 2) / 40.0).astype(np.float32)

    class Fixed(Draw):
        def uniform(self, purpose, num, low=0.0, high=1.0):
            return torch.full((num,), high if purpose == "affine/angle" else 0.0)

    ours = Affine(degrees=20.0)(torch.from_numpy(picture)[None, None], Fixed(0, 1, 0, torch.arange(1)))[
        0, 0
    ].numpy()
    theirs = [
        scipy.ndimage.rotate(picture, angle, reshape=False, order=1, mode="nearest") for angle in (20, -20)
    ]
    assert min(np.abs(ours - t).max() for t in theirs) < 0.02


def test_zoom_and_aspect_stay_in_their_range():
    num = 400
    y, x = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    disk = (((y - 32) ** 2 + (x - 32) ** 2) < 100).float().expand(num, 1, 65, 65)
    out = Affine(zoom=0.5)(disk, draw(num))
    scale = (out.sum((1, 2, 3)) / disk[0].sum()).sqrt()
    assert scale.min() > 1 / 1.5 - 0.03
    assert scale.max() < 1.5 + 0.03
    assert scale.min() < 0.75
    assert scale.max() > 1.4


def test_aspect_ratio_changes_the_sides_and_keeps_the_area():
    """A disk becomes an ellipse: the ratio of its axes is in [1/(1+aspect), 1+aspect], uniform in the logarithm, its area the same."""
    num = 400
    y, x = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    disk = (((y - 32) ** 2 + (x - 32) ** 2) < 225).float().expand(num, 1, 65, 65)
    out = Affine(aspect=0.6)(disk, draw(num)).double()[:, 0]
    mass = out.sum((1, 2))
    assert torch.allclose(mass, disk[0].double().sum().expand(num), rtol=0.02)
    wide = ((out * (x - 32) ** 2).sum((1, 2)) / mass).sqrt()
    high = ((out * (y - 32) ** 2).sum((1, 2)) / mass).sqrt()
    ratio = (wide / high).log()
    assert ratio.abs().max() < math.log(1.6) + 0.01
    assert (
        scipy.stats.kstest(ratio.numpy(), scipy.stats.uniform(-math.log(1.6), 2 * math.log(1.6)).cdf).pvalue
        > 1e-3
    )


def test_brightness_contrast_colour_noise():
    x = pictures(num=500, height=16, width=16)
    change = Brightness(amount=0.3)(x, draw(500)) - x
    assert torch.allclose(change, change[:, :1, :1, :1].expand_as(change), atol=1e-5)
    assert 0.28 < change.abs().max() <= 0.3 + 1e-5
    contrast = Contrast(amount=0.5)(x, draw(500))
    assert torch.allclose(contrast.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    factor = contrast.std((1, 2, 3)) / x.std((1, 2, 3))
    assert factor.min() > 1 / 1.5 - 1e-3
    assert factor.max() < 1.5 + 1e-3
    stretched = Colour(amount=0.0, gain=0.5)(x, draw(500)).double()
    own = x.double() - x.double().mean((2, 3), keepdim=True)
    left = stretched - stretched.mean((2, 3), keepdim=True)
    factor = (left * own).sum((2, 3)) / (own * own).sum((2, 3))
    assert torch.allclose(left, own * factor[:, :, None, None], atol=1e-4)
    assert torch.allclose(stretched.mean((2, 3)), x.double().mean((2, 3)), atol=1e-5)
    assert 1 / 1.5 - 1e-6 <= factor.min() < 0.7 and 1.45 < factor.max() <= 1.5 + 1e-6
    colour = Colour(amount=0.2, gain=0.0)(x, draw(500)) - x
    assert torch.allclose(colour, colour[:, :, :1, :1].expand_as(colour), atol=1e-5)
    assert colour[:, 0, 0, 0].sub(colour[:, 1, 0, 0]).abs().max() > 0.1
    noise = Noise(amount=0.1)(x, draw(500)) - x
    assert math.isclose(float(noise.std()), 0.1, rel_tol=0.02)


def test_erase_cuts_rectangles_of_the_stated_area():
    x = torch.ones(2000, 2, 32, 32)
    out = Erase(probability=0.5, area=(0.1, 0.2))(x, draw(2000))
    erased = out[:, 0] == 0
    assert torch.equal(erased, out[:, 1] == 0), "all channels are erased together"
    share = erased.float().mean((1, 2))
    hit = share > 0
    assert 0.46 < float(hit.float().mean()) < 0.54
    assert share[hit].min() > 0.07
    assert share[hit].max() < 0.23
    for mask in erased[hit][:50]:
        rows, columns = mask.any(1), mask.any(0)
        assert int(mask.sum()) == int(rows.sum()) * int(columns.sum()), "not a rectangle"


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_blends_inputs_and_targets_alike(alpha):
    num, mix = 4000, Mixup(alpha=alpha)
    x = torch.eye(num).view(num, 1, 1, num)[:, :, :, :num]
    out = mix(x, draw(num)).view(num, num).double()
    assert torch.allclose(out.sum(1), torch.ones(num).double(), atol=1e-6)
    assert ((out > 0).sum(1) <= 2).all()
    targets = torch.arange(num) % 3
    expected = out @ torch.nn.functional.one_hot(targets, 3).double()
    assert torch.allclose(mix.of_targets(targets, 3, draw(num)).double(), expected, atol=1e-6)
    values = torch.randn(num, 2)
    assert torch.allclose(mix.of_targets(values, None, draw(num)).double(), out @ values.double(), atol=1e-5)
    share = out.diagonal()  # of Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)); of few examples partner and self are one
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
