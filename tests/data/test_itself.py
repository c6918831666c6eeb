"""`target="self"`: the input as its own target, from every kind of source, with or without labels."""

import csv

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import Dataset, from_arrays, load, read_like
from hubel.data.preprocessing import Scaling, scaling_of
from hubel.data.source import dataset_of


def picture(path, level, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(level, level + 40, (9, 10), dtype=np.uint8)
    Image.fromarray(values).save(path)


@pytest.fixture
def photos(tmp_path):
    for k in range(3):
        picture(tmp_path / "photos" / "cat" / f"{k}.png", 0, k)
        picture(tmp_path / "photos" / "dog" / f"{k}.png", 100, 10 + k)
    return tmp_path / "photos"


def test_class_folders_keep_their_names_as_labels(photos):
    data = load(photos, target="self", cache=False)
    assert data.is_its_own_target
    assert data.classes is None
    assert data.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    np.testing.assert_array_equal(data.inputs, load(photos, cache=False).inputs)


def test_a_flat_folder_and_a_single_folder_have_no_labels(photos, tmp_path):
    data = load(photos / "cat", target="self", cache=False)
    assert len(data) == 3
    assert data.is_its_own_target
    assert data.labels is None
    assert data.ids.tolist() == ["0.png", "1.png", "2.png"]
    assert data.notes == ()
    picture(tmp_path / "one" / "cat" / "a.png", 0, 0)
    assert load(tmp_path / "one", target="self", cache=False).ids.tolist() == ["cat/a.png"]
    with pytest.raises(UnreadableData, match="no class folders"):
        load(photos / "cat", cache=False)


def test_loose_pictures_beside_folders_are_all_taken(photos):
    picture(photos / "loose.png", 50, 5)
    data = load(photos, target="self", cache=False)
    assert len(data) == 7
    assert data.labels is None


def test_folders_for_parts_without_classes(tmp_path):
    for part, num in (("train", 4), ("test", 2)):
        for k in range(num):
            picture(tmp_path / "p" / part / f"{k}.png", 0, k)
    data = load(tmp_path / "p", target="self", cache=False)
    assert data.part.tolist() == ["test"] * 2 + ["train"] * 4
    train, _, test = data.split(seed=0, validation=0)
    assert (len(train), len(test)) == (4, 2)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UnreadableData, match="no picture in it"):
        load(tmp_path, target="self")


@pytest.mark.parametrize("labels", [None, ["a", "b", "a", "b", "a", "b"], ["a", "", "a", "b", "a", "b"]])
def test_a_table_of_pictures(photos, labels):
    with open(photos.parent / "t.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path"] if labels is None else ["path", "label"])
        for k, path in enumerate(sorted(photos.rglob("*.png"))):
            rows.writerow([path] if labels is None else [path, labels[k]])
    data = load(photos.parent / "t.csv", target="self", cache=False)
    assert data.is_its_own_target
    assert len(data) == 6
    assert (data.labels is None) == (labels is None or "" in labels)


def test_arrays_in_files(tmp_path):
    x = np.arange(48, dtype=np.float32).reshape(12, 4)
    np.savez(tmp_path / "alone.npz", spectra=x)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "labelled.npz", x=x, y=np.array(["u", "v"] * 6))
    np.savez(tmp_path / "values.npz", x=x, y=x[:, 0])
    np.savez(tmp_path / "parts.npz", x_train=x[:8], x_test=x[8:])
    np.save(tmp_path / "spectra.npy", x)
    for name in ("alone.npz", "x.npz", "labelled.npz", "values.npz", "parts.npz", "spectra.npy"):
        data = load(tmp_path / name, target="self")
        assert data.is_its_own_target, name
        np.testing.assert_array_equal(data.inputs, x)
        assert (data.labels is not None) == (name == "labelled.npz")
        assert (data.part is not None) == (name == "parts.npz")
    with pytest.raises(ValueError, match="no targets beside it"):
        load(tmp_path / "spectra.npy")
    with pytest.raises(ValueError, match="no array for the targets"):
        load(tmp_path / "x.npz")


def test_built_in_data_and_datasets():
    data = load("digits", target="self")
    assert data.is_its_own_target
    assert sorted(set(data.labels.tolist())) == [str(k) for k in range(10)]
    whole = load("digits")
    assert load(whole, target="self").is_its_own_target
    assert dataset_of(whole, "self").is_its_own_target
    assert dataset_of("digits", "self").fingerprint == data.fingerprint != whole.fingerprint


def test_arrays_in_memory():
    x = np.random.default_rng(0).normal(size=(10, 3))
    data = dataset_of(x, "self", options={"labels": ["p", "q"] * 5, "name": "two"})
    assert isinstance(data, Dataset)
    assert data.is_its_own_target
    assert data.labels.tolist() == ["p", "q"] * 5
    assert data.notes == ()
    with pytest.raises(ValueError, match="labels has 3 rows, but inputs have 10"):
        from_arrays(x, "self", labels=[1, 2, 3])
    with pytest.raises(TypeError, match="y is 'label'; expected one target per example, or \"self\""):
        dataset_of(x, "label")
    with pytest.raises(TypeError, match=r"fit\(x, 'self'\) for the input itself"):
        dataset_of(x)


def idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + values.tobytes())


def test_idx_files_without_labels(tmp_path):
    x = np.arange(5 * 9 * 8, dtype=np.uint8).reshape(5, 9, 8)
    idx(tmp_path / "stars-idx3-ubyte", x)
    data = load(tmp_path / "stars-idx3-ubyte", target="self")
    assert data.is_its_own_target and data.labels is None
    np.testing.assert_array_equal(data.inputs[:, 0], x)
    with pytest.raises(
        ValueError, match=r"no labels beside it; expected .*To learn the images themselves, say --target self"
    ):
        load(tmp_path / "stars-idx3-ubyte")


