"""Which rule an operation has: read off its name, its arguments and the shapes that were recorded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain.box_rules import Averaged, Indexed, Local, Rule, Transposed, Window
from hubel.explain.nested import mapped, tensors_in
from hubel.explain.tape import BATCH_NORMS, Operation, Repeated, Slot, Tape

NAMED_LOCAL = (*BATCH_NORMS, "clone", "detach", "alias", "_to_copy", "lift_fresh", "_prelu_kernel")
ALONG = {
    "_softmax": ("dim",),
    "_log_softmax": ("dim",),
    "glu": ("dim",),
    "mean": ("dim",),
    "sum": ("dim",),
    "amax": ("dim",),
    "amin": ("dim",),
    "cat": ("dim",),
    "slice": ("dim",),
    "select": ("dim",),
    "split": ("dim",),
    "split_with_sizes": ("dim",),
    "squeeze": ("dim",),
    "unsqueeze": ("dim",),
    "transpose": ("dim0", "dim1"),
}
"""Operations that are local in the spatial axes where these arguments name leading axes."""
MOVED = (
    "reflection_pad",
    "replication_pad",
    "upsample_nearest",
    "_upsample_nearest_exact",
    "slice",
    "flip",
    "roll",
)
POOLS = (
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
)


def rule_of(operation: Operation, tape: Tape, dims: int, users: dict[int, list[int]]) -> Rule | None:
    """The rule of an operation whose recorded arguments and answers have `dims` spatial axes at their end; None where it has none."""
    if not all(_is_maps(tape, number, dims) for number in operation.inputs):
        return None
    repeated: list[Repeated] = []
    mapped((operation.args, operation.kwargs), Repeated, repeated.append)
    if repeated:
        return None
    name = operation.name
    if name in ("mean", "sum") and (averaged := _averaged(operation, tape, dims)) is not None:
        return averaged
    if not all(
        number < 0 or _is_maps(tape, number, dims) or not users[number] for number in operation.outputs
    ):
        return None
    if name == "convolution":
        return _convolution(operation, tape, dims)
    if name in POOLS:
        return _pool(operation, tape, dims, users)
    if name == "constant_pad_nd":
        return _constant_border(operation, tape, dims)
    if (local := _local(operation, tape, dims)) is not None:
        return local
    if name.startswith(MOVED) and len(operation.inputs) == 1:
        return _indexed(operation, tape, dims)
    return None


def _is_maps(tape: Tape, number: int, dims: int) -> bool:
    shape = tape.shapes[number]
    return len(shape) >= dims + 1 and shape[0] == 2


def _spatial(tape: Tape, number: int, dims: int) -> tuple[int, ...]:
    return tape.shapes[number][-dims:]


def _local(operation: Operation, tape: Tape, dims: int) -> Local | None:
    name, output = operation.name, operation.outputs[0]
    sides = _spatial(tape, output, dims)
    if any(_spatial(tape, number, dims) != sides for number in operation.inputs):
        return None
    ndim = len(tape.shapes[output])
    if name in ("view", "_unsafe_view", "reshape"):
        return Local(operation=operation, dims=dims, ndim=ndim, output=tape.shapes[output])
    pointwise = torch.Tag.pointwise in operation.function.tags
    if not (pointwise or name in NAMED_LOCAL or _along_leading(operation, tape, dims)):
        return None
    if name in BATCH_NORMS and operation.bound().get("training"):
        return None
    for constant in tensors_in((operation.args, operation.kwargs)):
        if pointwise and not _fits(constant, ndim, sides):
            return None
        if (
            not pointwise
            and constant.ndim > 1
            and name != "_prelu_kernel"
            and not _fits(constant, ndim, sides)
        ):
            return None
    if pointwise and any(len(tape.shapes[number]) != ndim for number in operation.inputs):
        return None
    return Local(operation=operation, dims=dims, ndim=ndim)


def _fits(constant: Tensor, ndim: int, sides: tuple[int, ...]) -> bool:
    """Whether a constant broadcasts with any number of versions: no axis of examples, and spatial axes of one position or of all."""
    if constant.ndim > ndim or (constant.ndim == ndim and constant.shape[0] != 1):
        return False
    last = tuple(constant.shape[-len(sides) :])
    return all(side == 1 for side in last) or last == sides


def _along_leading(operation: Operation, tape: Tape, dims: int) -> bool:
    """Whether the axes along which the operation works are neither that of the examples nor spatial."""
    name = operation.name
    ndim = len(tape.shapes[operation.inputs[0]])
    leading = range(1, ndim - dims)
    if name == "permute":
        order = [axis % ndim for axis in operation.bound()["dims"]]
        return order[0] == 0 and order[-dims:] == list(range(ndim - dims, ndim))
    if name not in ALONG:
        return False
    found = operation.bound()
    if any(argument not in found for argument in ALONG[name]):
        return False
    if name == "slice" and found["dim"] % ndim == 0:
        return found["start"] in (None, 0) and (found["end"] is None or found["end"] >= 2**31)
    axes: list[int] = []
    for argument in ALONG[name]:
        axis = found[argument]
        if axis is None:
            return False
        axes += list(axis) if isinstance(axis, (list, tuple)) else [axis]
    if name == "unsqueeze":
        return all(axis % (ndim + 1) in range(1, ndim - dims + 1) for axis in axes)
    return bool(axes) and all(axis % ndim in leading for axis in axes)


def _averaged(operation: Operation, tape: Tape, dims: int) -> Averaged | None:
    found = operation.bound()
    axes, ndim = found.get("dim"), len(tape.shapes[operation.inputs[0]])
    if not axes or sorted(axis % ndim for axis in axes) != list(range(ndim - dims, ndim)):
        return None
    if found.get("dtype") is not None or len(tape.shapes[operation.inputs[0]]) < dims + 2:
        return None
    count = math.prod(_spatial(tape, operation.inputs[0], dims)) if operation.name == "mean" else 1
    return Averaged(operation=operation, dims=dims, count=count, keepdim=bool(found["keepdim"]))


def _listed(value: Any, count: int) -> list[int]:
    """One number an axis."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * count if len(values) == 1 else values


