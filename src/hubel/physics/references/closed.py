"""Solutions in closed form, as functions of points: arrays of one shape, or of shapes that broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def burgers(t: np.ndarray, x: np.ndarray, nu: float = 0.01 / math.pi, nodes: int = 100) -> np.ndarray:
    """The exact solution of u_t + u u_x = nu u_xx with u(0, x) = -sin(pi x), at points `t`, `x` of one shape.

    Cole and Hopf: u = -N / D with f(y) = exp(-cos(pi y) / (2 pi nu)),

        N = integral of sin(pi (x - 2 sqrt(nu t) z)) f(x - 2 sqrt(nu t) z) e^(-z^2) dz,   D the same without the sine,

    by Gauss-Hermite quadrature with `nodes` nodes. With 100 of them, nu = 0.01 / pi and t to 1 the error is below 1e-14.

    J. D. Cole, Quart. Appl. Math. 9 (1951) 225, doi:10.1090/qam/42889; E. Hopf, Comm. Pure Appl. Math. 3 (1950) 201,
    doi:10.1002/cpa.3160030302.

    Raises `ValueError` for a viscosity that is not positive, or a time before the beginning.

    >>> float(burgers(np.array(0.0), np.array(0.5)))
    -1.0
    """
    t, x = np.broadcast_arrays(np.asarray(t, float), np.asarray(x, float))
    if nu <= 0:
        raise ValueError(f"burgers: nu is {nu}; expected a positive viscosity")
    if t.size and t.min() < 0:
        raise ValueError(f"burgers: a time is {t.min():g}; the solution begins at 0")
    z, weight = np.polynomial.hermite.hermgauss(nodes)
    places = x[..., None] - 2 * np.sqrt(nu * t[..., None]) * z
    exponent = -np.cos(np.pi * places) / (2 * np.pi * nu)
    heat = weight * np.exp(exponent - exponent.max(axis=-1, keepdims=True))
    return -(np.sin(np.pi * places) * heat).sum(-1) / heat.sum(-1)


def advection(
    t: np.ndarray, x: np.ndarray, speed: float, start: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The solution of u_t + speed u_x = 0 on a line or a circle: what was at the beginning, carried along.

    `start` must be periodic where the problem is.

    >>> float(advection(np.array(2.0), np.array(7.0), 3.0, lambda x: x**2))
    1.0
    """
    return start(np.asarray(x, float) - speed * np.asarray(t, float))


def heat(t: np.ndarray, x: np.ndarray, diffusivity: float, mode: int = 1) -> np.ndarray:
    """The solution of u_t = diffusivity u_xx on (0, 1) with u = 0 at both ends and u(0, x) = sin(mode pi x).

    >>> round(float(heat(np.array(1.0), np.array(0.5), 0.1)), 6)
    0.372708
    """
    wave_number = mode * np.pi
    return np.exp(-diffusivity * wave_number**2 * np.asarray(t, float)) * np.sin(
        wave_number * np.asarray(x, float)
    )


def wave(t: np.ndarray, x: np.ndarray, speed: float = 2.0) -> np.ndarray:
    """The solution of u_tt = speed^2 u_xx on (0, 1), u = 0 at both ends, at rest at first as sin(pi x) + sin(4 pi x) / 2.

    The example of S. Wang, X. Yu, P. Perdikaris, J. Comput. Phys. 449 (2022) 110768, doi:10.1016/j.jcp.2021.110768.

    >>> round(float(wave(np.array(0.5), np.array(0.5))), 12)
    -1.0
    """
    t, x = np.asarray(t, float), np.asarray(x, float)
    slow = np.sin(np.pi * x) * np.cos(np.pi * speed * t)
    return slow + np.sin(4 * np.pi * x) * np.cos(4 * np.pi * speed * t) / 2


def helmholtz(x: np.ndarray, y: np.ndarray, waves: tuple[int, int] = (1, 4)) -> np.ndarray:
    """The made solution u = sin(a pi x) sin(b pi y) of u_xx + u_yy + k^2 u = q with u = 0 around (-1, 1)^2; `waves` are a, b.

    q = (k^2 - (a pi)^2 - (b pi)^2) u. The example of S. Wang, Y. Teng, P. Perdikaris, SIAM J. Sci. Comput. 43 (2021) A3055,
    doi:10.1137/20M1318043.

    >>> round(float(helmholtz(np.array(0.5), np.array(0.125))), 12)
    1.0
    """
    a, b = waves
    return np.sin(a * np.pi * np.asarray(x, float)) * np.sin(b * np.pi * np.asarray(y, float))


def taylor_green(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, nu: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocity u, v and pressure p of decaying vortices: the Navier-Stokes equations with density 1, periodic on (-1, 1)^2.

        u = -cos(pi x) sin(pi y) F,  v = sin(pi x) cos(pi y) F,  p = -(cos(2 pi x) + cos(2 pi y)) F^2 / 4,  F = exp(-2 pi^2 nu t)

    The mean of p is zero, since only its gradient is determined. G. I. Taylor, A. E. Green, Proc. R. Soc. A 158 (1937) 499,
    doi:10.1098/rspa.1937.0036.

    >>> [float(value) for value in taylor_green(np.array(0.0), np.array(0.0), np.array(0.25), 0.01)]
    [-0.7071067811865475, 0.0, -0.25]
    """
    t, x, y = (np.asarray(value, float) for value in (t, x, y))
    decay = np.exp(-2 * np.pi**2 * nu * t)
    u = -np.cos(np.pi * x) * np.sin(np.pi * y) * decay
    v = np.sin(np.pi * x) * np.cos(np.pi * y) * decay
    return u, v, -(np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y)) * decay**2 / 4


def kovasznay(
    x: np.ndarray, y: np.ndarray, reynolds: float = 40.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocity u, v and pressure p of the steady flow behind a grid: Navier-Stokes with density 1 and viscosity 1 / reynolds.

        u = 1 - e^(ax) cos(2 pi y),  v = a e^(ax) sin(2 pi y) / (2 pi),  p = (1 - e^(2ax)) / 2,  a = Re / 2 - sqrt(Re^2 / 4 + 4 pi^2)

    L. I. G. Kovasznay, Proc. Camb. Philos. Soc. 44 (1948) 58, doi:10.1017/S0305004100023999.

    >>> [round(float(value), 6) for value in kovasznay(np.array(0.0), np.array(0.25))]
    [1.0, -0.153384, 0.0]
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if reynolds <= 0:
        raise ValueError(f"kovasznay: the Reynolds number is {reynolds}; expected a positive number")
    a = reynolds / 2 - math.sqrt(reynolds**2 / 4 + 4 * math.pi**2)
    u = 1 - np.exp(a * x) * np.cos(2 * np.pi * y)
    v = a / (2 * np.pi) * np.exp(a * x) * np.sin(2 * np.pi * y)
    return u, v, (1 - np.exp(2 * a * x)) / 2 + 0 * y
