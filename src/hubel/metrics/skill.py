"""How much better forecasts are than those of a simpler method, on the same examples."""

from __future__ import annotations

import math

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.inputs import real_numbers
from hubel.metrics.intervals import bootstrap, undefined


def skill(targets, values, reference, *, groups=None, level: float = 0.95, seed: int = 0) -> Interval:
    """Share of the reference's squared error that is saved: 1 − Σ (values − targets)² / Σ (reference − targets)².

    1 is perfect, 0 is no better than the reference, negative is worse. All are [N] or [N, K]; of K outputs the mean of their K
    skills. Both errors of an example are drawn together, so the interval is that of the difference. Interval: BCa bootstrap, over
    `groups` where given (neighbouring windows of a series are not independent).

    Source: A. H. Murphy, Mon. Weather Rev. 116, 2417 (1988), doi:10.1175/1520-0493(1988)116<2417:SSBOTM>2.0.CO;2.

    >>> skill([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [0.0, 2.0, 5.0]).value
    0.8
    """
    targets, values = real_numbers(targets, values)
    reference = real_numbers(targets, reference)[1]
    width = targets.shape[1]
    if np.any(((reference - targets) ** 2).sum(axis=0) == 0):
        return undefined("the reference makes no error", level=level, count=len(targets))
    columns = np.concatenate([(values - targets) ** 2, (reference - targets) ** 2], axis=1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        theirs = sums[:, width:]
        return (1 - sums[:, :width] / np.where(theirs > 0, theirs, math.nan)).mean(axis=1, keepdims=True)

    return bootstrap(columns, statistic, groups=groups, level=level, seed=seed)[0]
