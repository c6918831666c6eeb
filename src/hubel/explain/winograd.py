"""Convolutions of 3 × 3 with a quarter of the multiplications: tiles of 4 × 4 answers from 36 products in the place of 144.

    Y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A,    d a tile of 6 × 6 positions of the input, g the filter, Y the 4 × 4 answers

Products of polynomials are determined by their values at 0, ±2/3, ±3/2 and ∞; Bᵀ and Aᵀ are what evaluates and interpolates there. With the
usual points 0, ±1, ±2, ∞ rounding errors are three times those of a plain convolution, with these a third larger (256 channels, float32:
root mean square 8.1e-7 of that of the answers, after 6.1e-7).

Measured (AMD EPYC (Zen 4), one thread, CPU time, torch 2.13.0, 2026-11-21) for 20 maps stored channels last, against oneDNN's convolution:
512 channels 7 × 7: 23 ms, 37 ms; 256 channels 14 × 14: 28 ms, 38 ms; 256 channels 12 × 12: 16 ms, 31 ms; 128 channels 15 × 15: 9.4 ms, 12 ms;
64 channels 17 × 17: 4.6 ms, 3.9 ms. Tried and left: F(2 × 2, 3 × 3) (slower), products by oneDNN (as quick), memory that is kept (as quick).

Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016 (arXiv:1509.09308); the choice of points:
B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, ACM Trans. Math. Softw. 46 (2020) 37, doi:10.1145/3412380.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.explain.tape import Operation

POINTS = (0.0, 2 / 3, -2 / 3, 1.5, -1.5)
TILE, WINDOW = 4, 6
"""Answers of a tile along one axis, and the positions that they read."""
AT_ONCE = 160
"""Tiles that are computed at once: what they need stays in the processor's cache."""


class Winograd:
    """The convolution with `weight` [K, C, 3, 3] (stride 1, one group), called as `aten.convolution` is; plain where that is quicker.

    >>> weight, x = torch.randn(8, 4, 3, 3), torch.randn(2, 4, 12, 6)
    >>> found = Winograd(weight).by_tiles(x, None, sides=(10, 6), padding=(0, 1))
    >>> bool(torch.allclose(found, torch.conv2d(x, weight, padding=(0, 1)), atol=1e-4))
    True
    """

    def __init__(self, weight: Tensor):
        self.weight = weight
        self._filters: Tensor | None = None

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Sequence[int], *more: Any
    ) -> Tensor:
        sides = tuple(side + 2 * border - 2 for side, border in zip(x.shape[2:], padding, strict=True))
        inside = math.prod(1 - b * (b + 1) / (3 * side) for side, b in zip(sides, padding, strict=True))
        if not self.quicker(sides, inside):
            return torch.ops.aten.convolution.default(x, weight, bias, stride, padding, *more)
        return self.by_tiles(x, bias, sides, padding)

    def effort(self, sides: Sequence[int]) -> float:
        """Multiply-adds of a plain convolution that take as long as this one for answers of these sizes (measured)."""
        answers, channels = self.weight.shape[:2]
        return math.prod(-(-side // TILE) for side in sides) * (
            52 * channels * answers + 3240 * channels + 1440 * answers
        )

    def quicker(self, sides: Sequence[int], inside: float) -> bool:
        """Whether a plain convolution, of whose taps the share `inside` is computed, takes longer."""
        return self.effort(sides) < 0.9 * inside * math.prod(sides) * self.weight.numel()

    def by_tiles(
        self, x: Tensor, bias: Tensor | None, sides: tuple[int, ...], padding: Sequence[int]
    ) -> Tensor:
        """The answers [N, K, *sides], channels last."""
        num, channels, *before = x.shape
        answers = len(self.weight)
        down, across = (-(-side // TILE) for side in sides)
        high, wide = down * TILE + 2, across * TILE + 2
        each = min(num, max(1, AT_ONCE // (down * across)))
        found = x.new_empty(num, *sides, answers)
        bordered = x.new_zeros(each, high, wide, channels)
        inner = bordered[:, padding[0] : padding[0] + before[0], padding[1] : padding[1] + before[1]]
        steps = (
            wide * channels,
            channels,
            high * wide * channels,
            TILE * wide * channels,
            TILE * channels,
            1,
        )
        for first in range(0, num, each):
            part = x[first : first + each].permute(0, 2, 3, 1)
            count = len(part)
            inner[:count] = part
            tiles = bordered.as_strided((WINDOW, WINDOW, count, down, across, channels), steps)
            values = FORWARD @ tiles.reshape(WINDOW**2, -1)
            products = torch.bmm(values.view(WINDOW**2, -1, channels), self.filters)
            tiled = BACKWARD @ products.view(WINDOW**2, -1)
            tiled = tiled.view(TILE, TILE, count, down, across, answers)
            whole = tiled.permute(2, 3, 0, 4, 1, 5).reshape(count, down * TILE, across * TILE, answers)
            found[first : first + count] = whole[:, : sides[0], : sides[1]]
        if bias is not None:
            found += bias
        return found.permute(0, 3, 1, 2)

    @property
    def filters(self) -> Tensor:
        """G g Gᵀ of every filter [36, C, K]."""
        if self._filters is None:
            answers, channels = self.weight.shape[:2]
            taps = self.weight.permute(2, 3, 1, 0).reshape(9, -1)
            self._filters = (OF_FILTERS @ taps).view(WINDOW**2, channels, answers)
        return self._filters


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Bᵀ ⊗ Bᵀ [36, 36], Aᵀ ⊗ Aᵀ [16, 36] and G ⊗ G [36, 9]."""
    points = np.array(POINTS)
    differences = points[:, None] - points + np.eye(len(points))
    a = np.zeros((TILE, WINDOW))
    a[:, :-1], a[-1, -1] = points ** np.arange(TILE)[:, None], 1
    g = np.zeros((WINDOW, 3))
    g[:-1], g[-1, -1] = points[:, None] ** np.arange(3) / differences.prod(axis=1, keepdims=True), 1
    # Σ_k a_jk g_ki b_kl = 1 where l = i + j, else 0
    products = (a[:, None] * g.T[None]).reshape(-1, WINDOW)
    wanted = np.equal.outer(np.add.outer(np.arange(TILE), np.arange(3)).ravel(), np.arange(WINDOW))
    b = np.linalg.lstsq(products, wanted.astype(float), rcond=None)[0]
    b[np.abs(b) < 1e-12] = 0
    forward, backward, of_filters = (torch.from_numpy(np.kron(m, m)).float() for m in (b, a, g))
    return forward, backward, of_filters


FORWARD, BACKWARD, OF_FILTERS = _matrices()


def suits(operation: Operation) -> bool:
    """Whether an operation is a convolution that can be computed so: of constant filters of 3 × 3 in float32, on a processor."""
    if operation.name != "convolution" or not isinstance(operation.args[1], Tensor):
        return False
    found = operation.bound()
    weight = found["weight"]
    return (
        tuple(weight.shape[2:]) == (3, 3)
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and list(found["stride"]) == list(found["dilation"]) == [1, 1]
        and not found["transposed"]
        and found["groups"] == 1
    )
