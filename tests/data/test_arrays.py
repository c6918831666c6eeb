import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.core.errors import UnreadableData
from hubel.data import from_arrays
from hubel.data.arrays import layout_of

TWO = ["a", "b"]


@given(
    num=st.integers(1, 5),
    channels=st.integers(1, 12),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    last=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_channel_axis_is_found_or_asked_for(num, channels, height, width, last):
    x = np.arange(num * channels * height * width).reshape(num, channels, height, width)
    shown = np.moveaxis(x, 1, 3) if last else x
    first_small = 2 * shown.shape[1] <= min(shown.shape[2:])
    last_small = 2 * shown.shape[3] <= min(shown.shape[1:3])
    if not (first_small or last_small):
        with pytest.raises(ValueError, match='say channels="first"'):
            layout_of(shown.shape)
    elif 2 * channels <= min(height, width):
        assert layout_of(shown.shape) == ("NHWC" if last else "NCHW")
    y = np.arange(num) % 2 if num > 1 else [0]
    data = from_arrays(shown, y, classes=TWO, channels="last" if last else "first") if num > 1 else None
    if data is not None:
        assert data.inputs.shape == x.shape
        assert (data.inputs == x).all()


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float16", "float32", "float64"]
)
def test_the_stored_type_and_values_are_kept(dtype):
    x = np.arange(2 * 5 * 6).reshape(2, 5, 6).astype(dtype)
    data = from_arrays(x, TWO)
    assert data.inputs.dtype == dtype
    assert data.shape == (1, 5, 6)
    assert (data.inputs[:, 0] == x).all()


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">i4", ">f8"])
def test_big_endian_values_survive(dtype):
    x = np.arange(60).reshape(2, 5, 6).astype(dtype)
    data = from_arrays(x, TWO)
    assert data.inputs.dtype.isnative
    assert (data.inputs[:, 0] == x).all()


def test_wide_integers_become_int32_where_they_fit():
    data = from_arrays(np.arange(8, dtype=np.int64).reshape(2, 4), TWO)
    assert data.inputs.dtype == np.int32
    assert "kept as int32" in data.notes[0]
    with pytest.raises(ValueError, match="beyond 32 bits"):
        from_arrays(np.array([[2**40], [1]]), TWO)


def test_features_and_yes_no_values():
    assert from_arrays(np.zeros((2, 7), np.float32), TWO).shape == (7,)
    data = from_arrays(np.ones((2, 4, 4), bool), TWO)
    assert data.inputs.dtype == np.uint8
    assert data.inputs.max() == 1


def test_tensors_and_lists():
    torch = pytest.importorskip("torch")
    x = torch.arange(96).reshape(2, 3, 4, 4).float().requires_grad_()
    data = from_arrays(x, torch.tensor([0, 1]), channels="first")
    assert (data.inputs == x.detach().numpy()).all()
    assert from_arrays([[1.5, 2.0], [3.0, 4.0]], [0.5, 0.7]).targets.tolist() == [[0.5], [0.7]]
    assert from_arrays(torch.ones(2, 3, dtype=torch.bfloat16), TWO).inputs.dtype == np.float32


def test_pandas_columns():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "kind": ["x", "y"]})
    data = from_arrays(table[["a", "b"]], table["kind"])
    assert (data.shape, data.classes) == ((2,), ("x", "y"))


def test_memory_mapped_arrays_stay_mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 8, 8, 3), np.uint8))
    data = from_arrays(np.load(tmp_path / "x.npy", mmap_mode="r"), TWO * 2)
    assert isinstance(data.inputs, np.memmap)
    assert data.shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([[1, None], [2, 3]], dtype=object), r"Python objects; expected numbers\. Write np\.stack"),
        (np.zeros((2, 3), complex), r"complex; expected real numbers"),
        (np.array([["a"], ["b"]]), "x has type"),
        ([[[1, 2], [3]], [[4]]], "different lengths"),
        (np.zeros((2, 1, 1, 1, 1, 1)), r"expected \[N, F\]"),
        (np.zeros(2), r"expected \[N, F\]"),
        (np.zeros((2, 0, 4)), "axis of length 0"),
        (np.zeros((2, 4, 4, 4)), "not clear where the channels are"),
        (np.zeros((3, 4)), r"x has 3 examples, but y has 2"),
        (np.ma.masked_array(np.zeros((2, 2)), [[1, 0], [0, 0]]), "masked values"),
    ],
)
def test_what_can_not_be_an_input_is_refused_with_the_remedy(x, said):
    with pytest.raises(ValueError, match=said):
        from_arrays(x, TWO)


def test_nan_and_infinity_are_counted_and_named_or_set_to_zero():
    x = np.ones((3, 4), np.float32)
    x[1, 2], x[2, 0] = np.nan, np.inf
    with pytest.raises(
        UnreadableData, match=r"2 values are NaN or infinite, in 2 of 3 examples: row 1, row 2"
    ):
        from_arrays(x, [0, 1, 0])
    data = from_arrays(x, [0, 1, 0], nan="zero")
    assert data.inputs[1, 2] == data.inputs[2, 0] == 0
    assert data.inputs.sum() == 10
    assert "set to zero" in data.notes[-1]
    assert np.isnan(x[1, 2])
    with pytest.raises(ValueError, match="nan='mean' is not known"):
        from_arrays(x, [0, 1, 0], nan="mean")  # type: ignore[arg-type]


def test_weights_are_checked():
    assert from_arrays(np.zeros((2, 3)), TWO, weights=[1, 2]).weights.tolist() == [1, 2]
    with pytest.raises(ValueError, match="first in row 1"):
        from_arrays(np.zeros((2, 3)), TWO, weights=[1, -2])
    with pytest.raises(ValueError, match="all weights are zero"):
        from_arrays(np.zeros((2, 3)), TWO, weights=[0, 0])


def test_parts_are_words_for_parts():
    data = from_arrays(np.zeros((2, 3)), TWO, part=["Train", "val"])
    assert data.part.tolist() == ["train", "validation"]
    with pytest.raises(ValueError, match="part has the split 'trian'; expected train"):
        from_arrays(np.zeros((2, 3)), TWO, part=["trian", "test"])


def test_flattened_pictures_are_noticed():
    assert "28 × 28" in from_arrays(np.zeros((2, 784), np.uint8), TWO).notes[0]
