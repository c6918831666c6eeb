"""Pictures of any size as tiles with their boxes, and boxes written and read again."""

import itertools
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import hubel
from hubel.data import SplitRows, assign_parts, from_arrays, load
from hubel.data.box_writing import FORMATS, box_mappings, label_studio_config, write_boxes
from hubel.data.boxes import objects_of
from hubel.data.decoding import decode_all
from hubel.data.reading import row_of
from hubel.data.tiled import tiled
from hubel.data.tiles import corners_of, cut_pixels, cut_rows, tile_for


def made(root, sizes, num=30, side=(6, 14), dtype=np.uint8, seed=0):
    """Pictures with bright rectangles that do not touch, and a table of their boxes; the rectangles of each picture."""
    generator = np.random.default_rng(seed)
    lines, truth = ["image_path,xmin,ymin,xmax,ymax,label"], {}
    for number, (height, width) in enumerate(sizes):
        values = generator.integers(0, 20, (height, width)).astype(dtype)
        taken, boxes = np.zeros((height, width), bool), []
        for _ in range(num):
            h, w = generator.integers(*side, 2)
            y, x = generator.integers(0, height - h), generator.integers(0, width - w)
            if not taken[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1].any():
                taken[y : y + h, x : x + w] = True
                values[y : y + h, x : x + w] = 200
                boxes.append((int(x), int(y), int(x + w), int(y + h)))
        name = f"p{number}.{'png' if dtype != np.float32 else 'tif'}"
        Image.fromarray(values).save(root / name)
        lines += [f"{name},{','.join(map(str, box))},thing" for box in boxes] or [f"{name},,,,,"]
        truth[name] = boxes
    (root / "boxes.csv").write_text("\n".join(lines))
    return root / "boxes.csv", truth


def test_tiles_show_what_lies_in_them(tmp_path):
    path, truth = made(tmp_path, [(100, 150), (60, 64)])
    data = load(path, tile=64, overlap=14)
    assert data.inputs.shape[1:] == (1, 64, 64) and data.reading["boxes"]["tile"] == [64, 64]
    whole = dict.fromkeys(truth, 0)
    for picture, boxes, parent in zip(data.inputs[:, 0], data.targets, data.groups, strict=True):
        shown = picture == 200
        covered = np.zeros_like(shown)
        for x0, y0, x1, y1, _, ignored in objects_of(boxes).astype(int):
            assert shown[y0:y1, x0:x1].all()
            covered[y0:y1, x0:x1] = True
            whole[str(parent)] += not ignored
        assert np.array_equal(covered, shown), "what is seen of an object has a row"
    for name, boxes in truth.items():
        assert whole[name] >= len(boxes), "an overlap as large as the objects shows each of them whole once"
    assert any(
        "1 of 2 pictures are larger than 64 × 64 and were cut into tiles" in note for note in data.notes
    )
    assert any("1 pictures are smaller than 64 × 64 and were padded" in note for note in data.notes)


