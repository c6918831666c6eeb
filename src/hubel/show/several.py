"""Several runs beside each other: the members of an ensemble and their mean, the folds of a cross-validation and theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.types import Interval
from hubel.show import charts, wording
from hubel.show.evidence import Evidence, as_interval, as_number
from hubel.show.verdict import target_unit

MOST_COLUMNS = 4
CAVEATS = {
    "ensemble": "All members were scored on the same examples, so that their intervals say how sure each score is, not how far two "
    "members differ. The members differ by their seed alone: their spread is what initial weights and the order of the examples leave "
    "undecided; it knows nothing of an error that all share.",
    "cross-validation": "The networks of two folds share most of their training examples, so that their scores are not independent: the "
    "standard deviation over folds is no error of the mean. The interval of the mean is the corrected t interval (Nadeau and Bengio "
    "2003); no estimator is without bias here (Bengio and Grandvalet 2004). The scores tell how well this way of fitting does with this "
    "many examples; no network here has seen all of them.",
}


def several(evidence: Evidence) -> dict[str, Any] | None:
    """The section of the single runs; None for the page of one run."""
    kind = str(evidence.about.get("kind") or "")
    if kind not in CAVEATS:
        return None
    found = evidence.about.get("runs")
    runs = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    names = list(dict.fromkeys(name for row in runs for name in _scores(row)))[:MOST_COLUMNS]
    ensemble = kind == "ensemble"
    return {
        "title": "The members" if ensemble else "The folds",
        "sentence": _sentence(evidence, runs, names, ensemble),
        "caveat": CAVEATS[kind],
        "picture": _picture(evidence, runs, names[0], ensemble) if names else "",
        "columns": ["seed" if ensemble else "training / test examples", *map(wording.metric_name, names)],
        "rows": [_row(evidence, row, names, ensemble) for row in runs] + _together(evidence, names, ensemble),
    }


def _scores(row: Mapping[str, Any]) -> dict[str, Interval]:
    test = row.get("test")
    found = {str(k): as_interval(v) for k, v in test.items()} if isinstance(test, Mapping) else {}
    return {name: score for name, score in found.items() if score is not None}


def _row(evidence: Evidence, row: Mapping[str, Any], names: list[str], ensemble: bool) -> dict[str, Any]:
    folder, scores, sizes = str(row.get("folder") or ""), _scores(row), row.get("sizes")
    sizes = sizes if isinstance(sizes, Mapping) else {}
    plain = bool(folder) and Path(folder).name == folder and folder not in (".", "..")
    first = (
        str(row.get("seed", "–"))
        if ensemble
        else " / ".join(_count(sizes.get(part)) for part in ("train", "test"))
    )
    unit = target_unit(evidence)
    return {
        "name": folder,
        "address": f"{folder}/report.html" if plain else "",
        "cells": [first] + [wording.score(n, scores[n], unit) if n in scores else "–" for n in names],
    }


def _together(evidence: Evidence, names: list[str], ensemble: bool) -> list[dict[str, Any]]:
    scores = evidence.scores
    if not scores:
        return []
    unit = target_unit(evidence)
    cells = [wording.score(name, scores[name], unit) if name in scores else "–" for name in names]
    return [{"name": "their mean" if ensemble else "mean over folds", "address": "", "cells": ["", *cells]}]


def _sentence(evidence: Evidence, runs: list[Mapping[str, Any]], names: list[str], ensemble: bool) -> str:
    values = [_scores(row)[names[0]].value for row in runs if names and names[0] in _scores(row)]
    whole = evidence.scores.get(names[0]) if names else None
    if whole is None or len(values) < 2:
        return f"{wording.plural(len(runs), 'run')} so far; not all are finished."
    share = wording.is_share(names[0])

    def shown(value: float) -> str:
        return f"{wording.percent(value)}\u00a0%" if share else wording.number(float(f"{value:.4g}"))

    told = wording.metric_name(names[0])
    if ensemble:
        return (
            f"The mean of {len(values)} networks has the {told} {shown(whole.value)}; alone they have {shown(min(values))} to "
            f"{shown(max(values))}, {shown(float(np.mean(values)))} on average."
        )
    return (
        f"Every example was scored once, by a network that never saw it. Over {len(values)} folds the {told} is "
        f"{shown(whole.value)} ± {shown(float(np.std(values, ddof=1)))} (mean ± standard deviation)."
    )


def _picture(evidence: Evidence, runs: list[Mapping[str, Any]], name: str, ensemble: bool) -> str:
    rows = [
        (str(row.get("folder")), score.low, score.value, score.high)
        for row in runs
        if (score := _scores(row).get(name)) is not None
    ]
    whole = evidence.scores.get(name)
    if whole is None or len(rows) < 2:
        return ""
    rows.append(("mean", whole.low, whole.value, whole.high))
    told = ", ".join(f"{label} {value:.4g}" for label, _, value, _ in rows if not math.isnan(value))
    return charts.rows_of_scores(
        rows,
        name=wording.metric_name(name),
        alt=f"Scores with their intervals: {told}",
        percent=wording.is_share(name),
    )


def _count(value: Any) -> str:
    number = as_number(value)
    return "–" if number is None else wording.number(number)
