"""What is wrong with boxes is said before anything is learned from them: each with its file and row.

Refused are boxes without extent or with swapped corners, NaN, boxes outside of their picture, sizes that were given as corners and the
reverse (suspected where most do not fit and all would fit the other way), shares of the sides where pixels belong (suspected where no box reaches beyond 1), names of classes that differ in case alone, and sizes of
pictures that are not those of the files. Boxes that reach beyond their picture are cut at its edge, and boxes given twice count once: both are
noted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hubel.data.box_listing import BoxedPicture, BoxListing, few
from hubel.data.boxes import COLUMNS
from hubel.data.targets import class_order

SLACK = 1.0  # pixels beyond the edge that come from rounding: cut without a word
SHARES_BEYOND = 0.01  # beyond 0 and 1, by rounding
SUSPECT = 0.2  # share of boxes that do not fit, from which on their meaning is doubted


def class_numbers(
    listing: BoxListing, like: Sequence[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of a listing in order (its own, those of other data that it is to be `like`, or the names in natural order), and notes.

    Raises `ValueError` for names that differ in case or in blanks alone, for none, and for names that `like` does not have.
    """
    counts = Counter(box.label for picture in listing.pictures for box in picture.boxes or ())
    names = class_order(counts) if listing.classes is None else listing.classes
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(" ".join(name.split()).casefold(), []).append(name)
    if alike := [group for group in folded.values() if len(group) > 1]:
        first = {name: _first(listing, name) for name in alike[0]}
        said = ", ".join(
            f"{name!r} ({counts[name]:,} boxes, first {first[name]})" if first[name] else repr(name)
            for name in alike[0]
        )
        raise ValueError(
            f"{len(alike):,} names of classes differ in case or blanks alone: {said}. They would be learned as different classes: write them alike"
        )
    if not counts and not names:
        raise ValueError("there are no boxes: expected at least one object in one picture")
    if like is not None:
        if unknown := [name for name in counts if name not in like]:
            raise ValueError(
                f"the classes {few(class_order(unknown))} (first {_first(listing, unknown[0])}) are none of those that are known: {few(list(like))}"
            )
        return tuple(like), ()
    if not counts:
        raise ValueError("there are no boxes: expected at least one object in one picture")
    empty = [name for name in names if not counts[name]]
    note = f"{len(empty)} classes have no box and were left out: {few(empty)}."
    return tuple(name for name in names if counts[name]), (note,) if empty else ()


def _first(listing: BoxListing, name: str) -> str:
    return next(
        (box.where for picture in listing.pictures for box in picture.boxes or () if box.label == name), ""
    )