def _convolution(operation: Operation, tape: Tape, dims: int) -> Rule | None:
    found = operation.bound()
    weight = found["weight"]
    if not isinstance(weight, Tensor) or len(operation.inputs) != 1:
        return None
    axes = weight.ndim - 2
    if axes < dims or len(tape.shapes[operation.inputs[0]]) != weight.ndim:
        return None
    stride, padding, dilation = (_listed(found[name], axes) for name in ("stride", "padding", "dilation"))
    if found["transposed"]:
        if axes != dims:
            return None
        taps = weight.shape[0] * math.prod(weight.shape[2:])
        return Transposed(
            operation=operation,
            kernel=tuple(weight.shape[2:]),
            stride=tuple(stride),
            padding=tuple(padding),
            dilation=tuple(dilation),
            arguments=(
                weight,
                found["bias"],
                stride,
                [0] * axes,
                dilation,
                True,
                [0] * axes,
                found["groups"],
            ),
            work=taps / found["groups"] / math.prod(stride),
        )
    kernel, inner = list(weight.shape[2:]), [*padding[: axes - dims], *(0,) * dims]
    return Window(
        operation=operation,
        kernel=tuple(kernel[-dims:]),
        stride=tuple(stride[-dims:]),
        padding=tuple(padding[-dims:]),
        dilation=tuple(dilation[-dims:]),
        fill=0.0,
        arguments=(weight, found["bias"], stride, inner, dilation, False, [0] * axes, found["groups"]),
        maps=(_spatial(tape, operation.inputs[0], dims), _spatial(tape, operation.outputs[0], dims)),
        work=float(weight[0].numel()),
    )


