"""The page of examples that were their own target: what its figures and captions say."""

import re

import numpy as np
import pytest

from hubel.show import charts, course
from hubel.show.charts import Line
from hubel.show.evidence import Evidence
from hubel.show.itself import itself
from hubel.show.latent_map import shown_share
from hubel.show.verdict import verdict


def evidence(tmp_path, arrays=None, asked="Reconstruction", losses=(0.9, 0.5), **data):
    about = {
        "objective": {"is": f"hubel.objectives.{asked}"},
        "data": {"own_target": True, "shape": [3], **data},
        "expected_initial_loss": 0.693,
    }
    epochs = tuple({"epoch": k, "loss": v} for k, v in enumerate(losses, start=1))
    return Evidence(folder=tmp_path, about=about, arrays=arrays or {}, epochs=epochs)


@pytest.mark.parametrize(
    "values",
    [
        (0.36, 0.43, 0.5, 0.59, 0.68, 0.69, 0.72, 0.74, 0.745, 0.74, 0.75, 0.755),  # adversaries
        (2.2, 1.4, 1.0, 0.8, 0.7, 0.69, 0.68, 0.69, 0.69, 0.69, 0.69, 0.69),
        (0.69, 0.69, 0.69, 0.68, 0.66, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05),
    ],
)
def test_the_label_of_a_level_is_not_crossed_by_a_curve(values):
    label = "before learning: 0.693"
    curve = Line(name="train", x=list(range(1, 13)), y=list(values), kind="one")
    picture = charts.lines([curve], x_name="epoch", y_name="loss", level=(0.693, label), alt="", log=True)
    x, y, anchor = re.search(
        rf'<text class="note" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">{label}', picture
    ).groups()
    start = float(x) - (6.3 * len(label) if anchor == "end" else 0)
    path = re.search(r'<path class="line one" d="M([^"]+)"', picture)[1]
    points = np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", path)])
    across = np.linspace(start, start + 6.3 * len(label), 100)
    inside = (across >= points[0, 0]) & (across <= points[-1, 0])
    heights = np.interp(across[inside], points[:, 0], points[:, 1])
    assert np.abs(heights - (float(y) - 4)).min() > 6


def test_labels_of_small_ticks_stand_inside_the_drawing():
    curve = Line(name="", x=[1, 2, 3], y=[0.00094, 0.0005, 0.00001], kind="three")
    picture = charts.lines(
        [curve], x_name="epoch", y_name="learning rate", alt="", limits=(0.0, 0.001034), whole=True
    )
    ticks = re.findall(r'<text class="tick" x="([\d.]+)" y="[\d.]+" text-anchor="end">([^<]+)<', picture)
    assert "0.00025" in [told for _, told in ticks]
    assert all(float(x) - 6.6 * len(told) > 0 for x, told in ticks)


def test_the_loss_of_adversaries_is_called_what_it_is(tmp_path):
    figures = course.course(evidence(tmp_path, asked="Adversarial"))["figures"]
    assert "does not say how good the samples are" in figures[0]["caption"]
    assert "can not tell: 0.693" in figures[0]["picture"]
    assert "begins near it" not in figures[0]["caption"]
    assert "begins near it" in course.course(evidence(tmp_path))["figures"][0]["caption"]


def test_a_map_says_how_much_of_the_codes_it_shows(tmp_path):
    codes = np.random.default_rng(0).normal(size=(200, 4)) * np.array([3.0, 2.0, 1.0, 1.0])
    values = np.linalg.svd(codes - codes.mean(axis=0), compute_uv=False) ** 2
    share = values[:2].sum() / values.sum()
    assert shown_share(codes) == pytest.approx(share)
    labels = np.array(["a", "b"] * 100)
    page = itself(
        evidence(tmp_path, {"codes": codes, "labels": labels, "code_rows": np.arange(200)}), budget=1000
    )
    assert f"The plane holds {100 * share:.0f} % of their variance" in page["map"]["caption"]
    plane = itself(evidence(tmp_path, {"codes": codes[:, :2], "labels": labels}), budget=1000)
    assert "plane holds" not in plane["map"]["caption"]


def test_codes_of_one_value_are_a_histogram(tmp_path):
    codes = np.random.default_rng(0).normal(size=(50, 1)).astype("float32")
    found = itself(evidence(tmp_path, {"codes": codes}), budget=1000)["map"]
    assert "Histogram of codes of one value: 50 examples" in found["picture"]


def test_rows_of_a_table_stand_beside_what_is_given_back(tmp_path):
    rows = np.array([[1.5, 2e4, 0.1, 7.0], [2.5, 3e4, 0.2, 8.0]])
    arrays = {"shown_examples": rows, "shown_given_back": rows + 0.25, "shown_rows": np.array([1, 4])}
    arrays["ids"] = np.array(["row 7", "row 8", "row 9", "row 10", "row 11"])
    of_table = {"channels": ["mass [Msun]", "T (K)", "z", "n"], "reading": {"kind": "table"}}
    found = itself(evidence(tmp_path, arrays, **of_table), budget=1000)
    assert found["columns"]["names"] == ["row 8", "row 11"]
    first = found["columns"]["rows"][0]
    assert first["name"] == "mass [Msun]" and first["numbers"] == ["1.5", "1.75", "2.5", "2.75"]
    assert found["lines"] == []
    assert itself(evidence(tmp_path, arrays), budget=1000)["columns"] is None


@pytest.mark.parametrize(
    ("high", "said"), [(0.6, "The whole interval lies below."), (0.9, "nothing shows yet")]
)
def test_the_error_without_a_network_stands_beside_that_of_the_network(tmp_path, high, said):
    found = evidence(tmp_path)
    found.about["test"] = {"rmse": {"value": 0.5, "low": 0.4, "high": high}}
    errors = {"mean of the training examples": 1.25, "8 principal components": 0.75}
    found.about["baselines"] = {name: {"rmse": error} for name, error in errors.items()}
    told = verdict(found)["comparison"]
    assert told.startswith(
        "Without a network the error would be 1.25 by the mean of the training examples, 0.75 by the 8 principal components."
    )
    assert said in told
