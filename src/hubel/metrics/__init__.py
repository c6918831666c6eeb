"""Scores with intervals: pure functions of NumPy arrays that return `Interval`s."""

from hubel.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    per_class,
    proportion,
    top_k_accuracy,
)
from hubel.metrics.intervals import bootstrap, wilson

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "bootstrap",
    "confusion_matrix",
    "per_class",
    "proportion",
    "top_k_accuracy",
    "wilson",
]
