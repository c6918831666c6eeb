"""Tables of features: what every kind of column becomes, what is said, what is refused; and files larger than a piece."""

import json
import tracemalloc

import numpy as np
import pytest

from hubel.core.errors import MissingExtra, UnreadableData
from hubel.data import from_table, load, read_like, storage, table_pieces
from hubel.data.table_headings import heading

ROWS = 40


def csv(folder, columns, name="t.csv", separator=","):
    """A table of columns [N] each, as text."""
    lines = [separator.join(columns)] + [
        separator.join(map(str, row)) for row in zip(*columns.values(), strict=True)
    ]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def columns(**more):
    """A class of 40 rows that follows from `a`."""
    generator = np.random.default_rng(0)
    a = generator.normal(size=ROWS).round(3)
    return {"a": a, "b": generator.normal(size=ROWS).round(3), "label": np.where(a > 0, "up", "down"), **more}


def with_entry(values, row, entry):
    values = [str(v) for v in values]
    values[row] = entry
    return values


def test_numbers_are_float32_and_words_are_classes(tmp_path):
    data = load(csv(tmp_path, columns()))
    assert data.inputs.dtype == np.float32
    assert data.inputs[:, 0].tolist() == columns()["a"].astype(np.float32).tolist()
    assert data.classes == ("down", "up")
    assert data.channels == ("a", "b")
    assert data.kind == "features"
    assert data.ids.tolist() == list(range(1, ROWS + 1))


