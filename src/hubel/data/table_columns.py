"""What a column of a table holds, found in one pass over its pieces: numbers, yes/no, categories, text, dates, or a mixture.

Text is read as Python reads numbers, except that 1_000 is a word. What says that nothing was measured is missing: an empty
field, nan, NA, n/a, null, and what the user calls missing.
"""

from __future__ import annotations

import math
import numbers
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np

from hubel.data.table_arrow import Texts
from hubel.data.table_pieces import Column

MISSING = frozenset({"", "nan", "na", "n/a", "null", "<na>"})  # not "none", which is a class in many tables
YES_NO = (("no", "yes"), ("false", "true"), ("f", "t"), ("n", "y"))
MOST_COUNTED = 100_000  # different words of a column that are told apart
MIXED = 0.1  # share of numbers among words from which on a column is neither
NAMED = 5  # rows that a message names
FEW = 0.1  # share of different words, up to which they are looked at instead of the rows

Kind = Literal[
    "nothing", "constant", "number", "yes/no", "category", "text", "dates", "decimal commas", "mixed"
]
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([T ]\d{1,2}:\d{2}(:\d{2})?)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
    r"|\d{1,2}[- ][A-Za-z]{3,9}\.?[- ]\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2}, \d{4}"
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


class Survey:
    """What was found in a column so far. `take` its pieces in order, then ask for its `kind`.

    >>> survey = Survey("colour")
    >>> survey.take(["red", "", "green", "red"])
    >>> survey.kind, survey.missing, survey.levels
    ('category', 1, Counter({'red': 2, 'green': 1}))
    """

    def __init__(self, name: str, *, words: bool = False, missing: Collection[str] = ()):
        self.name = name
        self.rows = self.missing = self.numbers = self.words = self.infinite = self.dates = self.commas = 0
        self.low, self.high = math.inf, -math.inf
        self.counts_rows = True  # each number is the one before and 1
        self.levels: Counter[str] = Counter()
        self.too_many_levels = self.began_with_numbers = False
        self.missing_rows: list[int] = []
        self.word_rows: list[tuple[int, str]] = []
        self.infinite_rows: list[int] = []
        self._as_words, self._missing = words, frozenset(missing)
        self._last: float | None = None
        self._shift = self._sum = self._squares = 0.0

    def take(self, entries: Column) -> None:
        """The next piece."""
        start = self.rows
        self.rows += len(entries)
        if self._as_words:
            words, places = encoded(entries)
            absent = np.array([is_missing(word, self._missing) for word in words], dtype=bool)
            self._note_missing(np.flatnonzero(absent[places]).tolist(), start)
            kept = _counted(words, places, absent)
            self.words += sum(kept.values())
            self._count_levels(kept)
            return
        values, words = numbers_of(entries, self._missing)
        gone = np.isnan(values)
        gone[words] = False
        self._note_missing(np.flatnonzero(gone).tolist(), start)
        self._take_numbers(values[~np.isnan(values)], start, values)
        if words or self.words:
            self._take_words(entries, words, start)
        else:
            self.began_with_numbers |= self.numbers > 0

    def _note_missing(self, gone: Sequence[int], start: int) -> None:
        self.missing += len(gone)
        self.missing_rows += [start + k + 1 for k in gone[: NAMED - len(self.missing_rows)]]

    def _take_numbers(self, found: np.ndarray, start: int, values: np.ndarray) -> None:
        infinite = np.isinf(values)
        if infinite.any():
            rows = np.flatnonzero(infinite)
            self.infinite += len(rows)
            self.infinite_rows += [start + int(k) + 1 for k in rows[: NAMED - len(self.infinite_rows)]]
            found = found[np.isfinite(found)]
        if not len(found):
            return
        first = self._last is None
        if self.counts_rows:
            before = found[:1] - 1 if self._last is None else np.array([self._last])
            self.counts_rows = bool((np.diff(found, prepend=before) == 1).all())
        if first:
            self._shift = float(found[0])
        self._last = float(found[-1])
        self.numbers += len(found)
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum += float((found - self._shift).sum())
            self._squares += float(np.square(found - self._shift).sum())

    def _take_words(self, entries: Column, rows: list[int], start: int) -> None:
        self.words += len(rows)
        for k in rows[: NAMED - len(self.word_rows)]:
            self.word_rows.append((start + k + 1, text_of(entries[k])))
        words, places = encoded(entries)
        counts = _counted(
            words, places, np.array([is_missing(word, self._missing) for word in words], dtype=bool)
        )
        self.dates += sum(n for word, n in counts.items() if _DATE.fullmatch(word))
        self.commas += sum(n for word, n in counts.items() if _DECIMAL_COMMA.fullmatch(word))
        self._count_levels(counts)

    def _count_levels(self, counts: Counter[str]) -> None:
        if not self.too_many_levels:
            self.levels.update(counts)
            self.too_many_levels = len(self.levels) > MOST_COUNTED

    @property
    def kind(self) -> Kind:
        """What the column is."""
        if not self.words:
            if not self.numbers:
                return "nothing"
            return "constant" if self.low == self.high and not self.missing else "number"
        if not self._as_words:
            if self.dates == self.words and not self.numbers:
                return "dates"
            if self.commas == self.words:
                return "decimal commas"
            if self.began_with_numbers or self.numbers >= MIXED * (self.numbers + self.words):
                return "mixed"
        if self.too_many_levels or len(self.levels) > max(20, self.words / 2):
            return "text"
        if len(self.levels) == 1 and not self.missing:
            return "constant"
        return "yes/no" if yes_no(self.levels) is not None else "category"

    @property
    def needs_double(self) -> bool:
        """Whether float32 would round the numbers by more than a ten-thousandth of their spread."""
        if not self.numbers:
            return False
        largest = max(abs(self.low), abs(self.high))
        variance = self._squares / self.numbers - (self._sum / self.numbers) ** 2
        spread = math.sqrt(variance) if variance > 0 else math.nan
        return not largest < 1e38 or (self.low < self.high and not largest * 2**-24 <= 1e-4 * spread)


