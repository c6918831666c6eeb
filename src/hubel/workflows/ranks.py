"""Several processes started by `torchrun`: the first one works, the others wait and open its run.

Sharing the work comes later; until then a script that was started on several devices must neither break nor write one run
folder several times.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

LONGEST_PATH = 4096


def number_of_processes() -> int:
    """As torchrun says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def first_works(work: Callable[[], Path]) -> Path:
    """The folder that `work` answers in the first process; the others wait for it.

    An exception in the first process makes the others raise `RuntimeError`.
    """
    if number_of_processes() == 1:
        return work()
    began = not dist.is_initialized()
    if began:
        dist.init_process_group("gloo", timeout=datetime.timedelta(days=7))
    try:
        return _work_and_tell(work)
    finally:
        if began:
            dist.destroy_process_group()


def _work_and_tell(work: Callable[[], Path]) -> Path:
    first = dist.get_rank() == 0
    message = torch.zeros(LONGEST_PATH, dtype=torch.uint8)
    try:
        if first:
            text = os.fsencode(work().resolve())
            message[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    finally:
        dist.broadcast(message, src=0)  # after a failure all zeros, which the others understand
    content = bytes(message.tolist()).rstrip(b"\0")
    if not content:
        raise RuntimeError("the first process could not fit the network; its own message says why")
    return Path(os.fsdecode(content))