def test_a_cut_object_is_ignored_below_40_percent():
    rows = np.array(
        [
            [0.0, 0, 10, 10, 2, 0],
            [94, 0, 104, 10, 2, 0],
            [97, 0, 107, 10, 2, 0],
            [99.5, 0, 109.5, 10, 2, 0],
            [50, 5, 60, 15, 2, 1],
        ]
    )
    found = cut_rows(rows, (0, 50), (40, 50))
    assert found.tolist() == [[44, 0, 50, 10, 2, 0], [47, 0, 50, 10, 2, 1], [0, 5, 10, 15, 2, 1]]


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((100, 250), (64, 64), 10), ((65, 64), (64, 64), 0), ((1000, 90), (128, 128), 60)],
)
def test_tiles_cover_a_picture_with_their_overlap(size, tile, overlap):
    seen = np.zeros(size, int)
    corners = corners_of(size, tile, overlap)
    for y, x in corners:
        assert y >= 0 and x >= 0 and (y + tile[0] <= size[0] or y == 0) and (x + tile[1] <= size[1] or x == 0)
        seen[y : y + tile[0], x : x + tile[1]] += 1
    assert seen.min() >= 1
    for axis in (0, 1):
        starts = sorted({corner[axis] for corner in corners})
        assert all(b - a <= tile[axis] - overlap for a, b in itertools.pairwise(starts))
        least = -(-(size[axis] - overlap) // (tile[axis] - overlap)) if size[axis] > tile[axis] else 1
        assert len(starts) == least


def test_the_default_tile_follows_the_objects():
    assert tile_for([(300, 200), (100, 512)], np.full(9, 20.0)) == ((300, 512), 20)
    assert tile_for([(20_000, 20_000)], np.full(9, 20.0)) == ((160, 160), 20)
    assert tile_for([(20_000, 20_000)], np.full(9, 5.0)) == ((128, 128), 5)
    assert tile_for([(20_000, 600)], np.full(9, 900.0)) == ((512, 512), 256)
    assert tile_for([(600, 90)], np.array([10.0, 40.0])) == ((224, 90), 39)
    assert tile_for([(600, 600)], np.zeros(0)) == ((512, 512), 0)
    assert tile_for([(400, 400)] * 29 + [(5000, 5000)], np.full(9, 20.0)) == ((400, 400), 20)
    assert tile_for([(100, 80)] * 29 + [(5000, 5000)], np.full(9, 90.0)) == ((200, 200), 90)
    # thumbnails beside large pictures would cut these into tens of thousands of tiles
    assert tile_for([(64, 64)] * 5 + [(4000, 4000)] * 5, np.full(9, 20.0)) == ((128, 128), 20)
    assert tile_for([(64, 64)] * 5 + [(4000, 4000)] * 6, np.full(9, 20.0)) == ((160, 160), 20)
    assert tile_for([(400, 400)] * 9 + [(5000, 5000)] * 10, np.full(9, 20.0)) == ((160, 160), 20)
    with pytest.raises(ValueError, match="tile=0: expected a positive number of pixels"):
        tile_for([(600, 600)], np.zeros(0), tile=0)
    with pytest.raises(ValueError, match="overlap=64 for tiles of 64 × 64; expected pixels from 0 to 63"):
        tile_for([(600, 600)], np.zeros(0), tile=64, overlap=64)


def test_padding_is_on_the_right_and_below_with_the_mean():
    pixels = np.arange(12, dtype=np.uint16).reshape(1, 3, 4) * 100
    tile = cut_pixels(pixels, (0, 0), (5, 6), np.array([550], np.uint16))
    assert np.array_equal(tile[:, :3, :4], pixels) and tile.dtype == np.uint16
    assert (tile[:, 3:] == 550).all() and (tile[:, :, 4:] == 550).all()


def test_tiles_of_a_picture_stay_in_one_part_and_groups_are_kept(tmp_path):
    path, _ = made(tmp_path, [(100, 100)] * 6, num=10)
    data = load(path, tile=40, overlap=10)
    assert len(data) == 54 and len(set(data.groups.tolist())) == 6
    rows = assign_parts(data, seed=0)
    parts = [set(data.groups[getattr(rows, part)].tolist()) for part in ("train", "validation", "test")]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    lines = path.read_text().splitlines()
    grouped = [f"{line},{'field' if k == 0 else 'xy'[int(line[1]) % 2]}" for k, line in enumerate(lines)]
    path.write_text("\n".join(grouped).replace("label,field", "label,group"))
    assert set(load(path, tile=40).groups.tolist()) == {"x", "y"}


def test_one_large_picture_among_small_ones_is_named_and_leaves_them_whole(tmp_path):
    path, _ = made(tmp_path, [(80, 80)] * 7 + [(1200, 1200)] + [(80, 80)] * 7, num=8)
    data = load(path)
    assert data.shape == (1, 128, 128) and (data.groups == "p3.png").sum() == 1
    share = f"p7.png makes {len(data) - 14} of the {len(data)} tiles (9"
    assert any(note.startswith(share) for note in data.notes), data.notes
    rows = assign_parts(data, seed=0)
    small = {
        part: len(set(data.groups[getattr(rows, part)]) - {"p7.png"})
        for part in ("train", "validation", "test")
    }
    assert small == {"train": 9, "validation": 2, "test": 3}
    assert "p7.png" in data.groups[rows.train]
    assert not any("makes" in note for note in load(made(tmp_path, [(80, 80)] * 4)[0]).notes)


def test_a_picture_in_two_parts_is_an_error(tmp_path):
    path, _ = made(tmp_path, [(50, 50)] * 3, num=8)
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(
            [
                f"{lines[0]},split,group",
                *(f"{line},{('train', 'train', 'test')[int(line[1])]},g" for line in lines[1:]),
            ]
        )
    )
    with pytest.raises(
        ValueError, match="1 groups are in both the given train part and the given test part: g"
    ):
        assign_parts(load(path), seed=0)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_stored_type_is_kept(tmp_path, dtype):
    path, _ = made(tmp_path, [(40, 50), (30, 60)], dtype=dtype)
    data = load(path)
    assert data.inputs.dtype == dtype and data.inputs.shape == (2, 1, 40, 60)
    assert data.inputs[0, 0, :40, :50].max() == 200


def test_574_objects_in_one_picture(tmp_path):
    path, truth = made(tmp_path, [(500, 500)], num=3000)
    assert len(truth["p0.png"]) > 574
    assert len(objects_of(load(path).targets[0])) == len(truth["p0.png"])


