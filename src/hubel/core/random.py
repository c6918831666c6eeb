"""Randomness as a pure function of (seed, purpose, epoch, step).

Nothing here has a position in a stream, so nothing has to be saved: a run that is killed and resumed at
any step draws the same numbers as one that never stopped. The key is the first 8 bytes of BLAKE2b over
the four values; generators made from different purposes are independent for all that matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def key(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> int:
    """A 63-bit number that depends on all four values.

    >>> key(0, "order", 1) == key(0, "order", 1), key(0, "order", 1) == key(0, "order", 2)
    (True, False)
    """
    text = f"{int(seed)}\x1f{purpose}\x1f{int(epoch)}\x1f{int(step)}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def numpy_generator(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """A NumPy generator for this purpose at this moment."""
    return np.random.Generator(np.random.Philox(key(seed, purpose, epoch, step)))


def torch_generator(
    seed: int, purpose: str, epoch: int = 0, step: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator for this purpose at this moment, on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(key(seed, purpose, epoch, step))


@contextmanager
def torch_seeded(
    seed: int, purpose: str, epoch: int = 0, step: int = 0, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Torch's global generators (which dropout reads) are seeded inside, and as they were afterwards."""
    import torch

    device = torch.device(device)
    on_cuda, on_mps = device.type == "cuda", device.type == "mps"
    before = torch.default_generator.get_state()
    before_gpu = (
        torch.cuda.get_rng_state(device) if on_cuda else torch.mps.get_rng_state() if on_mps else None
    )
    value = key(seed, purpose, epoch, step)
    torch.default_generator.manual_seed(value)
    if on_cuda:  # of this device: torch.cuda.manual_seed would seed the current one
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
    elif on_mps:
        torch.mps.manual_seed(value)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        if on_cuda and before_gpu is not None:
            torch.cuda.set_rng_state(before_gpu, device)
        elif on_mps and before_gpu is not None:
            torch.mps.set_rng_state(before_gpu)
