"""relu(x) = max(0, x), with a backward pass that masks bits in place of comparing bfloat16 numbers.

The gradient is passed where the output is positive and zero elsewhere, exactly as `F.relu` does; torch's own
backward (`threshold_backward`) is not vectorized well for 16-bit floats on a CPU.

In training it works in the memory of its argument, which the layer before must not need again (batch norm and
convolution do not). In eval it is `F.relu` in new memory, so that explanations, exports and hooks see an
ordinary operation and its untouched input. `F.relu` is used as well for other dtypes and devices, under
`torch.func` transforms, compilation and for second derivatives.

Measured (AMD EPYC (Zen 4), one thread, CPU time, torch 2.13.0, 2026-11-21): a training step of ResNet-20 in
bfloat16, channels_last, batch 128, three runs of 14 steps in turn, minima: 222, 222, 232 ms with this; 229, 231,
238 with `F.relu` in place; 235, 238, 241 with `F.relu` in new memory. Alone the backward pass gains little.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_INTEGERS = {torch.bfloat16: torch.int16, torch.float16: torch.int16}


def relu(x: Tensor, *, training: bool) -> Tensor:
    """`x` with negative values replaced by zero; in its own memory where `training`.

    >>> relu(torch.tensor([-1.0, 2.0]), training=True)
    tensor([0., 2.])
    """
    eager = not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())
    if training and eager and x.requires_grad and x.dtype in _INTEGERS and x.device.type == "cpu":
        return _ReLU.apply(x)  # type: ignore[no-any-return]
    return F.relu(x, inplace=training)


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_min_(0)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for
            return grad * (y > 0)
        integer = _INTEGERS[y.dtype]
        out = torch.empty_like(y)
        bits = out.view(integer)
        torch.gt(y.view(integer), 0, out=bits)
        bits.mul_(grad.view(integer))
        return out
