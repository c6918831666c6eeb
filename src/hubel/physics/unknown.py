"""Numbers and functions in an equation that are to be found from data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hubel.physics.jets import Jet, exponential

MOST = 3  # coordinates of an unknown function
LARGEST_LOGARITHM = 600.0  # of a factor that is a number still
SURE = 1.959963985  # standard deviations: 95 % of a normal distribution lie within


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A coefficient to be found, beginning at `start`: a number, or a function of the coordinates `of`. Where `positive`, its logarithm is
    what is searched.

    >>> Unknown(start=2.0, positive=True).value(torch.zeros(1, dtype=torch.float64)).item()
    2.0
    """

    start: float = 1.0
    positive: bool = False
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.start) or (self.positive and self.start <= 0):
            expected = "a positive number" if self.positive else "a finite number"
            raise ValueError(f"start of an unknown is {self.start}; expected {expected}")
        if any(not isinstance(name, str) for name in self.of) or len(set(self.of)) != len(self.of):
            raise ValueError(
                f'an unknown function is of {self.of!r}; expected names of coordinates, each once, such as of=("x", "y")'
            )
        if len(self.of) > MOST:
            raise ValueError(
                f"an unknown function is of {', '.join(self.of)}; expected {MOST} coordinates at most: more would need more numbers than "
                "data can tell"
            )

    def value(self, inner: Tensor) -> Tensor:
        """The coefficient, from the number that is searched (0 at the start)."""
        return self.start * torch.exp(inner) if self.positive else self.start + inner

    def slope(self, inner: Tensor) -> Tensor:
        """How fast the coefficient changes with that number."""
        return self.start * torch.exp(inner) if self.positive else torch.ones_like(inner)

    def series(self, inner: Sequence[Tensor], jet: Jet) -> list[Tensor]:
        """Taylor coefficients (M of [N]) of the coefficient from those of what is searched."""
        if not self.positive:
            return [self.start + inner[0], *inner[1:]]
        if len(inner) == 1:
            return [self.value(inner[0])]
        return list((self.start * jet.apply(exponential, torch.stack(list(inner)))).unbind())

    def relative(self, inner: Tensor, errors: Tensor) -> float:
        """The root mean square of standard errors over that of the values, from those of what is searched at some points [G] each."""
        error, size = (errors * self.slope(inner)).square().mean(), self.value(inner).square().mean()
        return math.sqrt(float(error) / max(float(size), 1e-300))


def unknown(start: float = 1.0, *, positive: bool = False, of: str | Sequence[str] = ()) -> Unknown:
    """A number of the equation that is to be found from data, or a function of the coordinates `of`.

    Inside the residual a function is what a field is: `k`, `k.x`, `k.xx` and so on by its own coordinates, to the fourth order.

    >>> unknown(positive=True)
    Unknown(start=1.0, positive=True, of=())
    >>> unknown(of="x").of, unknown(of=("x", "y")).of
    (('x',), ('x', 'y'))

    Raises `ValueError` for a start that is not finite, or not positive where it must be, and for more than three coordinates.
    """
    return Unknown(start=float(start), positive=positive, of=(of,) if isinstance(of, str) else tuple(of))


@dataclass(frozen=True, kw_only=True)
class Found:
    """A coefficient that was found, with its standard error; nan where the data do not tell it. `positive` says that it was asked to be.

    >>> print(Found(value=0.0031834, standard_error=2.1e-06))
    0.0031834 ± 0.0000021
    >>> [round(end, 7) for end in Found(value=0.0031834, standard_error=2.1e-06).interval]
    [0.0031793, 0.0031875]
    >>> [round(end, 2) for end in Found(value=1.0, standard_error=0.7, positive=True).interval]
    [0.25, 3.94]
    """

    value: float
    standard_error: float
    positive: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """In which the true value lies with 95 % confidence, if the noise is normal and the equation true. That of a positive coefficient is
        one of its logarithm, which is what was searched.
        """
        half = SURE * self.standard_error
        if self.positive and self.value > 0:
            factor = math.exp(min(half / self.value, LARGEST_LOGARITHM)) if math.isfinite(half) else half
            return self.value / factor, self.value * factor
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
