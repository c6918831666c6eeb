"""Large CSV files by Arrow's reader: the same words, numbers and errors as by Python's `csv` module, whatever stands in the file."""

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubel.core.errors import UnreadableData
from hubel.data import load, table_arrow, table_pieces
from hubel.data.table_columns import Survey, encoded, numbers_of

pyarrow = pytest.importorskip("pyarrow")
WORDS = st.sampled_from(
    [
        "",
        "1",
        "-2.5",
        " 3",
        "007",
        "1e3",
        "nan",
        "nan(1)",
        "NA",
        "inf",
        "1_1",
        "a b",
        "yes",
        "0x1",
        "é",
        ".5",
        "+4",
    ]
)
TEXT = st.text(alphabet=' ab,;"\n\r\té1', max_size=6)
CELLS = st.one_of(WORDS, TEXT)


def rows_of(path):
    return [row for piece in table_pieces.table_of(path).pieces() for row in zip(*piece, strict=True)]


def by_both(path, monkeypatch):
    """By the `csv` module, and by Arrow in blocks of some lines."""
    found = []
    for least in (10**9, 0):
        monkeypatch.setattr(table_arrow, "LARGE", least)
        try:
            found.append(rows_of(path))
        except UnreadableData as error:
            found.append(str(error))
    return found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=30),
    ending=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_rows_are_those_of_the_csv_module(tmp_path, monkeypatch, rows, ending, mark):
    monkeypatch.setattr(table_arrow, "BLOCK", 200)
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=ending, quoting=csv.QUOTE_ALL if mark else csv.QUOTE_MINIMAL).writerows(
        [("a", "b,c", 'd"e'), *rows]
    )
    (tmp_path / "t.csv").write_bytes(file.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    plain, fast = by_both(tmp_path / "t.csv", monkeypatch)
    assert fast == plain


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(alphabet=' ab,"\n\r1', max_size=60))
def test_files_that_nobody_wrote_well_give_the_same_rows_or_the_same_error(tmp_path, monkeypatch, text):
    monkeypatch.setattr(table_arrow, "BLOCK", 30)
    (tmp_path / "t.csv").write_bytes(("x,y\n" + text).encode())
    plain, fast = by_both(tmp_path / "t.csv", monkeypatch)
    assert fast == plain


@given(words=st.lists(WORDS, min_size=1, max_size=8), missing=st.sampled_from([(), ("007",), ("yes", "1")]))
def test_numbers_and_words_are_found_as_in_lists(words, missing):
    column = table_arrow.Texts(pyarrow.array(words))
    values, places = numbers_of(column, missing)
    expected, expected_places = numbers_of(words, missing)
    np.testing.assert_array_equal(values, expected)
    assert places == expected_places
    assert encoded(column)[0] == encoded(words)[0]
    assert encoded(column)[1].tolist() == encoded(words)[1].tolist()
    for as_words in (False, True):
        one, other = (Survey("c", words=as_words, missing=missing) for _ in range(2))
        one.take(column)
        other.take(words)
        assert vars(one) == vars(other)


def test_a_wrong_row_far_down_is_named_by_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(table_arrow, "BLOCK", 1000)
    lines = ["a,b,label", *(f"{k},{-k},{'even' if k % 2 == 0 else 'odd'}" for k in range(2000))]
    lines[1500] = "1,2"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    plain, fast = by_both(tmp_path / "t.csv", monkeypatch)
    assert "first line 1501" in plain
    assert fast == plain
    lines[1500] = "1,2,caf\xe9"
    (tmp_path / "t.csv").write_bytes("\n".join(lines).encode("latin1"))
    plain, fast = by_both(tmp_path / "t.csv", monkeypatch)
    assert "iconv" in plain
    assert fast.startswith(plain[:60])


def test_a_table_is_the_same_data_set_by_both(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    lines = ["mass [kg],colour,id,label"]
    lines += [
        f"{generator.normal() if k % 7 else ''},{generator.choice(['red', 'green', 'NA'])},{k},{generator.choice(['up', 'down'])}"
        for k in range(500)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    monkeypatch.setattr(table_arrow, "BLOCK", 2000)
    found = []
    for least in (10**9, 0):
        monkeypatch.setattr(table_arrow, "LARGE", least)
        found.append(load(tmp_path / "t.csv"))
    np.testing.assert_array_equal(found[0].inputs, found[1].inputs)
    np.testing.assert_array_equal(found[0].targets, found[1].targets)
    assert found[0].notes == found[1].notes
    assert found[0].reading == found[1].reading