def usable_rows(
    listing: BoxListing, sizes: Sequence[tuple[int, int]], classes: Sequence[str]
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """The rows [m, 6] of each picture of these `sizes` (H, W), in pixels inside it, and notes; raises `ValueError` as this file says."""
    _refuse_sizes(listing.pictures, sizes)
    _refuse_shares(listing, sizes)
    place = {name: k for k, name in enumerate(classes)}
    rows: list[np.ndarray] = []
    wrong: list[str] = []
    beyond: list[str] = []
    twice: list[str] = []
    total = 0
    for picture, size in zip(listing.pictures, sizes, strict=True):
        found: dict[tuple[float, ...], None] = {}
        for box in picture.boxes or ():
            total += 1
            corners = _in_pixels(box.corners, size, listing.unit)
            if why := _why_not(corners, size):
                wrong.append(f"{box.where}: {_shown(corners)} {why}")
                continue
            cut = _cut(corners, size)
            if max(abs(a - b) for a, b in zip(cut, corners, strict=True)) > SLACK:
                beyond.append(f"{box.where}: {_shown(corners)} in {size[1]} × {size[0]} pixels")
            left, upper, right, lower = np.asarray(cut, np.float32).tolist()
            if right <= left or lower <= upper:  # once the numbers are rounded to float32
                wrong.append(f"{box.where}: {_shown(corners)} has no width or height")
                continue
            row = (left, upper, right, lower, float(place[box.label]), float(box.ignored))
            if row in found:
                twice.append(box.where)
            found[row] = None
        rows.append(np.array(list(found), np.float32).reshape(-1, COLUMNS))
    _refuse_suspect(listing, sizes, len(wrong) + len(beyond), total)
    if wrong:
        raise ValueError(
            f"{len(wrong):,} of {total:,} boxes are not usable: {'; '.join(wrong[:10])}{'; …' if len(wrong) > 10 else ''}. Expected x0 < x1 and "
            "y0 < y1 in pixels from the upper left corner, inside the picture: correct or remove them"
        )
    notes = []
    if beyond:
        notes.append(
            f"{len(beyond):,} of {total:,} boxes reach beyond their picture and were cut at its edge: {few(beyond, 3)}."
        )
    if twice:
        notes.append(f"{len(twice):,} boxes are given twice and count once: {few(twice, 3)}.")
    return rows, tuple(notes)


def _refuse_shares(listing: BoxListing, sizes: Sequence[tuple[int, int]]) -> None:
    """Boxes in pixels of which none leaves the first pixel of its picture: shares of the sides, as some programs write them."""
    boxes = [box for picture in listing.pictures for box in picture.boxes or ()]
    if listing.unit != "pixels" or not boxes or min(map(min, sizes)) <= 1:
        return
    if all(-SHARES_BEYOND <= value <= 1 + SHARES_BEYOND for box in boxes for value in box.corners):
        raise ValueError(
            f"no box reaches beyond 1 (first {boxes[0].where}: {_shown(boxes[0].corners)}), so that they look like shares of the width and height; "
            "expected pixels from the upper left corner: multiply them by the sides of their pictures"
        )


def _in_pixels(
    corners: Sequence[float], size: tuple[int, int], unit: str
) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = corners
    if unit == "pixels":
        return x0, y0, x1, y1
    return x0 * size[1], y0 * size[0], x1 * size[1], y1 * size[0]


def _cut(corners: Sequence[float], size: tuple[int, int]) -> tuple[float, ...]:
    sides = (size[1], size[0], size[1], size[0])
    return tuple(min(max(value, 0.0), float(side)) for value, side in zip(corners, sides, strict=True))


def _why_not(corners: Sequence[float], size: tuple[int, int]) -> str:
    """What is wrong with a box, or nothing."""
    if not all(map(math.isfinite, corners)):
        return "is not finite"
    x0, y0, x1, y1 = corners
    if x1 == x0 or y1 == y0:
        return "has no width or height"
    if x1 < x0 or y1 < y0:
        return "has swapped corners (or a negative size)"
    if x0 >= size[1] or y0 >= size[0] or x1 <= 0 or y1 <= 0:
        return f"lies outside of its picture of {size[1]} × {size[0]} pixels"
    return ""


def _fits(corners: Sequence[float], size: tuple[int, int]) -> bool:
    cut = _cut(corners, size) if not _why_not(corners, size) else ()
    return bool(cut) and max(abs(a - b) for a, b in zip(cut, corners, strict=True)) <= SLACK


def _refuse_suspect(listing: BoxListing, sizes: Sequence[tuple[int, int]], misfits: int, total: int) -> None:
    """Boxes of which many do not fit as they were read, and all would the other way."""
    if listing.written == "otherwise" or misfits < max(2, SUSPECT * total):
        return
    first = ""
    for picture, size in zip(listing.pictures, sizes, strict=True):
        for box in picture.boxes or ():
            x0, y0, x1, y1 = box.corners
            other = (x0, y0, x1 - x0, y1 - y0) if listing.written == "sizes" else (x0, y0, x0 + x1, y0 + y1)
            if not _fits(_in_pixels(other, size, listing.unit), size):
                return
            if not first and not _fits(_in_pixels(box.corners, size, listing.unit), size):
                given = other if listing.written == "sizes" else box.corners
                first = f"{box.where}: {_shown(given)} in {size[1]} × {size[0]} pixels"
    expected, suspected = "(x, y, width, height)", "corners (x0, y0, x1, y1)"
    if listing.written == "corners":
        expected, suspected = "corners (x0, y0, x1, y1)", "(x, y, width, height)"
    raise ValueError(
        f"{misfits:,} of {total:,} boxes do not fit their pictures as {expected}, but all do as {suspected}, first {first}. {listing.format} gives "
        f"{expected}: convert the numbers"
        + (", or name the columns for what they hold" if listing.format == "a table" else "")
    )


def _refuse_sizes(pictures: Sequence[BoxedPicture], sizes: Sequence[tuple[int, int]]) -> None:
    other, turned = [], 0
    for picture, size in zip(pictures, sizes, strict=True):
        if picture.size is not None and picture.size != size:
            other.append(
                f"{picture.id} ({size[1]} × {size[0]}, said to be {picture.size[1]} × {picture.size[0]})"
            )
            turned += picture.size == size[::-1]
    if other:
        why = (
            "They lie on their side: the boxes may be of the picture before it was turned as its EXIF note says; turn the file itself, and label that"
            if turned == len(other)
            else "The boxes may belong to another version of the picture: give the one that was labelled"
        )
        raise ValueError(
            f"{len(other):,} pictures have another size (width × height) than their labels say: {few(other)}. {why}"
        )


def _shown(corners: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in corners) + "]"
