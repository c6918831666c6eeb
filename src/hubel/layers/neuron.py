"""Neurons of 1943 and 1958: they fire or they do not.

W. S. McCulloch and W. Pitts, Bull. Math. Biophys. 5, 115 (1943), doi:10.1007/BF02478259.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Threshold(nn.Module):
    """The step function: 1 where x ≥ 0, else 0, elementwise. Its derivative is zero wherever there is one: nothing learns through it.

    >>> Threshold()(torch.tensor([-0.1, 0.0, 2.0]))
    tensor([0., 1., 1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return (x >= 0).to(x.dtype)


class McCullochPitts(nn.Module):
    """Fires (1) where at least `threshold` of its Boolean inputs [N, F] do, else rests (0): [N, 1]. Nothing in it is learned.

    With a threshold of F it is the logical AND of its inputs, with 1 their OR.

    Raises `ValueError` for inputs that are neither 0 nor 1, or that are not [N, F].

    >>> both = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    >>> McCullochPitts(threshold=2)(both).flatten().tolist(), McCullochPitts(threshold=1)(both).flatten().tolist()
    ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0])
    """

    threshold: Tensor

    def __init__(self, threshold: float):
        super().__init__()
        self.register_buffer("threshold", torch.tensor(float(threshold)))

    def forward(self, x: Tensor) -> Tensor:
        """Which examples make it fire: [N, 1]."""
        if x.ndim != 2:
            raise ValueError(
                f"a McCulloch-Pitts neuron expects Boolean inputs [N, F]; received {list(x.shape)}"
            )
        if not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(
                f"a McCulloch-Pitts neuron expects inputs of 0 and 1; received values from {float(x.min()):g} to {float(x.max()):g}"
            )
        return (x.sum(dim=1, keepdim=True) >= self.threshold).to(x.dtype)
