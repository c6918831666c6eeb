import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import pad_series


def made(lengths, features=3, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(5, 2, (n, features)) for n in lengths]


def test_each_series_is_found_again_and_the_rest_is_zero():
    arrays = made([4, 1, 9, 2])
    series = pad_series(arrays)
    assert series.values.shape == (4, 9, 3)
    assert series.lengths.tolist() == [4, 1, 9, 2]
    assert len(series) == 4
    for row, array in enumerate(arrays):
        assert (series[row] == array).all()
        assert (series.values[row, len(array) :] == 0).all()
    assert (series.values[~series.mask] == 0).all()
    assert series.mask.sum() == 16


def test_scale_counts_every_step_once_and_no_padding():
    arrays = made([4, 1, 9, 2])
    arrays[0][:, 2] = arrays[1][:, 2] = arrays[2][:, 2] = 7
    series = pad_series(arrays)
    mean, std = series.scale()
    np.testing.assert_allclose(mean, np.concatenate(arrays).mean(0))
    np.testing.assert_allclose(std, np.concatenate(arrays).std(0))
    mean, std = series.scale([0, 2])
    np.testing.assert_allclose(mean, np.concatenate([arrays[0], arrays[2]]).mean(0))
    assert std[2] == 1


def test_the_type_is_the_smallest_that_holds_all():
    small = [np.ones((2, 1), np.uint8), np.ones((3, 1), np.uint8)]
    assert pad_series(small).values.dtype == np.uint8
    assert pad_series([*small, np.ones((1, 1), np.float32)]).values.dtype == np.float32
    assert pad_series([[1, 2, 3], [4]]).values.dtype == np.int32
    assert pad_series([[1.5], np.ones(4, np.float32)]).values.shape == (2, 4, 1)
    torch = pytest.importorskip("torch")
    assert pad_series([torch.ones(2, 3), torch.zeros(1, 3)]).values.dtype == np.float32


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ([], "there are no series"),
        ([[1.0], []], r"series 1 has shape \(0,\); expected \[L, F\] or \[L\], with at least one step"),
        ([np.zeros((2, 3, 4))], r"series 0 has shape \(2, 3, 4\)"),
        ([np.zeros((2, 0))], r"series 0 has shape \(2, 0\)"),
        ([5.0], r"series 0 has shape \(\)"),
        (
            [np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((3, 2))],
            r"series 2 has 2 \(1 of 3 differ\); expected one number of features",
        ),
        ([["a", "b"]], "series 0 has type"),
        ([[[1.0], [2.0, 3.0]]], "series 0 can not be one array"),
    ],
)
def test_what_is_no_list_of_series_is_refused(series, said):
    with pytest.raises(ValueError, match=said):
        pad_series(series)


def test_nan_and_infinity_are_named():
    arrays = made([4, 5])
    arrays[1][3, 0] = np.nan
    arrays[1][4, 1] = np.inf
    with pytest.raises(
        UnreadableData, match=r"series 1 holds NaN or infinite values in 2 of 5 steps \(first in step 3\)"
    ):
        pad_series(arrays)


def test_a_long_one_among_many_that_fit_nowhere_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("hubel.data.storage.free_memory", lambda: 1000)
    monkeypatch.setattr("hubel.core.files.user_cache", lambda: tmp_path / "file" / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError,
        match=r"as much room as the longest, which has 5,000 steps \(half of them have 4 at most\)",
    ) as caught:
        pad_series(made([4, 5000, 2]))
    assert "pictures" not in str(caught.value)
