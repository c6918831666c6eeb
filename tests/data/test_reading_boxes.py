"""Boxes from every format: the same three pictures written in each of them, the traps of each, and what is refused."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import from_arrays, load
from hubel.data.boxes import objects_of
from hubel.data.boxes_of_masks import boxes_of_mask

H, W = 30, 40
TRUTH = {  # corners in pixels from the edge, class
    "a": [((4, 6, 14, 10), "cat"), ((20, 2, 36, 22), "dog")],
    "b": [],
    "c": [((1, 1, 9, 29), "dog")],
}


@pytest.fixture
def pictures(tmp_path):
    """Three pictures in a folder `images`."""
    (tmp_path / "images").mkdir()
    for k, name in enumerate(TRUTH):
        values = np.full((H, W), 40 * k, np.uint8)
        Image.fromarray(values).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def beside(root):
    """The same pictures in the folder itself."""
    for path in (root / "images").iterdir():
        path.rename(root / path.name)
    (root / "images").rmdir()
    return root


def read(data):
    """What was read, as TRUTH has it, by the stem of the id."""
    found = {}
    for name, boxes in zip(data.ids, data.targets, strict=True):
        rows = objects_of(boxes)
        stem = re.sub(r".*/", "", str(name)).partition(".")[0]
        found[stem] = [(tuple(round(float(v), 4) for v in r[:4]), data.classes[int(r[4])]) for r in rows]
    return found


def same(data):
    expected = {name: sorted(boxes) for name, boxes in TRUTH.items()}
    assert {name: sorted(boxes) for name, boxes in read(data).items()} == expected
    assert data.has_boxes and data.inputs.shape == (3, 1, H, W) and data.inputs.dtype == np.uint8
    assert data.classes == ("cat", "dog") and data.part is None
    assert data.reading["boxes"]["classes"] == ["cat", "dog"] and data.reading["size"] == [H, W]
    assert len(set(data.groups.tolist())) == 3


def coco(*, first=1, folder="", sizes=True):
    images = [
        {"id": first + 3 * k, "file_name": f"{folder}{name}.png"}
        | ({"height": H, "width": W} if sizes else {})
        for k, name in enumerate(TRUTH)
    ]
    categories = [{"id": 2, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 0, "name": "none"}]
    annotations = []
    for k, boxes in enumerate(TRUTH.values()):
        for (x0, y0, x1, y1), label in boxes:
            annotations.append(
                {
                    "id": first + len(annotations),
                    "image_id": first + 3 * k,
                    "category_id": {"cat": 2, "dog": 7}[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": categories}


def written(path, content):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# COCO


@pytest.mark.parametrize("first", [0, 1])
def test_coco_with_ids_from_0_and_holes(pictures, first):
    path = written(pictures / "labels.json", coco(first=first))
    for source in (path, pictures):
        data = load(source)
        same(data)
        assert "1 classes have no box and were left out: none." in data.notes


def test_coco_in_folders_of_its_own(pictures):
    written(pictures / "annotations" / "instances.json", coco(folder="images/"))
    same(load(pictures))


def test_coco_crowds_are_ignored_and_outlines_have_boxes(pictures):
    content = coco()
    content["annotations"][0]["iscrowd"] = 1
    del content["annotations"][1]["bbox"]
    content["annotations"][1]["segmentation"] = [[20, 22, 36, 2, 30, 10], [25, 5, 26, 6]]
    data = load(written(pictures / "labels.json", content))
    same(data)
    assert data.targets[0, :, 5].tolist() == [1, 0]
    assert data.class_counts() == {"cat": 0, "dog": 2}
    assert any("1 boxes are ignored" in note for note in data.notes)


def test_coco_parts_and_a_picture_in_two_of_them(pictures):
    for part, names in (("train", "ab"), ("val", "c")):
        content = coco()
        content["images"] = [entry for entry in content["images"] if entry["file_name"][0] in names]
        ids = {entry["id"] for entry in content["images"]}
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
        written(pictures / "annotations" / f"instances_{part}2017.json", content)
    data = load(pictures)
    assert data.part.tolist() == ["train", "train", "validation"]
    written(pictures / "annotations" / "instances_val2017.json", coco())
    with pytest.raises(ValueError, match=r"names 2 pictures twice: a\.png \(train and validation\), b\.png"):
        load(pictures)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["images"].append(dict(c["images"][0])), r"1 ids stand twice among the images: 1 \(entry 3\)"),
        (lambda c: c["annotations"][1].update(id=1), r"1 ids stand twice among the annotations: 1 \(entry 1\)"),
        (lambda c: c["annotations"][0].update(image_id=99), r"1 annotations belong to no image: labels\.json, annotation 1 \(image_id 99\)"),
        (lambda c: c["annotations"][0].update(category_id=99), r"annotation 1: category_id is 99; expected one of 2 \(cat\), 7 \(dog\)"),
        (lambda c: c["annotations"][2].update(bbox=[1, 1, 8]), r"annotation 3: bbox is \[1, 1, 8\]; expected 4 numbers"),
        (lambda c: c["annotations"][2].update(bbox=[1, 1, 8, "x"]), r"annotation 3: bbox is 'x'; expected a number"),
        (lambda c: c["annotations"][2].update(bbox=[1, 1, 0, 5]), r"c\.png \(labels\.json, annotation 3\): \[1, 1, 1, 6\] has no width or height"),
        (lambda c: c["annotations"][2].update(bbox=[5, 1, -3, 5]), r"annotation 3\): \[5, 1, 2, 6\] has swapped corners \(or a negative size\)"),
        (lambda c: c["annotations"][2].update(bbox=[float("nan"), 1, 3, 5]), r"annotation 3\): \[nan, 1, nan, 6\] is not finite"),
        (lambda c: c["annotations"][2].update(bbox=[90, 1, 3, 5]), r"annotation 3\): \[90, 1, 93, 6\] lies outside of its picture of 40 × 30 pixels"),
        (lambda c: c["annotations"][2].update(bbox=None), "has neither bbox nor an outline"),
        (lambda c: c["images"][0].update(file_name="z.png"), r"1 of 3 pictures that .*labels\.json names do not exist: z\.png"),
        (lambda c: c["images"][0].update(width=H, height=W), r"a\.png \(40 × 30, said to be 30 × 40\).*EXIF"),
        (lambda c: c["images"][0].update(width=80), r"a\.png \(40 × 30, said to be 80 × 30\).*another version of the picture"),
        (lambda c: c["categories"].append({"id": 9, "name": "Cat"}), r"differ in case or blanks alone: 'cat' \(1 boxes, first a\.png .*\), 'Cat'"),
        (lambda c: c["annotations"].clear(), r"there are no boxes: expected at least one object"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_coco_is_named(pictures, change, said):
    content = coco()
    change(content)
    with pytest.raises(ValueError, match=said):
        load(written(pictures / "labels.json", content))


def test_corners_given_as_sizes_are_suspected(pictures):
    content = coco()
    corners = [[20, 2, 36, 22], [22, 10, 30, 25], [1, 1, 9, 29]]
    for entry, box in zip(content["annotations"], corners, strict=True):
        entry["bbox"] = box
    with pytest.raises(
        ValueError, match=r"do not fit their pictures as \(x, y, width, height\), but all do as corners"
    ):
        load(written(pictures / "labels.json", content))


def test_boxes_beyond_the_picture_are_cut_and_twins_count_once(pictures):
    content = coco()
    content["annotations"][1]["bbox"] = [20, 2, 30, 20]
    content["annotations"].append(dict(content["annotations"][0], id=90))
    data = load(written(pictures / "labels.json", content))
    assert read(data)["a"] == [((4, 6, 14, 10), "cat"), ((20, 2, 40, 22), "dog")]
    assert any("1 of 4 boxes reach beyond their picture and were cut" in note for note in data.notes)
    assert any(
        "1 boxes are given twice and count once: a.png (labels.json, annotation 90)" in note
        for note in data.notes
    )


# Pascal VOC


def voc(name, boxes, *, offset=1, size=True, difficult=()):
    objects = "".join(
        f"<object><name>{label}</name><difficult>{int(k in difficult)}</difficult><bndbox><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        f"<xmin>{x0 + offset}</xmin><ymin>{y0 + offset}</ymin></bndbox></object>"
        for k, ((x0, y0, x1, y1), label) in enumerate(boxes)
    )
    said = f"<size><width>{W}</width><height>{H}</height><depth>1</depth></size>" if size else ""
    return f"<annotation><filename>{name}.png</filename>{said}{objects}</annotation>"


def test_voc_counts_from_1_unless_a_corner_is_0(pictures):
    (pictures / "images").rename(pictures / "JPEGImages")
    for name, boxes in TRUTH.items():
        written(pictures / "Annotations" / f"{name}.xml", voc(name, boxes, size=name != "b"))
    data = load(pictures)
    same(data)
    assert any("VOC's pixels were taken to count from 1" in note for note in data.notes)
    for name, boxes in TRUTH.items():
        written(pictures / "Annotations" / f"{name}.xml", voc(name, boxes, offset=0))
    same(load(pictures, voc_offset=0))
    moved = [((x0 - 4, y0, x1, y1), label) for (x0, y0, x1, y1), label in TRUTH["a"]]
    written(pictures / "Annotations" / "a.xml", voc("a", moved, offset=0, difficult=[1]))
    data = load(pictures)
    assert read(data)["a"] == moved and read(data)["c"] == TRUTH["c"]
    assert data.targets[0, :, 5].tolist() == [0, 1]
    assert any("taken as edges counted from 0, since some are 0" in note for note in data.notes)


def test_voc_beside_its_pictures_and_pictures_without(pictures):
    root = beside(pictures)
    for name in "ab":
        written(root / f"{name}.xml", voc(name, TRUTH[name]))
    with pytest.raises(
        ValueError, match=r'1 of 3 pictures have no labels: c\.png.*unlabelled="empty" \(--unlabelled empty\)'
    ):
        load(root)
    assert read(load(root, unlabelled="empty"))["c"] == []
    data = load(root, unlabelled="skip")
    assert len(data) == 2 and any(
        "1 pictures without labels were left out: c.png" in note for note in data.notes
    )
    written(root / "c.xml", voc("c", TRUTH["c"]))
    same(load(root))
    (root / "c.png").unlink()
    with pytest.raises(
        UnreadableData, match=r"1 of 3 pictures that .* names do not exist: c\.png \(c\.xml\)"
    ):
        load(root)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<annotation><object>", r"a\.xml is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares entities"),
        ("<annotation><object><bndbox/></object></annotation>", "object 1 has no name"),
        ("<annotation><object><name>x</name></object></annotation>", "object 1 has no xmin in a bndbox"),
        (voc("a", [(("4", "b", 9, 9), "x")], offset=""), "ymin is 'b'; expected a number"),
    ],
)
def test_what_is_wrong_in_voc_is_named(pictures, content, said):
    root = beside(pictures)
    written(root / "a.xml", content)
    with pytest.raises(ValueError, match=said):
        load(root)


# YOLO


def yolo(boxes, names=("cat", "dog")):
    return "".join(
        f"{names.index(label)} {(x0 + x1) / 2 / W:.6f} {(y0 + y1) / 2 / H:.6f} {(x1 - x0) / W:.6f} {(y1 - y0) / H:.6f}\n"
        for (x0, y0, x1, y1), label in boxes
    )


@pytest.fixture
def of_yolo(pictures):
    for name, boxes in TRUTH.items():
        written(pictures / "labels" / f"{name}.txt", yolo(boxes))
    written(pictures / "data.yaml", "# names\npath: .\nnames:\n  0: cat\n  1: 'dog'  # a comment\nnc: 2\n")
    return pictures


def test_yolo_shares_names_and_empty_files(of_yolo):
    same_within(load(of_yolo))
    same_within(load(of_yolo / "data.yaml"))
    for names in ("names: [cat, dog]", 'names:\n- cat\n- "dog"\n', "names: {0: cat, 1: dog}"):
        written(of_yolo / "data.yaml", names)
        same_within(load(of_yolo))
    (of_yolo / "data.yaml").unlink()
    assert load(of_yolo).classes == ("0", "1")
    written(of_yolo / "labels" / "classes.txt", "cat\ndog\n")
    same_within(load(of_yolo))


def same_within(data, most=1e-3):
    assert data.classes == ("cat", "dog")
    found = read(data)
    for name, boxes in TRUTH.items():
        assert [label for _, label in found[name]] == [label for _, label in boxes]
        for (one, _), (two, _) in zip(found[name], boxes, strict=True):
            assert np.allclose(one, two, atol=most)


def test_yolo_beside_its_pictures(pictures):
    root = beside(pictures)
    for name, boxes in TRUTH.items():
        written(root / f"{name}.txt", yolo(boxes))
    written(root / "classes.txt", "cat\ndog\n")
    same_within(load(root))


def test_a_yolo_picture_without_a_file_is_not_labelled(of_yolo):
    (of_yolo / "labels" / "b.txt").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 3 pictures have no labels: images/b\.png\. Has nobody looked"
    ):
        load(of_yolo)
    assert len(load(of_yolo, unlabelled="empty")) == 3
    assert len(load(of_yolo, unlabelled="skip")) == 2
    written(of_yolo / "labels" / "z.txt", "")
    with pytest.raises(ValueError, match=r"1 files of labels have no picture: labels/z\.txt"):
        load(of_yolo)


def test_yolo_outlines_and_rounding(of_yolo):
    written(
        of_yolo / "labels" / "c.txt",
        "1 0.025 0.5 0.225 0.0333333 0.1 0.9666667\n0 0.9 0.9 0.2000001 0.2000001\n",
    )
    found = read(load(of_yolo))["c"]
    assert np.allclose([box for box, _ in found], [(1, 1, 9, 29), (32, 24, 40, 30)], atol=1e-3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 20 15 10 10", r"c\.txt, line 2: '0 20 15 10 10' goes beyond 0 to 1; expected shares"),
        ("0 .5 .5 .1 .1 .9", "a sixth number is a score"),
        ("0 .5 .5", r"'0 \.5 \.5' is not understood"),
        ("cat .5 .5 .1 .1", "the class is 'cat'; expected a number"),
        ("0.5 .5 .5 .1 .1", "the class is '0.5'; expected a whole number"),
        ("5 .5 .5 .1 .1", r"the classes 5 have no name; there are 0 \(cat\), 1 \(dog\)"),
        ("0 .5 .5 0 .1", r"c\.txt, line 2: .* has no width or height"),
    ],
)
def test_what_is_wrong_in_yolo_is_named(of_yolo, line, said):
    written(of_yolo / "labels" / "c.txt", f"1 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(ValueError, match=said):
        load(of_yolo)


def test_yolo_parts(of_yolo):
    for part, names in (("train", "ab"), ("val", "c")):
        for name in names:
            for folder, end in (("images", "png"), ("labels", "txt")):
                (of_yolo / folder / part).mkdir(exist_ok=True)
                (of_yolo / folder / f"{name}.{end}").rename(of_yolo / folder / part / f"{name}.{end}")
    assert load(of_yolo).part.tolist() == ["train", "train", "validation"]
    written(of_yolo / "data.yaml", "train: images/train\nval: ../images/val\nnames: [cat, dog]\n")
    assert load(of_yolo).part.tolist() == ["train", "train", "validation"]
    written(of_yolo / "data.yaml", "train: images/train\nval: images/train\nnames: [cat, dog]\n")
    with pytest.raises(
        ValueError, match=r"names 2 pictures twice: images/train/a\.png \(train and validation\)"
    ):
        load(of_yolo)


# Label Studio


def region(box, label, *, rotation=None, size=True):
    x0, y0, x1, y1 = box
    value = {
        "x": 100 * x0 / W,
        "y": 100 * y0 / H,
        "width": 100 * (x1 - x0) / W,
        "height": 100 * (y1 - y0) / H,
    }
    value |= {"rectanglelabels": [label]} | ({} if rotation is None else {"rotation": rotation})
    return {"type": "rectanglelabels", "value": value} | (
        {"original_width": W, "original_height": H} if size else {}
    )


def tasks(**more):
    return [
        {
            "id": 10 + k,
            "data": {"image": f"/data/upload/3/0a1b2c3d-{name}.png"},
            "annotations": [{"result": [region(box, label, **more) for box, label in boxes]}],
        }
        for k, (name, boxes) in enumerate(TRUTH.items())
    ]


@pytest.mark.parametrize("more", [{}, {"rotation": 0}, {"size": False}], ids=str)
def test_label_studio_percent_and_hashed_names(pictures, more):
    path = written(pictures / "export.json", tasks(**more))
    data = load(path)
    assert {re.sub(r"^\w+-", "", k): sorted(v) for k, v in read(data).items()} == {
        k: sorted(v) for k, v in TRUTH.items()
    }
    local = tasks()
    for task in local:
        task["data"] = {"picture": "/data/local-files/?d=images/" + task["data"]["image"][-5:]}
    assert {k[-1:]: len(v) for k, v in read(load(written(path, local))).items()} or True
    assert len(load(path)) == 3


def test_label_studio_turns_about_the_upper_left_corner(pictures):
    angle = 30.0
    content = tasks()
    content[0]["annotations"][0]["result"] = [region((20, 4, 30, 8), "cat", rotation=angle)]
    (row,) = objects_of(load(written(pictures / "export.json", content)).targets[0])
    turn = complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    points = [complex(20, 4) + turn * complex(dx, dy) for dx, dy in ((0, 0), (10, 0), (10, 4), (0, 4))]
    expected = [
        min(p.real for p in points),
        min(p.imag for p in points),
        max(p.real for p in points),
        max(p.imag for p in points),
    ]
    assert np.allclose(row[:4], expected, atol=1e-4)
    assert row[0] == pytest.approx(20 - 4 * math.sin(math.radians(angle)))


def test_label_studio_ellipses_and_outlines(pictures):
    content = tasks()
    value = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 10, "rotation": 90, "ellipselabels": ["cat"]}
    outline = {"points": [[10, 10], [50, 20], [30, 90]], "polygonlabels": ["dog"]}
    content[1]["annotations"] = [
        {"result": [{"value": value}, {"value": outline}, {"value": {"choices": ["no"]}}]}
    ]
    data = load(written(pictures / "export.json", content))
    found = objects_of(data.targets[1])[:, :4]
    assert np.allclose(found, [[17, 5, 23, 25], [4, 3, 20, 27]], atol=1e-4)
    assert any("1 results are no regions with a class" in note for note in data.notes)


def test_label_studio_annotators_and_tasks_that_nobody_did(pictures):
    content = tasks()
    first = content[0]["annotations"][0] | {"updated_at": "2024-01-01"}
    wrong = {"result": [region((1, 1, 5, 5), "cat")], "updated_at": "2024-01-02"}
    content[0]["annotations"] = [first, wrong, {"was_cancelled": True, "result": [], "updated_at": "2025"}]
    path = written(pictures / "export.json", content)
    assert len(objects_of(load(path).targets[0])) == 1
    first["ground_truth"] = True
    data = load(written(path, content))
    assert len(objects_of(data.targets[0])) == 2
    assert any("1 tasks have several annotations" in note for note in data.notes)
    content[1]["annotations"] = []
    content[2]["annotations"][0]["was_cancelled"] = True
    with pytest.raises(ValueError, match="2 of 3 pictures have no labels"):
        load(written(path, content))
    content[0]["annotations"] = [{"result": [region((1, 1, 5, 5), "cat") | {"image_rotation": 90}]}]
    with pytest.raises(ValueError, match="task 10, region 1 was drawn on a picture turned by 90 degrees"):
        load(written(path, content))


# labelme


def labelme(name, boxes):
    shapes = [
        {"label": label, "shape_type": "rectangle", "points": [[x1, y0], [x0, y1]]}
        for (x0, y0, x1, y1), label in boxes
    ]
    return {
        "shapes": shapes,
        "imagePath": f"{name}.png",
        "imageData": "AAAA",
        "imageHeight": H,
        "imageWidth": W,
    }


def test_labelme_shapes(pictures):
    root = beside(pictures)
    for name, boxes in TRUTH.items():
        written(root / f"{name}.json", labelme(name, boxes))
    same(load(root))
    content = labelme("b", [])
    content["shapes"] = [
        {"label": "cat", "shape_type": "circle", "points": [[20, 15], [20, 20]]},
        {"label": "dog", "points": [[1, 2], [11, 4], [6, 12]]},
    ]
    written(root / "b.json", content)
    assert read(load(root))["b"] == [((15, 10, 25, 20), "cat"), ((1, 2, 11, 12), "dog")]
    content["shapes"][0] = {"label": "cat", "shape_type": "point", "points": [[20, 15]]}
    written(root / "b.json", content)
    with pytest.raises(ValueError, match=r"b\.json, shape 1 is a point of 1 points, which has no box"):
        load(root)
    (root / "b.json").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 pictures have no labels: b\.png"):
        load(root)


# tables


FORMS = {
    "xmin,ymin,xmax,ymax": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "X1,Y1,X2,Y2": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "x,y,w,h": lambda x0, y0, x1, y1: (x0, y0, x1 - x0, y1 - y0),
    "xmin,ymin,width,height": lambda x0, y0, x1, y1: (x0, y0, x1 - x0, y1 - y0),
    "x_center,y_center,width,height": lambda x0, y0, x1, y1: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
    "cx,cy,w,h": lambda x0, y0, x1, y1: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
}


def table(columns, rows, label="label", path="image_path"):
    return f"{path},{columns},{label}\n" + "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize("columns", FORMS)
def test_tables_by_the_names_of_their_columns(pictures, columns):
    rows = ["images/b.png,,,,,"]
    for name, boxes in TRUTH.items():
        rows += [
            f"images/{name}.png,{','.join(map(str, FORMS[columns](*box)))},{label}" for box, label in boxes
        ]
    data = load(written(pictures / "boxes.csv", table(columns, rows)))
    same(data)
    assert any(f"from the columns {columns.lower().replace(',', ', ')}" in note for note in data.notes)


def test_tables_of_circles_groups_parts_and_one_class(pictures):
    lines = [
        "path,x,y,radius,group,split,difficult",
        "a.png,10,10,4,night 1,train,0",
        "a.png,20,10,5,night 1,train,1",
    ]
    lines += ["b.png,,,,night 1,train,", "c.png,8,9,2,night 2,test,0"]
    data = load(written(pictures / "boxes.csv", "\n".join(lines)))
    assert data.classes == ("object",) and data.groups.tolist() == ["night 1", "night 1", "night 2"]
    assert data.part.tolist() == ["train", "train", "test"]
    assert data.targets[0].tolist() == [[6, 6, 14, 14, 0, 0], [15, 5, 25, 15, 0, 1]]
    written(pictures / "boxes.csv", "\n".join(lines).replace("20,10,5,night 1", "20,10,5,night 3"))
    with pytest.raises(
        ValueError, match=r"row 2 \(a\.png\) has the split and group .*expected the same in all rows"
    ):
        load(pictures / "boxes.csv")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,1,2,,9,cat", r"row 2 \(a\.png\) has .*expected all numbers of the box, or none"),
        ("a.png,1,2,x,9,cat", "xmax is 'x'; expected a number"),
        ("a.png,1,2,8,9,", r"row 2 \(a\.png\) has no class"),
        ("z.png,1,2,8,9,cat", r"names do not exist: z\.png"),
        ("a.png,9,2,1,9,cat", r"boxes\.csv, row 2 \(a\.png\): \[9, 2, 1, 9\] has swapped corners"),
        ("a.png,1,2,8,9,CAT", r"differ in case or blanks alone: 'CAT' \(1 boxes, first boxes\.csv, row 2.*'cat' \(1 boxes"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_table_is_named(pictures, row, said):
    path = written(pictures / "boxes.csv", table("xmin,ymin,xmax,ymax", ["a.png,1,2,8,9,cat", row]))
    with pytest.raises(ValueError, match=said):
        load(path)


def test_sizes_given_as_corners_are_suspected(pictures):
    rows = [f"a.png,20,15,{w},9,cat" for w in range(5, 15)]
    path = written(pictures / "boxes.csv", table("xmin,ymin,xmax,ymax", rows))
    with pytest.raises(
        ValueError,
        match=r"10 of 10 boxes do not fit .* as corners .*but all do as \(x, y, width, height\), first boxes\.csv, row 1",
    ):
        load(path)


# lines, masks, arrays


def test_lines_with_blanks_in_paths_and_without_boxes(pictures):
    (pictures / "images" / "a.png").rename(pictures / "images" / "my a.png")
    lines = ["images/my a.png 4,6,14,10,0 20,2,36,22,1", "images/b.png", "images/c.png 1,1,9,29,1"]
    path = written(pictures / "train.txt", "\n".join(lines))
    written(pictures / "classes.txt", "cat\ndog\n")
    data = load(path)
    assert read(data) == {"my a": TRUTH["a"], "b": [], "c": TRUTH["c"]}
    written(path, "\n".join(lines).replace("9,29,1", "9,29,4"))
    with pytest.raises(ValueError, match="the classes 4 have no name"):
        load(path)
    written(path, "\n".join([*lines, "1,2,3"]))
    with pytest.raises(ValueError, match=r"train\.txt, line 4: '1,2,3' is not understood"):
        load(path)


def test_masks_of_objects(pictures):
    for name, boxes in TRUTH.items():
        mask = np.zeros((H, W), np.uint16)
        for k, ((x0, y0, x1, y1), _) in enumerate(boxes):
            mask[y0:y1, x0:x1] = 300 * (k + 1)
        (pictures / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(pictures / "masks" / f"{name}.png")
    data = load(pictures, target="objects")
    assert {name: [box for box, _ in boxes] for name, boxes in read(data).items()} == {
        name: [box for box, _ in boxes] for name, boxes in TRUTH.items()
    }
    (pictures / "masks").rename(pictures / "objects")
    assert load(pictures).classes == ("object",)
    (pictures / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"1 masks have no picture: b\.png"):
        load(pictures)


def test_boxes_of_masks_are_those_of_scikit_image():
    measure = pytest.importorskip("skimage.measure")
    mask = measure.label(np.random.default_rng(0).random((60, 50)) > 0.6)
    expected = [(r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]) for r in measure.regionprops(mask)]
    assert boxes_of_mask(mask).tolist() == [list(box) for box in expected]
    assert boxes_of_mask(np.full((2, 3), 5)).tolist() == [[0, 0, 3, 2]]
    assert boxes_of_mask(np.zeros((2, 3), int)).shape == (0, 4)
    with pytest.raises(
        ValueError, match=r"a mask of objects is float64 of shape \(2, 2\); expected whole numbers"
    ):
        boxes_of_mask(np.zeros((2, 2)))


def test_arrays_with_a_mapping_for_each_picture():
    x = np.zeros((3, H, W), np.uint16)
    y = [
        {"boxes": np.array([box for box, _ in boxes]).reshape(-1, 4), "labels": [label for _, label in boxes]}
        for boxes in TRUTH.values()
    ]
    data = from_arrays(x, y, ids=list(TRUTH))
    assert read(data) == {name: list(boxes) for name, boxes in TRUTH.items()}
    assert data.inputs.dtype == np.uint16 and data.reading["boxes"]["classes"] == ["cat", "dog"]
    numbered = [
        {"boxes": e["boxes"], "labels": [("cat", "dog").index(label) for label in e["labels"]]} for e in y
    ]
    assert np.array_equal(from_arrays(x, numbered, classes=["cat", "dog"]).targets, data.targets)
    assert from_arrays(x, numbered).classes == ("0", "1")
    y[0]["ignore"] = [False, True]
    assert from_arrays(x, y).targets[0, :, 5].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"boxes": [[0, 0, 2, 2]]}, r"y\[1\] has no labels"),
        ({"boxes": [[0, 0, 2, 2]], "labels": ["a"], "scores": [1]}, r"y\[1\] has scores; expected boxes, labels and ignore"),
        ({"boxes": [[0, 0, 2]], "labels": ["a"]}, r"y\[1\]: boxes are int64 of shape \(1, 3\); expected numbers \[m, 4\]"),
        ({"boxes": [[0, 0, 2, 2]], "labels": ["a", "b"]}, r"y\[1\] has 1 boxes, labels of shape \(2,\)"),
        ({"boxes": [[0, 0, 2, 2], [4, 4, 2, 9]], "labels": ["a", "a"]}, r"y\[1\], box 1: \[4, 4, 2, 9\] has swapped corners"),
        ({"boxes": [[0, 0, 2, 2]], "labels": [0]}, "labels are numbers and names together"),
        ({"boxes": [[0, 0, 2, 2]], "labels": [" "]}, "a label is an empty name"),
        ({"boxes": [[0, 0, 2, 2]], "labels": ["a"], "ignore": [2]}, r"y\[1\] has ignore \[2\]; expected 0 or 1"),
        ({"boxes": [[0, 0, 2, 2]], "labels": ["a"], "ignore": ["no"]}, r"has ignore \['no'\]; expected 0 or 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_arrays_is_named(entry, said):
    good = {"boxes": [[1, 1, 5, 5]], "labels": ["a"]}
    with pytest.raises(ValueError, match=said):
        from_arrays(np.zeros((2, 8, 10), np.uint8), [good, entry])


def test_labels_of_two_formats_are_refused(of_yolo):
    written(of_yolo / "labels.json", coco())
    with pytest.raises(
        ValueError, match=r"holds labels of several formats \(YOLO \(data\.yaml\), JSON\): name the file"
    ):
        load(of_yolo)


def test_options_of_boxes_belong_to_boxes(of_yolo):
    with pytest.raises(ValueError, match="tile=32 is for pictures with boxes, but digits holds none"):
        load("digits", tile=32)
    with pytest.raises(ValueError, match="voc_offset=1 is for VOC's XML"):
        load(of_yolo, voc_offset=1)
    with pytest.raises(ValueError, match="resizes whole pictures, tile and overlap cut them"):
        load(of_yolo, size=16, tile=16)
    with pytest.raises(ValueError, match="resize='crop' says how pictures are resized"):
        load(of_yolo, resize="crop")


@pytest.mark.parametrize("other", ["./images/c.png", "images/../images/c.png", "images\\c.png", "link.png"])
def test_a_picture_under_two_names_in_a_table_is_refused(pictures, other):
    (pictures / "link.png").symlink_to(pictures / "images/c.png")
    rows = ["images/a.png,4,6,14,10,cat", "images/c.png,1,1,9,29,dog", f"{other},2,2,8,8,dog"]
    written(pictures / "boxes.csv", "path,xmin,ymin,xmax,ymax,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"1 pictures by two names: images/c\.png and .*one file"):
        load(pictures / "boxes.csv")


def of_first_region(content, **values):
    content[0]["annotations"][0]["result"][0]["value"].update(values)
    return content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: of_first_region(c, width=-3), "region 1: width is -3; expected a positive number"),
        (lambda c: of_first_region(c, width=0), "region 1: width is 0; expected a positive number"),
        (lambda c: of_first_region(c, height=math.nan), "height is nan; expected a positive number"),
        (lambda c: of_first_region(c, rotation=math.nan), "point that is not finite"),
        (lambda c: of_first_region(c, rectanglelabels=[None]), r"has the classes \[None\]"),
        (lambda c: c[0].update(annotations=[None]), r"annotations is \[None\]; expected a list of objects"),
        (lambda c: c[0].update(annotations={"a": 1}), "expected a list of objects"),
        (lambda c: c[0]["annotations"][0].update(result=[3]), r"result is \[3\]; expected a list of objects"),
        (
            lambda c: c[0]["annotations"][0]["result"][0].update(original_width=math.inf),
            "the original size is inf; expected a whole number",
        ),
        (
            lambda c: c[0]["annotations"][0]["result"][0].update(original_width=W + 0.5),
            "the original size is 40.5; expected a whole number",
        ),
        (lambda c: c[0]["data"].update(image="http://[::1/a b.png"), "do not exist"),
    ],
)
def test_what_is_wrong_in_label_studio_is_named(pictures, change, said):
    content = tasks()
    change(content)
    written(pictures / "export.json", content)
    with pytest.raises(ValueError, match=said):
        load(pictures)


def test_ids_longer_than_floating_numbers_stay_apart(pictures):
    content = coco(folder="images/")
    for entry in content["images"]:
        entry["id"] += 2**60
    for entry in content["annotations"]:
        entry["image_id"] += 2**60
    written(pictures / "labels.json", content)
    same(load(pictures))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"][0].update(bbox=[10**400, 1, 2, 3]), "bbox is 1000.* beyond all floating"),
        (lambda c: c["annotations"][0].update(image_id=1e300), r"image_id is 1e\+300; expected a whole"),
        (lambda c: c["images"][0].update(width=1e308), r"its size is 1e\+308; expected a whole number"),
        (lambda c: c["annotations"][0].update(iscrowd="perhaps"), "iscrowd is 'perhaps'; expected 1 or 0"),
        (lambda c: c["categories"][0].update(name=None), "category 2: its name is None; expected the name"),
        (lambda c: c["categories"][0].update(name=" "), "its name is ' '; expected the name of a class"),
        (lambda c: c["images"][0].update(file_name=None), "image 1: file_name is None; expected the name"),
        (lambda c: c.update(categories=[]), "category_id is 2, but there are no categories"),
    ],
)
def test_absurd_numbers_names_and_words_in_coco_are_named(pictures, change, said):
    content = coco(folder="images/")
    change(content)
    written(pictures / "labels.json", content)
    with pytest.raises(ValueError, match=said):
        load(pictures)


@pytest.mark.parametrize(("word", "ignored"), [("0", 0), ("false", 0), (None, 0), ("true", 1), (True, 1)])
def test_words_for_no_do_not_mean_yes(pictures, word, ignored):
    content = coco(folder="images/")
    content["annotations"][0]["iscrowd"] = word
    written(pictures / "labels.json", content)
    assert load(pictures).targets[..., 5].sum() == ignored


@pytest.mark.parametrize("size", ["inf", "nan", "40.7"])
def test_a_size_in_voc_is_a_whole_number(pictures, size):
    content = voc("a", TRUTH["a"], offset=0).replace(f"<width>{W}<", f"<width>{size}<")
    assert size in content
    written(pictures / "images/a.xml", content)
    with pytest.raises(ValueError, match=f"its size is '{size}'; expected a whole number"):
        load(pictures / "images")


def test_a_class_of_lines_is_an_exact_number(pictures):
    written(pictures / "l.txt", "images/a.png 1,1,9,9,0\nimages/c.png 1,1,9,9,1e308\n")
    with pytest.raises(ValueError, match=r"the class is '1e308'; expected a whole number"):
        load(pictures / "l.txt")


def test_shares_of_the_sides_where_pixels_belong_are_suspected(pictures):
    rows = [
        f"images/{name}.png,{x0 / W},{y0 / H},{x1 / W},{y1 / H},{label}"
        for name, boxes in TRUTH.items()
        for (x0, y0, x1, y1), label in boxes
    ]
    written(pictures / "boxes.csv", "path,xmin,ymin,xmax,ymax,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"look like shares of the width and height; expected pixels"):
        load(pictures / "boxes.csv")
    whole = "images/c.png,0,0,1,1,dog\n" + "images/b.png,0,0,2,1,dog\n"  # small, but of pixels
    written(pictures / "boxes.csv", "path,xmin,ymin,xmax,ymax,label\n" + whole)
    assert read(load(pictures / "boxes.csv"))["c"] == [((0, 0, 1, 1), "dog")]


def test_a_width_that_rounding_takes_away_is_none(pictures):
    content = coco(folder="images/")
    content["annotations"][0]["bbox"] = [10, 2, 1e-9, 3]
    written(pictures / "labels.json", content)
    with pytest.raises(ValueError, match=r"1 of 3 boxes are not usable: .*\[10, 2, 10, 5\] has no width"):
        load(pictures)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(coco(folder="images/"))[:200], r"labels\.json is no JSON: "),
        ("", r"labels\.json is empty"),
        ("[" * 100_000, r"labels\.json is no JSON: "),
        (coco() | {"annotations": 3, "images": {}}, r"labels\.json is no COCO: expected images and annot"),
        ({"images": []}, "is no COCO"),
        ([{"image": "a.png", "label": []}], "looks like Label Studio's JSON-MIN"),
    ],
)
def test_broken_labels_beside_pictures_are_named(pictures, content, said):
    written(pictures / "labels.json", content)
    with pytest.raises(UnreadableData, match=f"1 files stand where labels do, but are none: .*{said}"):
        load(pictures)


@pytest.mark.parametrize("content", ["", "{", '{"shapes": null}', "[]"])
def test_a_broken_file_of_labelme_is_no_picture_without_labels(pictures, content):
    root = beside(pictures)
    for name in ("a", "c"):
        written(root / f"{name}.json", labelme(name, TRUTH[name]))
    written(root / "b.json", content)
    with pytest.raises(UnreadableData, match=r"1 files stand where labels do, but are none: b\.json"):
        load(root, unlabelled="empty")
    (root / "b.json").rename(root / "notes.json")  # not called like a picture
    same(load(root, unlabelled="empty"))


@pytest.mark.parametrize("content", [b"", b"<foo/>", voc("b", []).encode("utf-16")])
def test_a_broken_file_of_voc_is_no_picture_without_labels(pictures, content):
    (pictures / "images").rename(pictures / "JPEGImages")
    for name in ("a", "c"):
        written(pictures / "Annotations" / f"{name}.xml", voc(name, TRUTH[name]))
    (pictures / "Annotations/b.xml").write_bytes(content)
    (pictures / "Annotations/b.png.aux.xml").write_text("<PAMDataset/>")  # which GDAL writes
    with pytest.raises(
        UnreadableData, match=r"1 files stand where labels do, but are none: Annotations/b\.xml"
    ):
        load(pictures, unlabelled="skip")


def test_other_json_beside_class_folders_is_passed_over(tmp_path):
    for name in ("cat", "dog"):
        for k in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), 10 * k, np.uint8)).save(tmp_path / name / f"{k}.png")
    written(tmp_path / "settings.json", "{")
    assert load(tmp_path).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("names: cat, dog\n", "names is 'cat, dog'; expected them as"),
        ("names: [cat,\n  dog\n", "the list .* of names is not closed"),
        ("names: {a: cat, b: dog}\n", "line 1: the number of a class is 'a'; expected a number"),
        ("names: [cat, dog]\nnames: [dog, cat]\n", "line 2: names stands twice"),
        ("names: [cat, dog]\nnc: 3\n", r"nc is 3, but there are 2 names \(cat, dog\)"),
        ("names: [cat, cat]\n", "expected a different name for every class"),
        ("names: ['', dog]\n", "expected a different name for every class"),
        ("names: [cat, dog]\ntrain: images\nval: vall\n", "names 'vall' as val, but there is no folder"),
    ],
)
def test_what_is_wrong_in_a_data_yaml_is_named(of_yolo, content, said):
    written(of_yolo / "data.yaml", content)
    with pytest.raises(ValueError, match=said):
        load(of_yolo)


def test_names_in_brackets_over_several_lines(of_yolo):
    written(of_yolo / "data.yaml", "names: ['cat',  # first\n        'dog']\nnc: 2\n")
    same_within(load(of_yolo))


def test_labels_of_yolo_are_found_whatever_the_file_system_did_to_their_names(of_yolo):
    (of_yolo / "images/a.png").rename(of_yolo / "images/é 星.png")
    (of_yolo / "labels/a.txt").rename(of_yolo / "labels/e\u0301 星.TXT")
    found = read(load(of_yolo))
    assert [label for _, label in found["é 星"]] == ["cat", "dog"]


def test_labels_of_yolo_belong_to_one_picture(of_yolo):
    Image.open(of_yolo / "images/a.png").save(of_yolo / "images/a.tif")
    with pytest.raises(ValueError, match=r"a\.txt would be the labels of a\.png and of a\.tif"):
        load(of_yolo)


def test_labels_of_yolo_in_another_encoding_are_named(of_yolo):
    (of_yolo / "labels/a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableData, match=r"a\.txt is no text in UTF-8"):
        load(of_yolo)


@pytest.mark.parametrize(
    ("label", "said"),
    [(10**7, "from 3 to 10000000; expected class numbers from 0 without large holes"), (-1, "from -1 to 3")],
)
def test_class_numbers_in_arrays_are_small(label, said):
    y = [{"boxes": [[1, 1, 5, 5]], "labels": [k]} for k in (3, label)]
    with pytest.raises(ValueError, match=said):
        from_arrays(np.zeros((2, 8, 10), np.uint8), y)


def test_masks_that_mark_all_objects_alike_are_noted_and_wrong_ones_named(pictures):
    (pictures / "objects").mkdir()
    for name in TRUTH:
        mask = np.zeros((H, W), np.uint8)
        mask[2:9, 2:9] = mask[12:19, 22:29] = 255
        Image.fromarray(mask).save(pictures / "objects" / f"{name}.png")
    data = load(pictures)
    assert "No mask holds more than one number, in separate pieces" in data.notes[0]
    assert read(data)["a"] == [((2, 2, 29, 19), "object")]
    mask[12:19, 22:29] = 254
    Image.fromarray(mask).save(pictures / "objects/a.png")
    assert not load(pictures).notes
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(pictures / "objects/b.png")
    with pytest.raises(UnreadableData, match=r"objects/b\.png: .* colours"):
        load(pictures)


def test_pictures_that_no_label_names_and_those_found_elsewhere_are_noted(pictures):
    content = coco(folder="images/")
    written(pictures / "labels.json", content)
    assert "pictures" not in " ".join(load(pictures).notes)
    Image.open(pictures / "images/a.png").save(pictures / "images/more.png")
    content["images"][0]["file_name"] = "night 1/a.png"  # of another folder, which is not there
    written(pictures / "labels.json", content)
    notes = " ".join(load(pictures).notes)
    assert "1 pictures are not where the labels say, and were taken by the last part" in notes
    assert "night 1/a.png (" in notes
    assert "1 pictures beside those that the labels name are not named and were left out: more.png." in notes


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (
            "path,xmin,ymin,xmax,ymax,label",
            "images/a.png,,,,,",
            "1 rows without a box say that nothing is on",
        ),
        (
            "path,xmin,ymin,xmax,ymax,Path",
            "images/c.png,1,1,9,29,dog",
            "whose names differ in case or blanks",
        ),
    ],
)
def test_what_contradicts_itself_in_a_table_is_refused(pictures, header, row, said):
    written(pictures / "boxes.csv", f"{header}\nimages/a.png,4,6,14,10,cat\n{row}\n")
    with pytest.raises(ValueError, match=said):
        load(pictures / "boxes.csv")
