"""The page of boxes: what is drawn of truth and detections, and what is left out where arrays are damaged."""

import re

import numpy as np
import pytest

from hubel.show.boxes import boxes, marked, outlined
from hubel.show.evidence import Evidence

CLASSES = ["echo", "<star>"]


def evidence(tmp_path, **arrays):
    targets = np.zeros((2, 2, 6), np.float32)
    targets[..., 4] = -1
    targets[0, 0] = (2, 2, 10, 10, 0, 0)
    targets[0, 1] = (12, 2, 15, 6, 1, 1)
    values = np.zeros((2, 2, 6), np.float32)
    values[..., 4] = -1
    values[0] = [(2, 2, 10, 11, 0, 0.9), (0, 0, 5, 5, 1, 0.1)]
    given = {
        "targets": targets,
        "values": values,
        "ids": np.array(["a", "b"]),
        "shown_rows": np.array([0, 1]),
        "shown_pictures": np.random.default_rng(0).integers(0, 255, (2, 1, 16, 20)).astype(np.uint8),
    }
    about = {
        "data": {"boxes": True, "classes": CLASSES, "shape": [1, 16, 20]},
        "objective": {"threshold": 0.4},
        "errors": {"class": {"count": 3, "cost": 0.125}, "missed": {"count": 0, "cost": None}},
        "test": {"AP50[all-point] of echo": {"value": 0.5, "low": 0.25, "high": 0.75}},
    }
    return Evidence(folder=tmp_path, about=about, arrays=given | arrays)


def test_true_and_found_objects_are_drawn(tmp_path):
    found = boxes(evidence(tmp_path), budget=100_000)
    first, second = found["shown"]["cards"]
    assert first["true"].count("<rect") == 2
    assert "&lt;star&gt;, ignored" in first["true"]
    assert first["said"].count("<rect") == 1  # the other is below the threshold
    assert "echo 0.90" in first["said"]
    assert first["told"] == "1 found, 1 true"
    assert "<rect" not in second["true"] + second["said"]
    assert "<star>" not in first["true"]


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        (1, "one channel in grey"),
        (2, "the first of 2 channels in grey"),
        (3, "the three channels as red, green and blue"),
        (16, "the first of 16 channels in grey"),
    ],
)
def test_captions_tell_of_the_channels_that_are_drawn(tmp_path, channels, told):
    """The range is that of the channel that is drawn: the others reach a hundred times as high."""
    rng = np.random.default_rng(0)
    pictures = rng.random((2, channels, 16, 20))
    pictures[:, min(channels, 1) if channels != 3 else 3 :] *= 100
    found = boxes(
        evidence(
            tmp_path,
            shown_pictures=pictures,
            missed_pictures=pictures,
            missed_boxes=np.array([[2, 2, 10, 10, 0, 0]] * 2, np.float32),
            missed_ids=np.array(["a", "b"]),
            missed_kinds=np.array(["missed"] * 2),
        ),
        budget=1_000_000,
    )
    assert f"16 × 20 pixels, {told}. Black is 0.0" in found["shown"]["statement"]
    assert re.search(r"white is (0\.9\d+|1)\.$", found["shown"]["statement"])
    assert found["shown"]["statement"] == found["misses"]["statement"]
    assert [len(card["panels"]) for card in found["misses"]["cards"]] == [1, 1]


def test_classes_and_errors(tmp_path):
    found = boxes(evidence(tmp_path), budget=100_000)
    assert [(row["name"], row["count"]) for row in found["rows"]] == [("echo", "1"), ("<star>", "0")]
    assert found["rows"][0]["half"] == {"value": "0.500", "interval": "[0.25, 0.75]"}
    assert [(row["count"], row["cost"]) for row in found["errors"]["rows"]] == [("3", "0.125"), ("0", "–")]
    assert len(found["curves"]) == 2


def test_intervals_are_those_over_parents_where_there_are_tiles(tmp_path):
    def told(**arrays):
        return " ".join(
            curve["caption"] for curve in boxes(evidence(tmp_path, **arrays), budget=100_000)["curves"]
        )

    assert "bootstrap over 2 images" in told()
    assert "bootstrap over 2 groups" in told(groups=np.array([0, 1]))
    assert "No bands: all are parts of one picture." in told(groups=np.array([0, 0]))
    assert "bootstrap over 2 images" in told(groups=np.array([0, 1, 2]))  # those of something else
    drawn = boxes(evidence(tmp_path, groups=np.array([0, 0])), budget=100_000)["curves"]
    assert not any("nan" in curve["picture"].lower() for curve in drawn)


def test_the_scores_of_the_only_class_are_those_of_all(tmp_path):
    one = evidence(tmp_path)
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    data = {**one.about["data"], "classes": ["echo"]}
    about = one.about | {"data": data, "test": {"AP50[all-point]": score, "AP[coco]": score}}
    (row,) = boxes(Evidence(folder=tmp_path, about=about, arrays=one.arrays), budget=100_000)["rows"]
    assert row["half"] == row["mean"] == {"value": "0.500", "interval": "[0.25, 0.75]"}


@pytest.mark.parametrize(
    "damaged",
    [
        {"values": np.zeros((2, 2, 5), np.float32)},
        {"values": np.full((2, 2, 6), np.nan, np.float32)},
        {"values": np.zeros((3, 2, 6), np.float32)},
        {"shown_rows": np.array([0, 7])},
        {"shown_pictures": np.zeros((1, 1, 16, 20), np.uint8)},
    ],
)
def test_damaged_arrays_show_nothing(tmp_path, damaged):
    found = boxes(evidence(tmp_path, **damaged), budget=100_000)
    assert found["shown"] is None


def test_a_label_at_the_right_ends_at_its_box():
    drawn = outlined("data:,", (50, 100), np.array([[90, 20, 98, 30, 0, 0.5]]), ("echo",), said="found")
    at, anchor = re.search(r'<text x="([\d.]+)".*?text-anchor="(\w+)"', drawn).groups()
    assert (float(at), anchor) == (98.0, "end")


def test_boxes_are_marked_where_they_are():
    picture = np.full((1, 64, 64), 50, np.uint8)
    picture[0, 0, 0] = 255
    drawn = np.asarray(marked(picture, np.array([[16, 24, 32, 40, 0, 0.9]]), ("echo",)))
    assert drawn.shape == (640, 640, 3)
    coloured = (drawn[..., 0] != drawn[..., 2]).nonzero()
    assert coloured[1].min() == 160
    assert coloured[0].max() == 399
