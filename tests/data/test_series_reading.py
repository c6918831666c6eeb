"""Series come in as lists, arrays with lengths, files in class folders and files that a table names; new ones are read like them."""

import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import Series, from_arrays, load, pad_series, read_like
from hubel.data.steps import holds_numbers, name_and_unit, read_steps


def made(lengths, features=2, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(5, 2, (n, features)) for n in lengths]


CLASSES = ["a", "b", "a", "b"]


def test_a_ragged_list_is_series_with_lengths():
    arrays = made([4, 1, 9, 2])
    data = from_arrays(arrays, CLASSES)
    assert (data.kind, data.shape, data.lengths.tolist()) == ("series", (9, 2), [4, 1, 9, 2])
    for row, array in enumerate(arrays):
        assert (data.inputs[row, : len(array)] == array).all()
    for other in (pad_series(arrays), np.array(arrays, dtype=object)):
        assert from_arrays(other, CLASSES).fingerprint == data.fingerprint
    whole = from_arrays(data.inputs, CLASSES, lengths=[4, 1, 9, 2])
    assert whole.fingerprint == data.fingerprint


def test_what_stands_beyond_the_lengths_is_not_read():
    x = np.full((4, 5, 2), np.nan)
    x[:, :3] = 1.0
    data = from_arrays(x, CLASSES, lengths=[3, 1, 2, 3])
    assert data.inputs.sum() == 2 * (3 + 1 + 2 + 3)
    assert np.isnan(x[0, 4]).all()  # the user's array is as it was
    with pytest.raises(
        UnreadableData, match=r"1 of 4 series hold NaN or infinite values, first series 2 in step 3 of 4"
    ):
        from_arrays(x, CLASSES, lengths=[3, 1, 4, 3])


def test_three_axes_are_pictures_unless_they_are_said_to_be_series():
    x = np.zeros((4, 6, 5), np.float32)
    assert from_arrays(x, CLASSES).shape == (1, 6, 5)
    data = from_arrays(x, CLASSES, kind="series")
    assert (data.shape, data.lengths, data.kind) == ((6, 5), None, "series")
    assert from_arrays(x[:, :, 0], CLASSES, kind="series").shape == (6, 1)
    films = from_arrays(np.zeros((4, 3, 6, 5), np.uint8), CLASSES, kind="image series")
    assert (films.shape, films.kind, films.view([1, 2]).kind) == (
        (3, 1, 6, 5),
        "image series",
        "image series",
    )


def test_64_bit_integers_and_scalars_of_different_numbers():
    data = from_arrays([[1, 2, 3], [4], [5, 6], [7]], CLASSES)
    assert data.inputs.dtype == np.int32
    assert data.inputs[:, :, 0].tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0], [7, 0, 0]]
    with pytest.raises(ValueError, match=r"series 1 has int64 values .* beyond 32 bits"):
        from_arrays([[1], [2**40, 1], [1], [2]], CLASSES)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        ([np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((1, 2)), np.zeros((2, 2))], {}, r"series 1 has shape \(0, 2\); .*Leave empty series out"),
        ([np.zeros((3, 2)), np.zeros((3, 1))] * 2, {"kind": "series"}, r"series 0 has 2 features a step, but series 1 has 1 \(2 of 4 differ\)"),
        ([np.full((3, 1), np.nan), np.zeros((2, 1))] * 2, {}, r"series 0 holds NaN or infinite values in 3 of 3 steps .*nan=\"zero\""),
        (np.zeros((4, 3, 2)), {"lengths": [1, 2, 3, 4]}, "series 3 has the length 4 .*expected 1 to 3"),
        (np.zeros((4, 3, 2)), {"lengths": [1, 2, 0, 3]}, "series 2 has the length 0"),
        (np.zeros((4, 3, 2)), {"lengths": [1, 2, 3]}, "expected 4 whole numbers, one a series"),
        (np.zeros((4, 3, 2)), {"lengths": [1.0, 2, 3, 1]}, "type float64; expected 4 whole numbers"),
        (np.zeros((4, 3)), {"kind": "serie"}, "kind='serie' is not known; expected .volumes., .series., .image series."),
        (np.zeros((4, 3, 2, 2)), {"kind": "series"}, r"x has shape \(4, 3, 2, 2\); expected series \[N, L, F\]"),
        (np.zeros((4, 3, 2)), {"kind": "series", "channels": "first"}, "channels='first' is for pictures"),
        (np.zeros((4, 3, 2)), {"kind": "series", "symmetries": ["flip_horizontal"]}, "unknown symmetries .* of series; expected some of crop"),
        ([[["x"]], [["y"], ["z"]]] * 2, {}, "series 0 has type"),
    ],
)  # fmt: skip
def test_what_are_no_series_is_refused(x, options, said):
    with pytest.raises(ValueError, match=said):
        from_arrays(x, CLASSES, **options)


