"""Masks: the class of every pixel of a picture, as whole numbers [N, H, W], kept as they were stored.

The classes are the values that occur, in order, each named by its value; where names are given, value k is the class of name k. One value
may stand for "not labelled" (255 in 8-bit masks, unless something else is said): such pixels count neither in the loss nor in the scores.
Inside hubel masks are bytes: the number of the class, or `UNLABELLED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hubel.data.storage import room_for
from hubel.data.targets import as_numpy

UNLABELLED = 255
MOST_CLASSES = 255
Unlabelled = int | Literal["none", "empty", "skip"] | None  # the last two of pictures without boxes
ClassNames = Sequence[str] | Mapping[Any, str] | None


@dataclass(frozen=True, kw_only=True)
class MaskClasses:
    """Which stored `values` [K] are which `classes` [K], and which value is `unlabelled`, if one is."""

    values: tuple[int, ...]
    classes: tuple[str, ...]
    unlabelled: int | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What a reading keeps."""
        return {"values": list(self.values), "classes": list(self.classes), "unlabelled": self.unlabelled}

    def numbers(self, mask: np.ndarray) -> np.ndarray:
        """Class numbers of stored values, of the same shape, as bytes; `UNLABELLED` where a value is no class.

        >>> MaskClasses(values=(0, 7), classes=("sky", "star"), unlabelled=9).numbers(np.array([[7, 0, 9]]))
        array([[  1,   0, 255]], dtype=uint8)
        """
        values = np.array(self.values)
        places = np.minimum(np.searchsorted(values, mask), len(values) - 1)
        return np.where(values[places] == mask, places, UNLABELLED).astype(np.uint8)

    def stored(self, numbers: np.ndarray) -> np.ndarray:
        """The stored values of class numbers, in the smallest type that has room for them; `UNLABELLED` becomes the value for it.

        >>> MaskClasses(values=(0, 300), classes=("sky", "star")).stored(np.array([[1, 0]], np.uint8))
        array([[300,   0]], dtype=uint16)
        """
        nothing = self.unlabelled
        if nothing is None or nothing < 0:
            nothing = max(UNLABELLED, self.values[-1] + 1) if UNLABELLED in self.values else UNLABELLED
        table = np.full(256, nothing, np.int64)
        table[: len(self.values)] = self.values
        largest = table.max() if (numbers == UNLABELLED).any() else self.values[-1]
        return table[numbers].astype(np.min_scalar_type(int(largest)))


def classes_of_reading(reading: Mapping[str, Any] | None) -> MaskClasses | None:
    """The classes of masks that a reading records, or None."""
    kept = None if reading is None else reading.get("masks")
    if kept is None:
        return None
    return MaskClasses(
        values=tuple(map(int, kept["values"])),
        classes=tuple(map(str, kept["classes"])),
        unlabelled=kept["unlabelled"],
    )


def has_planes(y: Any) -> bool:
    """Whether targets have rows and columns of their own, as masks [N, H, W] do; also a list of them.

    >>> has_planes(np.zeros((4, 8, 8))), has_planes([np.zeros((8, 8))]), has_planes([[0, 1], [1, 0]])
    (True, True, False)
    """
    if (ndim := getattr(y, "ndim", None)) is not None:
        return ndim > 2
    if not isinstance(y, (list, tuple)) or not y:
        return False
    if (ndim := getattr(y[0], "ndim", None)) is not None:
        return ndim > 1
    return isinstance(y[0], (list, tuple)) and bool(y[0]) and isinstance(y[0][0], (list, tuple, np.ndarray))


