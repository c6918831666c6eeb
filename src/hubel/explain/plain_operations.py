"""Operations that are affine, elementwise, products, quotients or maxima, told to a method's rules as such."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain.intercept import Call, setitem
from hubel.explain.nested import tensors_in
from hubel.explain.operation_names import GATES, KINKED


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
    if x.is_complex():
        if call.name != "abs":
            raise call.no_rule("of complex numbers")
        with call.engine:
            return torch.view_as_real(x).square().sum(-1).sqrt()
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


def interpolated(call: Call) -> Tensor:
    """lerp: a + w (b - a)."""
    a, b, weight = call.args[0], call.argument(1, "end"), call.argument(2, "weight")
    with call.engine:
        return a + (b - a) * weight


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
    if not asked:
        return values
    places = function(x.detach(), *rest, **kwargs)[1]
    maps = torch.arange(places[..., *[0] * spatial].numel(), device=x.device)
    maps = maps.view(*places.shape[:-spatial], *[1] * spatial).expand_as(places)
    return values, call.engine.marked(places, still=True, chosen_from=(x, maps))


def max_unpool(call: Call) -> Tensor:
    """Values at the places of maxima, which are known to be those of some other tensor, or constant."""
    places = call.argument(1, "indices")
    mark = call.engine.mark_of(places)
    if mark is None or call.rules.takes_still:
        return linear_operation(call)
    if mark.chosen_from is None:
        raise call.no_rule("at places that do not come from a max pooling")
    return call.rules.unpooled(call, call.args[0], places, *mark.chosen_from)


def chosen(call: Call) -> Any:
    """Sorted, greatest or middle values, with their places."""
    if not call.rules.takes_still:
        raise call.no_rule("in which values change their places")
    return call.rules.affine(call)


def product_of_elements(call: Call) -> Tensor:
    """prod: the product of all elements, or along an axis, taken two by two."""
    x, dim = call.args[0], call.argument(1, "dim")
    if call.kwargs.get("dtype") is not None:
        raise call.no_rule("in another type of numbers")
    with call.engine:
        x, axis = (x.flatten(), 0) if dim is None else (x, dim % x.ndim)
        if not x.shape[axis]:
            raise call.no_rule("of no elements")
        while (count := x.shape[axis]) > 1:
            half = count // 2
            pairs = x.narrow(axis, 0, half) * x.narrow(axis, half, half)
            x = torch.cat([pairs, x.narrow(axis, count - 1, 1)], axis) if count % 2 else pairs
        return x if call.argument(2, "keepdim", False) else x.squeeze(axis)


def cumulative_product(call: Call) -> Tensor:
    """cumprod: the products of the first 1, 2, 3 … elements along an axis; each step multiplies products of twice as many."""
    x, dim = call.args[0], call.argument(1, "dim")
    if call.kwargs.get("dtype") is not None:
        raise call.no_rule("in another type of numbers")
    count, reach = x.shape[dim], 1
    with call.engine:
        while reach < count:
            further = x.narrow(dim, reach, count - reach) * x.narrow(dim, 0, count - reach)
            x = torch.cat([x.narrow(dim, 0, reach), further], dim)
            reach *= 2
        return x.clone()


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
