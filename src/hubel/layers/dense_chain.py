"""A chain of linear maps with ReLU between them as one node of the graph, for small networks on a CPU.

h_i = max(0, W_i h_{i-1} + b_i), scores = W h + b: the arithmetic of `nn.Linear` and `F.relu`, in the same order. The backward pass is
written out (g is the gradient of what follows):

    dW_i = g^T h_{i-1},   db_i = sum of g over examples,   g <- (g W_i) where h_{i-1} > 0

In a network of two hidden layers of 100 and batches of 256 a step is 0.1 ms of arithmetic; making and walking seven nodes of the graph
takes longer. Used in training, in float32 or float64 on a CPU, where nobody watches the layers (hooks) and no second derivative,
transformation or compilation is under way; else the layers are called one after the other.

Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, Nature 323 (1986) 533, doi:10.1038/323533a0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dense_chain(x: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    """What `layers` make of rows `x` [N, F], one after the other; as one node of the graph where they are `nn.Linear`, `nn.ReLU`,
    ..., `nn.Linear` in training.

    >>> layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    >>> x = torch.tensor([[1.0, -2.0]])
    >>> torch.equal(dense_chain(x, layers), layers[2](layers[0](x).relu()))
    True
    """
    if _can_be_one(x, layers):
        parameters = [value for layer in layers[::2] for value in (layer.weight, layer.bias)]
        return _Chain.apply(x, *parameters)  # type: ignore[no-any-return]
    for layer in layers:
        x = layer(x)
    return x


def _can_be_one(x: Tensor, layers: Sequence[nn.Module]) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and all(
            type(layer) is (nn.ReLU if place % 2 else nn.Linear) and not _watched(layer)
            for place, layer in enumerate(layers)
        )
        and len(layers) % 2 == 1
        and all(layer.training and layer.bias is not None for layer in layers[::2])
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_function_stack()
        and not torch.nn.modules.module._has_any_global_hook()
    )


def _watched(layer: nn.Module) -> bool:
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        values = [x]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            values.append(torch.addmm(bias, values[-1], weight.t()).relu_())
        ctx.save_for_backward(*values, *parameters)
        return torch.addmm(parameters[-1], values[-1], parameters[-2].t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        num = (len(saved)) // 3
        values, parameters = saved[:num], saved[num:]
        if torch.is_grad_enabled():  # a second derivative is asked for
            return _differentiable(values[0], parameters, gradient, ctx.needs_input_grad)
        needed = ctx.needs_input_grad
        found: list[Tensor | None] = [None] * len(needed)
        for place in range(num - 1, -1, -1):
            before, weight = values[place], parameters[2 * place]
            if needed[2 * place + 1]:
                found[2 * place + 1] = gradient.t() @ before
            if needed[2 * place + 2]:
                found[2 * place + 2] = gradient.sum(0)
            if not any(needed[: 2 * place + 1]):
                break
            gradient = gradient @ weight
            if place:
                gradient = torch.ops.aten.threshold_backward(gradient, before, 0)
        if needed[0]:
            found[0] = gradient
        return tuple(found)


def _differentiable(
    x: Tensor, parameters: Sequence[Tensor], gradient: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The same gradients, by torch's own nodes, so that they can be differentiated again."""
    value = x
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        value = F.relu(F.linear(value, weight, bias))
    scores = F.linear(value, parameters[-2], parameters[-1])
    wanted = [value for value, asked in zip((x, *parameters), needed, strict=True) if asked]
    found = iter(torch.autograd.grad(scores, wanted, gradient, create_graph=True))
    return tuple(next(found) if asked else None for asked in needed)
