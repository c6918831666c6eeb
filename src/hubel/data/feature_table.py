"""A table of features as a `Dataset`: read in two passes of pieces, so that a file may be larger than the memory.

The first pass finds what every column holds, the second fills an array, in memory or mapped to a file. What was decided is in
`Dataset.reading`, by which new tables are read in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_column, part_of
from hubel.data.arrays import checked_weights
from hubel.data.dataset import Dataset
from hubel.data.itself import says_self
from hubel.data.reading import Progress
from hubel.data.rows import Counted
from hubel.data.storage import room_for
from hubel.data.table_columns import Survey, is_missing, numbers_of, text_of
from hubel.data.table_headings import Heading, all_found, find, headings
from hubel.data.table_pieces import Column, Pieces, table_of
from hubel.data.table_plan import encoded_size, plan_columns, reading_of_itself
from hubel.data.table_rows import RowReader
from hubel.data.table_targets import Named, TargetColumn, table_targets, target_headings
from hubel.data.targets import Task, read_targets

TARGET = ("label", "class", "target", "labels", "class_name")
BESIDE = {
    "group": ("group", "groups", "group_id"),
    "split": ("split", "part", "set", "subset"),
    "weight": ("weight", "weights", "sample_weight"),
}


def from_table(
    source: Any,
    y: Any = None,
    *,
    target: str | Sequence[str] = "label",
    columns: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    categories: str | Sequence[str] = (),
    missing: str | Sequence[str] = (),
    task: Task | None = None,
    name: str = "table",
    like: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """A table of numbers and categories as a data set: a path, a pandas DataFrame, or a mapping of names to columns.

    `target` names the target column or columns, where they are not given as `y` [N] or [N, K]. The other columns are features, but for
    `group`, `split` and `weight`; `columns` names those that are to be features instead, `ignore` those that are not. `categories` names
    columns whose numbers are names; `missing` lists words or numbers that say that nothing was measured. `task`: see
    `hubel.data.targets`. `like` is the `reading` of another table, by which this one is read.

    `target="self"` makes every row its own target; all features must then be numbers, and none missing. A column called label (class, target, …)
    that holds words or up to 20 whole numbers is then shown beside the rows, and nothing learns it.

    Raises `ValueError` or `UnreadableData` naming columns and rows, with what was expected and what to write.

    >>> data = from_table({"mass": [1.0, 2.5, None], "kind": ["a", "b", "a"], "label": [0, 1, 0]})
    >>> data, data.inputs.tolist()
    (Dataset('table': 3 examples of 2 float32, 2 classes), [[1.0, 0.0], [2.5, 1.0], [nan, 0.0]])
    """
    table = table_of(source)
    if not table.header:
        raise UnreadableData(
            f"{table.name} has no rows; expected one row an example, under a header with the names of the columns"
        )
    itself = y is None and (says_self(target) or (like is not None and like["nan"] == "refuse"))
    if like is not None:
        like = reading_of_itself(like, table.name) if itself else like
        target = [t["name"] for t in like["targets"]] or target if target == "label" else target
        columns, ignore, categories = None, (), ()
        missing, task = like["missing"], task or like["task"]
    roles = _Roles(table, target if y is None and not itself else (), columns, ignore, like)
    missing = (missing,) if isinstance(missing, str) else tuple(map(str, missing))
    if itself:
        roles.targets = _labels(roles, like)
    targets = [TargetColumn(roles.all[k], missing) for k in roles.targets]
    surveys = _first_pass(table, roles, targets, categories, missing, like is not None, progress)
    num = roles.rows
    if num == 0:
        raise UnreadableData(
            f"{table.name} has no rows; expected one row an example, under a header with the names of the columns"
        )
    if itself and targets:
        targets = _shown_beside(roles, targets, surveys)
    for one in targets:
        one.settle("classes" if itself else task, table.name)
    reading, notes = _reading(table, roles, surveys, columns, missing, like)
    reading = reading_of_itself(reading, table.name) if itself else reading
    reader = RowReader(table, reading)
    inputs, beside = _second_pass(table, reader, roles, targets, num, progress)
    asked: dict[str, Any] = {"targets": inputs}
    said: tuple[str, ...] = ()
    if itself:
        asked["labels"] = np.array(targets[0].words, dtype=np.str_) if targets else None
    else:
        named = (
            _named(y, num, task)
            if y is not None
            else table_targets(targets, task, table.name, known=like is not None)
        )
        told = [{"name": h.name, "header": h.header, "unit": h.unit} for h in roles.headings_of(y)]
        reading |= {"targets": told, "task": named.task}
        asked = {"targets": named.targets.values, "classes": named.targets.classes}
        asked |= {"target_names": named.names, "units": named.units}
        said = named.targets.notes
    return Dataset(
        inputs=inputs,
        name=name,
        ids=cast("Any", Counted(num, first=1)),
        channels=tuple(column["header"] for column in reading["columns"]),
        source=table.name,
        notes=(*table.notes, *notes, *roles.notes, *reader.remarks, *said),
        reading=reading,
        **asked,
        **beside,
    )


def rows_like(source: Any, reading: Mapping[str, Any]) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Pieces of a new table as rows [n, F] by the reading of another; beside the last, what was unlike that one.

    Raises `ValueError` or `UnreadableData` as `from_table`.
    """
    table = table_of(source)
    reader = RowReader(table, reading)
    for piece in table.pieces():
        yield reader(piece), []
    yield np.empty((0, len(reader.columns)), reader.dtype), reader.remarks


