"""Out of memory: half the batch, and again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from hubel.core.errors import is_out_of_memory

T = TypeVar("T")


def within_memory(work: Callable[[int], T], size: int) -> tuple[T, int]:
    """`work(size)`, with `size` halved until memory suffices; answers what it answered, and the size.

    Raises what `work` raised where that was something else, or where not even one example fits.

    >>> def greedy(size):
    ...     return size if size < 20 else [0] * (1 << 62)
    >>> within_memory(greedy, 64)
    (16, 16)
    """
    while True:
        try:
            return work(size), size
        except (RuntimeError, MemoryError) as error:
            if size <= 1 or not is_out_of_memory(error):
                raise
        size //= 2  # outside the block, where the failed attempt is not held by its traceback
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
