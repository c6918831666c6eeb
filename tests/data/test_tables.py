import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import load


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "img").mkdir()
    for k in range(6):
        Image.fromarray(np.full((4, 4), 10 * k, np.uint8)).save(tmp_path / "img" / f"{k}.png")
    return tmp_path


def table(folder, *rows, name="t.csv", separator=","):
    (folder / name).write_text(
        "\n".join(separator.join(map(str, row)) for row in rows) + "\n", encoding="utf-8"
    )
    return folder / name


def rows(labels, header=("path", "label")):
    return header, *((f"img/{k}.png", label) for k, label in enumerate(labels))


def test_words_are_classes(pictures):
    data = load(table(pictures, *rows(["b", "a", "b"])))
    assert data.classes == ("a", "b")
    assert data.targets.tolist() == [1, 0, 1]
    assert data.inputs[:, 0, 0, 0].tolist() == [0, 10, 20]
    assert data.ids.tolist() == ["img/0.png", "img/1.png", "img/2.png"]


@pytest.mark.parametrize(("name", "separator"), [("t.tsv", "\t"), ("t.csv", ";")])
def test_other_separators_and_a_byte_order_mark(pictures, name, separator):
    path = table(pictures, *rows(["b", "a"]), name=name, separator=separator)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).classes == ("a", "b")


