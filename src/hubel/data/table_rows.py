"""From pieces of a table to rows of numbers, by a reading: in the same way for the table that was learned and for new ones.

A row holds numbers as they are, NaN where one is missing; of a category the place of its level among the reading's, -1 for any
other level, NaN where nothing stands. What this becomes on the way into the network is decided by the training part
(`hubel.data.encoding`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, nearest
from hubel.data.table_columns import codes_of, numbers_of, text_of
from hubel.data.table_headings import Heading, find, headings
from hubel.data.table_pieces import Column, Pieces


class RowReader:
    """Reads pieces of `table` in order; `remarks` says in the end what was unlike the table that was learned.

    Raises `ValueError` where columns are not there or have other units.
    """

    def __init__(self, table: Pieces, reading: Mapping[str, Any]):
        self.name, self.columns = table.name, list(reading["columns"])
        self.dtype, self.missing = np.dtype(reading["dtype"]), tuple(reading.get("missing", ()))
        there = headings(table.header)
        self.places = _places(self.columns, there, table.name, reading)
        self.row, self.whole = 0, reading.get("nan") == "refuse"  # the rows are their own targets
        self._strange = _strange(there, self.places, reading)
        self._others: dict[str, dict[str, int]] = {}
        self._gaps: dict[str, int] = {}

    def __call__(self, piece: list[Column]) -> np.ndarray:
        """Rows [n, F] of the next piece."""
        num = len(piece[0]) if piece else 0
        out = np.empty((num, len(self.columns)), dtype=self.dtype)
        for k, (column, place) in enumerate(zip(self.columns, self.places, strict=True)):
            out[:, k] = self._values(column, piece[place])
        self.row += num
        return out

    def _values(self, column: Mapping[str, Any], entries: Column) -> np.ndarray:
        if column["kind"] == "number":
            values, words = numbers_of(entries, self.missing)
            wrong = words or np.flatnonzero(np.isinf(values)).tolist()
            if wrong:
                shown = ", ".join(f"{text_of(entries[k])!r} in row {self.row + k + 1}" for k in wrong[:5])
                raise UnreadableData(
                    f"{self.name}: the column {column['header']!r} has {len(wrong):,} entries that are no finite numbers ({shown}); correct them, "
                    "or leave the fields empty where nothing was measured"
                )
        else:
            values = codes_of(entries, column["levels"], self.missing)
            self._note_others(column["name"], entries, np.flatnonzero(values == -1))
            if column["kind"] == "yes/no":
                values[values == -1] = np.nan
        gaps = int(np.isnan(values).sum())
        if gaps and self.whole:
            first = self.row + int(np.flatnonzero(np.isnan(values))[0]) + 1
            raise UnreadableData(
                f"{self.name}: the column {column['header']!r} has nothing in {gaps:,} rows (first row {first}), but a row that is its own target needs "
                "all its numbers: fill them, or remove these rows"
            )
        if gaps and not column["missing"]:
            self._gaps[column["name"]] = self._gaps.get(column["name"], 0) + gaps
        return values

    def _note_others(self, name: str, entries: Column, rows: np.ndarray) -> None:
        if len(rows):
            seen = self._others.setdefault(name, {})
            for k in rows.tolist():
                word = text_of(entries[k])
                if word in seen or len(seen) < 100:
                    seen[word] = seen.get(word, 0) + 1

    @property
    def remarks(self) -> list[str]:
        """What was read, but is unlike the table that was learned, in full sentences."""
        said = []
        if self._strange:
            said.append(
                f"{self.name} has columns that the network does not know, which were not read: {', '.join(self._strange[:10])}."
            )
        for name, words in self._others.items():
            count, shown = sum(words.values()), ", ".join(map(repr, list(words)[:5]))
            said.append(
                f"{count:,} rows have a level of {name} that the network does not know ({shown}); they are read as “other”."
            )
        for name, count in self._gaps.items():
            said.append(
                f"{count:,} rows have no {name}, which was there in every row of the table that was learned; the mean stands for it."
            )
        return said


def _places(columns: list[Any], there: list[Heading], table: str, reading: Mapping[str, Any]) -> list[int]:
    found = [_place(column, there) for column in columns]
    lacking = [c["header"] for c, place in zip(columns, found, strict=True) if place is None]
    if lacking:
        strange = _strange(there, [place for place in found if place is not None], reading)
        hint = (
            nearest(lacking[0], strange)
            if strange
            else f" There are: {', '.join(one.header for one in there[:20])}."
        )
        more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
        raise ValueError(
            f"{table} lacks {len(lacking)} columns that the network was fitted to: {', '.join(map(repr, lacking[:10]))}{more}.{hint}"
        )
    for column, place in zip(columns, found, strict=True):
        assert place is not None
        unit = there[place].unit
        if unit and column["unit"] and unit != column["unit"]:
            raise ValueError(
                f"{table}: {column['name']} is in {unit}, but the network was fitted to {column['unit']}; convert it"
            )
    return [place for place in found if place is not None]


def _place(column: Mapping[str, Any], there: list[Heading]) -> int | None:
    place = find(column["header"], there)
    return find(column["name"], there) if place is None else place


def _strange(there: list[Heading], places: list[int], reading: Mapping[str, Any]) -> list[str]:
    """Columns that the table that was learned did not have."""
    known = set(reading.get("others", ()))
    return [
        one.header
        for k, one in enumerate(there)
        if k not in places and one.header not in known and one.name not in known
    ]
