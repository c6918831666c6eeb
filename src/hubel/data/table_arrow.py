"""Large CSV files by Arrow's reader: the columns of text that Python's `csv` module gives, an order of magnitude sooner.

Whatever Arrow refuses (rows of another length, a quote that is not closed, text that is not UTF-8) is left to the reader in
`table_pieces`, which says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

LARGE = 20_000_000  # bytes, from which on Arrow's reader is worth its import
BLOCK = 4_000_000  # bytes of a piece


class Texts(Sequence[str]):
    """A column of text as Arrow holds it: a sequence of words, of which `numbers` and `encoded` are had without making each a Python object.

    >>> import pyarrow
    >>> column = Texts(pyarrow.array(["1.5", "", "2"]))
    >>> list(column), column.numbers()
    (['1.5', '', '2'], array([1.5, nan, 2. ]))
    """

    def __init__(self, entries: Any):
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Texts: ...
    def __getitem__(self, place: int | slice) -> str | Texts:
        return Texts(self._entries[place]) if isinstance(place, slice) else self._entries[place].as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries.to_numpy(zero_copy_only=False).tolist())

    def numbers(self) -> np.ndarray | None:
        """Float64 [N], NaN where the text is empty; None where a text is no plain number."""
        import pyarrow
        import pyarrow.compute

        call = pyarrow.compute.call_function
        empty = call("equal", [self._entries, ""])
        try:
            values = call("if_else", [empty, None, self._entries]).cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            return None
        found = values.to_numpy(zero_copy_only=False)
        plain = (
            int(np.isnan(found).sum()) == call("sum", [empty]).as_py()
        )  # Arrow knows more ways to write NaN
        return found.copy() if plain else None

    def encoded(self) -> tuple[list[str], np.ndarray]:
        """The different words, and for every entry the place of its own [N]."""
        found = self._entries.dictionary_encode()
        return found.dictionary.to_pylist(), found.indices.to_numpy()


def large_pieces(path: Path, delimiter: str, columns: int) -> Iterator[tuple[list[Texts], int]]:
    """Pieces of a CSV file in order, each with how many bytes of the file were read by then; the header is left out.

    Raises `pyarrow.ArrowInvalid` where Arrow can not read on as the `csv` module would, `ImportError` without pyarrow.
    """
    import pyarrow
    from pyarrow import csv

    with open(path, "rb") as file:
        reader = csv.open_csv(
            file,
            read_options=csv.ReadOptions(block_size=BLOCK, column_names=[str(k) for k in range(columns)]),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={str(k): pyarrow.string() for k in range(columns)}, strings_can_be_null=False
            ),
        )
        headed = True
        for batch in reader:
            rows = batch.slice(1) if headed else batch
            headed = False
            if rows.num_rows:
                yield [Texts(column) for column in rows.columns], file.tell()


def release() -> None:
    """Give back what Arrow would keep for the next file: up to some hundred megabytes."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()
