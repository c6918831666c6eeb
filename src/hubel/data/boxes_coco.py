"""Boxes of COCO: one JSON file with images, annotations and categories (https://cocodataset.org/#format-data).

A box is [x, y, width, height] from the upper left corner; where there is none, it is the envelope of the segmentation. Ids may begin at 0 and
have holes. `iscrowd` and `ignore` say that a box counts neither as found nor as missed. Images without annotations are kept: nothing is
on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    class_name,
    envelope,
    few,
    find_picture,
    number,
    numbers,
    part_in_name,
    refuse_absent,
    refuse_two_parts,
    whole_number,
    yes_or_no,
)


def is_coco(content: Any) -> bool:
    """Whether the content of a JSON file is COCO's."""
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content


def list_coco(files: Sequence[tuple[Path, Any]], root: Path) -> BoxListing:
    """The pictures of COCO files with their content; several files are parts (train, val, test), as their names or folders say.

    Raises `ValueError` naming ids that stand twice or belong to nothing, `UnreadableData` naming pictures that are not there.
    """
    parts = [part_in_name(path) or part_in_name(path.parent) for path, _ in files]
    if len(files) == 1:
        parts = [None]
    elif None in parts or len(set(parts)) < len(parts):
        raise ValueError(
            f"{root} has {len(files)} files of labels ({few([path.name for path, _ in files])}) whose names do not say which is for which part "
            "(train, val, test): name one of them"
        )
    pictures: list[BoxedPicture] = []
    names: dict[str, None] = {}
    for (path, content), part in zip(files, parts, strict=True):
        found, classes = _of_file(path, content, part)
        pictures += found
        names.update(dict.fromkeys(classes))
    refuse_two_parts(pictures, root)
    return BoxListing(pictures=pictures, format="COCO", classes=tuple(names), written="sizes")


def _of_file(
    path: Path, content: Mapping[str, Any], part: str | None
) -> tuple[list[BoxedPicture], list[str]]:
    categories = _by_id(path, content.get("categories") or [], "categories", "name")
    classes = {
        key: class_name(entry["name"], "its name", f"{path}, category {key}")
        for key, entry in categories.items()
    }
    images = _by_id(path, content["images"], "images", "file_name")
    pictures: dict[int, BoxedPicture] = {}
    absent: list[str] = []
    faults = Faults()
    for key, entry in images.items():
        with faults.of(str(path)):
            name = entry["file_name"]
            if not isinstance(name, str) or not name.strip():
                raise ValueError(
                    f"{path}, image {key}: file_name is {name!r}; expected the name of a picture"
                )
            file = find_picture(path.parent, name)
            if file is None:
                absent.append(name)
                continue
            sides = (entry.get("height"), entry.get("width"))
            size = (
                None
                if None in sides
                else tuple(whole_number(side, "its size", f"{path}, image {key}") for side in sides)
            )
            pictures[key] = BoxedPicture(path=file, id=name, boxes=[], size=size, part=part)  # type: ignore[arg-type]
    faults.refuse()
    refuse_absent(absent, len(images), path, "beside it and in images/")
    annotations = content["annotations"] or []
    _by_id(path, [entry for entry in annotations if isinstance(entry, dict) and "id" in entry], "annotations")
    strangers: list[str] = []
    for row, entry in enumerate(annotations):
        with faults.of(str(path)):
            if not isinstance(entry, dict):
                raise ValueError(f"{path}, annotation {row} is {entry!r}; expected an object")
            where = f"{path.name}, annotation {entry.get('id', row)}"
            key = whole_number(entry.get("image_id"), "image_id", where)
            if key not in pictures:
                strangers.append(f"{where} (image_id {key})")
                continue
            box = _box(entry, where, classes, pictures[key].id)
            if (boxes := pictures[key].boxes) is not None:
                boxes.append(box)
        if not classes:
            break  # which is wrong of all of them
    faults.refuse()
    if strangers:
        raise ValueError(
            f"{path}: {len(strangers):,} annotations belong to no image: {few(strangers)}. Every image_id has to be the id of one of the "
            f"{len(images):,} images"
        )
    return list(pictures.values()), list(classes.values())


def _box(entry: Mapping[str, Any], where: str, classes: Mapping[int, str], picture: str) -> Box:
    kind = whole_number(entry.get("category_id"), "category_id", where)
    if not classes:
        raise ValueError(
            f"{where}: category_id is {kind}, but there are no categories; expected a list of objects with id and name"
        )
    if kind not in classes:
        raise ValueError(
            f"{where}: category_id is {kind}; expected one of {few([f'{k} ({name})' for k, name in classes.items()])}"
        )
    ignored = yes_or_no(entry.get("iscrowd"), "iscrowd", where) | yes_or_no(
        entry.get("ignore"), "ignore", where
    )
    return Box(_corners(entry, where), classes[kind], f"{picture} ({where})", ignored)


def _by_id(path: Path, entries: Any, what: str, needed: str | None = None) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    twice = []
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry or (needed is not None and needed not in entry):
            raise ValueError(
                f"{path}: entry {row} of {what} is {str(entry)[:200]}; expected an object with id{f' and {needed}' if needed else ''}"
            )
        key = whole_number(entry["id"], "id", f"{path}, entry {row} of {what}")
        if key in found:
            twice.append(f"{key} (entry {row})")
        found[key] = entry
    if twice:
        raise ValueError(
            f"{path}: {len(twice):,} ids stand twice among the {what}: {few(twice)}. Number them anew, or it is not known what belongs to which"
        )
    return found


def _corners(entry: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    if (box := entry.get("bbox")) is not None and box != []:
        x, y, width, height = numbers(box, 4, "bbox", where)
        return x, y, x + width, y + height
    outline = entry.get("segmentation")
    if not isinstance(outline, list) or not outline:
        raise ValueError(f"{where} has neither bbox nor an outline as a list of points; expected one of them")
    pieces = outline if isinstance(outline[0], list) else [outline]
    values = [[number(v, "segmentation", where) for v in piece] for piece in pieces]
    return envelope([p for piece in values for p in zip(piece[::2], piece[1::2], strict=False)], where)
