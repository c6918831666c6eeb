"""The part of a page for boxes: pictures with true and found objects, the surest false alarms and the clearest misses as crops, scores by class,
curves, and what kinds of error cost how much.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.core.types import Interval
from hubel.data.boxes import CLASS, COLUMNS, IGNORED, NO_OBJECT
from hubel.metrics import predictions_of, truths_of
from hubel.metrics.detection_curves import froc, precision_recall, scores_at
from hubel.metrics.detection_rules import all_point
from hubel.show import charts, wording
from hubel.show.detection_curves import precision_against_recall, recall_against_false_alarms
from hubel.show.downloads import csv_text, data_address
from hubel.show.evidence import Evidence, as_number
from hubel.show.masks import COLOURS
from hubel.show.pictures import gallery, levels

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_ROWS = 30
LATE = 0.6  # of the width, from where on a label ends at the right side of its box
LEGIBLE = 640  # pixels of the longest side, up to which pictures are enlarged
MOST_NAMED = 12  # boxes of a picture whose classes are written beside them
IGNORED_COLOUR = "#999999"


def boxes(evidence: Evidence, *, budget: int) -> dict[str, Any] | None:
    """The sections; None for a run on anything else."""
    if evidence.kind != "boxes":
        return None
    return {
        "threshold": wording.number(float(f"{threshold(evidence):.3g}")),
        "shown": _cards(evidence, budget // 2),
        "misses": _crops(evidence, "missed", budget // 4),
        "alarms": _crops(evidence, "alarm", budget // 4),
        "errors": _errors(evidence),
        "curves": _curves(evidence),
        **_classes(evidence),
    }


def threshold(evidence: Evidence) -> float:
    """The score from which on an object counts as found."""
    found = as_number(evidence.part("objective").get("threshold"))
    return 0.5 if found is None else found


def outlined(
    panel: str, shape: tuple[int, int], rows: np.ndarray, classes: Sequence[str], *, said: str
) -> str:
    """A drawing of a picture `shape` (H, W), whose address is `panel`, with boxes [m, 6] in the colours of their classes; what the last column
    says is written beside the names where it is a score.

    >>> outlined("data:,", (8, 8), np.array([[1, 1, 4, 4, 0, 0.5]]), ("<b>",), said="found").count("&lt;b&gt; 0.50")  # its title and its label
    2
    """
    height, width = shape
    size = max(5.0, 0.05 * max(shape))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(said, quote=True)}">',
        f'<image href="{panel}" width="{width}" height="{height}" preserveAspectRatio="none" class="pixels"/>',
    ]
    for row in rows:
        number, last = int(row[CLASS]), float(row[IGNORED])
        colour = colour_of(number)
        name = classes[number] if 0 <= number < len(classes) else str(number)
        found = said == "found"
        if not found and last == 1:
            colour, name = IGNORED_COLOUR, f"{name}, ignored"
        x, y, right, lower = (float(v) for v in row[:4])
        label = f"{name} {last:.2f}" if found else name
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(right - x, 0.1):.1f}" height="{max(lower - y, 0.1):.1f}" fill="none" stroke="{colour}" '
            f'stroke-width="2" vector-effect="non-scaling-stroke"><title>{html.escape(label)}</title></rect>'
        )
        if len(rows) <= MOST_NAMED:
            late = x > LATE * width  # so that it is not cut off by the edge
            at = min(right, width - 1) if late else max(x, 0)
            above = y - 0.25 * size if y > 1.2 * size else min(lower + 0.95 * size, height - 1)
            parts.append(
                f'<text x="{at:.1f}" y="{above:.1f}" text-anchor="{"end" if late else "start"}" style="font: 600 {size:.1f}px sans-serif; fill: {colour}; stroke: #000; '
                f'stroke-width: {0.2 * size:.2f}px; paint-order: stroke">{html.escape(label)}</text>'
            )
    return "".join([*parts, "</svg>"])


def marked(picture: np.ndarray, rows: np.ndarray, classes: Sequence[str]) -> Image:
    """A picture [C, H, W] of any number type as an 8-bit drawing with the boxes [m, 6] of what was found on it, in the colours of their classes.

    One channel is grey, three are red, green, blue; of any other number the first is shown. Small pictures are drawn several times as large.

    >>> marked(np.zeros((1, 8, 9), np.uint8), np.array([[1, 1, 4, 4, 0, 0.5]]), ("star",)).size
    (639, 568)
    """
    from PIL import Image, ImageDraw

    shown = picture if len(picture) == 3 else picture[:1]
    panels = levels(shown[None])
    assert panels is not None
    image = Image.fromarray(panels[0][0]).convert("RGB")
    times = max(1, LEGIBLE // max(image.size))
    image = image.resize((times * image.size[0], times * image.size[1]), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / 400))
    for row in rows:
        number = int(row[CLASS])
        x0, y0, x1, y1 = (round(times * float(v)) for v in row[:4])
        pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour_of(number), width=width)
        label = f"{classes[number]} {float(row[5]):.2f}"
        size = max(8, round(max(image.size) / 60))
        above = y0 - size - 1 if y0 > size else min(y1 + 1, image.size[1] - size)
        pen.text(
            (x0, above), label, fill=colour_of(number), stroke_fill="black", stroke_width=1, font_size=size
        )
    return image


def colour_of(number: int) -> str:
    """The colour of a class; none is black, which can not be seen on dark pictures.

    >>> colour_of(0) == colour_of(len(COLOURS) - 1)
    True
    """
    return COLOURS[1 + number % (len(COLOURS) - 1)]


def _rows(evidence: Evidence, name: str) -> np.ndarray | None:
    found = evidence.arrays.get(name)
    if found is None or found.ndim != 3 or found.shape[2] != COLUMNS or found.dtype.kind != "f":
        return None
    return found if np.isfinite(found).all() else None


def _cards(evidence: Evidence, budget: int) -> dict[str, Any] | None:
    """Pictures with their true objects and those that were found."""
    pictures, rows = evidence.arrays.get("shown_pictures"), evidence.arrays.get("shown_rows")
    targets, values = _rows(evidence, "targets"), _rows(evidence, "values")
    if pictures is None or rows is None or targets is None or values is None or len(pictures) != len(rows):
        return None
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows) or len(targets) != len(values):
        return None
    if not 0 <= rows.min() <= rows.max() < len(targets):
        return None
    shown = gallery(pictures, budget=budget, most=1)
    if shown is None:
        return None
    ids, least = evidence.arrays.get("ids"), threshold(evidence)
    cards = []
    for panels, row in zip(shown.panels, rows.tolist(), strict=False):
        true = targets[row][targets[row][:, CLASS] != NO_OBJECT]
        found = values[row][(values[row][:, CLASS] != NO_OBJECT) & (values[row][:, 5] >= least)]
        size = (shown.height, shown.width)
        cards.append(
            {
                "true": outlined(panels[0], size, true, evidence.classes, said="true"),
                "said": outlined(panels[0], size, found, evidence.classes, said="found"),
                "id": str(ids[row]) if ids is not None and ids.ndim == 1 and row < len(ids) else str(row),
                "told": f"{wording.number(len(found))} found, {wording.number(int((true[:, IGNORED] == 0).sum()))} true",
            }
        )
    return {
        "cards": cards,
        "statement": shown.statement,
        "small": max(shown.width, shown.height) <= 200,
    }


def _crops(evidence: Evidence, what: str, budget: int) -> dict[str, Any] | None:
    """Crops around the objects that were missed, or the false alarms."""
    pictures, rows = evidence.arrays.get(f"{what}_pictures"), evidence.arrays.get(f"{what}_boxes")
    names, kinds = evidence.arrays.get(f"{what}_ids"), evidence.arrays.get(f"{what}_kinds")
    if pictures is None or rows is None or names is None or kinds is None or not len(pictures):
        return None
    if rows.shape != (len(pictures), COLUMNS) or len(names) != len(pictures) or len(kinds) != len(pictures):
        return None
    shown = gallery(pictures, budget=budget, most=1)
    if shown is None:
        return None
    cards = []
    for panels, row, name, kind in zip(shown.panels, rows, names, kinds, strict=False):
        number = int(row[CLASS])
        label = evidence.classes[number] if 0 <= number < len(evidence.classes) else str(number)
        cards.append(
            {
                "panels": panels,
                "label": label,
                "score": f"{float(row[5]):.2f}" if what == "alarm" else "",
                "kind": str(kind),
                "id": str(name),
            }
        )
    return {"cards": cards, "statement": shown.statement, "small": max(shown.width, shown.height) <= 96}


def _curves(evidence: Evidence) -> list[dict[str, str]]:
    """Precision against recall, and recall against false alarms, of all classes together."""
    targets, values = _rows(evidence, "targets"), _rows(evidence, "values")
    if targets is None or values is None or len(targets) != len(values) or not len(_counts(evidence)):
        return []
    if not _counts(evidence).any() or not (values[:, :, CLASS] != NO_OBJECT).any():
        return []
    found, wanted = predictions_of(values), truths_of(targets)
    least = threshold(evidence)
    groups = evidence.arrays.get("groups")  # the parents of tiles, which are drawn together
    if groups is not None and groups.shape != (len(targets),):
        groups = None
    precision, share, *_ = scores_at(found, wanted, least, rule=all_point, groups=groups).values()
    recall = precision_recall(found, wanted, rule=all_point, groups=groups)
    alarms = froc(found, wanted, rule=all_point, groups=groups)
    return [
        {
            "picture": precision_against_recall(recall, at=(share.value, precision.value)),
            "caption": f"Precision against recall of the objects of all classes, at an overlap of a half. At the threshold ({least:.2g}): precision "
            f"{precision}, recall {share}.",
        },
        {
            "picture": recall_against_false_alarms(alarms),
            "caption": "The share of objects that is found, against the false alarms a picture that come with it (FROC); pictures without objects count. "
            + (
                f"Bands: {100 * alarms.level:g} % intervals, {alarms.method}."
                if np.isfinite(alarms.low).any()
                else "No bands: all are parts of one picture."
            ),
        },
    ]


def _errors(evidence: Evidence) -> dict[str, Any] | None:
    """What kinds of error there are, how many, and what each costs."""
    found = evidence.part("errors")
    rows = []
    for name, row in found.items():
        if isinstance(row, Mapping) and (count := as_number(row.get("count"))) is not None:
            cost = as_number(row.get("cost"))
            rows.append(
                {
                    "name": ERRORS.get(str(name), (str(name), ""))[0],
                    "what": ERRORS.get(str(name), ("", ""))[1],
                    "count": wording.number(int(count)),
                    "cost": "–" if cost is None else f"{cost:.3f}",
                    "bar": 0 if cost is None else max(0.0, min(100.0, 100 * cost)),
                }
            )
    return {"rows": rows} if rows else None


ERRORS = {
    "class": ("class", "found in the right place and called something else"),
    "location": ("location", "the right class, but a box that overlaps by less than a half"),
    "both": ("class and location", "another class, and a box that overlaps by less than a half"),
    "duplicate": ("duplicate", "an object that was found already"),
    "background": ("background", "nothing is there"),
    "missed": ("missed", "an object that nothing found"),
}


def _classes(evidence: Evidence) -> dict[str, Any]:
    """Average precision of every class."""
    rows, table = [], []
    scores, counts = evidence.scores, _counts(evidence)
    for k, name in enumerate(evidence.classes):
        of = f" of {name}" if len(evidence.classes) > 1 else ""  # those of the only class are those of all
        half, mean = (scores.get(f"{rule}{of}") for rule in ("AP50[all-point]", "AP[coco]"))
        rows.append(
            {
                "name": name,
                "colour": colour_of(k),
                "count": wording.number(int(counts[k])) if k < len(counts) else "–",
                "half": _cell(half),
                "mean": _cell(mean),
                "strip": ""
                if half is None or math.isnan(half.low)
                else charts.strip(half.low, half.value, half.high),
            }
        )
        ends = [f"{v:.5g}" for s in (half, mean) if s is not None for v in (s.value, s.low, s.high)]
        table.append([name, int(counts[k]) if k < len(counts) else "", *ends])
    header = [
        "class",
        "objects",
        *(f"{what}{end}" for what in ("ap50", "ap_coco") for end in ("", "_low", "_high")),
    ]
    return {
        "rows": rows[:MOST_ROWS],
        "folded": rows[MOST_ROWS:],
        "class_csv": data_address(csv_text(header, table)) if rows else "",
    }


def _counts(evidence: Evidence) -> np.ndarray:
    targets = _rows(evidence, "targets")
    if targets is None:
        return np.zeros(0)
    rows = targets.reshape(-1, COLUMNS)
    kept = rows[(rows[:, CLASS] >= 0) & (rows[:, IGNORED] == 0), CLASS]
    return np.bincount(kept.astype(np.int64), minlength=len(evidence.classes))


def _cell(score: Interval | None) -> dict[str, str]:
    if score is None or math.isnan(score.value):
        return {"value": "–", "interval": ""}
    interval = "" if math.isnan(score.low) else f"[{score.low:.2f}, {score.high:.2f}]"
    return {"value": f"{score.value:.3f}", "interval": interval}
