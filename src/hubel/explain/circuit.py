"""Circuits: which earlier units excite a unit, which inhibit it, and where.

A unit of a convolution adds up what earlier units found around its position, each with a kernel of weights:

    unit = Σ_i Σ_δ w_i(δ) a_i(position + δ),   a_i ≥ 0 behind a ReLU

Where w_i is positive, unit i excites; where it is negative, it inhibits: a detector of cars is excited by windows in its upper half and by
wheels in the lower one. The operations are followed back from the unit to its last convolution (or linear layer), batch norm on the way
counted as a factor, and from there through activations, batch norm, poolings, sums and concatenations to the units whose answers it reads.

What an earlier unit looks for is drawn by its expanded weights: its gradient with respect to the pixels in the network without its
activations (`hubel.explain.linearized`), which is the kernel that all layers together make.

Source: C. Olah et al., "Zoom in: An introduction to circuits", Distill (2020), doi:10.23915/distill.00024.001; C. Voss et al.,
"Visualizing weights", Distill (2021), doi:10.23915/distill.00024.007 (expanded weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.explain.checkpoints import checkpoints_refused
from hubel.explain.geometry import needed, whole
from hubel.explain.layer import check_channels, ready
from hubel.explain.linearized import WEIGHTED, Linearized
from hubel.explain.question import as_input, layer_named, untouched
from hubel.explain.receptive_field import check_inputs
from hubel.explain.tracing import Call, Recording, record

Head = tuple[int, int, float]
"""The number of a tensor that a layer with weights answered (0: the input), a channel of it, and the factor up to where one came from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Circuit:
    """The earlier units that unit `channel` of `layer` hangs on most, the strongest first.

    `through` is the layer whose weights they are; `units` the names of the m earlier units, `channels` [m] their places among what it
    reads. `kernels` [m, h, w] are the weights, with the factor of a batch norm behind them; `excitation` and `inhibition` [m] the sums of
    their positive and negative values (the latter as positive numbers), times the earlier unit's mean answer where examples were given.
    `share` is how much of all excitation and inhibition these m have. `expanded` [m, C, H, W] is what each earlier unit looks for in the
    input, `own` [C, H, W] what this one does: weights through all layers, cut to where they are not zero.
    """

    layer: str
    channel: int
    through: str
    units: tuple[str, ...]
    channels: np.ndarray
    kernels: np.ndarray
    excitation: np.ndarray
    inhibition: np.ndarray
    share: float
    expanded: np.ndarray
    own: np.ndarray

    def __len__(self) -> int:
        return len(self.units)

    def __str__(self) -> str:
        parts = [
            f"{name} (+{plus:.2g} −{minus:.2g})"
            for name, plus, minus in zip(self.units, self.excitation, self.inhibition, strict=True)
        ]
        return (
            f"unit {self.channel} of {self.layer} is excited (+) and inhibited (−) by {', '.join(parts)}: "
            f"{100 * self.share:.0f} % of all that acts on it"
        )