def _pool(operation: Operation, tape: Tape, dims: int, users: dict[int, list[int]]) -> Window | None:
    found, source = operation.bound(), operation.inputs[0]
    greatest = operation.name.startswith("max")
    if greatest and users[operation.outputs[1]]:
        return None  # the places of the maxima are read
    axes = int(operation.name.removeprefix("max_pool").removeprefix("avg_pool")[0])
    if axes < dims or len(tape.shapes[source]) != axes + 2:
        return None
    kernel, padding = _listed(found["kernel_size"], axes), _listed(found["padding"], axes)
    stride = _listed(found["stride"] or kernel, axes)
    dilation = _listed(found["dilation"], axes) if greatest else [1] * axes
    inner = [*padding[: axes - dims], *(0,) * dims]
    divided = not greatest and (found["ceil_mode"] or (any(padding) and not found["count_include_pad"]))
    if axes > dims and (found["ceil_mode"] or divided):
        return None
    factor = _factor(operation, tape, dims) if divided else None
    more: tuple[Any, ...] = (dilation, False)
    if not greatest:
        divisor = 1 if divided else found.get("divisor_override")
        more = (False, True) if axes == 1 else (False, True, divisor)
    return Window(
        operation=operation,
        kernel=tuple(kernel[-dims:]),
        stride=tuple(stride[-dims:]),
        padding=tuple(padding[-dims:]),
        dilation=tuple(dilation[-dims:]),
        fill=-math.inf if greatest else 0.0,
        arguments=(kernel, stride, inner, *more),
        factor=factor,
        work=float(math.prod(kernel)),
    )


def _factor(operation: Operation, tape: Tape, dims: int) -> Tensor:
    """By what the sum (of one axis: the mean) under each window has to be multiplied [1, 1, *S_out], where windows at the border hold fewer positions."""
    found, value = operation.bound(), tape.values[operation.inputs[0]]
    kernel, padding = _listed(found["kernel_size"], dims), _listed(found["padding"], dims)
    stride = _listed(found["stride"] or kernel, dims)
    ones = torch.ones(1, 1, *value.shape[2:], dtype=value.dtype, device=value.device)
    share = operation.function(ones, *operation.args[1:], **operation.kwargs)  # positions inside / divisor
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    wide = [
        side
        for p, k, s in zip(padding[::-1], kernel[::-1], stride[::-1], strict=True)
        for side in (p, p + k + s)
    ]
    inside = pool(F.pad(ones, wide), kernel, stride) * math.prod(kernel)
    factor = share / inside[(..., *(slice(side) for side in share.shape[2:]))]
    return factor * kernel[0] if dims == 1 else factor


def _constant_border(operation: Operation, tape: Tape, dims: int) -> Rule | None:
    found = operation.bound()
    pads = list(found["pad"])
    before, after = pads[0::2][::-1], pads[1::2][::-1]  # torch counts from the last axis
    axes = len(before)
    if axes < dims:
        before, after = [0] * (dims - axes) + before, [0] * (dims - axes) + after
    leading = any(before[:-dims]) or any(after[:-dims])
    spatial = any(before[-dims:]) or any(after[-dims:])
    if leading and spatial:
        return None
    if leading:
        if axes >= len(tape.shapes[operation.inputs[0]]):
            return None
        return Local(operation=operation, dims=dims, ndim=len(tape.shapes[operation.outputs[0]]))
    ones = (1,) * dims
    return Window(
        operation=operation,
        kernel=ones,
        stride=ones,
        padding=tuple(before[-dims:]),
        dilation=ones,
        fill=float(found["value"] or 0.0),
        arguments=None,
    )


def _indexed(operation: Operation, tape: Tape, dims: int) -> Indexed | None:
    """The rule, read off what the operation does with coordinates in the place of values."""
    shape = tape.shapes[operation.inputs[0]]
    if shape[1:-dims] != tape.shapes[operation.outputs[0]][1:-dims]:
        return None
    maps = []
    for axis in range(dims):
        side = shape[len(shape) - dims + axis]
        line = torch.arange(side, dtype=torch.float64).view(-1, *(1,) * (dims - 1 - axis))
        coordinates = line.expand(*(1,) * (len(shape) - dims), *shape[-dims:]).contiguous()
        args, kwargs = mapped((operation.args, operation.kwargs), Slot, lambda _, c=coordinates: c)
        found = operation.function(*args, **kwargs)
        ordered = found.movedim(len(shape) - dims + axis, 0).flatten(1)
        if ordered.numel() == 0 or bool((ordered != ordered[:, :1]).any()):
            return None  # an axis is not moved on its own
        maps.append(ordered[:, 0].numpy().astype(np.int64))
    return Indexed(operation=operation, maps=tuple(maps), sizes=tuple(shape[-dims:]))
