"""From the target to the question: which loss, how many scores, which last function, judged by what; in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.data.dataset import Dataset
from hubel.data.forecasting import words_of_forecast
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, GaussianLikelihood, Objective, SquaredError

SMOOTHING = 0.1


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user may ask without naming the objective.

    `uncertainty`: real values with error bars. `balance`: every class counts alike, however rare. `focus`: the exponent of the focal
    loss, 0 for none.

    Raises `ValueError` for a negative focus.
    """

    uncertainty: bool = False
    balance: bool = False
    focus: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.focus < float("inf"):
            raise ValueError(f"focus is {self.focus}; expected 0 or a positive number (2 is usual)")

    def __bool__(self) -> bool:
        return bool(self.uncertainty or self.balance or self.focus)

    @property
    def named(self) -> str:
        """The first of those that are asked for."""
        return "uncertainty" if self.uncertainty else "balance" if self.balance else "focus"


def ask_classes(train: Dataset, wishes: Wishes) -> tuple[Objective, str]:
    """Cross-entropy of one of K classes, or of class probabilities."""
    assert train.classes is not None
    _refuse(
        wishes,
        uncertainty="classes have probabilities already, which the network answers without being asked",
    )
    num, soft = len(train.classes), train.has_probabilities
    smoothing = 0.0 if soft else SMOOTHING
    counts = np.array(list(train.class_counts().values()), dtype=np.float64)
    weights = balanced(counts) if wishes.balance else None
    objective = CrossEntropy(
        num, classes=train.classes, label_smoothing=smoothing, class_weights=weights, focus=wishes.focus
    )
    what = f"probabilities of {num} classes" if soft else f"one of {num} classes"
    more = [] if soft else [f"labels smoothed by {smoothing:g}"]
    if weights is not None:
        more.append(f"classes weighted {min(weights):.3g} to {max(weights):.3g}, so that each counts alike")
    if wishes.focus:
        more.append(f"focused by {wishes.focus:g}: what is right already counts less")
    return objective, _sentence(
        train, what, f"cross-entropy of the softmax of {num} scores", more, "accuracy"
    )


def ask_labels(train: Dataset, wishes: Wishes) -> tuple[Objective, str]:
    """Binary cross-entropy of K yes/no labels."""
    assert train.classes is not None
    _refuse(
        wishes,
        uncertainty="labels have probabilities already, which the network answers without being asked",
        focus="the focal loss is for one of several classes; for rare labels ask for balance",
    )
    num = len(train.classes)
    yes = np.asarray(train.targets, np.float64).sum(axis=0)
    weights = None
    if wishes.balance:
        weights = tuple(
            float(w) for w in np.where(yes > 0, (len(train) - yes) / np.maximum(yes, 1), 1.0).clip(0.01)
        )
    objective = BinaryCrossEntropy(num, classes=train.classes, positive_weights=weights)
    more = (
        []
        if weights is None
        else [f"yes weighted {min(weights):.3g} to {max(weights):.3g}, so that it counts as no does"]
    )
    what = f"{num} yes/no labels an example"
    return objective, _sentence(
        train, what, f"binary cross-entropy of a sigmoid for each of {num} scores", more, "mean F1"
    )


def ask_values(train: Dataset, wishes: Wishes) -> tuple[Objective, str]:
    """Squared error of K real values, or their likelihood with a standard deviation for each."""
    _refuse(
        wishes,
        balance="real values have no classes to balance; weigh the rows with a column weight",
        focus="the focal loss is for classes",
    )
    targets = np.asarray(train.targets, np.float64).reshape(len(train), -1)
    scale = targets.std(axis=0)
    num = targets.shape[1]
    shared = {
        "center": tuple(map(float, targets.mean(axis=0))),
        "scale": tuple(float(s) if s > 0 else 1.0 for s in scale),
        "target_names": train.target_names,
        "units": train.units,
    }
    what = "a real value" if num == 1 else f"{num} real values"
    more = ["in units of the training targets' standard deviation"]
    if wishes.uncertainty:
        objective: Objective = GaussianLikelihood(2 * num, **shared)
        how = f"the likelihood of a normal distribution, from {2 * num} linear scores: mean and log variance"
        return objective, _sentence(train, f"{what} with error bars", how, more, "root mean squared error")
    scores = "a linear score" if num == 1 else f"{num} linear scores"
    return SquaredError(num, **shared), _sentence(
        train, what, f"squared error of {scores}", more, "root mean squared error"
    )


def balanced(counts: np.ndarray) -> tuple[float, ...]:
    """Weights N / (K n) of K classes with n examples each [K]: every class has the same weight on the whole.

    A class without example has weight 1.

    >>> balanced(np.array([90.0, 10.0]))
    (0.5555555555555556, 5.0)
    """
    there = counts > 0
    weights = np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 1.0)
    return tuple(map(float, weights))


def _sentence(train: Dataset, what: str, loss: str, more: list[str], score: str) -> str:
    name = ", ".join(t["name"] for t in train.reading.get("targets", ())) or ", ".join(
        train.target_names or ()
    )
    forecast = words_of_forecast(train)
    subject = (
        f"{forecast} {'is' if forecast.startswith('the next value ') else 'are'} {what}"
        if forecast is not None
        else f"{name} is {what}"
        if name and "," not in name
        else f"{name} are {what}"
        if name
        else f"the target is {what}"
    )
    details = f" ({'; '.join(more)})" if more else ""
    return f"{subject}, so {loss} is minimized{details} and the {score} is reported"


def _refuse(wishes: Wishes, **why: str) -> None:
    for name, reason in why.items():
        if getattr(wishes, name):
            raise ValueError(f"{name} was asked for, but {reason}")
