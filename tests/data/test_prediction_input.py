import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import from_arrays, load, read_like

RNG = np.random.default_rng(0)


def folder(root, dtype=np.uint8, channels=()):
    for k, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for j in range(3):
            shape = (10 + j, 12 + k, *channels)
            values = RNG.integers(0, 200, shape).astype(dtype)
            if dtype == np.float32:
                np.save(root / name / f"{j}.npy", values)
            else:
                Image.fromarray(values).save(root / name / f"{j}.png")
    return root


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_same_file_gives_the_same_bits(tmp_path, dtype, resize):
    data = load(folder(tmp_path / "photos", dtype), resize=resize)
    reading = json.loads(json.dumps(data.reading))  # as it comes from a run folder
    rows = read_like([tmp_path / "photos" / name for name in data.ids], reading)
    assert rows.dtype == data.inputs.dtype
    assert rows.tobytes() == np.ascontiguousarray(data.inputs).tobytes()


def test_conversion_is_repeated(tmp_path):
    root = folder(tmp_path / "photos", channels=(3,))
    data = load(root, channels="grey")
    assert np.array_equal(read_like(root / "cat" / "0.png", data.reading)[0], data.inputs[0])
    Image.fromarray(RNG.integers(0, 200, (11, 12), dtype=np.uint8)).save(tmp_path / "grey.png")
    assert read_like([str(tmp_path / "grey.png")], data.reading).shape == (1, 1, 11, 12)