def test_nan_becomes_zero_where_that_is_asked_for():
    arrays = made([3, 2, 4, 1])
    arrays[1][0, 1] = np.nan
    data = from_arrays(arrays, CLASSES, nan="zero")
    assert data.inputs[1, 0, 1] == 0
    assert any("1 values are NaN or infinite" in note for note in data.notes)


def test_new_series_are_read_like_those_of_training(tmp_path):
    arrays = made([4, 1, 9, 2])
    ragged = from_arrays(arrays, CLASSES).reading
    longer = made([12, 3], seed=1)
    found = read_like(longer, ragged)
    assert isinstance(found, Series)
    assert found.lengths.tolist() == [12, 3]
    assert (found[1] == longer[1]).all()
    assert read_like(found, ragged).values.tolist() == found.values.tolist()
    assert read_like(longer[0], ragged).lengths.tolist() == [12]  # one series
    np.save(tmp_path / "one.npy", longer[0].astype(np.float32))
    np.savez(tmp_path / "many.npz", x=found.values, lengths=found.lengths)
    files = read_like([tmp_path / "one.npy", tmp_path / "many.npz"], ragged)
    assert files.lengths.tolist() == [12, 12, 3]
    assert files.values.dtype == np.float64
    fixed = from_arrays(np.stack(made([5] * 4)), CLASSES, kind="series").reading
    assert read_like(np.zeros((3, 5, 2)), fixed).shape == (3, 5, 2)
    assert read_like(np.zeros((3, 7, 2)), fixed).shape == (3, 7, 2)
    assert isinstance(read_like(made([5, 4]), fixed), Series)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (made([3], features=3), r"series 0 has shape \(3, 3\); expected at least one step of 2 features"),
        ([np.zeros((0, 2))], "expected at least one step"),
        (np.zeros((2, 3, 4, 2)), "expected series of 2 features"),
        ([np.zeros((3, 2), np.uint8)], "has uint8 values, but the network was fitted to float64"),
        ([np.array([[np.nan, 1.0]])], "series 0 holds NaN"),
    ],
)
def test_new_series_of_another_kind_are_refused(source, said):
    with pytest.raises(ValueError, match=said):
        read_like(source, from_arrays(made([4, 1, 9, 2]), CLASSES).reading)


def write_folder(root, header="time (d),flux (mJy),error", times=lambda n: np.arange(n) * 0.5, separator=","):
    generator = np.random.default_rng(0)
    for label in ("nova", "star"):
        (root / label).mkdir(parents=True)
        for k in range(4):
            steps = 3 + k
            rows = [times(steps), generator.normal(size=steps), generator.random(steps)]
            lines = [separator.join(f"{v:.6f}" for v in row) for row in zip(*rows, strict=True)]
            (root / label / f"{k}.csv").write_text("\n".join([header, *lines] if header else lines))
    return root


def test_a_folder_of_class_folders_of_text(tmp_path):
    data = load(write_folder(tmp_path / "curves"))
    assert (data.kind, data.shape, data.classes) == ("series", (6, 2), ("nova", "star"))
    assert data.lengths.tolist() == [3, 4, 5, 6] * 2
    assert data.channels == ("flux (mJy)", "error")
    assert data.reading["time"] == {"name": "time", "unit": "d", "place": 0, "step": 0.5, "feature": False}
    assert any("the steps are even (0.5 d)" in note for note in data.notes)
    again = read_like(tmp_path / "curves" / "star" / "2.csv", data.reading)
    assert (again.values[0] == data.inputs[6, :5]).all()


def test_uneven_times_become_a_feature(tmp_path):
    data = load(write_folder(tmp_path / "curves", times=lambda n: np.arange(n) ** 2 + 0.25))
    assert data.channels == ("flux (mJy)", "error", "time since the step before (d)")
    usual = data.reading["time"]["step"]
    assert data.inputs[3, :6, 2].tolist() == [usual, 1, 3, 5, 7, 9]
    (tmp_path / "new.csv").write_text("flux (mJy),error\n1,2\n")
    with pytest.raises(UnreadableData, match="no column 'time' for the time"):
        read_like(tmp_path / "new.csv", data.reading)


