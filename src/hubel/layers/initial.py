"""Initial weights by their published names, for a network of any kind.

With m inputs and n outputs of a layer (for filters, times the number of positions of the kernel):

    normal          N(0, 1/m)
    uniform         U(-1/sqrt m, 1/sqrt m)
    glorot_uniform  U(-sqrt(6/(m + n)), sqrt(6/(m + n)))        Glorot and Bengio 2010, equation 16
    glorot_normal   N(0, 2/(m + n))
    he_normal       N(0, 2/m)                                    He et al. 2015, arXiv:1502.01852, equation 10
    he_uniform      U(-sqrt(6/m), sqrt(6/m))
    orthogonal      rows or columns orthonormal                  Saxe, McClelland and Ganguli 2014, arXiv:1312.6120
    zeros           0: every unit of a layer then stays equal to its neighbours for ever, which is why weights begin at random
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import nn

Scheme = Literal[
    "normal", "uniform", "glorot_uniform", "glorot_normal", "he_normal", "he_uniform", "orthogonal", "zeros"
]


@torch.no_grad()
def initialize(net: nn.Module, scheme: Scheme, *, seed: int | None = None) -> nn.Module:
    """Give all linear and convolutional layers of `net` fresh weights by `scheme`, and biases of zero; answers `net`.

    The numbers are torch's global generator's, or follow from `seed`. Norms, embeddings and recurrent layers are left as they are.

    Raises `ValueError` for an unknown scheme.

    >>> layer = initialize(nn.Linear(1000, 500), "he_normal", seed=0)
    >>> round(layer.weight.std().item() * math.sqrt(1000 / 2), 2), layer.bias.abs().max().item()
    (1.0, 0.0)
    """
    if scheme not in get_args(Scheme):
        raise ValueError(f"scheme is {scheme!r}; expected one of {', '.join(get_args(Scheme))}")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if not isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
            continue
        weight = torch.empty(layer.weight.shape)
        transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
        _fill(weight.transpose(0, 1) if transposed else weight, scheme, generator)
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.zero_()
    return net


def _fill(weight: torch.Tensor, scheme: Scheme, generator: torch.Generator | None) -> None:
    """Fill a weight [outputs, inputs, …]."""
    positions = math.prod(weight.shape[2:])
    inputs, outputs = weight.shape[1] * positions, weight.shape[0] * positions
    variance = {"normal": 1 / inputs, "glorot_normal": 2 / (inputs + outputs), "he_normal": 2 / inputs}
    bound = {"uniform": 1 / inputs, "glorot_uniform": 6 / (inputs + outputs), "he_uniform": 6 / inputs}
    if scheme in variance:
        weight.normal_(0.0, math.sqrt(variance[scheme]), generator=generator)
    elif scheme in bound:
        half = math.sqrt(bound[scheme])
        weight.uniform_(-half, half, generator=generator)
    elif scheme == "orthogonal":
        weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape), generator=generator))
    else:
        weight.zero_()
