import gzip

import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import load

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 6, 7), dtype=np.uint8)
Y = np.arange(12) % 3
PARTS = {"train": slice(0, 6), "validation": slice(6, 8), "test": slice(8, 12)}


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x", "y"),
        ("X", "Y"),
        ("images", "labels"),
        ("data", "target"),
        ("inputs", "targets"),
        ("arr_0", "arr_1"),
    ],
)
def test_npz_by_name(tmp_path, x, y):
    np.savez(tmp_path / "d.npz", **{x: X, y: Y})
    data = load(tmp_path / "d.npz")
    assert np.array_equal(data.inputs[:, 0], X)
    assert np.array_equal(data.targets, Y)
    assert data.part is None
    assert data.name == "d"


@pytest.mark.parametrize("name", ["{role}_{part}", "{part}_{role}", "{role}{part}", "{part}{Role}"])
@pytest.mark.parametrize("val", ["val", "valid"])
def test_npz_with_parts(tmp_path, name, val):
    stored = {}
    for part, rows in PARTS.items():
        short = {"validation": val}.get(part, part)
        stored[name.format(role="x", Role="X", part=short)] = X[rows]
        stored[name.format(role="y", Role="Y", part=short)] = Y[rows]
    np.savez_compressed(tmp_path / "d.npz", **dict(reversed(stored.items())))
    data = load(tmp_path / "d.npz")
    assert np.array_equal(data.inputs[:, 0], X)
    assert np.array_equal(data.targets, Y)
    assert data.part.tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 4


def test_npz_in_the_manner_of_medmnist_with_names_and_groups(tmp_path):
    stored = {
        f"{p}_images": X[PARTS[q]] for p, q in (("train", "train"), ("val", "validation"), ("test", "test"))
    }
    stored |= {
        f"{p}_labels": Y[PARTS[q], None]
        for p, q in (("train", "train"), ("val", "validation"), ("test", "test"))
    }
    np.savez(tmp_path / "d.npz", class_names=["a", "b", "c"], **stored)
    data = load(tmp_path / "d.npz")
    assert data.classes == ("a", "b", "c")
    assert np.array_equal(data.targets, Y)
    np.savez(
        tmp_path / "g.npz",
        x=X,
        y=Y,
        groups=Y + 5,
        weights=np.ones(12),
        split=["train"] * 8 + ["val"] * 4,
        extra=[1],
    )
    data = load(tmp_path / "g.npz")
    assert data.groups.tolist() == (Y + 5).tolist()
    assert (data.part == "validation").sum() == 4
    assert data.notes[0] == "Arrays that are not used: extra."


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"x": X}, "no array for the targets; expected a name such as y, targets"),
        ({"y": Y}, r"no array for the inputs.* The file has: y"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "each part needs its own"),
        ({"x": X, "images": X, "y": Y}, "two arrays for x: x and images"),
        ({"x": X, "y": Y[:5]}, "12 inputs, but 5 y"),
        ({"x": X, "y": np.array([None] * 12)}, "Python objects, which are not unpickled"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y}, "of named parts and without a part"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "different shapes or types"),
        ({"x": X, "y": Y, "split": ["trian"] * 12}, r"the split 'trian'.*Did you mean \"train\""),
    ],
)
def test_faulty_npz(tmp_path, stored, said):
    np.savez(tmp_path / "d.npz", **stored)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "d.npz")


