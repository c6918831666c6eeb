"""What the report says of series, films and forecasts."""

import numpy as np
import pytest

from hubel.show.datacard import datacard
from hubel.show.errors import errors
from hubel.show.evidence import Evidence
from hubel.show.examples import entering
from hubel.show.verdict import verdict


def evidence(tmp_path, data, **more):
    about = {"data": data, **more.pop("about", {})}
    return Evidence(folder=tmp_path, about=about, **more)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"shape": [40, 2], "ragged": True}, "up to 40 × 2 (steps × features)"),
        ({"shape": [40, 2]}, "40 × 2 (steps × features)"),
        ({"shape": [100], "reading": {"kind": "text"}}, "100 symbols"),
        (
            {"shape": [6, 1, 8, 9], "reading": {"kind": "image series"}},
            "6 × 1 × 8 × 9 (pictures × channels × rows × columns)",
        ),
        ({"shape": [1, 6, 8, 9]}, "1 × 6 × 8 × 9 (channels × depth × rows × columns)"),
    ],
)
def test_the_axes_of_one_example(tmp_path, data, said):
    assert dict(datacard(evidence(tmp_path, data))["facts"])["Shape of one"] == said


def test_series_are_shown_as_they_enter_and_padding_is_in_no_range(tmp_path):
    steps = np.zeros((3, 5, 2), np.float32)
    steps[:, :, 0], steps[:, :, 1] = 4.0, -2.0
    steps[0, 2:] = 0.0
    arrays = {
        "entering_series": steps,
        "entering_lengths": np.array([2, 5, 5]),
        "entering_targets": np.array([1, 0, 1]),
    }
    data = {"channels": ["flux (mJy)", "error"], "classes": ["nova", "star"], "shape": [5, 2]}
    found = entering(evidence(tmp_path, data, arrays=arrays), budget=10_000)
    assert [row["name"] for row in found["channels"]] == ["flux, scaled", "error, scaled"]
    assert [(row["low"], row["high"]) for row in found["channels"]] == [("4", "4"), ("−2", "−2")]
    assert [card["label"] for card in found["cards"]] == ["star", "nova", "star"]
    assert "Series 1 of the first batch of 2 steps" in found["cards"][0]["drawing"]


def test_films_are_no_volumes(tmp_path):
    pictures = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype("float32")
    data = {"shape": [3, 1, 8, 9], "reading": {"kind": "image series"}}
    found = entering(evidence(tmp_path, data, arrays={"entering_pictures": pictures}), budget=100_000)
    assert "Middle planes" not in found["statement"]
    assert "3 pictures, side by side in grey" in found["statement"]
    assert [len(card["panels"]) for card in found["cards"]] == [
        3,
        3,
    ]  # not one picture in red, green and blue
    assert (found["noun"], found["shape"]) == ("picture", "3 × 8 × 9")


@pytest.mark.parametrize(
    ("names", "said"), [(["the last value"], "of it"), (["a", "b"], "of the better one")]
)
def test_one_naive_forecast_is_not_the_better_one(tmp_path, names, said):
    score = {"value": 2.0, "low": 1.9, "high": 2.1}
    skill = {"value": 0.5, "low": 0.4, "high": 0.6}
    about = {"naive": {name: {"rmse": score, "skill": skill} for name in names}, "test": {"rmse": score}}
    found = verdict(evidence(tmp_path, {"target_names": ["x +1"]}, about=about))
    assert f"Of the squared error {said} the network saves 50.0 %" in found["comparison"]


def test_forecasts_in_different_units_are_compared_by_r2(tmp_path):
    def interval(value):
        return {"value": value, "low": value - 0.1, "high": value + 0.1}

    naive = {
        name: {"rmse": interval(1.0), "r2": interval(r2), "skill": interval(skill)}
        for name, r2, skill in [("a", 0.2, 0.5), ("b", 0.6, 0.3)]
    }
    about = {"naive": naive, "test": {"r2": interval(0.7)}}
    found = verdict(evidence(tmp_path, {"target_names": ["x +1", "y +1"], "units": ["m", "K"]}, about=about))
    assert "a would give an R² of 0.2; b would give an R² of 0.6." in found["comparison"]
    assert "saves 30.0 %" in found["comparison"]  # beside b, whose error is the smaller one


@pytest.mark.parametrize(
    ("low", "said"), [(0.1, "The whole interval lies above."), (-0.1, "nothing shows yet")]
)
def test_the_mean_has_an_r2_of_0(tmp_path, low, said):
    about = {"test": {"r2": {"value": 0.2, "low": low, "high": 0.4}}}
    found = verdict(evidence(tmp_path, {"target_names": ["a", "b"], "units": ["m", "K"]}, about=about))
    assert found["comparison"].startswith("Always answering the mean of these targets would give 0.")
    assert said in found["comparison"]


def test_a_forecast_is_told_by_its_columns(tmp_path):
    names = [f"{column} +{k}" for k in (1, 2, 3) for column in ("level", "wind")]
    data = {
        "target_names": names,
        "units": ["m", "m/s"] * 3,
        "reading": {"kind": "forecast", "horizon": 3, "target_columns": [0, 1]},
    }
    facts = dict(datacard(evidence(tmp_path, data))["facts"])
    assert facts["Target"] == "the next 3 values of level (m), wind (m/s)"


def test_of_many_steps_ahead_the_first_the_last_and_some_between_are_drawn(tmp_path):
    targets = np.random.default_rng(0).normal(size=(30, 14))
    data = {"target_names": [f"level +{k}" for k in range(1, 15)]}
    found = errors(evidence(tmp_path, data, arrays={"targets": targets, "values": targets + 0.1}))
    assert [output["name"] for output in found["outputs"]] == [
        "level +1",
        "level +5",
        "level +10",
        "level +14",
    ]
    assert found["shown"] == "4 of 14 values, evenly chosen."
