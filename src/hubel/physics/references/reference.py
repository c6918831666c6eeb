"""A known solution on a grid, how it was found, how accurate it is, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Known:
    """Values of every field on a grid, NaN outside of the domain, and the seconds that computing them took here and now."""

    values: Mapping[str, np.ndarray]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A method that answers the fields of a problem on any grid of its domain.

    `how` says which, for a reader; `accuracy` is its relative L2 error over the domain (None where nobody knows), and `known_by` how that is known. `solve` takes the axes
    of the grid, a sorted array each, in the order of the coordinates, and answers an array of every field, of shape [len(axis), ...].

    >>> straight = Reference(how="closed form", accuracy=1e-16, known_by="it is a line", solve=lambda x: {"u": 2 * x})
    >>> straight.on(x=np.array([0.0, 1.0])).values["u"].tolist()
    [0.0, 2.0]
    """

    how: str
    accuracy: float | None
    known_by: str
    solve: Callable[..., Mapping[str, np.ndarray]]

    def on(self, **axes: np.ndarray) -> Known:
        """The fields on the grid of these axes.

        Raises `ValueError` where an axis is not one sorted row of finite numbers.
        """
        found = {name: np.asarray(axis, np.float64) for name, axis in axes.items()}
        for name, axis in found.items():
            if axis.ndim != 1 or not len(axis) or not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
                raise ValueError(
                    f"the axis {name} has shape {list(axis.shape)}; expected one row of finite numbers that increase"
                )
        start = time.perf_counter()
        values = self.solve(**found)
        return Known(values=dict(values), seconds=time.perf_counter() - start)
