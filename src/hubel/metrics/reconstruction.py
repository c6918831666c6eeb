"""How well examples are given back, in their own unit."""

from __future__ import annotations

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.intervals import bootstrap, undefined

AT_ONCE = 2**22  # values in double precision


def by_channel(values):
    """Means [N, C] over positions of an array or tensor [N, C, H, W], [N, C, D, H, W] or [N, L, F] (there: over steps), [N, F] as it is.

    >>> by_channel(np.arange(8.0).reshape(1, 2, 2, 2)).tolist()
    [[1.5, 5.5]]
    """
    if values.ndim == 2:
        return values
    return values.mean(1) if values.ndim == 3 else values.reshape(*values.shape[:2], -1).mean(2)


def reconstruction(
    targets: np.ndarray,
    values: np.ndarray,
    *,
    spread: np.ndarray | None = None,
    peak: float | None = None,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Scores of reconstructions `values` of examples `targets`, both [N, C, H, W], [N, L, F] or [N, F].

    rmse                root mean squared error in stored units; of several channels or features the mean of their errors
    explained_variance  1 − Σ |x − x̂|² / Σ |x − x̄|², x̄ the mean example; channels count in units of their `spread` [C]
    psnr                peak signal-to-noise ratio 10 log₁₀(peak² / mean squared error) in dB, where there is a `peak`

    Intervals: BCa bootstrap over examples, or over `groups`.

    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> {name: round(score.value, 3) for name, score in reconstruction(x, x + 0.1).items()}
    {'rmse': 0.1, 'explained_variance': 0.985}
    """
    if targets.shape != values.shape or not len(targets):
        raise ValueError(
            f"received examples of shape {targets.shape} and reconstructions of shape {values.shape}; expected the same, and one at least"
        )
    errors = _squares(values, targets)
    deviations = _squares(targets, np.broadcast_to(targets.mean(axis=0, dtype=np.float64), targets.shape))
    weights = np.ones(errors.shape[1]) if spread is None else 1.0 / np.square(spread)
    if not (deviations @ weights).any():
        deviations = np.full_like(deviations, np.nan)
    num = errors.shape[1]
    columns = np.concatenate([errors, (deviations @ weights)[:, None], np.ones((len(errors), 1))], axis=1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        count = sums[:, -1:]
        squared = sums[:, :num] / count
        with np.errstate(divide="ignore"):
            scores = [
                np.sqrt(squared).mean(axis=1),
                1 - (sums[:, :num] @ weights) / sums[:, num],
                -10 * np.log10(squared.mean(axis=1)) + (0.0 if peak is None else 20 * np.log10(peak)),
            ]
        return np.stack(scores, axis=1)

    rmse, explained, psnr = bootstrap(columns, statistic, groups=groups, level=level, seed=seed)
    if not np.isfinite(explained.value):
        explained = undefined("the examples do not vary", level=level, count=len(targets))
    found = {"rmse": rmse, "explained_variance": explained}
    return found if peak is None else found | {"psnr": psnr}


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean squared differences [N, C] of every example, some examples at a time."""
    step = max(1, AT_ONCE // max(1, one[0].size))
    parts = [
        by_channel(np.square(np.subtract(one[k : k + step], other[k : k + step], dtype=np.float64)))
        for k in range(0, len(one), step)
    ]
    return np.concatenate(parts)
