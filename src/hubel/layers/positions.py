"""Positions as waves: what tells attention, which sees a set, in which order its steps came.

    P[l, 2i]     = sin(l / 10000^(2i / F))
    P[l, 2i + 1] = cos(l / 10000^(2i / F))

Each pair of columns turns as a clock hand does, the first fastest (period 2π steps), the last slowest (near 10000 · 2π). So
P[l + k] is a rotation of P[l] that does not depend on l, and P[l] · P[m] depends on l - m alone. No parameters, any length.

Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv:1706.03762), section 3.5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_positions(
    length: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """P [L, F] of the formula; F may be odd, the last cosine is then left out.

    Angles are computed in float32, or float64 where `dtype` is that.

    >>> sinusoidal_positions(2, 2)
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])

    Raises `ValueError` unless both sizes are positive.
    """
    if length < 1 or width < 1:
        raise ValueError(
            f"positions: length and width must be positive; received length={length}, width={width}"
        )
    work = torch.float64 if dtype == torch.float64 else torch.float32
    even = torch.arange(0, width, 2, device=device, dtype=work)
    rate = torch.exp(even * (-math.log(10000.0) / width))
    angle = torch.arange(length, device=device, dtype=work).unsqueeze(1) * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width].to(dtype)
