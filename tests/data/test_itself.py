"""`target="self"`: the input as its own target, from every kind of source, with or without labels."""

import csv

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import Dataset, from_arrays, load
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
