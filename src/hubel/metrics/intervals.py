"""How far a score could be off: Wilson's interval for proportions, the bootstrap for everything that is a
function of sums over examples, and what to return where a score does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np

from hubel.core.random import numpy_generator
from hubel.core.types import Interval

RESAMPLES = 1000
EXACT_UNITS = 50_000  # above this many units the resampled sums are drawn from their normal limit


def wilson(successes: float, count: float, *, level: float = 0.95) -> Interval:
    """Wilson's score interval for `successes` of `count` independent yes/no trials.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), with p = successes/count and z the normal quantile.
    Never leaves [0, 1] and does not collapse at p = 0 or 1.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953; compared
    with its rivals by Brown, Cai and DasGupta, Stat. Sci. 16, 101 (2001), doi:10.1214/ss/1009213286.

    >>> print(wilson(9, 10))
    0.9 [0.5958, 0.9821]
    """
    if count <= 0:
        return undefined("no trials", level=level, count=0)
    successes, count = float(successes), float(count)
    p = successes / count
    z2 = normal_quantile(level) ** 2
    centre = p + z2 / (2 * count)
    half = math.sqrt(z2 * (p * (1 - p) / count + z2 / (4 * count * count)))
    shrink = 1 + z2 / count
    low = 0.0 if successes <= 0 else (centre - half) / shrink
    high = 1.0 if successes >= count else (centre + half) / shrink
    return Interval(value=p, low=low, high=high, level=level, count=round(count), method="Wilson")


def undefined(reason: str, *, level: float = 0.95, count: int | None = None) -> Interval:
    """The score that does not exist: NaN, with the reason as its method.

    >>> print(undefined("only one class among the targets"))
    nan (no interval)
    """
    nan = math.nan
    return Interval(value=nan, low=nan, high=nan, level=level, count=count, method=f"undefined: {reason}")


def normal_quantile(level: float) -> float:
    """Z such that a standard normal variable lies in (−z, z) with probability `level`."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a probability strictly between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf((1 + level) / 2)


