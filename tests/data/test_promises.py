"""Files that promise more than they hold, or unfold to more than fits, are refused before room is made for them."""

import gzip
import io
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import load, storage
from hubel.data.archives import opened_npz
from hubel.data.idx import parse_idx, uncompressed

Y = np.arange(8) % 2


def npy(shape, dtype, content=b""):
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def stored(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.fixture
def little_memory(monkeypatch):
    """1 MiB is free, and no more may be taken from the disk."""
    monkeypatch.setattr(storage, "free_memory", lambda: 2**20)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f8", "c8", "?", "<U3", "S2"])
@pytest.mark.parametrize("shape", [(4, 3, 2), (0, 3), (), (5,)])
def test_every_array_comes_back(tmp_path, shape, dtype, order):
    values = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 7, dtype=dtype, order=order)
    np.savez_compressed(tmp_path / "a.npz", values=values)
    with opened_npz(tmp_path / "a.npz") as archive:
        assert archive.files == ["values"]
        found = archive["values"]
    assert found.dtype == values.dtype and found.shape == values.shape
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 10**6, 10**6), "<f8"),
        ((10**18,), "|u1"),
        ((8, 2), "|u1"),
        ((2**40, 2**40), "|u1"),
        ((-8, 4), "|u1"),
    ],
)
def test_npz_members_that_promise_more_than_they_hold(tmp_path, shape, dtype):
    path = npz(tmp_path / "a.npz", x=npy(shape, dtype, bytes(64)), y=stored(Y))
    with pytest.raises(UnreadableData, match=r"a\.npz.*(says that it holds|expected numbers)"):
        load(path)


@pytest.mark.parametrize("dtype", ["|O", "|V4", "<U0"])
def test_npz_members_that_are_no_numbers(tmp_path, dtype):
    path = npz(tmp_path / "a.npz", x=npy((8, 4), dtype, bytes(64)), y=stored(Y))
    with pytest.raises(ValueError, match=r"a\.npz (holds Python objects|can not be read.* expected numbers)"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '|u1', \n", b"{" * 50, b"", b"[1]", b"{'descr': 1, 'fortran_order': 2, 'shape': 3}"],
)
def test_headers_that_are_none(tmp_path, header):
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    path = npz(tmp_path / "a.npz", x=content, y=stored(Y))
    with pytest.raises(UnreadableData, match=r"a\.npz can not be read"):
        load(path)
    (tmp_path / "x.npy").write_bytes(content)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(UnreadableData, match=r"x\.npy can not be read"):
        load(tmp_path / "x.npy")


@pytest.mark.usefixtures("little_memory")
def test_a_bomb_in_an_archive_is_refused_before_it_unfolds(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((8, 10**6), np.uint8), y=Y)
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    with pytest.raises(
        UnreadableData, match=r"unfolds from [\d,]+ to 8,000,000 bytes.*decompression bomb.*np\.savez"
    ):
        load(tmp_path / "a.npz")


def test_an_archive_that_does_not_fit_is_mapped(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (8, 1000), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=x, y=Y)
    monkeypatch.setattr(storage, "free_memory", lambda: 1000)
    data = load(tmp_path / "a.npz")
    assert isinstance(data.inputs, np.memmap)
    assert np.array_equal(data.inputs, x)


def test_a_changed_member_is_found_by_its_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 1000), np.uint8), y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[4000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UnreadableData, match="CRC"):
        load(tmp_path / "a.npz")


def test_an_npy_file_that_promises_more_than_it_holds(tmp_path):
    (tmp_path / "x.npy").write_bytes(npy((8, 10**6, 10**6), "<f8", bytes(64)))
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(UnreadableData, match=r"x\.npy can not be read"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [(10**9, 10**6), (8, 10**7, 10**5), (2**62, 8)])
def test_hdf5_that_promises_more_than_it_holds(tmp_path, shape):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", shape=shape, dtype="f8", chunks=tuple(min(n, 8) for n in shape))
        file["y"] = Y
    with pytest.raises(UnreadableData, match=r"a\.h5: /x says that it holds .* but 0 bytes are in the file"):
        load(tmp_path / "a.h5")


def test_idx_that_unfolds_to_more_than_fits(tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(10**7)))
    assert len(uncompressed(tmp_path / "a.gz")) == 10**7
    monkeypatch.setattr("hubel.data.idx.free_memory", lambda: 10**6)
    with pytest.raises(UnreadableData, match=r"a\.gz unfolds from [\d,]+ to more than 400,000 bytes"):
        uncompressed(tmp_path / "a.gz")


@pytest.mark.parametrize("axes", [0, 33, 255])
def test_idx_with_a_strange_number_of_axes(axes):
    with pytest.raises(UnreadableData, match=f"it has {axes} axes; expected 1 to 32"):
        parse_idx(bytes([0, 0, 8, axes]) + bytes(4 * axes) + b"\1", "a")


def test_a_fits_cube_that_promises_more_than_it_holds(tmp_path):
    pytest.importorskip("astropy")
    cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -64",
        "NAXIS   =                    3",
    ]
    cards += [f"NAXIS{k}  = {n:20d}" for k, n in ((1, 900_000), (2, 900_000), (3, 8))] + ["END"]
    (tmp_path / "a.fits").write_bytes(
        "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)
    )
    with pytest.raises(UnreadableData, match=r"a\.fits (says that it holds|can not be read)"):
        load(tmp_path / "a.fits")


def test_a_limit_of_the_address_space_counts(monkeypatch):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (used + 2**30, -1))
    assert 0.9 * 2**30 < storage.free_memory() <= 2**30
