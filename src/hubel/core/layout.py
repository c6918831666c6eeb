"""The order of pictures [N, C, H, W] and volumes [N, C, D, H, W] in memory, and of the filters that read them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def arranged(values: Tensor, layout: str) -> Tensor:
    """`values` in `layout`, "contiguous" or "channels_last", where they have four or five axes; others as they are.

    >>> arranged(torch.zeros(2, 3, 4, 4), "channels_last").stride()
    (48, 1, 12, 3)
    """
    if values.ndim not in CHANNELS_LAST:
        return values
    wanted = CHANNELS_LAST[values.ndim] if layout == "channels_last" else torch.contiguous_format
    return values.contiguous(memory_format=wanted)


def arrange_filters(net: nn.Module, layout: str) -> nn.Module:
    """`net` with its filters (parameters of four or five axes) in `layout`."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim in CHANNELS_LAST:
                parameter.data = arranged(parameter.data, layout)
    return net
