"""Norms and softmax, taken apart: into a standardization, a product and a sum; squares, means and roots; and so on."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain.intercept import Call


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


def cosine_similarity(call: Call) -> Tensor:
    """The product of two vectors over that of their lengths, each at least ε."""
    a, b = (call.argument(i, n) for i, n in enumerate(("x1", "x2")))
    dim, eps = call.argument(2, "dim", 1), call.argument(3, "eps", 1e-8)
    with call.engine:
        a, b = (x / x.square().sum(dim, keepdim=True).sqrt().clamp_min(eps) for x in (a, b))
        return (a * b).sum(dim)


def distances(call: Call) -> Tensor:
    """cdist: the Euclidean distances between the rows of two matrices."""
    a, b = (call.argument(i, n) for i, n in enumerate(("x1", "x2")))
    if call.argument(2, "p", 2.0) != 2:
        raise call.no_rule("of another order than 2")
    with call.engine:
        return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1).sqrt()


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


def logcumsumexp(call: Call) -> Tensor:
    """The logsumexp of the first 1, 2, 3 … elements along an axis."""
    x, dim = call.args[0], call.argument(1, "dim")
    with call.engine:
        counts = range(1, x.shape[dim] + 1)
        return torch.cat([x.narrow(dim, 0, n).logsumexp(dim, keepdim=True) for n in counts], dim)


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
