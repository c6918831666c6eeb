"""`NetRegressor`: a network that predicts real values, as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from hubel.data import Dataset
from hubel.fitting.machine import device_of
from hubel.objectives import Objective
from hubel.sklearn.estimator import NetEstimator
from hubel.sklearn.examples import kept_types, weighted
from hubel.workflows.choices import choose_objective


class NetRegressor(RegressorMixin, NetEstimator):
    """A network that predicts one or several real values, y [N] or [N, K], as a scikit-learn regressor.

    X and the parameters are those of `NetClassifier`, without `class_weight`. `objective` is the squared error by default, in units
    of the standard deviation of the training targets; `predict` answers in the units of y, as float64.

    After `fit`: `n_features_in_`; `n_iter_`, the epochs done; `loss_curve_` and `validation_curve_`, a loss an epoch;
    `net_`, `objective_`, `recipe_`, `scaling_` with everything as it was run; `run_`, the run where `out` was given.

    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=100, n_features=4, random_state=0)
    >>> bool(NetRegressor(epochs=100, learning_rate=0.01, random_state=0).fit(X, y).score(X, y) > 0.9)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit from the beginning to X [N, ...] and values y [N] or [N, K]; an example of `sample_weight` [N] zero is left out.

        Raises `ValueError` where X, y, the weights and the network do not fit together; `NonFiniteLoss` where the training breaks down.
        """
        data = self._dataset(X, y, sample_weight, reset=True)
        return self._fit(data, self._objective(data))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over X [N, ...] and y, going on from where the network stands, at a constant learning rate.

        The first call on an unfitted estimator fixes the network, and the scaling of X and y by the examples that it is given.

        Raises `ValueError` as `fit` does, and where y has another number of values an example than before.
        """
        data = self._dataset(X, y, sample_weight, reset=not hasattr(self, "net_"))
        return self._partial_fit(data, lambda: self._objective(data))

    def predict(self, X: Any) -> np.ndarray:
        """Values [N] where y was [N], else [N, K], in the units of y."""
        scores = self._scores(X)
        values = self.objective_.read(scores).values
        return values[:, 0] if self._is_vector else values

    def _dataset(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Dataset:
        X, y = self._rows(X, y, reset=reset, multi_output=True, y_numeric=True)
        y = y.astype(np.float32 if y.dtype == np.float32 else kept_types(device_of(self.device))[0])
        targets = y.reshape(len(y), -1)
        if reset:
            self._is_vector = y.ndim == 1
        elif targets.shape[1] != self.objective_.num_outputs:
            raise ValueError(
                f"y has {targets.shape[1]} values an example, but this {type(self).__name__} was fitted to {self.objective_.num_outputs}"
            )
        inputs, targets, weights = weighted(X, targets, sample_weight)
        return Dataset(inputs=inputs, targets=targets, weights=weights, source="arrays")

    def _objective(self, data: Dataset) -> Objective:
        return choose_objective(data)[0] if self.objective is None else self.objective
