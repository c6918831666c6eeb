"""Tables of image files: one row an example, with the columns path and label, and group, split and weight where they are.

Column names are recognised regardless of case (path, file, filename, image; label, class, target; group; split, part, set; weight); paths are
relative to the table. A column of whole numbers or words is a class, one of other numbers is a real value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, nearest
from hubel.data.archives import part_column
from hubel.data.listing import Listing
from hubel.data.table_columns import MISSING
from hubel.data.table_pieces import table_of

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    "label": ("label", "class", "target", "labels", "class_name"),
    "group": ("group", "groups", "group_id"),
    "split": ("split", "part", "set", "subset"),
    "weight": ("weight", "weights", "sample_weight"),
    "mask": ("mask", "masks", "mask_path", "mask_file"),
}


def list_table(path: Path, target: str | Sequence[str] | None = "label") -> Listing:
    """The pictures that a table names, with their labels, or without any where no `target` is asked for; raises `ValueError` naming columns, rows and files that are missing."""
    table = _read(path)
    if not table or not next(iter(table.values())):
        raise UnreadableData(
            f"{path} has no rows; expected one row an example, with the columns path and label"
        )
    names = [str(n) for n in _column(table, "path", path)]
    targets = [target] if isinstance(target, str) else list(target or ())
    labels = [_column(table, name, path) for name in targets]
    keep, notes = _without_repeats(names, labels, path)
    names = [names[k] for k in keep]
    labels = [[column[k] for k in keep] for column in labels]
    lines = [f"row {k + 1} ({name})" for k, name in zip(keep, names, strict=True)]
    for name, column in zip(targets, labels, strict=True):
        _refuse_missing(column, name, lines, path)
    split, groups, weights = (_optional(table, name, keep, path) for name in ("split", "group", "weight"))
    return Listing(
        paths=_existing([path.parent / name for name in names], names, path),
        ids=[n.encode("utf-8", "replace").decode() for n in names],
        y=_together(labels, targets, path) if labels else None,
        classes=tuple(targets) if len(labels) > 1 and _yes_no(labels) else None,
        target_names=tuple(targets)
        if (len(labels) > 1 and not _yes_no(labels)) or (len(labels) == 1 and _real(labels[0]))
        else None,
        part=None if split is None else part_column(split, f"{path}: the column split"),
        groups=None if groups is None else np.array(groups, dtype=np.str_),
        weights=None
        if weights is None
        else np.array([_number(w, path, "weight") for w in weights], dtype=np.float32),
        notes=notes,
    )


def _together(labels: list[list[Any]], targets: list[str], path: Path) -> np.ndarray:
    return _typed(labels[0]) if len(labels) == 1 else _matrix(labels, targets, path)


def _read(path: Path) -> dict[str, list[Any]]:
    table = table_of(path)
    columns: dict[str, list[Any]] = {name: [] for name in table.header}
    for piece in table.pieces():
        for column, entries in zip(columns.values(), piece, strict=True):
            plain = entries.tolist() if isinstance(entries, np.ndarray) else entries
            column += ["" if e is None else e.strip() if isinstance(e, str) else e for e in plain]
    return columns if next(iter(columns.values()), None) else {}


def _find(table: Mapping[str, list[Any]], name: str) -> str | None:
    folded = {column.casefold(): column for column in table}
    if name in table:
        return name
    return next((folded[word] for word in (name.casefold(), *COLUMNS.get(name, ())) if word in folded), None)


def _column(table: Mapping[str, list[Any]], name: str, path: Path) -> list[Any]:
    found = _find(table, name)
    if found is None:
        what = "" if name == "path" else " Say which column holds the labels with target= (--target)."
        raise ValueError(f"{path} has no column {name!r}.{nearest(name, table)}{what}")
    return table[found]


def _optional(table: Mapping[str, list[Any]], name: str, keep: list[int], path: Path) -> list[str] | None:
    found = _find(table, name)
    if found is None:
        return None
    column = [str(table[found][k]) for k in keep]
    empty = [k for k, entry in zip(keep, column, strict=True) if entry.casefold() in MISSING]
    if empty:
        raise ValueError(
            f"{path}: {len(empty):,} rows have nothing in the column {found!r}, first row {empty[0] + 1}; fill it or remove the column"
        )
    return column


def _without_repeats(
    names: list[str], labels: list[list[Any]], path: Path
) -> tuple[list[int], tuple[str, ...]]:
    """Rows that count: a file named again with the same labels is taken once, with other labels it is refused."""
    first: dict[str, int] = {}
    keep, repeated, conflicting = [], 0, []
    for k, name in enumerate(names):
        if not name:
            raise ValueError(f"{path}: row {k + 1} has no path")
        same = first.setdefault(os.path.normpath(name), k)
        if same == k:
            keep.append(k)
        elif all(str(column[k]) == str(column[same]) for column in labels):
            repeated += 1
        else:
            conflicting.append(f"{name} (rows {same + 1} and {k + 1}: {labels[0][same]} and {labels[0][k]})")
    if conflicting:
        shown = ", ".join(conflicting[:10]) + (
            f" and {len(conflicting) - 10:,} more" if len(conflicting) > 10 else ""
        )
        raise ValueError(
            f"{path} gives {len(conflicting):,} files different labels: {shown}. Keep one row for each file"
        )
    return keep, (
        f"{repeated:,} rows name a file again with the same label; each file is taken once.",
    ) if repeated else ()


def _refuse_missing(column: list[Any], name: str, lines: list[str], path: Path) -> None:
    missing = [
        line for line, entry in zip(lines, column, strict=True) if str(entry).strip().casefold() in MISSING
    ]
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10:,} more" if len(missing) > 10 else "")
        raise ValueError(
            f"{path}: {len(missing):,} rows have no {name} (empty or NaN): {shown}. Label them or remove these rows"
        )


def _existing(paths: list[Path], names: list[str], table: Path) -> list[Path]:
    missing = [k for k, path in enumerate(paths) if not path.is_file()]
    if not missing:
        return paths
    folder = paths[missing[0]].parent
    beside = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    hint = (
        nearest(paths[missing[0]].name, beside)
        if beside
        else f" There is no folder {folder}."
        if not folder.is_dir()
        else ""
    )
    shown = ", ".join(names[k] for k in missing[:10]) + (
        f" and {len(missing) - 10:,} more" if len(missing) > 10 else ""
    )
    raise UnreadableData(
        f"{len(missing):,} of {len(paths):,} files that {table} names do not exist: {shown}. Paths are relative to the table's folder.{hint}"
    )


def _typed(column: list[Any]) -> np.ndarray:
    """Integers, real numbers or words, by what all entries of the column are."""
    if all(isinstance(entry, (bool, np.bool_)) for entry in column):
        return np.array(column, dtype=bool)
    text = [str(entry) for entry in column]
    if not any(isinstance(entry, float) for entry in column) and all(_is_whole(entry) for entry in text):
        return np.array(text).astype(np.int64)
    if all(entry.isdigit() for entry in text):  # 007 and 7 are names
        return np.array(text, dtype=np.str_)
    try:
        if any("_" in entry for entry in text):  # Python reads 1_1 as 11
            raise ValueError
        return np.array([float(entry) for entry in text])
    except ValueError:
        return np.array(text, dtype=np.str_)


def _is_whole(text: str) -> bool:
    return (
        text.lstrip("-").isascii()
        and text.lstrip("-").isdigit()
        and str(int(text)) == text
        and len(text) < 19
    )


def _real(column: list[Any]) -> bool:
    return _typed(column).dtype.kind == "f"


def _yes_no(labels: list[list[Any]]) -> bool:
    return all(
        _typed(column).dtype.kind in "ib" and np.isin(_typed(column), (0, 1)).all() for column in labels
    )


def _matrix(labels: list[list[Any]], targets: list[str], path: Path) -> np.ndarray:
    columns = [_typed(column) for column in labels]
    words = [name for name, column in zip(targets, columns, strict=True) if column.dtype.kind == "U"]
    if words:
        raise ValueError(
            f"{path}: the target column {words[0]!r} holds words; several target columns must be numbers (0 and 1: several labels)"
        )
    matrix = np.stack(columns, axis=1)
    return matrix.astype(np.uint8) if _yes_no(labels) else matrix.astype(np.float64)


def _number(text: str, path: Path, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}: the column {name} has {text!r}; expected a number") from error
