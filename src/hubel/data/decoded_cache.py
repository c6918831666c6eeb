"""Decoded pictures, remembered: an array beside a manifest that says from which files and options it was made.

Before use everything is checked: path, size and modification time of every file, the options, the versions of hubel and Pillow, and the
SHA-256 of the array. Whatever does not agree is decoded again. A cache that can not be written is only noted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core import files
from hubel.core.version import VERSION
from hubel.data.storage import fits, room_for

FORMAT = 1
MOST_BYTES = 20 * 2**30
A_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Rows [N, C, H, W] of the readable files, how they were read, and why other files were not (by number)."""

    inputs: np.ndarray
    reading: dict[str, Any]
    failed: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def states_of(paths: Sequence[Path]) -> list[list[Any]]:
    """Absolute path, size and modification time (ns) of every file; a file that is not there has none."""
    states = []
    for path in paths:
        name = os.fsencode(path.absolute()).hex() if not _utf8(path) else str(path.absolute())
        try:
            status = path.stat()
            states.append([name, status.st_size, status.st_mtime_ns])
        except OSError:
            states.append([name, None, None])
    return states


def recall(paths: Sequence[Path], options: Any) -> Decoded | None:
    """What an earlier call decoded from the same files with the same options, if all of it can be trusted."""
    stem = _stem(paths, options)
    try:
        manifest = json.loads(stem.with_suffix(".json").read_text("utf-8"))
        if manifest["format"] != FORMAT or manifest["files"] != states_of(paths):
            return None
        array = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if list(array.shape) != manifest["shape"] or array.dtype.name != manifest["reading"]["dtype"]:
            return None
        if _digest(array) != manifest["sha256"]:
            return None
        inputs = array[: manifest["rows"]]
        os.utime(stem.with_suffix(".npy"))  # the most recently used are kept longest
        return Decoded(
            inputs=np.array(inputs) if fits(inputs.nbytes) else inputs,
            reading=manifest["reading"],
            failed={int(k): str(reason) for k, reason in manifest["failed"].items()},
            notes=tuple(manifest["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


class Room:
    """An array to decode into: in memory where it fits, else mapped to the file that the cache will keep."""

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype, paths: Sequence[Path], options: Any, cache: bool
    ):
        self.stem = _stem(paths, options) if cache else None
        self.temporary: Path | None = None
        self.array = (
            self._map(shape, dtype) if cache and not fits(int(np.prod(shape)) * dtype.itemsize) else None
        )
        if self.array is None:
            self.array = room_for(shape, dtype)

    def __enter__(self) -> np.ndarray:
        assert self.array is not None
        return self.array

    def __exit__(self, *error: object) -> None:
        if self.temporary is not None:
            with contextlib.suppress(OSError):
                self.temporary.unlink(missing_ok=True)

    def keep(
        self,
        rows: int,
        reading: dict[str, Any],
        failed: Mapping[int, str],
        notes: tuple[str, ...],
        states: list[list[Any]],
    ) -> Decoded:
        """Store the first `rows` rows in the cache, if there is one; a note says where that failed."""
        assert self.array is not None
        inputs = self.array[:rows]
        if self.stem is not None:
            try:
                inputs = self._store()[:rows]
                manifest = {
                    "format": FORMAT,
                    "files": states,
                    "shape": list(self.array.shape),
                    "rows": rows,
                    "sha256": _digest(self.array),
                    "reading": reading,
                    "failed": {str(k): reason for k, reason in failed.items()},
                    "notes": list(notes),
                }
                files.write_json(self.stem.with_suffix(".json"), manifest)
            except (OSError, UnicodeEncodeError) as error:
                notes = (*notes, f"The decoded pictures were not kept for the next time: {error}.")
        return Decoded(inputs=inputs, reading=reading, failed=dict(failed), notes=notes)

    def _map(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
        assert self.stem is not None
        try:
            _prepare(int(np.prod(shape)) * dtype.itemsize)
            temporary = self.stem.with_name(f".{self.stem.name}.{secrets.token_hex(4)}.tmp")
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        except OSError:
            return None
        self.temporary = temporary
        return array

    def _store(self) -> np.ndarray:
        assert self.stem is not None
        assert self.array is not None
        path = self.stem.with_suffix(".npy")
        self.stem.with_suffix(".json").unlink(
            missing_ok=True
        )  # from here on the old manifest would describe another array
        if self.temporary is None:
            _prepare(self.array.nbytes)
            with files.replacing(path) as file:
                np.save(file, self.array, allow_pickle=False)
            return self.array
        self.array.flush()  # type: ignore[attr-defined]
        os.replace(self.temporary, path)
        self.temporary = None
        files.flush_folder(path.parent)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _folder() -> Path:
    return files.user_cache() / "decoded"


def _stem(paths: Sequence[Path], options: Any) -> Path:
    from PIL import __version__ as pillow

    digest = hashlib.sha256(json.dumps([FORMAT, VERSION, pillow, asdict(options)], sort_keys=True).encode())
    for path in paths:
        digest.update(os.fsencode(path.absolute()) + b"\0")
    return _folder() / digest.hexdigest()[:32]


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _prepare(num_bytes: int) -> None:
    """The folder, with room for so many bytes: leftovers and what was used longest ago go. Raises `OSError` where that is not enough."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > A_DAY_S:
                leftover.unlink()
    stored = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in folder.glob("*.npy"))
    total = sum(size for _, size, _ in stored)
    for _, size, path in stored:
        if total + num_bytes <= MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        total -= size
    free = shutil.disk_usage(folder).free
    if num_bytes > 0.5 * free:
        raise OSError(
            f"they take {num_bytes / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB that are free in {folder}"
        )


def _utf8(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
