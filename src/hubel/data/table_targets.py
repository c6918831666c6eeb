"""The target columns of a table: their type decides what is asked of the network.

Words are classes, whole numbers are classes where they are few, other numbers are real values; a unit in the header says that
numbers are amounts. Several columns of 0 and 1 are several labels, several that start with p_ and sum to 1 in every row are class
probabilities, several others are several values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.levels import levels_of, places_among
from hubel.data.table_arrow import Texts
from hubel.data.table_columns import Survey, encoded, numbers_of, text_of, yes_no
from hubel.data.table_headings import Heading
from hubel.data.table_pieces import Column
from hubel.data.targets import Targets, Task, class_order, one_class, read_targets

FEW = 20  # different whole numbers that are classes without a word
EXAMPLES = 10  # of each class, at least, where there are more


@dataclass(frozen=True, kw_only=True)
class Named:
    """Targets with the names and units of their columns, and what they were taken for."""

    targets: Targets
    names: tuple[str, ...] | None
    units: tuple[str, ...] | None
    task: Task


class TargetColumn:
    """One target column: surveyed in the first pass, filled in the second."""

    def __init__(self, heading: Heading, missing: Sequence[str] = ()):
        self.heading, self._missing = heading, tuple(missing)
        self.survey = Survey(heading.name, missing=missing)
        self.whole = True  # every entry is written as a whole number
        self.padded = False  # such as 007, which is a name
        self._pieces: list[np.ndarray] = []
        self._levels: dict[str, int] = {}

    def take(self, entries: Column) -> None:
        """A piece of the first pass."""
        self.survey.take(entries)
        if isinstance(entries, np.ndarray):
            self.whole &= entries.dtype.kind in "iu"
            return
        for entry in entries.encoded()[0] if isinstance(entries, Texts) else entries:
            if not isinstance(entry, str):
                self.whole &= isinstance(entry, int) and not isinstance(entry, bool)
                continue
            text = entry.strip()
            digits = text.removeprefix("-")
            if not (digits.isascii() and digits.isdigit() and len(text) < 19):
                self.whole = False
            elif str(int(text)) != text:
                self.whole, self.padded = False, True

    def settle(self, task: Task | None, table: str) -> None:
        """Before the second pass: refuse what can not be a target."""
        survey, header = self.survey, self.heading.header
        if survey.missing:
            rows = ", ".join(map(str, survey.missing_rows))
            raise ValueError(
                f"{table}: {survey.missing:,} rows have no {header} (empty or NaN): {rows}{' …' if survey.missing > 5 else ''}. "
                "Label them or remove these rows"
            )
        kind = survey.kind
        shown = ", ".join(f"{word!r} in row {row}" for row, word in survey.word_rows)
        if kind == "dates":
            raise ValueError(
                f"{table}: the target column {header!r} holds dates ({shown}); write them as numbers, such as days"
            )
        if kind == "decimal commas":
            raise ValueError(
                f"{table}: the target column {header!r} has decimal commas ({shown}); write 3.14"
            )
        if kind == "mixed" and task != "classes":
            raise UnreadableData(
                f"{table}: the target column {header!r} mixes {survey.numbers:,} numbers with {survey.words:,} words ({shown}). Correct them, "
                'or say that all are names of classes: task="classes" (--task classes)'
            )
        if kind == "text":
            raise ValueError(
                f"{table}: the target column {header!r} has a different word in most of {survey.rows:,} rows ({shown}), so that there is "
                "nothing to learn from one row for another. Name another column with target= (--target)"
            )
        if self.in_words:
            self._levels = (
                {level: k for k, level in enumerate(class_order(survey.levels))} if survey.words else {}
            )

    @property
    def in_words(self) -> bool:
        """Whether the entries are names."""
        return bool(self.survey.words) or self.padded

    @property
    def names_classes(self) -> bool:
        """Whether the entries are names of a few classes, or few whole numbers, and none is missing."""
        survey = self.survey
        if survey.missing or not survey.rows:
            return False
        if self.in_words:
            return survey.kind in ("category", "yes/no", "constant", "number")
        return self.whole and survey.high - survey.low < FEW

    def fill(self, entries: Column) -> None:
        """A piece of the second pass."""
        if self.in_words:
            words, places = encoded(entries)
            numbers = [self._levels.setdefault(word, len(self._levels)) for word in words]
            self._pieces.append(np.array(numbers, dtype=np.int32)[places])
            return
        values, _ = numbers_of(entries, self._missing)
        self._pieces.append(values.astype(self._whole_type) if self.whole else values)

    @property
    def _whole_type(self) -> type[np.signedinteger]:
        return np.int32 if self.survey.low >= -(2**31) and self.survey.high < 2**31 else np.int64

    @property
    def values(self) -> np.ndarray:
        """All entries: floating numbers, whole numbers, or the places of words in `levels`."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]

    @property
    def words(self) -> list[str]:
        """All entries as words."""
        values = self.values.tolist()
        return [self.levels[k] for k in values] if self.in_words else [text_of(value) for value in values]

    @property
    def levels(self) -> tuple[str, ...]:
        """The words, in the order of their numbers."""
        return tuple(self._levels)


