"""Figures of what is inside a network: they show the numbers that they were given, and refuse what they can not show."""

import io

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from hubel import explain
from hubel.core.types import Batch
from hubel.explain.maximize import Maximized
from hubel.objectives import CrossEntropy
from hubel.show import inside
from hubel.show.code_plane import _sized
from hubel.show.sheets import colours, scale_of


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 4),
    ).eval()  # fmt: skip


X = torch.rand(12, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def drawn(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    assert len(file.getvalue()) > 2000
    return figure


def images(figure):
    return [image.get_array() for ax in figure.axes for image in ax.images]


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_filters_are_drawn_with_zero_as_grey(net):
    figure = drawn(inside.filters(explain.filters(net)))
    shown = images(figure)
    assert len(shown) == 6 and shown[0].shape == (5, 5, 3)
    weights = net[0].weight.detach().numpy()[0]
    place = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    assert shown[0][place[1], place[2], place[0]] == (1.0 if weights[place] > 0 else 0.0)
    assert (np.sign(shown[0] - 0.5) == np.sign(np.moveaxis(weights, 0, 2))).all()
    deep = images(drawn(inside.filters(explain.filters(net, "3"))))
    assert len(deep) == 30 and np.allclose(deep[7], net[3].weight[1, 1].detach())
    drawn(inside.filters(explain.filters(net, "7")))


def test_maps_have_one_scale(net):
    found = explain.feature_maps(net, X[:2], "1")
    figure = drawn(inside.feature_maps(found, example=1))
    assert np.allclose(images(figure)[3], found.maps[1, 3])
    assert len({image.get_clim() for ax in figure.axes for image in ax.images}) == 1
    with pytest.raises(ValueError, match="0 to 1; received 2"):
        inside.feature_maps(found, example=2)


def test_templates_galleries_and_examples(net):
    found = explain.templates(net, X)
    assert f"cos {found.cosine[2]:.2f}" in words(drawn(inside.templates(found)))
    made = explain.gallery(net, "3", [1, 4], inputs=(3, 24, 24), steps=2)
    assert len(images(drawn(inside.gallery(made)))) == 2
    best = explain.most_exciting(net, X, explain.Unit(layer="3", channel=1), count=3)
    figure = drawn(inside.most_exciting(best))
    assert str(best.ids[0]) in words(figure) and len(images(figure)) == 6


def test_what_excites_rows_series_and_volumes_is_drawn_with_its_names():
    def made(*shape):
        pictures = np.random.default_rng(0).normal(size=shape)
        return Maximized(pictures=pictures, names=("spike",), scores=np.zeros((2, 1)), start="noise", steps=1)

    rows = made(1, 3)
    figure = drawn(inside.gallery(rows, features=("mass", "colour", "age")))
    (ax,) = figure.axes
    bars = dict(
        zip((t.get_text() for t in ax.get_yticklabels()), (b.get_width() for b in ax.patches), strict=True)
    )
    assert bars == pytest.approx(dict(zip(("mass", "colour", "age"), rows.pictures[0], strict=True)))
    for steps_first in (True, False):
        series = made(1, 50, 2) if steps_first else made(1, 2, 50)
        (ax,) = drawn(inside.gallery(series, features=("flux", "error"), steps_first=steps_first)).axes
        lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 50]
        assert [line.get_label() for line in lines] == ["flux", "error"]
        wanted = series.pictures[0].T if steps_first else series.pictures[0]
        np.testing.assert_array_equal([line.get_ydata() for line in lines], wanted)
    figure = drawn(inside.gallery(made(1, 1, 8, 5, 6)))
    assert [image.shape[:2] for image in images(figure)] == [(5, 6)] * 3 and "plane 4" in words(figure)


def test_dreams_are_drawn_beside_the_picture(net):
    for picture in (X[0], X[0].numpy()):
        found = explain.dream(net, picture, "4", octaves=1, steps=1)
        before, after = images(drawn(inside.dream(found)))
        assert before.shape == after.shape == (24, 24, 3) and not np.array_equal(before, after)


def test_the_receptive_field_is_framed(net):
    found = explain.receptive_field(net, "3", inputs=(3, 24, 24), samples=2)
    figure = drawn(inside.receptive_field(found, picture=X[0].numpy()))
    (top, bottom), (left, right) = found.box
    frames = [patch for ax in figure.axes for patch in ax.patches if patch.get_width() == right - left + 1]
    assert len(frames) == 2 and frames[0].get_xy() == (left - 0.5, top - 0.5)
    assert frames[0].get_height() == bottom - top + 1


def test_a_circuit_shows_units_and_kernels(net):
    found = explain.circuit(net, "3", 2, inputs=(3, 24, 24), count=4)
    figure = drawn(inside.circuit(found))
    shown = images(figure)
    assert len(shown) == 1 + 2 * 4
    assert np.allclose(shown[2], found.kernels[0])
    assert found.units[0].replace(" of ", "\n") in words(figure)


def text_units():
    from hubel.nets import character_lm

    net = character_lm("gru", 6, layers=1, inputs=28).eval()
    alphabet = (*sorted("abcdefghijklmnopqrstuvwxyz\n"), "�")
    text = "the quick brown fox\njumps over <b> & the lazy dog\n" * 2
    return explain.units_over_text(net, text, [2, 3], alphabet=alphabet)


def test_text_is_coloured():
    found = text_units()
    figure = drawn(inside.text_units(found, unit=3, width=40))
    assert "unit 3" in words(figure)
    lines = images(figure)
    assert sum(line.shape[1] for line in lines) == len(found)
    page = inside.text_units_html(found, unit=3)
    assert page.count("<span title=") == len(found) and "&lt;" in page and "<b> &" not in page
    assert f'title="{found.activations[4, 1]:.3f}"' in page
    with pytest.raises(ValueError, match="unit 7 was not looked at: there are 2, 3"):
        inside.text_units(found, unit=7)
    with pytest.raises(ValueError, match="width is 0"):
        inside.text_units(found, width=0)


def test_correlations_are_drawn_with_chance():
    from hubel.nets import character_lm

    net = character_lm("gru", 6, layers=1, inputs=3).eval()
    found = explain.find_units(net, "ab" * 30, explain.position_in_line, alphabet=("a", "b", "�"), count=4)
    figure = drawn(inside.unit_search(found))
    bars = [patch.get_width() for patch in figure.axes[0].patches]
    assert np.allclose(sorted(bars), sorted(found.correlations))


@pytest.mark.parametrize("grid", [False, True])
def test_maps_of_codes_show_pictures(net, grid):
    labels = np.arange(12) % 3
    found = explain.codes_map(net, X, method="pca", labels=labels)
    figure = drawn(inside.codes_map(found, X.numpy(), grid=grid))
    (canvas,) = images(figure)
    assert (canvas < 1).any(axis=2).mean() > 0.05
    drawn(inside.codes_map(found))
    with pytest.raises(ValueError, match="expected 12 of them"):
        inside.codes_map(found, X[:3].numpy())
    with pytest.raises(ValueError, match="a grid is drawn of pictures"):
        inside.codes_map(found, grid=True)


def test_a_map_is_a_grid_where_pictures_would_hide_each_other():
    from hubel.explain.codes_map import CodesMap
    from hubel.show.code_plane import hidden_share

    def placed(points):
        return CodesMap(points=points, codes=points, method="t-SNE", layer="fc", neighbours=1.0)

    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert hidden_share(placed(corners)) == 0
    assert hidden_share(placed(np.concatenate([corners, corners[:1] + 0.01]))) == 2 / 5
    pictures = np.zeros((5, 1, 8, 8), np.float32)
    for points, said in ((corners, False), (np.concatenate([corners, corners[:1] + 0.01]), True)):
        figure = drawn(inside.codes_map(placed(points), pictures[: len(points)]))
        words = " ".join(text.get_text() for text in figure.texts).split()
        assert ("cell" in words) == said


def test_landscapes_have_axes_with_units(net):
    batch = Batch(inputs=X, targets=torch.arange(12) % 4)
    for directions in (1, 2):
        found = explain.loss_landscape(net, CrossEntropy(4), batch, directions=directions, points=5)
        figure = drawn(inside.landscape(found))
        assert "filter norms" in words(figure) and "loss" in words(figure)
    line = explain.loss_line(net, net, CrossEntropy(4), batch, points=3)
    assert "the other" in words(drawn(inside.landscape(line)))
    missing = explain.loss_landscape(net, CrossEntropy(4), batch, directions=1, points=3)
    missing.losses[:] = np.nan
    with pytest.raises(ValueError, match="no loss of this landscape is finite"):
        inside.landscape(missing)


def test_colours():
    assert colours(np.array([[[0, 255]]], np.uint8), "natural", (np.array(0.0), np.array(255.0)))[
        0, :, 0
    ].tolist() == [0, 1]
    assert colours(np.zeros((5, 2, 2)), "signed").tolist() == np.full((2, 2, 3), 0.5).tolist()
    assert scale_of(np.array([0.0, 2.0]))[0] == 0 and scale_of(np.array([-1.0, 2.0]))[0] < -1.9
    assert _sized(np.ones((30, 60, 3)), 20).shape == (10, 20, 3)
    assert _sized(np.ones((3, 6, 3)), 20).shape == (10, 20, 3)
