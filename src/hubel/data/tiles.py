"""Pictures of any size become tiles of one size, with the boxes that lie in each.

A picture larger than a tile is cut into tiles that overlap and together cover it; a smaller one is padded on the right and below with
the mean of its values. Nothing is resized. An object of which a tile shows less than `LEAST_SEEN` is ignored there: it counts neither as
found nor as missed, since it would be wrong to say that nothing is there.

The side of a tile, where nothing is said: eight times the median longest side of the objects, at least twice that of all but the largest twentieth of
them, from 128 to 512 pixels, by steps of 32. Where at least half of the pictures are at most `WHOLE`, these stay whole: a tile is as large as the largest of them, and where
there are others, that have to be cut, as large as suits the objects, up to twice that (more would be mostly padding). The overlap: the
longest side of all but the largest twentieth, at most half a tile, so that nearly every object is whole in one of the tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hubel.data.boxes import COLUMNS, IGNORED, LEAST_SEEN

WHOLE = 512
SMALLEST, LARGEST, STEP = 128, 512, 32
Size = tuple[int, int]


def tile_for(
    sizes: Sequence[Size],
    sides: np.ndarray,
    *,
    tile: int | Size | None = None,
    overlap: int | None = None,
) -> tuple[Size, int]:
    """The size of a tile (H, W) and the overlap in pixels for pictures of these `sizes` (H, W) and objects with these longest `sides` [n].

    Raises `ValueError` for sizes that are not positive, and an overlap that leaves no way forward.

    >>> tile_for([(100, 120), (90, 90)], np.array([10.0])), tile_for([(4000, 4000)], np.full(50, 30.0))
    (((100, 120), 10), ((256, 256), 30))
    """
    most = _longest(sizes)
    small = [size for size in sizes if max(size) <= WHOLE]
    usual = float(np.quantile(sides, 0.95)) if len(sides) else 0.0
    if tile is None:
        if 2 * len(small) >= len(sizes):
            high, wide = _longest(small)
            if len(small) < len(sizes):
                least = max(
                    min(_for_objects(sides, usual), 2 * max(high, wide)),
                    min(2 * int(np.ceil(usual)), LARGEST),
                )
                high, wide = max(high, least), max(wide, least)
            found = (high, wide)
        else:
            side = _for_objects(sides, usual)
            found = (min(side, most[0]), min(side, most[1]))
    else:
        found = (tile, tile) if isinstance(tile, int) else (int(tile[0]), int(tile[1]))
        if min(found) < 1 or isinstance(tile, bool):
            raise ValueError(f"tile={tile!r}: expected a positive number of pixels, or (height, width)")
    if overlap is None:
        overlap = int(min(np.ceil(usual), min(found) // 2))
    if isinstance(overlap, bool) or not 0 <= overlap < min(found):
        raise ValueError(
            f"overlap={overlap!r} for tiles of {found[0]} × {found[1]}; expected pixels from 0 to {min(found) - 1}"
        )
    return found, int(overlap)


def _for_objects(sides: np.ndarray, usual: float) -> int:
    """The side of a tile that suits objects with these longest sides."""
    side = max(8 * float(np.median(sides)), 2 * usual) if len(sides) else LARGEST
    return int(np.clip(-(-side // STEP) * STEP, SMALLEST, LARGEST))


def _longest(sizes: Sequence[Size]) -> Size:
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def corners_of(size: Size, tile: Size, overlap: int) -> list[tuple[int, int]]:
    """The upper left corners (y, x) of the tiles of a picture of this `size`: as few as cover it with at least the `overlap`, evenly apart.

    >>> corners_of((100, 250), (100, 100), 20)
    [(0, 0), (0, 75), (0, 150)]
    """
    starts = []
    for side, length in zip(size, tile, strict=True):
        num = 1 if side <= length else -(-(side - overlap) // (length - overlap))
        starts.append([round(k * (side - length) / (num - 1)) for k in range(num)] if num > 1 else [0])
    return [(y, x) for y in starts[0] for x in starts[1]]


def cut_pixels(pixels: np.ndarray, corner: tuple[int, int], tile: Size, fill: np.ndarray) -> np.ndarray:
    """The tile [C, H, W] of a picture [C, h, w] at a corner (y, x), with `fill` [C] beyond its edges.

    >>> cut_pixels(np.ones((1, 2, 2)), (0, 1), (2, 2), np.zeros(1)).tolist()
    [[[1.0, 0.0], [1.0, 0.0]]]
    """
    y, x = corner
    inside = pixels[:, y : y + tile[0], x : x + tile[1]]
    if inside.shape[1:] == tile:
        return inside
    out = np.empty((len(pixels), *tile), pixels.dtype)
    out[:] = fill[:, None, None]
    out[:, : inside.shape[1], : inside.shape[2]] = inside
    return out


def mean_of(pixels: np.ndarray) -> np.ndarray:
    """The mean of each channel [C] of a picture [C, H, W], in its type."""
    means = pixels.reshape(len(pixels), -1).mean(1, dtype=np.float64)
    return (np.rint(means) if pixels.dtype.kind in "iu" else means).astype(pixels.dtype)


def cut_rows(rows: np.ndarray, corner: tuple[int, int], tile: Size) -> np.ndarray:
    """The rows [m, 6] of a picture as a tile at a corner (y, x) shows them.

    >>> cut_rows(np.array([[0, 0, 10, 10, 1, 0], [6, 0, 16, 10, 1, 0], [30, 0, 40, 10, 1, 0]]), (0, 8), (10, 10)).tolist()
    [[0.0, 0.0, 2.0, 10.0, 1.0, 1.0], [0.0, 0.0, 8.0, 10.0, 1.0, 0.0]]
    """
    rows = np.asarray(rows, np.float32).reshape(-1, COLUMNS)
    moved = rows.copy()
    moved[:, :4] -= np.array([corner[1], corner[0]] * 2, np.float32)
    seen = moved.copy()
    seen[:, :4] = np.clip(moved[:, :4], 0, np.array([tile[1], tile[0]] * 2, np.float32))
    sides = seen[:, 2:4] - seen[:, :2]
    hardly = sides.prod(1) < LEAST_SEEN * (moved[:, 2:4] - moved[:, :2]).prod(1)
    seen[hardly, IGNORED] = 1
    return seen[(sides > 0).all(1) & ~(hardly & (sides < 1).any(1))]
