"""From files to rows: decided once from all training files, written down, repeated for every new file.

The decision (a `reading`, a plain mapping kept in `Dataset.reading` and in the run folder) holds the channels, the conversion, the stored type,
the size and the rule of resizing. Loading and prediction call the same `row_of`, so the same file gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.images import GREY, GREY_ALPHA, RGB, RGBA, Header, decode, numbered
from hubel.data.sizes import Resize, common_size, fit_size
from hubel.data.tiles import cut_pixels, mean_of
from hubel.data.volumes import VolumeHeader, volume_like

Convert = Literal["rgb", "grey"]
Progress = Callable[[int, int], None]
_CONVERTING = {RGB: 'channels="rgb" converts it', GREY: 'channels="grey" converts it'}
_CONVERTIBLE = (GREY, GREY_ALPHA, RGB, RGBA)


def plan_reading(
    paths: Sequence[str],
    headers: Sequence[Header],
    *,
    size: int | tuple[int, int] | str | None = None,
    resize: Resize = "pad",
    convert: Convert | None = None,
    nan: str = "refuse",
) -> dict[str, Any]:
    """The reading that all these pictures share.

    Raises `ValueError` where their channels or types differ, with the number and examples of each.
    """
    if convert not in (None, "rgb", "grey"):
        raise ValueError(f'channels={convert!r} is not known for pictures; expected "rgb" or "grey"')
    if resize not in ("pad", "crop", "stretch"):
        raise ValueError(f'resize={resize!r} is not known; expected "pad", "crop" or "stretch"')
    if nan not in ("refuse", "zero"):
        raise ValueError(f'nan={nan!r} is not known; expected "refuse" or "zero"')
    channels = [_converted_names(h.channels, convert) for h in headers]
    remedy = 'Say channels="rgb" or channels="grey" (--channels) to convert them all, or make them alike'
    if any(names not in _CONVERTIBLE for names in channels):
        remedy = "Make them alike"
    all_equal(paths, [f"{'+'.join(names)} ({len(names)})" for names in channels], "channels", remedy)
    all_equal(
        paths,
        [h.dtype for h in headers],
        "value types",
        "Convert them to one type: the scale of the values may differ too",
    )
    height, width = common_size([(h.height, h.width) for h in headers], size)
    return {
        "kind": "images",
        "shape": [len(channels[0]), height, width],
        "dtype": headers[0].dtype,
        "channels": list(channels[0]),
        "convert": convert,
        "size": [height, width],
        "resize": resize,
        "nan": nan,
    }


def reading_again(reading: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The `reading` of other data with what `options` (size, resize, channels, nan) give in its place.

    >>> reading_again({"shape": [1, 8, 8], "size": [8, 8], "resize": "pad"}, {"size": 16})
    {'shape': [1, 16, 16], 'size': [16, 16], 'resize': 'pad'}
    """
    changed = dict(reading)
    if (size := options.get("size")) is not None:
        if isinstance(size, str):
            raise ValueError(
                f"size={size!r} can not be combined with the reading of other data; give the number of pixels"
            )
        height, width = common_size([], size)
        changed |= {"size": [height, width], "shape": [reading["shape"][0], height, width]}
    if (convert := options.get("channels")) is not None:
        if convert not in ("rgb", "grey"):
            raise ValueError(f'channels={convert!r} is not known for pictures; expected "rgb" or "grey"')
        channels = RGB if convert == "rgb" else GREY
        changed |= {
            "convert": convert,
            "channels": list(channels),
            "shape": [len(channels), *changed["shape"][1:]],
        }
    return changed | {name: options[name] for name in ("resize", "nan") if name in options}


def converting(reading: Mapping[str, Any], channels: Convert | None) -> Mapping[str, Any]:
    """The `reading` under which pictures of other channels are converted to those that it has.

    Raises `ValueError` where these are not the `channels` that were named, or no pictures are read.

    >>> grey = {"kind": "images", "channels": ["grey"], "convert": None}
    >>> converting(grey, "grey")["convert"]
    'grey'
    """
    if channels is None:
        return reading
    if channels not in ("rgb", "grey"):
        raise ValueError(f'channels={channels!r} is not known for pictures; expected "rgb" or "grey"')
    has = tuple(reading.get("channels") or ())
    if has != (RGB if channels == "rgb" else GREY):
        said = f"pictures with the channels {'+'.join(has)}" if has else "no files of pictures"
        raise ValueError(
            f"channels={channels!r} was given, but the network was fitted to {said}: leave channels out"
        )
    return {**reading, "convert": channels}


def row_of(path: Path, reading: Mapping[str, Any]) -> np.ndarray:
    """The row [C, H, W] of an image file, or [C, D, H, W] of a volume; raises `UnreadableData` with the reason (the caller names the file).

    A grey picture is read where RGB is expected, its values in each of the three: so it is the same picture. Other conversions lose
    something, and are made only where the reading says so.
    """
    if reading["kind"] == "volumes":
        return finite_or_zero(volume_like(path, reading), reading["nan"])
    pixels, size = pixels_of(path, reading), tuple(reading["size"])
    if reading.get("boxes") is None or reading["boxes"]["resized"]:
        return fit_size(pixels, size, reading["resize"])
    if pixels.shape[1] > size[0] or pixels.shape[2] > size[1]:
        raise UnreadableData(
            f"it has {pixels.shape[1]} × {pixels.shape[2]} pixels, more than the tiles of {size[0]} × {size[1]} that were learned from: cut it into tiles"
        )
    return cut_pixels(pixels, (0, 0), size, mean_of(pixels))