def test_the_same_table_in_every_format_is_the_same(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        columns(colour=["red", "green"] * 20, on=[True, False] * 20, n=list(range(20, 40)) * 2)
    )
    frame.loc[3, "b"] = None
    frame.loc[4, "colour"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semi.csv", index=False, sep=";")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    first = load(tmp_path / "t.csv")
    assert [c["kind"] for c in first.reading["columns"]] == [
        "number",
        "number",
        "category",
        "yes/no",
        "number",
    ]
    others = [load(tmp_path / name) for name in ("t.tsv", "semi.csv", "t.parquet", "t.xlsx")]
    for other in [*others, from_table(frame), from_table({name: frame[name].tolist() for name in frame})]:
        np.testing.assert_array_equal(other.inputs, first.inputs)
        assert other.targets.tolist() == first.targets.tolist()
        assert other.reading["columns"] == first.reading["columns"]
        assert other.fingerprint == first.fingerprint


def test_categories_yes_no_and_what_is_missing(tmp_path):
    colour = ["red", "green", "blue", ""] * 10
    data = load(
        csv(
            tmp_path,
            columns(colour=colour, flag=["Yes", "no"] * 20, c=with_entry([1.5] * 39 + [2], 0, "n/a")),
        )
    )
    levels = {c["name"]: c.get("levels") for c in data.reading["columns"]}
    assert levels["colour"] == ["blue", "green", "red"]
    assert data.inputs[:4, 2].tolist()[:3] == [2, 1, 0]
    assert np.isnan(data.inputs[3, 2]) and np.isnan(data.inputs[0, 4])
    assert data.inputs[:2, 3].tolist() == [1, 0]
    assert any("colour 10, c 1" in note for note in data.notes)


def test_words_that_say_missing_and_categories_of_numbers(tmp_path):
    table = csv(
        tmp_path,
        columns(
            c=with_entry([1.5, 2] * 20, 5, "-999"), zip=["01", "2"] * 20, d=with_entry([1, 2] * 20, 0, "?")
        ),
    )
    data = load(table, missing=["-999", "?"], categories="zip")
    assert np.flatnonzero(np.isnan(data.inputs[:, 2])).tolist() == [5]
    assert data.reading["columns"][3] | {"header": "", "unit": ""} == {
        "name": "zip", "header": "", "unit": "", "kind": "category", "missing": 0, "levels": ["01", "2"],
    }  # fmt: skip
    assert np.isnan(data.inputs[0, 4])


def test_columns_that_say_nothing_are_left_out_and_it_is_said(tmp_path):
    data = load(
        csv(
            tmp_path,
            columns(
                same=[7] * ROWS,
                word=["x"] * ROWS,
                empty=[""] * ROWS,
                who=[f"object {k}" for k in range(ROWS)],
                row=range(ROWS),
            ),
        )
    )
    said = " ".join(data.notes)
    assert data.channels == ("a", "b")
    for part in (
        "same, word (the same in every row)",
        "empty (no entry)",
        "who (text that differs",
        "row (it counts the rows",
    ):
        assert part in said


def test_columns_named_and_ignored(tmp_path):
    table = csv(tmp_path, columns(row=range(ROWS), who=[f"object {k}" for k in range(ROWS)]))
    assert load(table, columns=["row", "a"]).channels == ("row", "a")
    assert load(table, columns="b,a").channels == ("b", "a")
    assert load(table, ignore="a").channels == ("b",)
    with pytest.raises(UnreadableData, match=r"'who': text that differs in most rows"):
        load(table, columns="a,who")
    with pytest.raises(ValueError, match=r"no column 'aa'.*Did you mean \"a\""):
        load(table, ignore="aa")
    with pytest.raises(ValueError, match="'a' can not be two of"):
        load(table, columns="a,b", ignore="a")
    with pytest.raises(ValueError, match="'label' can not be two of"):
        load(table, columns="a,label")


def test_units_in_headers(tmp_path):
    table = csv(tmp_path, {"mass [Msun]": np.linspace(1, 9, ROWS), "age (Gyr)": np.linspace(3, 5, ROWS) ** 2})
    data = load(table, target="age")
    assert data.target_names == ("age",) and data.units == ("Gyr",)
    assert data.reading["columns"][0]["unit"] == "Msun"
    assert load(table, target="AGE (gyr)").target_names == ("age",)
    assert heading("log(L)").unit is None
    both = load(
        csv(tmp_path, {"f (Jy)": np.linspace(1, 9, ROWS) ** 2, "f (mag)": np.linspace(3, 5, ROWS) ** 2}),
        target="f (Jy)",
    )
    assert both.target_names == ("f (Jy)",) and both.channels == ("f (mag)",)


def test_groups_splits_and_weights_are_taken_and_said(tmp_path):
    table = csv(
        tmp_path,
        columns(
            group=[k // 4 for k in range(ROWS)],
            Split=["train", "train", "val", "test"] * 10,
            weight=[1, 2.5] * 20,
        ),
    )
    data = load(table)
    assert data.channels == ("a", "b")
    assert data.groups.tolist()[:5] == ["0", "0", "0", "0", "1"]
    assert data.part.tolist()[:4] == ["train", "train", "validation", "test"]
    assert data.weights.tolist()[:2] == [1, 2.5]
    assert sum("to make it a feature, name it in columns=" in note for note in data.notes) == 3
    assert load(table, columns="a,weight").weights is None
    assert load(table, ignore="weight").weights is None
    body = load(
        csv(
            tmp_path,
            columns(**{"weight (kg)": np.linspace(50, 90, ROWS) ** 1.1, "set": ["left", "right"] * 20}),
        )
    )
    assert body.channels == ("a", "b", "weight (kg)", "set")
    assert body.weights is None and body.part is None


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            ["12", "n/a", "abc", *["1.5"] * 37],
            r"1 of 40 entries \('abc' in row 3\) are words.*--missing.*--category.*--ignore",
        ),
        (["2020-01-01", "2020-02-03T10:00:00Z"] * 20, "are dates or times. Write them as numbers"),
        (["3,14", "2,71"] * 20, "have decimal commas. Write 3.14"),
        (["1.5"] * 39 + ["inf"], r"1 of 40 entries \(rows 40\) are infinite"),
        (["img/1.png", "img/2.png"] * 20, "are names of picture files|names of picture files"),
    ],
)
def test_columns_that_can_not_be_read_are_named_with_the_remedy(tmp_path, entries, said):
    with pytest.raises(UnreadableData, match=r"1 columns can not be read: 'odd': .*" + said):
        load(csv(tmp_path, columns(odd=entries), name="t.tsv", separator="\t"))
    assert load(tmp_path / "t.tsv", ignore="odd").channels == ("a", "b")