def test_sizes_are_changed_only_where_that_is_asked_for(tmp_path):
    path, truth = made(tmp_path, [(40, 80), (80, 80)], num=6)
    data = load(path, size=40)
    assert data.inputs.shape == (2, 1, 40, 40)
    rows = objects_of(data.targets[0])
    x0, y0, x1, y1 = truth["p0.png"][0]
    assert rows[0, :4].tolist() == [x0 / 2, y0 / 2 + 10, x1 / 2, y1 / 2 + 10]
    cropped = objects_of(load(path, size=40, resize="crop").targets[0])
    inside = [box for box in truth["p0.png"] if box[0] >= 20 and box[2] <= 60]
    assert (
        {tuple(row[:4]) for row in cropped.tolist()}
        >= {(b[0] - 20, b[1], b[2] - 20, b[3]) for b in inside}
        != set()
    )
    stretched = objects_of(load(path, size=40, resize="stretch").targets[0])
    assert stretched[0, :4].tolist() == [x0 / 2, y0, x1 / 2, y1]


def test_other_pictures_are_read_like_those(tmp_path):
    path, _ = made(tmp_path, [(100, 150), (60, 64)])
    data = load(path, tile=64, overlap=14)
    (tmp_path / "more").mkdir()
    other, _ = made(tmp_path / "more", [(90, 64)], seed=1)
    again = load(other, reading=data.reading)
    assert again.inputs.shape == (2, 1, 64, 64) and again.classes == data.classes
    out = np.empty((1, 1, 64, 64), np.uint8)
    assert not decode_all([tmp_path / "p1.png"], data.reading, out)
    assert np.array_equal(out[0], data.inputs[data.groups == "p1.png"][0])
    with pytest.raises(ValueError, match="90 × 64 pixels, more than the tiles of 64 × 64"):
        row_of(tmp_path / "more" / "p0.png", data.reading)
    other.write_text(other.read_text().replace("thing", "other"))
    with pytest.raises(
        ValueError,
        match=r"the classes other \(first boxes\.csv, row 1 .*are none of those that are known: thing",
    ):
        load(other, reading=data.reading)


@pytest.mark.parametrize(("tile", "overlap"), [(64, 14), ((50, 200), 0), (None, None)])
def test_arrays_are_cut_as_files_are(tmp_path, tile, overlap):
    path, _ = made(tmp_path, [(600, 150)] * 2)
    files, whole = load(path, tile=tile, overlap=overlap), load(path, tile=(600, 150))
    cut = tiled(replace(whole, groups=None), tile=tile, overlap=overlap)
    assert (
        len(cut) > 2
        and np.array_equal(cut.inputs, files.inputs)
        and np.array_equal(cut.targets, files.targets)
    )
    assert cut.ids.tolist() == files.ids.tolist() and cut.groups.tolist() == files.groups.tolist()
    assert cut.reading == files.reading
    grouped = replace(whole, groups=np.array(["g", "h"]), part=np.array(["train", "test"]))
    again = tiled(grouped, tile=tile, overlap=overlap)
    assert again.groups.tolist() == ["g"] * (len(cut) // 2) + ["h"] * (len(cut) // 2)
    assert again.part.tolist()[0] == "train" and again.part.tolist()[-1] == "test"
    with pytest.raises(ValueError, match="digits has no boxes; expected pictures"):
        tiled(load("digits"))


# writing


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_again(tmp_path, format):
    source, _ = made(tmp_path, [(50, 70), (30, 40), (20, 20)], num=7, side=(3, 15))
    (tmp_path / "images").mkdir()
    for picture in tmp_path.glob("*.png"):
        picture.rename(tmp_path / "images" / picture.name)
    lines = source.read_text().replace("thing", "a thing & more").splitlines()
    source.write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if not line.startswith("p2")), "p2.png,,,,,"])
    )
    data = load(source)
    truths = box_mappings(data.targets, data.classes)
    names, sizes = [f"images/{name}" for name in data.ids], [(50, 70), (30, 40), (20, 20)]
    folder = tmp_path if format == "yolo" else tmp_path / "out"
    file = {"coco": "out/x.json", "csv": "out/x.csv", "label-studio": "out/x.json", "voc": "out", "yolo": ""}[
        format
    ]
    source.unlink()
    write_boxes(tmp_path / file, truths, names=names, sizes=sizes, classes=data.classes, format=format)
    if format == "label-studio":
        tasks = json.loads((tmp_path / file).read_text())
        for task in tasks:  # as a person who agrees would leave them
            task["annotations"] = task.pop("predictions")
        (tmp_path / file).write_text(json.dumps(tasks))
    again = load(tmp_path / file if format != "voc" else folder, unlabelled=None)
    assert again.classes == data.classes
    order = [[str(n).rpartition("/")[2] for n in again.ids].index(name) for name in data.ids]
    np.testing.assert_allclose(
        again.targets[order], data.targets, atol=0 if format in ("coco", "csv", "voc") else 1e-5
    )


