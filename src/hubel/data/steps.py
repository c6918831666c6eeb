"""A file of steps: one row a step, one column a feature. Text (`.csv`, `.tsv`, `.txt`), Parquet, or `.npy` [L, F].

Text has a header of names or none; lines that begin with # are comments, of which the last may be the header. Columns are separated by
commas, semicolons, tabs or blanks, whichever the first row has. A column whose name is that of a time (time, t, date, datetime,
timestamp, jd, mjd, bjd, hjd, in any case but t, since T is a temperature; also with a unit: "mjd (d)") holds the time of each step, in
numbers or as ISO 8601 dates or months, and is no feature. It must grow from step to step.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData, missing_extra, nearest
from hubel.data.archives import mapped_npy
from hubel.data.table_columns import MISSING
from hubel.data.text import read_text

TEXT = (".csv", ".tsv", ".txt", ".dat")
PARQUET = (".parquet", ".pq")
TIMES = ("time", "date", "datetime", "timestamp", "jd", "mjd", "bjd", "hjd")
BLANKS = re.compile(r"\s+(?![\[(])")  # "time (s) flux (mJy)" are two names
MONTH = re.compile(r"\d{4}-\d{2}")
UNIT = re.compile(r"^(.*\S)\s*[\[(]([^\])]*)[\])]$")


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Columns of one length L, in the order of the file: numbers (float64, or as stored in `.npy`) or words; `names` where it has some."""

    values: list[np.ndarray]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """`values` [L, F] of the features, their `names`, and the `time` [L] of each step (float64; dates in seconds), where the file says them.

    `place` is that of the time among all columns, `time_name` and `time_unit` are what its header says (None for a file without).
    """

    values: np.ndarray
    names: tuple[str, ...] | None = None
    time: np.ndarray | None = None
    time_name: str | None = None
    time_unit: str | None = None
    place: int | None = None


def name_and_unit(header: str) -> tuple[str, str | None]:
    """A column's name and the unit that follows it in brackets.

    >>> name_and_unit("flux (mJy)"), name_and_unit("mjd")
    (('flux', 'mJy'), ('mjd', None))
    """
    found = UNIT.match(header.strip())
    return (found[1], found[2]) if found else (header.strip(), None)


def is_steps(path: Path) -> bool:
    """Whether the name is that of a text file of steps."""
    return path.suffix.lower() in TEXT


def holds_numbers(path: Path) -> bool:
    """Whether a text file begins as steps do: in one of its first rows all cells but one at most are numbers."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            rows = [
                row
                for row in (file.readline(10_000) for _ in range(20))
                if row.strip() and not row.startswith("#")
            ]
    except (OSError, UnicodeDecodeError):
        return False
    cells = [_cells(row.strip(), _separator(path, row)) for row in rows[:3]]
    return any(sum(not _is_number(cell) for cell in row) <= (len(row) > 1) for row in cells)


def are_numbers(path: Path) -> bool:
    """Whether the first rows of a text file, at least five behind a header, are numbers and, beside them, one word or date each at most."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            rows = [file.readline(10_000).strip() for _ in range(40)]
    except (OSError, UnicodeDecodeError):
        return False
    rows = [row for row in rows if row and not row.startswith("#")][1:]
    cells = [_cells(row, _separator(path, row)) for row in rows]
    return len(rows) >= 5 and all(
        sum(not _is_number(cell) for cell in row) <= (len(row) > 1) for row in cells
    )


def read_steps(path: Path, *, time: str | None = None, place: int | None = None) -> Steps:
    """The steps of a file. `time` names the column of times where its name is another; `place` is its place in a file without a header.

    Raises `UnreadableData` with file and line for what is no number, lines of different lengths, times that do not grow or can not be
    read; `ValueError` where there is no column `time`.
    """
    if path.suffix.lower() == ".npy":
        return Steps(values=_matrix(mapped_npy(path), path))
    columns = read_columns(path)
    where = _time_column(columns, path, time) if columns.names is not None else place
    if where is None and columns.names is None and columns.values[0].dtype.kind == "U":
        where = 0  # a first column of words without a header: dates
    features = [k for k in range(len(columns.values)) if k != where]
    named = columns.names or tuple(f"column {k + 1}" for k in range(len(columns.values)))
    for k in features:
        if columns.values[k].dtype.kind == "U":
            raise UnreadableData(_no_number(columns.values[k], named[k], path))
    if not features:
        raise UnreadableData(
            f"{path} has no column but that of the time, {named[0]!r}; expected at least one feature"
        )
    values = np.stack([columns.values[k] for k in features], axis=1)
    names = None if columns.names is None else tuple(columns.names[k] for k in features)
    if where is None:
        return Steps(values=values, names=names)
    name, unit = name_and_unit(named[where])
    times, dated = _times(columns.values[where], named[where], path)
    return Steps(
        values=values,
        names=names,
        time=times,
        time_name=name if columns.names is not None else "time",
        time_unit="s" if dated else unit,
        place=where,
    )


def read_columns(path: Path) -> Columns:
    """All columns of a text or Parquet file; empty cells are NaN, columns that hold anything but numbers are words."""
    if path.suffix.lower() in PARQUET:
        return _read_parquet(path)
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    rows = [line for line in lines if not line.lstrip().startswith("#")]
    if not rows:
        raise UnreadableData(f"{path} has no rows; expected one row a step")
    separator = _separator(path, rows[0])
    first = _cells(rows[0], separator)
    if separator is None and len(rows) > 1 and len(_cells(rows[1], None)) == 1:
        first = [rows[0].strip()]  # the words of one name
    names = None
    if not any(_is_number(cell) for cell in first):
        names, rows = tuple(first), rows[1:]
    else:
        said = [_cells(line.lstrip(" #"), separator) for line in lines if line.lstrip().startswith("#")]
        if said and len(said[-1]) == len(first) and not any(_is_number(cell) for cell in said[-1]):
            names = tuple(said[-1])
    if not rows:
        raise UnreadableData(f"{path} has a header, but no rows; expected one row a step")
    _refuse_repeated(names, path)
    values = _numbers(rows, separator) or _parsed(rows, separator, names, path)
    if names is not None and len(names) != len(values):
        shown = ", ".join(names[:10])
        raise UnreadableData(
            f"{path} has {len(names)} names in its header ({shown}), but {len(values)} columns: name every column, and no other"
        )
    return Columns(values=values, names=names)


