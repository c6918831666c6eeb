"""Anchors: boxes of known sizes about every place of a map, from which detectors go on.

Sizes (width, height) in pixels are dealt out to the strides in the order of their areas, the smallest to the finest, as many to each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hubel.nets.detector_parts import cells

Sizes = tuple[tuple[float, float], ...]


def anchors_of_places(height: int, width: int, stride: int, sizes: Sizes, like: Tensor) -> Tensor:
    """Boxes of `sizes` about the centres of the places of a map of `height` × `width`, place by place: [h · w, A, 4] in pixels.

    >>> anchors_of_places(1, 2, 8, ((4.0, 2.0),), torch.zeros(1)).tolist()
    [[[2.0, 3.0, 6.0, 5.0]], [[10.0, 3.0, 14.0, 5.0]]]
    """
    squares = cells(height, width, stride, like).unsqueeze(1)
    middle = ((squares[..., :2] + squares[..., 2:]) / 2).expand(-1, len(sizes), 2)
    half = torch.tensor(sizes, dtype=squares.dtype, device=squares.device) / 2
    return torch.cat([middle - half, middle + half], dim=2)


def dealt_out(anchors: Sequence[Sequence[float]], num_strides: int, net: str) -> tuple[Sizes, ...]:
    """The sizes of each stride.

    Raises `ValueError` for sizes that are none, and numbers of them that can not be dealt out.

    >>> dealt_out([(8, 8), (2, 3)], 2, "yolo_v3")
    (((2.0, 3.0),), ((8.0, 8.0),))
    """
    good = all(len(size) == 2 and min(size) > 0 and math.isfinite(sum(size)) for size in anchors)
    if not len(anchors) or not good or len(anchors) % num_strides:
        raise ValueError(
            f"{net}: anchors are {[tuple(size) for size in anchors]}; expected sizes (width, height) above 0, as many for each of the {num_strides} strides"
        )
    ordered = sorted(((float(w), float(h)) for w, h in anchors), key=lambda size: size[0] * size[1])
    each = len(ordered) // num_strides
    return tuple(tuple(ordered[k * each : (k + 1) * each]) for k in range(num_strides))
