"""Where the maxima of max-poolings stood ("switches"), and unpooling, which puts values back there.

    y, s = pool(x),  s the place of each maximum;    unpool(y, s) = x at the places of the maxima, 0 elsewhere

A deconvolutional network goes back through a convolutional one in this way: unpool, rectify, filter with the transposed kernels.

Source: M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv:1311.2901), section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Switches:
    """The places [N, C, h, w] of the maxima of one pooling, counted over all positions of a map, and the shape of what was pooled."""

    places: Tensor
    shape: tuple[int, ...]
    kernel: Any
    stride: Any
    padding: Any

    def unpool(self, values: Tensor) -> Tensor:
        """`values` [N, C, h, w] at the places of the maxima, 0 elsewhere: [N, C, H, W]. A place that won twice has its last value."""
        return F.max_unpool2d(
            values, self.places, self.kernel, self.stride, self.padding, output_size=list(self.shape[2:])
        )


def with_switches(
    layers: Iterable[tuple[str, nn.Module]], x: Tensor
) -> tuple[Tensor, Mapping[str, Switches]]:
    """What `layers` (names and modules, one after the other) make of `x` [N, C, H, W], and the switches of every max-pooling by name.

    >>> import torch
    >>> x = torch.arange(16.0).view(1, 1, 4, 4)
    >>> y, found = with_switches([("pool", nn.MaxPool2d(2))], x)
    >>> found["pool"].unpool(y)[0, 0]
    tensor([[ 0.,  0.,  0.,  0.],
            [ 0.,  5.,  0.,  7.],
            [ 0.,  0.,  0.,  0.],
            [ 0., 13.,  0., 15.]])
    """
    found = {}
    for name, layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            shape = tuple(x.shape)
            x, places = F.max_pool2d(
                x,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.ceil_mode,
                return_indices=True,
            )
            found[name] = Switches(places, shape, layer.kernel_size, layer.stride, layer.padding)
        else:
            x = layer(x)
    return x, found
