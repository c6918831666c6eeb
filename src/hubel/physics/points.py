"""Points at which a function is asked for: numbers or arrays of coordinates, checked and broadcast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.core.errors import nearest


def points_of(
    ranges: Mapping[str, tuple[float, float]], coordinates: Mapping[str, Any]
) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The points [N, D] in the order of `ranges`, and how values [N] become an answer of the shape and kind of what was given.

    >>> points, answer = points_of({"t": (0, 1), "x": (0, 2)}, {"x": [0.5, 1.5], "t": 1.0})
    >>> points.tolist(), answer(points.sum(1))
    ([[1.0, 0.5], [1.0, 1.5]], array([1.5, 2.5]))

    Raises `TypeError` for names that are unknown or missing, `ValueError` for points out of range and shapes that do not fit.
    """
    names = tuple(ranges)
    for name in coordinates:
        if name not in names:
            raise TypeError(f"{name!r} is no coordinate; expected {', '.join(names)}.{nearest(name, names)}")
    lacking = [name for name in names if name not in coordinates]
    if lacking:
        raise TypeError(f"{', '.join(lacking)} is missing; call with {', '.join(f'{n}=...' for n in names)}")
    torches = any(isinstance(value, Tensor) for value in coordinates.values())
    arrays = []
    for name in names:
        value = torch.as_tensor(
            np.asarray(coordinates[name]) if not isinstance(coordinates[name], Tensor) else coordinates[name]
        )
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{name} is of {value.dtype}; expected real numbers")
        value = value.detach().to("cpu", torch.float64)
        low, high = ranges[name]
        slack = 1e-9 * (high - low)
        if value.numel() and not bool(((value >= low - slack) & (value <= high + slack)).all()):
            raise ValueError(
                f"{name} is between {float(value.min()):g} and {float(value.max()):g}; the solution is known for {low:g} to {high:g}"
            )
        arrays.append(value)
    try:
        arrays = torch.broadcast_tensors(*arrays)
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in zip(names, arrays, strict=True))
        raise ValueError(f"the coordinates have shapes that can not be broadcast: {shapes}") from error
    shape = arrays[0].shape
    points = torch.stack([a.reshape(-1) for a in arrays], dim=1)
    if torches:
        return points, lambda values: values.view(shape)
    return points, lambda values: values.view(shape).numpy()[()]
