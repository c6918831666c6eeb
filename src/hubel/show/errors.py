"""Where the network is wrong: confusion, scores by class, calibration, residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from hubel.core.types import Interval
from hubel.metrics import (
    confusion_matrix,
    expected_calibration_error,
    per_class,
    per_label,
    reliability,
)
from hubel.show import charts, wording
from hubel.show.downloads import confusion_csv, csv_text, data_address
from hubel.show.evidence import Evidence, as_number
from hubel.show.values import hidden_outputs, outputs, predictions_csv

MOST_NUMBERED = 20  # classes up to which each cell of the matrix has its number
MOST_DRAWN = 100
MOST_ROWS = 30  # rows of the per-class table that are open


def errors(evidence: Evidence, *, most: int = 1500) -> dict[str, Any] | None:
    """The section of errors, with `most` classes at most; None where no predictions are recorded."""
    if evidence.predicted is None:
        return None
    if evidence.kind == "values":
        return {
            "kind": "values",
            "outputs": outputs(evidence),
            "shown": hidden_outputs(evidence),
            "csv": data_address(predictions_csv(evidence)),
        }
    found: dict[str, Any] = {"kind": evidence.kind, "reliability": _reliability(evidence), "matrix": None}
    if evidence.kind == "classes":
        targets, values = evidence.predicted
        matrix = confusion_matrix(targets, values, len(evidence.classes))
        found["matrix"] = matrix_section(matrix, evidence.classes, evidence.scored)
        found["csv"] = data_address(confusion_csv(matrix, evidence.classes, 2 * most))
        scores, counts = per_class(targets, values, len(evidence.classes)), matrix.sum(axis=1)
    else:
        targets, values = evidence.predicted
        scores, counts = per_label(targets, values), targets.sum(axis=0)
    return found | _class_table(evidence.classes, counts, scores, most)


def top_confusions(matrix: np.ndarray, classes: Sequence[str], most: int = 10) -> list[dict[str, str]]:
    """The most frequent errors: true class, predicted class, how often, and the share of the true class."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    totals, rows = matrix.sum(axis=1), []
    for cell in order:
        true, said = divmod(int(cell), len(classes))
        if wrong[true, said] == 0:
            break
        rows.append(
            {
                "true": classes[true],
                "said": classes[said],
                "count": wording.number(int(wrong[true, said])),
                "share": f"{wording.percent(wrong[true, said] / totals[true])} %",
            }
        )
    return rows


def matrix_section(
    matrix: np.ndarray, classes: Sequence[str], scored: str, *, of: str = "examples"
) -> dict[str, Any]:
    """A confusion matrix: as a table, a drawing or a list, by its size; of pixels the cells are shares of their row."""
    num_classes, total, right = len(classes), int(matrix.sum()), int(np.trace(matrix))
    found: dict[str, Any] = {
        "how": "list",
        "top": top_confusions(matrix, classes, 10 if num_classes <= MOST_DRAWN else 30),
        "sentence": f"{wording.number(total - right)} of {wording.number(total)} {scored} {of} are classified wrongly.",
        "note": ""
        if num_classes <= MOST_DRAWN
        else f"A matrix of {num_classes} classes would not be readable here; "
        "the file has the cells that are not zero, the most frequent first.",
    }
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if num_classes <= MOST_NUMBERED:
        found["how"] = "table"
        found["upright"] = num_classes > 8 and max(len(name) for name in classes) > 4
        found["rows"] = [
            {
                "name": classes[k],
                "cells": [
                    {
                        "count": _cell_text(matrix[k, j], shares[k, j], of) if matrix[k, j] else "",
                        "shade": _shade(float(shares[k, j]), k == j),
                        "kind": ("right" if k == j else "wrong") + (" dark" if shares[k, j] > 0.5 else ""),
                    }
                    for j in range(num_classes)
                ],
            }
            for k in range(num_classes)
        ]
    elif num_classes <= MOST_DRAWN:
        found["how"] = "drawing"
        found["picture"] = _drawing(matrix, shares, classes)
    return found


def _cell_text(count: int, share: float, of: str) -> str:
    return wording.percent(float(share)) if of == "pixels" else wording.number(int(count))


def _shade(share: float, right: bool) -> str:
    """How full of colour a cell is, in percent; errors are rare, so theirs grow with the square root."""
    return f"{100 * (share if right else math.sqrt(share)) * 0.9:.0f}"