def test_columns_are_found_by_name(tmp_path):
    data = load(write_folder(tmp_path / "curves"))
    (tmp_path / "new.csv").write_text("quality,error,flux (mJy)\n9,2,1\n9,4,3\n")
    assert read_like(tmp_path / "new.csv", data.reading).values[0].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "bare.csv").write_text("error\n2\n")
    with pytest.raises(UnreadableData, match=r"has no column 'flux \(mJy\)'; it has 'error'"):
        read_like(tmp_path / "bare.csv", data.reading)


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_separators_and_files_without_header(tmp_path, separator):
    data = load(write_folder(tmp_path / "curves", header="", separator=separator))
    assert data.shape == (6, 3)
    assert data.channels is None


def test_npy_files_are_series_where_that_is_said(tmp_path):
    for label, values in (("up", [[1.0, 2], [3, 4]]), ("down", [[5.0, 6]])):
        (tmp_path / "x" / label).mkdir(parents=True)
        for k in range(3):
            np.save(tmp_path / "x" / label / f"{k}.npy", np.array(values))
    data = load(tmp_path / "x", kind="series")
    assert (data.shape, sorted(data.lengths.tolist())) == ((2, 2), [1, 1, 1, 2, 2, 2])
    assert load(tmp_path / "x", kind="series").fingerprint == data.fingerprint


def test_films_in_folders(tmp_path):
    for label in ("in", "out"):
        (tmp_path / "x" / label).mkdir(parents=True)
        for k in range(3):
            np.save(tmp_path / "x" / label / f"{k}.npy", np.full((2 + k, 4, 5), k, np.uint8))
    data = load(tmp_path / "x", kind="image series")
    assert (data.kind, data.shape, data.lengths.tolist()) == (
        "image series",
        (4, 1, 4, 5),
        [2, 3, 4, 2, 3, 4],
    )
    new = read_like(tmp_path / "x" / "in" / "1.npy", data.reading)
    assert (new.values.shape, new.lengths.tolist()) == ((1, 3, 1, 4, 5), [3])


def test_an_npz_with_lengths_is_series(tmp_path):
    series = pad_series(made([4, 1, 9, 2]))
    np.savez(tmp_path / "x.npz", x=series.values, lengths=series.lengths, y=CLASSES)
    data = load(tmp_path / "x.npz")
    assert (data.kind, data.lengths.tolist()) == ("series", [4, 1, 9, 2])


def test_a_table_of_files(tmp_path):
    write_folder(tmp_path / "curves")
    rows = [f"curves/{label}/{k}.csv,{k + 0.5},{k % 2}" for label in ("nova", "star") for k in range(4)]
    (tmp_path / "table.csv").write_text("\n".join(["path,period,group", *rows]))
    data = load(tmp_path / "table.csv", target="period")
    assert (data.kind, data.target_names, data.targets[:, 0].tolist()) == (
        "series",
        ("period",),
        [0.5, 1.5, 2.5, 3.5] * 2,
    )
    assert data.groups is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,flux\n1,2\n1,3\n", r"the column 'time' has 1.0 after 1.0 in row 2; the time must grow"),
        ("time,flux\n3 May,2\n", "'3 May', which is neither a number nor a date; expected ISO 8601"),
        (
            "when,flux\n2026-01-01,2\n",
            r"row 1 has '2026-01-01' in the column 'when', which is no number: name the column time",
        ),
        ("flux;error\n1,5;2\n", r"'1,5' in the column 'flux', which is no number: write decimal points"),
        ("flux,error\n1,2\n3\n", "1 rows do not have 2 columns as the first does, first row 2"),
        ("flux,error\n", "has a header, but no rows"),
        ("\n\n", "has no rows"),
        ("flux,flux\n1,2\n", "has the column 'flux' twice"),
        ("time\n1\n", "no column but that of the time"),
    ],
)
def test_broken_files_are_named(tmp_path, content, said):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_steps(tmp_path / "x.csv")
    assert "x.csv" in str(caught.value)


def test_headers_dates_and_comments(tmp_path):
    (tmp_path / "x.txt").write_text("# made by hand\n# time flux\n1 2.5\n2 nan\n")
    steps = read_steps(tmp_path / "x.txt")
    assert (steps.names, steps.time.tolist()) == (("flux",), [1, 2])
    assert np.isnan(steps.values[1, 0])
    (tmp_path / "x.csv").write_text("date,flux\n2026-01-01,1\n2026-01-02T12:00:00,2\n2026-01-03T00:00:00Z,\n")
    steps = read_steps(tmp_path / "x.csv")
    assert np.diff(steps.time).tolist() == [129600, 43200]
    assert steps.time_unit == "s"
    (tmp_path / "x.csv").write_text("moment,flux\n5,1\n6,2\n")
    assert read_steps(tmp_path / "x.csv", time="moment").values.tolist() == [[1], [2]]
    with pytest.raises(ValueError, match=r"no column 'momnt' for the time\. Did you mean"):
        read_steps(tmp_path / "x.csv", time="momnt")
    assert name_and_unit("v [km/s]") == ("v", "km/s")


