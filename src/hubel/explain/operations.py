"""What kind of operation each name of torch is: the table behind DeepLIFT and layer-wise relevance propagation.

`TABLE` leads from the name of an operation (alike for `torch.NAME`, `F.NAME`, `x.NAME()`, operators, and in place) to a small function
that says to the method's rules of which kind it is. What several operations make up is taken apart here and in
`hubel.explain.fused`: layer norm into a standardization, a product and a sum; attention into products and a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain import fused
from hubel.explain.intercept import Call, LinearMap, setitem, tensors_in, words

Handler = Callable[[Call], Any]

REARRANGED = words(
    "reshape view view_as reshape_as flatten unflatten ravel permute transpose swapaxes swapdims movedim moveaxis t T mT H mH adjoint "
    "squeeze unsqueeze __getitem__ select narrow chunk split split_with_sizes tensor_split hsplit vsplit unbind contiguous clone to type "
    "type_as float double half bfloat16 cpu cuda expand expand_as broadcast_to repeat tile repeat_interleave flip fliplr flipud rot90 roll "
    "gather take_along_dim index_select masked_select cat stack hstack vstack dstack column_stack pad unfold diagonal diag_embed tril "
    "triu atleast_1d atleast_2d atleast_3d as_strided pixel_shuffle pixel_unshuffle channel_shuffle data_layout positive "
    "swapaxes_copy real broadcast_tensors"
)
"""Values keep their size: they move, or are left out, or are repeated."""

LINEAR = words(
    "add sub rsub neg sum mean nanmean nansum cumsum diff trace masked_fill where setitem copy fill zero scatter scatter_add "
    "index_add index_copy index_put index_fill masked_scatter select_scatter slice_scatter avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample upsample_nearest upsample_bilinear fold col2im "
    "max_unpool1d max_unpool2d max_unpool3d sum_to_size"
)
"""Linear, or linear and a constant, in all that depends on the input together."""

SHIFTING = words(
    "add sub rsub cat stack hstack vstack dstack column_stack pad masked_fill where setitem copy scatter scatter_add index_add index_copy "
    "index_put index_fill masked_scatter select_scatter slice_scatter"
)
"""Those of them that can bring a constant in."""

KINKED = words(
    "relu relu6 leaky_relu rrelu prelu threshold clamp clamp_min clamp_max hardtanh hardsigmoid abs softshrink hardshrink "
    "nan_to_num minimum maximum fmin fmax"
)
"""Elementwise functions of straight pieces."""

SMOOTH = words(
    "elu selu celu gelu silu mish hardswish sigmoid expit logsigmoid tanh softplus softsign tanhshrink exp exp2 expm1 log log1p log2 log10 "
    "logit sqrt rsqrt square reciprocal sin cos tan asin acos atan arcsin arccos arctan sinh cosh asinh acosh atanh erf erfc erfinv "
    "rpow rdiv sinc lgamma digamma xlogy float_power"
)
"""Other elementwise functions."""

GATES = words("sigmoid expit hardsigmoid softmax")

CONVOLUTIONS = {
    **{f"conv{n}d": ("bias stride padding dilation groups", 0) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": ("bias stride padding output_padding groups dilation", 1) for n in (1, 2, 3)},
}


def is_gate(call: Call) -> bool:
    """Whether all that depends on the input in this call are gates."""
    marks = [call.engine.mark_of(t) for t in tensors_in((call.args, call.kwargs)) if call.depends(t)]
    return bool(marks) and all(mark is not None and mark.gate for mark in marks)


def rearranged(call: Call) -> Any:
    """Flags of the values stay with them."""
    marks = [call.engine.mark_of(t) for t in tensors_in((call.args, call.kwargs)) if call.depends(t)]
    result = call.rules.affine(call)
    flags = {
        "itself": all(mark is not None and mark.itself for mark in marks),
        "gate": all(mark is not None and mark.gate for mark in marks),
        "still": not torch.is_grad_enabled(),
    }
    for tensor in tensors_in(result):
        if tensor.is_floating_point():
            call.engine.marked(tensor, **flags)
    return result


def linear_operation(call: Call) -> Any:
    """Gates stay gates: 1 - z lets through what z keeps back."""
    gate = is_gate(call)
    result = call.rules.affine(call)
    for tensor in tensors_in(result):
        if tensor.is_floating_point():
            call.engine.marked(tensor, gate=gate, still=not torch.is_grad_enabled())
    return result


def elementwise(call: Call) -> Tensor:
    """A function of one tensor; whatever else it takes must not depend on the input."""
    x, rest = call.args[0], call.args[1:]
    if not call.depends(x):
        return _elementwise_of_second(call)
    if any(map(call.depends, tensors_in((rest, call.kwargs)))):
        if call.name in ("maximum", "fmax", "minimum", "fmin"):
            return _of_two(call)
        raise call.no_rule("whose parameters depend on the input")
    result = call.rules.elementwise(
        call, x, lambda t: call.function(t, *rest, **call.kwargs), kinked=call.name in KINKED
    )
    if call.name in GATES or is_gate(call):
        call.engine.marked(result, gate=True, still=not torch.is_grad_enabled())
    return result


def _elementwise_of_second(call: Call) -> Tensor:
    if len(call.args) < 2 or not call.depends(call.args[1]):
        raise call.no_rule("with its argument by name")
    first, x, rest = call.args[0], call.args[1], call.args[2:]
    return call.rules.elementwise(
        call, x, lambda t: call.function(first, t, *rest, **call.kwargs), kinked=call.name in KINKED
    )


def _of_two(call: Call) -> Tensor:
    """max(a, b) as the greatest of a stack of two."""
    with call.engine:
        a, b = torch.broadcast_tensors(*call.args[:2])
        stack = torch.stack([a, b])
        return stack.amax(0) if call.name in ("maximum", "fmax") else stack.amin(0)


def power(call: Call) -> Tensor:
    """x^c or c^x; both dependent: exp(b ln a)."""
    a, b = call.args[0], call.argument(1, "exponent")
    if call.depends(a) and call.depends(b):
        with call.engine:
            return (b * a.log()).exp()
    if call.depends(a):
        result = call.rules.elementwise(call, a, lambda t: torch.pow(t, b), kinked=False)
        if is_gate(call):
            call.engine.marked(result, gate=True, still=not torch.is_grad_enabled())
        return result
    return call.rules.elementwise(call, b, lambda t: torch.pow(a, t), kinked=False)


def multiplication(call: Call) -> Any:
    """By a constant it is linear."""
    a, b = call.args[0], call.argument(1, "other")
    if call.depends(a) and call.depends(b):
        return call.rules.product(call, a, b, torch.mul)
    return linear_operation(call)


def division(call: Call) -> Any:
    """By a constant it is linear; c / x is a function of each element."""
    a, b = call.args[0], call.argument(1, "other")
    if call.kwargs.get("rounding_mode") is not None:
        raise call.no_rule("with rounding")
    if call.name == "rdiv":
        a, b = b, a
    if not call.depends(b):
        return linear_operation(call)
    if call.depends(a):
        return call.rules.quotient(call, a, b)
    return call.rules.elementwise(call, b, lambda t: torch.div(a, t), kinked=False)


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


def interpolated(call: Call) -> Tensor:
    """lerp: a + w (b - a)."""
    a, b, weight = call.args[0], call.argument(1, "end"), call.argument(2, "weight")
    with call.engine:
        return a + (b - a) * weight


def einsum(call: Call) -> Tensor:
    """One operand is linear; of two, a product or a weighted operation."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    if not isinstance(equation, str):
        raise call.no_rule("without an equation in letters")
    if len(operands) == 1:
        return linear_operation(call)
    if len(operands) != 2:
        raise call.no_rule("of more than two tensors")
    a, b = operands
    function = partial(torch.einsum, equation)
    if call.depends(a) and call.depends(b):
        return call.rules.product(call, a, b, function)
    if call.depends(a):
        return _constant_times(call, b, a, function)
    return _constant_times(call, a, b, lambda source, constant: function(constant, source))


