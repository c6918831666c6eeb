"""What one layer of a network answers, without computing what comes after it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.capture import captured, until
from hubel.explain.question import _refuse_scripted, layer_named, refuse_training


class LayerOf:
    """`LayerOf(net, name, x)(x)` is what the layer answers to inputs [N, ...]: maps [N, C, ...]; differentiable where gradients are on.

    Of a layer that is called several times, the last answer counts, as everywhere in `hubel.explain`. `shape` is that of the answer to
    one example. The inputs `x` of the constructor show how often the layer is called.

    >>> layer = LayerOf(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), "0", torch.zeros(1, 1, 8, 8))
    >>> layer.shape, layer(torch.zeros(2, 1, 8, 8)).shape
    ((4, 6, 6), torch.Size([2, 4, 6, 6]))

    Raises `ValueError` for a name that the network does not have, a layer that is not called or does not answer with a tensor [N, C, ...],
    and a network in training mode.
    """

    def __init__(self, net: nn.Module, name: str, x: Tensor):
        ready(net)
        self.module = layer_named(net, name)
        self.net, self.name = net, name
        with torch.no_grad(), captured(net, lambda other, module: other == name) as calls:
            try:
                net(x)
            except (RuntimeError, ValueError):
                if not calls:  # else only what comes after the layer can not take this size
                    raise
        if not calls:
            raise ValueError(f"layer {name} is not called when the network answers: choose another one")
        self._calls = len(calls)
        self.shape = tuple(self._read(calls[-1][3], len(x)).shape[1:])

    def __call__(self, x: Tensor) -> Tensor:
        """The answer [N, C, ...] to inputs [N, ...]."""
        return self._read(until(self.net, self.name, (x,), call=self._calls), len(x))

    def _read(self, answer: Any, num: int) -> Tensor:
        value = answer[0] if isinstance(answer, tuple) else answer
        if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != num:
            raise ValueError(
                f"layer {self.name} does not answer with a tensor [N, C, ...]: choose another one"
            )
        return value


def ready(net: nn.Module) -> None:
    """Refuse a network that can not be looked into: scripted or compiled, or in a training mode that matters."""
    _refuse_scripted(net)
    refuse_training(net)


def check_channels(layer: str, channels: int, given: list[int]) -> list[int]:
    """The numbers of channels that are `given`, refused where the layer has no such channel.

    >>> check_channels("conv1", 8, [0, 8])
    Traceback (most recent call last):
    ValueError: layer conv1 has 8 channels, 0 to 7; received channel 8
    """
    for number in given:
        if isinstance(number, bool) or int(number) != number or not 0 <= number < channels:
            raise ValueError(
                f"layer {layer} has {channels} channels, 0 to {channels - 1}; received channel {number}"
            )
    return [int(number) for number in given]
