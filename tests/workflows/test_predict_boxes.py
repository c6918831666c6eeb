"""Objects on new pictures: tiles of the size of the fit, put together over their seams, written into files."""

import csv
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import hubel
from hubel.core.errors import UnreadableData
from hubel.core.types import Prediction
from hubel.data.boxes import packed
from hubel.objectives import AnchorFreeDetection
from hubel.workflows.predict import predict_files
from hubel.workflows.predict_boxes import found_in, predict_boxes, tile_with

SIDE, TILE = 40, 100


class Bright:
    """In place of a run: finds every bright square of any size that a tile shows, cut where the tile ends."""

    folder = "bright"
    objective: ClassVar = AnchorFreeDetection(2, classes=("small", "large"), threshold=0.3)
    reading: ClassVar = {
        "kind": "images",
        "shape": [1, TILE, TILE],
        "size": [TILE, TILE],
        "channels": ["grey"],
        "convert": None,
        "dtype": "uint8",
        "nan": "refuse",
        "resize": "pad",
        "boxes": {"classes": ["small", "large"], "tile": [TILE, TILE], "overlap": 50, "resized": False},
    }

    def predict(self, inputs):
        from scipy import ndimage

        assert inputs.shape[1:] == (1, TILE, TILE)
        rows = []
        for picture in inputs:
            labels, _ = ndimage.label(picture[0] > 100)
            found = [
                (s[1].start, s[0].start, s[1].stop, s[0].stop, 1, picture[0][s].max() / 255)
                for s in ndimage.find_objects(labels)
            ]
            rows.append(np.array(sorted(found, key=lambda row: -row[5]), np.float64).reshape(-1, 6))
        return Prediction(values=packed(rows), classes=("small", "large"))


PLACES = [(10, 20), (80, 30), (130, 75), (200, 160), (61, 150), (5, 215)]


@pytest.fixture
def picture():
    pixels = np.full((1, 260, 333), 40, np.uint8)
    for k, (y, x) in enumerate(PLACES):
        pixels[0, y : y + SIDE, x : x + SIDE] = 200 + k
    return pixels


def boxes_of(rows):
    return sorted((int(y0), int(x0)) for x0, y0, *_ in rows.tolist())


def test_every_object_is_found_once_however_the_tiles_lie(picture):
    rows = found_in(Bright(), picture, Bright.reading, 0.3)
    assert boxes_of(rows) == sorted(PLACES)
    np.testing.assert_allclose(rows[:, 2:4] - rows[:, :2], SIDE)
    assert rows[0, 5] == rows[:, 5].max()


def test_a_picture_smaller_than_a_tile_is_padded():
    pixels = np.full((1, 60, 70), 40, np.uint8)
    pixels[0, 5:25, 40:70] = 220
    rows = found_in(Bright(), pixels, Bright.reading, 0.3)
    assert rows[:, :4].tolist() == [[40, 5, 70, 25]]


def test_pictures_that_were_resized_are_answered_in_their_own_pixels():
    reading = Bright.reading | {"boxes": Bright.reading["boxes"] | {"resized": True, "overlap": 0}}
    pixels = np.full((1, 200, 400), 40, np.uint8)
    pixels[0, 80:120, 200:280] = 220
    rows = found_in(Bright(), pixels, reading, 0.3)
    np.testing.assert_allclose(rows[0, :4], [200, 80, 280, 120], atol=4)


def test_less_sure_objects_are_left_out(picture):
    assert len(found_in(Bright(), picture, Bright.reading, 0.79)) == 4  # 202 of 255 and more