def batch_norm(call: Call) -> Tensor:
    """With stored statistics: a scale and a shift of every channel."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    x, mean, variance, weight, bias, training, _, eps = (call.argument(i, n) for i, n in enumerate(names))
    if training or mean is None or variance is None:
        raise call.no_rule("with the statistics of the batch, in which examples see each other")
    scale = torch.rsqrt(variance + (1e-5 if eps is None else eps))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return call.rules.normed(call, x, scale, shift)


def layer_norm(call: Call) -> Tensor:
    """Standardize the last axes, times a weight, plus a bias."""
    x, shape, weight, bias = (
        call.argument(i, n) for i, n in enumerate(("input", "normalized_shape", "weight", "bias"))
    )
    eps = call.argument(4, "eps", 1e-5)
    count = 1 if isinstance(shape, int) else len(shape)
    return _scaled_and_shifted(call, _standardized(call, x, tuple(range(-count, 0)), eps), weight, bias)


def group_norm(call: Call) -> Tensor:
    """Standardize groups of channels, times a weight, plus a bias."""
    x, groups, weight, bias = (
        call.argument(i, n) for i, n in enumerate(("input", "num_groups", "weight", "bias"))
    )
    return _by_groups(call, x, int(groups), weight, bias, call.argument(4, "eps", 1e-5))


def instance_norm(call: Call) -> Tensor:
    """Standardize every channel of every example."""
    x, weight, bias = (call.argument(i, n) for i, n in ((0, "input"), (3, "weight"), (4, "bias")))
    if not call.argument(5, "use_input_stats", True):
        call = Call(
            engine=call.engine,
            name="batch_norm",
            function=F.batch_norm,
            args=(x, call.argument(1, "running_mean"), call.argument(2, "running_var"), weight, bias),
            kwargs={"eps": call.argument(7, "eps", 1e-5)},
        )
        return batch_norm(call)
    return _by_groups(call, x, x.shape[1], weight, bias, call.argument(7, "eps", 1e-5))


def _by_groups(
    call: Call, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    shape = x.shape
    with call.engine:
        grouped = x.reshape(shape[0], groups, -1)
    y = _standardized(call, grouped, (-1,), eps)
    with call.engine:
        y = y.reshape(shape)
    ones = [1] * (len(shape) - 2)
    return _scaled_and_shifted(
        call,
        y,
        None if weight is None else weight.view(-1, *ones),
        None if bias is None else bias.view(-1, *ones),
    )


def _standardized(call: Call, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    result = call.rules.standardized(call, x, dims, eps)
    return call.engine.marked(result, still=not torch.is_grad_enabled())


def _scaled_and_shifted(call: Call, y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    with call.engine:
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


def rms_norm(call: Call) -> Tensor:
    """The values over √(mean of squares + ε), times a weight."""
    x, shape, weight, eps = (
        call.argument(i, n) for i, n in enumerate(("input", "normalized_shape", "weight", "eps"))
    )
    dims = tuple(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    with call.engine:
        y = x / (x.square().mean(dims, keepdim=True) + eps).sqrt()
        return y if weight is None else y * weight


def normalize(call: Call) -> Tensor:
    """Vectors over max(their length, ε)."""
    x, p, dim, eps = (
        call.argument(i, n, d)
        for i, (n, d) in enumerate((("input", None), ("p", 2.0), ("dim", 1), ("eps", 1e-12)))
    )
    with call.engine:
        return x / x.norm(p, dim, keepdim=True).clamp_min(eps)


def norm(call: Call) -> Tensor:
    """The Euclidean length, or the sum of sizes."""
    x, p = call.args[0], call.argument(1, "p", call.kwargs.get("ord"))
    dim, keepdim = call.argument(2, "dim"), bool(call.argument(3, "keepdim", False))
    if p not in (None, "fro", 2, 1):
        raise call.no_rule(f"of order {p}")
    with call.engine:
        sizes = x.abs() if p == 1 else x.square()
        total = sizes.sum() if dim is None else sizes.sum(dim, keepdim=keepdim)
        return total if p == 1 else total.sqrt()


def variance(call: Call) -> Any:
    """Variance or standard deviation over axes, alone or with the mean."""
    x, dim = call.args[0], call.argument(1, "dim")
    unbiased, keepdim = call.kwargs.get("unbiased"), bool(call.kwargs.get("keepdim", False))
    if isinstance(dim, bool):
        unbiased, dim = dim, None
    correction = call.kwargs.get("correction", 1 if unbiased in (None, True) else 0)
    dims = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    count = math.prod(x.shape[d] for d in dims)
    with call.engine:
        mean = x.mean(dims, keepdim=True)
        spread = (x - mean).square().sum(dims, keepdim=keepdim) / (count - correction)
        spread = spread.sqrt() if call.name.startswith("std") else spread
        if call.name.endswith("_mean"):
            return spread, mean if keepdim else x.mean(dims)
        return spread


def softmax(call: Call) -> Tensor:
    """softmax, softmin and log_softmax over one axis."""
    x, dim = call.args[0], call.argument(1, "dim")
    dtype = call.kwargs.get("dtype")
    if dim is None:
        raise call.no_rule("without an axis")
    with call.engine:
        x = x if dtype is None else x.to(dtype)
        x = -x if call.name == "softmin" else x
    if call.name == "log_softmax":
        return call.rules.log_softmax(call, x, dim)
    return call.engine.marked(call.rules.softmax(call, x, dim), gate=True, still=not torch.is_grad_enabled())


def logsumexp(call: Call) -> Tensor:
    """x₁ - (x₁ - ln Σ exp x): what log_softmax leaves."""
    x, dim = call.args[0], call.argument(1, "dim")
    keepdim = bool(call.argument(2, "keepdim", False))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) != 1:
        raise call.no_rule("over several axes")
    with call.engine:
        first = x.narrow(dims[0], 0, 1)
        total = first - x.log_softmax(dims[0]).narrow(dims[0], 0, 1)
        return total if keepdim else total.squeeze(dims[0])


def max_pool(call: Call) -> Any:
    """The maximum of windows, with the places where they are asked for."""
    x = call.args[0]
    rest, kwargs = call.args[1:], dict(call.kwargs)
    asked = bool(kwargs.pop("return_indices", False)) or call.name.endswith("_with_indices")
    spatial = int(call.name.removesuffix("_with_indices")[-2])
    function = getattr(F, f"{call.name.removesuffix('_with_indices')}_with_indices")

    def winners(t: Tensor) -> tuple[Tensor, Tensor]:
        values, places = function(t, *rest, **kwargs)
        size = math.prod(t.shape[-spatial:])
        rows = torch.arange(t.numel() // size, device=t.device).view(*t.shape[:-spatial], *[1] * spatial)
        return values, rows * size + places

    values = call.rules.maximum(call, x, winners)
    return (values, function(x.detach(), *rest, **kwargs)[1]) if asked else values


def extreme(call: Call) -> Any:
    """max, min, amax and amin: over everything, over axes, or of two tensors."""
    x, dim = call.args[0], call.argument(1, "dim", call.kwargs.get("other"))
    keepdim = bool(call.argument(2, "keepdim", False))
    if isinstance(dim, Tensor):
        call = Call(
            engine=call.engine,
            name="maximum" if call.name == "max" else "minimum",
            function=torch.maximum if call.name == "max" else torch.minimum,
            args=(x, dim),
        )
        return elementwise(call)
    if call.name.endswith("min"):
        with call.engine:
            if dim is None or dim == ():
                return -((-x).max() if call.name == "min" else (-x).amax())
            if call.name == "amin":
                return -((-x).amax(dim, keepdim))
            values, places = (-x).max(dim, keepdim)
            return torch.return_types.min((-values, places))
    dims = (
        tuple(range(x.ndim)) if dim is None or dim == () else (dim,) if isinstance(dim, int) else tuple(dim)
    )
    dims = tuple(sorted(d % x.ndim for d in dims))

    def winners(t: Tensor) -> tuple[Tensor, Tensor]:
        others = [d for d in range(t.ndim) if d not in dims]
        places = torch.arange(t.numel(), device=t.device).view(t.shape)
        places = places.permute(*others, *dims).flatten(len(others))
        values, index = t.permute(*others, *dims).flatten(len(others)).max(-1)
        return values, places.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    values = call.rules.maximum(call, x, winners)
    values = call.engine.marked(values, still=not torch.is_grad_enabled())
    if keepdim:
        with call.engine:
            for d in dims:
                values = values.unsqueeze(d)
    if call.name == "max" and isinstance(dim, int):
        return torch.return_types.max((values, x.detach().argmax(dim, keepdim)))
    return values


def dropout(call: Call) -> Tensor:
    """Nothing in evaluation."""
    x, p, training = call.args[0], call.argument(1, "p", 0.5), call.argument(2, "training", True)
    if training and p:
        raise call.no_rule("that is switched on")
    return x


def copied(call: Call) -> Tensor:
    """copy_: the other tensor in this one's shape and type."""
    target, source = call.args[:2]
    with call.engine:
        return source.to(target.dtype).expand(target.shape)


