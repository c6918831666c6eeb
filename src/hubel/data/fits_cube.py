"""A FITS cube: many pictures in one image HDU, their labels in a table HDU of the same file.

The cube is the first image HDU with three axes [N, H, W], four [N, C, H, W] or five [N, C, D, H, W] (NumPy's order, FITS's reversed). The table is the first with N rows
and the column of labels: `target`, or the one that the cube's header names in LABELCOL. Its columns group, split and weight are
used where they are. Values are BZERO + BSCALE × stored, as astropy gives them.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, missing_extra, nearest
from hubel.data.archives import StoredArrays, part_column
from hubel.data.images import bounded
from hubel.data.npz import UNFOLDS
from hubel.data.storage import fits as fits_in_memory
from hubel.data.storage import in_slices, room_for
from hubel.data.tables import COLUMNS


def read_fits_cube(path: Path, target: str = "label") -> StoredArrays:
    """The pictures and labels of a FITS cube; raises `ValueError` saying what the file holds instead."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise missing_extra("astropy", "science", "reading FITS files") from error
    try:
        with fits.open(path) as opened:
            units = list(bounded(opened))
            images = [
                u
                for u in units
                if isinstance(u, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU)
                and len(u.shape) in (3, 4, 5)
            ]
            tables = [
                u
                for u in units
                if isinstance(u, fits.BinTableHDU | fits.TableHDU) and not isinstance(u, fits.CompImageHDU)
            ]
            if not images:
                shapes = ", ".join(
                    f"{getattr(u, 'name', '') or 'HDU'} {getattr(u, 'shape', ())}" for u in units
                )
                raise ValueError(
                    f"{path} has no cube of pictures [N, H, W] or [N, C, H, W], or of volumes [N, C, D, H, W]; it has {shapes}"
                )
            cube: Any = images[0]
            if target == "label" and "LABELCOL" in cube.header:
                target = str(cube.header["LABELCOL"]).strip()
            bytes_each = abs(int(cube.header.get("ZBITPIX", cube.header["BITPIX"]))) // 8
            promised, held = math.prod(cube.shape) * bytes_each, path.stat().st_size
            if not fits_in_memory(promised) and promised > UNFOLDS * held:
                raise UnreadableData(
                    f"{path} says that it holds {cube.shape} values ({promised:,} bytes), but is {held:,} bytes long"
                )
            columns = _columns_with(tables, target, cube.shape[0], path)
            scaled = [
                f"{key} {cube.header[key]}"
                for key in ("BSCALE", "BZERO")
                if cube.header.get(key, key == "BSCALE") not in (0, 1, True, False)
            ]
            x = _native(cube.data)
    except (*DAMAGED_FITS, fits.VerifyError) as error:
        raise UnreadableData(f"{path} can not be read as FITS: {error or type(error).__name__}") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise UnreadableData(f"{path} can not be read as FITS: {error}") from error
    note = (
        (f"The stored FITS values were scaled as the header says ({', '.join(scaled)}).",) if scaled else ()
    )
    return StoredArrays(x=x, notes=note, **columns)


DAMAGED_FITS = (
    OSError,
    EOFError,
    zlib.error,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    struct.error,
)
"""What astropy raises for a file that was cut or changed."""


def _columns_with(tables: list[Any], target: str, num: int, path: Path) -> dict[str, Any]:
    there: list[str] = []
    for table in tables:
        names = {name.casefold(): name for name in table.columns.names}
        there += table.columns.names
        label = next((names[w] for w in (target.casefold(), *COLUMNS.get(target, ())) if w in names), None)
        if label is None:
            continue
        if len(table.data) != num:
            raise ValueError(
                f"{path} has {num:,} pictures, but the table with the column {label!r} has {len(table.data):,} rows"
            )
        found: dict[str, Any] = {"y": _plain(table.data[label])}
        for role, column in (("groups", "group"), ("weights", "weight"), ("part", "split")):
            if name := next((names[w] for w in COLUMNS[column] if w in names), None):
                found[role] = _plain(table.data[name])
        if "part" in found:
            found["part"] = part_column(found["part"].tolist(), f"{path}: the column split")
        return found
    raise ValueError(
        f"{path} has no table with a column {target!r} for its {num:,} pictures.{nearest(target, there)}"
    )


def _plain(column: Any) -> np.ndarray:
    values = np.array(column)
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype(np.str_))
    return values.astype(values.dtype.newbyteorder("="))


def _native(cube: np.ndarray) -> np.ndarray:
    """A copy in this machine's byte order that outlives the file."""
    whole = room_for(cube.shape, cube.dtype.newbyteorder("="))
    for rows in in_slices(cube):
        whole[rows] = cube[rows]
    return whole
