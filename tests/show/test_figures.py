import sys

import numpy as np
import pytest
from made_runs import drawn_run

from hubel import show
from hubel.show import charts
from hubel.show.scales import Scale, scale, tick_text


@pytest.mark.parametrize("name", ["curves", "confusion", "mistakes"])
def test_figures_of_classes_are_saved(tmp_path, digits, name):
    getattr(show, name)(digits).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000
    assert "matplotlib.pyplot" not in sys.modules


def test_figures_of_real_values(tmp_path, diabetes):
    show.predicted(diabetes).savefig(tmp_path / "figure.png")
    show.curves(diabetes).savefig(tmp_path / "curves.png")
    with pytest.raises(ValueError, match="holds no class predictions"):
        show.confusion(diabetes)
    with pytest.raises(ValueError, match="holds no pictures of its mistakes"):
        show.mistakes(diabetes)


def test_figures_say_what_is_missing(tmp_path, digits):
    with pytest.raises(ValueError, match="records no epoch"):
        show.curves(tmp_path)
    with pytest.raises(ValueError, match="no predictions of real values"):
        show.predicted(digits)
    with pytest.raises(ValueError, match="there are 101 classes"):
        show.confusion(drawn_run(tmp_path / "run", classes=[str(k) for k in range(101)], examples=300))


def test_names_are_not_read_as_formulas(tmp_path):
    folder = drawn_run(tmp_path / "run", classes=["$\\frac$", "$x", "<b>"], examples=100, skill=0.5)
    show.confusion(folder).savefig(tmp_path / "a.png")
    show.mistakes(folder).savefig(tmp_path / "b.png")


def test_scales_map_their_ends_and_have_round_ticks():
    across = Scale(0.01, 10, 0, 300, log=True)
    assert [across(v) for v in (0.01, 0.1, 10)] == pytest.approx([0, 100, 300])
    assert np.isnan(across(0))
    assert across.ticks() == [0.01, 0.1, 1, 10]
    assert Scale(0, 1, 0, 1).ticks() == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert len(Scale(0.5, 0.55, 0, 1, log=True).ticks()) >= 3
    for values in ([], [float("nan")], [3.0], [0.0, 0.0], [1e-300, 1e300], [-5, -5]):
        for log in (False, True):
            assert len(scale(values, 0, 100, log=log).ticks()) < 40
    assert tick_text(-1500.0) == "−1500"


def test_a_curve_with_gaps_and_spikes_keeps_both():
    y = [1.0] * 5000
    y[100], y[200:300] = 50.0, [float("nan")] * 100
    drawing = charts.lines([charts.Line(name="a", x=range(5000), y=y)], x_name="x", y_name="y", alt="a")
    line = drawing.split('class="line one" d="')[1].split('"')[0]
    assert line.count("M") == 2
    assert line.count("L") <= 1000
    assert (
        f" {charts.TOP + 0.04 / 1.08 * (charts.HEIGHT - charts.TOP - charts.BOTTOM):.1f}" in line
    )  # the spike's top
