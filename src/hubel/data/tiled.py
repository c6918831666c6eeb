"""Pictures in memory, cut into tiles with their boxes: what `hubel.data.load` does with large files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hubel.data.boxes import IGNORED, objects_of, packed
from hubel.data.dataset import BESIDE, Dataset
from hubel.data.storage import room_for
from hubel.data.tiles import Size, corners_of, cut_pixels, cut_rows, mean_of, tile_for


def tiled(data: Dataset, *, tile: int | Size | None = None, overlap: int | None = None) -> Dataset:
    """The tiles of pictures [N, C, H, W] with boxes, by the rules of `hubel.data.tiles`; the tiles of a picture are a group, or have its group.

    Raises `ValueError` for data without boxes, and for sizes that make no tiles.

    >>> from hubel.data import from_arrays
    >>> data = from_arrays(np.zeros((2, 100, 60), np.uint8), [{"boxes": [[4, 80, 14, 95]], "labels": ["a"]}] * 2)
    >>> tiled(data, tile=60, overlap=20), tiled(data, tile=60, overlap=20).groups.tolist()
    (Dataset('arrays': 4 examples of 1 × 60 × 60 uint8, 1 classes of objects), ['0', '0', '1', '1'])
    """
    if not data.has_boxes:
        raise ValueError(f"{data.name} has no boxes; expected pictures [N, C, H, W] with boxes [N, M, 6]")
    rows = [objects_of(np.asarray(picture)) for picture in data.targets]
    wanted = np.concatenate([found[found[:, IGNORED] == 0] for found in rows])
    longest = (wanted[:, 2:4] - wanted[:, :2]).max(1) if len(wanted) else np.zeros(0)
    size = (data.shape[1], data.shape[2])
    side, overlap = tile_for([size], longest, tile=tile, overlap=overlap)
    corners = corners_of(size, side, overlap)
    inputs = room_for((len(data) * len(corners), data.shape[0], *side), data.inputs.dtype)
    for number in range(len(data)):
        pixels = np.asarray(data.inputs[number])
        mean = mean_of(pixels)
        for place, corner in enumerate(corners, start=number * len(corners)):
            inputs[place] = cut_pixels(pixels, corner, side, mean)
    of = np.repeat(np.arange(len(data)), len(corners))
    beside: dict[str, Any] = {
        name: None if (value := getattr(data, name)) is None else value[of] for name in BESIDE
    }
    names = data.ids if data.ids is not None else np.arange(len(data)).astype(np.str_)
    if len(corners) > 1:
        places = [f" [{y}:{y + side[0]}, {x}:{x + side[1]}]" for y, x in corners] * len(data)
        beside["ids"] = np.char.add(names[of].astype(np.str_), places)
    if data.groups is None:
        beside["groups"] = names[of]
    about = {**data.reading.get("boxes", {}), "tile": list(side), "overlap": overlap, "resized": False}
    reading = {**data.reading, "boxes": about, "size": list(side), "shape": [data.shape[0], *side]}
    note = f"{len(data):,} pictures were cut into {len(inputs):,} tiles of {side[0]} × {side[1]} that overlap by at least {overlap} pixels."
    return replace(
        data,
        inputs=inputs,
        targets=packed([cut_rows(found, corner, side) for found in rows for corner in corners]),
        notes=(*data.notes, *((note,) if len(corners) > 1 else ())),
        reading=reading,
        **beside,
    )