def test_another_target_and_a_broken_file(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, mass=np.linspace(0, 1, 12))
    assert load(tmp_path / "d.npz", target="mass").targets.shape == (12, 1)
    with pytest.raises(ValueError, match=r"no array 'mas'\. Did you mean \"mass\""):
        load(tmp_path / "d.npz", target="mas")
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[:100])
    with pytest.raises(UnreadableData, match=r"can not be read"):
        load(tmp_path / "d.npz")
    (tmp_path / "d.npz").write_bytes(b"")
    with pytest.raises(UnreadableData, match=r"can not be read"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("a", "a_labels"),
        ("a", "a_y"),
        ("x", "y"),
        ("x_train", "y_train"),
        ("X", "y"),
        ("my_images", "my_labels"),
    ],
)
def test_npy_with_targets_beside_it(tmp_path, x, y, monkeypatch):
    np.save(tmp_path / f"{x}.npy", X)
    with pytest.raises(ValueError, match=f"no targets beside it; expected one of .*{y}"):
        load(tmp_path / f"{x}.npy")
    np.save(tmp_path / f"{y}.npy", Y)
    data = load(tmp_path / f"{x}.npy")
    assert not isinstance(data.inputs, np.memmap)
    assert np.array_equal(data.inputs[:, 0], X)
    assert np.array_equal(data.targets, Y)
    np.save(tmp_path / f"{x}.npy", np.zeros_like(X))
    assert np.array_equal(data.inputs[:, 0], X), "what was read changes with the file"
    monkeypatch.setattr("hubel.data.archives.fits", lambda num_bytes: False)
    assert isinstance(load(tmp_path / f"{x}.npy").inputs, np.memmap)


def test_npy_that_is_broken_or_pickled(tmp_path):
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "x.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not unpickled|Python objects"):
        load(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-5])
    with pytest.raises(UnreadableData, match="can not be read"):
        load(tmp_path / "x.npy")


def test_hdf5(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["train/images"], file["train/labels"] = X[:8], Y[:8]
        file["test/images"], file["test/labels"] = X[8:], Y[8:]
    data = load(tmp_path / "d.h5")
    assert np.array_equal(data.inputs[:, 0], X)
    assert data.part.tolist() == ["train"] * 8 + ["test"] * 4
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["x"] = X
        file["y"] = np.array(["cat", "dog", "ox"], dtype=h5py.string_dtype())[Y]
        file.create_dataset("weights", data=np.ones(12))
    data = load(tmp_path / "s.h5")
    assert data.classes == ("cat", "dog", "ox")
    monkeypatch.setattr("hubel.data.archives.fits", lambda num_bytes: False)
    mapped = load(tmp_path / "s.h5")
    assert isinstance(mapped.inputs, np.memmap)
    assert np.array_equal(mapped.inputs, data.inputs)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=True, compression="gzip")
        file["y"] = Y
    monkeypatch.setattr("hubel.data.storage.fits", lambda num_bytes: False)
    chunked = load(tmp_path / "c.h5")
    assert isinstance(chunked.inputs, np.memmap)
    assert np.array_equal(chunked.inputs, data.inputs)
    (tmp_path / "d.h5").write_bytes(b"no")
    with pytest.raises(UnreadableData, match="can not be read as HDF5"):
        load(tmp_path / "d.h5")


