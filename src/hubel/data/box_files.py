"""Which files are labels of boxes, and of which format: told by what they hold.

A folder may hold COCO's JSON (`annotations/instances_train.json`, `train/_annotations.coco.json`, or one file beside the pictures), VOC's
XML (`Annotations/` and `JPEGImages/`, or beside the pictures), YOLO's text files (data.yaml, `images/` and `labels/`, or beside the pictures with
classes.txt), labelme's JSON, or masks in which every object has a number (`images/` and `objects/`; or `images/` and `masks/` with
`target="objects"`). A file may be a JSON of COCO or Label Studio, a data.yaml, a table with columns of boxes, or a text of lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_of
from hubel.data.box_listing import NAMES_BESIDE, BoxListing, few, names_in, read_json, stem_of
from hubel.data.boxes_broken import OF_PICTURES, refuse_broken
from hubel.data.boxes_coco import is_coco, list_coco
from hubel.data.boxes_label_studio import is_label_studio, list_label_studio
from hubel.data.boxes_labelme import is_labelme, list_labelme
from hubel.data.boxes_lines import is_lines, list_lines
from hubel.data.boxes_of_masks import OBJECTS, list_object_masks
from hubel.data.boxes_table import has_boxes, list_box_table, refuse_incomplete
from hubel.data.boxes_voc import is_voc, list_voc
from hubel.data.boxes_yolo import NOT_LABELS, list_yolo, read_yaml
from hubel.data.folders import subfolders
from hubel.data.images import is_image
from hubel.data.table_pieces import is_table

YAML = (".yaml", ".yml")


def list_boxes(
    path: Path, target: str | Sequence[str] = "label", *, voc_offset: int | None = None
) -> BoxListing | None:
    """The pictures with boxes of a file or folder, or None where it holds no labels of boxes.

    Raises `ValueError` where a folder holds labels of several formats, and what the reader of each format raises.
    """
    if path.is_dir():
        return _of_folder(path, target, voc_offset)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_json([path], path.parent, alone=True)
    if suffix in YAML:
        return list_yolo(path.parent, path)
    if suffix == ".xml":
        return list_voc([path], path.parent, voc_offset=voc_offset)
    if is_lines(path):
        return list_lines(path)
    if is_table(path):
        if has_boxes(path):
            return list_box_table(path, target)
        refuse_incomplete(path, target)
    return None


def _of_folder(root: Path, target: str | Sequence[str], voc_offset: int | None) -> BoxListing | None:
    folders = {folder.name.casefold(): folder for folder in subfolders(root)}
    if "images" in folders and (OBJECTS in folders or (target == OBJECTS and "masks" in folders)):
        return list_object_masks(root, folders["images"], folders.get(OBJECTS) or folders["masks"])
    if target == OBJECTS:
        raise ValueError(
            f'{root} has no folders images and objects (or masks); expected both for target="{OBJECTS}" (--target {OBJECTS})'
        )
    found: dict[str, Any] = {}
    homes = _homes(root, folders)
    if (yaml := _yaml_in(root)) is not None:
        found["YOLO (data.yaml)"] = lambda: list_yolo(root, yaml)
    elif _is_yolo(root, folders):
        found["YOLO"] = lambda: list_yolo(root)
    if files := [path for path in _inside(homes, "*.json") if _may_hold_boxes(path)]:
        found["JSON"] = lambda: _of_json(files, root, alone=False)
    if trees := [path for path in _inside(homes, "*.xml") if is_voc(path)]:
        inside = folders.get("jpegimages") or folders.get("images")
        of_pictures = inside if inside is not None else root if trees[0].parent == root else None
        found["VOC"] = lambda: list_voc(trees, root, pictures=of_pictures, voc_offset=voc_offset)
    if len(found) > 1:
        raise ValueError(
            f"{root} holds labels of several formats ({', '.join(found)}): name the file of labels, or move the others away"
        )
    if set(found) <= {"JSON", "VOC"} and "masks" not in folders:
        refuse_broken(
            root, homes, [folders[name] for name in OF_PICTURES if name in folders], {*files, *trees}
        )
    return next(iter(found.values()))() if found else None


def _inside(homes: Sequence[Path], pattern: str) -> list[Path]:
    return [path for folder in homes for path in sorted(folder.glob(pattern))]


def _homes(root: Path, folders: dict[str, Path]) -> list[Path]:
    """Where labels may lie in a folder: in itself, in its folders for parts, and in `annotations`."""
    homes = [root, *(folder for name, folder in folders.items() if part_of(name))]
    return homes + [folders[name] for name in ("annotations", "labels") if name in folders]


def _yaml_in(root: Path) -> Path | None:
    found = [
        path for name in ("data", "dataset") for end in YAML if (path := root / f"{name}{end}").is_file()
    ]
    return next((path for path in found if "names" in read_yaml(path) or "train" in read_yaml(path)), None)


def _is_yolo(root: Path, folders: dict[str, Path]) -> bool:
    """Whether text files lie in `labels` beside `images`, here or in folders for parts, or beside pictures with the names of classes."""
    places = [
        folders,
        *(
            {f.name.casefold(): f for f in subfolders(folder)}
            for name, folder in folders.items()
            if part_of(name)
        ),
    ]
    for inside in places:
        if {"images", "labels"} <= set(inside) and next(inside["labels"].rglob("*.txt"), None) is not None:
            return True
    named = [name for name in NAMES_BESIDE if (root / name).is_file()]
    if not named or names_in(root) is None:
        return False
    pictures = {stem_of(path) for path in root.iterdir() if is_image(path)}
    return any(path.stem in pictures for path in root.glob("*.txt") if path.name.lower() not in NOT_LABELS)


def _may_hold_boxes(path: Path) -> bool:
    """Whether a JSON file begins as one with labels may; looked at before it is read, since other folders have JSON files as well."""
    with path.open("rb") as file:
        start = file.read(1).decode("latin-1")
    if start not in "{[\ufeff\xef \n\r\t" or path.name == "classes.json":
        return False
    try:
        content = read_json(path)
    except UnreadableData:
        return False
    return is_coco(content) or is_label_studio(content) or is_labelme(content)


def _of_json(paths: Sequence[Path], root: Path, *, alone: bool) -> BoxListing | None:
    read = [(path, read_json(path)) for path in paths]
    kinds = {
        "COCO": [entry for entry in read if is_coco(entry[1])],
        "Label Studio": [entry for entry in read if is_label_studio(entry[1])],
        "labelme": [entry for entry in read if is_labelme(entry[1])],
    }
    there = [kind for kind, entries in kinds.items() if entries]
    if not there:
        if alone:
            raise UnreadableData(
                f"{paths[0]} holds no boxes: expected COCO (an object with images and annotations), Label Studio (a list of tasks with data) or "
                "labelme (an object with shapes)"
            )
        return None
    if len(there) > 1 or (there[0] == "Label Studio" and len(kinds["Label Studio"]) > 1):
        raise ValueError(
            f"{root} has several files of labels ({few([p.name for p, _ in read])}, {' and '.join(there)}): name one of them"
        )
    entries = kinds[there[0]]
    if there[0] == "COCO":
        return list_coco(entries, root)
    if there[0] == "labelme":
        return list_labelme(entries, entries[0][0] if alone else root)
    return list_label_studio(*entries[0])
