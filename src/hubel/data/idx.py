"""IDX files, the format in which MNIST was published: plain or gzipped, big-endian, one array a file.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, section "The IDX file format": two zero bytes, a
type byte, the number of axes, each axis as a 32-bit integer, the values.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import StoredArrays, part_of
from hubel.data.storage import SHARE, free_memory

PIECE = 2**22
MOST_AXES = 32
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array in an IDX file's uncompressed content, in this machine's byte order.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]), "two").tolist()
    [5, 7]
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise UnreadableData(f"{name} is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    dtype, num_axes = np.dtype(TYPES[content[2]]), content[3]
    if not 1 <= num_axes <= MOST_AXES:
        raise UnreadableData(f"{name} says that it has {num_axes} axes; expected 1 to {MOST_AXES}")
    start = 4 + 4 * num_axes
    if len(content) < start:
        raise UnreadableData(f"{name} is truncated inside its header")
    shape = tuple(int.from_bytes(content[4 + 4 * k : 8 + 4 * k], "big") for k in range(num_axes))
    expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) - start != expected:
        raise UnreadableData(
            f"{name} says that it holds {shape} values ({expected:,} bytes), but {len(content) - start:,} bytes follow"
        )
    return (
        np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    )


def uncompressed(path: Path) -> bytes:
    """A file's content; gzip is undone where the name ends in `.gz`, as far as memory allows.

    Raises `UnreadableData` where the file is damaged, or unfolds to more than fits in memory.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    most = int(SHARE * free_memory())
    content = bytearray()
    try:
        with gzip.open(path) as file:
            while piece := file.read(PIECE):
                content += piece
                if len(content) > most:
                    raise UnreadableData(
                        f"{path} unfolds from {path.stat().st_size:,} to more than {most:,} bytes, which do not fit in memory"
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableData(f"{path} is truncated or damaged: {error}") from error
    return bytes(content)


def is_idx(path: Path) -> bool:
    """Whether the name is that of an IDX file (`…-idx3-ubyte`, `.idx`, `….gz`)."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(("-ubyte", ".idx")) or ".idx" in name or "-idx" in name


def labels_beside(images: Path) -> Path | None:
    """The file of labels that belongs to a file of images: "images" becomes "labels", idx3 becomes idx1, gzipped or not."""
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for candidate in (name, name + ".gz"):
        if candidate != images.name and images.with_name(candidate).is_file():
            return images.with_name(candidate)
    return None


def read_idx(source: Path, target: str | None = "label") -> StoredArrays:
    """IDX images with their labels: one file of images, or a folder of them (train-…, validation-…, t10k-… or test-…); without a `target`
    labels may be missing, and are left out unless all images have one.
    """
    files = (
        [source]
        if source.is_file()
        else sorted(f for f in source.iterdir() if is_idx(f) and "images" in f.name)
    )
    plain = {f.name.removesuffix(".gz"): f for f in files}  # the same file plain and gzipped counts once
    pieces: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for file in plain.values():
        labels = labels_beside(file)
        if labels is None and target is not None:
            expected = file.name.replace("images", "labels").replace("idx3", "idx1")
            raise ValueError(
                f'{file} has no labels beside it; expected {expected}. To learn the images themselves, say --target self (target="self")'
            )
        x = parse_idx(uncompressed(file), str(file))
        y = None if labels is None else parse_idx(uncompressed(labels), str(labels))
        if labels is not None and y is not None and len(x) != len(y):
            raise ValueError(f"{file} has {len(x):,} images, but {labels.name} has {len(y):,} labels")
        first = file.name.lower().replace("_", "-").split("-")[0]
        part = "test" if first == "t10k" else part_of(first) or ""
        if part in pieces:
            raise ValueError(f"{source} has two files of images for the same part, {file.name} among them")
        pieces[part] = (x, y)
    if not pieces:
        raise ValueError(f"{source} has no IDX file of images")
    order = sorted(pieces, key=["train", "validation", "test", ""].index)
    x = np.concatenate([pieces[part][0] for part in order])
    known = [found for part in order if (found := pieces[part][1]) is not None]
    y = np.concatenate(known) if len(known) == len(order) else None
    if len(order) == 1:
        return StoredArrays(x=x, y=y)
    if "" in order:
        raise ValueError(f"{source} has IDX files whose names do not say train, validation or test")
    return StoredArrays(x=x, y=y, part=np.repeat(order, [len(pieces[part][0]) for part in order]))