def cube(path, x, **columns):
    fits = pytest.importorskip("astropy.io.fits")
    formats = {"i": "J", "f": "D", "U": "10A"}
    made = [
        fits.Column(name=n, format=formats[np.asarray(v).dtype.kind], array=np.asarray(v))
        for n, v in columns.items()
    ]
    fits.HDUList([fits.PrimaryHDU(x), fits.BinTableHDU.from_columns(made)]).writeto(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_fits_cube(tmp_path, dtype):
    x = X.astype(dtype)
    cube(tmp_path / "c.fits", x, Label=Y, group=Y % 2, split=np.array(["train"] * 6 + ["test"] * 6))
    data = load(tmp_path / "c.fits")
    assert data.inputs.dtype == dtype
    assert data.inputs.dtype.isnative
    assert np.array_equal(data.inputs[:, 0], x)
    assert np.array_equal(data.targets, Y)
    assert data.groups.tolist() == (Y % 2).tolist()
    assert data.part.tolist() == ["train"] * 6 + ["test"] * 6


def test_fits_cube_of_channels_with_words_and_a_named_column(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    x = RNG.normal(size=(12, 4, 9, 8)).astype(np.float32)
    cube(tmp_path / "c.fits", x, kind=np.array(["star", "galaxy", "quasar"])[Y], z=np.linspace(0, 1, 12))
    with pytest.raises(ValueError, match=r"no table with a column 'label'.* There are: kind, z"):
        load(tmp_path / "c.fits")
    data = load(tmp_path / "c.fits", target="kind")
    assert np.array_equal(data.inputs, x)
    assert data.classes == ("galaxy", "quasar", "star")
    assert load(tmp_path / "c.fits", target="z").classes is None
    with fits.open(tmp_path / "c.fits", mode="update") as units:
        units[0].header["LABELCOL"] = "kind"
    assert load(tmp_path / "c.fits").classes == data.classes


def test_fits_cube_is_scaled_as_astropy_does_and_says_so(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    cube(tmp_path / "c.fits", X.astype(np.int16), label=Y)
    with fits.open(tmp_path / "c.fits", mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"], units[0].header["BZERO"] = 0.5, 10.0
    data = load(tmp_path / "c.fits")
    assert np.array_equal(data.inputs[:, 0], fits.getdata(tmp_path / "c.fits"))
    assert data.inputs[0, 0, 0, 0] == 0.5 * X[0, 0, 0] + 10
    assert "BSCALE 0.5, BZERO 10.0" in data.notes[0]


def test_faulty_fits(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(X[0]).writeto(tmp_path / "p.fits")
    with pytest.raises(ValueError, match="no cube of pictures"):
        load(tmp_path / "p.fits")
    cube(tmp_path / "c.fits", X, label=Y[:5])
    with pytest.raises(ValueError, match="12 pictures, but the table with the column 'label' has 5 rows"):
        load(tmp_path / "c.fits")
    (tmp_path / "b.fits").write_bytes(b"no")
    with pytest.raises(UnreadableData, match="can not be read as FITS"):
        load(tmp_path / "b.fits")


def idx(values):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    header = bytes([0, 0, codes[values.dtype.str[1:]], values.ndim]) + b"".join(
        n.to_bytes(4, "big") for n in values.shape
    )
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_idx_types(tmp_path, dtype):
    x = X.astype(dtype)
    (tmp_path / "my-images-idx3-ubyte").write_bytes(idx(x))
    (tmp_path / "my-labels-idx1-ubyte").write_bytes(idx(Y.astype(np.uint8)))
    data = load(tmp_path / "my-images-idx3-ubyte")
    assert data.inputs.dtype == dtype
    assert np.array_equal(data.inputs[:, 0], x)
    assert np.array_equal(data.targets, Y)


def test_a_folder_of_idx_files_plain_or_gzipped(tmp_path):
    y = Y.astype(np.uint8)
    for part, rows in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X[rows])))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(y[rows]))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(X[:8]))
    data = load(tmp_path)
    assert np.array_equal(data.inputs[:, 0], X)
    assert data.part.tolist() == ["train"] * 8 + ["test"] * 4


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(X)[:-1], idx(Y.astype(np.uint8)), "says that it holds"),
        (idx(X), idx(Y[:5].astype(np.uint8)), "12 images, but .* has 5 labels"),
        (b"\x89PNG", idx(Y.astype(np.uint8)), "not an IDX file: it begins with 89 50 4e 47"),
        (idx(X), None, "no labels beside it; expected my-labels-idx1-ubyte"),
        (b"\0\0\x08\x03\0\0", idx(Y.astype(np.uint8)), "truncated inside its header"),
    ],
)
def test_faulty_idx(tmp_path, images, labels, said):
    (tmp_path / "my-images-idx3-ubyte").write_bytes(images)
    if labels:
        (tmp_path / "my-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "my-images-idx3-ubyte")


def test_a_truncated_gzip(tmp_path):
    (tmp_path / "my-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X))[:-9])
    (tmp_path / "my-labels-idx1-ubyte").write_bytes(idx(Y.astype(np.uint8)))
    with pytest.raises(UnreadableData, match="truncated or damaged"):
        load(tmp_path / "my-images-idx3-ubyte.gz")
