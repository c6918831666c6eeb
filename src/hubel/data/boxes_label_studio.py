"""Boxes of Label Studio, from the raw JSON of its export (its exports to other formats drop turns and empty tasks).

Places are percent of the size of the picture. A region may be turned by `rotation` degrees clockwise about its *upper left* corner, which is
done in pixels; its box is the envelope. A task without annotations is not labelled; an annotation without regions says that
nothing is there. Cancelled annotations do not count. Where several people have labelled a task, the one marked as the truth is taken, else the last.
Predictions are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    envelope,
    find_picture,
    number,
    numbers,
    refuse_absent,
    refuse_two_parts,
    whole_number,
)
from hubel.data.images import is_image, look

KINDS = ("rectanglelabels", "ellipselabels", "polygonlabels")
HASHED = re.compile(r"^[0-9a-f]{6,}-")


def is_label_studio(content: Any) -> bool:
    """Whether the content of a JSON file is that of Label Studio: a list of tasks with data."""
    return (
        isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "data" in content[0]
    )


def list_label_studio(path: Path, tasks: Sequence[Any]) -> BoxListing:
    """The pictures of an export with its tasks.

    Raises `ValueError` naming tasks and regions that are not understood, `UnreadableData` naming pictures that are not there.
    """
    pictures: list[BoxedPicture] = []
    absent: list[str] = []
    several = passed_over = 0
    faults = Faults()
    for place, task in enumerate(tasks):
        with faults.of(str(path)):
            where = f"{path.name}, task {task.get('id', place) if isinstance(task, dict) else place}"
            if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
                raise ValueError(f"{where} is {str(task)[:100]}; expected an object with data")
            name = _picture_of(task["data"], where)
            file = next((found for n in _names(name) if (found := find_picture(path.parent, n))), None)
            if file is None:
                absent.append(f"{name} ({where})")
                continue
            valid = [
                a
                for a in _objects(task.get("annotations"), f"{where}: annotations")
                if not a.get("was_cancelled")
            ]
            several += len(valid) > 1
            picture = BoxedPicture(path=file, id=name, boxes=None)
            pictures.append(picture)
            if not valid:
                continue
            truth = [a for a in valid if a.get("ground_truth")] or valid
            chosen = max(
                truth, key=lambda a: (str(a.get("updated_at") or a.get("created_at") or ""), truth.index(a))
            )
            regions = _objects(chosen.get("result"), f"{where}: result")
            passed_over += _take(regions, picture, where, faults, path)
    faults.refuse()
    refuse_absent(absent, len(tasks), path, "for the whole name and its last part, beside it and in images/")
    refuse_two_parts(pictures, path)
    notes = []
    if several:
        notes.append(
            f"{several:,} tasks have several annotations: the one marked as the truth was taken, or else the last."
        )
    if passed_over:
        notes.append(
            f"{passed_over:,} results are no regions with a class (choices, texts, brushes) and were passed over."
        )
    return BoxListing(pictures=pictures, format="Label Studio", notes=tuple(notes))


def _take(
    regions: Sequence[Mapping[str, Any]], picture: BoxedPicture, where: str, faults: Faults, file: Path
) -> int:
    """Give a picture the boxes of an annotation's regions in a file, and the size that they say; answers how many are none."""
    boxes: list[Box] = []
    size = None
    passed_over = 0
    for row, region in enumerate(regions, start=1):
        with faults.of(str(file)):
            value = region.get("value")
            if not isinstance(value, dict) or not any(kind in value for kind in KINDS):
                passed_over += 1
                continue
            size = size or _size(region, picture.path, f"{where}, region {row}")
            boxes.append(_box(region, size, f"{where}, region {row}"))
    picture.boxes = boxes
    if not any("original_width" not in region for region in regions):
        picture.size = size  # otherwise taken from the file itself
    return passed_over


def _objects(entries: Any, what: str) -> list[Mapping[str, Any]]:
    """A list of objects, none where nothing stands."""
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{what} is {str(entries)[:100]}; expected a list of objects")
    return entries


def _picture_of(data: Mapping[str, Any], where: str) -> str:
    words = [value for value in data.values() if isinstance(value, str)]
    if isinstance(data.get("image"), str):
        return data["image"]
    pictures = [word for word in words if is_image(Path(urlsplit(word).path)) or "?d=" in word]
    if len(pictures) != 1:
        raise ValueError(
            f"{where} names {len(pictures)} pictures in its data ({list(data)}); expected one, called image"
        )
    return pictures[0]


def _names(given: str) -> list[str]:
    """What the file of a task may be called: `/data/upload/7/3f1c9a2b-a.png` is a.png, as is `/data/local-files/?d=folder/a.png`."""
    try:
        parts = urlsplit(given)
    except ValueError:  # no address: a name with brackets
        return [given, PurePosixPath(given).name]
    asked = parse_qs(parts.query).get("d")
    way = asked[0] if asked else unquote(parts.path)
    last = PurePosixPath(way).name
    return [way.lstrip("/"), last, HASHED.sub("", last)]


def _size(region: Mapping[str, Any], file: Path, where: str) -> tuple[int, int]:
    sides = (region.get("original_height"), region.get("original_width"))
    if None in sides:
        header = look(file)
        return header.height, header.width
    height, width = (whole_number(side, "the original size", where) for side in sides)
    return height, width


def _box(region: Mapping[str, Any], size: tuple[int, int], where: str) -> Box:
    value: Mapping[str, Any] = region["value"]
    kind = next(k for k in KINDS if k in value)
    labels = value[kind]
    if (
        not isinstance(labels, list)
        or len(labels) != 1
        or not isinstance(labels[0], str)
        or not labels[0].strip()
    ):
        raise ValueError(f"{where} has the classes {labels!r}; expected one class a region")
    if turned := region.get("image_rotation"):
        raise ValueError(
            f"{where} was drawn on a picture turned by {turned} degrees: turn the file itself, and label that"
        )
    height, width = size

    def pixels(name: str, side: int) -> float:
        return number(value.get(name), name, where) * side / 100

    def extent(name: str, side: int) -> float:
        if not (found := pixels(name, side)) > 0:
            raise ValueError(
                f"{where}: {name} is {value.get(name)!r}; expected a positive number: correct or remove the region"
            )
        return found

    angle = math.radians(number(value.get("rotation") or 0, "rotation", where))
    if kind == "polygonlabels":
        points = [numbers(point, 2, "a point", where) for point in value.get("points") or ()]
        return Box(
            envelope([(x * width / 100, y * height / 100) for x, y in points], where),
            str(labels[0]).strip(),
            where,
        )
    x, y = pixels("x", width), pixels("y", height)
    cos, sin = math.cos(angle), math.sin(angle)
    if kind == "ellipselabels":
        a, b = extent("radiusX", width), extent("radiusY", height)
        across, down = math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)
        corners = (x - across, y - down, x + across, y + down)
    else:
        w, h = extent("width", width), extent("height", height)
        ways = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)]
        corners = envelope([(x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in ways], where)
    return Box(corners, str(labels[0]).strip(), where)
