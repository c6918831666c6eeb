"""The part of a page for examples that were their own target: what is given back, the codes, samples, and the strangest examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hubel.show import charts, wording
from hubel.show.charts import Line
from hubel.show.downloads import csv_text, data_address
from hubel.show.evidence import Evidence, as_number
from hubel.show.latent_map import COLOURS, histogram, latent_map, shown_share
from hubel.show.pictures import display_range, gallery

MOST_LINES = 4
MOST_SHOWN = 4  # rows of a table
MOST_COLUMNS = 40


def itself(evidence: Evidence, *, budget: int) -> dict[str, Any] | None:
    """The sections; None where the examples were not their own target."""
    if evidence.kind != "itself":
        return None
    return {
        "shown": _beside(evidence, "shown", budget),
        "lines": _as_lines(evidence),
        "columns": _as_columns(evidence),
        "baselines": _baselines(evidence),
        "map": _map(evidence),
        "samples": _samples(evidence, budget),
        "surprise": _surprise(evidence),
        "worst": _beside(evidence, "worst", budget),
        "csv": _csv(evidence),
    }


def _beside(evidence: Evidence, what: str, budget: int) -> dict[str, Any] | None:
    """Examples, and beneath each what the network makes of it, as cards."""
    examples, rows = evidence.arrays.get(f"{what}_examples"), evidence.arrays.get(f"{what}_rows")
    if examples is None or rows is None or len(examples) != len(rows) or not len(rows):
        return None
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or examples.dtype.kind not in "biuf":
        return None
    given_back = evidence.arrays.get(f"{what}_given_back")
    if given_back is not None and given_back.shape != examples.shape:
        given_back = None
    panels: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    statement, small = "", False
    if examples.ndim == 4 and 0 not in examples.shape:
        low, high = display_range(examples, examples.shape[1] == 3)
        both = examples if given_back is None else np.concatenate([examples, given_back.astype(np.float64)])
        shown = gallery(both, budget=budget, low=low, high=high)
        if shown is not None and len(shown.panels) == len(both):
            num = len(examples)
            others = shown.panels[num:] if given_back is not None else ((),) * num
            panels = list(zip(shown.panels[:num], others, strict=True))
            statement, small = shown.statement, max(shown.width, shown.height) <= 96
    numbers = [int(row) for row in rows]
    return {
        "cards": [
            {
                "example": panels[k][0] if panels else (),
                "given_back": panels[k][1] if panels else (),
                "id": evidence.name_of(row),
                "label": _at(evidence.arrays.get("labels"), row),
                "surprise": _number(_at(evidence.arrays.get("surprise"), row)),
            }
            for k, row in enumerate(numbers)
        ],
        "pictures": bool(panels),
        "pairs": given_back is not None,
        "small": small,
        "statement": statement,
    }


def _as_lines(evidence: Evidence) -> list[str]:
    """Examples that are no pictures, and what was given back, as curves over their values."""
    examples, given_back = (evidence.arrays.get(name) for name in ("shown_examples", "shown_given_back"))
    if examples is None or given_back is None or examples.shape != given_back.shape:
        return []
    if examples.ndim not in (2, 3) or examples.shape[1] < 4 or examples.dtype.kind not in "biuf":
        return []
    if _headers(evidence, examples):
        return []
    if examples.ndim == 3:
        examples, given_back = examples[:, :, 0], given_back[:, :, 0]
    x = list(range(examples.shape[1]))
    found = []
    for one, other in zip(examples[:MOST_LINES], given_back[:MOST_LINES], strict=True):
        curves = [
            Line(name="example", x=x, y=one.astype(float).tolist(), kind="one"),
            Line(name="given back", x=x, y=other.astype(float).tolist(), kind="two"),
        ]
        alt = f"An example of {len(x)} values and what the network gives back"
        found.append(charts.lines(curves, x_name="number of the value", y_name="stored value", alt=alt))
    return found


def _as_columns(evidence: Evidence) -> dict[str, Any] | None:
    """Rows of a table and what was given back, a line a column: numbers of different units have no common axis."""
    examples, given_back = (evidence.arrays.get(name) for name in ("shown_examples", "shown_given_back"))
    if examples is None or given_back is None or examples.shape != given_back.shape or not len(examples):
        return None
    if not (headers := _headers(evidence, examples)) or given_back.dtype.kind != "f":
        return None
    rows = evidence.arrays.get("shown_rows")
    count = min(MOST_SHOWN, len(examples))
    numbers = (
        range(count) if rows is None or rows.dtype.kind not in "iu" else [int(row) for row in rows[:count]]
    )
    return {
        "names": [evidence.name_of(row) or f"row {row}" for row in numbers],
        "rows": [
            {
                "name": header,
                "numbers": [
                    _number(float(v))
                    for k in range(count)
                    for v in (examples[k, column], given_back[k, column])
                ],
            }
            for column, header in enumerate(headers[:MOST_COLUMNS])
        ],
        "left": max(0, len(headers) - MOST_COLUMNS),
    }


def _headers(evidence: Evidence, examples: np.ndarray) -> list[str]:
    """The columns of a table of which `examples` [m, F] are rows; nothing where they are no such rows."""
    names = evidence.part("data").get("channels")
    of_table = evidence.part("data", "reading").get("kind") == "table"
    if not of_table or not isinstance(names, list) or examples.ndim != 2 or len(names) != examples.shape[1]:
        return []
    return [str(name) for name in names]


def _baselines(evidence: Evidence) -> dict[str, Any] | None:
    """The score beside what needs no network."""
    rows = {str(name): row for name, row in evidence.part("baselines").items() if isinstance(row, Mapping)}
    if not rows:
        return None
    names = [name for name in ("rmse", "explained_variance") if any(name in row for row in rows.values())]
    lines = [
        {"name": name, "numbers": [_number(as_number(row.get(key))) for key in names]}
        for name, row in rows.items()
    ]
    scores = evidence.scores
    ours = [wording.number(scores[key].value) if key in scores else "–" for key in names]
    return {
        "names": [wording.metric_name(name) for name in names],
        "rows": [*lines, {"name": "this network", "numbers": ours}],
    }


def _map(evidence: Evidence) -> dict[str, str] | None:
    codes, rows = evidence.arrays.get("codes"), evidence.arrays.get("code_rows")
    if codes is None or codes.ndim != 2 or len(codes) < 2 or not np.isfinite(codes).all():
        return None
    caption = f"The codes of {wording.number(len(codes))} {evidence.scored} examples"
    if codes.shape[1] == 1:
        told = f"Histogram of codes of one value: {len(codes)} examples from {codes.min():.4g} to {codes.max():.4g}"
        return {
            "picture": histogram(codes[:, 0].astype(np.float64), x_name="the code", alt=told),
            "caption": f"{caption}.",
        }
    labels = evidence.arrays.get("labels")
    if labels is not None and rows is not None and len(rows) == len(codes) and rows.max() < len(labels):
        labels = labels[rows]
    else:
        labels = None
    count = 0 if labels is None else len(np.unique(labels))
    if 1 < count <= len(COLOURS):
        caption += ", coloured by their labels, which the network never saw"
        caption += ": what lies together is alike to it" if codes.shape[1] == 2 else ""
    elif count > len(COLOURS):
        caption += f"; their {count} labels are too many to tell apart by colour"
    if codes.shape[1] > 2:
        caption += (
            f". The plane holds {100 * shown_share(codes):.0f} % of their variance; what lies together in it can be apart in the other "
            f"{codes.shape[1] - 2} directions"
        )
    return {
        "picture": latent_map(
            codes, labels, alt=f"Map of the codes of {len(codes)} examples in {codes.shape[1]} dimensions"
        ),
        "caption": f"{caption}.",
    }


def _samples(evidence: Evidence, budget: int) -> dict[str, Any] | None:
    samples = evidence.arrays.get("samples")
    if samples is None or samples.ndim < 2 or not len(samples) or samples.dtype.kind not in "biuf":
        return None
    shown = None
    if samples.ndim == 4:
        examples = evidence.arrays.get("shown_examples")
        like = samples if examples is None or examples.ndim != 4 else examples
        low, high = display_range(like, like.shape[1] == 3)
        shown = gallery(samples, budget=budget, low=low, high=high)
    rows = (
        []
        if shown
        else [[wording.number(float(f"{v:.4g}")) for v in row.ravel()[:8]] for row in samples[:10]]
    )
    return {
        "panels": shown.panels if shown else (),
        "small": bool(shown and max(shown.width, shown.height) <= 96),
        "statement": shown.statement if shown else "",
        "rows": rows,
        "headers": [] if shown else _headers(evidence, samples)[:8],
        "count": len(samples),
    }


def _surprise(evidence: Evidence) -> dict[str, str] | None:
    values = evidence.arrays.get("surprise")
    if values is None or values.ndim != 1 or values.dtype.kind != "f" or not np.isfinite(values).any():
        return None
    finite = values[np.isfinite(values)].astype(np.float64)
    name = surprise_name(evidence)
    middle, far = np.quantile(finite, [0.5, 0.99])
    alt = f"Histogram of {len(finite)} examples: median {middle:.4g}, 99 % below {far:.4g}, greatest {finite.max():.4g}"
    return {
        "picture": histogram(finite, x_name=name, alt=alt, marks=((float(far), "99 %"),)),
        "caption": f"Half of the {evidence.scored} examples lie below {wording.number(float(f'{middle:.3g}'))}, 99 % below "
        f"{wording.number(float(f'{far:.3g}'))}. What lies far to the right is unlike what the network learned from.",
        "name": name,
    }


def surprise_name(evidence: Evidence) -> str:
    """What the number of `surprise` is."""
    asked = str(evidence.part("objective").get("is") or "").rpartition(".")[2]
    shape = evidence.part("data").get("shape")
    unit = "spreads of its values" if isinstance(shape, list) and len(shape) == 1 else "stored units"
    return {
        "LogLikelihood": "−ln p (nats, stored units)",
        "Adversarial": "minus the discriminator’s score",
    }.get(asked, f"root mean squared error of the reconstruction ({unit})")


def _csv(evidence: Evidence) -> str:
    values, ids = evidence.arrays.get("surprise"), evidence.arrays.get("ids")
    if values is None or ids is None or len(ids) != len(values):
        return ""
    order = np.argsort(-values, kind="stable")[:2000]
    labels = evidence.arrays.get("labels")
    rows = [[evidence.name_of(int(k)), _at(labels, int(k)), float(values[k])] for k in order]
    return data_address(csv_text(["id", "label", "surprise"], rows))


def _at(values: np.ndarray | None, row: int) -> Any:
    return "" if values is None or values.ndim != 1 or not 0 <= row < len(values) else values[row].item()


def _number(value: Any) -> str:
    return wording.number(float(f"{value:.4g}")) if isinstance(value, (int, float)) else "–"
