"""Tables of measured points for an equation: .csv, .tsv and .npz, a column a coordinate and a column a field."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData, nearest
from hubel.data.archives import opened_npz

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_points(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of `wanted` that the table has; others are left out. Numbers of fields may be complex, as Python writes them (1+2j).

    Raises `FileNotFoundError`, `ValueError` for another kind of file, `UnreadableData` for a cell that is no number (with its line), a column
    that is there twice, or a table without any of the columns.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a table with columns {', '.join(wanted)}")
    if path.suffix.lower() == ".npz":
        with opened_npz(path) as content:
            found = {name: content[name] for name in content.files if name in wanted}
            there = list(content.files)
    elif path.suffix.lower() in DELIMITERS:
        found, there = _read_text(path, wanted)
    else:
        raise ValueError(
            f"{path} is no .csv, .tsv or .npz: expected a table with columns {', '.join(wanted)}"
        )
    if not found:
        raise UnreadableData(
            f"{path} has columns {', '.join(there) or '(none)'}; expected {', '.join(wanted)}.{nearest(wanted[0], there)}"
        )
    return found


def _read_text(path: Path, wanted: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableData(f"{path} is no table in UTF-8: {error}") from error
    rows = [(number, row) for number, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise UnreadableData(
            f"{path} has {len(rows)} lines; expected names of columns, and below them numbers"
        )
    names = [name.strip() for name in rows[0][1]]
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise UnreadableData(f"{path} has the column {twice[0]} {names.count(twice[0])} times")
    found = {}
    for name in wanted:
        if name in names:
            place = names.index(name)
            found[name] = _numbers(
                [(number, row[place] if place < len(row) else "") for number, row in rows[1:]], name, path
            )
    return found, names


def _numbers(cells: Sequence[tuple[int, str]], name: str, path: Path) -> np.ndarray:
    values: list[complex] = []
    for number, cell in cells:
        try:
            value = complex(cell.strip().replace(" ", ""))
        except ValueError:
            value = complex(math.nan)
        if not (math.isfinite(value.real) and math.isfinite(value.imag)):
            raise UnreadableData(
                f"{path}, line {number}: {name} is {cell.strip()!r}; expected a finite number"
            )
        values.append(value)
    if any(value.imag for value in values):
        return np.array(values)
    return np.array([value.real for value in values])
