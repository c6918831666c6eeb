"""Tables as CSV, addressed inside the page: no file beside it, no network."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hubel.show.evidence import Evidence


def data_address(content: str) -> str:
    """CSV as an address that a link can download."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(content.encode("utf-8")).decode("ascii")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV. Text that a spreadsheet would run as a formula is quoted with an apostrophe.

    >>> print(csv_text(["class", "count"], [["=1+1", 3]]))
    class,count
    '=1+1,3
    <BLANKLINE>
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_harmless(cell) for cell in header])
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return file.getvalue()


def curves_csv(evidence: Evidence, most: int = 2000) -> str:
    """One row an epoch (every n-th, where there are more than `most`)."""
    epochs = evidence.epochs[:: -(-len(evidence.epochs) // most) or 1]
    plain = [key for key in dict.fromkeys(k for row in epochs for k in row) if key != "validation"]
    metrics = list(
        dict.fromkeys(
            k for row in epochs if isinstance(row.get("validation"), dict) for k in row["validation"]
        )
    )
    rows = []
    for row in epochs:
        validation = row.get("validation")
        validation = validation if isinstance(validation, dict) else {}
        rows.append([row.get(key) for key in plain] + [validation.get(key) for key in metrics])
    return csv_text([*plain, *(f"validation_{name}" for name in metrics)], rows)


def confusion_csv(matrix: np.ndarray, classes: Sequence[str], most: int) -> str:
    """The matrix; above 100 classes its cells that are not zero, the most frequent first."""
    if len(classes) <= 100:
        return csv_text(
            ["true \\ predicted", *classes],
            [[name, *row] for name, row in zip(classes, matrix.tolist(), strict=True)],
        )
    cells = [
        (int(matrix[true, said]), classes[true], classes[said]) for true, said in np.argwhere(matrix).tolist()
    ]
    cells.sort(key=lambda cell: -cell[0])
    return csv_text(
        ["true", "predicted", "count"], [[true, said, count] for count, true, said in cells[:most]]
    )


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