def test_dates_of_a_data_frame_are_refused_too():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns()).assign(when=pandas.date_range("2020-01-01", periods=ROWS))
    with pytest.raises(UnreadableData, match=r"'when': 40 of 40 entries .* are dates"):
        from_table(frame)


def test_words_that_follow_numbers_in_a_later_piece_are_a_mixture(tmp_path, monkeypatch):
    monkeypatch.setattr(table_pieces, "CELLS", 30)
    with pytest.raises(UnreadableData, match=r"'odd': 1 of 40 entries \('abc' in row 40\)"):
        load(csv(tmp_path, columns(odd=["1.5"] * 39 + ["abc"])))


def test_pieces_change_nothing(tmp_path, monkeypatch):
    table = csv(tmp_path, columns(colour=["red", "green", "", "blue"] * 10))
    whole = load(table)
    monkeypatch.setattr(table_pieces, "CELLS", 12)
    assert load(table).fingerprint == whole.fingerprint


def test_what_is_no_table_of_features(tmp_path):
    (tmp_path / "numbers.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(
        UnreadableData, match=r"numbers\.csv: the first line holds the numbers 1, 2, 3; expected the names"
    ):
        load(tmp_path / "numbers.csv")
    with pytest.raises(ValueError, match=r"no column 'label'.*--target"):
        load(csv(tmp_path, {"a": [1, 2], "b": [3, 4]}))
    with pytest.raises(UnreadableData, match="has no column to learn from"):
        load(csv(tmp_path, {"a": [1, 1], "label": [0, 1]}))
    with pytest.raises(UnreadableData, match="has no rows"):
        load(csv(tmp_path, {"a": [], "label": []}))
    (tmp_path / "latin.csv").write_bytes("a,label\n1,caf\xe9\n2,th\xe9\n".encode("latin-1"))
    with pytest.raises(UnreadableData, match="in UTF-8"):
        load(tmp_path / "latin.csv")
    (tmp_path / "short.csv").write_text("a,label\n1,x\n2\n3,y\n")
    with pytest.raises(UnreadableData, match=r"1 rows do not have 2 columns .* first line 3"):
        load(tmp_path / "short.csv")
    (tmp_path / "no.xlsx").write_bytes(b"PK no")
    with pytest.raises(UnreadableData, match="can not be read as Excel"):
        load(tmp_path / "no.xlsx")
    with pytest.raises(ValueError, match="nan='zero' is for pictures"):
        load(csv(tmp_path, columns()), nan="zero")
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)), y=[0, 1, 0, 1])
    with pytest.raises(ValueError, match="columns='a' is for tables"):
        load(tmp_path / "a.npz", columns="a")


@pytest.mark.parametrize(("suffix", "module"), [("xlsx", "openpyxl"), ("parquet", "pyarrow")])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, suffix, module):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / f"t.{suffix}").write_bytes(b"PK")
    with pytest.raises(
        MissingExtra, match=rf'{module}, which is not installed: pip install "hubel\[science\]"'
    ):
        load(tmp_path / f"t.{suffix}")


@pytest.mark.parametrize(
    ("target", "options", "kind", "shape"),
    [
        (["x", "y"] * 20, {}, "classes", (ROWS,)),
        ([0, 1] * 20, {}, "classes", (ROWS,)),
        (["007", "8"] * 20, {}, "classes", (ROWS,)),
        (np.linspace(0, 1, ROWS), {}, "values", (ROWS, 1)),
        ([3.0, 4.0] * 20, {}, "values", (ROWS, 1)),
        (range(5, 45), {"task": "values"}, "values", (ROWS, 1)),
        ([1, 2] * 20, {"task": "values"}, "values", (ROWS, 1)),
    ],
)
def test_the_target_decides(tmp_path, target, options, kind, shape):
    data = load(csv(tmp_path, {"a": np.linspace(3, 4, ROWS) ** 2, "label": target}), **options)
    assert data.reading["task"] == kind
    assert data.targets.shape == shape
    assert (data.classes is None) == (kind == "values")


