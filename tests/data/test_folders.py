import os

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import load


def picture(path, *, size=(8, 8), mode="L", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for k, name in enumerate(["cat", "dog"]):
        for j in range(4):
            picture(root / name / f"p{j}.png", seed=10 * k + j)
    return root


def test_a_folder_of_class_folders(photos):
    data = load(photos)
    assert data.classes == ("cat", "dog")
    assert data.targets.tolist() == [0] * 4 + [1] * 4
    assert data.ids.tolist()[:2] == ["cat/p0.png", "cat/p1.png"]
    assert data.name == "photos"
    assert data.part is None
    assert data.notes == ()
    assert np.array_equal(data.inputs[5, 0], np.asarray(Image.open(photos / "dog" / "p1.png")))


def test_parts_that_are_folders(photos, tmp_path):
    root = tmp_path / "split"
    for part in ("train", "val", "Test"):
        (root / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            os.symlink(photos / name, root / part / name)
    data = load(root)
    assert {part: int((data.part == part).sum()) for part in np.unique(data.part)} == {
        "test": 8,
        "train": 8,
        "validation": 8,
    }
    assert data.ids[0].split("/")[0] in ("Test", "train")
    (root / "Test" / "cat").unlink()
    assert "The test part has no picture of cat" in " ".join(load(root).notes)
    (root / "train" / "cat").unlink()
    with pytest.raises(ValueError, match="classes without a training picture: cat"):
        load(root)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "car"):
        picture(tmp_path / name / "a.png")
    assert load(tmp_path).classes == ("car", "train")


def test_natural_order_and_folders_below(tmp_path):
    for name in ("grade 10", "grade 9"):
        picture(tmp_path / name / "a.png")
    picture(tmp_path / "grade 9" / "below" / "deeper" / "b.png")
    data = load(tmp_path)
    assert data.classes == ("grade 9", "grade 10")
    assert data.class_counts() == {"grade 9": 2, "grade 10": 1}


def test_other_files_are_counted_and_hidden_ones_are_not(photos):
    (photos / "cat" / "notes.txt").write_text("x")
    (photos / "cat" / ".DS_Store").write_text("x")
    (photos / ".cache").mkdir()
    (photos / "README").write_text("x")
    picture(photos / "loose.png")
    data = load(photos)
    assert len(data) == 8
    assert data.notes == (
        "1 pictures lie outside class folders; they have no label and were left out.",
        "2 files are no pictures that hubel reads (1 without ending, 1 .txt); they were left out.",
    )


def test_non_ascii_and_decomposed_names(tmp_path):
    for part, name in (("train", "caf\u00e9"), ("test", "cafe\u0301"), ("train", "狗"), ("test", "狗")):
        picture(tmp_path / part / name / "größe ü.png")
    data = load(tmp_path)
    assert data.classes == ("caf\u00e9", "狗")
    assert len(data) == 4


def test_names_that_are_not_unicode(tmp_path):
    picture(tmp_path / "a" / "x.png")
    picture(tmp_path / "b" / "x.png")
    os.rename(os.fsencode(tmp_path / "b" / "x.png"), os.fsencode(tmp_path / "b") + b"/\xff.png")
    data = load(tmp_path)
    assert data.ids.tolist() == ["a/x.png", "b/\ufffd.png"]
    assert np.array_equal(load(tmp_path).inputs, data.inputs)


def test_symlink_loops_are_not_followed(photos):
    os.symlink(photos, photos / "cat" / "back")
    os.symlink(photos / "dog", photos / "dog" / "again")
    data = load(photos)
    assert len(data) == 8
    assert "2 links lead back" in data.notes[0]


@pytest.mark.parametrize("count", [0, 3])
def test_a_folder_without_classes_is_refused(tmp_path, count):
    for k in range(count):
        picture(tmp_path / f"{k}.png")
    said = "3 pictures, but no class folders" if count else "is empty"
    with pytest.raises(UnreadableData, match=said):
        load(tmp_path)


def test_a_folder_with_a_table_points_to_it(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(UnreadableData, match=r"give the table itself: .*labels\.csv"):
        load(tmp_path)


def test_one_class_only_is_refused(tmp_path):
    picture(tmp_path / "cat" / "a.png")
    with pytest.raises(ValueError, match='one class only, "cat"'):
        load(tmp_path)


def test_a_class_folder_without_pictures_is_refused(photos):
    (photos / "horse").mkdir()
    with pytest.raises(ValueError, match="without a picture: horse"):
        load(photos)


def test_class_folders_that_differ_in_case_are_refused(photos):
    picture(photos / "Cat" / "x.png")
    with pytest.raises(ValueError, match="differ in case only: Cat, cat"):
        load(photos)


def test_file_names_that_differ_in_case_are_noted(photos):
    picture(photos / "cat" / "P0.png")
    data = load(photos)
    assert len(data) == 9
    assert "cat/P0.png and cat/p0.png" in data.notes[0]


def test_all_unreadable_files_are_named_or_left_out(photos):
    (photos / "cat" / "p1.png").write_bytes(b"")
    whole = (photos / "dog" / "p2.png").read_bytes()
    (photos / "dog" / "p2.png").write_bytes(whole[: len(whole) // 2])
    os.symlink(photos / "nowhere.png", photos / "dog" / "p9.png")
    with pytest.raises(
        UnreadableData,
        match=r"3 of 9 files can not be read: cat/p1\.png .*dog/p2\.png .*dog/p9\.png.*skip_unreadable=True",
    ):
        load(photos)
    for _ in range(2):  # decoded, then remembered
        data = load(photos, skip_unreadable=True)
        assert data.ids.tolist() == [
            "cat/p0.png",
            "cat/p2.png",
            "cat/p3.png",
            "dog/p0.png",
            "dog/p1.png",
            "dog/p3.png",
        ]
        assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
        for row, name in zip(data.inputs, data.ids, strict=True):
            assert np.array_equal(row[0], np.asarray(Image.open(photos / name)))
        assert "3 of 9 files can not be read" in data.notes[0]
        assert "left out" in data.notes[0]
    with pytest.raises(UnreadableData, match="3 of 9 files"):
        load(photos)


def test_only_ten_files_are_named_and_nothing_left_is_refused(tmp_path):
    for name in ("a", "b"):
        for k in range(6):
            picture(tmp_path / name / f"{k}.png")
            (tmp_path / name / f"{k}.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableData, match=r"12 of 12 files .*; and 2 more"):
        load(tmp_path)
    with pytest.raises(UnreadableData, match="None is left"):
        load(tmp_path, skip_unreadable=True)


def test_mixed_channels_are_counted_and_converted_when_asked(photos):
    colour = picture(photos / "cat" / "rgb.png", mode="RGB")
    with pytest.raises(
        ValueError,
        match=r'8 grey \(1\): cat/p0\.png.*; 1 red\+green\+blue \(3\): cat/rgb\.png\. Say channels="rgb"',
    ):
        load(photos)
    data = load(photos, channels="rgb")
    assert data.shape == (3, 8, 8)
    row = data.ids.tolist().index("cat/rgb.png")
    assert np.array_equal(data.inputs[row], np.moveaxis(colour, 2, 0))
    assert (data.inputs[0, 0] == data.inputs[0, 2]).all()
    grey = load(photos, channels="grey")
    assert np.array_equal(grey.inputs[row, 0], np.asarray(Image.fromarray(colour).convert("L")))
    with pytest.raises(ValueError, match="channels='gray' is not known"):
        load(photos, channels="gray")  # type: ignore[arg-type]


def test_rgb_and_rgba_are_mixed_channels_too(tmp_path):
    picture(tmp_path / "a" / "x.png", mode="RGBA")
    picture(tmp_path / "b" / "x.png", mode="RGB")
    with pytest.raises(ValueError, match=r"red\+green\+blue\+alpha \(4\)"):
        load(tmp_path)
    assert load(tmp_path, channels="rgb").shape == (3, 8, 8)


def test_mixed_value_types_are_refused(photos):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(photos / "dog" / "deep.png")
    with pytest.raises(ValueError, match=r"different value types: 8 uint8: .*; 1 uint16: dog/deep\.png"):
        load(photos)


def test_sizes_that_differ_are_resized_and_said(photos):
    picture(photos / "cat" / "wide.png", size=(8, 16))
    data = load(photos)
    assert data.shape == (1, 8, 8)
    assert data.notes == (
        "1 of 9 pictures (8 to 8 rows, 8 to 16 columns) were resized to 8 × 8, keeping their aspect and padding with the mean of their border.",
    )
    assert load(photos, size=4, resize="crop").shape == (1, 4, 4)
    with pytest.raises(ValueError, match="resize='zoom' is not known"):
        load(photos, resize="zoom")  # type: ignore[arg-type]


def test_nan_in_a_picture_is_named_or_set_to_zero(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    for name in "ab":
        (tmp_path / name).mkdir()
        values = np.ones((4, 4), np.float32)
        values[1, 1] = np.nan if name == "b" else 1
        fits.PrimaryHDU(values).writeto(tmp_path / name / "x.fits")
    with pytest.raises(UnreadableData, match=r"b/x\.fits \(1 of its values are NaN"):
        load(tmp_path)
    data = load(tmp_path, nan="zero")
    assert data.inputs[1].sum() == 15


def test_progress_is_told(photos):
    told = []
    load(photos, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (8, 8)
    assert told == sorted(told[:8]) + sorted(told[8:])


def test_what_load_can_not_take(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match='Did you mean "photos"'):
        load(tmp_path / "phots")
    with pytest.raises(FileNotFoundError, match='Did you mean "fashion-mnist"'):
        load("fashion-mnst")
    with pytest.raises(TypeError, match="from_arrays"):
        load(np.zeros(3))  # type: ignore[arg-type]
    (tmp_path / "x.docx").write_text("x")
    with pytest.raises(ValueError, match="a kind that hubel does not load"):
        load(tmp_path / "x.docx")
    (tmp_path / "x.npz").write_text("x")
    with pytest.raises(ValueError, match="size=3 is for image files"):
        load(tmp_path / "x.npz", size=3)
    with pytest.raises(ValueError, match="channels='rgb' is for image files"):
        load("digits", channels="rgb")
    with pytest.raises(ValueError, match="target='kind' names a column"):
        load(tmp_path, target="kind")


def test_symmetries_are_the_users_word(photos):
    assert load(photos).symmetries == frozenset()
    data = load(photos, symmetries=["flip_horizontal"])
    assert data.symmetries == {"flip_horizontal"}
    assert load(data, symmetries=["shift"]).symmetries == {"shift"}
    with pytest.raises(ValueError, match="unknown symmetries"):
        load(photos, symmetries=["mirror"])


@pytest.mark.parametrize("others", [[], ["sample/x/1.png"]])
def test_parts_without_classes_are_refused(tmp_path, others):
    """The layout of many competitions: train/CLASS/…, and a flat folder of test pictures without labels."""
    for name in ("train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png", *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 9).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"folders for parts.*name the training folder alone"):
        load(tmp_path)
    assert load(tmp_path / "train").classes == ("cat", "dog")
