"""Several processes started by `torchrun`: the first one works, the others wait and open its run.

Sharing the work comes later; until then a script that was started on several devices must neither break nor write one run
folder several times. The processes talk through the key-value store by which they find each other; where the script has made
a process group already, through that.
"""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

LONGEST_PATH = 4096
LONGEST_WAIT = datetime.timedelta(days=7)
_calls = itertools.count()  # every process makes the same calls in the same order


def number_of_processes() -> int:
    """As torchrun says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def first_works(work: Callable[[], Path]) -> Path:
    """The folder that `work` answers in the first process; the others wait for it.

    An exception in the first process makes the others raise `RuntimeError`.
    """
    if number_of_processes() == 1:
        return work()
    tell = _through_group if dist.is_initialized() else _through_store
    content = tell(work)
    if not content:
        raise RuntimeError("the first process could not fit the network; its own message says why")
    return Path(os.fsdecode(content))


def _through_store(work: Callable[[], Path]) -> bytes:
    store, rank, count = next(iter(dist.rendezvous("env://", timeout=LONGEST_WAIT)))
    store.set_timeout(LONGEST_WAIT)
    key = f"hubel/{next(_calls)}"
    content = b""
    if rank != 0:
        content = store.get(key)
        store.set(f"{key}/read by {rank}", b"1")  # type: ignore[arg-type]  # bytes as well, since a path may be no text
        return content
    try:
        content = os.fsencode(work().resolve())
    finally:
        store.set(key, content)  # type: ignore[arg-type]
        store.wait(
            [f"{key}/read by {other}" for other in range(1, count)]
        )  # the store may live in this process
    return content


def _through_group(work: Callable[[], Path]) -> bytes:
    message = torch.zeros(LONGEST_PATH, dtype=torch.uint8)
    if dist.get_backend() == "nccl":
        message = message.cuda()
    try:
        if dist.get_rank() == 0:
            text = os.fsencode(work().resolve())
            message[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    finally:
        dist.broadcast(message, src=0)  # after a failure all zeros, which the others understand
    return bytes(message.tolist()).rstrip(b"\0")
