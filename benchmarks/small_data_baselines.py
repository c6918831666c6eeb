"""The best that scikit-learn does with few pictures: six classifiers, each with its preprocessing and a small grid.

Given the same training examples and the same declared symmetries as hubel: where a set is symmetric under mirrors and quarter turns,
every baseline is fitted on all eight versions of every example. Grids are searched by threefold cross-validation on the
training examples alone, with the versions of an example never on both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC


@dataclass(frozen=True)
class Baseline:
    """A classifier by its settings, and the settings to try."""

    name: str
    make: Callable[..., Any]
    grid: dict[str, list[Any]]


def _reduced(pca: int, classifier: Any) -> Any:
    return make_pipeline(PCA(pca, random_state=0), StandardScaler(), classifier)


def on_pixels(seed: int) -> list[Baseline]:
    """For flattened pictures: principal components first, which every one of the six profits from."""
    return [
        Baseline(
            "logistic regression",
            lambda pca, C: _reduced(pca, LogisticRegression(C=C, max_iter=300)),
            {"pca": [20, 60], "C": [0.01, 1.0]},
        ),
        Baseline(
            "linear SVM",
            lambda pca, C: _reduced(pca, LinearSVC(C=C, max_iter=3000)),
            {"pca": [20, 60], "C": [0.001, 0.1]},
        ),
        Baseline("RBF SVM", lambda pca, C: _reduced(pca, SVC(C=C)), {"pca": [15, 30, 60], "C": [1.0, 5.0]}),
        Baseline(
            "random forest",
            lambda pca: _reduced(pca, RandomForestClassifier(200, random_state=seed)),
            {"pca": [20, 60]},
        ),
        Baseline(
            "gradient boosting",
            lambda pca: _reduced(pca, HistGradientBoostingClassifier(max_iter=100, random_state=seed)),
            {"pca": [20, 40]},
        ),
        Baseline(
            "nearest neighbours",
            lambda pca, k: _reduced(pca, KNeighborsClassifier(k)),
            {"pca": [10, 20], "k": [5, 25]},
        ),
    ]


def on_features(seed: int) -> list[Baseline]:
    """For what a pretrained network's last layer reads."""
    return [
        Baseline(
            "logistic regression",
            lambda C: make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=300)),
            {"C": [1e-4, 1e-3, 1e-2]},
        ),
        Baseline(
            "linear SVM",
            lambda C: make_pipeline(StandardScaler(), LinearSVC(C=C, max_iter=1000)),
            {"C": [1e-5, 1e-4, 1e-3]},
        ),
        Baseline("RBF SVM", lambda C: make_pipeline(StandardScaler(), SVC(C=C)), {"C": [1.0, 5.0]}),
        Baseline(
            "random forest",
            lambda leaf: RandomForestClassifier(200, min_samples_leaf=leaf, random_state=seed),
            {"leaf": [1, 5]},
        ),
        Baseline(
            "gradient boosting",
            lambda pca: _reduced(pca, HistGradientBoostingClassifier(max_iter=100, random_state=seed)),
            {"pca": [40]},
        ),
        Baseline(
            "nearest neighbours",
            lambda k: make_pipeline(StandardScaler(), KNeighborsClassifier(k)),
            {"k": [5, 25]},
        ),
    ]


def fitted(
    baselines: list[Baseline], train: np.ndarray, targets: np.ndarray, test: np.ndarray, *, folds: int = 3
) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Name, class numbers of the `test` rows [M], and the settings found, of each baseline.

    `train` [V, N, F] holds V versions of every training example, `test` [M, F] one.
    """
    for baseline in baselines:
        settings = list(ParameterGrid(baseline.grid))
        if len(settings) > 1:
            splits = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(targets, targets))
            scores = [
                sum(
                    _hits(baseline.make(**s), train[:, a], targets[a], train[0, b], targets[b])
                    for a, b in splits
                )
                for s in settings
            ]
            settings = [settings[int(np.argmax(scores))]]
        yield baseline.name, _fit(baseline.make(**settings[0]), train, targets).predict(test), settings[0]


def _hits(model: Any, train: np.ndarray, targets: np.ndarray, test: np.ndarray, truth: np.ndarray) -> int:
    return int((_fit(model, train, targets).predict(test) == truth).sum())


def _fit(model: Any, train: np.ndarray, targets: np.ndarray) -> Any:
    with (
        warnings.catch_warnings()
    ):  # about iterations: a linear classifier that has not quite converged is as good
        warnings.simplefilter("ignore")
        return model.fit(train.reshape(-1, train.shape[2]), np.tile(targets, len(train)))


def versions(pictures: np.ndarray) -> np.ndarray:
    """All eight mirror images and quarter turns [8, N, C, H, W] of square pictures [N, C, H, W], the pictures themselves first."""
    turned = [np.rot90(pictures, k, axes=(2, 3)) for k in range(4)]
    return np.stack([*turned, *(picture[..., ::-1] for picture in turned)])
