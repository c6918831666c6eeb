"""Many image files become one array [N, C, H, W], in parallel.

Threads are enough, since Pillow and NumPy let go of the interpreter while they work. Every file is tried before any is refused, so
that one message names all that can not be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.images import look, strict_libraries
from hubel.data.reading import Progress, row_of

T = TypeVar("T")
BLOCK = 8192  # files under way at once: a million waiting ones would fill the memory


def look_at_all(
    paths: Sequence[Path], progress: Progress | None = None, *, look: Callable[[Path], Any] = look
) -> tuple[list[Any], dict[int, str]]:
    """The header of every file (None where it has none) and why, by its number. `look` answers the header of one."""
    headers: list[Any] = [None] * len(paths)
    failed: dict[int, str] = {}
    for k, (header, reason) in enumerate(in_parallel(look, paths, progress)):
        headers[k] = header
        if reason:
            failed[k] = reason
    return headers, failed


def decode_all(
    paths: Sequence[Path], reading: Mapping[str, Any], out: np.ndarray, progress: Progress | None = None
) -> dict[int, str]:
    """Write the row of every file into `out` [N, C, H, W]; returns why a file has none, by its number."""

    def fill(item: tuple[int, Path]) -> None:
        number, path = item
        out[number] = row_of(path, reading)

    outcomes = in_parallel(fill, list(enumerate(paths)), progress)
    return {k: reason for k, (_, reason) in enumerate(outcomes) if reason}


def refuse_unreadable(failed: Mapping[int, str], names: Sequence[str], skip: bool) -> tuple[str, ...]:
    """A note that counts and names the failed files where they may be skipped; `UnreadableData` otherwise."""
    if not failed:
        return ()
    told = "; ".join(f"{names[k]} ({failed[k]})" for k in sorted(failed)[:10])
    more = f"; and {len(failed) - 10:,} more" if len(failed) > 10 else ""
    said = f"{len(failed):,} of {len(names):,} files can not be read: {told}{more}"
    if not skip:
        raise UnreadableData(
            f"{said}. Repair or remove them, or leave them out with skip_unreadable=True (--skip-unreadable)"
        )
    if len(failed) == len(names):
        raise UnreadableData(f"{said}. None is left")
    return (f"{said}. They were left out.",)


def num_threads() -> int:
    """As many as this process may use processors, at most 16."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, count)


def in_parallel(
    work: Callable[[Any], T], items: Sequence[Any], progress: Progress | None
) -> Iterator[tuple[T | None, str | None]]:
    """The result of each item in order, or the reason why there is none."""

    def attempt(item: Any) -> tuple[T | None, str | None]:
        try:
            return work(item), None
        except UnreadableData as error:
            return None, str(error)

    pool = ThreadPoolExecutor(num_threads(), thread_name_prefix="hubel-decode")
    try:
        with strict_libraries():
            for start in range(0, len(items), BLOCK):
                block = items[start : start + BLOCK]
                for done, outcome in enumerate(pool.map(attempt, block), start=start + 1):
                    yield outcome
                    if progress is not None:
                        progress(done, len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