def pixels_of(path: Path, reading: Mapping[str, Any]) -> np.ndarray:
    """The values [C, H, W] of an image file in the channels and the type of a reading, at the size that it has; raises `UnreadableData` as
    `row_of` does.
    """
    pixels, channels = decode(path)
    expected = reading["channels"]
    convert = reading["convert"]
    if convert is None and expected is not None and tuple(expected) == RGB and channels == GREY:
        convert = "rgb"  # the same picture: red, green and blue alike
    pixels = _converted(pixels, channels, convert)
    names = _converted_names(channels, convert)
    if len(pixels) != reading["shape"][0] or (
        expected is not None and tuple(expected) != names and _colour(expected) and _colour(names)
    ):
        said = "+".join(expected) if expected is not None else f"{reading['shape'][0]} channels"
        remedy = (
            f"; {_CONVERTING[tuple(expected)]}"
            if expected is not None and tuple(expected) in _CONVERTING and _colour(names)
            else ""
        )
        raise UnreadableData(f"it has the channels {'+'.join(names)}, expected {said}{remedy}")
    if pixels.dtype.name != reading["dtype"]:
        raise UnreadableData(
            f"its values are {pixels.dtype.name}, expected {reading['dtype']}, as the training data have: save it as those were"
        )
    return finite_or_zero(pixels, reading["nan"])


def finite_or_zero(values: np.ndarray, nan: str) -> np.ndarray:
    """`values` without NaN and infinite ones: refused, or set to zero."""
    if values.dtype.kind != "f" or (finite := np.isfinite(values)).all():
        return values
    if nan == "refuse":
        raise UnreadableData(
            f'{values.size - finite.sum():,} of its values are NaN or infinite (nan="zero" sets them to zero)'
        )
    return np.where(finite, values, values.dtype.type(0))


def plan_volumes(
    paths: Sequence[str], headers: Sequence[VolumeHeader], *, nan: str = "refuse"
) -> dict[str, Any]:
    """The reading that all these volumes share. Raises `ValueError` where their shapes or types differ."""
    if nan not in ("refuse", "zero"):
        raise ValueError(f'nan={nan!r} is not known; expected "refuse" or "zero"')
    shapes = [" × ".join(map(str, h.shape)) for h in headers]
    remedy = (
        "Resample them to one shape first (scipy.ndimage.zoom), or cut them: volumes are not resized here"
    )
    all_equal(paths, shapes, "shapes (channels × depth × rows × columns)", remedy, of="volumes")
    remedy = "Convert them to one type: the scale of the values may differ too"
    all_equal(paths, [h.dtype for h in headers], "value types", remedy, of="volumes")
    return {
        "kind": "volumes",
        "shape": list(headers[0].shape),
        "dtype": headers[0].dtype,
        "channels": list(numbered(headers[0].shape[0])),
        "nan": nan,
    }


def sizes_note(headers: Sequence[Header], reading: Mapping[str, Any]) -> tuple[str, ...]:
    """What was done to the sizes, in a sentence; nothing where nothing was done."""
    height, width = reading["size"]
    sizes = np.array([(h.height, h.width) for h in headers])
    changed = int((sizes != (height, width)).any(1).sum())
    if not changed:
        return ()
    how = {
        "pad": "keeping their aspect and padding with the mean of their border",
        "crop": "keeping their aspect and cutting out the middle",
        "stretch": "without keeping their aspect",
    }[reading["resize"]]
    low, high = sizes.min(0), sizes.max(0)
    return (
        f"{changed:,} of {len(sizes):,} pictures ({low[0]} to {high[0]} rows, {low[1]} to {high[1]} columns) were resized to {height} × {width}, {how}.",
    )


def _colour(names: Sequence[str]) -> bool:
    return tuple(names) in _CONVERTIBLE


def all_equal(
    paths: Sequence[str], values: Sequence[str], what: str, remedy: str, *, of: str = "pictures"
) -> None:
    """Refuse files that differ in `what`, with the number and examples of each kind."""
    kinds: dict[str, list[int]] = {}
    for k, value in enumerate(values):
        kinds.setdefault(value, []).append(k)
    if len(kinds) < 2:
        return
    told = [
        f"{len(rows):,} {value}: {', '.join(paths[k] for k in rows[:3])}{' …' if len(rows) > 3 else ''}"
        for value, rows in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
    raise ValueError(f"the {of} have different {what}: {'; '.join(told)}. {remedy}")


def _converted_names(channels: tuple[str, ...], convert: str | None) -> tuple[str, ...]:
    if convert is None or channels not in _CONVERTIBLE:
        return channels
    return RGB if convert == "rgb" else GREY


def _converted(pixels: np.ndarray, channels: tuple[str, ...], convert: str | None) -> np.ndarray:
    """Explicit conversion: alpha is dropped; grey is repeated; colour becomes 0.299 R + 0.587 G + 0.114 B (as Pillow does it)."""
    if convert is None or channels not in _CONVERTIBLE:
        return pixels
    colours = pixels[:-1] if channels in (GREY_ALPHA, RGBA) else pixels
    if convert == "rgb":
        return np.repeat(colours, 3, axis=0) if len(colours) == 1 else colours
    if len(colours) == 1:
        return colours
    if pixels.dtype.kind in "iu":
        red, green, blue = colours.astype(np.int64)
        return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(pixels.dtype)[None]
    red, green, blue = colours
    return (0.299 * red + 0.587 * green + 0.114 * blue).astype(pixels.dtype)[None]
