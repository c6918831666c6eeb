"""The arrays of a `.npz` file, read with what the file holds in view and not what it promises.

A header may claim any shape, and a compressed member may unfold to a thousand times its size. So the promised bytes are compared
with those that the archive holds before room is made for them; what does not fit in memory goes to a mapped file; and what would
not fit and unfolds more than 200-fold is refused.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.storage import fits, room_for

UNFOLDS = 200
PIECE = 2**20
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Npz:
    """An open `.npz` archive: `files` are the names of its arrays, `archive[name]` reads one."""

    def __init__(self, archive: zipfile.ZipFile, path: Path):
        self.archive, self.path = archive, path
        self.members = {
            entry.filename.removesuffix(".npy"): entry
            for entry in archive.infolist()
            if entry.filename.endswith(".npy")
        }

    @property
    def files(self) -> list[str]:
        """The names of the arrays, in the order of the file."""
        return list(self.members)

    def __getitem__(self, name: str) -> np.ndarray:
        """The array `name`. Raises `ValueError` for Python objects, `UnreadableData` for what is damaged or a bomb."""
        entry = self.members[name]
        with self.archive.open(entry) as stream:
            shape, turned, dtype = header_of(stream)
            promised = math.prod(shape) * dtype.itemsize
            held = entry.file_size - stream.tell()
            where = f"{self.path}: {name}"
            if promised != held:
                raise UnreadableData(
                    f"{where} says that it holds {shape} values of {dtype} ({promised:,} bytes), but {held:,} bytes follow"
                )
            if not fits(promised) and promised > UNFOLDS * entry.compress_size:
                raise UnreadableData(
                    f"{where} unfolds from {entry.compress_size:,} to {promised:,} bytes, more than fit in memory: refused as a possible "
                    "decompression bomb. If it is what it should be, store it uncompressed: np.savez, or np.save"
                )
            whole = room_for(shape[::-1] if turned else shape, dtype)
            _fill(whole, stream, where)
        return whole.T if turned else whole


def header_of(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of an array in `.npy` format. Raises `ValueError` for anything but numbers and text."""
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its format is {version}; expected an array of numbers or of text")
    try:
        shape, turned, dtype = HEADERS[version](stream)
    except (
        tokenize.TokenError,
        SyntaxError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if dtype.hasobject:
        raise ValueError("an array of Python objects, with allow_pickle=False")
    if (
        dtype.kind not in "biufcSUmM"
        or (dtype.itemsize == 0 and math.prod(shape))
        or min(shape, default=0) < 0
    ):
        raise ValueError(f"its values are {shape} of type {dtype}; expected numbers or text")
    return shape, turned, dtype


def _fill(whole: np.ndarray, stream: Any, where: str) -> None:
    """Read the bytes of `whole` piece by piece; the last one is checked by the archive's own checksum."""
    room = whole.reshape(-1).view(np.uint8).data if whole.nbytes else memoryview(b"")
    done = 0
    while done < len(room):
        count = stream.readinto(room[done : done + PIECE])
        if not count:
            raise UnreadableData(f"{where} is cut off after {done:,} of {len(room):,} bytes")
        done += count
    stream.read(1)
