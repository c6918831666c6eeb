"""Buffers of a network (running statistics, counters), and how to undo what a forward pass did to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

Place = tuple[dict[str, "Tensor | None"], str, "Tensor"]


def places_of(net: nn.Module) -> list[Place]:
    """Where every buffer of `net` stands: the module's own dict, the name in it, the tensor."""
    return [
        (module._buffers, name, buffer)
        for module in net.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]


def put_back(places: Sequence[Place], values: Sequence[Tensor]) -> None:
    """The buffers of `places` with `values` again: those that a forward pass changed, and those that it replaced by others."""
    import torch

    with torch.no_grad():
        for (store, name, buffer), value in zip(places, values, strict=True):
            buffer.copy_(value)
            store[name] = buffer