def _drawing(matrix: np.ndarray, shares: np.ndarray, classes: Sequence[str]) -> str:
    """The matrix of 21 to 100 classes: cells that are not zero, with their meaning as a tooltip."""
    num_classes, left, top, width = len(classes), 150, 150, 960
    side = (width - left) / num_classes
    font = min(12.0, side * 0.9)
    room = int((left - 8) / (0.58 * font))
    parts = []
    for k, name in enumerate(classes):
        short = escape(name if len(name) <= room else name[: room - 1] + "…")
        y, x = top + (k + 0.5) * side + font * 0.35, left + (k + 0.5) * side + font * 0.35
        parts.append(
            f'<text class="tick" style="font-size:{font:.1f}px" x="{left - 6}" y="{y:.1f}" text-anchor="end">{short}</text>'
        )
        parts.append(
            f'<text class="tick" style="font-size:{font:.1f}px" transform="translate({x:.1f} {top - 6}) rotate(-90)">{short}</text>'
        )
    for k, j in np.argwhere(matrix).tolist():
        parts.append(
            f'<rect class="{"right" if k == j else "wrong"}" x="{left + j * side:.1f}" y="{top + k * side:.1f}" '
            f'width="{side - 0.5:.1f}" height="{side - 0.5:.1f}" fill-opacity="{float(_shade(float(shares[k, j]), k == j)) / 100:.2f}">'
            f"<title>{escape(classes[k])} → {escape(classes[j])}: {matrix[k, j]} ({wording.percent(float(shares[k, j]))} %)</title></rect>"
        )
    low = top + num_classes * side
    parts.append(f'<path class="axis" d="M{left} {top}H{width}V{low:.1f}H{left}Z"/>')
    alt = f"Confusion matrix of {num_classes} classes, rows true, columns predicted; its numbers are in the CSV file."
    return charts.svg(width, low + 4, parts, alt, "matrix")


def _class_table(
    classes: Sequence[str], counts: np.ndarray, scores: dict[str, tuple[Interval, ...]], most: int
) -> dict[str, Any]:
    few = len(classes) <= MOST_ROWS
    order = list(range(len(classes)))
    if not few:
        values = [scores["f1"][k].value for k in order]
        order.sort(key=lambda k: (math.isnan(values[k]), values[k]))
    rows = [
        {
            "name": classes[k],
            "count": wording.number(int(counts[k])),
            **{name: _cell(scores[name][k]) for name in ("recall", "precision", "f1")},
            "strip": charts.strip(*_ends(scores["f1"][k])) if few or place < MOST_ROWS else "",
        }
        for place, k in enumerate(order[:most])
    ]
    table = [
        [classes[k], int(counts[k])]
        + [
            f"{v:.5g}"
            for name in ("recall", "precision", "f1")
            for v in _ends(scores[name][k], value_first=True)
        ]
        for k in order[: 2 * most]
    ]
    header = ["class", "examples"]
    header += [f"{name}{end}" for name in ("recall", "precision", "f1") for end in ("", "_low", "_high")]
    return {
        "rows": rows[:MOST_ROWS],
        "folded": rows[MOST_ROWS:],
        "worst_first": not few,
        "class_csv": data_address(csv_text(header, table)),
    }


def _cell(score: Interval) -> dict[str, str]:
    if math.isnan(score.value):
        return {"value": "–", "interval": "", "why": score.method.removeprefix("undefined: ")}
    return {
        "value": wording.percent(score.value),
        "interval": f"[{wording.percent(score.low)}, {wording.percent(score.high)}]",
        "why": "",
    }


def _ends(score: Interval, value_first: bool = False) -> tuple[float, float, float]:
    return (score.value, score.low, score.high) if value_first else (score.low, score.value, score.high)


def _calibrated(evidence: Evidence) -> str:
    """What was done to the probabilities after the fit."""
    temperature = as_number(evidence.part("objective").get("temperature"))
    if temperature is None or temperature == 1:
        return ""
    return (
        f" The probabilities are those of the scores divided by {temperature:.3g}, the number with which the validation part was likeliest "
        "(temperature scaling, Guo et al. 2017, arXiv:1706.04599); the losses of the curves are without it."
    )


def _reliability(evidence: Evidence) -> dict[str, str] | None:
    if (
        evidence.kind != "classes"
        or (probabilities := evidence.probabilities) is None
        or evidence.predicted is None
    ):
        return None
    targets = evidence.predicted[0]
    try:
        bins = reliability(targets, probabilities, bins=min(15, max(1, len(targets) // 30)))
        error = expected_calibration_error(targets, probabilities)
    except ValueError as problem:
        return {
            "picture": "",
            "caption": f"Probabilities are recorded, but can not be read as such: {problem}.",
        }
    confidence = sum(b.confidence * (b.accuracy.count or 0) for b in bins) / len(targets)
    right = sum(b.accuracy.value * (b.accuracy.count or 0) for b in bins) / len(targets)
    alt = "Reliability: " + "; ".join(
        f"confidence {b.confidence:.2f}, right {b.accuracy.value:.2f}" for b in bins
    )
    lean = "more" if confidence > right else "less"
    caption = (
        f"Mean confidence {wording.percent(confidence)} %, right {wording.percent(right)} %: the network is {lean} "
        f"sure than it should be, by {wording.percent(abs(confidence - right))} points on the whole. "
        f"Expected calibration error {100 * error.value:.1f} points [{100 * error.low:.1f}, {100 * error.high:.1f}]. "
        "Each cross holds equally many examples; its arms are the range of confidence and the 95 % interval."
        + _calibrated(evidence)
    )
    return {"picture": charts.reliability_diagram(bins, alt=alt), "caption": caption}
