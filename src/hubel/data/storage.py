"""Where arrays live: in memory while they fit, otherwise in a memory-mapped file.

An array fits where it takes at most 40 % of the memory that is free when it is made, so that what follows (a network, its
gradients, other programs) still has room.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hubel.core import files

SHARE = 0.4
SLICE_BYTES = 64 * 2**20
GROUPS = Path("/sys/fs/cgroup")


def fits(num_bytes: int) -> bool:
    """Whether an array of so many bytes may live in memory."""
    return num_bytes <= SHARE * free_memory()


def free_memory() -> int:
    """Bytes that can be had without swapping: the system's figure, or what the limit of a container or of any control group around this
    process leaves, or `ulimit -v`, if that is less.
    """
    return min(_system_free(), _within_limit(), *map(_left_in, _groups(Path("/proc/self/cgroup"), GROUPS)))


def _groups(own: Path, root: Path) -> list[Path]:
    """The control groups of this process, and those that they lie in, as folders under `root`: version 2, and the memory ones of version 1."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            top = root / "memory" if kinds else root
            group = top / path.lstrip("/")
            found += [group, *(folder for folder in group.parents if folder.is_relative_to(top))]
    return [*found, root]  # within a container its own group is the root


def _left_in(group: Path) -> int:
    """Bytes that a control group may still take: its limit, less what it holds and could not give up at once."""
    for limit, used, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError):
            most = int((group / limit).read_text())  # the word max where there is none
            rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return max(0, most - int((group / used).read_text()) + int(rows.get(idle, 0)))
    return sys.maxsize


def _system_free() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):  # a system that does not say
        return 4 * 2**30


def _within_limit() -> int:
    """What the process may still ask for (the limit of its address space, less what it has)."""
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            return max(0, limit - used)
    return sys.maxsize


def room_for(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to be filled: in memory where it fits, otherwise mapped to a file that vanishes with the process.

    Raises `ValueError` where it fits neither in memory nor on the disk.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if fits(num_bytes):
        return np.empty(shape, dtype)
    try:
        folder = files.user_cache() / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=os.name != "nt") as file:
            _reserve(file.fileno(), num_bytes)
            return np.memmap(file, dtype=dtype, mode="r+", shape=shape)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"the data take {num_bytes / 2**30:.1f} GiB: more than {SHARE:.0%} of the free memory "
            f"({free_memory() / 2**30:.1f} GiB), and {files.user_cache()} can not hold them either ({error}). "
            "Make the pictures smaller with size=, or free space"
        ) from error


def _reserve(descriptor: int, num_bytes: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(
            descriptor, 0, num_bytes
        )  # a full disk is an error now, not a crash at the first write
    else:
        os.truncate(descriptor, num_bytes)


def in_slices(x: np.ndarray) -> Iterator[slice]:
    """Slices of the first axis of about 64 MiB each."""
    step = max(1, SLICE_BYTES // max(1, x.nbytes // max(1, len(x))))
    for start in range(0, len(x), step):
        yield slice(start, min(start + step, len(x)))
