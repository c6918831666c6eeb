"""Labels with many wrong boxes: in every format all are said at once, ten of each file, and the others are counted."""

import json

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import from_arrays, load
from hubel.data.box_faults import MOST_FILES, MOST_OF_FILE, Faults

NUM, WRONG = 15, range(2, 14)  # twelve of fifteen boxes
SIDE = 100


def coco(root, wrong):
    annotations = [
        {"id": k, "image_id": 1, "category_id": 1, "bbox": [k, 1, "wide" if k in wrong else 5, 5]}
        for k in range(NUM)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "star"}],
        "annotations": annotations,
    }
    (root / "labels.json").write_text(json.dumps(content))
    return "labels.json"


def table(root, wrong):
    rows = [f"a.png,{k},1,{'wide' if k in wrong else k + 5},9,star" for k in range(NUM)]
    (root / "labels.csv").write_text("\n".join(["file,xmin,ymin,xmax,ymax,label", *rows]))
    return "labels.csv"


def lines(root, wrong):
    boxes = [f"{k},1,{k + 5},9,{-1 if k in wrong else 0}" for k in range(NUM)]
    (root / "labels.txt").write_text(f"a.png {' '.join(boxes)}\n")
    return "labels.txt"


def yolo(root, wrong):
    rows = [f"0 {0.1 + 0.02 * k:.2f} 0.5 {'wide' if k in wrong else 0.1} 0.1" for k in range(NUM)]
    (root / "classes.txt").write_text("star\n")
    (root / "a.txt").write_text("\n".join(rows))
    return ""


def voc(root, wrong):
    objects = [
        f"<object><name>{'' if k in wrong else 'star'}</name><bndbox><xmin>{k + 1}</xmin><ymin>2</ymin><xmax>{k + 9}</xmax><ymax>9</ymax></bndbox></object>"
        for k in range(NUM)
    ]
    (root / "a.xml").write_text(f"<annotation><filename>a.png</filename>{''.join(objects)}</annotation>")
    return ""


def labelme(root, wrong):
    shapes = [
        {"label": "" if k in wrong else "star", "shape_type": "rectangle", "points": [[k, 1], [k + 5, 9]]}
        for k in range(NUM)
    ]
    (root / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    return ""


def label_studio(root, wrong):
    regions = [
        {
            "value": {
                "x": k,
                "y": 1,
                "width": 5,
                "height": 5,
                "rectanglelabels": [] if k in wrong else ["star"],
            }
        }
        for k in range(NUM)
    ]
    (root / "tasks.json").write_text(
        json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": regions}]}])
    )
    return "tasks.json"


@pytest.mark.parametrize("write", [coco, table, lines, yolo, voc, labelme, label_studio])
def test_all_wrong_boxes_of_a_file_are_said_at_once(tmp_path, write):
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / "a.png")
    source = tmp_path / write(tmp_path, WRONG)
    with pytest.raises(ValueError, match="12 faults in the labels") as caught:
        load(source)
    _, *told, last = str(caught.value).splitlines()
    assert len(told) == MOST_OF_FILE and len(set(told)) == MOST_OF_FILE
    assert all("expected" in line for line in told)
    assert last.strip().startswith("and 2 more in ")
    write(tmp_path, {2})
    with pytest.raises(ValueError, match="expected") as caught:
        load(source)
    assert len(str(caught.value).splitlines()) == 1, "of one alone only that is said"
    write(tmp_path, ())
    assert len(load(source).targets[0]) == NUM


def test_wrong_mappings_are_said_at_once():
    y = [{"boxes": [[1, 1, 5, 5]], "labels": ["star"] * (1 + (k % 2))} for k in range(8)]
    with pytest.raises(ValueError, match=r"(?s)4 faults in the labels.*y\[1\].*y\[3\].*y\[5\].*y\[7\]"):
        from_arrays(np.zeros((8, 20, 20), np.uint8), y)


def test_files_are_told_apart_and_other_errors_are_let_through():
    faults = Faults()
    faults.refuse()
    for file in range(MOST_FILES + 3):
        for row in range(2):
            with faults.of(f"{file}.txt"):
                raise UnreadableData(f"{file}.txt, row {row}")
    with pytest.raises(UnreadableData) as caught:  # as all are
        faults.refuse()
    first, *told, last = str(caught.value).splitlines()
    assert first.startswith("26 faults in the labels") and len(told) == 2 * MOST_FILES
    assert last.strip() == "and 6 more in 3 other files"
    with faults.of("a.txt"):
        raise ValueError("another kind")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its kind is what is asked
        faults.refuse()
    assert not isinstance(caught.value, UnreadableData)
    with pytest.raises(KeyError), faults.of("a.txt"):
        raise KeyError("no word about labels")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("xmin,ymin,xmax", "xmin, ymin, xmax of boxes, but none called ymax"),
        ("XMin,ymin,xmax,y_max", 'xmin, ymin, xmax of boxes, but none called ymax.*Did you mean "y_max"'),
        ("x_center,y_center,height", "x_center, y_center, height of boxes, but none called width"),
        ("x,y,w", "x, y, w of boxes, but none called h"),
    ],
)
def test_a_table_without_one_column_of_boxes_names_it(tmp_path, columns, said):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / name)
    row = ",".join("1" for _ in columns.split(","))
    (tmp_path / "t.csv").write_text(f"file,{columns},label\na.png,{row},star\nb.png,{row},dog\n")
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "t.csv")
    if columns == "x,y,w":  # as a real value of the whole picture
        (tmp_path / "t.csv").write_text("file,x,y,w\na.png,1,2,3.5\nb.png,2,2,4.5\n")
        assert load(tmp_path / "t.csv", target="w").classes is None
