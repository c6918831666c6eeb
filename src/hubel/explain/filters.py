"""The filters of a convolution as they are: its weights [F, C, ...], one small picture a filter.

A filter that reads three channels of a picture is a picture in red, green and blue itself; one that reads one channel is grey, and signed: where
it is white the unit wants light, where it is black it wants darkness. Those of deeper layers read C maps, and are shown one map at a time.

A convolution compares every patch of what it reads with its filters: w · p = |w| |p| cos(w, p), so that a filter is a template of what it
looks for (`hubel.explain.templates`).

Source: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS 2012, figure 3
(doi:10.1145/3065386).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from hubel.core.errors import nearest
from hubel.explain.question import layer_named


@dataclass(frozen=True, kw_only=True, eq=False)
class Filters:
    """`weights` [F, C, ...] of `layer`: F filters over C channels (of a linear layer [F, C])."""

    layer: str
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def __str__(self) -> str:
        sizes = " × ".join(map(str, self.weights.shape[2:])) or "1"
        flat = np.abs(self.weights).reshape(len(self.weights), -1).max(axis=1)
        dead = int((flat < 1e-3 * flat.max()).sum()) if len(flat) else 0
        text = f"{self.layer}: {len(self.weights)} filters of {sizes} over {self.weights.shape[1]} channels"
        return f"{text}, {dead} of them (almost) zero" if dead else text


def filters(net: nn.Module, layer: str | None = None) -> Filters:
    """The weights of `layer`, or of the first convolution of the network.

    Those of a transposed convolution come as [F, C, ...] too, F being what it answers with.

    Raises `ValueError` for a layer that the network does not have or that has no weights, and where there is no convolution.

    >>> print(filters(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 4, 3))))
    0: 8 filters of 5 × 5 over 3 channels
    """
    name = convolution_named(net, layer)
    module = layer_named(net, name, answers=False)
    weight = module.weight.detach().double().cpu()  # type: ignore[union-attr, operator]
    if isinstance(module, TRANSPOSED):
        groups = module.groups
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return Filters(layer=name, weights=weight.numpy())


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def convolution_named(net: nn.Module, layer: str | None) -> str:
    """`layer`, refused where it has no weights over channels; by default the first convolution."""
    having = [
        name
        for name, module in net.named_modules()
        if name and isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim >= 2  # type: ignore[union-attr]
    ]
    if layer is None:
        modules = dict(net.named_modules())
        found = [name for name in having if isinstance(modules[name], CONVOLUTIONS)]
        if not found:
            raise ValueError(
                f"the network has no convolution: name the layer whose weights are to be shown.{nearest('', having)}"
            )
        return found[0]
    layer_named(net, layer, answers=False)
    if layer not in having:
        raise ValueError(f"layer {layer} has no weights over channels.{nearest(layer, having)}")
    return layer