def test_other_channels_and_types_are_refused_by_name(tmp_path):
    data = load(folder(tmp_path / "photos"))
    Image.fromarray(np.zeros((11, 12, 3), np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(np.zeros((11, 12), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(
        UnreadableData,
        match=r"3 of 3 files can not be used: .*colour\.png \(it has the channels red\+green\+blue, expected grey; channels=\"grey\" converts it\); "
        r".*deep\.png \(its values are uint16, expected uint8, as the training data have: save it as those were\); .*broken\.png",
    ):
        read_like([tmp_path / n for n in ("colour.png", "deep.png", "broken.png")], data.reading)
    with pytest.raises(FileNotFoundError, match=r"1 of 1 files do not exist"):
        read_like(tmp_path / "none.png", data.reading)
    with pytest.raises(ValueError, match="is a folder; name the files in it"):
        read_like(tmp_path, data.reading)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"1 of 1 files are no pictures .*notes\.txt"):
        read_like(tmp_path / "notes.txt", data.reading)


def test_pictures_for_a_network_fitted_to_arrays(tmp_path):
    x = RNG.integers(0, 256, (4, 9, 9), dtype=np.uint8)
    data = from_arrays(x, [0, 1, 0, 1])
    Image.fromarray(x[2]).save(tmp_path / "p.png")
    assert np.array_equal(read_like(tmp_path / "p.png", data.reading)[0], data.inputs[2])
    features = from_arrays(x.reshape(4, 81), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="81 features"):
        read_like(tmp_path / "p.png", features.reading)


@given(layout=st.sampled_from(["NHW", "NCHW", "NHWC"]), num=st.integers(1, 4), single=st.booleans())
@settings(max_examples=30, deadline=None)
def test_arrays_in_the_layout_of_training(layout, num, single):
    channels = 1 if layout == "NHW" else 3
    rows = RNG.integers(
        0, 256, (4, channels, 3, 8), dtype=np.uint8
    )  # rows and channels alike: only the layout tells
    shown = {"NHW": rows[:, 0], "NCHW": rows, "NHWC": np.moveaxis(rows, 1, 3)}[layout]
    axis: dict = {"NCHW": "first", "NHWC": "last"}
    data = from_arrays(shown, [0, 1, 0, 1], channels=axis.get(layout))
    assert np.array_equal(read_like(shown[:num], data.reading), rows[:num])
    if single:
        assert np.array_equal(read_like(shown[1], data.reading), rows[1:2])


def test_array_files(tmp_path):
    x = RNG.normal(size=(4, 9, 9)).astype(np.float32)
    data = from_arrays(x, [0, 1, 0, 1])
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", anything=x)
    np.savez(tmp_path / "c.npz", x=x[:2], other=[1])
    assert np.array_equal(read_like(tmp_path / "a.npy", data.reading)[:, 0], x)
    assert np.array_equal(
        read_like([tmp_path / "b.npz", tmp_path / "c.npz"], data.reading)[:, 0], np.concatenate([x, x[:2]])
    )
    np.savez(tmp_path / "d.npz", a=x, b=x)
    with pytest.raises(ValueError, match="expected one array, or one of them named x"):
        read_like(tmp_path / "d.npz", data.reading)
    (tmp_path / "d.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="can not be read"):
        read_like(tmp_path / "d.npz", data.reading)


def test_arrays_of_another_kind_are_refused():
    data = from_arrays(RNG.integers(0, 256, (4, 9, 9), dtype=np.uint8), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"x has float32 values, but the network was fitted to uint8"):
        read_like(np.zeros((4, 9, 9), np.float32), data.reading)
    with pytest.raises(ValueError, match=r"x has uint16 values"):
        read_like(np.zeros((4, 9, 9), np.uint16), data.reading)
    with pytest.raises(ValueError, match=r"x has shape \(4, 9, 8\); expected examples of 1 × 9 × 9"):
        read_like(np.zeros((4, 9, 8), np.uint8), data.reading)
    assert (
        read_like(np.full((9, 9), 255).tolist(), data.reading).dtype == np.uint8
    )  # whole numbers of no particular width
    with pytest.raises(ValueError, match="int32 values"):
        read_like(np.full((9, 9), 256).tolist(), data.reading)


def test_floating_point_widths_and_nan():
    data = from_arrays(RNG.normal(size=(4, 5)), [0, 1, 0, 1], nan="zero")
    assert read_like(np.ones(5, np.float32), data.reading).dtype == np.float64
    assert read_like(np.array([[1, np.nan, 1, 1, 1]]), data.reading).sum() == 4
    strict = from_arrays(RNG.normal(size=(4, 5)), [0, 1, 0, 1])
    with pytest.raises(UnreadableData, match="1 values are NaN or infinite"):
        read_like(np.array([[1, np.nan, 1, 1, 1]]), strict.reading)


def test_arrays_for_a_network_fitted_to_pictures(tmp_path):
    data = load(folder(tmp_path / "photos", channels=(3,)))
    x = np.moveaxis(data.inputs, 1, 3)
    assert np.array_equal(read_like(x, data.reading), data.inputs)
    other = np.asarray(Image.open(tmp_path / "photos" / "dog" / "2.png"))
    row = data.ids.tolist().index("dog/2.png")
    assert np.array_equal(read_like(other[None], data.reading)[0], data.inputs[row])


def test_sequences_are_taken_one_or_many():
    reading = {"kind": "arrays", "shape": [7, 2], "dtype": "float32", "nan": "refuse"}
    x = np.random.default_rng(0).normal(size=(3, 7, 2)).astype(np.float32)
    assert (read_like(x, reading) == x).all()
    assert (read_like(x[1], reading) == x[1:2]).all()
    with pytest.raises(ValueError, match=r"x has shape \(3, 2, 7\); expected examples of 7 × 2"):
        read_like(x.transpose(0, 2, 1), reading)


def test_a_grey_picture_is_the_colour_picture_that_it_is(tmp_path):
    data = load(folder(tmp_path / "photos", channels=(3,)))
    grey = RNG.integers(0, 200, (11, 12), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "same.png")
    one, other = (read_like(tmp_path / name, data.reading) for name in ("grey.png", "same.png"))
    assert one.tobytes() == other.tobytes()


def reading_of_grey_pictures(tmp_path):
    return load(folder(tmp_path / "photos")).reading


def test_a_colour_picture_is_no_batch_of_grey_ones(tmp_path):
    reading = reading_of_grey_pictures(tmp_path)
    for shape in ((40, 50, 3), (40, 50, 4), (3, 40, 50)):
        x = RNG.integers(0, 200, shape, dtype=np.uint8)
        with pytest.raises(ValueError, match=r"one colour picture, or \d+ grey ones .* write x\[:, None\]"):
            read_like(x, reading)
        assert len(read_like(x[:, None], reading)) == shape[0]
    assert read_like(np.zeros((40, 50, 1), np.uint8), reading).shape == (1, 1, *reading["size"])
    assert len(read_like(np.zeros((7, 40, 50), np.uint8), reading)) == 7
    height, width = reading["size"]
    assert (
        len(read_like(np.zeros((3, height, width), np.uint8), reading)) == 3
    )  # exactly the size of training
    with pytest.raises(ValueError, match="expected examples of 1 ×"):
        read_like(np.zeros((2, 40, 50, 3), np.uint8), reading)


def test_a_colour_picture_for_a_network_of_colour_pictures(tmp_path):
    data = load(folder(tmp_path / "photos", channels=(3,)))
    picture = RNG.integers(0, 200, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "c.png")
    wanted = read_like(tmp_path / "c.png", data.reading)
    for same in (picture, picture[None], picture.transpose(2, 0, 1), picture.transpose(2, 0, 1)[None]):
        assert np.array_equal(read_like(same, data.reading), wanted)
    with pytest.raises(ValueError, match="not clear where its 3 channels are"):
        read_like(np.zeros((3, 40, 3), np.uint8), data.reading)
    with pytest.raises(ValueError, match="expected examples of 3 ×"):
        read_like(np.zeros((5, 40, 50), np.uint8), data.reading)


def test_pictures_laid_flat_are_no_picture(tmp_path):
    reading = reading_of_grey_pictures(tmp_path)
    flat = np.zeros((6, int(np.prod(reading["shape"]))), np.uint8)
    with pytest.raises(
        ValueError, match=r"laid flat, or one large picture. Write x.reshape\(-1, 1, 11, 12\)"
    ):
        read_like(flat, reading)
    assert len(read_like(flat.reshape(-1, *reading["shape"]), reading)) == 6
    assert len(read_like(flat[None, None], reading)) == 1


def test_a_colour_array_for_a_network_of_grey_arrays():
    data = from_arrays(RNG.integers(0, 256, (4, 9, 9), dtype=np.uint8), [0, 1, 0, 1])
    for shape in ((9, 9, 3), (3, 12, 9), (9, 3, 9), (2, 9, 9, 3)):
        with pytest.raises(ValueError, match="expected examples of 1 × 9 × 9"):
            read_like(np.zeros(shape, np.uint8), data.reading)
