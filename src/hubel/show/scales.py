"""From numbers to places on paper: linear and logarithmic axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, drawn from `start` to `end` (pixels; `end` may be smaller)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; NaN where it has none."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the axis, about as many as asked."""
        if self.log:
            for steps in ((1,), (1, 3), (1, 2, 5)):
                found = _log_ticks(self.low, self.high, steps)
                if len(found) >= 3:
                    return found[:: math.ceil(len(found) / (about + 3))]
        found = []
        for wanted in (about, 2 * about):
            step = round_step((self.high - self.low) / wanted)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            found = [round(i * step, 12) for i in range(first, last + 1)]
            if len(found) >= 3:
                break
        return found


def scale(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool = False,
    margin: float = 0.04,
    limits: tuple[float, float] | None = None,
) -> Scale:
    """A scale that holds all finite `values` (positive ones, where `log`), inside `limits` where given."""
    kept = [
        min(max(v, 1e-100 if log else -1e100), 1e100)
        for v in values
        if math.isfinite(v) and (v > 0 or not log)
    ]
    low, high = (min(kept), max(kept)) if kept else (0.1, 1.0)
    if log:
        spread = max(high / low, 1.2) ** margin
        low, high = (low / spread, high * spread) if high / low >= 1.2 else (low / 1.1, high * 1.1)
    else:
        spread = (high - low) * margin or abs(high) * 0.05 or 0.5
        low, high = low - spread, high + spread
    if limits:
        low, high = max(low, limits[0]), min(high, limits[1])
        if low >= high:
            low, high = limits
    return Scale(low, high, start, end, log)


def round_step(step: float) -> float:
    """The nearest of 1, 2, 2.5, 5 × 10ⁿ that is not smaller.

    >>> round_step(0.13), round_step(30)
    (0.2, 50)
    """
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    nice = next(n for n in (1, 2, 2.5, 5, 10) if n * power >= step * (1 - 1e-9))
    return float(f"{nice * power:.6g}") if nice * power < 1 else round(nice * power)


def tick_text(value: float) -> str:
    """A tick's label: short, with a real minus sign.

    >>> tick_text(0.001), tick_text(20000.0), tick_text(-0.5), tick_text(2e-6)
    ('0.001', '20k', '−0.5', '2e−6')
    """
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, power = f"{value:.2g}".partition("e")
        text = f"{mantissa}e{int(power)}" if power else mantissa
    elif abs(value) >= 10_000 and value % 1000 == 0:
        text = f"{value / 1000:g}k"
    else:
        text = f"{value:g}"
    return text.replace("-", "−")


def thin(x: Sequence[float], y: Sequence[float], most: int = 1000) -> tuple[list[float], list[float]]:
    """At most `most` points of a curve; of each stretch the lowest and the highest stay, so spikes survive.

    >>> thin(range(10_000), [0.0] * 5000 + [9.0] + [0.0] * 4999, most=10)[1].count(9.0)
    1
    """
    if len(x) <= most:
        return list(x), list(y)
    values = np.nan_to_num(np.asarray(y, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    kept: set[int] = set()
    for rows in np.array_split(np.arange(len(values)), most // 2):
        kept |= {int(rows[values[rows].argmin()]), int(rows[values[rows].argmax()])}
    order = sorted(kept)
    return [x[i] for i in order], [y[i] for i in order]


def _log_ticks(low: float, high: float, steps: tuple[int, ...]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [float(f"{step}e{power}") for power in powers for step in steps]
    return [value for value in candidates if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