def test_answers_files_and_drawings(picture, tmp_path):
    Image.fromarray(picture[0]).save(tmp_path / "sky.png")
    Image.fromarray(np.full((50, 50), 40, np.uint8)).save(tmp_path / "empty.png")
    paths = [tmp_path / "sky.png", tmp_path / "empty.png"]
    out, drawings = tmp_path / "found.csv", tmp_path / "drawn"
    answers = list(predict_boxes(Bright(), paths, out=out, pictures=drawings))
    assert [len(answer["objects"]) for answer in answers] == [6, 0]
    assert answers[0]["objects"][0]["class"] == "large"
    assert answers[0]["objects"][0]["box"] == [215.0, 5.0, 255.0, 45.0]
    with out.open() as file:
        assert len([row for row in csv.DictReader(file) if row["label"]]) == 6
    drawn = np.asarray(Image.open(drawings / "sky.png"))
    assert (drawn[5, 220] != picture[0, 5, 220]).any()
    with pytest.raises(FileExistsError, match="drawings are there already"):
        list(predict_boxes(Bright(), paths, pictures=drawings))
    data = hubel.data.load(out)
    assert data.has_boxes


@pytest.mark.parametrize(
    "lay", [lambda x: x, lambda x: x[0], lambda x: np.moveaxis(x, 0, 2)], ids=["CHW", "HW", "HWC"]
)
def test_an_array_of_one_large_picture_is_a_picture(picture, tmp_path, lay):
    np.save(tmp_path / "sky.npy", lay(picture))
    (answer,) = predict_boxes(Bright(), [tmp_path / "sky.npy"])
    assert len(answer["objects"]) == len(PLACES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"threshold": 1.5}, "expected a score from 0 to 1"),
        ({"out": "found.txt"}, "it is not clear in which format"),
        ({"out": "found.txt", "format": "pickle"}, "one of coco"),
    ],
)
def test_wrong_words(words, said, tmp_path):
    words = {k: tmp_path / v if k == "out" else v for k, v in words.items()}
    with pytest.raises(ValueError, match=said):
        list(predict_boxes(Bright(), [], **words))


def test_other_channels_and_types_are_refused(tmp_path):
    Image.fromarray(np.zeros((50, 50), np.uint16)).save(tmp_path / "deep.png")
    answers = list(predict_boxes(Bright(), [tmp_path / "deep.png"]))
    assert "its values are uint16, expected uint8" in answers[0]["unreadable"]


def test_a_detector_answers_through_the_common_door(tmp_path):
    net = hubel.nets.anchor_free(8, strides=(8,), inputs=(1, 32, 32), outputs=1)
    x = np.random.default_rng(0).integers(0, 99, (12, 1, 32, 32)).astype(np.uint8)
    x[:, :, 8:20, 8:20] = 220
    targets = packed([np.array([[8, 8, 20, 20, 0, 0]])] * 12)
    data = hubel.data.Dataset(inputs=x, targets=targets, classes=("square",))
    recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision(threads=1))
    run = hubel.fit(data, net=net, recipe=recipe, out=tmp_path / "run", quiet=True)
    np.save(tmp_path / "new.npy", x[:2])
    answers = list(predict_files(run, [tmp_path / "new.npy"], boxes={"threshold": 0.0}))
    assert [set(answer) for answer in answers] == [{"file", "objects"}] * 2
    assert torch.is_tensor(run.outputs(x[:1]))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    np.save(tmp_path / "other.npy", np.zeros((2, 3, 32, 32), np.uint8))
    files = [tmp_path / name for name in ("broken.png", "new.npy", "other.npy")]
    asked = predict_files(run, files, boxes={"threshold": 0.0, "out": tmp_path / "found.json"})
    assert [next(asked), next(asked)] == answers
    with pytest.raises(
        UnreadableData, match=r"(?s)2 files can not be read.*broken\.png.*other\.npy has shape"
    ):
        next(asked)
    assert len(json.loads((tmp_path / "found.json").read_text())["images"]) == 2
    labelled = hubel.fit(x, [0, 1] * 6, recipe=recipe, out=tmp_path / "classes", quiet=True)
    with pytest.raises(ValueError, match="was not fitted to boxes"):
        list(predict_files(labelled, [tmp_path / "new.npy"], boxes={"threshold": 0.2}))


