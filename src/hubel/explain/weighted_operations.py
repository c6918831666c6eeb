"""Operations with weights: convolutions, linear layers, products of matrices. Where the weight depends on the input as well, they are products."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain.intercept import Call, LinearMap
from hubel.explain.plain_operations import linear_operation

CONVOLUTIONS = {
    **{f"conv{n}d": ("bias stride padding dilation groups", 0) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": ("bias stride padding output_padding groups dilation", 1) for n in (1, 2, 3)},
}


def convolution(call: Call) -> Tensor:
    """With a constant weight a weighted operation; with one that depends on the input a product."""
    names, channel = CONVOLUTIONS[call.name]
    x, weight = call.argument(0, "input"), call.argument(1, "weight")
    settings = {name: call.argument(position, name) for position, name in enumerate(names.split(), 2)}
    bias = settings.pop("bias")
    settings = {name: value for name, value in settings.items() if value is not None}

    def apply(source: Tensor, kernel: Tensor) -> Tensor:
        return call.function(source, kernel, None, **settings)

    if call.depends(weight) or (bias is not None and call.depends(bias)):
        return _dependent_weight(call, x, weight, bias, apply)
    groups = int(settings.get("groups", 1))

    def scaled(kernel: Tensor, scale: Tensor) -> Tensor:
        spatial = [1] * (kernel.ndim - 2)
        if channel == 0:
            return kernel * scale.view(-1, 1, *spatial)
        parts = kernel.view(groups, -1, *kernel.shape[1:]) * scale.view(groups, 1, -1, *spatial)
        return parts.view_as(kernel)

    spatial = [1] * (weight.ndim - 2)
    return call.rules.weighted(
        call,
        LinearMap(
            source=x,
            weight=weight,
            bias=None if bias is None else bias.view(-1, *spatial),
            apply=apply,
            raw=call.run(),
            dense=False,
            scaled=scaled,
        ),
    )


def linear_layer(call: Call) -> Tensor:
    """A linear layer, x Wᵀ + b."""
    x, weight, bias = (call.argument(i, name) for i, name in enumerate(("input", "weight", "bias")))
    if call.depends(weight) or (bias is not None and call.depends(bias)):
        return _dependent_weight(call, x, weight, bias, F.linear)
    return call.rules.weighted(
        call,
        LinearMap(
            source=x,
            weight=weight,
            bias=bias,
            apply=F.linear,
            raw=call.run(),
            dense=True,
            scaled=lambda w, scale: w * scale[:, None],
        ),
    )


def _dependent_weight(
    call: Call, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    if not call.depends(weight):
        raise call.no_rule("with a bias that depends on the input")
    if call.depends(x):
        result = call.rules.product(call, x, weight, apply)
    else:
        result = _constant_times(call, x, weight, lambda a, w: apply(w, a))
    if bias is None:
        return result
    shaped = bias if call.name == "linear" else bias.view(-1, *[1] * (weight.ndim - 2))
    call.engine.marked(result, still=not torch.is_grad_enabled())
    with call.engine:
        return result + shaped


def _constant_times(
    call: Call, constant: Tensor, source: Tensor, apply: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """`apply(source, constant)` as a weighted operation."""
    return call.rules.weighted(
        call,
        LinearMap(
            source=source,
            weight=constant,
            bias=None,
            apply=apply,
            raw=apply(source, constant),
            dense=True,
        ),
    )


def matrix_product(call: Call) -> Tensor:
    """With a constant matrix a weighted operation, else a product."""
    a, b = call.args[0], call.args[1] if len(call.args) > 1 else _by_name(call)
    if call.name == "rmatmul":
        a, b = b, a
    function = torch.matmul
    if call.name in ("outer", "ger", "inner"):
        function = {"outer": torch.outer, "ger": torch.outer, "inner": torch.inner}[call.name]
    if call.depends(a) and call.depends(b):
        return call.rules.product(call, a, b, function)
    if a.is_complex() or b.is_complex():
        return linear_operation(call)
    if call.depends(a):
        return _constant_times(call, b, a, function)
    return _constant_times(call, a, b, lambda source, constant: function(constant, source))


def _by_name(call: Call) -> Tensor:
    for name in ("other", "mat2", "vec2", "vec", "tensor"):
        if name in call.kwargs:
            return call.kwargs[name]
    raise call.no_rule("with these arguments")


def added_product(call: Call) -> Tensor:
    """β input + α (a b): addmm and its kin, addcmul, addcdiv."""
    start, a, b = call.args[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", call.kwargs.get("value", 1))
    with call.engine:
        if call.name == "addcmul":
            part = a * b
        elif call.name == "addcdiv":
            part = a / b
        elif call.name == "addbmm":
            part = torch.matmul(a, b).sum(0)
        else:
            part = torch.matmul(a, b)
        part = part if alpha == 1 else part * alpha
        return part + (start if beta == 1 else start * beta)


def einsum(call: Call) -> Tensor:
    """One operand is linear; of two, a product or a weighted operation."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    if not isinstance(equation, str):
        raise call.no_rule("without an equation in letters")
    if len(operands) == 1:
        return linear_operation(call)
    depending = [k for k, operand in enumerate(operands) if call.depends(operand)]
    if len(operands) != 2 or any(operand.is_complex() for operand in operands):
        return _contracted(call, equation, operands, depending)
    a, b = operands
    function = partial(torch.einsum, equation)
    if call.depends(a) and call.depends(b):
        return call.rules.product(call, a, b, function)
    if call.depends(a):
        return _constant_times(call, b, a, function)
    return _constant_times(call, a, b, lambda source, constant: function(constant, source))


def _contracted(call: Call, equation: str, operands: list[Tensor], depending: list[int]) -> Tensor:
    """A contraction of any number of tensors, of which one or two depend on the input."""

    def function(*values: Tensor) -> Tensor:
        filled = list(operands)
        for k, value in zip(depending, values, strict=True):
            filled[k] = value
        return torch.einsum(equation, *filled)

    if len(depending) == 1:
        return linear_operation(call)
    if len(depending) != 2:
        raise call.no_rule("of more than two tensors that depend on the input")
    return call.rules.product(call, operands[depending[0]], operands[depending[1]], function)


def bilinear(call: Call) -> Tensor:
    """x₁ᵀ W x₂ + b."""
    a, b, weight, bias = (call.argument(i, n) for i, n in enumerate(("input1", "input2", "weight", "bias")))
    if call.depends(weight) or (bias is not None and call.depends(bias)):
        raise call.no_rule("with weights that depend on the input")
    with call.engine:
        found = torch.einsum("...i,kij,...j->...k", a, weight, b)
        return found if bias is None else found + bias
