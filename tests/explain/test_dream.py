"""DeepDream: what it raises, what it keeps, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hubel import nets
from hubel.data.preprocessing import Scaling
from hubel.explain import dream
from hubel.explain.dream import _cuts
from hubel.nets.made import Published


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    ).eval()


@pytest.fixture(scope="module")
def picture():
    row, column = np.mgrid[0:60, 0:80]
    waves = np.stack([np.sin(row / 7), np.cos(column / 5), np.sin((row + column) / 9)], axis=2)
    return np.round(127 + 100 * waves).astype(np.uint8)


SCALING = Scaling(mean=(127.0,) * 3, std=(60.0,) * 3, dtype="uint8", shape=(3, 32, 32))


def excitation(net, picture, layers=5):
    x = torch.from_numpy(np.moveaxis(picture, 2, 0).copy()).float()[None]
    return float(net[:layers]((x - 127) / 60).detach().mean())


def test_the_layer_answers_more_and_the_picture_keeps_its_kind(net, picture):
    found = dream(net, picture, "4", octaves=3, steps=4, scaling=SCALING)
    assert found.image.shape == picture.shape and found.image.dtype == np.uint8
    assert np.array_equal(found.before, picture)
    assert excitation(net, found.image) > 1.2 * excitation(net, picture)
    assert found.scores.shape == (3, 2) and (found.scores[:, 1] > found.scores[:, 0]).all()
    assert found.sizes == ((31, 41), (43, 57), (60, 80))


def test_bytes_and_numbers_dream_the_same(net, picture):
    x = (torch.from_numpy(np.moveaxis(picture, 2, 0).copy()).float() - 127) / 60
    numbers = dream(net, x, "4", octaves=2, steps=2)
    bytes_ = dream(net, picture, "4", octaves=2, steps=2, scaling=SCALING)
    assert numbers.image.shape == (3, 60, 80) and numbers.image.dtype == np.float32
    back = np.moveaxis(numbers.image * 60 + 127, 0, 2)
    assert np.abs(np.clip(back, 0, 255) - bytes_.image).max() < 2.0


def test_pictures_whose_background_means_nothing_enter_as_in_training(net, picture):
    scaling = replace(SCALING, mean=(0.0,) * 3, background="subtracted", shape=(3, 60, 80))
    stored = torch.from_numpy(np.moveaxis(picture, 2, 0).copy())[None]
    found = dream(net, picture, "4", octaves=1, steps=1, scaling=scaling)
    assert np.array_equal(found.before, picture)
    assert found.scores[0, 0] == pytest.approx(
        0.5 * float(net(scaling(stored)).detach().square().mean()), rel=1e-4
    )


def test_one_step_has_the_length_that_was_asked_for(net):
    x = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(0))
    found = dream(net, x, "1", octaves=1, steps=1, rate=0.05)
    assert np.abs(found.image - found.before).mean() == pytest.approx(0.05, rel=1e-4)


def test_one_step_follows_the_gradient(net):
    x = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(0))
    found = dream(net, x, "4", octaves=1, steps=1, jitter=0)
    z = x[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(0.5 * net(z).square().mean(), z)
    assert np.allclose(
        found.image - found.before, 0.03 * (gradient / gradient.abs().mean())[0].numpy(), atol=1e-5
    )


def test_only_the_chosen_channels_are_raised(net, picture):
    x = (torch.from_numpy(np.moveaxis(picture, 2, 0).copy()).float() - 127) / 60
    found = dream(net, x, "4", channels=[2], octaves=1, steps=8)
    before, after = (
        net(torch.from_numpy(p)[None])[0].detach().square().mean((1, 2)) for p in (found.before, found.image)
    )
    assert (after - before).argmax() == 2


def test_tiles_are_the_whole_where_they_do_not_touch():
    """A layer of 1×1: its gradient in tiles is that of the whole picture."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh()).eval()
    x = torch.randn(3, 32, 48)
    whole = dream(net, x, "1", octaves=1, steps=3)
    tiled = dream(net, x, "1", octaves=1, steps=3, tile=16)
    assert np.allclose(whole.image, tiled.image, atol=1e-5)