def test_amounts_are_asked_for_unless_they_have_a_unit(tmp_path):
    counts = {"a": np.linspace(3, 4, ROWS) ** 2, "n": np.arange(ROWS) % 30}
    with pytest.raises(
        ValueError, match=r"'n' has 30 different whole numbers in 40 rows.*--task values.*classes"
    ):
        load(csv(tmp_path, counts), target="n")
    assert load(csv(tmp_path, {"a": counts["a"], "n [counts]": counts["n"]}), target="n").units == ("counts",)


def test_several_targets(tmp_path):
    p = np.linspace(0.1, 0.9, ROWS).round(3)
    table = csv(
        tmp_path,
        {
            "a": p**2,
            "m [kg]": p + 1,
            "r": p * 3,
            "p_x": p,
            "p_y": (1 - p).round(3),
            "s": [0, 1] * 20,
            "t": [0, 0, 1, 1] * 10,
            "w": ["no", "yes"] * 20,
        },
    )
    values = load(table, target=["m", "r"])
    assert values.target_names == ("m", "r") and values.units == ("kg", "")
    soft = load(table, target="p_x,p_y")
    assert soft.has_probabilities and not soft.is_multilabel
    assert soft.classes == ("x", "y")
    np.testing.assert_allclose(soft.targets[:, 0], p)
    labels = load(table, target=["s", "t", "w"])
    assert labels.is_multilabel and labels.classes == ("s", "t", "w")
    assert labels.targets[:, 2].tolist() == [0, 1] * 20
    assert load(table, target=["s", "t"], task="values").targets.dtype == np.float64
    with pytest.raises(ValueError, match="no class probabilities, first row 0"):
        load(table, target=["m", "r"], task="probabilities")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (["x"] * 39 + [""], "1 rows have no label .*: 40. Label them or remove"),
        (["1.5"] * 39 + ["abc"], r"mixes 39 numbers with 1 words \('abc' in row 40\).*--task classes"),
        ([f"w{k}" for k in range(ROWS)], "a different word in most of 40 rows"),
        (["2020-01-01"] * ROWS, "holds dates"),
        (["1,5"] * ROWS, "has decimal commas"),
        ([1.5] * 39 + ["inf"], r"infinite in 1 rows \(40\)"),
        (["x"] * ROWS, 'have the class "x"'),
    ],
)
def test_targets_that_can_not_be_learned(tmp_path, target, said):
    with pytest.raises(ValueError, match=said):
        load(
            csv(tmp_path, {"a": np.linspace(3, 4, ROWS) ** 2, "label": target}, name="t.tsv", separator="\t")
        )


def test_new_tables_are_read_alike_in_any_order(tmp_path):
    data = load(csv(tmp_path, columns(colour=["red", "green"] * 20)))
    new = csv(tmp_path, {"colour": ["green", "red"], "b": [1, 2], "a": [3, 4]}, name="new.csv")
    assert read_like(new, data.reading).tolist() == [[3, 1, 0], [4, 2, 1]]
    assert read_like({"a": [3.0], "b": [1], "colour": ["red"]}, data.reading).tolist() == [[3, 1, 1]]