class _Roles:
    """What each column of a table is there for, by places: `targets`, `features`, `beside` (group, split, weight)."""

    def __init__(
        self,
        table: Pieces,
        target: str | Sequence[str],
        columns: str | Sequence[str] | None,
        ignore: str | Sequence[str],
        like: Mapping[str, Any] | None,
    ):
        self.all, self.name, self.rows = headings(table.header), table.name, 0
        self.notes: list[str] = []
        self.targets = _targets(target, self.all, table.name)
        asked = None if columns is None else all_found(columns, self.all, table.name)
        ignored = self.ignored = set(all_found(ignore, self.all, table.name))
        clash = [self.all[k].name for k in (*self.targets, *(asked or ())) if k in ignored]
        clash += [self.all[k].name for k in asked or () if k in self.targets]
        if clash:
            raise ValueError(
                f"{table.name}: the column {clash[0]!r} can not be two of target, feature and ignored"
            )
        self.asked = asked is not None
        self.beside = (
            self._beside({*ignored, *self.targets, *(asked or ())})
            if like is None
            else self._beside_like(like)
        )
        taken = {*ignored, *self.targets, *self.beside.values()}
        self.features = asked if asked is not None else [k for k in range(len(self.all)) if k not in taken]
        if like is not None:
            self.features = []

    def _beside(self, taken: set[int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for role, names in BESIDE.items():
            for k, one in enumerate(self.all):
                if k not in taken and role not in found and one.header.casefold() in names:
                    found[role] = k
        return found

    def _beside_like(self, like: Mapping[str, Any]) -> dict[str, int]:
        places = {role: find(header, self.all) for role, header in like["beside"].items()}
        return {role: place for role, place in places.items() if place is not None}

    def drop_other_sets(self, words: Sequence[str]) -> None:
        """A column called part, set or subset that holds other words than train and test is a feature."""
        place = self.beside.get("split")
        if (
            place is None
            or self.all[place].name.casefold() == "split"
            or all(part_of(w) is not None for w in words)
        ):
            return
        del self.beside["split"]
        if not self.asked:
            self.features = sorted([*self.features, place])

    def say(self) -> None:
        """How the columns beside the features were taken."""
        for role, place in self.beside.items():
            meaning = {
                "group": "ties the rows of a group, which are not split apart",
                "split": "says which part a row is in",
                "weight": "weighs each row in the loss",
            }[role]
            self.notes.append(
                f"The column {self.all[place].name} {meaning}; to make it a feature, name it in columns= (--columns)."
            )

    def headings_of(self, y: Any) -> list[Heading]:
        """Of the targets."""
        return target_headings(y) if y is not None else [self.all[k] for k in self.targets]


def _labels(roles: _Roles, like: Mapping[str, Any] | None) -> list[int]:
    """The place of the column that may be shown beside rows that are their own targets; none where there is none, or the user decided."""
    place = next((k for word in TARGET if (k := find(word, roles.all)) is not None), None)
    if place is None or place in roles.ignored:
        return []
    if like is not None:
        known = roles.all[place].header in {column["header"] for column in like["columns"]}
        return [] if known else [place]
    return [place] if (place in roles.features) != roles.asked else []


def _shown_beside(
    roles: _Roles, targets: list[TargetColumn], surveys: dict[int, Survey]
) -> list[TargetColumn]:
    """The column of labels, taken from the features, where it names classes; none where it is a feature like others."""
    (place,), (column,) = roles.targets, targets
    if not column.names_classes:
        roles.targets = []
        return []
    surveys.pop(place, None)
    roles.features = [k for k in roles.features if k != place]
    roles.notes.append(
        f"The column {column.heading.name} is shown beside the rows, and nothing learns it; to make it a feature, name it in columns= (--columns)."
    )
    return targets


def _targets(target: str | Sequence[str], columns: Sequence[Heading], table: str) -> list[int]:
    if (
        target == "label"
        and (place := next((k for t in TARGET if (k := find(t, columns)) is not None), None)) is not None
    ):
        return [place]
    try:
        return all_found(target, columns, table)
    except ValueError as error:
        raise ValueError(
            f"{error} Say which column holds the target with target= (--target)."
            + (
                " If the table names pictures, call the column of their files path."
                if target == "label"
                else ""
            )
        ) from error


def _first_pass(
    table: Pieces,
    roles: _Roles,
    targets: list[TargetColumn],
    categories: str | Sequence[str],
    missing: Sequence[str],
    like: bool,
    progress: Progress | None,
) -> dict[int, Survey]:
    """What the features hold, and the targets; how many rows there are."""
    named = set() if like else set(all_found(categories, roles.all, table.name))
    watched = sorted({*roles.features, *(place for role, place in roles.beside.items() if role == "split")})
    surveys = {k: Survey(roles.all[k].header, words=k in named, missing=missing) for k in watched}
    for piece in table.pieces():
        roles.rows += len(piece[0])
        for k, survey in surveys.items():
            survey.take(piece[k])
        for place, one in zip(roles.targets, targets, strict=True):
            one.take(piece[place])
        if progress is not None:
            progress(table.position, 2 * table.length)
    if "split" in roles.beside:
        roles.drop_other_sets(list(surveys[roles.beside["split"]].levels))
    roles.say()
    return {k: surveys[k] for k in roles.features}


def _reading(
    table: Pieces,
    roles: _Roles,
    surveys: Mapping[int, Survey],
    asked: Any,
    missing: Sequence[str],
    like: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[str]]:
    if like is not None:
        return dict(like), []
    columns, notes = plan_columns({roles.all[k]: survey for k, survey in surveys.items()}, asked is not None)
    if not columns:
        raise UnreadableData(
            f"{table.name} has no column to learn from. {' '.join(notes)} If the table names pictures, call the column of their files path."
        )
    double = any(survey.needs_double for survey in surveys.values() if survey.kind == "number")
    features = {column["header"] for column in columns}
    return {
        "kind": "table",
        "shape": [len(columns)],
        "dtype": "float64" if double else "float32",
        "layout": "NF",
        "nan": "missing",
        "missing": list(missing),
        "encoded": encoded_size(columns),
        "columns": columns,
        "beside": {role: roles.all[place].header for role, place in roles.beside.items()},
        "others": [one.header for one in roles.all if one.header not in features],
    }, notes


def _second_pass(
    table: Pieces,
    reader: RowReader,
    roles: _Roles,
    targets: list[TargetColumn],
    num: int,
    progress: Progress | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows [N, F], with targets filled, and the columns beside them."""
    inputs = room_for((num, len(reader.columns)), reader.dtype)
    beside: dict[str, list[np.ndarray]] = {role: [] for role in roles.beside}
    done = 0
    for piece in table.pieces():
        rows = reader(piece)
        if done + len(rows) > num:
            break
        inputs[done : done + len(rows)] = rows
        for place, one in zip(roles.targets, targets, strict=True):
            one.fill(piece[place])
        for role, place in roles.beside.items():
            beside[role].append(_beside_values(role, piece[place], done, roles))
        done += len(rows)
        if progress is not None:
            progress(table.length + table.position, 2 * table.length)
    if done != num:
        raise UnreadableData(
            f"{table.name} was changed while it was read: {num:,} rows, then another number. Read it again"
        )
    if progress is not None:
        progress(1, 1)
    found = {role: np.concatenate(parts) for role, parts in beside.items()}
    return inputs, {
        "groups": found.get("group"),
        "part": part_column(
            found["split"].tolist(), f"{table.name}: the column {roles.all[roles.beside['split']].name}"
        )
        if "split" in found
        else None,
        "weights": checked_weights(found["weight"]) if "weight" in found else None,
    }


def _beside_values(role: str, entries: Column, start: int, roles: _Roles) -> np.ndarray:
    column = roles.all[roles.beside[role]].name
    entries = entries.tolist() if isinstance(entries, np.ndarray) else entries
    empty = [start + k + 1 for k, entry in enumerate(entries) if is_missing(entry)]
    if empty:
        raise ValueError(
            f"{roles.name}: {len(empty):,} rows have nothing in the column {column!r}, first row {empty[0]}; fill it or leave the column out "
            f"with ignore= (--ignore {column})"
        )
    if role != "weight":
        return np.array([text_of(entry) for entry in entries], dtype=np.str_)
    values, words = numbers_of(entries)
    if words:
        raise ValueError(
            f"{roles.name}: the column {column} has {text_of(entries[words[0]])!r} in row {start + words[0] + 1}; expected numbers, the weights of "
            f"the rows. To make it a feature, name it in columns= (--columns)"
        )
    return values


def _named(y: Any, num: int, task: Task | None) -> Named:
    """Targets that were given beside the table."""
    found = read_targets(y, task=task)
    if len(found.values) != num:
        raise ValueError(
            f"the table has {num:,} rows, but y has {len(found.values):,}: there must be one target per row"
        )
    told = target_headings(y)
    if found.classes is not None:
        kind: Task = (
            "classes"
            if found.values.ndim == 1
            else "labels"
            if found.values.dtype.kind in "iu"
            else "probabilities"
        )
        return Named(targets=found, names=None, units=None, task=kind)
    units = tuple(one.unit or "" for one in told)
    return Named(
        targets=found,
        names=tuple(one.name for one in told) if told else None,
        units=units if any(units) else None,
        task="values",
    )


def names_pictures(path: Path, words: Sequence[str]) -> bool:
    """Whether a table has a column of picture files: called like one of `words`, and its first entries look like file names."""
    from hubel.data.images import is_image

    table = table_of(path)
    folded = {name.casefold(): k for k, name in enumerate(table.header)}
    place = next((folded[word] for word in words if word in folded), None)
    if place is None:
        return False
    first = next(table.pieces(), None)
    if first is None:
        return True
    some = [Path(entry) for entry in list(first[place])[:100] if isinstance(entry, str) and entry.strip()]
    return not some or any(is_image(entry) or (path.parent / entry).is_file() for entry in some)


__all__ = ["from_table", "names_pictures", "rows_like"]
