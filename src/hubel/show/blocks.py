"""Maps whose signs change from pixel to pixel, drawn as means over blocks, in which it can be seen what is left when they are added up.

kept = Σ_blocks |Σ of a block| / Σ |values|        1 where no block has both signs, about 1/8 of noise in blocks of 8 × 8
"""

from __future__ import annotations

import numpy as np

BLOCK = 8
LARGE = 96
"""Pixels of a side from which on a map can be drawn in blocks."""
NOISE = 0.3
"""What is kept of a map, below which it is drawn in blocks."""


def readable(maps: np.ndarray) -> tuple[np.ndarray, bool]:
    """Maps [N, H, W] as they are to be drawn, and whether in blocks: of large ones that cancel within blocks the means of these.

    >>> noise = np.random.default_rng(0).normal(size=(1, 96, 96))
    >>> readable(noise)[1], readable(np.ones((1, 96, 96)))[1], readable(noise[:, :28, :28])[1]
    (True, False, False)
    """
    if min(maps.shape[1:]) < LARGE or kept(maps) >= NOISE:
        return maps, False
    height, width = maps.shape[1:]
    rows, columns = np.arange(height) // BLOCK, np.arange(width) // BLOCK
    counts = np.outer(np.bincount(rows), np.bincount(columns))
    return (_sums(maps) / counts)[:, rows][:, :, columns], True


def kept(maps: np.ndarray) -> float:
    """The share of the absolute values of maps [N, H, W] that is left when blocks are added up; 1 of maps of zeros."""
    whole = np.abs(maps).sum()
    return float(np.abs(_sums(maps)).sum() / whole) if whole > 0 else 1.0


def _sums(maps: np.ndarray) -> np.ndarray:
    """The sums over blocks; the last ones of a side may be smaller."""
    edges = [np.arange(0, side, BLOCK) for side in maps.shape[1:]]
    return np.add.reduceat(np.add.reduceat(maps, edges[0], axis=1), edges[1], axis=2)
