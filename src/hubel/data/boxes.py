"""Boxes: where the objects of a picture are, and what each is, as rows of six numbers [N, M, 6] in float32.

A row is (x0, y0, x1, y1, class, ignored): the left, upper, right and lower edge in pixels, the number of the class, and whether the object
counts neither as found nor as missed (1) or is wanted (0). Edges are places between pixels: a box over the whole of a picture is (0, 0, W, H), and
the row 0 of the array is at the top. N pictures have room for M objects each, the number of the fullest; rows beyond the objects of a picture have
the class `NO_OBJECT` and zeros. A picture without objects is an example like all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CLASS, IGNORED = 4, 5  # columns
COLUMNS = 6
NO_OBJECT = -1
LEAST_SEEN = 0.4  # of the area of an object, below which it is ignored in a picture that shows a part of it


def are_mappings(y: Any) -> bool:
    """Whether targets are mappings of boxes, one a picture.

    >>> are_mappings([{"boxes": [], "labels": []}]), are_mappings([0, 1])
    (True, False)
    """
    return isinstance(y, (list, tuple)) and bool(y) and all(isinstance(entry, Mapping) for entry in y)


def packed(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Boxes [N, M, 6] of the rows [m, 6] of N pictures.

    >>> packed([np.zeros((0, 6)), np.array([[1, 2, 5, 6, 0, 0]])])[:, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0, -1.0, 0.0], [1.0, 2.0, 5.0, 6.0, 0.0, 0.0]]
    """
    most = max((len(found) for found in rows), default=0)
    boxes = np.zeros((len(rows), most, COLUMNS), np.float32)
    boxes[:, :, CLASS] = NO_OBJECT
    for picture, found in zip(boxes, rows, strict=True):
        picture[: len(found)] = found
    return boxes


def objects_of(picture: np.ndarray) -> np.ndarray:
    """The rows [m, 6] of one picture [M, 6] that are objects."""
    return picture[picture[:, CLASS] != NO_OBJECT]


def object_counts(boxes: Any, num_classes: int) -> np.ndarray:
    """Objects of each class in boxes [N, M, 6] that are wanted: [K].

    >>> object_counts(packed([np.array([[0, 0, 2, 2, 1, 0], [0, 0, 1, 1, 1, 1]])]), 2)
    array([0, 1])
    """
    rows = objects_of(np.asarray(boxes).reshape(-1, COLUMNS))
    wanted = rows[rows[:, IGNORED] == 0, CLASS].astype(np.int64)
    return np.bincount(wanted, minlength=num_classes)


def rarest_objects(boxes: Any, num_classes: int) -> np.ndarray:
    """Of each picture of boxes [N, M, 6] the class that the fewest pictures have: [N]; `num_classes` where it has no object.

    >>> rarest_objects(packed([np.zeros((1, 6)), np.array([[0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0]]), np.zeros((0, 6))]), 2)
    array([0, 1, 2])
    """
    numbers = np.asarray(boxes)[:, :, CLASS]
    there = np.stack([(numbers == k).any(axis=1) for k in range(num_classes)], axis=1)
    rarity = np.where(there, there.sum(0), len(numbers) + 1)
    return np.where(there.any(axis=1), rarity.argmin(1), num_classes)


def check_boxes(boxes: np.ndarray, shape: tuple[int, ...], num_classes: int) -> None:
    """Raise `ValueError` where boxes do not belong to pictures of this `shape` [N, C, H, W] with so many classes: the first picture is named."""
    if boxes.shape[2] != COLUMNS or len(shape) != 4:
        raise ValueError(
            f"boxes have shape {list(boxes.shape)} for inputs {list(shape)}; expected [N, M, {COLUMNS}] for pictures [N, C, H, W], a row "
            "(x0, y0, x1, y1, class, ignored) for each object"
        )
    there = boxes[:, :, CLASS] != NO_OBJECT
    numbers = boxes[:, :, CLASS]
    left, upper, right, lower = (boxes[:, :, side] for side in range(4))
    wrong: Mapping[str, Any] = {
        "is not finite": ~np.isfinite(boxes).all(2),
        f"has a class that is no number from 0 to {num_classes - 1}": (numbers != np.round(numbers))
        | (numbers < 0)
        | (numbers >= num_classes),
        "has no width or height (or swapped corners)": ~((right > left) & (lower > upper)),
        f"lies outside of its picture of {shape[3]} × {shape[2]} pixels": (right <= 0)
        | (lower <= 0)
        | (left >= shape[3])
        | (upper >= shape[2]),
    }
    for what, where in wrong.items():
        rows = np.argwhere(where & there)
        if len(rows):
            picture, place = (int(n) for n in rows[0])
            raise ValueError(
                f"{len(rows):,} boxes are not usable; the first, {[round(float(v), 3) for v in boxes[picture, place]]} of picture {picture}, {what}; "
                "expected (x0, y0, x1, y1, class, ignored) with x0 < x1 and y0 < y1 in pixels from the upper left corner"
            )
