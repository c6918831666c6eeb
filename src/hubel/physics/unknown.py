"""Numbers of an equation that are to be found from data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A coefficient to be found, beginning at `start`; where `positive`, its logarithm is what is searched.

    >>> Unknown(start=2.0, positive=True).value(torch.zeros(1, dtype=torch.float64)).item()
    2.0
    """

    start: float = 1.0
    positive: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.start) or (self.positive and self.start <= 0):
            expected = "a positive number" if self.positive else "a finite number"
            raise ValueError(f"start of an unknown is {self.start}; expected {expected}")

    def value(self, inner: Tensor) -> Tensor:
        """The coefficient, from the number that is searched (0 at the start)."""
        return self.start * torch.exp(inner) if self.positive else self.start + inner

    def slope(self, inner: Tensor) -> Tensor:
        """How fast the coefficient changes with that number."""
        return self.start * torch.exp(inner) if self.positive else torch.ones_like(inner)


def unknown(start: float = 1.0, *, positive: bool = False) -> Unknown:
    """A number of the equation that is to be found from data.

    >>> unknown(positive=True)
    Unknown(start=1.0, positive=True)

    Raises `ValueError` for a start that is not finite, or not positive where it must be.
    """
    return Unknown(start=float(start), positive=positive)
