"""What network is to look for a solution: its size, its activation, and what stands before and beside its layers.

A choice is tried by `Architecture(...)` where a network is asked for; the derivatives of all of them travel forward in one pass (`network`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from hubel.core.errors import nearest
from hubel.physics.jets import Jet, silu_and_slope, sine_and_slope, tanh_and_slope

ACTIVATIONS: dict[str, Callable[[Jet, Tensor, Tensor, Tensor], None]] = {
    "tanh": tanh_and_slope,
    "sine": sine_and_slope,
    "silu": silu_and_slope,
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A perceptron of `depth` hidden layers of `width` units (None: as many as hubel begins with) with smooth activations.

    `activation` is "tanh", "sine" or "silu". With `residual` every hidden layer but the first adds its answer to what it received,
    h_i = h_{i-1} + s(W_i h_{i-1} + b_i): He et al. 2016, arXiv:1512.03385. With `fourier` = m the first layer reads, in place of the features v,

        cos(2 pi B v), sin(2 pi B v),   B [m, F] of normal numbers with the standard deviation `frequency`, drawn once and not fitted:

    Tancik et al. 2020, arXiv:2006.10739, equation 5. The features v are coordinates mapped to [-1, 1], so that `frequency` counts waves on half
    of the domain, and cosine and sine of periodic ones, so that periods stay exact. So do symmetries: the sum over mirror images is taken of
    the whole network.

    Raises `ValueError` for a size that is no whole number, an activation that there is not, or a frequency that is not positive.

    >>> Architecture(activation="sine", fourier=16)
    Architecture(width=None, depth=None, activation='sine', residual=False, fourier=16, frequency=0.5)
    """

    width: int | None = None
    depth: int | None = None
    activation: str = "tanh"
    residual: bool = False
    fourier: int = 0
    frequency: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("depth", 1), ("fourier", 0)):
            value = getattr(self, name)
            if value is None and name != "fourier":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; expected a whole number, at least {least}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"there is no activation {self.activation!r}."
                f"{nearest(str(self.activation), tuple(ACTIVATIONS))}"
            )
        if not isinstance(self.residual, bool):
            raise ValueError(f"residual is {self.residual!r}; expected True or False")
        frequency = self.frequency
        if (
            isinstance(frequency, bool)
            or not isinstance(frequency, (int, float))
            or not 0 < frequency < math.inf
        ):
            raise ValueError(f"frequency is {frequency!r}; expected a positive number of waves, such as 0.5")


def sized(
    network: Architecture | nn.Module | None, width: int | None, depth: int | None
) -> Architecture | nn.Module | None:
    """The choice with a width and a depth that were given beside it. Raises `ValueError` where they are given twice."""
    given: dict[str, Any] = {
        name: value for name, value in {"width": width, "depth": depth}.items() if value is not None
    }
    if not given:
        return network
    if network is None:
        return Architecture(**given)
    if not isinstance(network, Architecture) or any(getattr(network, name) is not None for name in given):
        raise ValueError(
            f"{' and '.join(given)} of the network {'are' if len(given) > 1 else 'is'} given twice: leave it out beside network="
        )
    return replace(network, **given)
