"""Feature maps: what the units of a layer answer at every position of an example.

A map is the picture that a unit sees: bright where it found what it looks for. Together they are all that the layers above know of the example.

Source: M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (arXiv:1311.2901).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hubel.explain.layer import LayerOf
from hubel.explain.question import as_input, untouched


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """`maps` [N, C, ...] that `layer` answers with; `silent` [C] says which units answered the same at every position of every example."""

    layer: str
    maps: np.ndarray

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def silent(self) -> np.ndarray:
        flat = np.moveaxis(self.maps, 1, 0).reshape(self.maps.shape[1], -1)
        return flat.max(axis=1) == flat.min(axis=1)

    def __str__(self) -> str:
        _, units, *sizes = self.maps.shape
        text = f"{self.layer}: {units} maps of {' × '.join(map(str, sizes)) or 1}"
        silent = int(self.silent.sum())
        return (
            f"{text}, {silent} of them the same everywhere" if silent and self.maps[:, 0].size > 1 else text
        )


def feature_maps(net: nn.Module, x: Tensor | np.ndarray, layer: str) -> FeatureMaps:
    """What `layer` answers to inputs `x` [N, ...], as they enter the network: maps [N, C, H, W] of a convolution.

    Raises `ValueError` for a layer that the network does not have or that does not answer with a tensor, and for inputs that are not
    finite or not of the shape that the network reads.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> print(feature_maps(net, np.random.default_rng(0).normal(size=(2, 1, 8, 8)), "0"))
    0: 4 maps of 6 × 6
    """
    with untouched(net), torch.no_grad():
        inputs = as_input(net, x)
        answered = LayerOf(net, layer, inputs[:1])(inputs)
    found = answered.float() if answered.dtype.itemsize < 4 else answered
    return FeatureMaps(layer=layer, maps=found.cpu().numpy())
