"""The part of a page for masks: pictures with their true and their predicted masks, the worst of them, scores by class, confusions of pixels."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np

from hubel.core.types import Interval
from hubel.data.masks import UNLABELLED
from hubel.metrics import segmentation_from_counts
from hubel.show import charts, wording
from hubel.show.downloads import confusion_csv, csv_text, data_address
from hubel.show.errors import matrix_section
from hubel.show.evidence import Evidence
from hubel.show.pictures import gallery

COLOURS = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    "#882255", "#117733", "#88ccee", "#ddcc77", "#332288", "#aa4499", "#44aa99", "#999933", "#cc6677", "#dddddd",
)  # fmt: skip
"""Told apart by the colour-blind as well: the first eight are those of M. Okabe and K. Ito (2008), the others P. Tol's muted ones (2021)."""
NOTHING = "#ffffff"  # not labelled
SIDE = 160  # longest side of a drawn mask in pixels
MOST_ROWS = 30
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]


def masks(evidence: Evidence, *, budget: int) -> dict[str, Any] | None:
    """The sections; None for a run on anything else."""
    if evidence.kind != "masks":
        return None
    matrix, counts = _matrix(evidence), _counts(evidence)
    return {
        "legend": _legend(evidence),
        "shown": _cards(evidence, "shown", budget // 2),
        "worst": _cards(evidence, "worst", budget // 2),
        "matrix": None
        if matrix is None
        else matrix_section(matrix, evidence.classes, evidence.scored, of="pixels"),
        "csv": "" if matrix is None else data_address(confusion_csv(matrix, evidence.classes, 3000)),
        **_classes(evidence, counts),
    }


def mask_picture(mask: np.ndarray) -> str:
    """A mask [H, W] of class numbers as a small picture in colours.

    >>> mask_picture(np.array([[0, 255]], np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    step = -(-max(mask.shape) // SIDE)
    drawn = np.ascontiguousarray(mask[::step, ::step]).astype(np.uint8)
    image = Image.fromarray(drawn)
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def entering_masks(evidence: Evidence, count: int) -> list[str]:
    """The masks of the examples that entered the network, as pictures; empty where there are none."""
    found = evidence.arrays.get("entering_masks")
    if (
        found is None
        or found.ndim != 3
        or found.dtype.kind not in "iu"
        or len(found) < count
        or 0 in found.shape
    ):
        return []
    return [mask_picture(mask) for mask in found[:count]]


def _palette() -> list[int]:
    colours = [COLOURS[k % len(COLOURS)] for k in range(UNLABELLED)] + [NOTHING]
    return [int(colour[k : k + 2], 16) for colour in colours for k in (1, 3, 5)]


def _legend(evidence: Evidence) -> dict[str, Any]:
    targets = evidence.arrays.get("targets")
    nothing = targets is not None and targets.dtype.kind in "iu" and bool((targets == UNLABELLED).any())
    return {
        "entries": [
            {"name": name, "colour": COLOURS[k % len(COLOURS)]}
            for k, name in enumerate(evidence.classes[: 2 * len(COLOURS)])
        ],
        "nothing": NOTHING if nothing else "",
        "repeats": len(evidence.classes) > len(COLOURS),
    }


def _cards(evidence: Evidence, what: str, budget: int) -> dict[str, Any] | None:
    """Pictures with their true and their predicted masks."""
    pictures, rows = evidence.arrays.get(f"{what}_pictures"), evidence.arrays.get(f"{what}_rows")
    targets, values = evidence.arrays.get("targets"), evidence.arrays.get("values")
    if pictures is None or rows is None or targets is None or values is None or len(pictures) != len(rows):
        return None
    if (
        targets.ndim != 3
        or targets.shape != values.shape
        or {targets.dtype.kind, values.dtype.kind} - set("iu")
    ):
        return None
    if (
        rows.ndim != 1
        or rows.dtype.kind not in "iu"
        or not len(rows)
        or not 0 <= rows.min() <= rows.max() < len(targets)
    ):
        return None
    shown = gallery(pictures, budget=budget // 2)
    if shown is None:
        return None
    names, each = evidence.arrays.get("ids"), evidence.arrays.get("picture_iou")
    cards, left = [], budget // 2
    for panels, row in zip(shown.panels, rows.tolist(), strict=False):
        true, said = mask_picture(targets[row]), mask_picture(values[row])
        left -= len(true) + len(said)
        if left < 0 and cards:
            break
        value = float(each[row]) if each is not None and each.ndim == 1 and row < len(each) else math.nan
        cards.append(
            {
                "panels": panels,
                "true": true,
                "said": said,
                "id": str(names[row])
                if names is not None and names.ndim == 1 and row < len(names)
                else str(row),
                "iou": "" if math.isnan(value) else f"{wording.percent(value)} %",
            }
        )
    return {"cards": cards, "statement": shown.statement, "small": max(shown.width, shown.height) <= 96}


def _matrix(evidence: Evidence) -> np.ndarray | None:
    matrix, num = evidence.arrays.get("pixel_confusion"), len(evidence.classes)
    if matrix is None or matrix.shape != (num, num) or matrix.dtype.kind not in "iu" or matrix.min() < 0:
        return None
    return matrix


def _counts(evidence: Evidence) -> Counts | None:
    found = [evidence.arrays.get(f"pixels_{what}") for what in ("right", "true", "said")]
    right, true, said = found
    if right is None or true is None or said is None or not right.size:
        return None
    if (
        right.ndim != 2
        or right.shape[1] != len(evidence.classes)
        or not right.shape == true.shape == said.shape
    ):
        return None
    return (right, true, said) if {a.dtype.kind for a in (right, true, said)} <= set("iu") else None


def _classes(evidence: Evidence, counts: Counts | None) -> dict[str, Any]:
    """Intersection over union and Dice of every class."""
    if counts is None:
        return {"rows": [], "folded": [], "class_csv": ""}
    scores = evidence.scores
    if not all(f"iou_{name}" in scores for name in evidence.classes):
        scores = segmentation_from_counts(*counts, evidence.classes) | scores
    right, true, said = (part.sum(axis=0) for part in counts)
    rows, table = [], []
    for k, name in enumerate(evidence.classes):
        iou, dice = scores.get(f"iou_{name}"), scores.get(f"dice_{name}")
        rows.append(
            {
                "name": name,
                "colour": COLOURS[k % len(COLOURS)],
                "count": wording.number(int(true[k])),
                "iou": _cell(iou),
                "dice": _cell(dice),
                "recall": wording.percent(right[k] / true[k]) if true[k] else "–",
                "precision": wording.percent(right[k] / said[k]) if said[k] else "–",
                "strip": ""
                if iou is None or math.isnan(iou.low)
                else charts.strip(iou.low, iou.value, iou.high),
            }
        )
        ends = [f"{v:.5g}" for s in (iou, dice) if s is not None for v in (s.value, s.low, s.high)]
        table.append([name, int(true[k]), int(said[k]), int(right[k]), *ends])
    header = ["class", "true pixels", "predicted pixels", "right pixels"]
    header += [f"{what}{end}" for what in ("iou", "dice") for end in ("", "_low", "_high")]
    return {
        "rows": rows[:MOST_ROWS],
        "folded": rows[MOST_ROWS:],
        "class_csv": data_address(csv_text(header, table)),
    }


def _cell(score: Interval | None) -> dict[str, str]:
    if score is None or math.isnan(score.value):
        return {"value": "–", "interval": ""}
    return {"value": wording.percent(score.value), "interval": wording.score_interval("mean_iou", score)}