def test_tiles_cover_everything():
    for size, side in ((10, 4), (16, 4), (5, 8), (513, 512)):
        covered = np.zeros(size, int)
        for part in _cuts(size, side):
            covered[part] += 1
            assert part.stop - part.start == min(side, size)
        assert covered.min() >= 1


def test_a_network_of_one_size_dreams_in_tiles():
    net = nets.simple_cnn((1, 28, 28), 10).eval()
    picture = np.random.default_rng(0).integers(0, 255, (70, 60), np.uint8)
    scaling = Scaling(mean=(127.0,), std=(70.0,), dtype="uint8", shape=(1, 28, 28))
    found = dream(net, picture, "conv2", steps=2, scaling=scaling)
    assert found.image.shape == (70, 60) and "tiles of 28 × 28" in str(found)
    assert len(found.sizes) == 3  # 70/1.4³ × 60/1.4³ is smaller than 28
    assert "1 octaves were left out" in str(found)
    assert (found.image != picture).mean() > 0.5


def test_published_weights_say_how_pictures_are_scaled(picture):
    net = nets.resnet(18, outputs=3).eval()
    with pytest.raises(ValueError, match="not known how bytes are to be scaled"):
        dream(net, picture, "layer1")
    net.published = Published(title="t", file="f", mean=(0.5,) * 3, std=(0.25,) * 3)
    found = dream(net, picture, "layer1", octaves=1, steps=2)
    assert np.array_equal(found.before, picture) and found.scores[0, -1] > found.scores[0, 0]


def test_pixels_stay_within_their_range(net):
    white = np.full((40, 40, 3), 255, np.uint8)
    found = dream(net, white, "4", octaves=1, steps=10, rate=1.0, scaling=SCALING)
    assert found.image.max() == 255 and found.image.min() >= 0  # bytes would have run over
    assert (found.image == 255).mean() > 0.2
    x = (torch.from_numpy(np.moveaxis(found.image, 2, 0).copy()).float()[None] - 127) / 60
    assert found.scores[0, 1] == pytest.approx(0.5 * float(net(x).detach().square().mean()), rel=0.02)


def test_octaves_that_are_too_small_are_left_out(net):
    found = dream(nets.resnet(18, outputs=2).eval(), torch.randn(3, 24, 24), "layer1", octaves=4, steps=1)
    assert len(found.sizes) == 2 and "too small for the network" in str(found)


@pytest.mark.parametrize(
    ("image", "words", "said"),
    [
        (np.zeros((40, 40), np.uint8), {}, "the picture has 1 channels, and the network reads 3"),
        (np.zeros((1, 40, 40), np.float32), {}, "the picture has 1 channels, and the network reads 3"),
        (np.zeros((40, 40, 4), np.uint8), {}, r"expected bytes \[H, W, 3\]"),
        (np.zeros((3, 40, 40), np.int64), {}, r"expected bytes \[H, W, 3\]"),
        (np.full((3, 40, 40), np.nan, np.float32), {}, "NaN or infinite"),
        (np.zeros((1, 3, 40, 40), np.float32), {}, r"must be \[C, H, W\]"),
        (np.zeros((3, 40, 40), np.float32), {"layer": "conv"}, "no layer 'conv'"),
        (
            np.zeros((3, 40, 40), np.float32),
            {"channels": [8]},
            "4 has 8 channels, 0 to 7; received channel 8",
        ),
        (np.zeros((3, 40, 40), np.float32), {"octaves": 0}, "octaves is 0"),
        (np.zeros((3, 40, 40), np.float32), {"ratio": 1.0}, "a ratio above 1"),
    ],
)
def test_wrong_input_is_told(net, image, words, said):
    with pytest.raises(ValueError, match=said):
        dream(net, image, **{"layer": "4", "scaling": SCALING if image.dtype == np.uint8 else None, **words})
