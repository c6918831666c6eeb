"""Files that are either whole or not there.

Every write goes to a temporary file in the same folder, is flushed to the disk, and renamed over its
name; the folder is flushed as well, so that a power cut can not undo the rename. A reader therefore sees
the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hubel.core.errors import RunBusy


def write_bytes(path: Path | str, content: bytes | memoryview) -> None:
    """Replace `path` by `content`, atomically and durably."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path | str, content: str) -> None:
    """Replace `path` by UTF-8 `content`, atomically and durably."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Replace `path` by `value` as readable JSON; NaN and infinity are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replacing(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well, and leaves no trace when it does not.

    An `OSError` (disk full, read-only) names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renames in `folder` durable, where the system can (it can not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(path: Path | str, line: str) -> None:
    """Append one line in a single write, flushed. A crash can leave a torn last line, which readers drop.

    A torn line left by an earlier crash is closed first, so that it can not swallow the new one. An `OSError` names `path`.
    """
    try:
        with open(path, "a+b") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write((b"\n" if torn else b"") + line.encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    """The JSON objects of a `.jsonl` file; lines that are torn are left out. Missing file: empty list."""
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold `folder` for one writer. The lock dies with its process, however that ends.

    Raises `RunBusy` where another process holds it.
    """
    path = Path(folder) / ".lock"
    with open(path, "a+b") as file:
        _lock(file, path)
        yield


def is_locked(folder: Path | str) -> bool:
    """Whether a process holds `folder` now. Where locks can not be asked for, it may: True."""
    path = Path(folder) / ".lock"
    try:
        with open(path, "r+b") as file:
            _lock(file, path)
    except FileNotFoundError:
        return False
    except (RunBusy, OSError):
        return True
    return False


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        if os.name == "nt":  # pragma: no cover - not run on Linux
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (
        BlockingIOError,
        PermissionError,
    ) as error:  # the two that mean "held"; a file system without locks says otherwise
        raise RunBusy(
            f"another process is writing {path.parent}. Wait until it ends, stop it, or choose another folder "
            "with --out."
        ) from error


def user_cache() -> Path:
    """Where hubel keeps decoded images, downloads and measured settings: $HUBEL_CACHE or ~/.cache/hubel."""
    if given := os.environ.get("HUBEL_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hubel"