def test_what_is_unlike_in_a_new_table_is_said(tmp_path):
    data = load(csv(tmp_path, columns(colour=["red", "green"] * 20)))
    new = csv(
        tmp_path, {"a": [3, ""], "b": [1, 2], "colour": ["mauve", "red"], "note": ["x", "y"]}, name="new.csv"
    )
    with pytest.warns(
        UserWarning, match=r"not read: note.*1 rows have a level of colour .*'mauve'.*1 rows have no a"
    ):
        rows = read_like(new, data.reading)
    np.testing.assert_array_equal(rows, np.array([[3, 1, -1], [np.nan, 2, 1]], np.float32))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"a": [1], "bb": [2]}, r"lacks 1 columns .*: 'b'.*Did you mean \"bb\""),
        ({"a": [1]}, r"lacks 1 columns .*: 'b'.*There are: a"),
        ({"a": ["x"], "b": [2]}, r"'a' has 1 entries that are no finite numbers \('x' in row 1\)"),
        ({"a": [np.inf], "b": [2]}, "no finite numbers"),
        ({"a [kg]": [1], "b": [2]}, None),
    ],
)
def test_new_tables_that_do_not_fit(new, said):
    reading = from_table(columns()).reading
    if said is None:
        assert read_like(new, reading).tolist() == [[1, 2]]
        return
    with pytest.raises(ValueError, match=said):
        read_like(new, reading)


def test_another_unit_is_refused():
    reading = from_table({"m [kg]": [1.0, 2.0, 4.0], "label": [0, 1, 0]}).reading
    with pytest.raises(ValueError, match="m is in g, but the network was fitted to kg"):
        read_like({"m [g]": [1.0]}, reading)


def test_arrays_where_all_columns_are_numbers():
    reading = from_table(columns()).reading
    assert read_like(np.array([[1.0, 2.0]]), reading).tolist() == [[1, 2]]
    assert read_like([1.0, 2.0], reading).tolist() == [[1, 2]]
    with pytest.raises(ValueError, match=r"expected numbers \[N, 2\], in the order a, b"):
        read_like(np.zeros((1, 3)), reading)
    words = from_table(columns(colour=["red", "green"] * 20)).reading
    with pytest.raises(ValueError, match="words in 'colour'"):
        read_like(np.zeros((1, 3)), words)


def test_numbers_that_float32_would_round_are_kept_as_float64():
    day = 2459000.5 + np.arange(ROWS) ** 1.5 / 100
    data = from_table({"day": day, "label": [0, 1] * 20})
    assert data.inputs[:, 0].tolist() == day.tolist()
    assert data.inputs.dtype == np.float64


def test_the_reading_is_plain_json():
    reading = from_table(columns(colour=["red", "green"] * 20)).reading
    assert json.loads(json.dumps(reading)) == reading


def test_a_file_larger_than_what_is_held(tmp_path, monkeypatch):
    """A file of 5 MB with a column of text, read into a mapped array: at no time is more than a third of it in memory."""
    generator = np.random.default_rng(0)
    with open(tmp_path / "large.csv", "w") as file:
        file.write("label,words," + ",".join(f"c{k}" for k in range(40)) + "\n")
        for k in range(12_000):
            numbers = ",".join(f"{v:.6f}" for v in generator.normal(size=40))
            file.write(f"{k % 2},{'abcdefgh'[k % 8]},{numbers}\n")
    size = (tmp_path / "large.csv").stat().st_size
    monkeypatch.setattr(storage, "fits", lambda num_bytes: num_bytes < 2**20)
    monkeypatch.setattr(table_pieces, "CELLS", 5_000)
    monkeypatch.setenv("HUBEL_CACHE", str(tmp_path / "cache"))
    seen = []
    tracemalloc.start()
    data = load(tmp_path / "large.csv", progress=lambda done, total: seen.append(done / total))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(data.inputs, np.memmap)
    assert data.inputs.shape == (12_000, 41)
    assert peak < size / 3
    assert seen == sorted(seen) and seen[-1] == 1 and len(seen) > 50
    assert list((tmp_path / "cache" / "spool").iterdir()) == []


def test_a_full_disk_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "fits", lambda num_bytes: False)
    monkeypatch.setattr(storage, "_reserve", full)
    monkeypatch.setenv("HUBEL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"No space left on device.*free space"):
        load(csv(tmp_path, columns()))
    assert list((tmp_path / "cache" / "spool").iterdir()) == []
