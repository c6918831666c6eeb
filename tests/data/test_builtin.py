import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import BUILTIN, load
from hubel.data.downloads import fetch

GIVEN = os.environ.get("HUBEL_DATA")  # before the fixture takes it away


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data, expected = load("digits"), load_digits()
    assert data.inputs.dtype == np.uint8
    assert np.array_equal(data.inputs[:, 0], expected.images)
    assert np.array_equal(data.targets, expected.target)
    assert data.symmetries == {"shift"}
    assert data.shape == (1, 8, 8)
    assert "1,797" in data.source
    assert load("digits", symmetries=[]).symmetries == frozenset()


def idx(values):
    return (
        bytes([0, 0, 8, values.ndim])
        + b"".join(n.to_bytes(4, "big") for n in values.shape)
        + values.tobytes()
    )


@pytest.fixture
def small_mnist(monkeypatch):
    """A data set that calls itself mnist: its files' content, and checksums to match."""
    x, y = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4), np.array([0, 1, 2, 3, 9], np.uint8)
    content = dict(
        zip(
            [n for n, _ in BUILTIN["mnist"].files],
            (idx(x[:3]), idx(y[:3]), idx(x[3:]), idx(y[3:])),
            strict=True,
        )
    )
    files = tuple((n, hashlib.sha256(c).hexdigest()) for n, c in content.items())
    monkeypatch.setitem(BUILTIN, "mnist", replace(BUILTIN["mnist"], files=files, system=()))
    return content


def test_files_are_found_checked_and_read(small_mnist, tmp_path, own_cache, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"mnist is not on this machine \(looked in .*download=True"):
        load("mnist")
    folder = tmp_path / "mnist"
    folder.mkdir()
    for k, (name, content) in enumerate(small_mnist.items()):
        (folder / name).with_suffix(".gz" if k % 2 else "").write_bytes(
            gzip.compress(content) if k % 2 else content
        )
        if k % 2:
            (folder / name).with_suffix(".gz").rename(folder / f"{name}.gz")
    monkeypatch.setenv("HUBEL_DATA", str(tmp_path))
    data = load("MNIST")
    assert data.part.tolist() == ["train"] * 3 + ["test"] * 2
    assert data.targets.tolist() == [0, 1, 2, 3, 9]
    assert data.classes == tuple("0123456789")
    assert np.array_equal(data.inputs.ravel(), np.arange(80))
    monkeypatch.setenv("HUBEL_DATA", str(folder))
    assert load("mnist").fingerprint == data.fingerprint
    changed = bytearray(small_mnist["train-images-idx3-ubyte"])
    changed[-1] ^= 1
    (folder / "train-images-idx3-ubyte").write_bytes(changed)
    with pytest.raises(UnreadableData, match=r"is not the published file: its content has SHA-256"):
        load("mnist")


def test_download_only_when_allowed(small_mnist, tmp_path, own_cache, monkeypatch):
    for name, content in small_mnist.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    address = tmp_path.as_uri() + "/{}.gz"
    monkeypatch.setitem(BUILTIN, "mnist", replace(BUILTIN["mnist"], address=address))
    with pytest.raises(FileNotFoundError, match="Allow the download"):
        load("mnist")
    told = []
    assert len(load("mnist", download=True, progress=lambda done, total: told.append((done, total)))) == 5
    assert told[0][0] == told[0][1] > 0
    for path in tmp_path.iterdir():
        path.unlink()
    assert len(load("mnist")) == 5  # from the cache


def test_a_download_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(ConnectionError, match=r"its content has SHA-256 .*put it at"):
        fetch((tmp_path / "a.gz").as_uri(), tmp_path / "out" / "a.gz", "0" * 64)
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        fetch((tmp_path / "none.gz").as_uri(), tmp_path / "out" / "b.gz", "0" * 64)
    assert not list((tmp_path / "out").iterdir())
    fetch((tmp_path / "a.gz").as_uri(), tmp_path / "out" / "a.gz", hashlib.sha256(b"hello").hexdigest())
    assert gzip.decompress((tmp_path / "out" / "a.gz").read_bytes()) == b"hello"


@pytest.mark.parametrize(("name", "labels"), [("cifar-10", 1), ("cifar-100", 2)])
def test_cifar_binary_archives(tmp_path, monkeypatch, name, labels):
    from hubel.data.cifar import LAYOUT

    generator = np.random.default_rng(0)
    folder, train, test, names, _ = LAYOUT[name]
    num_classes = {1: 10, 2: 100}[labels]
    pixels = {f: generator.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8) for f in (*train, test)}
    numbers = {f: generator.integers(0, num_classes, (3, labels), dtype=np.uint8) for f in (*train, test)}
    members = {
        f: b"".join(numbers[f][k].tobytes() + pixels[f][k].tobytes() for k in range(3)) for f in pixels
    }
    members[names] = "\n".join(f"class_{k}" for k in range(num_classes)).encode() + b"\n\n"
    path = tmp_path / f"{name}-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members.items():
            info = tarfile.TarInfo(folder + member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(BUILTIN, name, replace(BUILTIN[name], files=((path.name, digest),)))
    monkeypatch.setenv("HUBEL_DATA", str(tmp_path))
    data = load(name)
    assert np.array_equal(data.inputs, np.concatenate([pixels[f] for f in (*train, test)]))
    assert np.array_equal(data.targets, np.concatenate([numbers[f][:, -1] for f in (*train, test)]))
    assert data.part.tolist()[-4:] == ["train", "test", "test", "test"]
    assert len(data.classes) == num_classes
    assert data.symmetries == {"flip_horizontal", "shift", "occlusion"}
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableData, match="not the published file"):
        load(name)


def test_fashion_mnist_where_this_machine_has_it(monkeypatch):
    if GIVEN is not None:
        monkeypatch.setenv("HUBEL_DATA", GIVEN)
    try:
        data = load("fashion-mnist")
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not on this machine; $HUBEL_DATA may name its folder")
    assert data.inputs.shape == (70_000, 1, 28, 28)
    assert (data.part == "test").sum() == 10_000
    assert set(data.class_counts().values()) == {7000}
    assert data.classes[9] == "Ankle boot"
