"""Whether a pass through a network fits the memory: estimated without computing anything, by the shapes of what its operations answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hubel.data.storage import free_memory
from hubel.explain.versions import Sizes


def bytes_of_a_pass(net: nn.Module, example: Tensor, also: tuple[Any, ...] = ()) -> int | None:
    """About how many bytes a pass of one example [...] takes at its widest place, beside weights; None where that can only be found by doing it.

    The network is followed with tensors that have shapes and no values.

    >>> bytes_of_a_pass(nn.Conv2d(1, 8, 3, padding=1), torch.zeros(1, 100, 100)) // 1000
    960
    """
    empty = {name: value.to("meta") for name, value in (*net.named_parameters(), *net.named_buffers())}
    x = torch.empty((1, *example.shape), dtype=example.dtype, device="meta")
    rest = tuple(
        value[:1].to("meta") if isinstance(value, Tensor) and value.ndim else value for value in also
    )
    sizes = Sizes()
    try:
        with torch.no_grad(), sizes:
            functional_call(net, empty, (x, *rest))
    except Exception:  # a network that looks at values can not be followed like this
        return None
    return sizes.most


def refuse_what_does_not_fit(net: nn.Module, x: Tensor, also: tuple[Any, ...] = ()) -> None:
    """Raise `ValueError` with the numbers where a pass of the examples `x` [N, ...] takes more of the computer's memory than is free.

    Cutting an example into pieces would explain the pieces and not the example, so nothing is tiled.
    """
    if x.device.type != "cpu":
        return
    each, free = bytes_of_a_pass(net, x[0], also), free_memory()
    if each is None or each * len(x) <= free:
        return
    size = " × ".join(map(str, x.shape[1:]))
    said = f"a pass of one example of {size} values takes about {each / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free"
    if each <= free:
        raise ValueError(f"{said}: {len(x):,} at once are too many, explain {free // each:,} at a time")
    raise ValueError(
        f"{said}: make the example smaller, or explain a part of it (which is another question than what that part does in the whole)"
    )