def filled(call: Call) -> Tensor:
    """fill_ and zero_: a constant, or one tensor everywhere."""
    target, value = call.args[0], call.argument(1, "value", 0)
    if isinstance(value, Tensor):
        with call.engine:
            return value.to(target.dtype).expand(target.shape)
    return torch.full_like(target, value)


def grid_sample(call: Call) -> Tensor:
    """Linear in the picture; a grid that depends on the input has no rule."""
    if call.depends(call.argument(1, "grid")):
        raise call.no_rule("with a grid that depends on the input")
    return linear_operation(call)


def iterated(call: Call) -> Any:
    """The parts of x one after the other."""
    with call.engine:
        return iter(call.args[0].unbind(0))


def assigned(call: Call) -> Tensor:
    """x[index] = value, as a new tensor."""
    if any(map(call.depends, tensors_in(call.args[1]))):
        raise call.no_rule("at places that depend on the input")
    call = Call(engine=call.engine, name="setitem", function=setitem, args=call.args)
    return linear_operation(call)


def gated_linear(call: Call) -> Tensor:
    """glu: a σ(b) of the two halves."""
    x, dim = call.args[0], call.argument(1, "dim", -1)
    with call.engine:
        a, b = x.chunk(2, dim)
        return a * b.sigmoid()


