"""A study as one page: a question, figures, what is seen in them, the numbers, the sources; HTML in one file, as the report is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubel.core.version import VERSION
from hubel.show import wording
from hubel.show.template import rendered


@dataclass(frozen=True, kw_only=True)
class StudyFigure:
    """A drawing of `hubel.show.plot` (SVG), and the sentence below it."""

    picture: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """Numbers in `rows` under `columns`, named with their units; the first column says what a row is."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was asked, what came out, and why.

    `seen` are paragraphs with an empty line between them. `numbers` are plain JSON values, those of the curves among them. `folder`
    holds the page and the numbers; `facts` say on what machine and with which versions they were made.
    """

    name: str
    title: str
    question: str
    seen: str
    figures: tuple[StudyFigure, ...]
    tables: tuple[StudyTable, ...]
    numbers: Mapping[str, Any]
    sources: tuple[str, ...]
    quick: bool = False
    seed: int = 0
    seconds: float = 0.0
    folder: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        form = "quick" if self.quick else "full"
        return f"Study({self.name!r}: {form} form, seed {self.seed}, {wording.duration(self.seconds)}, in {self.folder})"


def study_page(study: Study) -> str:
    """The page of a study.

    >>> table = StudyTable(caption="Errors", columns=("width", "error (m)"), rows=((4, 0.25),))
    >>> study = Study(name="a", title="A <b>", question="Why?", seen="So.", figures=(), tables=(table,), numbers={}, sources=("B (1901)",))
    >>> page = study_page(study)
    >>> "A &lt;b&gt;" in page, "<td" in page, "://" in page
    (True, True, False)
    """
    form = "quick form: smaller than the study is meant to be" if study.quick else "full form"
    return rendered(
        "study.html",
        study=study,
        kicker=f"study · {form} · {wording.duration(study.seconds)}",
        paragraphs=[_prose(part) for part in study.seen.strip().split("\n\n")],
        tables=[
            {"caption": t.caption, "columns": t.columns, "rows": [[_cell(v) for v in row] for row in t.rows]}
            for t in study.tables
        ],
        command=f"hubel study {study.name}{' --quick' if study.quick else ''} --seed {study.seed}",
        facts=[("seed", study.seed), *study.facts.items()],
        version=VERSION,
    )


def _prose(text: str) -> str:
    """A paragraph on one line, its numbers with a real minus sign.

    >>> _prose("the power -0.5,  an error of 3e-08 (well-known)")
    'the power −0.5, an error of 3e−8 (well-known)'
    """
    line = " ".join(text.split())
    return re.sub(r"(?<=\de)-0*(?=\d)|(?<![\w-])-(?=\d)", "−", line)


def _cell(value: Any) -> str:
    """A number in the digits that a reader wants; words as they are.

    >>> _cell(-7), _cell(-0.000123456), _cell(3.14159), _cell(4123.4), _cell(True), _cell(None)
    ('−7', '−0.000123', '3.14', '4\u202f123', 'yes', '–')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}".replace("-", "−")
    if isinstance(value, float) and abs(value) < 1e6:
        value = round(value)
    return wording.number(value)