def test_parquet_is_the_same(pictures):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"path": [f"img/{k}.png" for k in range(4)], "label": [3, 1, 3, 1], "split": ["train", "test"] * 2}
    )
    frame.to_parquet(pictures / "t.parquet")
    frame.to_csv(pictures / "t.csv", index=False)
    one, two = load(pictures / "t.parquet"), load(pictures / "t.csv")
    assert one.fingerprint == two.fingerprint
    assert one.classes == ("1", "3")
    (pictures / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UnreadableData, match="can not be read as Parquet"):
        load(pictures / "broken.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    words = pyarrow.array([b"a/0.png", b"\xff\xfe"]).cast(pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"path": words, "label": ["a", "b"]}), pictures / "bytes.parquet")
    with pytest.raises(UnreadableData, match=r"bytes\.parquet can not be read as Parquet"):
        load(pictures / "bytes.parquet")


def test_column_names_regardless_of_case_and_the_optional_ones(pictures):
    path = table(
        pictures,
        ("Filename", "Class", "GROUP", "Split", "weight"),
        ("img/0.png", "x", "p1", "train", 1),
        ("img/1.png", "y", "p1", "train", 2.5),
        ("img/2.png", "x", "p2", "val", 1),
        ("img/3.png", "y", "p3", "Testing", 1),
    )
    data = load(path)
    assert data.groups.tolist() == ["p1", "p1", "p2", "p3"]
    assert data.part.tolist() == ["train", "train", "validation", "test"]
    assert data.weights.tolist() == [1, 2.5, 1, 1]


def test_whole_numbers_are_classes_and_others_are_real_values(pictures):
    assert load(table(pictures, *rows([10, 9, 10]))).classes == ("9", "10")
    data = load(table(pictures, *rows(["0.5", "1", "2"])))
    assert data.classes is None
    assert data.targets.tolist() == [[0.5], [1.0], [2.0]]
    assert data.target_names == ("label",)
    assert load(table(pictures, *rows(["1.0", "2.0", "1.0"]))).classes is None
    assert load(table(pictures, *rows(["007", "7", "007"]))).classes == ("007", "7")
    assert load(table(pictures, *rows([10, 9, 10])), task="values").classes is None


def test_several_targets(pictures):
    path = table(pictures, ("path", "u", "v"), ("img/0.png", 0.5, 1), ("img/1.png", 0.25, 2))
    data = load(path, target=["u", "v"])
    assert data.targets.tolist() == [[0.5, 1], [0.25, 2]]
    assert data.target_names == ("u", "v")
    path = table(pictures, ("path", "sea", "sun"), ("img/0.png", 0, 1), ("img/1.png", 1, 1))
    data = load(path, target=["sea", "sun"])
    assert data.classes == ("sea", "sun")
    assert data.targets.tolist() == [[0, 1], [1, 1]]


def test_a_column_that_does_not_exist_is_suggested(pictures):
    path = table(pictures, *rows(["a", "b"], header=("path", "lable")))
    with pytest.raises(
        ValueError,
        match=r"no column 'label'\. Did you mean \"lable\"\? There are: path, lable\. Say which column .* --target|no column",
    ):
        load(path)
    assert load(path, target="lable").classes == ("a", "b")
    with pytest.raises(
        ValueError,
        match=r"'paths': names of picture files \(img/0\.png\)\. To read the pictures, call the column path",
    ):
        load(table(pictures, *rows(["a", "b"], header=("paths", "label"))))


def test_missing_labels_are_named_by_row(pictures):
    with pytest.raises(
        ValueError, match=r"2 rows have no label .*: row 1 \(img/0\.png\), row 3 \(img/2\.png\)"
    ):
        load(table(pictures, *rows(["", "a", "NaN"])))
    assert load(table(pictures, *rows(["none", "crack"]))).classes == ("crack", "none")


def test_files_that_do_not_exist_are_counted_and_named(pictures):
    path = table(pictures, ("path", "label"), ("img/0.png", "a"), ("img/1.pgn", "b"), ("img/77.png", "b"))
    with pytest.raises(
        UnreadableData, match=r'2 of 3 files .* do not exist: img/1\.pgn, img/77\.png.*Did you mean "1\.png"'
    ):
        load(path)
    with pytest.raises(UnreadableData, match="There is no folder"):
        load(table(pictures, ("path", "label"), ("imgs/0.png", "a"), ("imgs/1.png", "b")))


def test_a_file_with_two_labels_is_refused_and_a_repeated_row_is_noted(pictures):
    path = table(pictures, ("path", "label"), ("img/0.png", "a"), ("img/1.png", "b"), ("img/./0.png", "b"))
    with pytest.raises(
        ValueError, match=r"1 files different labels: img/\./0\.png \(rows 1 and 3: a and b\)"
    ):
        load(path)
    path = table(pictures, ("path", "label"), ("img/0.png", "a"), ("img/1.png", "b"), ("img/0.png", "a"))
    data = load(path)
    assert len(data) == 2
    assert "1 rows name a file again" in data.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no rows"),
        ("path,label\n", "has no rows"),
        ("path,label\nimg/0.png,a,b\n", "1 rows do not have 2 columns .* first line 2"),
        ("path,label,label\nimg/0.png,a,b\n", "the column 'label' twice"),
        ("path,label,split\nimg/0.png,a,train\nimg/1.png,b,tests\n", "the split 'tests'; expected train"),
        (
            "path,label,split\nimg/0.png,a,train\nimg/1.png,b,\n",
            "1 rows have nothing in the column 'split', first row 2",
        ),
        ("path,label,weight\nimg/0.png,a,1\nimg/1.png,b,heavy\n", "the column weight has 'heavy'"),
        ("path,label\n,a\nimg/1.png,b\n", "row 1 has no path"),
        ("path,label\nimg/0.png,a\nimg/1.png,a\n", 'the class "a"'),
    ],
)
def test_faulty_tables(pictures, content, said):
    (pictures / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        load(pictures / "t.csv")


def test_a_table_that_is_not_utf8(pictures):
    (pictures / "t.csv").write_bytes(b"path,label\nimg/0.png,caf\xe9\n")
    with pytest.raises(UnreadableData, match="as a table in UTF-8"):
        load(pictures / "t.csv")


def test_words_with_underscores_are_words(tmp_path):
    """Python reads 1_1 as 11."""
    from hubel.data.tables import _typed

    assert _typed(["1_1", "2_3"]).tolist() == ["1_1", "2_3"]
    assert _typed(["1.5", "2"]).tolist() == [1.5, 2.0]
