"""Boxes of label masks: pictures of whole numbers in which 0 is the ground and every other number an object, as scikit-image's `label`,
SciPy's, cellpose and stardist make them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.box_faults import Faults
from hubel.data.box_listing import OBJECT, Box, BoxedPicture, BoxListing, few, stem_of
from hubel.data.folders import files_below, printable
from hubel.data.mask_files import mask_values

OBJECTS = "objects"  # the folder of such masks, beside `images`, and the target that asks for them


def boxes_of_mask(mask: Any) -> np.ndarray:
    """The corners (x0, y0, x1, y1) [n, 4] of the objects of a mask [H, W], in the order of their numbers.

    Raises `ValueError` where the mask has no whole numbers or other axes.

    >>> boxes_of_mask(np.array([[0, 7, 7], [0, 0, 7], [2, 0, 0]])).tolist()
    [[0, 2, 1, 3], [1, 0, 3, 2]]
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "iub":
        raise ValueError(
            f"a mask of objects is {mask.dtype} of shape {mask.shape}; expected whole numbers [H, W], 0 for none"
        )
    from scipy.ndimage import find_objects

    values, places = np.unique(mask, return_inverse=True)
    if len(values) and values[0] < 0:
        raise ValueError(
            f"a mask of objects holds {values[0]}; expected 0 for the ground and numbers above it for objects"
        )
    numbered = places.reshape(mask.shape) + int(bool(len(values)) and values[0] != 0)
    found = find_objects(numbered)
    return np.array(
        [(x.start, y.start, x.stop, y.stop) for y, x in (f for f in found if f)], np.int64
    ).reshape(-1, 4)


def list_object_masks(root: Path, of_pictures: Path, of_masks: Path) -> BoxListing:
    """The pictures of a folder, each with the objects of the mask of the same name.

    Raises `ValueError` for masks without a picture, `UnreadableData` naming masks that can not be read.
    """
    masks = {stem_of(path): path for path in files_below(of_masks, root)}
    pictures = []
    whole = several = False
    faults = Faults()
    for path in files_below(of_pictures, root):
        picture = BoxedPicture(path=path, id=printable(path.relative_to(root)), boxes=None)
        pictures.append(picture)
        if (mask := masks.pop(stem_of(path), None)) is None:
            continue
        with faults.of(OBJECTS):
            try:
                values = mask_values(mask)
                found = boxes_of_mask(values).tolist()
            except UnreadableData as error:
                raise UnreadableData(f"{mask.relative_to(root)}: {error}") from error
            except ValueError as error:
                raise ValueError(f"{mask.relative_to(root)}: {error}") from error
            whole |= len(found) == 1 and _in_pieces(values)
            several |= len(found) > 1
            picture.size = (int(values.shape[0]), int(values.shape[1]))
            picture.boxes = [
                Box((x0, y0, x1, y1), OBJECT, f"{mask.name}, object {k + 1}")
                for k, (x0, y0, x1, y1) in enumerate(found)
            ]
    faults.refuse()
    if masks:
        raise ValueError(
            f"{root}: {len(masks):,} masks have no picture: {few([path.name for path in masks.values()])}. A picture and its mask have the same name"
        )
    note = (
        "No mask holds more than one number, in separate pieces: all that is marked in a picture was taken for one object. Where each piece is one, number them "
        "(skimage.measure.label)."
    )
    return BoxListing(
        pictures=pictures, format="masks of objects", notes=(note,) if whole and not several else ()
    )


def _in_pieces(mask: np.ndarray) -> bool:
    from scipy.ndimage import label

    pieces, _ = label(mask != 0)  # pyright: ignore[reportGeneralTypeIssues] - a pair
    return int(pieces.max(initial=0)) > 1
