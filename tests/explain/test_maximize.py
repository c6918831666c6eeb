"""Activation maximization: where it must end, and what the regularizers do."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.explain import Regularizers, Unit, gallery, maximize
from hubel.explain.maximize import _changed, _unit_size, _variation, blurred

PLAIN = Regularizers(total_variation=0, spectrum=0, jitter=0, scale=0, rotation=0)


def cosine(a, b):
    a, b = np.ravel(a), np.ravel(b)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("start", ["empty", "noise"])
def test_a_linear_unit_is_excited_by_its_weights(start):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    weights = net[1].weight.detach().numpy()
    found = maximize(net, [2, 0], inputs=(3, 8, 8), start=start, steps=300, regularizers=PLAIN)
    assert found.names == ("output 2", "output 0")
    for picture, number in zip(found.pictures, (2, 0), strict=True):
        assert cosine(picture, weights[number]) > 0.9999
    assert (found.scores[-1] > found.scores[0]).all() and found.scores.shape == (301, 2)


def test_it_comes_to_rest_at_the_gradient_over_the_decay():
    """x = ĝ / decay is the fixed point: half as large with twice the decay."""
    net = nn.Linear(50, 1)
    weight = net.weight.detach()
    for decay in (0.5, 1.0, 2.0):
        found = maximize(
            net, 0, inputs=(50,), start="empty", steps=2000, rate=0.1, regularizers=Regularizers(decay=decay)
        )
        assert np.allclose(found.pictures[0], (_unit_size(weight) / decay)[0].numpy(), atol=1e-4)


def test_the_size_of_a_gradient_is_that_where_it_is_large():
    """Σ g⁴ / Σ g²: k equal values among zeros have their own size, whatever k."""
    g = torch.zeros(2, 100)
    g[0, :5], g[1, :] = 3.0, 0.01
    assert torch.allclose(_unit_size(g).amax(1), torch.ones(2))
    assert not _unit_size(torch.zeros(1, 4)).any()


def test_the_gradient_of_the_total_variation_is_that_of_its_definition():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)

    def variation(z):
        down = torch.zeros_like(z)
        down[:, :, :-1] = z[:, :, 1:] - z[:, :, :-1]
        right = torch.zeros_like(z)
        right[..., :-1] = z[..., 1:] - z[..., :-1]
        return (down**2 + right**2 + 1e-6).sqrt().sum()

    numeric = torch.zeros_like(x)
    for place in np.ndindex(*x.shape):
        step = torch.zeros_like(x)
        step[place] = 1e-6
        numeric[place] = (variation(x + step) - variation(x - step)) / 2e-6
    assert torch.allclose(_variation(x), numeric, atol=1e-6)


def test_regularizers_make_pictures_smoother():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 7), nn.ReLU(), nn.Conv2d(8, 1, 7))

    def roughness(**changed):
        keep = Regularizers(**{**vars(PLAIN), **changed})
        (picture,) = gallery(net, "2", [0], inputs=(1, 24, 24), steps=40, regularizers=keep).pictures
        return np.abs(np.diff(picture[0], axis=0)).mean() / picture.std()

    plain = roughness()
    assert roughness(total_variation=0.5) < 0.8 * plain
    assert roughness(spectrum=1.5) < 0.7 * plain
    assert roughness(blur=1.0, blur_every=2) < 0.8 * plain


def test_shifts_and_turns_keep_the_picture():
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(1, 1, 33, 33)
    x[0, 0, 16, 16] = 1
    moved = _changed(x, Regularizers(jitter=3, scale=0, rotation=0), generator)
    assert moved.sum() == 1 and moved.max() == 1
    assert (np.abs(np.argwhere(moved[0, 0].numpy() == 1)[0] - 16) <= 3).all()
    row, column = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    round_one = torch.exp(-(row**2 + column**2) / 40)[None, None]
    turned = _changed(round_one, Regularizers(jitter=0, scale=0, rotation=90), generator)
    assert torch.allclose(turned, round_one, atol=0.02)  # a round picture does not change when it is turned


def test_turns_keep_the_shape_of_things_in_wide_pictures():
    row, column = torch.meshgrid(torch.arange(20.0) - 9.5, torch.arange(60.0) - 29.5, indexing="ij")
    round_one = torch.exp(-(row**2 + column**2) / 20)[None, None]
    turned = _changed(
        round_one, Regularizers(jitter=0, scale=0, rotation=90), torch.Generator().manual_seed(1)
    )
    assert torch.allclose(
        turned[..., 22:38], round_one[..., 22:38], atol=0.05
    )  # further out it is reflected at the borders


def test_blur_is_a_gaussian():
    x = torch.zeros(1, 1, 31, 31)
    x[0, 0, 15, 15] = 1
    row = torch.arange(31.0) - 15
    gaussian = torch.exp(-(row**2) / (2 * 2.0**2))
    gaussian /= gaussian.sum()
    assert torch.allclose(blurred(x, 2.0)[0, 0], gaussian[:, None] * gaussian, atol=1e-4)


def test_a_gallery_excites_its_own_channels():
    """Filters that do not overlap: each picture excites its channel more than any other does."""
    net = nn.Sequential(nn.Conv2d(1, 4, 4, bias=False), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        for k in range(4):
            net[0].weight[k, 0, k] = 1.0
    found = gallery(net, "1", inputs=(1, 12, 12), steps=120, regularizers=PLAIN)
    answers = net(torch.from_numpy(found.pictures).float())[:, :, 4, 4]
    assert (answers.argmax(1) == torch.arange(4)).all()
    assert found.channels == (0, 1, 2, 3) and found.layer == "1"
    untouched = found.pictures[0, 0].copy()
    untouched[4:8, 4:8] = 0
    assert np.abs(untouched).max() < 0.1 * np.abs(found.pictures[0]).max()


def test_silent_units_are_told():
    net = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    with torch.no_grad():
        net[0].bias[:] = torch.tensor([1.0, -0.5, 0.0])
        net[0].weight[2] = 0.0
        net[0].bias[2] = -1.0
    found = maximize(net, [0, 1, 2], inputs=(6,), start="empty", steps=60)
    assert any("begun with noise: output 1" in note for note in found.notes)
    assert any("never excited, by noise neither: output 2" in note for note in found.notes)
    assert found.scores[-1, 1] > 0


def test_targets_of_every_kind():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2))

    def difference(outputs):
        return outputs[:, 0] - outputs[:, 1]

    found = maximize(
        net,
        [1, Unit(layer="0", channel=2, position=(1, 1)), difference],
        inputs=(1, 8, 8),
        steps=20,
        regularizers=PLAIN,
    )
    assert found.names == ("output 1", "unit 2 of 0 at 1, 1", "difference")
    assert (found.scores[-1] > found.scores[0]).all()
    patch = found.pictures[1, 0, 1:4, 1:4]
    assert cosine(patch, net[0].weight[2, 0].detach().numpy()) > 0.95


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target": 5}, "target 5 is out of range: the network has 3 outputs, 0 to 2"),
        ({"target": Unit(layer="0", channel=3)}, "has 3 channels, 0 to 2; received channel 3"),
        ({"target": Unit(layer="O", channel=0)}, "no layer 'O'"),
        ({"target": []}, "there is no target"),
        ({"start": "zeros"}, 'expected "empty", "noise"'),
        ({"start": np.zeros((1, 4))}, r"start has shape \[1, 4\]"),
        ({"start": np.full(4, np.nan)}, "NaN or infinite"),
        ({"steps": 0}, "steps is 0"),
        ({"rate": -1}, "rate -1"),
    ],
)
def test_wrong_words_are_told(wrong, said):
    net = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(ValueError, match=said):
        maximize(net, **{"target": 0, "inputs": (4,), **wrong})


def test_wrong_regularizers_are_told():
    with pytest.raises(ValueError, match="blur=-1"):
        Regularizers(blur=-1)
    with pytest.raises(ValueError, match="scale=1"):
        Regularizers(scale=1)


@pytest.mark.parametrize("inputs", [(1, 24, 24), (1, 64, 64)])
def test_what_is_taken_where_none_are_given(inputs):
    """The defaults for photographs, weaker ones for small pictures: told apart by the numbers that they give."""
    net = nn.Sequential(nn.Conv2d(1, 2, 7, stride=3), nn.ReLU())
    plain, said, other = (
        gallery(net, "0", inputs=inputs, steps=3, regularizers=keep).pictures
        for keep in (None, Regularizers.of(inputs), Regularizers(spectrum=0.6))
    )
    assert np.array_equal(plain, said) and not np.array_equal(plain, other)
    assert (Regularizers.of(inputs) == Regularizers()) == (inputs[1] == 64)
