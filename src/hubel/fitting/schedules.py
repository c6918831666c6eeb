"""Learning-rate schedules as pure functions of the progress: the learning rate is the optimizer's times `factor(progress)`.

A schedule keeps no state: what a plateau needs to know (the validation losses so far) is part of the progress, and so of
every checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a fit stands: `step` from 0 of `total` steps; `validation` losses of the epochs so far, oldest first."""

    step: int
    total: int
    validation: tuple[float, ...] = ()

    @property
    def fraction(self) -> float:
        """From 0 (first step) to 1 (after the last)."""
        return self.step / max(self.total, 1)


class Schedule(Protocol):
    """A factor in [0, 1] on the highest learning rate."""

    def factor(self, progress: Progress) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout."""

    def factor(self, progress: Progress) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Up from `start` to 1 in the first `rise` of the run, down to `end`, both along a half cosine.

    Smith and Topin 2018, arXiv:1708.07120, who change it linearly and in three phases; the half cosines and
    the two phases are fastai's, and the default of PyTorch's `OneCycleLR`.

    >>> cycle = OneCycle(rise=0.25, start=0.0, end=0.0)
    >>> [round(cycle.factor(Progress(step=s, total=8)), 3) for s in (0, 1, 2, 5, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    rise: float = 0.25
    start: float = 0.04
    end: float = 0.0

    def factor(self, progress: Progress) -> float:
        x = progress.fraction
        if x < self.rise:
            return self.start + (1 - self.start) * _half_cosine(x / self.rise)
        return 1 - (1 - self.end) * _half_cosine((x - self.rise) / max(1 - self.rise, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Down from 1 to `end` along a half cosine, after a linear warm-up over the fraction `warmup`.

    Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.

    >>> [round(Cosine().factor(Progress(step=s, total=4)), 3) for s in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    warmup: float = 0.0
    end: float = 0.0

    def factor(self, progress: Progress) -> float:
        x = progress.fraction
        if x < self.warmup:
            return _first_steps(progress, self.warmup)
        return 1 - (1 - self.end) * _half_cosine((x - self.warmup) / max(1 - self.warmup, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Straight down from 1 to `end` (zero), after a linear warm-up over the fraction `warmup`.

    >>> [Linear().factor(Progress(step=s, total=4)) for s in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """

    warmup: float = 0.0
    end: float = 0.0

    def factor(self, progress: Progress) -> float:
        x = progress.fraction
        if x < self.warmup:
            return _first_steps(progress, self.warmup)
        return 1 - (1 - self.end) * min(1.0, (x - self.warmup) / max(1 - self.warmup, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Piecewise:
    """Constant pieces: `factors[i]` from step `boundaries[i - 1] + 1` up to and with step `boundaries[i]` (counted from 0).

    Raises `ValueError` where there is not one factor more than boundaries, or the boundaries do not rise.

    >>> drops = Piecewise(boundaries=(100_000, 200_000), factors=(1.0, 0.1, 0.01))
    >>> [0.1 * drops.factor(Progress(step=s, total=300_000)) for s in (100_000, 100_001, 200_001)]
    [0.1, 0.010000000000000002, 0.001]
    """

    boundaries: tuple[int, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.factors) != len(self.boundaries) + 1:
            raise ValueError(
                f"{len(self.boundaries)} boundaries and {len(self.factors)} factors; expected one factor more than boundaries"
            )
        if list(self.boundaries) != sorted(self.boundaries):
            raise ValueError(f"boundaries {self.boundaries} are not in rising order")

    def factor(self, progress: Progress) -> float:
        return self.factors[sum(progress.step > boundary for boundary in self.boundaries)]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Multiply by `reduce` every `every` steps.

    Raises `ValueError` where `every` is below 1 or `reduce` is not in (0, 1].

    >>> [Step(every=30, reduce=0.5).factor(Progress(step=s, total=100)) for s in (0, 29, 30, 60)]
    [1.0, 1.0, 0.5, 0.25]
    """

    every: int
    reduce: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}; expected at least 1 step")
        if not 0 < self.reduce <= 1:
            raise ValueError(f"reduce is {self.reduce}; expected a factor in (0, 1]")

    def factor(self, progress: Progress) -> float:
        return self.reduce ** (progress.step // self.every)


@dataclass(frozen=True, kw_only=True)
class Exponential:
    """Down from 1 to `end` by the same factor at every step, after a linear warm-up over the fraction `warmup`.

    Raises `ValueError` where `end` is not in (0, 1].

    >>> [round(Exponential(end=0.01).factor(Progress(step=s, total=4)), 3) for s in range(5)]
    [1.0, 0.316, 0.1, 0.032, 0.01]
    """

    end: float = 0.01
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.end <= 1:
            raise ValueError(f"end is {self.end}; expected a factor in (0, 1]")

    def factor(self, progress: Progress) -> float:
        x = progress.fraction
        if x < self.warmup:
            return _first_steps(progress, self.warmup)
        return self.end ** ((x - self.warmup) / max(1 - self.warmup, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiply by `reduce` whenever the validation loss has not improved by `threshold` (relative) for `patience` epochs.

    `warmup` is the fraction of the run in which the rate first rises linearly.

    >>> Plateau(patience=1).factor(Progress(step=40, total=100, validation=(1.0, 0.5, 0.6, 0.6)))
    0.1
    """

    reduce: float = 0.1
    patience: int = 5
    threshold: float = 1e-4
    warmup: float = 0.0

    def factor(self, progress: Progress) -> float:
        best, waited, factor = math.inf, 0, 1.0
        for loss in progress.validation:
            if loss < best * (1 - self.threshold if best > 0 else 1 + self.threshold):
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.patience:
                factor, waited = factor * self.reduce, 0
        if progress.fraction < self.warmup:
            return factor * _first_steps(progress, self.warmup)
        return factor


def _half_cosine(x: float) -> float:
    """From 0 at x = 0 to 1 at x = 1."""
    return 0.5 * (1 - math.cos(math.pi * min(max(x, 0.0), 1.0)))


def _first_steps(progress: Progress, warmup: float) -> float:
    """Linear warm-up that never gives a first step of zero."""
    return min(1.0, (progress.step + 1) / max(warmup * progress.total, 1.0))
