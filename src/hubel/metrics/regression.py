"""How far real values are from the truth, in their own unit."""

from __future__ import annotations

import math

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.calibration import mean
from hubel.metrics.classification import proportion
from hubel.metrics.inputs import real_numbers
from hubel.metrics.intervals import bootstrap, normal_quantile, undefined


def rmse(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Root mean squared error √(Σ (values − targets)² / N), in the unit of the targets.

    `targets`, `values` [N] or [N, K]; of K outputs the mean of their K errors (score columns one by one
    where their units differ). Interval: BCa bootstrap, over `groups` where given.

    Source: T. Chai and R. R. Draxler, Geosci. Model Dev. 7, 1247 (2014), doi:10.5194/gmd-7-1247-2014.

    >>> rmse([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]).value == 3**0.5
    True
    """
    targets, values = real_numbers(targets, values)
    columns, errors = _with_count(values, targets)
    np.square(errors, out=errors)
    return bootstrap(
        columns,
        lambda s: np.sqrt(s[:, :-1] / s[:, -1:]).mean(axis=1, keepdims=True),
        groups=groups,
        level=level,
        seed=seed,
    )[0]


def mae(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean absolute error Σ |values − targets| / N, in the unit of the targets; arguments as for `rmse`.

    Source: C. J. Willmott and K. Matsuura, Clim. Res. 30, 79 (2005), doi:10.3354/cr030079.

    >>> mae([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]).value
    1.0
    """
    targets, values = real_numbers(targets, values)
    columns, errors = _with_count(values, targets)
    np.abs(errors, out=errors)
    return bootstrap(
        columns,
        lambda s: (s[:, :-1] / s[:, -1:]).mean(axis=1, keepdims=True),
        groups=groups,
        level=level,
        seed=seed,
    )[0]


def r2(targets, values, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Share of the targets' variance that is explained: 1 − Σ (values − targets)² / Σ (targets − mean)².

    1 is perfect, 0 is what the mean of the targets scores, negative is worse than that. NaN, with the
    reason, where the targets do not vary. Of K outputs the mean of their K scores. Interval: BCa bootstrap.

    Source: T. O. Kvålseth, Am. Stat. 39, 279 (1985), doi:10.1080/00031305.1985.10479448.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0]).value
    0.5
    """
    targets, values = real_numbers(targets, values)
    if len(targets) < 2 or np.any(np.ptp(targets, axis=0) == 0):
        return undefined("the targets do not vary", level=level, count=len(targets))
    columns, errors = _with_count(values, targets, more=2)
    np.square(errors, out=errors)
    width = targets.shape[1]
    centred = columns[:, width : 2 * width]
    np.subtract(
        targets, targets.mean(axis=0), out=centred
    )  # for the rounding: the statistic does not depend on it
    np.square(centred, out=columns[:, 2 * width : 3 * width])

    def statistic(sums: np.ndarray) -> np.ndarray:
        error, total, squares = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width : 3 * width]
        variation = squares - total**2 / sums[:, -1:]
        variation = np.where(variation > 1e-12 * squares, variation, math.nan)
        return (1 - error / variation).mean(axis=1, keepdims=True)

    return bootstrap(columns, statistic, groups=groups, level=level, seed=seed)[0]


def coverage(targets, values, uncertainties, *, share: float, groups=None, level: float = 0.95) -> Interval:
    """How often the truth lies within the central interval of a normal distribution that should hold it with probability `share`.

    `targets`, `values`, `uncertainties` (one standard deviation) [N] or [N, K]; the intervals are values ± z uncertainties, z = 1.96 for a
    `share` of 0.95. Error bars are right where the answer is `share`. Interval: Wilson (of K outputs the examples are counted, not
    the outputs), over `groups` the bootstrap.

    Source: V. Kuleshov, N. Fenner, S. Ermon, "Accurate uncertainties for deep learning using calibrated regression", ICML 2018,
    arXiv:1807.00263.

    >>> coverage([0.0, 0.0], [0.5, 3.0], [1.0, 1.0], share=0.95).value
    0.5
    """
    targets, values = real_numbers(targets, values)
    _, widths = real_numbers(targets, uncertainties)
    if (widths <= 0).any():
        raise ValueError(f"uncertainties go down to {widths.min():g}; expected positive standard deviations")
    inside = np.abs(values - targets) <= normal_quantile(share) * widths
    if inside.shape[1] == 1:
        return proportion(inside[:, 0], groups=groups, level=level)
    return mean(inside.mean(axis=1), groups=groups, level=level)


def _with_count(values: np.ndarray, targets: np.ndarray, *, more: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns [N, (1 + more) K + 1] of which the last are ones, and the first K of them, filled with values - targets."""
    width = targets.shape[1]
    columns = np.ones((len(targets), (1 + more) * width + 1))
    return columns, np.subtract(values, targets, out=columns[:, :width])