def test_the_line_of_an_object():
    from hubel.cli.answers import objects

    rows = list(
        objects(
            [
                {"file": "a", "objects": [{"class": "x", "score": 0.5, "box": [1, 2, 3, 4]}]},
                {"file": "b", "objects": []},
            ]
        )
    )
    assert rows[0] == {"file": "a", "class": "x", "score": 0.5, "x0": 1, "y0": 2, "x1": 3, "y1": 4}
    assert rows[1]["file"] == "b"
    assert rows[1]["class"] == ""
    assert json.dumps(rows[1])


@pytest.mark.parametrize("name", ["found.json", "found.csv"])
def test_what_is_written_is_read_again_with_its_pictures(name, picture, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    Image.fromarray(picture[0]).save(tmp_path / "new/sky.png")
    monkeypatch.chdir(tmp_path)
    out = Path("answers/of today") / name
    list(predict_boxes(Bright(), [Path("new/sky.png")], out=out))
    assert "../../new/sky.png" in out.read_text()
    data = hubel.data.load(out)
    assert data.shape == (1, 260, 333)
    assert len(data.targets[0]) == len(PLACES)


def test_folders_are_made_when_there_is_something_to_put_into_them(picture, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    drawings, labels = tmp_path / "drawn", tmp_path / "labels"
    broken = [tmp_path / "broken.png"]
    (answer,) = predict_boxes(Bright(), broken, pictures=drawings, out=labels, format="yolo")
    assert answer["unreadable"] and not answer["objects"]
    assert not drawings.exists() and not labels.exists()
    Image.fromarray(picture[0]).save(tmp_path / "sky.png")
    list(predict_boxes(Bright(), [tmp_path / "sky.png"], pictures=drawings, out=labels, format="yolo"))
    assert (drawings / "sky.png").exists() and (labels / "labels/sky.txt").exists()
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(NotADirectoryError, match="this is no folder"):
        list(predict_boxes(Bright(), [tmp_path / "sky.png"], pictures=tmp_path / "taken"))


def test_the_tile_about_the_surest_object(picture):
    tile, corner = tile_with(Bright(), picture, Bright.reading)
    assert corner == (0, 185)  # 205 of 255 at (5, 215): its middle is (25, 235)
    assert np.array_equal(tile, picture[:, :TILE, 185 : 185 + TILE])
    with pytest.raises(ValueError, match="nothing is found on it"):
        tile_with(Bright(), picture, Bright.reading, kind=0)
    small, corner = tile_with(Bright(), picture[:, :60, :70], Bright.reading, kind=0)
    assert corner == (0, 0) and np.array_equal(small[:, :60, :70], picture[:, :60, :70])


@pytest.mark.parametrize(("format", "name"), [("coco", "labels.json"), ("csv", "labels.csv"), ("yolo", ".")])
def test_labels_of_a_person_are_not_written_over(picture, tmp_path, format, name):
    (path := tmp_path / "a.png").write_bytes(b"")
    Image.fromarray(picture[0]).save(path)
    (tmp_path / "labels.json").write_text("mine")
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(FileExistsError, match="there already"):
        list(predict_boxes(Bright(), [path], out=tmp_path / name, format=format))
    assert (tmp_path / "labels.json").read_text() == (tmp_path / "labels.csv").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "labels.csv", "labels.json"]


def test_pictures_that_would_be_written_as_one_are_refused_before_the_work(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((30, 30), np.uint8)).save(tmp_path / folder / "a.png")
    one, two = tmp_path / "one/a.png", tmp_path / "two/a.png"
    with pytest.raises(ValueError, match=r"a\.png is named twice"):
        next(predict_boxes(Bright(), [one, one], out=tmp_path / "f.json"))
    with pytest.raises(ValueError, match=r"would both be written as a\.xml: .* choose a format with one"):
        next(predict_boxes(Bright(), [one, two], out=tmp_path / "voc", format="voc"))
    assert len(list(predict_boxes(Bright(), [one, two], out=tmp_path / "f.json"))) == 2


def test_a_format_without_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none is named: name it, out="):
        next(predict_boxes(Bright(), [tmp_path / "a.png"], format="yolo"))
