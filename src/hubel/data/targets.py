"""Targets: what a column of labels means, decided by its type and never guessed from its values.

Integers, strings and yes/no values are classes; a 0/1 matrix whose rows each have one 1 is one-hot (classes), another 0/1
matrix holds several yes/no labels; floating-point numbers are real values, even where they happen to be 0.0, 1.0 and 2.0. A
floating-point matrix of class probabilities has to be declared, task="probabilities".
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hubel.data.levels import levels_of, places_among

Task = Literal["classes", "labels", "values", "probabilities"]
SELF = "self"  # the word for the input itself


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """`values` [N] class numbers (int64), [N, K] yes/no labels (uint8), or floating [N, K]: class probabilities, which have `classes` as the
    first two have, or real values.
    """

    values: np.ndarray
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_targets(
    y: Any,
    *,
    classes: Sequence[str] | None = None,
    task: Task | None = None,
    ids: Sequence[Any] | None = None,
) -> Targets:
    """The meaning of `y` [N] or [N, K]; `task` overrides the rule of this file, `classes` names class numbers 0 … K-1.

    Raises `ValueError` for missing labels (the rows are named, by `ids` where given), a single class, and what is ambiguous.

    >>> read_targets(["cat", "dog", "cat"]).classes
    ('cat', 'dog')
    >>> read_targets([0.5, 1.0]).values.shape
    (2, 1)
    """
    if task not in (None, "classes", "labels", "values", "probabilities"):
        raise ValueError(
            f'task={task!r} is not known; expected "classes", "labels", "values", "probabilities" or None'
        )
    y = _plain(y, ids)
    if y.ndim == 2 and y.shape[1] == 1 and (y.dtype.kind != "f" or task == "classes"):
        y = y[:, 0]
    if y.ndim not in (1, 2) or y.size == 0:
        raise ValueError(f"targets have shape {y.shape}; expected one value an example [N], or [N, K]")
    if y.dtype.kind == "f":
        _refuse_missing(~np.isfinite(y).reshape(len(y), -1).all(1), ids)
        if task in ("classes", "labels"):
            y = _as_integers(y, task)
    if task == "probabilities":
        return _probabilities(y, classes)
    if task == "values" or y.dtype.kind == "f":
        return _values(y, classes, task)
    if y.ndim == 2:
        return _matrix(y, classes, task)
    if task == "labels":
        raise ValueError(
            'task="labels" expects a 0/1 matrix [N, K], one column a label; received one value an example'
        )
    return _numbered(y, classes) if y.dtype.kind in "iub" else _named(y, classes)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names in natural order: letters regardless of case, runs of digits by their number.

    >>> class_order(["b10", "b9", "A"])
    ('A', 'b9', 'b10')
    """
    return tuple(sorted(set(names), key=_natural))


def _natural(name: str) -> tuple[Any, ...]:
    pieces = re.split(r"([0-9]+)", name)
    key = tuple((1, int(p), "") if p.isascii() and p.isdigit() else (0, 0, p.casefold()) for p in pieces if p)
    return key, name


