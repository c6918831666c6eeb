"""All the scores of a question at once, the headline first."""

from __future__ import annotations

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.calibration import brier, expected_calibration_error, log_loss
from hubel.metrics.classification import accuracy, balanced_accuracy, top_k_accuracy
from hubel.metrics.multilabel import f1_over_labels, subset_accuracy
from hubel.metrics.ranking import roc_auc
from hubel.metrics.regression import mae, r2, rmse

MANY_CLASSES = 50  # ranking scores cost a sort a class


def classification(
    targets: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Interval]:
    """Scores of class probabilities [N, K] against class numbers [N]: accuracy, balanced accuracy, top 5 (K > 5), ROC AUC, log loss,
    Brier score and calibration error.

    >>> scores = classification(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    >>> round(scores["accuracy"].value, 3)
    0.667
    """
    values = probabilities.argmax(1)
    scores = {
        "accuracy": accuracy(targets, values, groups=groups),
        "balanced_accuracy": balanced_accuracy(targets, values, groups=groups),
    }
    del values  # 8 bytes an example
    num_classes = probabilities.shape[1]
    if num_classes > 5:
        scores["top_5_accuracy"] = top_k_accuracy(targets, probabilities, 5, groups=groups)
    if num_classes <= MANY_CLASSES:
        scores["roc_auc"] = roc_auc(
            targets, probabilities if num_classes > 2 else probabilities[:, 1], groups=groups
        )
    scores["log_loss"] = log_loss(targets, probabilities, groups=groups)
    scores["brier"] = brier(targets, probabilities, groups=groups)
    scores["calibration_error"] = expected_calibration_error(targets, probabilities, groups=groups)
    return scores


def multilabel(
    targets: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Interval]:
    """Scores of yes/no probabilities [N, K] against labels 0 or 1 [N, K], answered yes above 0.5.

    >>> scores = multilabel(np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.2], [0.8, 0.4]]))
    >>> {name: round(score.value, 3) for name, score in scores.items()}
    {'f1_macro': 0.5, 'f1_micro': 0.8, 'subset_accuracy': 0.5}
    """
    targets = targets.astype(np.int64)
    values = (probabilities > 0.5).astype(np.int64)
    f1 = f1_over_labels(targets, values, groups=groups)
    scores = {"f1_macro": f1["macro"], "f1_micro": f1["micro"]}
    scores["subset_accuracy"] = subset_accuracy(targets, values, groups=groups)
    return scores


def regression(
    targets: np.ndarray, values: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Interval]:
    """Scores of real values [N, K] against the truth [N, K]: root mean square error, mean absolute error, explained variance.

    >>> list(regression(np.array([[1.0], [2.0], [3.0]]), np.array([[1.1], [1.9], [3.2]])))
    ['rmse', 'mae', 'r2']
    """
    return {
        name: score(targets, values, groups=groups)
        for name, score in (("rmse", rmse), ("mae", mae), ("r2", r2))
    }
