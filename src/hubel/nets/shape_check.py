"""Does a network take an input of this size, and where does it fail if not? Tried on torch's meta device, which has shapes but no numbers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hubel.core.capture import captured, entered


@dataclass(frozen=True)
class LayerShapes:
    """A layer by its name in the network and its kind, the shape of what it was given and of what it answered, without N."""

    layer: str
    kind: str
    given: tuple[int, ...]
    answered: tuple[int, ...]

    def __str__(self) -> str:
        given, answered = ("×".join(map(str, shape)) for shape in (self.given, self.answered))
        return f"{self.layer} ({self.kind}): {given} → {answered}"


def shape_check(net: nn.Module, inputs: Sequence[int]) -> tuple[LayerShapes, ...]:
    """What every layer with weights, and every pooling, makes of one example of shape `inputs`, in the order of the calls.

    Raises `ValueError` naming the layer that such an example does not fit, and the sizes there. `net` is any module; it is not changed.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 3))
    >>> print(*shape_check(net, (1, 16, 16)), sep=chr(10))
    0 (Conv2d): 1×16×16 → 4×12×12
    1 (MaxPool2d): 4×12×12 → 4×6×6
    3 (Linear): 144 → 3
    >>> shape_check(net, (1, 12, 12))
    Traceback (most recent call last):
    ValueError: examples of 1×12×12 do not fit: layer 3 (Linear) would get 64, and it was made for 144
    """
    trial = copy.deepcopy(net).to("meta").eval()
    double = any(p.dtype == torch.float64 for p in trial.parameters())
    x = torch.zeros(2, *inputs, device="meta", dtype=torch.float64 if double else torch.float32)
    asked = "×".join(map(str, inputs))
    try:
        with (
            torch.no_grad(),
            captured(trial, lambda name, module: _counts(module)) as calls,
            entered(trial) as under_way,
        ):
            trial(x)
    except ValueError as error:
        if under_way and not under_way[-1][0]:  # the network's own check, which says more
            raise
        raise ValueError(f"examples of {asked} do not fit: {_told(under_way, error)}") from error
    except RuntimeError as error:
        raise ValueError(f"examples of {asked} do not fit: {_told(under_way, error)}") from error
    return tuple(
        LayerShapes(name, type(module).__name__, tuple(given[0].shape[1:]), tuple(answered.shape[1:]))
        for name, module, given, answered in calls
        if given and isinstance(given[0], Tensor) and isinstance(answered, Tensor)
    )


def _counts(module: nn.Module) -> bool:
    return "Pool" in type(module).__name__ or any(p.ndim >= 2 for p in module.parameters(recurse=False))


def _told(under_way: list, error: Exception) -> str:
    if not under_way:
        return str(error)
    name, module, given = under_way[-1]
    shape = given[0].shape[1:] if given and isinstance(given[0], Tensor) else ()
    received = "×".join(map(str, shape))
    channels = getattr(module, "in_channels", None)
    if channels is not None and shape and shape[0] != channels:
        return f"layer {name} ({type(module).__name__}) would get {received}, and it was made for {channels} channels"
    wanted = getattr(module, "in_features", None)
    if wanted is not None and shape and shape[-1] != wanted:
        return f"layer {name} ({type(module).__name__}) would get {received}, and it was made for {wanted}"
    return f"layer {name or 'of the network'} ({type(module).__name__}) would get {received}: {str(error).splitlines()[0]}"
