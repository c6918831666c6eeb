"""Files that are either whole or not there.

Every write goes to a temporary file in the same folder, is flushed to the disk, and renamed over its
name; the folder is flushed as well, so that a power cut can not undo the rename. A reader therefore sees
the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import socket
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
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
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


def refuse_unwritable(folder: Path | str) -> None:
    """Raise `PermissionError` or `NotADirectoryError` where `folder`, or what of it is there, can not be written into: said before long work."""
    there = Path(folder).absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this folder can not be written into", str(there))


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

    On a file system without locks (some network drives) a file `.lock.owner` stands in for it, with the computer and the process
    that hold the folder. One that a killed process left behind is recognized on the same computer, and named on another.

    Raises `RunBusy` where another process holds it.
    """
    path = Path(folder) / ".lock"
    with open(path, "a+b") as file, contextlib.nullcontext() if _lock(file, path) else _owned(path):
        yield


def is_locked(folder: Path | str) -> bool:
    """Whether a process holds `folder` now. Where locks can not be asked for, it may: True."""
    path = Path(folder) / ".lock"
    try:
        try:
            file = open(path, "r+b")  # noqa: SIM115 - closed below
        except PermissionError:
            file = open(path, "rb")  # noqa: SIM115 - a folder that is only read
        with file:
            return False if _lock(file, path) else _holder(path) is not None
    except FileNotFoundError:
        return False
    except (RunBusy, OSError):
        return True


def _lock(file: IO[bytes], path: Path) -> bool:
    """Lock an open file; False where its file system has no locks. Raises `RunBusy` where another process holds it."""
    try:
        if os.name == "nt":  # pragma: no cover - not run on Linux
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # the two that mean "held"
        raise RunBusy(
            f"another process is writing {path.parent}. Wait until it ends, stop it, or choose another folder "
            "with --out."
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def _owned(lock: Path) -> Iterator[None]:
    """Hold the folder of `lock` by a file that only one process can make."""
    owner = _owner_of(lock)
    me = json.dumps({"computer": socket.gethostname(), "process": os.getpid(), "key": secrets.token_hex(8)})
    for _ in range(3):
        if (holder := _holder(lock)) is not None:
            raise RunBusy(
                f"{lock.parent} is held by {holder}. This file system has no locks that end with their process: if that one has "
                f"ended, remove {owner}"
            )
        with contextlib.suppress(FileExistsError):
            with open(owner, "xb") as file:
                file.write(me.encode())
            break
    else:
        raise RunBusy(f"another process is writing {lock.parent}. Wait until it ends, or stop it.")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if owner.read_text("utf-8") == me:
                owner.unlink()


def _holder(lock: Path) -> str | None:
    """Who holds the folder of `lock` by its owner file, in words; one whose process on this computer has ended is put away."""
    owner = _owner_of(lock)
    try:
        content = owner.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        said = json.loads(content)
        computer, process = str(said["computer"]), int(said["process"])
    except (ValueError, TypeError, LookupError):
        return "a process that did not write its name"
    if computer != socket.gethostname() or _is_alive(process):
        return f"process {process} on {computer}"
    aside = owner.with_name(f".{owner.name}.{secrets.token_hex(4)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        os.rename(owner, aside)
        taken = aside.read_text("utf-8", errors="replace")
        if taken != content:  # another process was faster, and this is its own
            os.rename(aside, owner)
            return _holder(lock)
        aside.unlink()
    return None


def _owner_of(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.owner")


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # pragma: no cover - there is no harmless signal to ask with
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def user_cache() -> Path:
    """Where hubel keeps decoded images, downloads and measured settings: $HUBEL_CACHE or ~/.cache/hubel."""
    if given := os.environ.get("HUBEL_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hubel"
