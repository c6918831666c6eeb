"""Boxes of labelme: a JSON file a picture, with shapes: rectangles, polygons and circles, of which the envelope is taken. The picture that
may be embedded in it is not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    class_name,
    envelope,
    find_picture,
    numbers,
    refuse_absent,
    refuse_two_parts,
    stem_of,
    whole_number,
)
from hubel.data.folders import printable
from hubel.data.images import is_image


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def list_labelme(files: Sequence[tuple[Path, Any]], root: Path) -> BoxListing:
    """The pictures of labelme files with their content; other pictures beside them are kept as unlabelled.

    Raises `ValueError` naming shapes that are not understood, `UnreadableData` naming pictures that are not there.
    """
    pictures: list[BoxedPicture] = []
    absent: list[str] = []
    faults = Faults()
    for path, content in files:
        name = str(content.get("imagePath") or "")
        file = (find_picture(path.parent, name) if name else None) or _beside(path)
        if file is None:
            absent.append(f"{name or 'without a name'} ({path.name})")
            continue
        picture = BoxedPicture(
            path=file,
            id=printable(file.relative_to(root)) if file.is_relative_to(root) else file.name,
            boxes=(boxes := []),
        )
        sides = (content.get("imageHeight"), content.get("imageWidth"))
        with faults.of(str(path)):
            if None not in sides:
                picture.size = tuple(whole_number(side, "its size", str(path)) for side in sides)  # type: ignore[assignment]
        for k, shape in enumerate(content["shapes"]):
            with faults.of(str(path)):
                boxes.append(_box(shape, f"{path.name}, shape {k + 1}"))
        pictures.append(picture)
    faults.refuse()
    refuse_absent(absent, len(files), files[0][0], "beside it and in images/")
    labelled = {picture.path.resolve() for picture in pictures}
    others = sorted(path for path in root.iterdir() if is_image(path)) if root.is_dir() else []
    pictures += [
        BoxedPicture(path=path, id=printable(path.relative_to(root)), boxes=None)
        for path in others
        if path.resolve() not in labelled and not path.name.startswith(".")
    ]
    refuse_two_parts(pictures, root)
    return BoxListing(pictures=pictures, format="labelme")


def _beside(path: Path) -> Path | None:
    return next((p for p in sorted(path.parent.iterdir()) if is_image(p) and stem_of(p) == path.stem), None)


def _box(shape: Any, where: str) -> Box:
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise ValueError(
            f"{where} is {str(shape)[:100]}; expected an object with label, shape_type and points"
        )
    label = class_name(shape.get("label"), "its label", where)
    points = [numbers(point, 2, "a point", where) for point in shape["points"]]
    kind = shape.get("shape_type") or "polygon"
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return Box((x - radius, y - radius, x + radius, y + radius), label, where)
    if (kind == "rectangle" and len(points) in (2, 4)) or (kind == "polygon" and len(points) > 2):
        return Box(envelope(points, where), label, where)
    raise ValueError(
        f"{where} is a {kind} of {len(points)} points, which has no box; expected rectangle (2 points), polygon (3 or more) or circle (2)"
    )
