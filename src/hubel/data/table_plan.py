"""Which columns of a table become features, and how: decided once, written down as plain values, said in sentences.

    number      the value; where one is missing, the mean of the training part, and a column beside it that says so
    yes/no      0 and 1, otherwise as a number
    category    one-hot, by the levels that the training part has; any other level is one of its own, "other"

Columns that say nothing (constant, empty), that name rows (text, different in most rows) or count them are left out, and it is
said. What can not be decided (numbers mixed with words, dates, decimal commas) is refused, all columns at once, with the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubel.core.errors import UnreadableData
from hubel.data.images import is_image
from hubel.data.table_columns import Survey, yes_no
from hubel.data.table_headings import Heading
from hubel.data.targets import class_order

MOST_LEVELS = 1000  # that a reading knows; the encoding gives columns to fewer
MOST_COLUMNS = 64  # of a category; rarer levels share "other"
FEW_ROWS = 10  # below which numbers that count the rows may do so by chance

REMEDIES = {
    "dates": "are dates or times. Write them as numbers, such as days since a first day "
    "((pandas.to_datetime(t[{name!r}]) - pandas.Timestamp('2000-01-01')).dt.total_seconds() / 86400)",
    "decimal commas": "have decimal commas. Write 3.14 (sed -E 's/([0-9]),([0-9])/\\1.\\2/g' where ; separates the columns)",
    "infinite": "are infinite. Leave the fields empty where nothing was measured",
    "mixed": "are words, the others numbers. Correct them, say which words mean that nothing was measured (missing=, --missing), or make "
    "the column categories (categories=, --category)",
}


def plan_columns(
    surveys: Mapping[Heading, Survey], asked_for: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """The features of these columns as plain values, and what is to be said; `asked_for`, where the user named the columns.

    Raises `UnreadableData` naming all columns that can not be features, with rows and remedies.
    """
    columns: list[dict[str, Any]] = []
    left_out: dict[str, list[str]] = {}
    refused: list[str] = []
    notes: list[str] = []
    for heading, survey in surveys.items():
        why = _refusal(survey, asked_for)
        reason = "" if why else _useless(survey, asked_for)
        if why:
            refused.append(f"{heading.header!r}: {why}")
        elif reason:
            left_out.setdefault(reason, []).append(heading.name)
        else:
            columns.append(_column(heading, survey, notes))
    if refused:
        more = f"; and {len(refused) - 10} columns more" if len(refused) > 10 else ""
        raise UnreadableData(
            f"{len(refused)} columns can not be read: {'; '.join(refused[:10])}{more}. Or leave them out with ignore= (--ignore)"
        )
    notes += [f"Left out: {_listed(names)} ({reason})." for reason, names in left_out.items()]
    gaps = {c["name"]: c["missing"] for c in columns if c["missing"]}
    if gaps:
        told = _listed([f"{name} {count:,}" for name, count in gaps.items()])
        notes.append(
            f"Missing values: {told}. Numbers are replaced by the mean of the training part, with a column beside them that says so; "
            "of a category, missing is a level of its own."
        )
    return columns, notes


def reading_of_itself(reading: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The `reading` of a table whose rows are to be their own targets: numbers, of which none is missing, here and in every table read by it.

    Raises `UnreadableData` naming the columns of other kinds and those with gaps, and what to do.
    """
    words = [
        f"{column['name']} ({column['kind']})" for column in reading["columns"] if column["kind"] != "number"
    ]
    gaps = [f"{column['name']} {column['missing']:,}" for column in reading["columns"] if column["missing"]]
    if words or gaps:
        told = [f"the columns {_listed(words)} hold no numbers"] if words else []
        told += [f"values are missing ({_listed(gaps)})"] if gaps else []
        raise UnreadableData(
            f"{table} can not be its own target: {' and '.join(told)}. A row is given back in numbers, so each must be there: leave such columns out "
            "with ignore= (--ignore), write words as numbers of your own, and fill gaps or remove their rows"
        )
    return {**reading, "nan": "refuse", "targets": [], "task": None}


def encoded_size(columns: Sequence[Mapping[str, Any]]) -> int:
    """How many numbers enter the network for these columns of a reading."""
    return sum(columns_of(column) for column in columns)


def columns_of(column: Mapping[str, Any]) -> int:
    """How many numbers enter the network for a column of a reading."""
    if column["kind"] == "category":
        return min(len(column["levels"]), MOST_COLUMNS) + 2
    return 2 if column["missing"] else 1


def _refusal(survey: Survey, asked_for: bool) -> str:
    kind = survey.kind
    if survey.infinite:
        rows = ", ".join(map(str, survey.infinite_rows))
        return f"{survey.infinite:,} of {survey.rows:,} entries (rows {rows}) {REMEDIES['infinite']}"
    if kind in ("dates", "decimal commas", "mixed"):
        shown = ", ".join(f"{word!r} in row {row}" for row, word in survey.word_rows)
        return (
            f"{survey.words:,} of {survey.rows:,} entries ({shown}) {REMEDIES[kind].format(name=survey.name)}"
        )
    if (
        survey.word_rows
        and kind in ("text", "category")
        and all(is_image(Path(word)) for _, word in survey.word_rows)
    ):
        return (
            f"names of picture files ({survey.word_rows[0][1]}). To read the pictures, call the column path"
        )
    if kind == "text" and asked_for:
        shown = ", ".join(repr(word) for word in list(survey.levels)[:3])
        return (
            f"text that differs in most rows ({shown}, …), from which nothing can be learned about other rows"
        )
    return ""


def _useless(survey: Survey, asked_for: bool) -> str:
    """Why a column is left out; nothing where it is not."""
    if survey.kind == "nothing":
        return "no entry"
    if survey.kind == "constant":
        return "the same in every row"
    if survey.kind == "text":
        return "text that differs in most rows, as names do"
    counting = (
        survey.counts_rows and not survey.missing and survey.rows >= FEW_ROWS and survey.kind == "number"
    )
    return (
        "it counts the rows; name it in columns= (--columns) to keep it" if counting and not asked_for else ""
    )


def _column(heading: Heading, survey: Survey, notes: list[str]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "name": heading.name,
        "header": heading.header,
        "unit": heading.unit,
        "kind": survey.kind,
        "missing": survey.missing,
    }
    if survey.kind == "yes/no":
        column["levels"] = list(yes_no(survey.levels) or ())
    if survey.kind == "category":
        common = [level for level, _ in sorted(survey.levels.items(), key=lambda item: (-item[1], item[0]))]
        if len(common) > MOST_LEVELS:
            notes.append(
                f"{heading.name} has {len(common):,} levels; the {MOST_LEVELS:,} most frequent are known, the rest are “other”."
            )
        column["levels"] = list(class_order(common[:MOST_LEVELS]))
    return column


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
