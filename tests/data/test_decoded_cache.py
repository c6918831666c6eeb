import os

import numpy as np
import pytest
from PIL import Image

import hubel.data.pictures
from hubel.data import load
from hubel.data.storage import fits, free_memory, in_slices, room_for


@pytest.fixture
def photos(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(5):
            values = np.random.default_rng(k).integers(0, 256, (9, 8), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "photos" / name / f"{k}.png")
    return tmp_path / "photos"


@pytest.fixture
def decodings(monkeypatch):
    """Counts how often files are decoded."""
    counted = []
    real = hubel.data.pictures.decode_all
    monkeypatch.setattr(
        hubel.data.pictures, "decode_all", lambda *a: (counted.append(len(a[0])), real(*a))[1]
    )
    return counted


def test_the_second_time_nothing_is_decoded(photos, decodings):
    first, second = load(photos), load(photos)
    assert decodings == [10]
    assert first.fingerprint == second.fingerprint
    assert (first.reading, first.notes) == (second.reading, second.notes)
    assert second.inputs.flags.writeable or isinstance(second.inputs, np.memmap)
    load(photos, size=4)
    assert decodings == [10, 10]
    load(photos, cache=False)
    assert decodings == [10, 10, 10]


def test_a_changed_file_is_decoded_again(photos, decodings):
    load(photos)
    Image.fromarray(np.full((9, 8), 7, np.uint8)).save(photos / "cat" / "3.png")
    assert (load(photos).inputs[3] == 7).all()
    (photos / "cat" / "3.png").touch()
    load(photos)
    (photos / "cat" / "4.png").unlink()
    assert len(load(photos)) == 9
    assert decodings == [10, 10, 10, 9]


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "manifest", "no manifest", "other array"])
def test_a_damaged_cache_is_found_out(photos, decodings, own_cache, harm):
    expected = load(photos)
    (array,) = (own_cache / "decoded").glob("*.npy")
    manifest = array.with_suffix(".json")
    content = bytearray(array.read_bytes())
    if harm == "flip":
        content[-20] ^= 1
        array.write_bytes(content)
    elif harm == "truncate":
        array.write_bytes(content[:-20])
    elif harm == "empty":
        array.write_bytes(b"")
    elif harm == "manifest":
        manifest.write_text(manifest.read_text()[:-30])
    elif harm == "no manifest":
        manifest.unlink()
    else:
        np.save(array, np.zeros((3, 3)))
    assert load(photos).fingerprint == expected.fingerprint
    assert decodings == [10, 10]
    load(photos)
    assert decodings == [10, 10]


def test_a_cache_that_can_not_be_written_is_only_noted(photos, own_cache, monkeypatch):
    (own_cache / "decoded").write_text("a file where the folder should be")
    data = load(photos)
    assert len(data) == 10
    assert "were not kept for the next time" in data.notes[-1]
    monkeypatch.setenv("HUBEL_CACHE", "/proc/none")
    assert "were not kept" in load(photos).notes[-1]


def test_a_full_disk_is_only_noted(photos, own_cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    data = load(photos)
    assert "No space left on device" in data.notes[-1]
    assert not list((own_cache / "decoded").glob("*"))


def test_what_does_not_fit_in_memory_is_mapped(photos, decodings, own_cache, monkeypatch):
    expected = load(photos, cache=False)
    monkeypatch.setattr("hubel.data.decoded_cache.fits", lambda num_bytes: False)
    for _ in range(2):
        data = load(photos)
        assert isinstance(data.inputs, np.memmap)
        assert data.fingerprint == expected.fingerprint
    assert decodings == [10, 10]
    assert len(list((own_cache / "decoded").iterdir())) == 2
    (photos / "cat" / "0.png").write_bytes(b"no")
    whole = (photos / "dog" / "0.png").read_bytes()
    (photos / "dog" / "0.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        data = load(photos, skip_unreadable=True)
        assert len(data) == 8
        assert np.array_equal(data.inputs, expected.inputs[[1, 2, 3, 4, 6, 7, 8, 9]])
    assert decodings == [10, 10, 9]


def test_a_refusal_leaves_nothing_behind(photos, own_cache, monkeypatch):
    monkeypatch.setattr("hubel.data.decoded_cache.fits", lambda num_bytes: False)
    whole = (photos / "dog" / "0.png").read_bytes()
    (photos / "dog" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="can not be read"):
        load(photos)
    assert not list((own_cache / "decoded").iterdir())


def test_mapped_without_a_cache_folder_is_spooled(photos, own_cache, monkeypatch):
    expected = load(photos, cache=False)
    monkeypatch.setattr("hubel.data.storage.fits", lambda num_bytes: False)
    data = load(photos, cache=False)
    assert isinstance(data.inputs, np.memmap)
    assert data.fingerprint == expected.fingerprint
    assert not list((own_cache / "spool").iterdir())
    monkeypatch.setenv("HUBEL_CACHE", "/proc/none")
    with pytest.raises(ValueError, match="Make the pictures smaller with size="):
        load(photos, cache=False)


def test_the_oldest_go_first(photos, own_cache, monkeypatch):
    load(photos)
    (old,) = (own_cache / "decoded").glob("*.npy")
    os.utime(old, (1, 1))
    monkeypatch.setattr("hubel.data.decoded_cache.MOST_BYTES", old.stat().st_size + 100)
    leftover = own_cache / "decoded" / ".x.npy.tmp"
    leftover.write_bytes(b"x")
    os.utime(leftover, (1, 1))
    load(photos, size=5)
    (new,) = (own_cache / "decoded").glob("*.npy")
    assert new != old
    assert not leftover.exists()


def test_rooms():
    assert free_memory() > 0
    assert fits(1000)
    assert not fits(10**18)
    with pytest.raises(ValueError, match="free memory"):
        room_for((10**9, 10**6), np.dtype(np.float64))
    x = np.zeros((10, 2**20), np.uint8)
    assert [s.stop - s.start for s in in_slices(np.zeros((130, 2**20), np.uint8))] == [64, 64, 2]
    assert list(in_slices(x)) == [slice(0, 10)]
