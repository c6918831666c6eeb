import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hubel.data.sizes import common_size, fit_size


def test_the_common_size():
    assert common_size([(28, 28)] * 3) == (28, 28)
    assert common_size([(300, 400)] * 3) == (300, 400)  # one size of at most 512: kept
    assert common_size([(1000, 2000)] * 3) == (112, 224)
    assert common_size([(100, 100), (101, 90), (120, 80)]) == (101, 90)
    assert common_size([(100, 100)], 64) == (64, 64)
    assert common_size([(100, 100)], (32, 48)) == (32, 48)
    assert common_size([(1000, 2000)] * 2, "stored") == (1000, 2000)
    with pytest.raises(ValueError, match="needs pictures of one size, but there are 2"):
        common_size([(10, 10), (20, 10)], "stored")
    with pytest.raises(ValueError, match="expected positive numbers"):
        common_size([(10, 10)], 0)
    with pytest.raises(ValueError, match="size='big' is not known"):
        common_size([(10, 10)], "big")


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    rule=st.sampled_from(["pad", "crop", "stretch"]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "int32"]),
    value=st.integers(0, 120),
)
@settings(max_examples=150, deadline=None)
def test_a_constant_picture_stays_constant(height, width, size, rule, dtype, value):
    resized = fit_size(np.full((2, height, width), value, dtype), size, rule)
    assert resized.shape == (2, *size)
    assert resized.dtype == dtype
    assert (resized == value).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_halving_averages_and_stretch_equals_pillow(dtype):
    x = np.arange(64).reshape(8, 8).astype(dtype)
    expected = np.asarray(Image.fromarray(x.astype(np.float32)).resize((4, 6), Image.Resampling.BILINEAR))
    assert (
        np.abs(fit_size(x[None], (6, 4), "stretch")[0] - expected).max()
        <= {np.uint8: 1.01, np.uint16: 0.51, np.float32: 0}[dtype]
    )
    noise = np.random.default_rng(0).normal(size=(1, 80, 80)).astype(np.float32)
    assert fit_size(noise, (10, 10), "stretch").std() < 0.25  # antialiased: picking pixels would keep it at 1


def test_padding_keeps_the_aspect_and_takes_the_border_mean():
    x = np.full((1, 4, 8), 10, np.uint8)
    x[0, 1:3, 1:7] = 200
    out = fit_size(x, (8, 8), "pad")
    assert np.array_equal(out[:, 2:6], x)
    assert (out[:, :2] == 10).all()
    assert (out[:, 6:] == 10).all()


def test_cropping_takes_the_middle():
    x = np.arange(8, dtype=np.uint8)[None, None].repeat(4, axis=1)
    assert fit_size(x, (4, 4), "crop")[0, 0].tolist() == [2, 3, 4, 5]


def test_sixteen_bits_stay_sixteen_bits():
    x = np.array([[[65535, 65535], [0, 0]]], np.uint16)
    out = fit_size(x, (4, 4), "stretch")
    assert out.max() == 65535
    assert out.min() == 0
    assert 20000 < out[0, 1, 0] < 60000


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="resize='zoom' is not known"):
        fit_size(np.zeros((1, 2, 2)), (3, 3), "zoom")  # type: ignore[arg-type]