def test_all_unreadable_files_are_named_or_skipped(tmp_path):
    root = write_folder(tmp_path / "curves")
    (root / "nova" / "0.csv").write_text("time (d),flux (mJy),error\n1,a,2\n")
    with pytest.raises(UnreadableData, match=r"1 of 8 files can not be read: nova/0.csv \(row 1 has 'a'"):
        load(root)
    data = load(root, skip_unreadable=True)
    assert len(data) == 7
    assert data.lengths.tolist() == [4, 5, 6, 3, 4, 5, 6]


def test_different_columns_are_refused(tmp_path):
    root = write_folder(tmp_path / "curves")
    (root / "nova" / "0.csv").write_text("time (d),flux (mJy)\n1,2\n")
    with pytest.raises(
        ValueError, match=r"different columns: 7 have error, flux \(mJy\) and the time time .*; 1 have flux"
    ):
        load(root)


def test_texts_are_not_taken_for_series(tmp_path):
    (tmp_path / "a.txt").write_text("It was a dark night. 3 men came.\nThey left.\n")
    (tmp_path / "b.txt").write_text("# t f\n1 2\n3 4\n")
    assert not holds_numbers(tmp_path / "a.txt")
    assert holds_numbers(tmp_path / "b.txt")


def test_t_is_a_time_and_T_a_temperature(tmp_path):
    (tmp_path / "x.csv").write_text("t (s),T (K)\n1,300\n2,310\n")
    steps = read_steps(tmp_path / "x.csv")
    assert (steps.time_name, steps.names, steps.values.tolist()) == ("t", ("T (K)",), [[300], [310]])
    (tmp_path / "x.csv").write_text("T (K),Time\n300,1\n310,2\n")
    assert read_steps(tmp_path / "x.csv").names == ("T (K)",)


def test_months_are_dates(tmp_path):
    (tmp_path / "x.csv").write_text("date,passengers\n1949-01,112\n1949-02,118\n1949-03,132\n")
    assert np.diff(read_steps(tmp_path / "x.csv").time).tolist() == [31 * 86400, 28 * 86400]


@pytest.mark.parametrize("content", ["a,b\n1,2,3\n4,5,6\n", "a,b,time\n1,2\n3,4\n", "a,b,\n1,2\n3,4\n"])
def test_names_and_columns_are_as_many(tmp_path, content):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(UnreadableData, match=r"names in its header \(a, b.*\), but [23] columns"):
        read_steps(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        (np.array([3, -1]), r"many\.npz\[1\] has the length -1; expected 1 to 4"),
        (np.array([3, 5]), r"many\.npz\[1\] has the length 5"),
        (np.array([3.0, 1.0]), "one whole number a series"),
        (np.array([[3], [1]]), r"lengths of shape \(2, 1\)"),
    ],
)
def test_lengths_in_a_file_of_new_series_are_checked(tmp_path, lengths, said):
    reading = from_arrays(made([4, 1, 3, 2]), CLASSES).reading
    np.savez(tmp_path / "many.npz", x=np.ones((2, 4, 2)), lengths=lengths)
    with pytest.raises(ValueError, match=said):
        read_like(tmp_path / "many.npz", reading)


def test_new_series_come_at_the_rate_of_training(tmp_path):
    data = load(write_folder(tmp_path / "curves"))  # a step every 0.5 d
    (tmp_path / "new.csv").write_text("time (d),flux (mJy),error\n0,1,2\n1,1,2\n2,1,2\n")
    with pytest.raises(
        UnreadableData, match=r"a step every 1 d, but the network was fitted to one every 0\.5 d"
    ):
        read_like(tmp_path / "new.csv", data.reading)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("level (m)\n1\n2\n", ("level (m)",)),
        ("level of the sea [m]\n1\n2\n", ("level of the sea [m]",)),
        ("level (m)  wind [m/s]\n1 2\n2 3\n", ("level (m)", "wind [m/s]")),
        ("time (h) level (m)\n1 2\n2 3\n", ("level (m)",)),
    ],
)
def test_names_with_units_between_blanks(tmp_path, content, names):
    (tmp_path / "x.csv").write_text(content)
    steps = read_steps(tmp_path / "x.csv")
    assert steps.names == names
    assert steps.values.shape == (2, len(names))