def _numbers(rows: Sequence[str], separator: str | None) -> list[np.ndarray] | None:
    """The columns of rows of nothing but numbers, by the fast road; None where they are anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return list(np.loadtxt(rows, delimiter=separator, comments=None, ndmin=2, dtype=np.float64).T)
    except (ValueError, Warning):
        return None


def _parsed(
    rows: Sequence[str], separator: str | None, names: Sequence[str] | None, path: Path
) -> list[np.ndarray]:
    cells = [_cells(row, separator) for row in rows]
    width = len(names) if names is not None else len(cells[0])
    wrong = [k for k, row in enumerate(cells) if len(row) != width]
    if wrong:
        raise UnreadableData(
            f"{path}: {len(wrong):,} rows do not have {width} columns as the first does, first row {wrong[0] + 1}: {rows[wrong[0]][:60]!r}"
        )
    return [_column([row[k] for row in cells]) for k in range(width)]


def _column(cells: list[str]) -> np.ndarray:
    try:
        return np.array([np.nan if cell.casefold() in MISSING else float(cell) for cell in cells], np.float64)
    except ValueError:
        return np.array(cells, dtype=np.str_)


def _separator(path: Path, row: str) -> str | None:
    if path.suffix.lower() == ".tsv" or "\t" in row:
        return "\t"
    if ";" in row:
        return ";"
    return "," if "," in row else None


def _cells(row: str, separator: str | None) -> list[str]:
    if separator is None:
        return BLANKS.split(row.strip())
    return [cell.strip() for cell in next(csv.reader(io.StringIO(row), delimiter=separator), [])]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _refuse_repeated(names: Sequence[str] | None, path: Path) -> None:
    twice = [name for k, name in enumerate(names or ()) if name in (names or ())[:k]]
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice")


def _read_parquet(path: Path) -> Columns:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "science", "reading Parquet tables") from error
    try:
        table = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableData(f"{path} can not be read as Parquet: {error}") from error
    if table.num_rows == 0:
        raise UnreadableData(f"{path} has no rows; expected one row a step")
    columns = []
    for column in table.columns:
        values = column.to_numpy()
        if values.dtype.kind == "M":
            values = values.astype("datetime64[us]").astype(np.str_)
        columns.append(values.astype(np.float64) if values.dtype.kind in "biuf" else values.astype(np.str_))
    return Columns(values=columns, names=tuple(table.column_names))


def _matrix(array: np.ndarray, path: Path) -> np.ndarray:
    if array.ndim not in (1, 2) or array.size == 0:
        raise UnreadableData(
            f"{path} has shape {array.shape}; expected a series [L, F] or [L], with at least one step"
        )
    return np.array(array).reshape(len(array), -1)


def _time_column(columns: Columns, path: Path, time: str | None) -> int | None:
    assert columns.names is not None
    if time is not None:
        plain = [name_and_unit(name)[0] for name in columns.names]
        for known in (list(columns.names), plain):
            if time in known:
                return known.index(time)
        raise ValueError(f"{path} has no column {time!r} for the time.{nearest(time, columns.names)}")
    found = [k for k, name in enumerate(columns.names) if _says_time(name_and_unit(name)[0])]
    return found[0] if found else None


def _says_time(name: str) -> bool:
    return name == "t" or name.casefold() in TIMES


def _times(column: np.ndarray, name: str, path: Path) -> tuple[np.ndarray, bool]:
    """Times as float64, and whether they were dates."""
    dated = column.dtype.kind == "U"
    if dated:
        try:
            times = np.array([_seconds(cell) for cell in column.tolist()])
        except ValueError as error:
            raise UnreadableData(
                f"{path}: the column {name!r} has {str(error)!r}, which is neither a number nor a date; expected ISO 8601, such as "
                "2026-03-31, 2026-03-31T12:00:00 or 2026-03"
            ) from error
    else:
        times = column
    wrong = ~np.isfinite(times)
    wrong[1:] |= ~(np.diff(times) > 0)
    if wrong.any():
        row = int(wrong.argmax())
        before = f" after {column[row - 1]}" if row else ""
        raise UnreadableData(
            f"{path}: the column {name!r} has {column[row]}{before} in row {row + 1}; the time must grow from step to step: sort the rows and "
            "remove repeated ones"
        )
    return times, dated


def _seconds(cell: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(f"{cell}-01" if MONTH.fullmatch(cell) else cell)
    except ValueError as error:
        raise ValueError(cell) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def _no_number(column: np.ndarray, name: str, path: Path) -> str:
    row = next(
        k for k, cell in enumerate(column.tolist()) if not _is_number(cell) and cell.casefold() not in MISSING
    )
    cell = str(column[row])
    remedy = "remove the column, or the row"
    try:
        _seconds(cell)
        remedy = "name the column time, or say which it is with time= (--time)"
    except ValueError:
        if re.fullmatch(r"-?\d+,\d+", cell):
            remedy = "write decimal points, not commas"
    return f"{path}: row {row + 1} has {cell!r} in the column {name!r}, which is no number: {remedy}"
