"""Boxes in a table, a row an object: the column of pictures, four columns of the box, and the class, told by their names.

| columns | meaning |
|---|---|
| xmin, ymin, xmax, ymax (also x0 y0 x1 y1; x1 y1 x2 y2; left top right bottom) | corners |
| x, y, width, height (also x y w h; xmin ymin width height; left top width height) | the upper left corner, and the size |
| x_center, y_center, width, height (also xc, cx, center_x, centre_x, … with w, h) | the middle, and the size |
| x_center, y_center, radius (also x, y, radius; r) | the middle of a circle |

A row with a picture and nothing in the columns of its box says that nothing is on it. Without a column of classes every object is an "object".
`group`, `split` and `ignore` (also difficult, iscrowd) may stand beside; group and split have to agree in all rows of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, nearest
from hubel.data.archives import part_column
from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    OBJECT,
    Box,
    BoxedPicture,
    BoxListing,
    few,
    find_picture,
    number,
    refuse_absent,
    refuse_two_names,
    yes_or_no,
)
from hubel.data.feature_table import names_pictures
from hubel.data.table_columns import MISSING
from hubel.data.table_pieces import table_of
from hubel.data.tables import COLUMNS

Corners = tuple[float, float, float, float]
_MIDDLE = [(f"x{s}", f"y{s}") for s in ("_center", "_centre", "center", "centre", "c", "_c")] + [
    (f"{s}x", f"{s}y") for s in ("c", "center_", "centre_", "center", "centre")
]
_SIZES = (("width", "height"), ("w", "h"), ("box_width", "box_height"))
_CORNERS = (("xmin", "ymin"), ("left", "top"), ("x", "y"), ("x0", "y0"), ("x_min", "y_min"))


def _of_corners(values: Sequence[float]) -> Corners:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1


def _of_sizes(values: Sequence[float]) -> Corners:
    x, y, width, height = values
    return x, y, x + width, y + height


def _of_middle(values: Sequence[float]) -> Corners:
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _of_circle(values: Sequence[float]) -> Corners:
    x, y, radius = values
    return x - radius, y - radius, x + radius, y + radius


FORMS: list[tuple[tuple[str, ...], Callable[[Sequence[float]], Corners], Any]] = [
    *(
        (words, _of_corners, "corners")
        for words in (
            ("xmin", "ymin", "xmax", "ymax"),
            ("x_min", "y_min", "x_max", "y_max"),
            ("x0", "y0", "x1", "y1"),
            ("x1", "y1", "x2", "y2"),
            ("left", "top", "right", "bottom"),
        )
    ),
    *(((*middle, *sizes), _of_middle, "otherwise") for middle in _MIDDLE for sizes in _SIZES),
    *(((*corner, *sizes), _of_sizes, "sizes") for corner in _CORNERS for sizes in _SIZES),
    *(
        ((*middle, word), _of_circle, "otherwise")
        for middle in [*_MIDDLE, ("x", "y")]
        for word in ("radius", "r")
    ),
]
IGNORE = ("ignore", "ignored", "difficult", "iscrowd", "is_crowd")


def form_of(
    header: Sequence[str],
) -> tuple[tuple[str, ...], Callable[[Sequence[float]], Corners], Any] | None:
    """The columns of boxes in a table with this header, how they make corners, and how they are written; None where there are none.

    >>> form_of(["image_path", "xmin", "ymin", "xmax", "ymax", "label"])[0]
    ('xmin', 'ymin', 'xmax', 'ymax')
    """
    folded = {name.strip().casefold() for name in header}
    return next((form for form in FORMS if set(form[0]) <= folded), None)


def has_boxes(path: Path) -> bool:
    """Whether a table names pictures and has columns of boxes."""
    header = table_of(path).header
    folded = [name.strip().casefold() for name in header]
    return form_of(header) is not None and any(word in folded for word in COLUMNS["path"])


def refuse_incomplete(path: Path, target: str | Sequence[str] = "label") -> None:
    """Raise `ValueError` naming the column that is missing where a table of pictures has all columns of a box but one."""
    header = table_of(path).header
    folded = {name.strip().casefold() for name in header}
    for words, _, _ in FORMS:
        missing = set(words) - folded
        if len(words) == 4 and len(missing) == 1 and not _named(target) & set(words):
            if not names_pictures(path, COLUMNS["path"]):
                return
            (lost,) = missing
            there = ", ".join(word for word in words if word in folded)
            raise ValueError(
                f"{path} has the columns {there} of boxes, but none called {lost}; expected {', '.join(words)}, or another of the forms that the documentation "
                f"tells.{nearest(lost, [name.strip() for name in header])} Where these are no boxes, give the columns other names"
            )


def _named(target: str | Sequence[str]) -> set[str]:
    return {name.casefold() for name in ([target] if isinstance(target, str) else target)}


def list_box_table(path: Path, target: str | Sequence[str] = "label") -> BoxListing:
    """The pictures of a table with their boxes.

    Raises `ValueError` naming rows that are not understood, `UnreadableData` naming pictures that are not there.
    """
    table = table_of(path)
    form = form_of(table.header)
    assert form is not None
    words, corners_of, written = form
    columns: dict[str, list[Any]] = {name.strip().casefold(): [] for name in table.header}
    if len(columns) < len(table.header):
        raise ValueError(
            f"{path} has columns whose names differ in case or blanks alone ({', '.join(table.header)}); expected different names"
        )
    for piece in table.pieces():
        for column, entries in zip(columns.values(), piece, strict=True):
            plain = entries.tolist() if isinstance(entries, np.ndarray) else entries
            column += ["" if e is None else e.strip() if isinstance(e, str) else e for e in plain]
    names = [str(name) for name in columns[next(word for word in COLUMNS["path"] if word in columns)]]
    if not names:
        raise UnreadableData(f"{path} has no rows; expected a row for every object")
    labels = _labels(columns, target, path)
    split, groups, ignore = (_optional(columns, of) for of in (COLUMNS["split"], COLUMNS["group"], IGNORE))
    parts = None if split is None else part_column([str(p) for p in split], f"{path}: the column split")
    pictures: dict[str, BoxedPicture] = {}
    absent: dict[str, None] = {}
    empty: dict[str, str] = {}  # pictures of which a row says that they show nothing
    faults = Faults()
    for row, name in enumerate(names):
        with faults.of(str(path)):
            where = f"{path.name}, row {row + 1} ({name})"
            if not name:
                raise ValueError(f"{path}: row {row + 1} has no picture")
            beside = (
                None if parts is None else str(parts[row]),
                None if groups is None else str(groups[row]),
            )
            if name not in pictures:
                file = find_picture(path.parent, name)
                if file is None:
                    absent[name] = None
                    continue
                pictures[name] = BoxedPicture(path=file, id=name, boxes=[], part=beside[0], group=beside[1])
            picture = pictures[name]
            if (picture.part, picture.group) != beside:
                raise ValueError(
                    f"{where} has the split and group {beside}, but a row before it {picture.part, picture.group}; expected the same in all rows of a picture"
                )
            values = _values(words, [columns[word][row] for word in words], where)
            if values is None:
                empty.setdefault(name, where)
                continue
            label = OBJECT if labels is None else str(labels[row])
            if label.casefold() in MISSING:
                raise ValueError(
                    f"{where} has no class; name it, or leave the column out where there is one class only"
                )
            ignored = ignore is not None and yes_or_no(ignore[row], "whether it is ignored", where)
            assert picture.boxes is not None
            picture.boxes.append(Box(corners_of(values), label, where, ignored))
    faults.refuse()
    refuse_absent(list(absent), len(absent) + len(pictures), path, "beside it and in images/")
    if both := [where for name, where in empty.items() if name in pictures and pictures[name].boxes]:
        raise ValueError(
            f"{len(both):,} rows without a box say that nothing is on their picture, but other rows give it boxes: {few(both)}. Remove one or the other"
        )
    refuse_two_names(list(pictures.values()), path)
    note = f"Boxes were read from the columns {', '.join(words)}."
    return BoxListing(pictures=list(pictures.values()), format="a table", written=written, notes=(note,))


def _values(words: Sequence[str], entries: Sequence[Any], where: str) -> list[float] | None:
    """The numbers of a box, or None where nothing stands; raises `ValueError` where some are missing or are no numbers."""
    nothing = [str(entry).strip().casefold() in MISSING for entry in entries]
    if all(nothing):
        return None
    if any(nothing):
        raise ValueError(
            f"{where} has {dict(zip(words, entries, strict=True))}; expected all numbers of the box, or none"
        )
    values = [number(entry, word, where) for word, entry in zip(words, entries, strict=True)]
    if any(value < 0 for word, value in zip(words[2:], values[2:], strict=True) if word in ("radius", "r")):
        raise ValueError(f"{where}: the radius is {values[2]:g}; expected a positive number")
    return values


def _labels(columns: Mapping[str, list[Any]], target: str | Sequence[str], path: Path) -> list[Any] | None:
    if not isinstance(target, str):
        raise ValueError(
            f"several target columns ({', '.join(target)}) were named, but {path} holds boxes, which have one class each"
        )
    if target != "label":
        if target.casefold() not in columns:
            raise ValueError(f"{path} has no column {target!r}; it has {', '.join(columns)}")
        return columns[target.casefold()]
    return _optional(columns, COLUMNS["label"])


def _optional(columns: Mapping[str, list[Any]], words: Sequence[str]) -> list[Any] | None:
    return next((columns[word] for word in words if word in columns), None)
