"""What a score and a loss are worth before anything is learned."""

from __future__ import annotations

import math

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.inputs import class_numbers
from hubel.metrics.intervals import wilson


def majority_accuracy(train_targets, targets, *, level: float = 0.95) -> Interval:
    """Accuracy on `targets` of always answering the class that is most frequent in `train_targets`.

    Both are class numbers [N], each with an N of its own. Interval: Wilson's.

    Source: R. C. Holte, Mach. Learn. 11, 63 (1993), doi:10.1023/A:1022631118932 (rule "0R").

    >>> majority_accuracy([0, 0, 1], [0, 1, 1, 1]).value
    0.25
    """
    train, _, _ = class_numbers(train_targets, np.asarray(train_targets))
    targets, _, _ = class_numbers(targets, np.asarray(targets))
    answer = int(np.bincount(train).argmax())
    return wilson(int((targets == answer).sum()), len(targets), level=level)


def chance_level(class_frequencies) -> float:
    """Accuracy of guessing at random with the classes' frequencies: Σ_k f_k².

    `class_frequencies` [K] may be counts.

    Source: J. Cohen, Educ. Psychol. Meas. 20, 37 (1960), doi:10.1177/001316446002000104 (expected agreement).

    >>> chance_level([50, 50])
    0.5
    """
    return float(np.sum(_frequencies(class_frequencies) ** 2))


def expected_initial_loss(kind: str, class_frequencies=None, *, num_classes: int | None = None) -> float:
    """The loss before the first step, where a network's raw scores are all near zero.

    `kind` is "cross-entropy": ln K; "binary cross-entropy": ln 2, whatever the frequencies;
    "prior cross-entropy": −Σ f_k ln f_k, what answering the `class_frequencies` costs (a network whose last
    biases were set to them begins there, and none should end above it); or "squared error": 1, for targets
    scaled to unit variance.

    Source: A. Karpathy, "A recipe for training neural networks" (2019), step 2; T.-Y. Lin et al., ICCV
    (2017), doi:10.1109/ICCV.2017.324, section 3.3 (biases from the prior).

    >>> round(expected_initial_loss("cross-entropy", num_classes=10), 4)
    2.3026
    """
    if kind == "binary cross-entropy":
        return math.log(2)
    if kind == "squared error":
        return 1.0
    if kind == "cross-entropy":
        count = num_classes if num_classes is not None else len(_frequencies(class_frequencies))
        if count < 2:
            raise ValueError(f"there are {count} classes; expected at least 2")
        return math.log(count)
    if kind == "prior cross-entropy":
        frequencies = _frequencies(class_frequencies)
        frequencies = frequencies[frequencies > 0]
        return float(-np.sum(frequencies * np.log(frequencies)))
    raise ValueError(
        f'kind is {kind!r}; expected "cross-entropy", "prior cross-entropy", "binary cross-entropy" or "squared error"'
    )


def _frequencies(counts) -> np.ndarray:
    counts = np.asarray(counts if counts is not None else [], np.float64)
    if counts.ndim != 1 or len(counts) == 0 or counts.min() < 0 or not 0 < counts.sum() < math.inf:
        raise ValueError(
            f"class frequencies are {counts!r}; expected one count or frequency a class, not all zero"
        )
    return counts / counts.sum()
