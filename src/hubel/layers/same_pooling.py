"""Pooling whose output is ⌈size/stride⌉, placed as TensorFlow's "SAME" does: an odd pixel of padding after, not before.

What lies outside of the picture takes no part: not in the maximum, and not in the number by which an average is
divided. In all max((⌈n/s⌉ − 1)·s + k − n, 0) positions are added to a side of n, half of them (rounded down) before.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def max_pool_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The maximum over kernel×kernel: [N, C, H, W] → [N, C, ⌈H/stride⌉, ⌈W/stride⌉].

    >>> import torch
    >>> max_pool_same(torch.arange(4.0).view(1, 1, 1, 4), 3, 2)
    tensor([[[[2., 3.]]]])
    """
    return F.max_pool2d(x, kernel, stride, _before(x, kernel, stride), ceil_mode=True)


def average_pool_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The average over kernel×kernel: [N, C, H, W] → [N, C, ⌈H/stride⌉, ⌈W/stride⌉].

    >>> import torch
    >>> average_pool_same(torch.arange(4.0).view(1, 1, 1, 4), 3, 2)
    tensor([[[[1.0000, 2.5000]]]])
    """
    return F.avg_pool2d(
        x, kernel, stride, _before(x, kernel, stride), ceil_mode=True, count_include_pad=False
    )


def _before(x: Tensor, kernel: int, stride: int) -> tuple[int, int]:
    """The padding before, down and right; the one after is the same, or one more, which `ceil_mode` adds."""
    if stride == 1 and kernel % 2 == 0:
        raise ValueError(
            f"pooling to the same size at stride 1 needs an odd kernel, which has a middle; received {kernel}"
        )
    height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) // 2 for n in x.shape[2:])
    return height, width