def bootstrap(
    columns: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """BCa bootstrap intervals for scores that are functions of sums over examples.

    `columns` [N, M] are what each example adds to M sums; `statistic` maps sums [R, M] to scores [R, Q];
    the result has Q intervals. Examples are drawn with replacement; with `groups` [N] whole groups are
    (patients, plates, nights), because examples of one group are not independent.

    Percentiles are corrected for bias and skewness (BCa) with the jackknife; those of few units lie further out, as Student's t does
    beyond the normal law (T. Hesterberg, Am. Stat. 69, 371 (2015), doi:10.1080/00031305.2015.1089789, section 5.3). Above 50,000 units, the
    resampled sums are drawn from the normal law that they tend to.

    Source: B. Efron, J. Am. Stat. Assoc. 82, 171 (1987), doi:10.1080/01621459.1987.10478410; whole groups:
    A. C. Davison and D. V. Hinkley, Bootstrap Methods (1997), section 3.8, doi:10.1017/CBO9780511802843.

    >>> x = np.arange(100.0)
    >>> ones = np.ones(100)
    >>> mean = bootstrap(np.stack([x, ones], axis=1), lambda s: s[:, :1] / s[:, 1:])
    >>> mean[0].value, round((mean[0].high - mean[0].low) / (2 * 1.96 * 28.9 / 10), 1)
    (49.5, 1.0)
    """
    normal_quantile(level)
    columns = np.asarray(columns, np.float64)
    count, units = len(columns), units_of(columns, groups)
    what = "bootstrap" if groups is None else f"bootstrap over {len(units)} groups"
    total = units.sum(axis=0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic(total)[0]
        if len(units) < 2:
            only = "one example" if groups is None else "one group"
            return [_point(v, count, level, f"no interval: {only}") for v in values]
        draws = statistic(resampled_sums(units, numpy_generator(seed, "bootstrap"), resamples))
        leave_one_out = _jackknife(units, total, statistic)
    return [
        _bca(
            float(values[q]),
            draws[:, q],
            leave_one_out[:, q],
            quantile=_few_units(level, len(units)),
            level=level,
            count=count,
            what=what,
        )
        for q in range(len(values))
    ]


def bootstrap_of_weights(
    statistic: Callable[[np.ndarray], np.ndarray],
    units: int,
    *,
    count: int,
    what: str,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    width: int | None = None,
) -> list[Interval]:
    """`bootstrap` for scores that are no functions of sums, such as areas under curves: intervals of Q scores.

    `statistic` maps how often each unit (example or group) is taken, [R, units], to scores [R, Q]. `width` is the number of columns that it makes of a
    row. Units, or a quarter as many blocks of them as there are resamples, are left out in turn. `what` names the method, `count` the examples.

    >>> x = np.arange(100.0)
    >>> mean = bootstrap_of_weights(lambda w: (w @ x / w.sum(1))[:, None], 100, count=100, what="bootstrap")
    >>> mean[0].value, round((mean[0].high - mean[0].low) / (2 * 1.96 * 28.9 / 10), 1)
    (49.5, 1.0)
    """
    normal_quantile(level)
    values = statistic(np.ones((1, units)))[0]
    if units < 2:
        return [_point(v, count, level, "no interval: one unit") for v in values]
    generator = numpy_generator(seed, "bootstrap")
    draws = np.concatenate(
        [statistic(weights) for weights in resampling_weights(generator, units, resamples, width=width)]
    )
    blocks = min(units, max(50, resamples // 4))
    block, left_out = np.arange(units) * blocks // units, []
    for some in np.array_split(np.arange(blocks), max(1, blocks * max(units, width or 0) // 500_000)):
        left_out.append(statistic((block != some[:, None]).astype(np.float64)))
    leave_one_out = np.concatenate(left_out)
    quantile = _few_units(level, units)
    return [
        _bca(
            float(value),
            draws[:, q],
            leave_one_out[:, q],
            quantile=quantile,
            level=level,
            count=count,
            what=what,
        )
        for q, value in enumerate(values)
    ]


def units_of(columns: np.ndarray, groups: Sequence | np.ndarray | None) -> np.ndarray:
    """What is drawn as a whole: `columns` [N, M] themselves, or their sums [G, M] over the examples of each group."""
    if groups is None:
        return columns
    numbers = group_numbers(groups, len(columns))
    sums = np.zeros((numbers.max() + 1, columns.shape[1]))
    np.add.at(sums, numbers, columns)
    return sums


def group_numbers(groups: Sequence | np.ndarray, count: int) -> np.ndarray:
    """Groups of any name as numbers 0 … G−1, one for each of `count` examples."""
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise ValueError(
            f"groups has shape {groups.shape}; expected one group an example, that is ({count},)"
        )
    return np.unique(groups, return_inverse=True)[1]


def resampled_sums(units: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Sums [R, M] over units drawn with replacement."""
    size = len(units)
    if size > EXACT_UNITS:
        mean = units.mean(axis=0)
        spread = np.zeros((len(mean), len(mean)))
        for start in range(0, size, EXACT_UNITS):
            apart = units[start : start + EXACT_UNITS] - mean
            spread += apart.T @ apart
        return limiting_sums(mean * size, spread / (size - 1) * size, generator, resamples)
    return np.concatenate([weights @ units for weights in resampling_weights(generator, size, resamples)])


def limiting_sums(
    total: np.ndarray, spread: np.ndarray, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """The normal law to which resampled sums tend: [R, M] about `total` [M] with the covariance `spread` [M, M]."""
    return generator.multivariate_normal(total, spread, size=resamples, method="eigh", check_valid="ignore")


def resampling_weights(
    generator: np.random.Generator, size: int, resamples: int, *, width: int | None = None
) -> Iterator[np.ndarray]:
    """How often each of `size` units is drawn in each resample: blocks [R, size].

    `width` is the number of columns that the caller makes of a block, which decides how many rows fit the cache.
    """
    block = max(1, min(resamples, 500_000 // max(size, width or 0)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, size, size=(rows, size), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _jackknife(units: np.ndarray, total: np.ndarray, statistic: Callable) -> np.ndarray:
    """Scores without each unit in turn; with many units without each of 2000 blocks of them."""
    if len(units) > 2000:
        edges = np.linspace(0, len(units), 2001).astype(int)[:-1]
        units = np.add.reduceat(units, edges, axis=0)
    return statistic(total - units)


def _few_units(level: float, num: int) -> float:
    """The normal quantile, widened as that of Student's t is for `num` units, whose resamples vary less by (num - 1) / num."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, num - 1)) * math.sqrt(num / (num - 1))


def _bca(
    value: float,
    draws: np.ndarray,
    leave_one_out: np.ndarray,
    *,
    quantile: float,
    level: float,
    count: int,
    what: str,
) -> Interval:
    draws, leave_one_out = draws[np.isfinite(draws)], leave_one_out[np.isfinite(leave_one_out)]
    if not math.isfinite(value) or len(draws) == 0 or len(leave_one_out) == 0:
        return _point(value, count, level, "the score is not defined on these examples")
    normal = NormalDist()
    below = (np.sum(draws < value) + 0.5 * np.sum(draws == value)) / len(draws)
    bias = normal.inv_cdf(min(max(below, 0.5 / len(draws)), 1 - 0.5 / len(draws)))
    deviation = leave_one_out.mean() - leave_one_out
    scale = float(np.sum(deviation**2)) ** 1.5
    skew = float(np.sum(deviation**3)) / (6 * scale) if scale > 0 else 0.0
    ends = []
    for side in (-quantile, quantile):
        shifted = bias + (bias + side) / (1 - skew * (bias + side))
        ends.append(float(np.quantile(draws, normal.cdf(shifted))))
    low, high = min(*ends, value), max(*ends, value)
    return Interval(value=value, low=low, high=high, level=level, count=count, method=what)


def _point(value: float, count: int, level: float, why: str) -> Interval:
    return Interval(value=float(value), low=math.nan, high=math.nan, level=level, count=count, method=why)
