"""Windows of a few sizes at every place: the oldest proposals, thousands of which a classifier has to look at.

number of windows = Σ_sizes ⌈(W - w)/s_x + 1⌉ ⌈(H - h)/s_y + 1⌉,   s_x = `step` · w,  s_y = `step` · h
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SlidingWindow:
    """Proposals [n, 4] for a picture [C, H, W], as (x0, y0, x1, y1) in pixels: windows of `sizes` (width, height), moved by `step` of their sides.

    The last window of a row ends at the edge. Sizes larger than the picture are cut to it. `hubel.data.anchors_of` finds sizes that suit
    known objects.

    Raises `ValueError` for sizes and steps that are not above 0.

    >>> len(SlidingWindow(((16, 16), (32, 24)), step=0.5)(np.zeros((1, 64, 96))))
    102
    """

    sizes: tuple[tuple[float, float], ...]
    step: float = 0.25

    def __post_init__(self) -> None:
        if not self.sizes or min(min(size) for size in self.sizes) <= 0 or not 0 < self.step < math.inf:
            raise ValueError(
                f"sizes are {self.sizes}, step is {self.step}; expected sizes and a step above 0"
            )

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[-2:]
        found = []
        for wide, high in self.sizes:
            w, h = min(wide, width), min(high, height)
            x, y = _starts(width - w, self.step * w), _starts(height - h, self.step * h)
            x, y = np.meshgrid(x, y)
            found.append(np.stack([x, y, x + w, y + h], axis=2).reshape(-1, 4))
        return np.concatenate(found).astype(np.float32)


def _starts(room: float, step: float) -> np.ndarray:
    """Places from 0 to `room` at equal distances of at most `step`."""
    return np.linspace(0, room, math.ceil(room / step) + 1)
