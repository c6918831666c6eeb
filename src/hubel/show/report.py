"""A run as one page: HTML in one file, under 2 MB, that needs no network, in light, in dark and on paper.

Everything on it is read from the run's folder. Names of classes, files and runs come from strangers: the
template escapes them, and so do the charts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hubel.core.names import net_word
from hubel.core.version import VERSION
from hubel.show import series, wording
from hubel.show.boxes import boxes
from hubel.show.choices import choices, findings, reproduction
from hubel.show.course import course
from hubel.show.datacard import datacard
from hubel.show.errors import errors
from hubel.show.evidence import Evidence
from hubel.show.examples import entering, mistakes
from hubel.show.itself import itself
from hubel.show.masks import masks
from hubel.show.several import several
from hubel.show.template import rendered
from hubel.show.text import text
from hubel.show.verdict import verdict

LIMIT = 2_000_000  # bytes of the whole page
PICTURES = 650_000  # bytes for the pictures of one section


def report(run: Evidence | os.PathLike[str] | str) -> str:
    """The page for a run's folder (or that of several runs together), or for `Evidence` read from one.

    What a folder does not hold is said in its place ("not recorded").

    Raises `FileNotFoundError` for a missing folder and `ValueError` for an unknown format; nothing else.

    >>> import hubel, numpy as np, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(report(run.folder)[:15])
    <!doctype html>
    """
    evidence = run if isinstance(run, Evidence) else Evidence.read(Path(run))
    page = ""
    for pictures, rows in (
        (PICTURES, 1500),
        (PICTURES // 4, 1500),
        (PICTURES // 8, 300),
        (PICTURES // 32, 40),
    ):
        page = rendered("report.html", **_page(evidence, pictures, rows))
        if len(page.encode("utf-8")) < LIMIT:
            break
    return page


def _page(evidence: Evidence, pictures: int, rows: int) -> dict[str, Any]:
    return {
        "name": evidence.name,
        "kicker": _kicker(evidence),
        "problems": evidence.problems,
        "scored": evidence.scored,
        "verdict": verdict(evidence),
        "several": several(evidence),
        "findings": findings(evidence),
        "data": datacard(evidence, most=rows),
        "course": course(evidence),
        "errors": errors(evidence, most=rows),
        "text": text(evidence),
        "mistakes": mistakes(evidence, budget=pictures),
        "series": series.examples(evidence),
        "forecast": series.forecast(evidence),
        "itself": itself(evidence, budget=pictures),
        "masks": masks(evidence, budget=pictures),
        "boxes": boxes(evidence, budget=pictures),
        "entering": entering(evidence, budget=pictures),
        "choices": choices(evidence),
        "reproduction": reproduction(evidence),
        "version": str(evidence.about.get("hubel") or VERSION),
    }


def _kicker(evidence: Evidence) -> str:
    """The line above the title: the day, the data, the network."""
    data, net = evidence.part("data"), evidence.part("net")
    parts = [
        str(evidence.about.get("created") or "")[:10],
        str(data.get("name") or "") if data.get("name") != evidence.name else "",
        net_word(dict(net)),
        wording.duration(seconds)
        if isinstance(seconds := evidence.about.get("seconds"), (int, float))
        else "",
    ]
    return " · ".join(part for part in parts if part)
