"""What a changed box does to the answer of an operation: which box of it changes, and how that box is computed from crops.

Values of a tape are [N, leading axes (channels), spatial axes]. In the spatial axes a change lies in a box; a rule says where the box lies
behind the operation (`spread`) and computes it (`compute`):

- `Local`: a position depends on the same position of each argument (ReLU, `+`, batch norm, concatenation of channels, softmax over channels);
- `Window`: on the positions under a window (convolution, pooling, a border of constants);
- `Transposed`: on the positions whose window it is under (transposed convolution);
- `Indexed`: on one other position (slices, mirrored borders, nearest-neighbour enlargement);
- `Averaged`: the mean over all positions, which changes by what the box adds to the sum.

Along one axis a window of K taps (dilation d, stride s, border p) reads, for answer j, the positions j s - p, ..., j s - p + (K - 1) d; the
box [a, b) therefore changes the answers from ⌈(a + p - (K - 1) d) / s⌉ to ⌊(b - 1 + p) / s⌋. Answers [o, o + k) read the positions from
o s - p on, (k - 1) s + (K - 1) d + 1 of them.

An operation without a rule is computed on whole maps. The idea: S. Nakandala, A. Kumar, Y. Papakonstantinou, "Incremental and approximate
inference for faster occlusion-based deep CNN explanations", SIGMOD 2019, doi:10.1145/3299869.3319874, which rewrites three networks by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.explain.tape import BATCH_NORMS, Operation, Slot, Tape, answers, mapped, tensors_in

Starts = np.ndarray
"""Of each version the first position of its box [n, d]."""


@dataclass(frozen=True)
class Spans:
    """Of each version where the values may differ: positions `start` ≤ i < `stop` [n, d] along each spatial axis."""

    start: np.ndarray
    stop: np.ndarray

    def within(self, sizes: Sequence[int]) -> Spans:
        """Inside maps of `sizes`, and never empty."""
        start = np.minimum(np.maximum(self.start, 0), np.asarray(sizes) - 1)
        return Spans(start, np.maximum(np.minimum(self.stop, np.asarray(sizes)), start + 1))

    def boxes(self, sizes: Sequence[int]) -> tuple[Starts, tuple[int, ...]]:
        """Boxes of one size for all versions that hold the spans: their starts, and the size. At a border they are shifted inwards."""
        size = (self.stop - self.start).max(axis=0)
        return np.minimum(self.start, np.asarray(sizes) - size), tuple(int(k) for k in size)


class Crops(Protocol):
    """Where rules read: values of the tape for several versions at once, unchanged outside their boxes."""

    def crop(self, number: int, start: Starts, size: Sequence[int], fill: float = 0.0) -> Tensor:
        """Value `number` of every version at `size` positions from `start` on [n, ..., *size]; outside the map it is `fill`."""
        ...

    def box(self, number: int) -> tuple[Tensor, Starts]:
        """The box of value `number` [n, ..., *size] and where it starts."""
        ...

    def base(self, number: int) -> Tensor:
        """Value `number` of the unperturbed example [1, ...]."""
        ...


class Rule(Protocol):
    """How a box passes an operation."""

    @property
    def exits(self) -> bool:
        """Whether the answer is whole: it has no spatial axes any more."""
        ...

    @property
    def work(self) -> float:
        """Multiply-adds for one number of the answer."""
        ...

    def spread(self, spans: Sequence[Spans]) -> Spans:
        """Where the answer differs, from where the arguments do (in the order of `Operation.inputs`)."""
        ...

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many positions of an argument are read for `size` positions of the answer."""
        ...

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        """The answers at `size` positions from `start` on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Local:
    """A position depends on the same position of every argument. `output` is the recorded shape of a reshape, in other cases None."""

    operation: Operation
    dims: int
    ndim: int
    output: tuple[int, ...] | None = None
    exits: bool = False
    work: float = 0.0

    def spread(self, spans: Sequence[Spans]) -> Spans:
        start, stop = spans[0].start, spans[0].stop
        for other in spans[1:]:
            start, stop = np.minimum(start, other.start), np.maximum(stop, other.stop)
        return Spans(start, stop)

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(size)

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        if self.output is not None:
            value = crops.crop(self.operation.inputs[0], start, size)
            return [value.reshape(len(start), *self.output[1 : -self.dims], *size)]

        def constant(value: Tensor) -> Tensor:
            if value.ndim < self.dims or all(side == 1 for side in value.shape[-self.dims :]):
                return value
            whole = value.reshape(*(1,) * (self.ndim - value.ndim), *value.shape)
            return cut(whole, start, size)

        tree = (self.operation.args, self.operation.kwargs)
        tree = mapped(tree, Tensor, constant)
        args, kwargs = mapped(tree, Slot, lambda slot: crops.crop(slot.number, start, size))
        function = self.operation.in_place or self.operation.function
        return answers(self.operation, function(*args, **kwargs))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A position depends on those under a window: convolution, pooling, a border of constants.

    `factor` [1, 1, *S_out] multiplies the answer, for means whose windows hold fewer positions at the border.
    """

    operation: Operation
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    fill: float
    arguments: tuple[Any, ...] | None
    factor: Tensor | None = None
    exits: bool = False
    work: float = 1.0

    def spread(self, spans: Sequence[Spans]) -> Spans:
        stride, padding = np.asarray(self.stride), np.asarray(self.padding)
        reach = (np.asarray(self.kernel) - 1) * np.asarray(self.dilation)
        start = -(-(spans[0].start + padding - reach) // stride)
        return Spans(start, (spans[0].stop - 1 + padding) // stride + 1)

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            (k - 1) * s + (taps - 1) * d + 1
            for k, s, taps, d in zip(size, self.stride, self.kernel, self.dilation, strict=True)
        )

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        first = start * np.asarray(self.stride) - np.asarray(self.padding)
        value = crops.crop(self.operation.inputs[0], first, self.reads(size), self.fill)
        if self.arguments is None:
            return [value]
        found = answers(self.operation, self.operation.function(value, *self.arguments))
        if self.factor is not None and found[0] is not None:
            found[0] = found[0] * cut(self.factor, start, size)
        return found


@dataclass(frozen=True, kw_only=True)
class Transposed:
    """A position i is spread over i s - p, ..., i s - p + (K - 1) d: transposed convolution."""

    operation: Operation
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    arguments: tuple[Any, ...]
    work: float
    exits: bool = False

    def spread(self, spans: Sequence[Spans]) -> Spans:
        stride, padding = np.asarray(self.stride), np.asarray(self.padding)
        last = (spans[0].stop - 1) * stride - padding + self._reach()
        return Spans(spans[0].start * stride - padding, last + 1)

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        stride = np.asarray(self.stride)
        return tuple(((np.asarray(size) - 1 + self._reach()) // stride + 2).tolist())

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        stride, padding = np.asarray(self.stride), np.asarray(self.padding)
        first = (start + padding - self._reach()) // stride
        last = -(-(start + np.asarray(size) - 1 + padding) // stride)
        length = tuple((last - first + 1).max(axis=0).tolist())
        value = crops.crop(self.operation.inputs[0], first, length)
        value = self.operation.function(value, *self.arguments)
        offsets = start - (first * stride - padding)
        if bool((offsets == offsets[0]).all()):
            return [value[(..., *(slice(o, o + k) for o, k in zip(offsets[0].tolist(), size, strict=True)))]]
        found = empty_like(value, (*value.shape[: -len(size)], *size))
        for k in range(len(found)):
            found[k] = cut(value[k : k + 1], offsets[k : k + 1], size)[0]
        return [found]

    def _reach(self) -> np.ndarray:
        return (np.asarray(self.kernel) - 1) * np.asarray(self.dilation)


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """Position j depends on position `maps[axis][j]` along each axis: slices, mirrored borders, nearest-neighbour enlargement."""

    operation: Operation
    maps: tuple[np.ndarray, ...]
    sizes: tuple[int, ...]
    exits: bool = False
    work: float = 0.0

    def spread(self, spans: Sequence[Spans]) -> Spans:
        starts, stops = [], []
        for axis, places in enumerate(self.maps):
            inside = (places >= spans[0].start[:, axis, None]) & (places < spans[0].stop[:, axis, None])
            starts.append(inside.argmax(axis=1))
            last = len(places) - inside[:, ::-1].argmax(axis=1)
            stops.append(np.where(inside.any(axis=1), last, 0))
        return Spans(np.stack(starts, 1), np.stack(stops, 1))

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            int(np.ptp(np.lib.stride_tricks.sliding_window_view(places, k), axis=1).max()) + 1
            for places, k in zip(self.maps, size, strict=True)
        )

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        wanted = [
            places[start[:, axis, None] + np.arange(k)]
            for axis, (places, k) in enumerate(zip(self.maps, size, strict=True))
        ]
        length = np.array([int(np.ptp(index, axis=1).max()) + 1 for index in wanted])
        first = np.minimum(
            np.stack([index.min(axis=1) for index in wanted], 1), np.asarray(self.sizes) - length
        )
        value = crops.crop(self.operation.inputs[0], first, tuple(length))
        for axis, index in enumerate(wanted):
            dim = value.ndim - len(size) + axis
            places = torch.from_numpy(index - first[:, axis, None]).to(value.device)
            shape = [len(places), *(1,) * (value.ndim - 1)]
            shape[dim] = places.shape[1]
            value = torch.take_along_dim(value, places.view(shape), dim)
        return [value]


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """The mean (or sum) over all positions: that of the unperturbed example, and what the box adds to it."""

    operation: Operation
    dims: int
    count: int
    keepdim: bool
    exits: bool = True
    work: float = 1.0

    def spread(self, spans: Sequence[Spans]) -> Spans:
        return spans[0]

    def reads(self, size: Sequence[int]) -> tuple[int, ...]:
        return tuple(size)

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        number = self.operation.inputs[0]
        values, start = crops.box(number)
        before = cut(crops.base(number), start, values.shape[-self.dims :])
        axes = tuple(range(-self.dims, 0))
        change = (values - before).sum(axes, keepdim=self.keepdim) / self.count
        return [crops.base(self.operation.outputs[0]) + change]


def cut(whole: Tensor, start: Starts, size: Sequence[int]) -> Tensor:
    """Crops [n, ..., *size] of one map [1, ..., *S], each at its own start.

    >>> cut(torch.arange(5.0).view(1, 1, 5), np.array([[0], [3]]), (2,))[:, 0]
    tensor([[0., 1.],
            [3., 4.]])
    """
    dims = len(size)
    lead = whole.shape[1:-dims]
    crops = empty_like(whole, (len(start), *lead, *size))
    for crop, places in zip(crops, start.tolist(), strict=True):
        crop.copy_(whole[(0, ..., *(slice(p, p + k) for p, k in zip(places, size, strict=True)))])
    return crops


def empty_like(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Memory of the kind and order (channels last or not) of `value`."""
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=value.dtype, device=value.device, memory_format=order)


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
    ones = torch.ones(1, 1, *value.shape[2:], dtype=value.dtype, device=value.device)
    share = operation.function(ones, *operation.args[1:], **operation.kwargs)  # positions inside / divisor
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    wide = [side for p, k in zip(padding[::-1], kernel[::-1], strict=True) for side in (p, p + k)]
    inside = pool(F.pad(ones, wide), kernel, found["stride"] or kernel) * math.prod(kernel)
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
