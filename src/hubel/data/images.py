"""One image file becomes an array [C, H, W] with the values that were stored.

8-bit pictures stay uint8, 16-bit ones uint16, floating point stays floating point. EXIF orientation is undone (the picture stands as
a viewer shows it). Greyscale of 1, 2 or 4 bits is spread over 0 … 255, as PNG defines it; palettes are replaced by their colours.
TIFF pages of one shape are channels; pages that are colour pictures themselves, or of different shapes, are refused. FITS values are
BZERO + BSCALE × stored, exactly as astropy gives them; of a FITS file with several pictures the first is read, which is noted.
Refused, with a reason: animations, CMYK, pictures beyond Pillow's MAX_IMAGE_PIXELS.
"""

from __future__ import annotations

import errno
import logging
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import MissingExtra, UnreadableData, missing_extra
from hubel.data.archives import mapped_npy
from hubel.data.arrays import layout_of, rows_of, stored_values
from hubel.data.storage import fits as fits_in_memory

PILLOW = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif")
TIFF = (".tif", ".tiff")
MOST_HDUS = 2_000
FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")
SUFFIXES = (*PILLOW, *TIFF, *FITS, ".npy")

GREY, RGB, RGBA, GREY_ALPHA = (
    ("grey",),
    ("red", "green", "blue"),
    ("red", "green", "blue", "alpha"),
    ("grey", "alpha"),
)
_COMPRESSIONS_OF_TIFFFILE = (1, 8, 32773, 32946)  # none, deflate, PackBits: without imagecodecs
_CHANNELS_OF_MODE = {
    "1": GREY,
    "L": GREY,
    "I;16": GREY,
    "I": GREY,
    "F": GREY,
    "RGB": RGB,
    "RGBA": RGBA,
    "LA": GREY_ALPHA,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What can be known of a picture without decoding it."""

    height: int
    width: int
    channels: tuple[str, ...]
    dtype: str
    passed_over: str = ""  # pictures in the file beside the one that is read


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file that hubel reads."""
    return path.name.lower().endswith(SUFFIXES)


def look(path: Path) -> Header:
    """The header of an image file; raises `UnreadableData` with the reason where there is none to read."""
    with named(path):
        name = path.name.lower()
        if name.endswith(PILLOW):
            return _look_pillow(path)
        if name.endswith(TIFF) and (header := _look_plain_tiff(path)) is not None:
            return header
        pixels, channels = _decode(path)
        others = ", ".join(_fits_pictures(path)[1:]) if name.endswith(FITS) else ""
        return Header(pixels.shape[1], pixels.shape[2], channels, pixels.dtype.name, others)


def decode(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values [C, H, W] of an image file and the names of its channels; raises `UnreadableData` with the reason."""
    with named(path):
        pixels, channels = _decode(path)
        if 0 in pixels.shape:
            raise ValueError(f"it is empty: {pixels.shape[1]} × {pixels.shape[2]} pixels")
        return pixels, channels


@contextmanager
def strict_libraries() -> Iterator[None]:
    """Inside, decompression bombs are errors and the other warnings of image libraries are not shown (in every thread)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from PIL import Image

        warnings.simplefilter("error", Image.DecompressionBombWarning)
        logger = logging.getLogger("tifffile")  # prints what it then raises, or what is refused here
        before, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = before


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, whatever a library raises is `UnreadableData` with the reason; the caller names the file."""
    try:
        yield
    except MissingExtra:
        raise
    except MemoryError as error:
        raise MemoryError(f"{path} could not be read: memory did not suffice") from error
    except Exception as error:  # the libraries raise nearly every type for a damaged file
        reason = str(error) or type(error).__name__
        if (
            isinstance(error, OSError) and error.errno == errno.EINVAL
        ):  # a place outside the file was asked for
            reason = "it is damaged: it promises more than it holds"
        if type(error).__name__.startswith("DecompressionBomb"):
            reason = f"{reason.split(' (')[0]}, refused as a possible decompression bomb; cut it up or raise PIL.Image.MAX_IMAGE_PIXELS"
        raise UnreadableData(reason.replace(str(path), path.name)) from error


def _decode(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    name = path.name.lower()
    if name.endswith(FITS):
        return _fits(path)
    if name.endswith(TIFF):
        return _with_pillow(path) if _look_plain_tiff(path) is not None else _with_tifffile(path)
    if name.endswith(".npy"):
        return _npy(path)
    return _with_pillow(path)


def _look_pillow(path: Path) -> Header:
    from PIL import Image

    with Image.open(path) as image:
        mode = _mode(image)
        width, height = image.size
        orientation = image.getexif().get(0x0112, 1) if image.format != "PNG" or "exif" in image.info else 1
        if orientation in (5, 6, 7, 8) and image.format != "TIFF":  # Pillow turns TIFF by itself
            width, height = height, width
        return Header(height, width, _CHANNELS_OF_MODE[mode], _type_of(image, mode))


def _mode(image: Any) -> str:
    """The Pillow mode in which the image is read, or the refusal."""
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photograph with a preview
        raise ValueError(f"it is an animation of {image.n_frames} frames; save one of them as a picture")
    if image.mode in ("P", "PA"):
        return "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB"
    if image.mode in ("CMYK", "YCCK"):
        raise ValueError(
            "its colours are CMYK, which need the printer's profile; convert it to RGB (magick in.jpg -colorspace sRGB out.png)"
        )
    if image.format == "PNG" and image.tile and str(image.tile[0][3]) == "LA;16B":
        raise ValueError("it is 16-bit greyscale with transparency; save it without the alpha channel")
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in _CHANNELS_OF_MODE:
        raise ValueError(f"its pixels are of kind {image.mode}; expected greyscale, RGB or RGBA")
    return mode


def _type_of(image: Any, mode: str) -> str:
    if mode == "I" and image.format == "PNG":  # older Pillow
        return "uint16"
    if _is_16_bit_colour(image):
        return "uint16"
    return {"I;16": "uint16", "I": "int32", "F": "float32"}.get(mode, "uint8")


def _is_16_bit_colour(image: Any) -> bool:
    return image.format == "PNG" and bool(image.tile) and str(image.tile[0][3]) in ("RGB;16B", "RGBA;16B")


def _with_pillow(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        mode = _mode(image)
        dtype = _type_of(image, mode)
        if _is_16_bit_colour(image):
            return _png_16_bit_colour(path, mode)
        if mode not in (image.mode, "I;16"):
            pixels = image.convert(mode)
        elif mode == "1":
            pixels = image.convert("L")
        else:
            image.load()
            pixels = image
        pixels = np.asarray(ImageOps.exif_transpose(pixels))
    return _channels_first(pixels).astype(dtype, copy=False), _CHANNELS_OF_MODE[mode]


def _png_16_bit_colour(path: Path, mode: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pillow reads only the high byte of 16-bit colour. Read as little-endian, the same file gives the low byte."""
    from PIL import Image, ImageOps

    halves = []
    for rawmode in (f"{mode};16B", f"{mode};16L"):
        with Image.open(path) as image:
            image.tile = [(*tile[:3], rawmode) for tile in image.tile]  # type: ignore[assignment]
            image.load()
            halves.append(np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16))
    return _channels_first(halves[0] << 8 | halves[1]), _CHANNELS_OF_MODE[mode]


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _look_plain_tiff(path: Path) -> Header | None:
    """The header of a TIFF that Pillow reads without loss; None for the others, which are for tifffile."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if not _is_plain(image):
                return None
        return _look_pillow(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception:  # Pillow does not know this kind of TIFF: tifffile may
        return None


def _is_plain(image: Any) -> bool:
    """One page of 8-bit grey, palette or colour, or of 16-bit or floating-point grey."""
    tags = image.tag_v2
    bits, samples = set(tags.get(258, (1,))), tags.get(277, 1)
    if getattr(image, "n_frames", 1) != 1 or samples != {"RGB": 3, "RGBA": 4}.get(image.mode, 1):
        return False
    if tags.get(274, 1) >= 5 and tags.get(259, 1) in _COMPRESSIONS_OF_TIFFFILE:
        return False  # Pillow 13 scrambles the rows of uncompressed TIFF when it turns them
    if image.mode in ("1", "L", "P", "RGB", "RGBA"):
        return bits <= {1, 8}
    return image.mode == "F" or (image.mode in ("I;16", "I;16B") and bits == {16})


def _with_tifffile(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    series = tiff_series(path)
    pixels, axes = series.values, series.axes
    others = [k for k, letter in enumerate(axes) if letter not in "YX"]
    if len(others) > 1 or "Y" not in axes or "X" not in axes:
        raise ValueError(
            f"it has the axes {axes} {pixels.shape}; expected rows, columns and at most one axis of channels"
        )
    pixels = np.moveaxis(pixels, others[0], 0) if others else pixels[None]
    pixels, _ = stored_values(_oriented(pixels, series.orientation), "it")
    colours = series.is_colour and len(pixels) in (3, 4)
    return pixels, (RGB if len(pixels) == 3 else RGBA) if colours else numbered(len(pixels))


@dataclass(frozen=True, slots=True)
class TiffSeries:
    """The one array in a TIFF, and the meaning of its axes in letters (Y rows, X columns, Z depth, C or S channels, others)."""

    values: np.ndarray
    axes: str
    is_colour: bool
    orientation: int


def tiff_series(path: Path) -> TiffSeries:
    """The array of a TIFF without its axes of length 1; refused where there are several, or the file is not whole."""
    try:
        import tifffile
    except ImportError as error:
        raise missing_extra(
            "tifffile", "science", f"reading {path.name} (TIFF beyond 8-bit or with several pages)"
        ) from error
    with tifffile.TiffFile(path) as tiff:
        _refuse_lost_pages(tiff)
        if len(tiff.series) != 1:
            shapes = ", ".join(str(series.shape) for series in tiff.series[:5])
            raise ValueError(
                f"it holds {len(tiff.series)} separate pictures ({shapes}); expected one picture, its pages being channels"
            )
        series = tiff.series[0]
        plane = tuple(n for letter, n in zip(series.axes, series.shape, strict=True) if letter in "YX")
        _refuse_bomb((math.prod(series.shape) // max(1, math.prod(plane)), *plane), series.dtype.itemsize)
        page: Any = series.pages[0]
        photometric, orientation = int(page.photometric), int(page.tags.valueof(274, default=1))
        values, axes = series.asarray(), series.axes
    if photometric not in (0, 1, 2):
        raise ValueError(f"its colours are of kind {page.photometric.name}; convert it to RGB")
    for axis in [
        k
        for k, (letter, n) in enumerate(zip(axes, values.shape, strict=True))
        if n == 1 and letter not in "YX"
    ][::-1]:
        values, axes = values.squeeze(axis), axes[:axis] + axes[axis + 1 :]
    return TiffSeries(values, axes, photometric == 2, orientation)


def _refuse_lost_pages(tiff: Any) -> None:
    """Refuse what tifffile passes over in silence: a chain of pages that leads out of a truncated file."""
    num_pages, form, file = len(tiff.pages), tiff.tiff, tiff.filehandle
    if num_pages == 0:
        raise ValueError("it has no page")
    file.seek(tiff.pages[num_pages - 1].offset)
    (num_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(num_tags * form.tagsize, 1)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    if following != 0:
        raise ValueError(f"it is truncated: after {num_pages} pages the next one is not there")


def _oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[C, H, W] turned as the EXIF orientation 1 … 8 says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels[:, :, ::-1] if orientation in (2, 3, 6, 7) else pixels


def numbered(num: int) -> tuple[str, ...]:
    """Names for channels that have none."""
    return GREY if num == 1 else tuple(f"channel {k + 1}" for k in range(num))


def _fits(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    pixels = fits_values(path, axes=(2, 3))
    pixels, _ = stored_values(pixels if pixels.ndim == 3 else pixels[None], "it")
    return pixels, numbered(len(pixels))


def fits_values(path: Path, axes: tuple[int, ...] = (2, 3, 4)) -> np.ndarray:
    """The first array with two or more axes in a FITS file; refused where it has another number of `axes`, or is a giant."""
    with _opened_fits(path) as units:
        unit: Any = next(_pictures_of(units), None)
        if unit is None:
            raise ValueError("it has no HDU with a picture")
        if len(unit.shape) not in axes:
            raise ValueError(f"its picture has the shape {unit.shape}; expected [H, W] or [C, H, W]")
        _refuse_bomb(unit.shape, abs(int(unit.header.get("ZBITPIX", unit.header["BITPIX"]))) // 8)
        return np.asarray(unit.data)


def _fits_pictures(path: Path) -> list[str]:
    """The names of the HDUs with a picture."""
    with _opened_fits(path) as units:
        return [f"{unit.name or 'HDU'} {' × '.join(map(str, unit.shape))}" for unit in _pictures_of(units)]


@contextmanager
def _opened_fits(path: Path) -> Iterator[Any]:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise missing_extra("astropy", "science", f"reading {path.name}") from error
    with fits.open(path, memmap=False) as units:
        yield units


def _pictures_of(units: Any) -> Iterator[Any]:
    from astropy.io import fits

    kinds = fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU
    return (unit for unit in bounded(units) if isinstance(unit, kinds) and len(unit.shape) >= 2)


def bounded(units: Any) -> Iterator[Any]:
    """The HDUs of a FITS file; in a damaged one they may have no end. Raises `ValueError` where there are too many."""
    for number, unit in enumerate(units):
        if number == MOST_HDUS:
            raise ValueError(f"it has more than {MOST_HDUS:,} HDUs")
        yield unit


def _refuse_bomb(shape: tuple[int, ...], bytes_each: int) -> None:
    """Raise where a picture [..., H, W] has more pixels than Pillow would read, or more channels of them than fit in memory."""
    from PIL import Image

    num = math.prod(shape[-2:])
    if Image.MAX_IMAGE_PIXELS is not None and num > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(
            f"Image size ({num} pixels) exceeds limit of {Image.MAX_IMAGE_PIXELS} pixels"
        )
    if not fits_in_memory(math.prod(shape) * bytes_each):
        raise ValueError(f"it says that it is {' × '.join(map(str, shape))}, which does not fit in memory")


def _npy(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    pixels = np.array(mapped_npy(path))
    if pixels.ndim not in (2, 3):
        raise ValueError(f"it has the shape {pixels.shape}; expected [H, W], [H, W, C] or [C, H, W]")
    pixels, _ = stored_values(pixels, "it")
    pixels = rows_of(pixels[None], layout_of((1, *pixels.shape)))[0]
    return pixels, numbered(len(pixels))
