"""Noise injection: what is learned with noise in its way depends on no single value. A relative of dropout.

C. M. Bishop, Neural Comput. 7, 108 (1995), doi:10.1162/neco.1995.7.1.108: small noise on the inputs acts like a penalty on slopes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """Adds normal noise with the standard deviation `sd` to every element in training, and nothing in evaluation.

    The numbers are torch's global generator's. Any shape; the same shape and type back.

    Raises `ValueError` where `sd` is negative or not finite.

    >>> layer = GaussianNoise(0.1)
    >>> bool((layer.eval()(torch.ones(5)) == 1).all())
    True
    """

    def __init__(self, sd: float = 0.1):
        super().__init__()
        if not 0 <= sd < math.inf:
            raise ValueError(f"sd is {sd}; expected 0 or a positive number")
        self.sd = sd

    def forward(self, x: Tensor) -> Tensor:
        """`x` with noise, in training."""
        return x + self.sd * torch.randn_like(x) if self.training and self.sd else x

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"sd={self.sd}"