def test_scores_and_what_is_ignored_are_written(tmp_path):
    found = [
        {
            "boxes": [[1.25, 2, 5, 8], [0, 0, 3, 3]],
            "labels": [0, 1],
            "scores": [0.75, 0.5],
            "ignore": [False, True],
        }
    ]
    for name in ("x.json", "x.csv"):
        write_boxes(tmp_path / name, found, names=["p.png"], sizes=[(9, 9)], classes=["a", "b"])
    annotations = json.loads((tmp_path / "x.json").read_text())["annotations"]
    assert [(e["id"], e["category_id"], e["bbox"], e["iscrowd"], e["score"]) for e in annotations] == [
        (1, 1, [1.25, 2, 3.75, 6], 0, 0.75),
        (2, 2, [0, 0, 3, 3], 1, 0.5),
    ]
    assert (tmp_path / "x.csv").read_text().splitlines()[1:] == [
        "p.png,1.25,2,5,8,a,0.75,0",
        "p.png,0,0,3,3,b,0.5,1",
    ]
    write_boxes(
        tmp_path / "ls.json",
        found,
        names=["p.png"],
        sizes=[(9, 9)],
        classes=["a", "b"],
        format="label-studio",
    )
    (task,) = json.loads((tmp_path / "ls.json").read_text())
    assert task["predictions"][0]["score"] == 0.625 and task["predictions"][0]["result"][0]["score"] == 0.75
    assert len(task["predictions"][0]["result"]) == 1
    write_boxes(tmp_path, found, names=["p.png"], sizes=[(9, 9)], classes=["a", "b"], format="yolo")
    assert len((tmp_path / "labels" / "p.txt").read_text().splitlines()) == 1, "YOLO has no word for ignored"
    labels = ElementTree.fromstring(label_studio_config(['a "b" & c'])).iter("Label")
    assert [label.get("value") for label in labels] == ['a "b" & c']


@pytest.mark.parametrize("format", ["yolo", "voc"])
def test_files_are_written_into_their_folder_only(tmp_path, format):
    names = ["/elsewhere/a.png", "../b.tif", "train/c.fits.gz", "d.npy[3]", "images/e.jpg"]
    found = [{"boxes": [[1, 2, 3, 4]], "labels": ["a"]}] * len(names)
    options = {"sizes": [(9, 9)] * len(names), "classes": ["a"], "format": format}
    write_boxes(tmp_path / "out", found, names=names, **options)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    below, end = ("out/labels/", "txt") if format == "yolo" else ("out/", "xml")
    expected = ["a", "b", "train/c" if format == "yolo" else "c", "d.npy[3]", "e"]
    assert written - {"out/data.yaml"} == {f"{below}{name}.{end}" for name in expected}
    with pytest.raises(ValueError, match="two of these would have the same name"):
        write_boxes(tmp_path / "out", found, names=["/x/a.png", "/y/a.png", *names[2:]], **options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "xml"}, "format='xml' for .*; expected one of coco, yolo, voc, csv, label-studio"),
        ({"names": []}, "there are 1 mappings, 0 names and 1 sizes"),
        ({"classes": ["b"]}, r"p\.png: the label 'a' is none of the 1 classes \(b\)"),
        ({"found": [{"boxes": [[1, 2, 3, 4]], "labels": ["a", "a"]}]}, "has 1 boxes, 2 labels, 1 scores"),
    ],
)  # fmt: skip
def test_what_can_not_be_written_is_refused(tmp_path, change, said):
    options = {
        "found": [{"boxes": [[1, 2, 3, 4]], "labels": ["a"]}],
        "names": ["p.png"],
        "sizes": [(9, 9)],
        "classes": ["a"],
    }
    with pytest.raises(ValueError, match=said):
        write_boxes(tmp_path / "x.json", **(options | change))
    assert not list(tmp_path.iterdir())


def test_tiles_of_one_picture_are_not_parted():
    data = tiled(
        from_arrays(np.zeros((3, 100, 60), np.uint8), [{"boxes": [[4, 80, 14, 95]], "labels": ["a"]}] * 3),
        tile=60,
        overlap=20,
    )
    rows = SplitRows(train=np.arange(4), validation=np.array([4]), test=np.array([5]), how="by hand")
    rows.check(len(data))
    with pytest.raises(
        ValueError, match=r"1 groups are in both the given validation part and the given test part: 2\."
    ):
        rows.check(len(data), data.groups)
    with pytest.raises(ValueError, match="1 groups are in both the given validation part"):
        hubel.fit(data, split=rows, out="unused", quiet=True)