def table_targets(columns: list[TargetColumn], task: Task | None, table: str, *, known: bool) -> Named:
    """The targets of a table whose columns are filled; `known` where they are only compared with what was learned.

    Raises `ValueError` where it is not clear what they are, with what to say.
    """
    for column in columns:
        if column.survey.infinite:
            rows = ", ".join(map(str, column.survey.infinite_rows))
            raise ValueError(
                f"{table}: {column.heading.header} is infinite in {column.survey.infinite:,} rows ({rows})"
            )
    found = _one(columns[0], task, table, known) if len(columns) == 1 else _several(columns, task, table)
    if found.task != "values":
        return found
    units = tuple(column.heading.unit or "" for column in columns)
    return replace(found, names=tuple(c.heading.name for c in columns), units=units if any(units) else None)


def _one(column: TargetColumn, task: Task | None, table: str, known: bool) -> Named:
    values, heading = column.values, column.heading
    if column.in_words:
        if task in ("values", "probabilities"):
            raise ValueError(f'{table}: task="{task}" needs numbers, but {heading.header!r} holds words')
        return Named(targets=_words(column, known), names=None, units=None, task="classes")
    if task is None and values.dtype.kind == "i" and heading.unit is not None:
        task = "values"
    if task is None and values.dtype.kind == "i" and not known:
        levels = len(levels_of(values)[0])
        if levels > FEW and levels * EXAMPLES > len(values):
            raise ValueError(
                f"{table}: the target column {heading.header!r} has {levels:,} different whole numbers in {len(values):,} rows. If they are "
                'amounts, say task="values" (--task values); if they are classes, task="classes"'
            )
    if known and task == "classes":
        levels, _ = levels_of(values)
        classes = tuple(text_of(level) for level in levels.tolist())
        numbers = places_among(values, levels).astype(np.int32)
        return Named(targets=Targets(values=numbers, classes=classes), names=None, units=None, task="classes")
    targets = read_targets(values, task=task)
    if targets.classes is not None and targets.values.ndim == 1:
        targets = replace(targets, values=targets.values.astype(np.int32))
    return Named(
        targets=targets, names=None, units=None, task="values" if targets.classes is None else "classes"
    )


def _words(column: TargetColumn, known: bool) -> Targets:
    names = class_order(column.levels)
    if len(names) < 2 and not known:
        raise ValueError(one_class(len(column.values), "".join(names)))
    place = {name: k for k, name in enumerate(names)}
    numbers = np.array([place[name] for name in column.levels], dtype=np.int32)
    return Targets(values=numbers[column.values], classes=names)


def _several(columns: list[TargetColumn], task: Task | None, table: str) -> Named:
    names = tuple(column.heading.name for column in columns)
    arrays = [_as_numbers(column, table) for column in columns]
    matrix = np.stack(arrays, axis=1)
    binary = all(np.isin(array, (0, 1)).all() and array.dtype.kind == "i" for array in arrays)
    if task == "probabilities" or (task is None and _look_like_probabilities(names, matrix)):
        classes = (
            tuple(name.removeprefix("p_") for name in names)
            if all(n.startswith("p_") for n in names)
            else names
        )
        targets = read_targets(matrix.astype(np.float64), classes=classes, task="probabilities")
        return Named(targets=targets, names=None, units=None, task="probabilities")
    if binary and task != "values":
        targets = read_targets(matrix.astype(np.uint8), classes=names, task=task or "labels")
        return Named(
            targets=targets, names=None, units=None, task="labels" if targets.values.ndim == 2 else "classes"
        )
    if task in ("classes", "labels"):
        raise ValueError(
            f'{table}: task="{task}" needs columns of 0 and 1, but {", ".join(names)} hold other numbers'
        )
    targets = read_targets(matrix.astype(np.float64), task="values")
    return Named(targets=targets, names=None, units=None, task="values")


def _as_numbers(column: TargetColumn, table: str) -> np.ndarray:
    values = column.values
    if not column.in_words:
        return values
    pair = yes_no(column.levels)
    if pair is None:
        raise ValueError(
            f"{table}: the target column {column.heading.header!r} holds words; several target columns must be numbers (0 and 1, or yes and "
            "no: several labels)"
        )
    return (values == column.levels.index(pair[1])).astype(np.int64)


def _look_like_probabilities(names: Sequence[str], matrix: np.ndarray) -> bool:
    if matrix.dtype.kind != "f" or not all(name.startswith("p_") for name in names):
        return False
    return bool((matrix >= 0).all() and np.allclose(matrix.sum(axis=1), 1, atol=1e-3))


def target_headings(y: Any) -> list[Heading]:
    """The names of targets that came as a pandas column or frame; none where they have no name."""
    from hubel.data.table_headings import headings

    columns = getattr(y, "columns", None)
    if columns is not None:
        return headings([str(name) for name in columns])
    name = getattr(y, "name", None)
    return headings([name]) if isinstance(name, str) else []