def read_masks(
    y: Any, shape: tuple[int, ...], *, classes: ClassNames = None, unlabelled: Unlabelled = None
) -> tuple[np.ndarray, MaskClasses]:
    """Masks [N, H, W] of inputs of this `shape` [N, C, H, W], as class numbers in bytes, and which values those are.

    Raises `ValueError` for masks of another size, of floating numbers or colours, and where no two classes are labelled.
    """
    masks = as_numpy(y, "y")
    if masks.dtype.kind not in "iub":
        raise ValueError(
            f"the masks are {masks.dtype}; expected whole numbers, the class of every pixel. Write masks.astype(int) where they are class "
            "numbers, (masks > 0.5).astype(int) where they are shares"
        )
    if len(shape) != 4:
        raise ValueError(
            f"y has shape {masks.shape}: masks [N, H, W] belong to pictures [N, H, W], [N, H, W, C] or [N, C, H, W], but x was read as {shape}"
        )
    if masks.ndim != 3:
        raise ValueError(
            f"the masks have shape {masks.shape}; expected one class number a pixel [N, H, W]. Of one plane a class write masks.argmax(axis), of "
            "one plane alone masks.squeeze(axis); colours have to be replaced by class numbers"
        )
    if masks.shape[1:] != shape[2:]:
        raise ValueError(
            f"the pictures have {shape[2]} × {shape[3]} pixels, but their masks {masks.shape[1]} × {masks.shape[2]}: expected a class number "
            "for every pixel. Resize the masks by nearest neighbour"
        )
    if len(masks) != shape[0]:
        raise ValueError(
            f"x has {shape[0]:,} pictures, but there are {len(masks):,} masks: expected one mask a picture"
        )
    masks = masks.astype(np.uint8) if masks.dtype.kind == "b" else masks
    found = plan_classes(
        (values_in(mask) for mask in masks), masks.dtype, classes=classes, unlabelled=unlabelled
    )
    numbers = room_for(masks.shape, np.dtype(np.uint8))
    for out, mask in zip(numbers, masks, strict=True):
        out[:] = found.numbers(mask)
    return numbers, found


def values_in(mask: np.ndarray) -> np.ndarray:
    """The different values of a mask, in order.

    >>> values_in(np.array([[3, 0], [3, 3]], np.uint8))
    array([0, 3])
    """
    if mask.dtype == np.uint8:
        return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return np.unique(mask)


def plan_classes(
    found: Iterable[np.ndarray],
    dtype: np.dtype,
    *,
    classes: ClassNames = None,
    unlabelled: Unlabelled = None,
    where: str = "the masks",
) -> MaskClasses:
    """The classes of masks in which these values were `found`.

    Raises `ValueError` for values that are no class numbers, too many of them, and fewer than two classes.

    >>> plan_classes([np.array([0, 2, 255])], np.dtype("uint8")).as_json()
    {'values': [0, 2], 'classes': ['0', '2'], 'unlabelled': 255}
    """
    seen: set[int] = set()
    for values in found:
        seen.update(values.tolist())
    names = _given_names(classes)
    nothing = _unlabelled(unlabelled, dtype, names)
    labelled = sorted(seen - {nothing})
    if not labelled:
        raise ValueError(f"{where} have no labelled pixel: every one is {nothing}, which means not labelled")
    if names is not None:
        if unknown := [value for value in labelled if value not in names]:
            raise ValueError(
                f"{where} hold {_shown(unknown)}, which no class is named for ({_shown(sorted(names))} have names). Name all classes, or say "
                "which value means not labelled: unlabelled= (--unlabelled)"
            )
        values = tuple(sorted(names))
        empty = [names[value] for value in values if value not in seen]
        notes = (f"{len(empty)} classes have no pixel: {', '.join(empty[:10])}.",) if empty else ()
        return MaskClasses(
            values=values,
            classes=tuple(names[v] for v in values),
            unlabelled=nothing,
            notes=(*notes, *_notes(seen, nothing, dtype)),
        )
    if labelled[0] < 0:
        raise ValueError(
            f"{where} hold {labelled[0]}; class numbers begin at 0. Where it means not labelled, say unlabelled={labelled[0]} (--unlabelled {labelled[0]})"
        )
    if len(labelled) > MOST_CLASSES:
        raise ValueError(
            f"{where} hold {len(labelled):,} different values (from {labelled[0]} to {labelled[-1]}); expected class numbers, {MOST_CLASSES} at "
            "most. Numbers of objects are no classes: write masks > 0 for object or not, or ask for their boxes (a folder: "
            f'target="objects"; arrays: hubel.data.boxes_of_mask)'
        )
    if len(labelled) == 1:
        raise ValueError(_one_value(where, labelled[0], nothing if nothing in seen else None))
    notes = _notes(seen, nothing, dtype)
    if labelled != list(range(len(labelled))):
        notes = (
            f"The masks hold the values {_shown(labelled)}; each is a class, named by its value.",
            *notes,
        )
    return MaskClasses(
        values=tuple(labelled), classes=tuple(map(str, labelled)), unlabelled=nothing, notes=notes
    )


