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


@dataclass(frozen=True, kw_only=True)
class Found:
    """A coefficient that was found, with its standard error; nan where the data do not tell it.

    >>> print(Found(value=0.0031834, standard_error=2.1e-06))
    0.0031834 ± 0.0000021
    >>> [round(end, 7) for end in Found(value=0.0031834, standard_error=2.1e-06).interval]
    [0.0031793, 0.0031875]
    """

    value: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """In which the true value lies with 95 % confidence, if the noise is normal and the equation true."""
        half = 1.959963985 * self.standard_error
        return self.value - half, self.value + half

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if not math.isfinite(self.standard_error) or self.standard_error <= 0:
            return f"{self.value:.6g} ± {self.standard_error:.2g}"
        digits = 1 - math.floor(math.log10(self.standard_error))
        if digits > 12 or abs(self.value) >= 1e6:
            return f"{self.value:.10g} ± {self.standard_error:.2g}"
        digits = max(digits, 0)
        return f"{self.value:.{digits}f} ± {self.standard_error:.{digits}f}"

    __repr__ = __str__
