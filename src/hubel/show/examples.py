"""Pictures: the worst mistakes, and what exactly enters the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from hubel.show import series, wording
from hubel.show.evidence import Evidence
from hubel.show.masks import entering_masks
from hubel.show.pictures import channel_table, gallery
from hubel.show.verdict import target_unit

MOST_MISTAKES = 24
MOST_ENTERING = 16
MOST_DRAWINGS = 12
MOST_SERIES = 4


def mistakes(evidence: Evidence, *, budget: int) -> dict[str, Any] | None:
    """The section of the worst mistakes: pictures where stored, names and numbers in any case."""
    if evidence.predicted is None or evidence.kind == "labels":
        return None
    rows = worst_rows(evidence)
    stored, stored_rows = evidence.arrays.get("worst_pictures"), evidence.arrays.get("worst_rows")
    shown = None
    if (
        stored is not None
        and stored_rows is not None
        and stored.ndim == 4
        and len(stored) == len(stored_rows)
    ):
        count = min(len(stored), len(rows), MOST_MISTAKES)
        shown = (
            gallery(stored[:count], budget=budget, size=_volumes(evidence), noun=_noun(evidence))
            if count
            else None
        )
    if shown:
        rows = rows[: len(shown.panels)]
    cards = [_card(evidence, int(row)) for row in rows[:MOST_MISTAKES]]
    for card, panels in zip(cards, shown.panels if shown else (), strict=False):
        card["panels"] = panels
    for place, (card, row) in enumerate(zip(cards, rows, strict=False)):
        card["drawing"] = series.worst(evidence, place, int(row))
    drawn = [card for card in cards if card["drawing"]]
    return {
        "cards": drawn[:MOST_DRAWINGS] or cards,
        "drawings": bool(drawn),
        "pictures": shown is not None,
        "several": bool(shown and len(shown.panels[0]) > 1),
        "small": bool(shown and max(shown.width, shown.height) <= 96),
        "statement": shown.statement if shown else "",
        "regression": evidence.kind == "values",
        "forecast": series.is_forecast(evidence),
        "unit": target_unit(evidence),
    }


def entering(evidence: Evidence, *, budget: int) -> dict[str, Any] | None:
    """The section of what enters the network; None where it is not recorded."""
    if (steps := _entering_series(evidence)) is not None:
        return steps
    pictures = evidence.arrays.get("entering_pictures")
    if pictures is None or pictures.ndim < 2 or 0 in pictures.shape or pictures.dtype.kind not in "biuf":
        return None
    low, high = evidence.arrays.get("entering_low"), evidence.arrays.get("entering_high")
    numeric = low is not None and high is not None and low.dtype.kind in "biuf" and high.dtype.kind in "biuf"
    most = MOST_ENTERING if pictures.ndim == 4 and pictures.shape[1] in (1, 3) else 8
    shown = gallery(
        pictures[:most],
        budget=budget,
        low=low if numeric else None,
        high=high if numeric else None,
        size=_volumes(evidence),
        noun=_noun(evidence),
    )
    labels = _entering_labels(evidence, len(pictures))
    beside = entering_masks(evidence, len(shown.panels)) if shown else []
    names = evidence.part("data").get("channels")
    if (told := evidence.arrays.get("entering_names")) is not None and told.dtype.kind == "U":
        names = told.tolist()
    return {
        "cards": [
            {"panels": (*panels, *beside[k : k + 1]), "drawing": "", "label": label}
            for k, (panels, label) in enumerate(zip(shown.panels, labels, strict=False))
        ]
        if shown
        else [],
        "several": bool(shown and len(shown.panels[0]) > 1),
        "beside": bool(beside),
        "small": bool(shown and max(shown.width, shown.height) <= 96),
        "statement": shown.statement if shown else "The inputs are not pictures; their ranges are below.",
        "channels": channel_table(pictures, [str(n) for n in names] if isinstance(names, list) else ()),
        "noun": _noun(evidence) if told is None else "column",
        "hidden": max(0, pictures.shape[1] - 32),
        "shape": wording.shape(_entering_shape(evidence, pictures)),
        "dtype": str(pictures.dtype),
        "preprocessing": _preprocessing(evidence),
    }


def _entering_series(evidence: Evidence) -> dict[str, Any] | None:
    """Series as they enter the network: some drawn, and the ranges of their features over the steps that there are."""
    steps = evidence.arrays.get("entering_series")
    if steps is None or steps.ndim != 3 or 0 in steps.shape or steps.dtype.kind != "f":
        return None
    lengths = evidence.arrays.get("entering_lengths")
    each = [series.without_padding(steps, lengths, place) for place in range(len(steps))]
    names = [f"{name.partition(' (')[0]}, scaled" for name in series.channels(evidence, steps.shape[2])]
    labels = _entering_labels(evidence, len(steps))
    return {
        "cards": [
            {
                "panels": (),
                "drawing": series.drawing(evidence, one, f"{place + 1} of the first batch", names),
                "label": label,
            }
            for place, (one, label) in enumerate(zip(each[:MOST_SERIES], labels, strict=False))
        ],
        "several": False,
        "beside": False,
        "small": False,
        "statement": "",
        "channels": channel_table(np.concatenate(each), names),
        "noun": "feature",
        "hidden": max(0, steps.shape[2] - 32),
        "shape": f"{'' if lengths is None else 'up to '}{wording.shape([int(n) for n in steps.shape[1:]])}",
        "dtype": str(steps.dtype),
        "preprocessing": _preprocessing(evidence),
    }


def _preprocessing(evidence: Evidence) -> list[tuple[str, str]]:
    return [
        (wording.title(key), wording.value_text(value))
        for key, value in evidence.part("preprocessing").items()
        if key != "is"
    ]


def worst_rows(evidence: Evidence) -> np.ndarray:
    """Rows of the predictions, worst first: as recorded, or found here."""
    assert evidence.predicted is not None
    targets, values = evidence.predicted
    rows = evidence.arrays.get("worst_rows")
    recorded = rows is not None and rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows)
    if rows is not None and recorded and rows.min() >= 0 and rows.max() < len(targets):
        return rows
    if evidence.kind == "values":
        spread = np.maximum(targets.std(axis=0), 1e-300)
        return np.argsort(-(np.abs(values - targets) / spread).max(axis=1), kind="stable")[:MOST_MISTAKES]
    wrong = np.flatnonzero(targets != values)
    if (probabilities := evidence.probabilities) is not None:
        wrong = wrong[np.argsort(probabilities[wrong, targets[wrong]], kind="stable")]
    return wrong[:MOST_MISTAKES]


def _noun(evidence: Evidence) -> str:
    """What the second axis of stored pictures holds: their channels, or the pictures of a film."""
    return "picture" if evidence.part("data", "reading").get("kind") == "image series" else "channel"


def _volumes(evidence: Evidence) -> str:
    """What stands in the place of a volume; nothing for pictures."""
    shape = evidence.part("data").get("shape")
    films = evidence.part("data", "reading").get("kind") == "image series"
    if not isinstance(shape, list) or len(shape) != 4 or films:
        return ""
    return f"Middle planes of {' × '.join(map(str, shape[1:]))} voxels (rows × columns, depth × columns, depth × rows)"


def _card(evidence: Evidence, row: int) -> dict[str, Any]:
    assert evidence.predicted is not None
    targets, values = evidence.predicted
    card: dict[str, Any] = {"id": evidence.ids[row], "panels": ()}
    if evidence.kind == "values":
        bars = None if evidence.uncertainties is None else evidence.uncertainties[row]
        return card | {
            "true": _reals(targets[row], ""),
            "said": _reals(values[row], "", bars),
            "probability": "",
        }
    true, said = int(targets[row]), int(values[row])
    card |= {"true": evidence.classes[true], "said": evidence.classes[said], "probability": ""}
    if (probabilities := evidence.probabilities) is not None:
        card["probability"] = f"{wording.percent(float(probabilities[row, said]))} %"
        card["true_probability"] = f"{wording.percent(float(probabilities[row, true]))} %"
    return card


def _reals(values: np.ndarray, unit: str, bars: np.ndarray | None = None) -> str:
    said = [wording.number(float(f"{v:.4g}")) for v in values[:4]]
    if bars is not None:
        said = [f"{v} ± {wording.number(float(f'{s:.2g}'))}" for v, s in zip(said, bars, strict=False)]
    text = ", ".join(said)
    return f"{text}{', …' if len(values) > 4 else ''}{' ' + unit if unit else ''}"


def _entering_shape(evidence: Evidence, pictures: np.ndarray) -> list[int]:
    """That of a volume, of which slices are kept, or of the pictures themselves."""
    return (
        list(evidence.part("data")["shape"]) if _volumes(evidence) else [int(n) for n in pictures.shape[1:]]
    )


def _entering_labels(evidence: Evidence, count: int) -> list[str]:
    targets = evidence.arrays.get("entering_targets")
    if targets is None or len(targets) != count or targets.dtype.kind not in "biuf":
        return [""] * count
    classes = evidence.classes
    if targets.ndim == 1 and classes and targets.dtype.kind in "biu":
        return [classes[int(t)] if 0 <= int(t) < len(classes) else str(int(t)) for t in targets]
    if targets.ndim == 2 and classes and targets.shape[1] == len(classes):
        return [_mixture(row, classes) for row in targets]
    return [_reals(np.atleast_1d(row), target_unit(evidence)) for row in targets]


def _mixture(row: np.ndarray, classes: tuple[str, ...]) -> str:
    """Labels of one example: names, with their shares where they are mixed."""
    present = [int(k) for k in np.argsort(-row, kind="stable") if row[k] > 0.005][:3]
    if not present:
        return "none"
    if all(row[k] == 1 for k in present):
        return ", ".join(classes[k] for k in present)
    return " + ".join(f"{100 * row[k]:.0f} % {classes[k]}" for k in present)