def as_numpy(x: Any, what: str) -> np.ndarray:
    """`x` as an array: NumPy, torch (without importing it), pandas or nested lists.

    Raises `ValueError` where lists are ragged.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    try:
        return np.asanyarray(x)
    except ValueError as error:
        raise ValueError(
            f"{what} can not be one array, since its entries have different lengths ({error}); expected entries of one shape. "
            "Pictures of different sizes: write them into class folders and load the folder, which resizes them by a stated rule. "
            "Series of different lengths: arrays [L, F] that all have the same F"
        ) from error


def _plain(y: Any, ids: Sequence[Any] | None) -> np.ndarray:
    y = as_numpy(y, "y")
    if y.dtype.kind in "OUST" and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind in "OUT":
        if y.ndim != 1:
            raise ValueError(
                f"targets of type {y.dtype} have shape {y.shape}; expected one label an example [N]"
            )
        entries = [e.item() if isinstance(e, np.generic) else e for e in y.tolist()]
        entries = [e.decode("utf-8") if isinstance(e, bytes) else e for e in entries]
        _refuse_missing(np.array([is_missing(e) for e in entries], dtype=bool), ids)
        kinds = {type(e) for e in entries}
        if kinds <= {str}:
            return np.array(entries, dtype=np.str_)
        if kinds <= {bool} or kinds <= {int} or kinds <= {int, float}:
            return np.array(entries)
        raise ValueError(
            f"targets mix {', '.join(sorted(k.__name__ for k in kinds))} in an array of Python objects; expected labels of one "
            "type: strings, integers, yes/no values, or floating-point numbers. Write y.astype(str) or y.astype(float)"
        )
    if y.dtype.kind not in "iubf":
        raise ValueError(
            f"targets have type {y.dtype}; expected integers, strings, yes/no values or floating-point numbers"
        )
    return np.ascontiguousarray(y.astype(y.dtype.newbyteorder("="), copy=False))


def is_missing(entry: Any) -> bool:
    """Whether a label or a group says nothing: None, NaN, an empty word."""
    if entry is None or (isinstance(entry, float) and math.isnan(entry)):
        return True
    return isinstance(entry, str) and entry.strip() in ("", "nan", "NaN")


def _refuse_missing(missing: np.ndarray, ids: Sequence[Any] | None) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        named = [str(ids[r]) if ids is not None else f"row {r}" for r in rows[:10]]
        more = f" and {len(rows) - 10:,} more" if len(rows) > 10 else ""
        raise ValueError(
            f"{len(rows):,} of {len(missing):,} examples have no label (missing, NaN or infinite): {', '.join(named)}{more}. "
            "Label them or remove these rows"
        )


def _as_integers(y: np.ndarray, task: str) -> np.ndarray:
    if not (y == np.rint(y)).all():
        raise ValueError(
            f'task="{task}" needs whole numbers, but y has values such as {y[y != np.rint(y)][0]:g}'
        )
    return y.astype(np.int64)


def _values(y: np.ndarray, classes: Sequence[str] | None, task: Task | None) -> Targets:
    if y.dtype.kind not in "iubf":
        raise ValueError(f'task="values" needs numbers, but y has type {y.dtype}')
    if classes is not None:
        raise ValueError(
            "y holds real values, which have no classes. For classes pass whole numbers: y.astype(int)"
        )
    if y.dtype.kind != "f":
        y = y.astype(np.float32 if np.abs(y.astype(np.int64)).max() < 2**24 else np.float64)
    if task is None and y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all():
        raise ValueError(
            'y is a floating-point matrix of one-hot rows. For classes pass y.argmax(1), or task="classes"; to fit the zeros '
            'and ones as real values pass task="values"'
        )
    notes: tuple[str, ...] = ()
    levels = np.unique(y[:100_000])
    if task is None and len(levels) <= 20 and (levels == np.rint(levels)).all():
        shown = ", ".join(f"{v:g}" for v in levels[:5])
        notes = (
            f"The targets are floating-point numbers with {len(levels)} levels ({shown}{', …' if len(levels) > 5 else ''}); "
            "they are fitted as real values. If they are classes, pass whole numbers: y.astype(int).",
        )
    if (
        task is None
        and y.ndim == 2
        and y.shape[1] > 1
        and (y >= 0).all()
        and np.allclose(y.sum(1), 1, atol=1e-3)
    ):
        notes += (
            'Every row of the targets sums to 1; they are fitted as real values. If they are class probabilities, say task="probabilities".',
        )
    y = y.astype(np.float64 if y.dtype.itemsize > 4 else np.float32, copy=False)
    return Targets(values=y.reshape(len(y), -1), notes=notes)


def _probabilities(y: np.ndarray, classes: Sequence[str] | None) -> Targets:
    if y.ndim != 2 or y.dtype.kind not in "fiu" or y.shape[1] < 2:
        raise ValueError(
            f'task="probabilities" needs a matrix [N, K] of numbers with a column for each of at least 2 classes; received {y.dtype} {y.shape}'
        )
    names = _given(classes, y.shape[1])
    y = y.astype(np.float64 if y.dtype == np.float64 else np.float32)
    wrong = np.flatnonzero((y < 0).any(1) | (np.abs(y.sum(1, dtype=np.float64) - 1) > 1e-3))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"{len(wrong):,} of {len(y):,} rows are no class probabilities, first row {row} ({', '.join(f'{p:g}' for p in y[row, :6])}, sum "
            f'{y[row].sum():.6g}): expected numbers from 0 to 1 with sum 1. Divide each row by its sum, or fit them as task="values"'
        )
    return Targets(values=y, classes=names)


def _matrix(y: np.ndarray, classes: Sequence[str] | None, task: Task | None) -> Targets:
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"y is a matrix {y.shape} of integers beyond 0 and 1; expected one class an example [N], one-hot rows, 0/1 labels, "
            "or floating-point numbers for real values: y.astype(float)"
        )
    names = _given(classes, y.shape[1])
    sums = y.sum(1, dtype=np.int64)
    if task != "labels" and (sums == 1).all():
        found = _numbered(y.argmax(1), names)
        note = f'The targets are one-hot rows, read as {len(names)} classes (several yes/no labels: task="labels").'
        return Targets(values=found.values, classes=names, notes=(*found.notes, note))
    if task == "classes":
        row = int(np.flatnonzero(sums != 1)[0])
        raise ValueError(
            f'task="classes" needs one 1 in each row of a 0/1 matrix, but row {row} has {sums[row]}'
        )
    constant = [n for n, lo, hi in zip(names, y.min(0), y.max(0), strict=True) if lo == hi]
    notes = (f"These labels are the same in every example: {', '.join(constant[:10])}.",) if constant else ()
    return Targets(values=y.astype(np.uint8), classes=names, notes=notes)


def _given(classes: Sequence[str] | None, num: int) -> tuple[str, ...]:
    names = tuple(map(str, classes)) if classes is not None else tuple(map(str, range(num)))
    if len(names) != num or len(set(names)) != num:
        raise ValueError(
            f"classes gives {len(names)} names ({len(set(names))} different) for {num} columns of y"
        )
    return names


def _numbered(y: np.ndarray, classes: Sequence[str] | None) -> Targets:
    levels, _ = levels_of(y)
    if len(levels) > 20 and len(levels) > len(y) / 2 and classes is None:
        raise ValueError(
            f"y has {len(levels):,} different integers in {len(y):,} examples. If they are measured amounts, pass "
            "floating-point numbers: y.astype(float). If they are classes, pass their names: classes=[...]"
        )
    if len(levels) < 2:
        raise ValueError(one_class(len(y), str(levels[0])))
    if classes is None:
        return Targets(values=places_among(y, levels), classes=tuple(str(v) for v in levels.tolist()))
    names = tuple(map(str, classes))
    if len(set(names)) != len(names):
        raise ValueError(f"classes has the same name twice: {', '.join(names)}")
    y = y.astype(np.int64)
    if y.min() < 0 or y.max() >= len(names):
        raise ValueError(
            f"y has class numbers from {y.min()} to {y.max()}, but classes has {len(names)} names; expected numbers from 0 to {len(names) - 1}"
        )
    empty = [names[k] for k in np.flatnonzero(np.bincount(y, minlength=len(names)) == 0)]
    notes = (f"{len(empty)} classes have no example: {', '.join(empty[:10])}.",) if empty else ()
    return Targets(values=y, classes=names, notes=notes)


def _named(y: np.ndarray, classes: Sequence[str] | None) -> Targets:
    names = class_order(y.tolist()) if classes is None else tuple(map(str, classes))
    unknown = sorted(set(y.tolist()) - set(names))
    if unknown:
        raise ValueError(
            f"labels that are not in classes: {', '.join(unknown[:10])}; classes are {', '.join(names[:20])}"
        )
    if len(set(y.tolist())) < 2:
        raise ValueError(one_class(len(y), str(y[0])))
    number = {name: k for k, name in enumerate(names)}
    return Targets(values=np.array([number[name] for name in y.tolist()], dtype=np.int64), classes=names)


def one_class(num: int, name: str) -> str:
    """What is wrong with a single class."""
    return f'all {num:,} examples have the class "{name}"; expected at least two classes, or there is nothing to tell apart'