TABLE: dict[str, Handler] = {
    **dict.fromkeys(REARRANGED, rearranged),
    **dict.fromkeys(LINEAR, linear_operation),
    **dict.fromkeys(KINKED | SMOOTH, elementwise),
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(
        ("matmul", "mm", "bmm", "mv", "dot", "vdot", "rmatmul", "outer", "ger", "inner"), matrix_product
    ),
    **dict.fromkeys(("addmm", "addmv", "addbmm", "baddbmm", "addr", "addcmul", "addcdiv"), added_product),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), variance),
    **dict.fromkeys(("softmax", "softmin", "log_softmax"), softmax),
    **dict.fromkeys(("max", "min", "amax", "amin"), extreme),
    **{
        f"{kind}max_pool{n}d{suffix}": max_pool
        for kind in ("", "adaptive_")
        for n in (1, 2, 3)
        for suffix in ("", "_with_indices")
    },
    **dict.fromkeys(
        (
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "alpha_dropout",
            "feature_alpha_dropout",
            "feature_dropout",
        ),
        dropout,
    ),
    "linear": linear_layer,
    "mul": multiplication,
    "div": division,
    "rdiv": division,
    "pow": power,
    "lerp": interpolated,
    "einsum": einsum,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
    "norm": norm,
    "vector_norm": norm,
    "linalg_vector_norm": norm,
    "logsumexp": logsumexp,
    "copy": copied,
    "fill": filled,
    "zero": filled,
    "grid_sample": grid_sample,
    "__iter__": iterated,
    "setitem": assigned,
    "glu": gated_linear,
    "local_response_norm": fused.local_response_norm,
    "scaled_dot_product_attention": fused.attention,
    "multi_head_attention_forward": fused.multi_head_attention,
    "lstm": fused.recurrent,
    "gru": fused.recurrent,
    "rnn_tanh": fused.recurrent,
    "rnn_relu": fused.recurrent,
    "lstm_cell": fused.cell,
    "gru_cell": fused.cell,
    "rnn_tanh_cell": fused.cell,
    "rnn_relu_cell": fused.cell,
}
"""The kind of every operation that has a rule, by its name."""
