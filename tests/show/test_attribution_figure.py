"""The figure of an attribution: what stands where, symmetric colours, and every kind of example."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from hubel.core.types import Attribution
from hubel.show import attribution
from hubel.show.attribution import AGAINST, FOR, laid_out, limit_of, side_by_side
from hubel.show.blocks import kept, readable

RNG = np.random.default_rng(0)


def found(*shape, method="saliency", **more):
    values = torch.from_numpy(RNG.normal(size=shape))
    return Attribution(
        values=values,
        method=method,
        target=("output 1",) * shape[0],
        score=torch.arange(float(shape[0])),
        **more,
    )


def texts(figure):
    return "\n".join(
        [t.get_text() for ax in figure.axes for t in (ax.title, ax._left_title, ax.xaxis.label, *ax.texts)]
        + [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    )


def test_pictures_have_input_map_overlay_and_a_symmetric_bar():
    one = found(2, 3, 16, 20)
    figure = attribution(
        one, RNG.integers(0, 255, (2, 3, 16, 20), dtype=np.uint8), titles=["cat, 93.1 %", "dog"]
    )
    assert len(figure.axes) == 8
    maps = [ax for ax in figure.axes if ax.images and ax.images[0].get_array().shape == (16, 20)]
    np.testing.assert_allclose(maps[0].images[0].get_array(), one.map[0])
    for ax in maps:
        low, high = ax.images[0].get_clim()
        assert low == -high < 0
    assert "cat, 93.1 %" in texts(figure) and "dog" in texts(figure) and "saliency" in texts(figure)
    figure.canvas.draw()


def test_the_overlay_is_the_picture_where_nothing_is_and_the_colour_where_most_is():
    values = torch.zeros(1, 1, 8, 8)
    values[0, 0, 2, 3], values[0, 0, 5, 5] = 1.0, -1.0
    one = Attribution(values=values, method="m", target=("output 0",), score=torch.ones(1))
    figure = attribution(one, np.zeros((1, 1, 8, 8)))
    overlay = next(ax for ax in figure.axes if ax.images and ax.images[0].get_array().ndim == 3)
    pixels = np.asarray(overlay.images[0].get_array())
    red, blue, empty = pixels[2, 3], pixels[5, 5], pixels[0, 0]
    assert red[0] > red[2] + 0.2 and blue[2] > blue[0] + 0.2
    assert np.ptp(empty) == 0


def test_rows_are_bars_the_greatest_on_top():
    values = torch.tensor([[0.5, -3.0, 1.0]])
    one = Attribution(
        values=values, method="lime", target=("output 0",), score=torch.ones(1), notes=("coarse",)
    )
    figure = attribution(one, np.array([[1.0, 2.5, 7.0]]), names=("mass", "age", "speed"))
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["age = 2.5", "speed = 7", "mass = 1"]
    assert [bar.get_width() for bar in ax.patches] == [-3.0, 1.0, 0.5]
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [AGAINST, FOR, FOR]
    assert ax.yaxis_inverted() and "lime" in texts(figure) and figure.get_supxlabel() == "coarse"
    many = attribution(found(1, 50), np.zeros((1, 50)))
    assert len(many.axes[0].patches) == 20 and "30 others" in texts(many)
    written = attribution(one, np.zeros((1, 3)), names=("a", "b", "c"), values=[["x", "missing", "y"]])
    assert "b = missing" in texts(written)


def test_series_are_coloured_lines():
    one = found(1, 30, 2)
    figure = attribution(one, RNG.normal(size=(1, 30, 2)), names=("flux", "error"))
    lines = [ax for ax in figure.axes if ax.get_ylabel()]
    assert len(lines) == 2 and lines[0].get_ylabel() == "flux"
    drawn = lines[0].collections[0]
    values = one.values[0, :, 0].numpy()
    np.testing.assert_allclose(drawn.get_array(), (values[1:] + values[:-1]) / 2)
    assert drawn.get_clim()[0] == -drawn.get_clim()[1]
    channels_first = attribution(found(1, 2, 30), RNG.normal(size=(1, 2, 30)))
    assert len([ax for ax in channels_first.axes if ax.get_ylabel()]) == 2


def test_volumes_show_the_planes_in_which_most_happens():
    values = torch.zeros(1, 1, 9, 6, 6)
    values[0, 0, [1, 4, 5, 6, 8]] = 1.0
    one = Attribution(values=values, method="m", target=("output 0",), score=torch.ones(1))
    figure = attribution(one, RNG.normal(size=(1, 1, 9, 6, 6)))
    said = texts(figure)
    assert all(f"plane {k}" in said for k in (1, 4, 5, 6, 8)) and "plane 0" not in said
    figure.canvas.draw()


def test_texts_are_coloured_symbol_by_symbol():
    one = Attribution(
        values=torch.tensor([[1.0, -1.0, 0.5]]), method="m", target=("output 0",), score=torch.ones(1)
    )
    figure = attribution(one, np.zeros((1, 3)), symbols=[["a", "b", "\n"]])
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.texts] == ["a", "b", "↵"]
    assert np.asarray(ax.images[0].get_array())[0, :3].tolist() == [1.0, -1.0, 0.5]
    with pytest.raises(ValueError, match="2 symbols for 3 values"):
        attribution(one, np.zeros((1, 3)), symbols=[["a", "b"]])


def test_words_have_a_space_between_them_and_lines_break():
    cells = laid_out(["word"] * 20, np.zeros(20))
    assert [cell[:2] for cell in cells[:2]] == [(0, 0), (0, 5)]
    assert max(column + len(text) for _, column, text, _ in cells) <= 80 and cells[-1][0] == 1


def test_a_few_extremes_do_not_set_the_scale():
    values = np.ones(1000)
    values[0] = 100.0
    assert limit_of(values) == (1.0, True)
    assert limit_of(np.zeros(4)) == (1.0, False)
    assert limit_of(np.array([np.nan, -2.0])) == (2.0, False)


def test_methods_side_by_side():
    maps = {"1. first": found(2, 1, 8, 8), "2. second": found(2, 1, 8, 8)}
    figure = side_by_side(maps, np.zeros((2, 1, 8, 8)), titles=["a", "b"])
    assert len([ax for ax in figure.axes if ax.images]) == 6
    assert "2. second" in texts(figure)
    with pytest.raises(ValueError, match="at least one method"):
        side_by_side({}, np.zeros((2, 1, 8, 8)), titles=["a", "b"])


def test_refused():
    with pytest.raises(ValueError, match="1 inputs and 2 titles for 2 examples"):
        attribution(found(2, 1, 4, 4), np.zeros((1, 1, 4, 4)))


def test_maps_that_cancel_from_pixel_to_pixel_are_drawn_in_blocks():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 97, 104))
    drawn, in_blocks = readable(noise)
    assert in_blocks and drawn.shape == noise.shape
    assert drawn[0, 8:16, 24:32] == pytest.approx(noise[0, 8:16, 24:32].mean())
    assert drawn[0, 96, 0:8] == pytest.approx(noise[0, 96, 0:8].mean())  # the last block is one row high
    assert drawn.sum() == pytest.approx(noise.sum())
    assert kept(noise) == pytest.approx(1 / 8, abs=0.02)
    smooth = np.outer(np.hanning(96), np.hanning(96))[None]
    for whole in (smooth, noise[:, :95], np.zeros((1, 96, 96)), smooth + 0.02 * noise[:, :96, :96]):
        same, in_blocks = readable(whole)
        assert same is whole and not in_blocks
    for values, heading in ((noise, "noisy, means of 8 × 8 pixels"), (smooth, "noisy")):
        found = Attribution(
            values=torch.from_numpy(values)[:, None], method="noisy", target=("a",), score=torch.ones(1)
        )
        figure = attribution(found, np.zeros((1, 1, *values.shape[1:]), np.uint8))
        assert figure.axes[1].get_title(loc="left") == heading