def test_idx_folders_with_labels_for_all_images_or_for_some(tmp_path):
    x, y = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4), np.array([7, 1, 7, 1], dtype=np.uint8)
    idx(tmp_path / "train-images-idx3-ubyte", x[:4])
    idx(tmp_path / "train-labels-idx1-ubyte", y)
    assert load(tmp_path, target="self").labels.tolist() == ["7", "1", "7", "1"]
    idx(tmp_path / "t10k-images-idx3-ubyte", x[4:])
    data = load(tmp_path, target="self")
    assert data.labels is None
    assert data.part.tolist() == ["train"] * 4 + ["test"] * 2
    np.testing.assert_array_equal(data.inputs[:, 0], x)
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte has no labels beside it"):
        load(tmp_path)


# tables of numbers


def written(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def stars(num=12, seed=0):
    rng = np.random.default_rng(seed)
    return [[f"{m:.6g}", f"{1e4 * t:.6g}", "AB"[k % 2]] for k, (m, t) in enumerate(rng.normal(size=(num, 2)))]


def test_a_table_of_numbers_gives_back_its_columns(tmp_path):
    rows = stars()
    path = written(tmp_path / "stars.csv", ["mass [Msun]", "T (K)", "class"], rows)
    data = load(path, target="self")
    assert data.is_its_own_target
    np.testing.assert_allclose(data.inputs, [[float(m), float(t)] for m, t, _ in rows], rtol=1e-6)
    assert data.channels == ("mass [Msun]", "T (K)")
    assert data.labels.tolist() == [row[2] for row in rows]
    assert data.classes is None
    assert any("class is shown beside the rows, and nothing learns it" in note for note in data.notes)
    scaling = scaling_of(data)
    assert isinstance(scaling, Scaling)  # which can be inverted
    assert scaling.mean == pytest.approx(data.inputs.mean(axis=0), rel=1e-5)
    assert scaling.std == pytest.approx(data.inputs.std(axis=0), rel=1e-5)
    assert load(path, target="self", ignore="class").labels is None
    other = load(
        written(tmp_path / "more.csv", ["T (K)", "mass [Msun]"], [[2, 1], [4, 3]]), reading=data.reading
    )
    assert other.is_its_own_target
    np.testing.assert_array_equal(other.inputs, [[1, 2], [3, 4]])


def test_numbers_called_target_are_features_unless_they_name_classes(tmp_path):
    rows = [[0.5 * k, 0.25 * k * k, k % 3, k] for k in range(30)]
    header = ["a", "b", "label", "n"]
    data = load(written(tmp_path / "t.csv", header, rows), target="self")
    assert data.channels == ("a", "b")  # n counts the rows
    assert data.labels.tolist() == [str(k % 3) for k in range(30)]
    kept = load(tmp_path / "t.csv", target="self", columns=["a", "label"])
    assert kept.channels == ("a", "label") and kept.labels is None
    real = load(written(tmp_path / "r.csv", ["a", "label"], [row[:2] for row in rows]), target="self")
    assert real.channels == ("a", "label") and real.labels is None


def test_a_data_frame_and_a_mapping(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.5, 3.0], "b": [5, 4, 1], "label": ["u", "v", "u"]})
    for source in (frame, frame.to_dict("list")):
        data = dataset_of(source, "self")
        assert data.is_its_own_target and data.channels == ("a", "b")
        assert data.labels.tolist() == ["u", "v", "u"]
    assert dataset_of(frame, options={"target": "self"}).fingerprint == data.fingerprint
    again = dataset_of(frame, options={"target": "label"}).as_its_own_target()
    assert again.is_its_own_target and again.reading["nan"] == "refuse"


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        (
            ["a", "kind"],
            [[1, "x"], [2, "y"], [3, "x"]],
            r"the columns kind \(category\) hold no numbers.*--ignore",
        ),
        (["a", "on"], [[1, "yes"], [2, "no"], [3, "no"]], r"the columns on \(yes/no\) hold no numbers"),
        (
            ["a", "b"],
            [[1, 5], [2, ""], [3, "nan"]],
            r"values are missing \(b 2\).*fill gaps or remove their rows",
        ),
    ],
)
def test_tables_with_words_or_gaps_are_refused(tmp_path, header, rows, said):
    with pytest.raises(UnreadableData, match=rf"t.csv can not be its own target: {said}"):
        load(written(tmp_path / "t.csv", header, rows), target="self")
    data = load(tmp_path / "t.csv", target="a", task="values")
    with pytest.raises(UnreadableData, match="can not be its own target"):
        data.as_its_own_target()


def test_a_new_table_with_gaps_is_refused(tmp_path):
    data = load(written(tmp_path / "t.csv", ["a", "b"], [[1, 5], [2, 7], [4, 6]]), target="self")
    gap = written(tmp_path / "gap.csv", ["a", "b"], [[1, 5], [2, ""]])
    for read in (lambda: read_like(gap, data.reading), lambda: load(gap, reading=data.reading)):
        with pytest.raises(UnreadableData, match=r"the column 'b' has nothing in 1 rows \(first row 2\)"):
            read()
    with pytest.raises(ValueError, match="x has NaN in 1 of 2 rows"):
        read_like(np.array([[1.0, np.nan], [2, 3]]), data.reading)
