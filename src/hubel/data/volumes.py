"""One file becomes a volume [C, D, H, W] with the values that were stored: `.npy`, a FITS cube, a TIFF of many pages.

Arrays of three axes are [D, H, W] of one channel. Of four axes, FITS has [C, D, H, W] (NumPy's order), `.npy` the channels first or last by
the rule of `hubel.data.arrays`, TIFF says itself which axis is what; its pages are the depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import mapped_npy
from hubel.data.arrays import layout_of, rows_of, stored_values
from hubel.data.images import FITS, TIFF, fits_values, named, tiff_series


@dataclass(frozen=True, slots=True)
class VolumeHeader:
    """What a volume is: its shape (C, D, H, W) and the type of its values."""

    shape: tuple[int, ...]
    dtype: str


def look_volume(path: Path) -> VolumeHeader:
    """What a file holds; raises `UnreadableData` with the reason where it is no volume."""
    volume = decode_volume(path)
    return VolumeHeader(tuple(int(n) for n in volume.shape), volume.dtype.name)


def decode_volume(path: Path) -> np.ndarray:
    """The volume [C, D, H, W] of a file (of `.npy` mapped, not read); raises `UnreadableData` with the reason."""
    with named(path):
        name = path.name.lower()
        if name.endswith(".npy"):
            return _of_npy(path)
        if name.endswith(FITS):
            values = fits_values(path)
            if values.ndim not in (3, 4):
                raise ValueError(
                    f"its array has the shape {values.shape}; expected a volume [D, H, W] or [C, D, H, W]"
                )
            return stored_values(values if values.ndim == 4 else values[None], "it")[0]
        if name.endswith(TIFF):
            return _of_tiff(path)
        raise ValueError("it is no volume; expected .npy, a FITS cube or a TIFF of many pages")


def volume_like(path: Path, reading: Mapping[str, Any]) -> np.ndarray:
    """The volume of a file, of the shape and type of `reading`; raises `UnreadableData` where it has another."""
    volume = decode_volume(path)
    if list(volume.shape) != list(reading["shape"]):
        received, expected = (" × ".join(map(str, shape)) for shape in (volume.shape, reading["shape"]))
        raise UnreadableData(f"it is {received} (channels × depth × rows × columns), expected {expected}")
    if volume.dtype.name != reading["dtype"]:
        raise UnreadableData(f"its values are {volume.dtype.name}, expected {reading['dtype']}")
    return np.asarray(volume)


def _of_npy(path: Path) -> np.ndarray:
    values = mapped_npy(path)
    if values.ndim not in (3, 4):
        raise ValueError(f"it has the shape {values.shape}; expected [D, H, W], [C, D, H, W] or [D, H, W, C]")
    values, _ = stored_values(values[None], "it")
    return rows_of(values, layout_of(values.shape, kind="volumes"))[0]


def _of_tiff(path: Path) -> np.ndarray:
    series = tiff_series(path)
    values, axes = series.values, series.axes
    channels = [k for k, letter in enumerate(axes) if letter in "CS"]
    depth = [k for k, letter in enumerate(axes) if letter not in "CSYX"]
    if len(depth) != 1 or len(channels) > 1 or "Y" not in axes or "X" not in axes:
        raise ValueError(
            f"it has the axes {axes} {values.shape}; expected pages (the depth), rows and columns, and at most one axis of channels"
        )
    order = [*channels, *depth, axes.index("Y"), axes.index("X")]
    values = values.transpose(order)
    return stored_values(values if channels else values[None], "it")[0]