def numbers_of(entries: Column, missing: Collection[str] = ()) -> tuple[np.ndarray, list[int]]:
    """Numbers [N] as float64, NaN where one is missing or is none; and the places of those that are words.

    >>> numbers_of(["12", "n/a", "abc"])
    (array([12., nan, nan]), [2])
    """
    gone = _as_numbers(missing)
    if isinstance(entries, np.ndarray) and entries.dtype.kind in "iuf":
        values = entries.astype(np.float64)
        return _without(values, gone), []
    if isinstance(entries, Texts) and (values := entries.numbers()) is not None:
        return _without(values, gone), []
    if isinstance(entries, Texts):
        different, places = entries.encoded()
        if len(different) <= FEW * len(entries):  # each word is looked at once
            values, words = numbers_of(different, missing)
            is_word = np.zeros(len(different), bool)
            is_word[words] = True
            return values[places], np.flatnonzero(is_word[places]).tolist()
    entries = _plain(entries)
    try:
        if "_" in "".join(entries):  # Python reads 1_1 as 11
            raise ValueError
        return _without(np.array(list(map(float, entries)), dtype=np.float64), gone), []
    except (ValueError, TypeError):
        pass
    values, words = np.full(len(entries), np.nan), []
    for k, entry in enumerate(entries):
        if is_missing(entry, missing):
            continue
        try:
            if isinstance(entry, (bool, np.bool_)) or (isinstance(entry, str) and "_" in entry):
                raise ValueError
            if not isinstance(entry, (str, numbers.Number)):
                raise ValueError
            values[k] = float(entry)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            words.append(k)
    return _without(values, gone), words


def encoded(entries: Column) -> tuple[list[str], np.ndarray]:
    """The different words of a column, in the order in which they come, and for every entry the place of its own [N].

    >>> encoded(["b", " a", "b ", 2.0])
    (['b', 'a', '2'], array([0, 1, 0, 2]))
    """
    place: dict[str, int] = {}
    if isinstance(entries, Texts):
        found, places = entries.encoded()
        same = np.array([place.setdefault(text_of(word), len(place)) for word in found], dtype=np.int64)
        return list(place), same[places]
    places = [place.setdefault(text_of(entry), len(place)) for entry in _plain(entries)]
    return list(place), np.array(places, dtype=np.int64)


def _counted(words: Sequence[str], places: np.ndarray, absent: np.ndarray) -> Counter[str]:
    counts = np.bincount(places, minlength=len(words)).tolist()
    return Counter({word: n for word, n, gone in zip(words, counts, absent, strict=True) if not gone})


def codes_of(entries: Column, levels: Sequence[str], missing: Collection[str] = ()) -> np.ndarray:
    """Numbers [N] of levels: their place in `levels`, -1 for any other word, NaN where nothing stands.

    >>> codes_of(["b", "", "c"], ["a", "b"])
    array([ 1., nan, -1.])
    """
    place = {level: float(k) for k, level in enumerate(levels)}
    words, places = encoded(entries)
    known = [math.nan if is_missing(word, missing) else place.get(word, -1.0) for word in words]
    return np.array(known, dtype=np.float64)[places]


def yes_no(levels: Collection[str]) -> tuple[str, str] | None:
    """The words for no and yes, where the two levels are such.

    >>> yes_no(["TRUE", "FALSE"])
    ('FALSE', 'TRUE')
    """
    folded = {level.casefold(): level for level in levels}
    for no, yes in YES_NO:
        if len(levels) == 2 and set(folded) == {no, yes}:
            return folded[no], folded[yes]
    return None


def text_of(entry: Any) -> str:
    """An entry as a word: without spaces around, whole numbers without a point."""
    if isinstance(entry, str):
        return entry.strip()
    if entry is None:
        return ""
    if isinstance(entry, bytes):
        return entry.decode("utf-8", "replace").strip()
    if isinstance(entry, (float, np.floating)) and float(entry).is_integer():
        return str(int(entry))
    return str(entry)


def is_missing(entry: Any, missing: Collection[str] = ()) -> bool:
    """Whether an entry says that nothing was measured."""
    if entry is None:
        return True
    if isinstance(entry, str):
        text = entry.strip()
        return text.casefold() in MISSING or text in missing
    return isinstance(entry, (float, np.floating)) and math.isnan(entry)


def _plain(entries: Column) -> Sequence[Any]:
    if isinstance(entries, Texts):
        return list(entries)
    return entries.tolist() if isinstance(entries, np.ndarray) else entries


def _as_numbers(missing: Collection[str]) -> list[float]:
    """The numbers among what the user calls missing."""
    found = []
    for word in missing:
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found


def _without(values: np.ndarray, gone: Sequence[float]) -> np.ndarray:
    if gone:
        values[np.isin(values, gone)] = np.nan
    return values
