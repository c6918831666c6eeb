"""The receptive field of a unit: the part of the input that it can see.

In theory, of layers with kernels k_l, strides s_l and dilations d_l in a row,

    size = 1 + Σ_l d_l (k_l - 1) Π_{m<l} s_m,        stride = Π_l s_l

and where paths join, the box around those of all paths. Here the operations of the network are recorded while it answers (functional and
residual code too), and a box is followed back through them: it is exact for the unit in the middle, with the padding that it reaches into.

Measured in two ways. `measured`: where the input can change the unit when all weights count as positive and activations are taken away, so
that nothing cancels; it has to be the box of theory within the borders of the input. `effective`: the mean of |∂ unit / ∂ input| of the network
as it is, over random inputs: what is seen is far from uniform, and mostly much smaller than what could be seen.

Source: W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep convolutional neural networks", NeurIPS 2016
(arXiv:1701.04128); A. Araujo, W. Norris, J. Sim, "Computing receptive fields of convolutional neural networks", Distill (2019),
doi:10.23915/distill.00021 (the sums, and the box around several paths).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.explain.checkpoints import checkpoints_refused
from hubel.explain.geometry import Box, box_of_input
from hubel.explain.layer import LayerOf
from hubel.explain.linearized import Linearized
from hubel.explain.question import untouched
from hubel.explain.tracing import record


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceptiveField:
    """What a unit of `layer` sees of inputs of shape `inputs`. All tuples have one entry an axis of positions: rows and columns of a picture.

    `size` and `stride` in input positions (`stride` None where the layer has one position only); `position` is that of the unit that was
    followed back, the middle one; `box` its part of the input, (first, last) of each axis, cut at the borders (`reach` is not cut).
    `measured` is the same box as measured with positive weights; `effective` [H, W] the mean size of the gradient, which sums to 1, and
    `effective_size` four standard deviations of it along each axis. The last three are None where they were not asked for.
    """

    layer: str
    inputs: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int | None, ...]
    position: tuple[int, ...]
    reach: tuple[tuple[int, int], ...]
    box: tuple[tuple[int, int], ...]
    measured: tuple[tuple[int, int], ...] | None = None
    effective: np.ndarray | None = None
    effective_size: tuple[float, ...] | None = None

    def __str__(self) -> str:
        text = f"a unit of {self.layer} sees {_times(self.size)} input positions"
        if None not in self.stride:
            text += f", and its neighbour sees {_times(self.stride)} further on"
        if self.effective_size is not None:
            text += f"; mostly {_times([round(s) for s in self.effective_size])} of them"
        if self.measured is not None and self.measured != self.box:
            text += f" (measured: {_times([b - a + 1 for a, b in self.measured])})"
        return text


class Fields:
    """`fields.at(position)` is the part of the input [C, ...] that the unit of `layer` at that position can see, not cut at the borders.

    >>> fields = Fields(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), "0", (1, 8, 8))
    >>> fields.positions, fields.at((0, 4))
    ((8, 8), ((-1, 1), (3, 5)))
    """

    def __init__(self, net: nn.Module, layer: str, inputs: Sequence[int], *, steps_first: bool = False):
        self.inputs = check_inputs(inputs)
        with untouched(net):
            x = _zeros(net, self.inputs)
            self.answer = LayerOf(net, layer, x)
            self._recording = record(net, x)
        if layer not in self._recording.answered:
            raise ValueError(f"what layer {layer} answers does not depend on the input: it sees nothing")
        self._number = self._recording.answered[layer]
        self._shape = self._recording.shapes[self._number]
        self.steps_first = steps_first
        self.first_axis = 1 if len(self.inputs) >= 3 else 0

    @property
    def positions(self) -> tuple[int, ...]:
        """How many positions the layer has along each axis."""
        return self._shape[1:-1] if self.steps_first else self._shape[2:]

    def at(self, position: Sequence[int]) -> Box:
        """(first, last) of each axis of positions of the input."""
        here = tuple((int(p), int(p)) for p in position)
        channel = (0, self._shape[-1 if self.steps_first else 1] - 1)
        box = ((0, 0), *here, channel) if self.steps_first else ((0, 0), channel, *here)
        found = box_of_input(self._recording, self._number, box)
        assert found is not None
        return found[1 + self.first_axis :]

    def cut(self, reach: Box) -> Box:
        """`reach` within the borders of the input."""
        sizes = self.inputs[self.first_axis :]
        return tuple((max(a, 0), min(b, size - 1)) for (a, b), size in zip(reach, sizes, strict=True))


def receptive_field(
    net: nn.Module,
    layer: str,
    *,
    inputs: Sequence[int],
    measure: bool = True,
    samples: int = 16,
    steps_first: bool = False,
    seed: int = 0,
) -> ReceptiveField:
    """What the unit in the middle of `layer` sees of inputs [C, H, W] (any number of axes; of a row of features all are positions).

    `measure=False` leaves the two measurements out; `samples` random normal inputs are used for the effective one. `steps_first` says that the
    layer answers with steps [N, L, C], as recurrent layers do.

    Raises `ValueError` for a layer that the network does not have, for shapes that it can not read, and for an operation of which it is not
    known what it reads.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, padding=1))
    >>> field = receptive_field(net, "3", inputs=(1, 32, 32))
    >>> field.size, field.stride, field.measured == field.box
    ((8, 8), (2, 2), True)
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected at least 1 random input")
    fields = Fields(net, layer, inputs, steps_first=steps_first)
    positions = fields.positions
    position = tuple(size // 2 for size in positions)
    reach = fields.at(position)
    stride: list[int | None] = [None] * len(reach)
    for axis, size in enumerate(positions):
        if size > 1:  # the middle is never the first
            before = fields.at([p - (a == axis) for a, p in enumerate(position)])
            for place, (here, there) in enumerate(zip(reach, before, strict=True)):
                stride[place] = here[0] - there[0] or stride[place]
    found = ReceptiveField(
        layer=layer,
        inputs=fields.inputs,
        size=tuple(b - a + 1 for a, b in reach),
        stride=tuple(stride),
        position=position,
        reach=reach,
        box=fields.cut(reach),
    )
    if not measure:
        return found
    double = copy.deepcopy(net).double()  # the corners of a deep field weigh 10⁻²⁰ of its middle
    with untouched(net), untouched(double):
        x = _random(double, fields.inputs, 1, seed).abs()
        positive = _sensitivity(LayerOf(double, layer, x), fields, position, x, positive=True)
        x = _random(net, fields.inputs, samples, seed)
        effective = _sensitivity(fields.answer, fields, position, x, positive=False)
    axes = range(positive.ndim)
    seen = [np.flatnonzero((positive > 0).any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    if all(len(places) for places in seen):
        found = replace(found, measured=tuple((int(places[0]), int(places[-1])) for places in seen))
    if not effective.sum() > 0:  # no input that was drawn excites the unit
        return found
    effective = effective / effective.sum()
    return replace(found, effective=effective, effective_size=tuple(_spread(effective, a) for a in axes))


def _sensitivity(
    answer: LayerOf, fields: Fields, position: tuple[int, ...], x: Tensor, *, positive: bool
) -> np.ndarray:
    """Mean over inputs `x` [N, ...] of |∂ (sum of the unit's channels) / ∂ input|, summed over input channels."""
    total = 0.0
    where = (slice(None), *position) if fields.steps_first else (slice(None), slice(None), *position)
    for row in x.split(1):
        with torch.enable_grad():
            one = row.requires_grad_()
            if positive:
                with Linearized(positive=True):
                    value = answer(one)
            else:
                value = answer(one)
            with checkpoints_refused():
                (gradient,) = torch.autograd.grad(value[where].sum(), one, allow_unused=True)
        if gradient is not None:
            total = total + gradient.detach().abs().double()[0]
    grown = np.asarray(total, np.float64)
    return grown.sum(axis=0) if fields.first_axis else grown


def _spread(weights: np.ndarray, axis: int) -> float:
    """Four standard deviations along an axis of `weights`, which sum to 1; at most all of it."""
    along = weights.sum(axis=tuple(a for a in range(weights.ndim) if a != axis))
    places = np.arange(len(along))
    mean = (along * places).sum()
    return min(4 * float(np.sqrt((along * (places - mean) ** 2).sum())), float(len(along)))


def check_inputs(inputs: Sequence[int]) -> tuple[int, ...]:
    """`inputs` as the shape of one example, refused where it is none.

    >>> check_inputs([3, 8, 8])
    (3, 8, 8)
    """
    shape = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    if not shape or not all(isinstance(s, (int, np.integer)) and s > 0 for s in shape):
        raise ValueError(
            f"inputs must be the shape of one example, such as (3, 224, 224); received {inputs!r}"
        )
    return tuple(int(s) for s in shape)


def _zeros(net: nn.Module, inputs: tuple[int, ...]) -> Tensor:
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    return torch.zeros(1, *inputs, dtype=like.dtype, device=like.device)


def _random(net: nn.Module, inputs: tuple[int, ...], num: int, seed: int) -> Tensor:
    drawn = torch.randn(num, *inputs, generator=torch_generator(seed, "receptive field"))
    return drawn.to(_zeros(net, (1,)))


def _times(numbers: Sequence[object]) -> str:
    return " × ".join(map(str, numbers))