def circuit(
    net: nn.Module,
    layer: str,
    channel: int,
    *,
    inputs: Sequence[int],
    count: int = 8,
    x: Tensor | np.ndarray | None = None,
) -> Circuit:
    """The `count` earlier units on which unit `channel` of `layer` hangs most, of a network that reads inputs (C, H, W).

    `layer` may be the convolution or linear layer itself, or what stands behind it (batch norm, activation, pooling, a residual block: then
    it is what its last convolution adds). Units are ranked by the sum of their absolute weights, times their mean absolute answer to the
    examples `x` [N, C, H, W] where these are given.

    Raises `ValueError` for a layer or channel that the network does not have, one that reads the input itself (look at its filters), and
    where an operation mixes channels between the layers.

    >>> net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    >>> found = circuit(net, "2", 1, inputs=(1, 12, 12), count=2)
    >>> found.through, len(found), found.kernels.shape, found.own.shape
    ('2', 2, (2, 3, 3), (1, 5, 5))
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1 earlier unit")
    ready(net)
    layer_named(net, layer)
    shape = check_inputs(inputs)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    with untouched(net):
        pixels = torch.zeros(1, *shape, dtype=like.dtype, device=like.device).requires_grad_()
        with Linearized():
            recording = record(net, pixels)
        at = recording.answered.get(layer)
        if at is None:
            raise ValueError(
                f"what layer {layer} answers does not depend on the input: it has no earlier units"
            )
        answered = recording.tensors[at]
        if answered.ndim < 2:
            raise ValueError(f"layer {layer} does not answer with a tensor [N, C, ...]: choose another one")
        (channel,) = check_channels(layer, answered.shape[1], [channel])
        end, number, factor = max(_heads(recording, at, channel, 1.0))
        if end == 0:
            raise ValueError(
                f"there is no layer with weights between the input and {layer}: choose a later one"
            )
        names = {
            id(p): name.removesuffix(".weight") for name, p in net.named_parameters(remove_duplicate=False)
        }
        through, arriving, kernels, first = _kernels(recording, end, number, factor, names)
        heads = [_heads(recording, arriving, first + i, 1.0) for i in range(len(kernels))]
        if all(source == 0 for found in heads for source, _, _ in found):
            raise ValueError(
                f"layer {through} reads the input itself, not earlier units: its weights are shown by filters(net, {through!r})"
            )
        means = (
            np.ones(len(kernels))
            if x is None
            else _means(net, as_input(net, x), arriving, first, len(kernels))
        )
        excitation, inhibition = (
            means * np.maximum(sign * kernels, 0).reshape(len(kernels), -1).sum(axis=1) for sign in (1, -1)
        )
        weight = excitation + inhibition
        order = np.argsort(-weight, kind="stable")[: min(count, len(weight))]
        drawn = _gradients(
            pixels,
            recording.tensors[arriving],
            [first + int(i) for i in order],
            recording.tensors[at],
            channel,
        )
        expanded = _cut(drawn[:-1])
        own = _cut(drawn[-1:])[0]
    return Circuit(
        layer=layer,
        channel=channel,
        through=through,
        units=tuple(_named(recording, names, heads[int(i)], arriving, first + int(i)) for i in order),
        channels=order + first,
        kernels=kernels[order],
        excitation=excitation[order],
        inhibition=inhibition[order],
        share=float(weight[order].sum() / max(weight.sum(), 1e-300)),
        expanded=expanded,
        own=own,
    )


def _heads(recording: Recording, number: int, channel: int, factor: float) -> list[Head]:
    """The channels of layers with weights that make up one channel of a tensor, each with its factor."""
    call = recording.calls[number]
    if call is None or call.name in WEIGHTED:
        return [(number, channel, factor)]
    shape = recording.shapes[number]
    box = tuple((channel, channel) if axis == 1 else ends for axis, ends in enumerate(whole(shape)))
    found: list[Head] = []
    for source, part in needed(call, box):
        if not part:  # a single number
            continue
        if len(part) < 2 or part[1][0] != part[1][1]:
            raise ValueError(
                f"a circuit can not be followed through {call.name}, which mixes channels (answer {list(shape)}): choose a layer on "
                "this side of it"
            )
        through = _factor(call, source, channel, shape)
        if through:
            found += _heads(recording, source, part[1][0], factor * through)
    return found


def _factor(call: Call, source: int, channel: int, shape: tuple[int, ...]) -> float:
    """By what an operation multiplies this channel of one of the tensors that it reads."""
    if call.name == "batch_norm":
        given = call.bound("input running_mean running_var weight bias training momentum eps")
        scale = 1.0 if given.get("weight") is None else float(given["weight"][channel])
        variance = 1.0 if given.get("running_var") is None else float(given["running_var"][channel])
        return scale / (variance + given.get("eps", 1e-5)) ** 0.5
    if call.name == "neg":
        return -1.0
    if call.name == "sub":
        second = call.args[1] if len(call.args) > 1 else None
        return -1.0 if isinstance(second, Tensor) and call.numbers.get(id(second)) == source else 1.0
    if call.name in ("mul", "div") and len(call.args) > 1:
        read = call.read()
        if len(read) > 1:  # a gate: it is open
            return 1.0 if source == max(read, key=lambda item: item[1].numel())[0] else 0.0
        other = next(a for a in call.args[:2] if not (isinstance(a, Tensor) and id(a) in call.numbers))
        value = _constant(other, channel, shape)
        return value if call.name == "mul" else 1 / value
    return 1.0


def _constant(other: Any, channel: int, shape: tuple[int, ...]) -> float:
    """A number, or the mean of what a tensor has for a channel."""
    if not isinstance(other, Tensor):
        return float(other)
    return float(other.detach().double().expand(shape)[:, channel].mean())


def _kernels(
    recording: Recording, end: int, number: int, factor: float, names: dict[int, str]
) -> tuple[str, int, np.ndarray, int]:
    """Of the unit `number` of a layer with weights: the layer's name, the tensor whose channels it reads, its kernels over them [C, ...], and
    the first of these channels.
    """
    call = recording.calls[end]
    assert call is not None
    given = call.bound("input weight bias stride padding dilation groups")
    weight: Tensor = given["weight"].detach()
    through = names.get(id(given["weight"]), call.name)
    read: Tensor = given["input"]
    arriving = call.numbers[id(read)]
    if "transpose" in call.name:
        raise ValueError(
            f"layer {through} is a transposed convolution, whose circuits are not followed: choose another layer"
        )
    if call.name != "linear":
        groups = int(call.args[6] if len(call.args) > 6 else given.get("groups", 1))
        first = number // (len(weight) // groups) * weight.shape[1]
        return through, arriving, factor * weight[number].double().cpu().numpy(), first
    row = weight[number].double().cpu()
    arriving = _before_flattening(recording, arriving)
    shape = recording.shapes[arriving]
    kernels = row.view(shape[1:]) if len(shape) > 2 else row
    return through, arriving, factor * kernels.numpy(), 0


def _before_flattening(recording: Recording, number: int) -> int:
    """The maps that were flattened for a linear layer; `number` itself where there are none."""
    at = number
    while (call := recording.calls[at]) is not None:
        source, tensor = call.read()[0]
        if (
            call.name in ("flatten", "reshape", "view")
            and len(recording.shapes[source]) > len(call.shape) == 2
        ):
            return source
        if call.name in WEIGHTED or tuple(tensor.shape) != call.shape:
            return number
        at = source
    return number


def _means(net: nn.Module, x: Tensor, arriving: int, first: int, num: int) -> np.ndarray:
    """Mean absolute answers [num] of the earlier units to examples."""
    total = np.zeros(num)
    for part in x.split(8):
        found = record(net, part).tensors[arriving][:, first : first + num].double().abs()
        total += found.transpose(0, 1).flatten(1).mean(1).cpu().numpy() * len(part)
    return total / len(x)


def _gradients(
    pixels: Tensor, arriving: Tensor, channels: list[int], answered: Tensor, channel: int
) -> np.ndarray:
    """The gradients [m + 1, C, ...] of the middle of each channel, and of the unit itself."""
    found = []
    for tensor, number in [*((arriving, c) for c in channels), (answered, channel)]:
        middle = tuple(size // 2 for size in tensor.shape[2:])
        with checkpoints_refused():
            (gradient,) = torch.autograd.grad(tensor[(0, number, *middle)], pixels, retain_graph=True)
        found.append(gradient[0].double().cpu().numpy())
    return np.stack(found)


def _cut(pictures: np.ndarray) -> np.ndarray:
    """Pictures [m, C, ...] without the borders at which all are zero."""
    for axis in range(2, pictures.ndim):
        used = np.flatnonzero((pictures != 0).any(axis=tuple(a for a in range(pictures.ndim) if a != axis)))
        if len(used):
            pictures = pictures.take(range(used[0], used[-1] + 1), axis=axis)
    return pictures


def _named(
    recording: Recording, names: dict[int, str], heads: list[Head], arriving: int, channel: int
) -> str:
    """What an earlier unit is called: by its layer with weights, or by the module that answers the sum of several."""
    if len(heads) == 1:
        ((source, number, _),) = heads
        call = recording.calls[source]
        if call is None:
            return f"channel {number} of the input"
        weight = call.bound("input weight")["weight"]
        return f"unit {number} of {names.get(id(weight), call.name)}"
    modules = [name for name, at in recording.answered.items() if at == arriving and name]
    return f"unit {channel} of {min(modules, key=len) if modules else 'the sum that it reads'}"
