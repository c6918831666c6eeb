"""Poisson's equation on a square that lacks a quadrant, by rational functions whose poles crowd at the corners.

    -(u_xx + u_yy) = 1 on (-1, 1)^2 without [0, 1)^2,   u = 0 around it

u = w - (x^2 + y^2) / 4 with w harmonic: the real part of a polynomial and of simple poles outside of the domain, whose distances from each
corner shrink exponentially; the coefficients are those that come closest to (x^2 + y^2) / 4 around the domain. What is left there bounds the
error everywhere inside, by the maximum principle: the accuracy of this reference is proved by its own residual on the boundary.

A. Gopal, L. N. Trefethen, SIAM J. Numer. Anal. 57 (2019) 2074, doi:10.1137/19M125947X.
"""

from __future__ import annotations

from functools import cache

import numpy as np

CORNERS = np.array(
    [0, 1, 1 - 1j, -1 - 1j, -1 + 1j, 1j]
)  # counter-clockwise but for the way in: 0 is the inner one
OUTWARD = np.exp(1j * np.pi / 4) * np.array([1, 1, -1j, -1, 1j, 1])
POLES = 64  # at each corner
DEGREE = 24
CENTRE = -0.4 - 0.4j


def l_shape(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """U [X, Y] on the grid of two axes; NaN outside of the domain and in the quadrant that it lacks.

    >>> found = l_shape(np.array([-0.5, 0.5]), np.array([-0.5, 0.5]))
    >>> bool(np.isnan(found[1, 1])), bool(abs(found[0, 1] - found[1, 0]) < 1e-8)
    (True, True)
    """
    across, up = np.meshgrid(np.asarray(x, float), np.asarray(y, float), indexing="ij")
    inside = (np.abs(across) <= 1) & (np.abs(up) <= 1) & ~((across > 0) & (up > 0))
    z = across[inside] + 1j * up[inside]
    found = np.full(across.shape, np.nan)
    found[inside] = _functions(z) @ _coefficients() - np.abs(z) ** 2 / 4
    return found


def largest_error(num: int = 3_001) -> float:
    """The largest |u| around the domain, where it should vanish, at `num` other points of every side than those of the fit."""
    z = _around(num)
    return float(np.abs(_functions(z) @ _coefficients() - np.abs(z) ** 2 / 4).max())


@cache
def _coefficients() -> np.ndarray:
    z = _around(700)
    functions = _functions(z)
    size = np.maximum(np.linalg.norm(functions, axis=0), 1e-300)  # the imaginary part of 1 is 0
    found = np.linalg.lstsq(functions / size, np.abs(z) ** 2 / 4, rcond=1e-14)[0]
    return found / size


def _around(num: int) -> np.ndarray:
    """Points on the six sides, whose distances from their ends shrink exponentially."""
    s = np.tanh(np.linspace(-14, 14, num)) / 2 + 0.5
    s = np.clip(s, 1e-12, 1 - 1e-12)
    return np.concatenate([a + s * (b - a) for a, b in zip(CORNERS, np.roll(CORNERS, -1), strict=True)])


def _functions(z: np.ndarray) -> np.ndarray:
    """Harmonic functions [N, terms]: real and imaginary parts."""
    distances = 2 * np.exp(-4 * (np.sqrt(POLES) - np.sqrt(np.arange(1, POLES + 1))))
    powers = ((z - CENTRE) / 1.5)[:, None] ** np.arange(DEGREE + 1)
    parts = [powers]
    for corner, outward in zip(CORNERS, OUTWARD, strict=True):
        poles = corner + outward * distances
        parts.append(distances / (z[:, None] - poles))
    complex_parts = np.concatenate(parts, axis=1)
    return np.concatenate([complex_parts.real, complex_parts.imag], axis=1)
