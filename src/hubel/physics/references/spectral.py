"""Spectral solutions of periodic problems: exponential Runge-Kutta and split steps on the Fourier coefficients.

    v' = L v + N(v)    L diagonal: the stiff, linear part is integrated exactly

S. M. Cox, P. C. Matthews, J. Comput. Phys. 176 (2002) 430, doi:10.1006/jcph.2002.6995, with the coefficients as means over a circle
(A.-K. Kassam, L. N. Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, doi:10.1137/S1064827502410633), of order 4; the splitting of order 4 is
that of H. Yoshida, Phys. Lett. A 150 (1990) 262, doi:10.1016/0375-9601(90)90092-3. Times are reached by equal steps that are no longer than
`step`; between the points of the grid the Fourier series itself is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

Start = Callable[[np.ndarray], np.ndarray]


def allen_cahn(
    t: np.ndarray, x: np.ndarray, *, diffusivity: float = 1e-4, modes: int = 8192, step: float = 1 / 200
) -> np.ndarray:
    """U [T, X] of u_t = diffusivity u_xx + 5 u - 5 u^3, periodic on (-1, 1), u(0, x) = x^2 cos(pi x).

    M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045. Continued periodically the
    beginning has a kink at x = 1, which is what limits the accuracy.

    >>> round(float(allen_cahn(np.array([0.0, 0.1]), np.array([0.0]), modes=256)[1, 0]), 3)
    0.0
    """
    k = _wave_numbers(modes, 2.0)

    def nonlinear(v: np.ndarray) -> np.ndarray:
        u = np.fft.irfft(v, modes)
        return np.fft.rfft(5 * u - 5 * u**3)

    begin = _sampled(lambda places: places**2 * np.cos(np.pi * places), modes, -1.0, 2.0)
    series = etdrk4(np.fft.rfft(begin), -diffusivity * k**2, nonlinear, t, step)
    return evaluated(series, modes, x, -1.0, 2.0)


def kdv(
    t: np.ndarray,
    x: np.ndarray,
    *,
    dispersion: float = 0.022**2,
    start: Start = lambda x: np.cos(np.pi * x),
    low: float = -1.0,
    period: float = 2.0,
    modes: int = 512,
    step: float = 1 / 4000,
) -> np.ndarray:
    """U [T, X] of u_t + u u_x + dispersion u_xxx = 0, periodic, beginning as `start`.

    With the values given here the problem in which solitons were found: N. J. Zabusky, M. D. Kruskal, Phys. Rev. Lett. 15 (1965) 240,
    doi:10.1103/PhysRevLett.15.240.
    """
    k = _wave_numbers(modes, period)
    begin = np.fft.rfft(_sampled(start, modes, low, period))
    series = etdrk4(begin, 1j * dispersion * k**3, _advecting(modes, k), t, step)
    return evaluated(series, modes, x, low, period)


def burgers_spectral(
    t: np.ndarray,
    x: np.ndarray,
    *,
    nu: float = 0.01 / math.pi,
    modes: int = 1024,
    step: float = 1 / 1000,
) -> np.ndarray:
    """U [T, X] of u_t + u u_x = nu u_xx on (-1, 1) with u(0, x) = -sin(pi x), which is odd and periodic, so that u = 0 at both ends.

    The exact solution is in `burgers`; this is what a classical solver needs for it.
    """
    k = _wave_numbers(modes, 2.0)
    begin = np.fft.rfft(_sampled(lambda places: -np.sin(np.pi * places), modes, -1.0, 2.0))
    series = etdrk4(begin, -nu * k**2, _advecting(modes, k), t, step)
    return evaluated(series, modes, x, -1.0, 2.0)


def schroedinger(
    t: np.ndarray,
    x: np.ndarray,
    *,
    start: Start = lambda x: 2 / np.cosh(x),
    low: float = -5.0,
    period: float = 10.0,
    modes: int = 2048,
    step: float = math.pi / 2 / 2000,
) -> np.ndarray:
    """H [T, X], complex, of i h_t + h_xx / 2 + |h|^2 h = 0, periodic, beginning as `start`.

    The example of M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045. Continued
    periodically its beginning has a kink at x = 5, of 0.05 in slope, which limits the accuracy.

    >>> wide = dict(start=lambda x: 1 / np.cosh(x) + 0j, low=-20.0, period=40.0, modes=256, step=0.01)
    >>> found = schroedinger(np.array([0.0, 1.0]), np.array([0.5]), **wide)[1, 0]  # a soliton turns its phase by t / 2
    >>> bool(abs(found - np.exp(0.5j) / np.cosh(0.5)) < 1e-7)
    True
    """
    k = 2 * np.pi / period * np.fft.fftfreq(modes, 1 / modes)
    h = _sampled(start, modes, low, period).astype(complex)
    outer = 1 / (2 - 2 ** (1 / 3))
    shares = (outer, 1 - 2 * outer, outer)
    found = []
    for length, num in _steps(t, step):
        turns = [np.exp(-0.5j * k**2 * share * length) for share in shares]
        for _ in range(num):
            for share, turn in zip(shares, turns, strict=True):
                h = h * np.exp(0.5j * share * length * np.abs(h) ** 2)
                h = np.fft.ifft(turn * np.fft.fft(h))
                h = h * np.exp(0.5j * share * length * np.abs(h) ** 2)
        found.append(np.fft.fft(h))
    phases = np.exp(1j * np.outer(k, np.asarray(x, float) - low))
    return np.array(found) @ phases / modes


def etdrk4(
    start: np.ndarray,
    linear: np.ndarray,
    nonlinear: Callable[[np.ndarray], np.ndarray],
    t: np.ndarray,
    step: float,
) -> np.ndarray:
    """Coefficients [T, K] at the times `t` from `start` [K] at time 0, by exponential Runge-Kutta of order 4.

    `linear` [K] is the diagonal of L, `nonlinear` answers N(v) [K].

    >>> decay = etdrk4(np.array([1.0]), np.array([-2.0]), lambda v: 0 * v, np.array([0.0, 0.5]), 0.1)
    >>> np.round(decay[:, 0], 6).tolist()
    [1.0, 0.367879]
    """
    v, found = start, []

    @cache
    def factors(length: float) -> list[np.ndarray]:
        return _factors(linear, length)

    for length, num in _steps(t, step):
        if num:
            whole, half, q, f1, f2, f3 = factors(length)
        for _ in range(num):
            at_v = nonlinear(v)
            a = half * v + q * at_v
            at_a = nonlinear(a)
            b = half * v + q * at_a
            at_b = nonlinear(b)
            c = half * a + q * (2 * at_b - at_v)
            v = whole * v + f1 * at_v + 2 * f2 * (at_a + at_b) + f3 * nonlinear(c)
        found.append(v)
    return np.array(found)


def evaluated(series: np.ndarray, modes: int, x: np.ndarray, low: float, period: float) -> np.ndarray:
    """The real fields [T, X] of Fourier coefficients [T, modes // 2 + 1], as `numpy.fft.rfft` gives them, at any places."""
    k = _wave_numbers(modes, period)
    weight = np.full(len(k), 2.0 / modes)
    weight[0] = 1.0 / modes
    if modes % 2 == 0:
        weight[-1] = 1.0 / modes
    phases = np.exp(1j * np.outer(k, np.asarray(x, float) - low))
    return np.real(series * weight @ phases)


def _factors(linear: np.ndarray, length: float) -> list[np.ndarray]:
    """e^(hL), e^(hL / 2), and the four weights of a step of this length."""
    points = 32
    circle = np.exp(2j * np.pi * (np.arange(points) + 0.5) / points)
    at = length * linear[:, None] + circle
    whole = np.exp(at)
    weights = [
        (np.exp(at / 2) - 1) / at,
        (-4 - at + whole * (4 - 3 * at + at**2)) / at**3,
        (2 + at + whole * (at - 2)) / at**3,
        (-4 - 3 * at - at**2 + whole * (4 - at)) / at**3,
    ]
    means = [length * weight.mean(axis=1) for weight in weights]
    exact = [np.exp(length * linear), np.exp(length * linear / 2)]
    return exact + (means if np.iscomplexobj(linear) else [mean.real for mean in means])


def _steps(t: np.ndarray, step: float) -> Iterator[tuple[float, int]]:
    """For each of the times, the length and the number of equal steps from the one before (the first from 0)."""
    before = 0.0
    t = np.asarray(t, float)
    if t.size and t.min() < 0:
        raise ValueError(f"a time is {t.min():g}; the solution begins at 0")
    for time in t:
        num = math.ceil(round((time - before) / step, 9))
        yield (float(f"{(time - before) / num:.13g}") if num else 0.0), num
        before = float(time)


def _wave_numbers(modes: int, period: float) -> np.ndarray:
    return 2 * np.pi / period * np.arange(modes // 2 + 1)


def _sampled(start: Start, modes: int, low: float, period: float) -> np.ndarray:
    return start(low + period * np.arange(modes) / modes)


def _advecting(modes: int, k: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """N(v) of -u u_x = -(u^2 / 2)_x."""
    slope = -0.5j * k
    if modes % 2 == 0:
        slope[-1] = 0  # the highest mode of a real field has no phase, and so no slope

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return slope * np.fft.rfft(np.fft.irfft(v, modes) ** 2)

    return nonlinear
