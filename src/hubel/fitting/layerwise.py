"""A number format checked layer by layer, each against float32 on the same numbers.

Through a deep network that was just made, rounding grows from layer to layer: in bf16 the whole gradient of a fresh ResNet-50 has
little in common with that in float32, and neither has that of the same network with its weights rounded once. That says nothing
about the arithmetic. So every layer with a matrix or filters is given the inputs and the output gradient that it had in the float32
pass, alone, and what it makes of them is compared: only its own rounding is left, some 0.4 % in bf16, and a wrong kernel stands out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hubel.fitting.machine import threads

if TYPE_CHECKING:
    from hubel.fitting.precision import Precision


@dataclass(frozen=True)
class Seen:
    """What a layer was given in a pass: its one input and the gradient of its one output."""

    name: str
    inputs: Tensor
    output_gradient: Tensor


def watched(net: nn.Module, run: Callable[[], None]) -> list[Seen]:
    """What `run`, a forward and backward pass of `net`, gave to every linear and convolutional layer that was called once."""
    given: dict[str, list[Tensor]] = {}
    gradients: dict[str, Tensor] = {}
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            given.setdefault(name, []).append(inputs[0].detach())
            if output.requires_grad:
                output.register_hook(lambda gradient: gradients.__setitem__(name, gradient.detach()))

        handles.append(layer.register_forward_hook(keep))

    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):  # one tensor in, one out
            watch(name, layer)
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return [
        Seen(name, inputs[0], gradients[name])
        for name, inputs in given.items()
        if len(inputs) == 1 and name in gradients
    ]


def worst(
    net: nn.Module, seen: list[Seen], base: Precision, precision: Precision, device: torch.device
) -> tuple[float, str]:
    """The greatest relative error of any layer's output, weight gradient or input gradient, and where it is."""
    found, where = 0.0, "no layer"
    for what in seen:
        layer = net.get_submodule(what.name)
        wanted, made = (_pass(layer, what, how, device) for how in (base, precision))
        for kind in wanted:
            error = float((made[kind] - wanted[kind]).norm() / wanted[kind].norm().clamp_min(1e-30))
            if not error <= found:  # not a number counts as well
                found, where = error, f"{kind} of {what.name or 'the network'}"
    return found, where


def _pass(layer: nn.Module, what: Seen, precision: Precision, device: torch.device) -> dict[str, Tensor]:
    layer = precision.place(copy.deepcopy(layer), device)
    layer.zero_grad(set_to_none=True)
    inputs = precision.arrange(what.inputs.float()).detach().requires_grad_()
    with threads(precision.threads):
        with precision.autocast(device):
            output = layer(inputs)
        output.backward(precision.arrange(what.output_gradient.to(output.dtype)))
    found = {"the output": output.detach(), "the input gradient": inputs.grad}
    weights = ((name, p) for name, p in layer.named_parameters(recurse=False) if p.ndim >= 2)
    found |= {
        f"the gradient of {name}": p.grad for name, p in weights
    }  # that of a bias before a norm is nothing but rounding
    return {name: value.double() for name, value in found.items() if value is not None}
