"""Pictures of different sizes become one size, by a stated rule.

The size: the rounded median of heights and widths, made smaller (keeping its aspect) where a side exceeds 224. Pictures that all have one size
of at most 512 stay as they are.

The rule: "pad" (default) keeps the aspect, resizes so that the picture fits, and fills the rest with the mean of the picture's
own border, channel by channel; "crop" keeps the aspect, covers the size and cuts the middle out; "stretch" keeps neither. Resizing
is bilinear with antialiasing (each output pixel averages the input pixels that it covers), in 8 bits for 8-bit pictures, otherwise
in 32-bit floating point, rounded back to the stored type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Resize = Literal["pad", "crop", "stretch"]
CAP, KEEP = 224, 512


def common_size(
    sizes: Sequence[tuple[int, int]], wanted: int | tuple[int, int] | str | None = None
) -> tuple[int, int]:
    """The (H, W) that pictures of these sizes get; `wanted` overrides the rule ("stored": no resizing, sizes must agree).

    >>> common_size([(100, 200), (300, 600), (500, 900)])
    (112, 224)
    """
    if isinstance(wanted, str):
        if wanted != "stored":
            raise ValueError(
                f'size={wanted!r} is not known; expected a number of pixels, (height, width), or "stored"'
            )
        if len(set(sizes)) > 1:
            raise ValueError(
                f'size="stored" needs pictures of one size, but there are {len(set(sizes)):,}: {_shown(sizes)}'
            )
        return sizes[0]
    if wanted is not None:
        height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
        if height < 1 or width < 1:
            raise ValueError(f"size={wanted!r}: expected positive numbers of pixels")
        return int(height), int(width)
    if len(set(sizes)) == 1 and max(sizes[0]) <= KEEP:
        return sizes[0]
    height, width = np.median(np.array(sizes), axis=0)
    scale = min(1.0, CAP / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit_size(pixels: np.ndarray, size: tuple[int, int], resize: Resize) -> np.ndarray:
    """`pixels` [C, H, W] at `size` (H, W) by the rule; the same array where it has that size already."""
    if resize not in ("pad", "crop", "stretch"):
        raise ValueError(f'resize={resize!r} is not known; expected "pad", "crop" or "stretch"')
    height, width = pixels.shape[1:]
    if (height, width) == size:
        return pixels
    resized = _resampled(pixels, near_size((height, width), size, resize))
    return _padded(resized, size) if resize == "pad" else _middle(resized, size)


def near_size(shape: tuple[int, int], size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """The (H, W) that a picture of `shape` is resized to before it is padded or cut to `size`.

    >>> near_size((10, 20), (8, 8), "pad"), near_size((10, 20), (8, 8), "crop"), near_size((10, 20), (8, 8), "stretch")
    ((4, 8), (8, 16), (8, 8))
    """
    if resize == "stretch":
        return size
    scales = (size[0] / shape[0], size[1] / shape[1])
    scale = min(scales) if resize == "pad" else max(scales)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def fit_mask(mask: np.ndarray, size: tuple[int, int], resize: Resize, *, fill: int) -> np.ndarray:
    """A mask [H, W] of bytes at `size`, by the rule by which `fit_size` brings its picture there: nearest neighbour, and `fill` for what
    padding adds.

    >>> fit_mask(np.array([[1, 2]], np.uint8), (2, 2), "pad", fill=255).tolist()
    [[1, 2], [255, 255]]
    """
    near = near_size((mask.shape[0], mask.shape[1]), size, resize)
    return _placed(_nearest(mask, near), size, fill)


def unfit_mask(mask: np.ndarray, shape: tuple[int, int], resize: Resize, *, fill: int) -> np.ndarray:
    """The inverse of `fit_mask`: a mask [H, W] of a picture that was brought to its size, at the `shape` that the picture had; `fill` for
    what was cut off.

    >>> unfit_mask(np.array([[1, 2], [255, 255]], np.uint8), (1, 2), "pad", fill=255).tolist()
    [[1, 2]]
    """
    near = near_size(shape, (mask.shape[0], mask.shape[1]), resize)
    return _nearest(_placed(mask, near, fill), shape)


def fit_boxes(boxes: np.ndarray, shape: tuple[int, int], size: tuple[int, int], resize: Resize) -> np.ndarray:
    """Rows [m, 6] of boxes of a picture of this `shape` where `fit_size` brings it to `size` (both H, W); they may lie beyond the edges.

    >>> fit_boxes(np.array([[0.0, 0.0, 4.0, 2.0, 0, 0]]), (2, 4), (4, 4), "pad").tolist()
    [[0.0, 1.0, 4.0, 3.0, 0.0, 0.0]]
    """
    scale, first = _fitting(shape, size, resize)
    return np.concatenate([boxes[:, :4] * scale + first, boxes[:, 4:]], axis=1, dtype=boxes.dtype)


def unfit_boxes(
    boxes: np.ndarray, shape: tuple[int, int], size: tuple[int, int], resize: Resize
) -> np.ndarray:
    """The inverse of `fit_boxes`: rows [m, 6] in the pixels of a picture of this `shape` that was brought to `size`, cut at its edges.

    >>> unfit_boxes(np.array([[0.0, 0.0, 4.0, 3.0, 0, 0]]), (2, 4), (4, 4), "pad").tolist()
    [[0.0, 0.0, 4.0, 2.0, 0.0, 0.0]]
    """
    scale, first = _fitting(shape, size, resize)
    corners = np.clip((boxes[:, :4] - first) / scale, 0, np.array([shape[1], shape[0]] * 2))
    return np.concatenate([corners, boxes[:, 4:]], axis=1, dtype=boxes.dtype)


def _fitting(shape: tuple[int, int], size: tuple[int, int], resize: Resize) -> tuple[np.ndarray, np.ndarray]:
    """By what `fit_size` multiplies the corners (x0, y0, x1, y1) of a box, and what it then adds."""
    near = near_size(shape, size, resize)
    first = [
        (new - old) // 2 if new >= old else -((old - new) // 2) for old, new in zip(near, size, strict=True)
    ]
    return np.array([near[1] / shape[1], near[0] / shape[0]] * 2), np.array([first[1], first[0]] * 2)


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if mask.shape == size:
        return mask
    image = Image.fromarray(np.ascontiguousarray(mask))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST))


def _placed(mask: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """The middle of `mask` in the middle of an array of `size`, axis by axis as `_padded` and `_middle` do it."""
    for axis, (old, new) in enumerate(zip(mask.shape, size, strict=True)):
        if old > new:
            first = (old - new) // 2
            mask = mask.take(np.arange(first, first + new), axis)
        elif old < new:
            before = (new - old) // 2
            padding = [(0, 0), (0, 0)]
            padding[axis] = (before, new - old - before)
            mask = np.pad(mask, padding, constant_values=fill)
    return mask


def _resampled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if pixels.shape[1:] == size:
        return pixels
    eight_bit = pixels.dtype == np.uint8
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane if eight_bit else plane.astype(np.float32))).resize(
                (size[1], size[0]), Image.Resampling.BILINEAR
            )
        )
        for plane in pixels
    ]
    return _in_type(np.stack(planes), pixels.dtype)


def _in_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


def _padded(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    num, height, width = pixels.shape
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1).astype(
        np.float64
    )
    out = np.empty((num, *size), pixels.dtype)
    out[:] = _in_type(border.mean(1), pixels.dtype)[:, None, None]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    out[:, top : top + height, left : left + width] = pixels
    return out


def _middle(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = (pixels.shape[1] - size[0]) // 2, (pixels.shape[2] - size[1]) // 2
    return pixels[:, top : top + size[0], left : left + size[1]]


def _shown(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{h} × {w}" for h, w in sorted(set(sizes))[:5])
