"""What metrics accept, checked once: labels that are class numbers, probabilities that are probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PIECE = 1_000_000  # examples


def class_numbers(targets, values, num_classes: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """`targets` and `values` [N] as class numbers 0 … K−1, and K."""
    targets, values = np.asarray(targets), np.asarray(values)
    _same_length(targets, values, "values")
    for name, array in (("targets", targets), ("values", values)):
        if array.ndim != 1:
            raise ValueError(
                f"{name} has shape {array.shape}; expected one class number an example, shape (N,)"
            )
        if array.dtype.kind not in "iub" and not (
            array.dtype.kind == "f" and np.all(array == np.floor(array))
        ):
            raise ValueError(
                f"{name} are {array.dtype} such as {array.flat[0]!r}; expected class numbers 0, 1, 2, …. "
                "For names: numbers = np.unique(names, return_inverse=True)[1]"
            )
        if array.min() < 0:
            raise ValueError(f"{name} contains {int(array.min())}; class numbers begin at 0")
    same = targets is values
    targets = targets.astype(np.int64, copy=False)
    values = targets if same else values.astype(np.int64, copy=False)
    highest = int(max(targets.max(), values.max()))
    if num_classes is not None and highest >= num_classes:
        raise ValueError(
            f"a class number is {highest}, but num_classes is {num_classes}: expected at most {num_classes - 1}"
        )
    return targets, values, num_classes or highest + 1


def class_probabilities(targets, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """`targets` [N] as class numbers and `probabilities` [N, K] (or [N] for the second of two classes), floating as they are given."""
    probabilities = finite(floating(probabilities), "probabilities")
    if probabilities.ndim == 2 and probabilities.shape[1] == 1:
        probabilities = probabilities[:, 0]
    if probabilities.ndim == 1:
        second = probabilities.astype(np.float64)
        probabilities = np.stack([1 - second, second], axis=1)
    low, high = (probabilities.min(), probabilities.max()) if len(probabilities) else (0, 1)
    if low < -1e-6 or high > 1 + 1e-6:
        raise ValueError(
            f"probabilities lie between {low:.4g} and {high:.4g}; expected 0 to 1. "
            "Scores become probabilities by a softmax or sigmoid"
        )
    numbers, probabilities = scores_of_classes(targets, probabilities, "probabilities")
    worst = max(
        float(np.abs(probabilities[rows].sum(axis=1, dtype=np.float64) - 1).max())
        for rows in pieces_of(len(probabilities))
    )
    if worst > 1e-2:
        raise ValueError(
            f"the probabilities of an example sum to 1 ± {worst:.3g}; expected 1 (one class is true)"
        )
    return numbers, probabilities if low >= 0 and high <= 1 else np.clip(probabilities, 0.0, 1.0)


def floating(values) -> np.ndarray:
    """`values` as an array of float64, or of float32 where they are that: many take half the memory."""
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64, copy=False)


def pieces_of(num: int) -> Iterator[slice]:
    """`num` examples some after the others: what is computed of each for itself need not be in memory for all."""
    for start in range(0, num, PIECE):
        yield slice(start, min(start + PIECE, num))


def scores_of_classes(targets, scores: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """`targets` [N] as class numbers below K, and `scores` [N, K]."""
    if scores.ndim != 2:
        raise ValueError(f"{name} has shape {scores.shape}; expected (N, K), or (N,) for two classes")
    _same_length(np.asarray(targets), scores, name)
    numbers, _, _ = class_numbers(targets, targets, scores.shape[1])
    return numbers, scores


def real_numbers(targets, values) -> tuple[np.ndarray, np.ndarray]:
    """`targets` and `values` as finite float64 [N, K]."""
    targets, values = np.asarray(targets, np.float64), np.asarray(values, np.float64)
    _same_length(targets, values, "values")
    targets = targets.reshape(len(targets), -1)
    values = values.reshape(len(values), -1)
    if targets.shape != values.shape:
        raise ValueError(f"targets are {targets.shape} and values {values.shape}; expected the same shape")
    return finite(targets, "targets"), finite(values, "values")


def yes_or_no(targets, values) -> tuple[np.ndarray, np.ndarray]:
    """`targets` and `values` [N, K] as booleans: which labels each example has."""
    targets, values = np.asarray(targets), np.asarray(values)
    _same_length(targets, values, "values")
    if targets.ndim != 2 or targets.shape != values.shape:
        raise ValueError(
            f"targets are {targets.shape} and values {values.shape}; expected the same shape (N, K)"
        )
    for name, array in (("targets", targets), ("values", values)):
        if not np.all((array == 0) | (array == 1)):
            raise ValueError(
                f"{name} contains values other than 0 and 1; for probabilities: values = probabilities >= 0.5"
            )
    return targets.astype(bool), values.astype(bool)


def _same_length(targets: np.ndarray, other: np.ndarray, name: str) -> None:
    if targets.ndim == 0 or other.ndim == 0:
        raise ValueError(
            f"targets and {name} must be arrays with one row an example; received a single number"
        )
    if len(targets) != len(other):
        raise ValueError(f"there are {len(targets)} targets and {len(other)} {name}; expected one an example")
    if len(targets) == 0:
        raise ValueError(f"there are no examples: targets and {name} are empty; expected at least one")


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """`array` [N, ...] itself, refused where a row has NaN or infinite values."""
    if array.size and np.isfinite(array.min()) and np.isfinite(array.max()):  # NaN passes through both
        return array
    wrong = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1)) if array.size else []
    if len(wrong):
        raise ValueError(
            f"{name} has NaN or infinite values in {len(wrong)} of {len(array)} rows, the first is row {wrong[0]}; "
            "leave those examples out, or find what produced them"
        )
    return array
