"""CIFAR-10 and CIFAR-100 from their binary archives: no pickle, one label and 3 × 32 × 32 bytes a record.

Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version". CIFAR-100 records carry a coarse label
first; the fine one is the class.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.arrays import from_arrays
from hubel.data.dataset import Dataset

PIXELS = 3 * 32 * 32
LAYOUT = {
    "cifar-10": (
        "cifar-10-batches-bin/",
        ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"),
        "test_batch.bin",
        "batches.meta.txt",
        1,
    ),
    "cifar-100": ("cifar-100-binary/", ("train.bin",), "test.bin", "fine_label_names.txt", 2),
}


def read_cifar(name: str, archive: Path) -> Dataset:
    """The data set in a binary `.tar.gz` archive, with its official test part."""
    folder, train, test, names, num_labels = LAYOUT[name]
    try:
        with tarfile.open(archive, "r:gz") as tar:
            read = {
                member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None
            }
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UnreadableData(f"{archive} is truncated or damaged: {error}") from error
    missing = [folder + file for file in (*train, test, names) if folder + file not in read]
    if missing:
        raise UnreadableData(f"{archive} lacks {', '.join(missing)}")
    pieces = [_records(read[folder + file], folder + file, num_labels) for file in (*train, test)]
    x, y = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 1))
    num_test = len(pieces[-1][0])
    return from_arrays(
        x,
        y,
        channels="first",
        classes=read[folder + names].decode("ascii").split(),
        name=name,
        part=["train"] * (len(x) - num_test) + ["test"] * num_test,
    )


def _records(content: bytes, name: str, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    if len(content) % (num_labels + PIXELS):
        raise UnreadableData(
            f"{name} has {len(content):,} bytes, not a whole number of records of {num_labels + PIXELS}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, num_labels + PIXELS)
    return records[:, num_labels:].reshape(-1, 3, 32, 32), records[:, num_labels - 1]
