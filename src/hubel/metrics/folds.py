"""The mean of a score over the folds of a cross-validation, with an interval that knows that the folds share examples.

    mean ± t(J - 1) sqrt((1 / J + n_test / n_train) s²),   s² the variance of the J scores (J - 1)

The networks of two folds were trained on mostly the same examples, so that their scores are not independent, and s² / J is too small
for the variance of the mean. The second term is the correction of C. Nadeau and Y. Bengio, Mach. Learn. 52, 239 (2003),
doi:10.1023/A:1024068626366, equation 9, made for random splits and widely used for folds. No estimator is without bias for folds
(Y. Bengio and Y. Grandvalet, J. Mach. Learn. Res. 5, 1089 (2004)), so that the interval is a guide, not a guarantee.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.intervals import undefined


def over_folds(
    scores: Sequence[float],
    *,
    num_train: float,
    num_test: float,
    level: float = 0.95,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Mean of the `scores` [J] of J folds with the corrected interval; `num_train` and `num_test` examples a fold (their means).

    The interval ends at `limits`, beyond which the score has no values. It is undefined for fewer than two folds, and where a score is NaN.

    Raises `ValueError` where `num_train` or `num_test` is not positive, or `level` is no probability.

    >>> print(over_folds([0.90, 0.94, 0.92, 0.96, 0.93], num_train=80, num_test=20))
    0.93 [0.8884, 0.9716]
    """
    from scipy.stats import t

    values = np.asarray(scores, np.float64)
    if not (num_train > 0 and num_test > 0):
        raise ValueError(
            f"folds of {num_train} training and {num_test} test examples: expected positive numbers"
        )
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a probability strictly between 0 and 1, such as 0.95")
    if len(values) < 2 or not np.isfinite(values).all():
        return undefined(
            "fewer than two folds" if len(values) < 2 else "a fold has no such score", level=level
        )
    variance = (1 / len(values) + num_test / num_train) * values.var(ddof=1)
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * math.sqrt(variance)
    mean = float(values.mean())
    return Interval(
        value=mean,
        low=max(mean - half, limits[0]),
        high=min(mean + half, limits[1]),
        level=level,
        method=f"corrected t over {len(values)} folds",
    )
