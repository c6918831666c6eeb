"""Hostile files: pictures, arrays and tables that are cut, flipped, mis-typed, empty, or promise more than they hold.

Everything follows from the numbers of a generator, so that a case can be made again by its number alone.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import tifffile
from astropy.io import fits
from PIL import Image
from pyarrow import parquet

PICTURES = (
    "png",
    "jpg",
    "bmp",
    "gif",
    "webp",
    "tif",
    "pages.tif",
    "deep.tif",
    "fits",
    "fits.gz",
    "fits.fz",
    "npy",
)
ARRAYS = ("npz", "npy", "h5", "fits", "-idx3-ubyte", "-idx3-ubyte.gz")
TABLES = ("csv", "tsv", "parquet")


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> Any:
        return (open, (str(self.canary), "w"))


def damaged(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """`content` after one to three accidents; now and then it is left whole, and must be read."""
    if chance.random() < 0.03:
        return content
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(ACCIDENTS)(content, chance, others)
    return content


def _cut(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _flip(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 64))):
        if changed:
            # half of the flips near the beginning, where headers are
            place = chance.randrange(min(len(changed), 256) if chance.random() < 0.5 else len(changed))
            changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    start = chance.randrange(len(content) + 1)
    length = chance.choice((1, 4, 4, 8, 64, 1024))
    filling = chance.choice((b"\0", b"\xff", b"\x7f", b"9", b"-", None))
    new = chance.randbytes(length) if filling is None else filling * length
    return content[:start] + new + content[start + length :]


def _insert(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + chance.randbytes(chance.choice((1, 3, 100))) + content[start:]


def _remove(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + content[start + chance.choice((1, 3, 100)) :]


def _repeat(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    start = chance.randrange(len(content) + 1)
    piece = content[start : start + chance.choice((1, 16, 1000))]
    return content[:start] + piece * chance.choice((2, 50)) + content[start:]


def _mistype(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    return chance.choice(others)


def _splice(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _empty(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    return chance.choice((b"", b"\0", b"\n", b"\0" * 512, b"\xff\xfe", chance.randbytes(300)))


ACCIDENTS: tuple[Callable[[bytes, random.Random, list[bytes]], bytes], ...] = (
    _cut, _flip, _flip, _flip, _overwrite, _overwrite, _insert, _remove, _repeat, _mistype, _splice, _empty,
)  # fmt: skip


def picture(kind: str, pixels: np.ndarray) -> bytes:
    """A whole picture file of `pixels` [H, W] uint8."""
    out = io.BytesIO()
    if kind in ("png", "jpg", "bmp", "gif", "webp", "tif"):
        names = {"jpg": "JPEG", "tif": "TIFF"}
        Image.fromarray(pixels).save(out, format=names.get(kind, kind.upper()))
    elif kind == "pages.tif":
        tifffile.imwrite(out, np.stack([pixels] * 3), photometric="minisblack")
    elif kind == "deep.tif":
        tifffile.imwrite(out, pixels.astype(np.int16), compression="zlib")
    elif kind in ("fits", "fits.gz"):
        fits.HDUList(
            [fits.PrimaryHDU(), fits.ImageHDU(pixels.astype(np.int16)), fits.ImageHDU(pixels)]
        ).writeto(out)
    elif kind == "fits.fz":
        fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(pixels.astype(np.int16), compression_type="GZIP_1")]
        ).writeto(out)
    else:
        np.save(out, pixels)
    return gzip.compress(out.getvalue()) if kind == "fits.gz" else out.getvalue()


def giant_picture(kind: str, chance: random.Random) -> bytes:
    """A picture file that promises a giant."""
    height, width = chance.choice(
        ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (0, 7), (9000, 9000), (40_000, 2))
    )
    if kind == "png":
        header = struct.pack(
            ">IIBBBBB", width, height, chance.choice((8, 16)), chance.choice((0, 2, 3, 4, 6)), 0, 0, 0
        )
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks
        )
    if kind == "bmp":
        content = bytearray(picture("bmp", np.zeros((4, 4), np.uint8)))
        content[18:26] = struct.pack("<ii", min(width, 2**31 - 1), min(height, 2**31 - 1))
        return bytes(content)
    if kind == "gif":
        content = bytearray(picture("gif", np.zeros((4, 4), np.uint8)))
        content[6:10] = struct.pack("<HH", 65535, 65535)
        return bytes(content)
    if kind.endswith("tif"):
        content = picture(kind, np.zeros((4, 4), np.uint8))
        for tag in (256, 257, 278):  # width, height, rows a strip: type LONG, one value
            for form in ("<HHI", "<HHI"):
                for type_ in (3, 4):
                    old = struct.pack(form, tag, type_, 1)
                    place = content.find(old)
                    if place >= 0:
                        new = struct.pack("<HHII", tag, 4, 1, height if tag != 256 else width)
                        content = content[:place] + new + content[place + 12 :]
        return content
    if kind.startswith("fits"):
        lines = [
            "SIMPLE  =                    T",
            f"BITPIX  = {chance.choice((8, 16, -32, -64)):20d}",
            "NAXIS   =                    2",
            f"NAXIS1  = {width:20d}",
            f"NAXIS2  = {height:20d}",
            "END",
        ]
        content = "".join(line.ljust(80) for line in lines).ljust(2880).encode() + bytes(2880)
        return gzip.compress(content) if kind == "fits.gz" else content
    if kind == "npy":
        return npy_header((height, width), chance.choice(("|u1", "<f8", "<U9", "|O", "<c16", "|V0", "<U0")))
    return picture(kind, np.zeros((4, 4), np.uint8))[:-3]


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The beginning of a `.npy` file of this shape, and a few bytes."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def arrays(kind: str, x: np.ndarray, y: np.ndarray) -> bytes:
    """A whole file of arrays [N, H, W] with labels [N] (beside it for .npy and IDX)."""
    out = io.BytesIO()
    if kind == "npz":
        np.savez_compressed(out, x=x, y=y)
    elif kind == "npy":
        np.save(out, x)
    elif kind == "h5":
        with h5py.File(out, "w") as file:
            file.create_dataset("x", data=x, chunks=True, compression="gzip")
            file["y"] = y
    elif kind == "fits":
        table = fits.BinTableHDU.from_columns([fits.Column(name="label", format="K", array=y)])
        fits.HDUList([fits.PrimaryHDU(x.astype(np.int16)), table]).writeto(out)
    else:
        out.write(struct.pack(">BBBBIII", 0, 0, 8, 3, *x.shape) + x.tobytes())
    return gzip.compress(out.getvalue()) if kind.endswith(".gz") else out.getvalue()


def giant_arrays(kind: str, chance: random.Random, canary: Path, y: np.ndarray) -> bytes:
    """A file of arrays that promises a giant, unfolds to one, or holds Python objects."""
    out = io.BytesIO()
    shape = chance.choice(
        ((24, 10**6, 10**6), (10**12,), (2**62, 4), (24, 2**31, 0), (24, 60_000, 1_000), ())
    )
    if kind == "npz":
        choice = chance.randrange(4)
        if choice == 0:
            np.savez(out, x=np.array([Bomb(canary)] * 24, dtype=object), y=y)
        elif choice == 1:
            np.savez_compressed(out, x=np.zeros((24, 2500, 5000), np.uint8), y=y)  # 300 MB in 300 kB
        else:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(
                    "x.npy", npy_header(shape, chance.choice(("|u1", "<f8", "<U0", "<M8[s]", "|V0")))
                )
                archive.writestr(
                    chance.choice(("y.npy", "../y.npy", "/tmp/y.npy", "y.npy")), npy_header((24,), "<i8")
                )
    elif kind == "npy":
        if chance.random() < 0.3:
            np.save(out, np.array([Bomb(canary)] * 24, dtype=object), allow_pickle=True)
        else:
            out.write(npy_header(shape, chance.choice(("|u1", "<f8", "<U0", "|O"))))
    elif kind == "h5":
        with h5py.File(out, "w") as file:
            giant = chance.choice(
                ((10**9, 10**6), (24, 10**7, 10**5), (24, 0, 5), (2**40,), (24, 3000, 5000))
            )
            file.create_dataset(
                "x", shape=giant, dtype="f8", chunks=None if 0 in giant else tuple(min(n, 100) for n in giant)
            )
            file["y"] = y
    elif kind == "fits":
        return giant_picture("fits", chance)
    else:
        sizes = chance.choice(((2**32 - 1,) * 3, (24, 2**20, 2**20), (0, 0, 0), (24, 2, 2)))
        axes = chance.choice((3, 0, 1, 255, 40))
        content = struct.pack(">BBBBIII", 0, 0, chance.choice((8, 13, 14, 99)), axes, *sizes) + bytes(
            chance.choice((0, 96, 2000))
        )
        return gzip.compress(content) if kind.endswith(".gz") else content
    return out.getvalue()


def table(kind: str, names: list[str], chance: random.Random) -> bytes:
    """A table of pictures with strange cells."""
    strange = (
        "",
        "nan",
        "é",
        "\0",
        "../../etc/passwd",
        "/dev/zero",
        "x" * 5000,
        '"',
        "1e999",
        "-1",
        "9" * 400,
        "a/b",
        ".",
        "=1+1",
        "ünï",
        "٣",
    )
    rows = [[name, str(k % 2)] for k, name in enumerate(names)]
    for _ in range(chance.choice((0, 0, 1, 3))):
        rows[chance.randrange(len(rows))][chance.randrange(2)] = chance.choice(strange)
    header = ["path", "label"]
    extra = chance.choice((None, None, None, None, None, "weight", "group", "split"))
    if extra:
        header.append(extra)
        for k, row in enumerate(rows):
            row.append(chance.choice((str(k), "train", "test", "validation", *strange)))
    if chance.random() < 0.1:
        header = chance.choice(
            (["path", "path"], ["Path", "Label", "LABEL"], [], ["label"], ["pfad", "klasse"])
        )
    if kind == "parquet":
        out = io.BytesIO()
        columns = {
            name or "x": [row[k] if k < len(row) else "" for row in rows]
            for k, name in enumerate(header or ["path"])
        }
        parquet.write_table(pyarrow.table(columns), out)
        return out.getvalue()
    mark = "\t" if kind == "tsv" else chance.choice((",", ";"))
    text = "\n".join(mark.join(row) for row in [header, *rows])
    return text.encode(chance.choice(("utf-8", "utf-8", "utf-16", "latin-1")), "replace")
