"""Files from the network: whole, checked, or not there."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from hubel.core import files

TIMEOUT_S = 30.0
PIECE = 1 << 18


def fetch(
    address: str,
    path: Path,
    sha256: str | None,
    *,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Download `address` to `path`, atomically; nothing is left behind where it fails or is not what was published.

    `sha256` is that of the content: for a `.tar.gz` of the file itself, for another `.gz` of what it holds; None takes what comes.
    `progress(done, total)` counts bytes (total 0: not known). Returns the SHA-256. Raises `ConnectionError` saying what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    inner = path.name.endswith(".gz") and not path.name.endswith(".tar.gz")
    unzip = zlib.decompressobj(wbits=31) if inner else None
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer, files.replacing(path) as file:
            total = int(answer.headers.get("Content-Length") or 0)
            while piece := answer.read(PIECE):
                file.write(piece)
                digest.update(unzip.decompress(piece) if unzip else piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
            if total and done != total:
                raise ValueError(f"the connection ended after {done:,} of {total:,} bytes")
            if sha256 is not None and digest.hexdigest() != sha256:
                raise ValueError(f"its content has SHA-256 {digest.hexdigest()}, expected {sha256}")
    except (urllib.error.URLError, OSError, zlib.error, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise ConnectionError(
            f"{address} could not be downloaded: {error}. Check the connection and try again, or fetch it by other means and put it at {path}"
        ) from error
    return digest.hexdigest()
