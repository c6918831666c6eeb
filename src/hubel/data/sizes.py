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
    if resize == "stretch":
        return _resampled(pixels, size)
    scales = (size[0] / height, size[1] / width)
    scale = min(scales) if resize == "pad" else max(scales)
    near = (max(1, round(height * scale)), max(1, round(width * scale)))
    resized = _resampled(pixels, near)
    return _padded(resized, size) if resize == "pad" else _middle(resized, size)


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
