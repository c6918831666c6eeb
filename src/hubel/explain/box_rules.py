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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hubel.explain.nested import mapped
from hubel.explain.tape import BATCH_NORMS, Operation, Slot, answers

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
            of_channels = self.operation.name in BATCH_NORMS
            if of_channels or value.ndim < self.dims or all(side == 1 for side in value.shape[-self.dims :]):
                return value
            whole = value.reshape(*(1,) * (self.ndim - value.ndim), *value.shape)
            return cut(whole, start, size)

        tree = (self.operation.args, self.operation.kwargs)
        tree = mapped(tree, Tensor, constant)
        args, kwargs = mapped(tree, Slot, lambda slot: crops.crop(slot.number, start, size))
        return answers(self.operation, self.operation.call(*args, **kwargs))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A position depends on those under a window: convolution, pooling, a border of constants.

    `factor` [1, 1, *S_out] multiplies the answer, for means whose windows hold fewer positions at the border. `maps` are the sizes of the
    argument and of the answer of a convolution: along an axis of which everything is asked for, it makes its border of zeros itself, over
    which it does not multiply.
    """

    operation: Operation
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    fill: float
    arguments: tuple[Any, ...] | None
    factor: Tensor | None = None
    maps: tuple[tuple[int, ...], tuple[int, ...]] | None = None
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

    def share(self, size: Sequence[int]) -> float:
        """The share of the taps that lie inside the map, where whole maps are asked for; else 1."""
        found = 1.0
        for axis, (before, after) in enumerate(zip(*self.maps, strict=True) if self.maps else ()):
            if size[axis] == after:
                at = np.arange(after)[:, None] * self.stride[axis] - self.padding[axis]
                at = at + np.arange(self.kernel[axis]) * self.dilation[axis]
                found *= float(((at >= 0) & (at < before)).mean())
        return found

    def compute(self, crops: Crops, start: Starts, size: Sequence[int]) -> list[Tensor | None]:
        first, reads = start * np.asarray(self.stride) - np.asarray(self.padding), self.reads(size)
        arguments = self.arguments
        if self.maps is not None and arguments is not None:
            whole = np.asarray(size) == self.maps[1]
            first, reads = np.where(whole, 0, first), tuple(np.where(whole, self.maps[0], reads).tolist())
            border = [*arguments[3][: -len(size)], *np.where(whole, self.padding, 0).tolist()]
            arguments = (*arguments[:3], border, *arguments[4:])
        value = crops.crop(self.operation.inputs[0], first, reads, self.fill)
        if arguments is None:
            return [value]
        found = answers(self.operation, self.operation.call(value, *arguments))
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
    one = whole[0]
    for crop, places in zip(crops, start.tolist(), strict=True):
        crop.copy_(one[(..., *(slice(p, p + k) for p, k in zip(places, size, strict=True)))])
    return crops


def empty_like(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Memory of the kind and order (channels last or not) of `value`."""
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=value.dtype, device=value.device, memory_format=order)
