"""Networks that save memory with `torch.utils.checkpoint`: what they do is done again on the way back.

With `use_reentrant=False` the second time must save the same tensors as the first, in the same order. Where an explanation puts operations of
its own in the place of the network's, it does so the first time only: `kept` has them save their tensors, so that there is no second time.
With `use_reentrant=True` the first time leaves nothing behind that a gradient of the input could follow: that is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor


def kept() -> AbstractContextManager[Any]:
    """Around an operation: what it saves for the way back is kept, also inside of a checkpoint. Elsewhere it does nothing."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)  # pyright: ignore[reportAttributeAccessIssue]
    if hooks is None or hooks[0].__module__ != "torch.utils.checkpoint":
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_with_version, _unchanged)


def _with_version(tensor: Tensor) -> tuple[Tensor, int]:
    return tensor.detach(), tensor._version


def _unchanged(saved: tuple[Tensor, int]) -> Tensor:
    tensor, version = saved
    if tensor._version != version:  # which torch itself checks only where there are no such hooks
        raise RuntimeError("what the way back needs has been modified by an inplace operation")
    return tensor


@contextmanager
def checkpoints_refused() -> Iterator[None]:
    """Around a gradient: a reentrant checkpoint on the way raises `ValueError`, which says what to do about it."""
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise hidden_by_checkpoint() from error


def is_behind_checkpoint(y: Tensor) -> bool:
    """Whether `y` was computed from what a reentrant checkpoint answered."""
    seen, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "CheckpointFunctionBackward":
            return True
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return False


def hidden_by_checkpoint() -> ValueError:
    """The error for a network with a reentrant checkpoint."""
    return ValueError(
        "the network calls torch.utils.checkpoint with use_reentrant=True, which hides what happens inside of it: call it with "
        "use_reentrant=False (the answers are the same), or use occlusion, which needs no gradient"
    )
