"""The entropy solution of a conservation law from one jump: u_t + f(u)_x = 0, u(0, x) = left where x < 0 and right where x > 0.

It depends on s = x / t alone, and is found without knowing where its shocks and fans are (S. Osher, SIAM J. Numer. Anal. 21 (1984) 217,
doi:10.1137/0721016):

    u(s) = the w between left and right that minimizes f(w) - s w where left < right, and that maximizes it where left > right

For a convex f this is the shock of speed (f(left) - f(right)) / (left - right) where left > right (Rankine and Hugoniot), and the fan
f'(u) = s where left < right. A shock is a jump: no smooth function, and so no network that evaluates one, comes close to it in every place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLES = 2_001  # of u between the two states; what lies between them is found by bisection
Function = Callable[[np.ndarray], np.ndarray]


def riemann(
    t: np.ndarray, x: np.ndarray, *, left: float, right: float, flux: Function, slope: Function
) -> np.ndarray:
    """U at points `t`, `x` of one shape; `slope` is the derivative of `flux`. At t = 0, and where s is the speed of a shock, one of both sides.

    Raises `ValueError` for a time before the beginning, or a flux that is not finite between the two states.

    >>> burgers = dict(flux=lambda u: u**2 / 2, slope=lambda u: u)
    >>> x = np.array([-0.5, 0.2, 0.4, 0.7])
    >>> riemann(np.full(4, 0.5), x, left=1.0, right=0.0, **burgers).tolist()  # a shock at x = t / 2
    [1.0, 1.0, 0.0, 0.0]
    >>> riemann(np.full(4, 0.5), x, left=0.0, right=1.0, **burgers).round(12).tolist()  # a fan, u = x / t
    [0.0, 0.4, 0.8, 1.0]
    """
    t, x = np.broadcast_arrays(np.asarray(t, float), np.asarray(x, float))
    if t.size and t.min() < 0:
        raise ValueError(f"riemann: a time is {t.min():g}; the solution begins at 0")
    states = np.linspace(left, right, SAMPLES)
    with np.errstate(all="ignore"):  # refused in the next line
        at_states = np.asarray(flux(states), float)
    if not np.isfinite(at_states).all():
        raise ValueError(f"riemann: the flux is not finite everywhere between {left:g} and {right:g}")
    sign = 1.0 if left < right else -1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.where(t > 0, x / t, np.where(x < 0, -np.inf, np.inf)).ravel()
    found = np.where(s > 0, right, left).astype(float)
    finite = np.isfinite(s)
    speeds = s[finite]
    best = np.array([np.argmin(sign * (at_states - speed * states)) for speed in speeds], dtype=int)
    found[finite] = _stationary(speeds, states, best, slope)
    return found.reshape(t.shape)


def _stationary(s: np.ndarray, states: np.ndarray, best: np.ndarray, slope: Function) -> np.ndarray:
    """The minimum near the best of the sampled states, by bisection of its derivative along them, which has the sign of f'(u) - s."""
    a = states[np.maximum(best - 1, 0)]
    b = states[np.minimum(best + 1, len(states) - 1)]
    inside = (slope(a) < s) & (slope(b) > s)
    for _ in range(60):
        middle = (a + b) / 2
        before = slope(middle) < s
        a, b = np.where(before, middle, a), np.where(before, b, middle)
    return np.where(inside, (a + b) / 2, states[best])