def pixel_counts(masks: Any, num_classes: int) -> np.ndarray:
    """Labelled pixels of each class in masks [N, H, W] of class numbers: [K].

    >>> pixel_counts(np.array([[[0, 1], [1, 255]]], np.uint8), 2)
    array([1, 2])
    """
    counts = np.zeros(num_classes, np.int64)
    for row in range(len(masks)):
        mask = np.asarray(masks[row])
        counts += np.bincount(mask[mask != UNLABELLED].ravel(), minlength=num_classes)
    return counts


def rarest_classes(masks: Any, num_classes: int) -> np.ndarray:
    """Of each mask [N, H, W] the class that the fewest masks have: [N]; 0 where nothing is labelled.

    >>> rarest_classes(np.array([[[0, 0]], [[0, 1]], [[0, 0]]], np.uint8), 2)
    array([0, 1, 0])
    """
    there = np.zeros((len(masks), 256), bool)
    for row in range(len(masks)):
        there[row, values_in(np.asarray(masks[row]))] = True
    there = there[:, :num_classes]
    rarity = np.where(there, there.sum(0), len(masks) + 1)
    return rarity.argmin(1)


def _given_names(classes: ClassNames) -> dict[int, str] | None:
    """Names by their value."""
    if classes is None:
        return None
    pairs = classes.items() if isinstance(classes, Mapping) else enumerate(classes)
    try:
        names = {int(value): str(name) for value, name in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"classes gives names by {list(classes)[:5]}; expected the values of masks, whole numbers"
        ) from error
    if len(names) < 2 or len(set(names.values())) < len(names) or min(names) < 0 or len(names) > MOST_CLASSES:
        raise ValueError(
            f"classes names {len(names)} values of masks ({len(set(names.values()))} different names); expected 2 to {MOST_CLASSES} different "
            "names for values from 0"
        )
    return names


def _unlabelled(given: Unlabelled, dtype: np.dtype, names: Mapping[int, str] | None) -> int | None:
    if given is None:
        usual = dtype == np.uint8 and (names is None or UNLABELLED not in names)
        return UNLABELLED if usual else None
    if given == "none":
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise ValueError(
            f'unlabelled={given!r}; expected the value of pixels that have no label, or "none" where all have one'
        )
    if names is not None and given in names:
        raise ValueError(
            f"unlabelled={given} means not labelled, but it is the class {names[given]!r}: leave one of them out"
        )
    return given


def _notes(seen: set[int], nothing: int | None, dtype: np.dtype) -> tuple[str, ...]:
    if nothing is not None and nothing in seen:
        return (
            f"{nothing} in a mask means not labelled: such pixels count neither in the loss nor in the scores.",
        )
    if nothing is None and UNLABELLED in seen and dtype != np.uint8:
        return (
            f"{UNLABELLED} is a class here, since the masks are {dtype}; where it means not labelled, say unlabelled={UNLABELLED} "
            f"(--unlabelled {UNLABELLED}).",
        )
    return ()


def _one_value(where: str, value: int, nothing: int | None) -> str:
    said = f'in {where} all labelled pixels have the class "{value}"; expected at least two classes, or there is nothing to tell apart'
    if nothing is None:
        return said
    return f'{said}. {nothing} was taken for "not labelled": where it is a class, say unlabelled="none" (--unlabelled none)'


def _shown(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:10])) + (f" and {len(values) - 10:,} more" if len(values) > 10 else "")
