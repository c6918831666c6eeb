"""Names of columns: with their units, found again regardless of case, and misspelt ones suggested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hubel.core.errors import nearest

_UNIT = re.compile(r"(.*\S)(?:\s*\[([^\[\]]+)\]|\s+\(([^()]+)\))")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A column's `header` as it stands in the table, and the `name` and `unit` that it says."""

    header: str
    name: str
    unit: str | None = None


def heading(header: str) -> Heading:
    """The name and the unit in a header.

    >>> heading("mass [Msun]").unit, heading("age (Gyr)").name, heading("log(L)")
    ('Msun', 'age', Heading(header='log(L)', name='log(L)', unit=None))
    """
    match = _UNIT.fullmatch(header)
    if match is None:
        return Heading(header=header, name=header)
    return Heading(header=header, name=match[1], unit=(match[2] or match[3]).strip())


def headings(header: Sequence[str]) -> list[Heading]:
    """All headings of a table; where a name without its unit would stand twice, the header is the name."""
    found = [heading(text) for text in header]
    count = Counter(one.name for one in found)
    return [
        one if count[one.name] == 1 else Heading(header=one.header, name=one.header, unit=one.unit)
        for one in found
    ]


def find(wanted: str, columns: Sequence[Heading]) -> int | None:
    """The place of the column that is called `wanted`, by header or by name, then regardless of case."""
    for same in (
        lambda one: one.header == wanted,
        lambda one: one.name == wanted,
        lambda one: one.header.casefold() == wanted.casefold(),
        lambda one: one.name.casefold() == wanted.casefold(),
    ):
        places = [k for k, one in enumerate(columns) if same(one)]
        if len(places) == 1:
            return places[0]
    return None


def found(wanted: str, columns: Sequence[Heading], table: str) -> int:
    """The place of the column `wanted`; raises `ValueError` with the nearest name."""
    place = find(wanted, columns)
    if place is None:
        raise ValueError(f"{table} has no column {wanted!r}.{nearest(wanted, [c.name for c in columns])}")
    return place


def all_found(wanted: str | Sequence[str], columns: Sequence[Heading], table: str) -> list[int]:
    """The places of several columns; a word with commas that is no column stands for several."""
    places: list[int] = []
    for word in [wanted] if isinstance(wanted, str) else wanted:
        parts = [word] if find(word, columns) is not None or "," not in word else word.split(",")
        places += [found(part.strip(), columns, table) for part in parts]
    return list(dict.fromkeys(places))
