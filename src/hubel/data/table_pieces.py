"""Tables as columns in pieces: CSV, TSV, Parquet and Excel files, data frames and mappings of columns, by one interface.

A piece is some rows, a column a list (or an array) of what stood there: a CSV file gives text, the others what they hold. No more
than one piece is in memory at a time, so a file may be larger than the memory; it is read as often as somebody asks.
"""

from __future__ import annotations

import csv
import io
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from hubel.core.errors import UnreadableData, missing_extra
from hubel.data import table_arrow

TABLES = (".csv", ".tsv", ".parquet", ".pq", ".xlsx")
CELLS = 200_000  # of a piece: about 15 MB as Python's text
Column = Sequence[Any] | np.ndarray


def is_table(path: Path) -> bool:
    """Whether the name is that of a table that hubel reads."""
    return path.suffix.lower() in TABLES


class Pieces(ABC):
    """A table: `name` for messages, the `header`, `pieces()` as often as they are wanted, `notes` on what was not read.

    `position` is how far the reading of the last `pieces()` is, of `length`, in a unit of its own.
    """

    name: str
    header: list[str]
    notes: tuple[str, ...] = ()
    position: int = 0
    length: int = 1

    @abstractmethod
    def pieces(self) -> Iterator[list[Column]]:
        """Some rows after the other, each as the list of its columns, in the order of the header."""

    @property
    def rows(self) -> int:
        """How many rows a piece may have."""
        return max(1, CELLS // max(1, len(self.header)))


def table_of(source: Any) -> Pieces:
    """The table behind a path, a pandas DataFrame, or a mapping of column names to columns.

    Raises `UnreadableData` for a file that can not be read, `ValueError` for repeated names, `MissingExtra` where a package is missing.

    >>> next(table_of({"a": [1, 2], "b": ["x", "y"]}).pieces())
    [array([1, 2]), ['x', 'y']]
    """
    if isinstance(source, Pieces):
        return source
    if isinstance(source, Mapping):
        return _Columns({str(name): _column(values) for name, values in source.items()}, "the table")
    if is_frame(source):
        names = [str(name) for name in source.columns]
        _refuse_repeated(names, "the data frame")
        return _Columns(
            {name: _of_series(source.iloc[:, k]) for k, name in enumerate(names)}, "the data frame"
        )
    path = Path(source)
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        return _Parquet(path)
    return _Excel(path) if kind == ".xlsx" else _Csv(path)


def is_frame(source: Any) -> bool:
    """Whether `source` is a pandas DataFrame (without importing pandas)."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


class _Csv(Pieces):
    def __init__(self, path: Path):
        self.path, self.name, self.length = path, str(path), max(1, path.stat().st_size)
        self.delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(path)
        self.header = []
        first = next(self._rows(), None)
        if first is not None:
            self.header = _named(first[0], self.name)
            _refuse_repeated(self.header, self.name)

    def pieces(self) -> Iterator[list[Column]]:
        read = 0
        if self.length > table_arrow.LARGE:
            try:
                for columns, position in table_arrow.large_pieces(
                    self.path, self.delimiter, len(self.header)
                ):
                    self.position = position
                    read += len(columns[0])
                    yield cast("list[Column]", columns)
                table_arrow.release()
                return
            except (ImportError, ValueError):  # without Arrow, or from where it can not read on
                pass
        yield from self._checked(read)

    def _checked(self, read: int) -> Iterator[list[Column]]:
        """Pieces of the body from row `read` on, by the `csv` module, each row looked at."""
        line, headed = read + 1, True
        for rows in self._rows(read):
            body = rows[1:] if headed else rows
            headed = False
            wrong = [line + k for k, row in enumerate(body, start=1) if len(row) != len(self.header)]
            if wrong:
                raise UnreadableData(
                    f"{self.path}: {len(wrong):,} rows do not have {len(self.header)} columns as the header does, first line {wrong[0]}"
                )
            line += len(body)
            if body:
                yield cast("list[Column]", list(zip(*body, strict=True)))

    def _rows(self, read: int = 0) -> Iterator[list[list[str]]]:
        """Rows in pieces, the header among the first, and after it the rows from `read` on."""
        try:
            with (
                open(self.path, "rb") as raw,
                io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
            ):
                reader = (row for row in csv.reader(file, delimiter=self.delimiter) if row)
                rows = list(islice(reader, 1))
                next(islice(reader, read, read), None)
                while rows:
                    size = max(1, CELLS // len(self.header or rows[0]))
                    rows += islice(reader, max(0, size - len(rows)))
                    self.position = raw.tell()
                    yield rows
                    rows = list(islice(reader, 1))
        except UnicodeDecodeError as error:
            raise UnreadableData(
                f"{self.path} can not be read as a table in UTF-8: {error}. Save it as UTF-8 (iconv -f latin1 -t utf-8)"
            ) from error
        except csv.Error as error:
            raise UnreadableData(f"{self.path} can not be read as a table in UTF-8: {error}") from error


class _Parquet(Pieces):
    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        with self._file() as file:
            self.header = [str(name) for name in file.schema_arrow.names]
            self.length = max(1, file.metadata.num_rows)
        _refuse_repeated(self.header, self.name)

    def _file(self) -> Any:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise missing_extra("pyarrow", "science", "reading Parquet tables") from error
        try:
            return parquet.ParquetFile(self.path)  # the file alone: no folder names become columns
        except (pyarrow.ArrowException, OSError) as error:
            raise UnreadableData(f"{self.path} can not be read as Parquet: {error}") from error

    def pieces(self) -> Iterator[list[Column]]:
        import pyarrow

        self.position = 0
        with self._file() as file:
            try:
                for batch in file.iter_batches(batch_size=self.rows):
                    self.position += batch.num_rows
                    if batch.num_rows:
                        yield [_of_arrow(column) for column in batch.columns]
                table_arrow.release()
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                raise UnreadableData(f"{self.path} can not be read as Parquet: {error}") from error


class _Excel(Pieces):
    """The first sheet of a workbook; what a formula gave when it was saved."""

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        first = next(self._rows(), None)
        self.header = [] if first is None else _named(["" if v is None else str(v) for v in first], self.name)
        _refuse_repeated(self.header, self.name)

    def pieces(self) -> Iterator[list[Column]]:
        self.position = 0
        rows = self._rows()
        next(rows, None)
        while piece := [row for row in islice(rows, self.rows) if any(v is not None for v in row)]:
            self.position += len(piece)
            yield cast("list[Column]", list(zip(*piece, strict=True)))

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        import zipfile

        try:
            import openpyxl
        except ImportError as error:
            raise missing_extra("openpyxl", "science", "reading Excel tables") from error
        try:
            book = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UnreadableData(f"{self.path} can not be read as Excel (.xlsx): {error}") from error
        try:
            sheets = book.worksheets
            if len(sheets) > 1:
                self.notes = (f"Of the {len(sheets)} sheets the first, {sheets[0].title!r}, was read.",)
            sheets[0].reset_dimensions()  # some programs write wrong ones
            width = 0
            for number, row in enumerate(sheets[0].iter_rows(values_only=True), start=1):
                width = width or len(row)
                if any(value is not None for value in row[width:]):
                    raise UnreadableData(
                        f"{self.path}: row {number} has more cells than the header has names ({width})"
                    )
                yield (*row, *[None] * (width - len(row)))[:width]
            self.length = max(1, self.position)
        finally:
            book.close()


class _Columns(Pieces):
    """Columns that are in memory."""

    def __init__(self, columns: Mapping[str, Column], name: str):
        self.columns, self.name, self.header = columns, name, list(columns)
        lengths = {column: len(values) for column, values in columns.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{column!r} {count:,}" for column, count in list(lengths.items())[:10])
            raise ValueError(f"the columns of {name} have different lengths: {told}")
        self.length = max([1, *lengths.values()])

    def pieces(self) -> Iterator[list[Column]]:
        count = max([0, *map(len, self.columns.values())])
        for start in range(0, count, self.rows):
            self.position = min(start + self.rows, count)
            yield [values[start : start + self.rows] for values in self.columns.values()]


def _named(header: Sequence[str], table: str) -> list[str]:
    """A header without spaces around, and with a name for every column; one of numbers only is none."""
    header = [name.strip() for name in header]
    if header and all(_is_number(name) for name in header):
        raise UnreadableData(
            f"{table}: the first line holds the numbers {', '.join(header[:5])}; expected the names of the columns: write a header above"
        )
    return [name or f"column {place}" for place, name in enumerate(header, start=1)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _delimiter(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(1_000_000)
    return max((",", ";", "\t"), key=header.count)


def _refuse_repeated(header: Sequence[str], name: str) -> None:
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has the column {twice[0]!r} twice")


def _column(values: Any) -> Column:
    """An array where all are numbers of one kind, else a list."""
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind in "iufb" else values.tolist()
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    kinds = {type(value) for value in values}
    return np.array(values) if kinds and (kinds <= {int} or kinds <= {int, float}) else values


def _of_series(series: Any) -> Column:
    import pandas
    from pandas.api import types

    if types.is_bool_dtype(series.dtype) or not types.is_numeric_dtype(series.dtype):
        plain = series.astype(object)
        return plain.where(pandas.notna(series), None).tolist()
    if types.is_complex_dtype(series.dtype):
        return series.tolist()
    if series.isna().any():
        return series.to_numpy(dtype="float64", na_value=np.nan)
    values = series.to_numpy()
    if values.dtype.kind not in "iuf":
        values = series.to_numpy(dtype="int64" if types.is_integer_dtype(series.dtype) else "float64")
    return values


def _of_arrow(column: Any) -> Column:
    from pyarrow import types

    if types.is_integer(column.type) or types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()
