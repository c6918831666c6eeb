"""`NetClassifier`: a network that tells classes apart, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import nn

from hubel.data import Dataset
from hubel.fitting import Recipe
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, Objective
from hubel.sklearn.estimator import NetEstimator
from hubel.sklearn.examples import weighted


class NetClassifier(ClassifierMixin, NetEstimator):
    """A network that tells K classes apart, or answers K yes/no labels (y [N, K] of 0 and 1), as a scikit-learn classifier.

    X is a table [N, F] or pictures [N, H, W], [N, C, H, W] (or [N, H, W, C], where the shape makes that plain). Every channel or feature is scaled by
    its mean and standard deviation over the training examples; 8- and 16-bit values stay as they are in memory.

    `net` is a function of `inputs` and `outputs` that makes a network (`functools.partial(hubel.nets.mlp, (50,))`), or a
    `torch.nn.Module` that returns raw scores [N, K], of which every fit trains a copy; None stands for two hidden layers of 100
    for a table, and for hubel's default network for pictures.
    `epochs`, `batch_size` and `learning_rate` go before what `recipe` says; what neither says is chosen from the number of examples:
    batches of 128; 200 epochs (fewer from 1,500 examples on, at least 20), but at least 500 steps; AdamW, linear to zero.
    `objective` is cross-entropy by default. `class_weight` is scikit-learn's: weights by label, or "balanced".
    `validation` is the share of the examples (or their number) that is not trained on but watched: for early stopping
    (`recipe=hubel.Recipe(early_stopping=hubel.fitting.EarlyStopping(patience=5))`), for `validation_curve_`, and to find the
    temperature that makes `predict_proba` as sure as it should be.
    `random_state` decides everything random; without it the recipe's seed does, and without a recipe every fit is another.
    `device` is "auto", "cpu", "cuda", …. `out` names a folder for a whole run, as `hubel.fit` writes it; a search or a cross-validation leaves it out.

    After `fit`: `classes_` [K]; `n_features_in_`; `n_iter_`, the epochs done; `loss_curve_` and `validation_curve_`, a loss an epoch;
    `net_`, `objective_`, `recipe_`, `scaling_` with everything as it was run; `run_`, the run where `out` was given.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(cross_val_score(NetClassifier(random_state=0), X, y, cv=3).mean() > 0.9)
    True
    """

    def __init__(
        self,
        net: Callable[..., nn.Module] | nn.Module | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        recipe: Recipe | None = None,
        objective: Objective | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        validation: float = 0.0,
        random_state: Any = None,
        device: str = "auto",
        out: Path | str | None = None,
    ):
        super().__init__(
            net,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            recipe=recipe,
            objective=objective,
            validation=validation,
            random_state=random_state,
            device=device,
            out=out,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit from the beginning to X [N, ...] and labels y [N] (or 0 and 1, [N, K]); an example of `sample_weight` [N] zero is left out.

        Raises `ValueError` where X, y, the weights and the network do not fit together, or fewer than two classes are left; `NonFiniteLoss`
        where the training breaks down.
        """
        X, y = self._rows(X, y, reset=True, multi_output=True)
        y, kind = self._labels(y)
        self._is_multilabel = kind == "multilabel-indicator"
        self.classes_ = np.arange(y.shape[1]) if self._is_multilabel else np.unique(y)
        data = self._dataset(X, y, sample_weight)
        if not self._is_multilabel and len(present := np.unique(data.targets)) < 2:
            raise ValueError(
                f"all examples (of positive weight) are of one class, {self.classes_[present].tolist()[0]!r}; expected at least two classes"
            )
        return self._fit(data, self._objective())

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over X [N, ...] and y [N], going on from where the network stands, at a constant learning rate.

        The first call on an unfitted estimator needs all `classes` that will come (not for labels [N, K]); it fixes the network, and the scaling by
        the examples that it is given.

        Raises `ValueError` as `fit` does, and where y holds a class that was not announced.
        """
        first = not hasattr(self, "net_")
        X, y = self._rows(X, y, reset=first, multi_output=True)
        y, kind = self._labels(y)
        if first:
            self._is_multilabel = kind == "multilabel-indicator"
            if classes is None and not self._is_multilabel:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit: all labels that will come"
                )
            self.classes_ = np.arange(y.shape[1]) if self._is_multilabel else np.unique(np.asarray(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} is not the same as on the first call: {self.classes_}")
        return self._partial_fit(self._dataset(X, y, sample_weight), self._objective)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of every example [N], or yes (1) and no (0) for every label [N, K]."""
        scores = self._scores(X)
        values = self.objective_.read(scores).values
        return values.astype(np.int64) if self._is_multilabel else self.classes_[values]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, K]: of every class in the order of `classes_`, with sum 1; of yes, for several labels."""
        scores = self._scores(X)
        probabilities = self.objective_.read(scores).probabilities
        if probabilities is None:
            raise AttributeError(f"{type(self.objective_).__name__} gives no probabilities")
        return probabilities

    def decision_function(self, X: Any) -> np.ndarray:
        """Raw scores [N, K] before the softmax or the sigmoid; with two classes the log-odds of the second [N], positive where it is predicted."""
        scores = self._scores(X).numpy()
        if len(self.classes_) != 2 or self._is_multilabel:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def _labels(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """`y` [N], or [N, K] for several labels, and what scikit-learn calls it."""
        if sparse.issparse(y):
            y = y.toarray()  # type: ignore[union-attr]
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                f"y has shape {y.shape} with values beyond 0 and 1; expected one class per example [N], or 0/1 labels [N, K]"
            )
        return y, kind

    def _dataset(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> Dataset:
        """The examples of positive weight, with class numbers in the order of `classes_`."""
        if self._is_multilabel:
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(f"y has shape {y.shape}; expected 0/1 labels [N, {len(self.classes_)}]")
            if self.class_weight is not None:
                raise ValueError(
                    "class_weight is for one class per example; for several labels pass an objective with positive_weights"
                )
            targets = y.astype(np.uint8)
        else:
            targets = self._numbers(y)
            if self.class_weight is not None:
                by_class = compute_sample_weight(self.class_weight, y)
                sample_weight = by_class if sample_weight is None else by_class * np.asarray(sample_weight)
        inputs, targets, weights = weighted(X, targets, sample_weight)
        names = tuple(str(label) for label in self.classes_)
        return Dataset(inputs=inputs, targets=targets, classes=names, weights=weights, source="arrays")

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        numbers = np.searchsorted(self.classes_, y)
        unknown = self.classes_[np.minimum(numbers, len(self.classes_) - 1)] != y
        if y.ndim != 1 or unknown.any():
            found = np.unique(y[unknown])[:5] if y.ndim == 1 else y.shape
            raise ValueError(f"y holds {found}, which is none of the classes {self.classes_}")
        return numbers.astype(np.int64)

    def _objective(self) -> Objective:
        if self.objective is not None:
            return self.objective
        names = tuple(str(label) for label in self.classes_)
        ask = BinaryCrossEntropy if self._is_multilabel else CrossEntropy
        return ask(len(names), classes=names)
