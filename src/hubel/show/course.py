"""How the fit went: loss, score, learning rate and speed by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hubel.show import charts, wording
from hubel.show.charts import Line
from hubel.show.downloads import curves_csv, data_address
from hubel.show.evidence import Evidence, as_number


def course(evidence: Evidence) -> dict[str, Any] | None:
    """The section of the learning curves; None where no epoch is recorded."""
    if not evidence.epochs:
        return None
    figures = [_loss(evidence), *_metrics(evidence), _learning_rate(evidence), _gradient(evidence)]
    figures = [figure for figure in figures if figure]
    if len(figures) % 2 and (speed := _speed(evidence)):
        figures.append(speed)
    return {"figures": figures, "csv": data_address(curves_csv(evidence)), "sentence": _sentence(evidence)}


def column(evidence: Evidence, *path: str) -> list[float]:
    """A number of each epoch, NaN where there is none."""
    found = []
    for row in evidence.epochs:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        number = as_number(value)
        found.append(math.nan if number is None else number)
    return found


def metric_names(evidence: Evidence) -> list[str]:
    """Metrics that were measured on the validation part."""
    rows = [row["validation"] for row in evidence.epochs if isinstance(row.get("validation"), dict)]
    return list(dict.fromkeys(name for row in rows for name in row))


def loss_unit(evidence: Evidence) -> str:
    """What a loss is counted in: nats for probabilities."""
    if _is_adversarial(evidence):
        return "discriminator’s loss on real examples (nats)"
    if evidence.kind == "itself":
        return "loss (of scaled examples)"
    if evidence.kind == "symbols":
        return "loss (nats per symbol)"
    if evidence.kind == "masks":
        return "loss (nats per pixel)"
    if evidence.kind == "boxes":
        return "loss (of classes and boxes)"
    return "loss (nats)" if evidence.kind in ("classes", "labels") else "loss (of scaled targets)"


def _is_adversarial(evidence: Evidence) -> bool:
    return str(evidence.part("objective").get("is") or "").endswith(".Adversarial")


def _loss(evidence: Evidence) -> dict[str, str] | None:
    epochs = column(evidence, "epoch")
    curves = [
        Line(name=name, x=epochs, y=values, kind=kind)
        for name, key, kind in (("train", "loss", "one"), ("validation", "validation_loss", "two"))
        if not _empty(values := column(evidence, key))
    ]
    if not curves:
        return None
    start = evidence.initial_loss
    known = "can not tell" if _is_adversarial(evidence) else "before learning"
    level = (start, f"{known}: {wording.number(float(f'{start:.3g}'))}") if start and start > 0 else None
    log = all(v > 0 for curve in curves for v in curve.y if not math.isnan(v))
    picture = charts.lines(
        curves, x_name="epoch", y_name=loss_unit(evidence), log=log, level=level, alt=_told("Loss", curves)
    )
    caption = f"Loss by epoch{', on a logarithmic axis' if log else ''}."
    if _is_adversarial(evidence):
        caption = (
            "The discriminator’s loss on real examples by epoch: at ln 2 (dashed) it can not tell them from made ones. It does not say how good "
            "the samples are; the Fréchet distance does."
        )
    elif level:
        caption += (
            " The dashed line is the loss of a network that knows nothing yet; a healthy fit begins near it."
        )
    return {"picture": picture, "caption": caption}


def _metrics(evidence: Evidence) -> list[dict[str, str]]:
    """The first metric of the validation part; the others are in the table of numbers."""
    epochs, names = column(evidence, "epoch"), metric_names(evidence)
    found = []
    for name in names[:1]:
        values = column(evidence, "validation", name)
        if _empty(values):
            continue
        share = wording.is_share(name)
        shown = [100 * v for v in values] if share else values
        unit = " (%)" if share else ""
        curve = Line(name="validation", x=epochs, y=shown, kind="two")
        picture = charts.lines(
            [curve],
            x_name="epoch",
            y_name=f"{wording.metric_name(name)}{unit}",
            limits=(0.0, 100.0) if share else None,
            alt=_told(f"Validation {wording.metric_name(name)}{unit}", [curve]),
        )
        found.append(
            {
                "picture": picture,
                "caption": f"{wording.begun(wording.metric_name(name))} on the validation part{_views(evidence)}.",
            }
        )
    return found


def _views(evidence: Evidence) -> str:
    """What differs from the score at the end, where something does."""
    net = evidence.about.get("net")
    averaged = isinstance(net, dict) and net.get("name") == "hubel.nets.symmetrized"
    return (
        ", each picture seen once, as it is; the scores at the end are means over the declared views"
        if averaged
        else ""
    )


def _learning_rate(evidence: Evidence) -> dict[str, str] | None:
    return _single(
        evidence, "learning_rate", "learning rate", "The learning rate at the end of each epoch.", floor=True
    )


def _gradient(evidence: Evidence) -> dict[str, str] | None:
    return _single(
        evidence, "grad_norm", "gradient norm", "Length of the whole gradient before clipping.", log=True
    )


def _speed(evidence: Evidence) -> dict[str, str] | None:
    return _single(
        evidence, "examples_per_second", "examples per second", "How fast the fit went.", floor=True
    )


def _single(
    evidence: Evidence, key: str, name: str, caption: str, *, log: bool = False, floor: bool = False
) -> dict[str, str] | None:
    values = column(evidence, key)
    if _empty(values):
        return None
    curve = Line(name="", x=column(evidence, "epoch"), y=values, kind="three")
    limits = (0.0, 1.1 * max(v for v in values if not math.isnan(v))) if floor else None
    picture = charts.lines(
        [curve],
        x_name="epoch",
        y_name=name,
        log=log,
        limits=limits,
        whole=floor,
        alt=_told(wording.begun(name), [curve]),
    )
    return {"picture": picture, "caption": caption}


def _sentence(evidence: Evidence) -> str:
    told = [wording.plural(len(evidence.epochs), "epoch") + " recorded"]
    seconds = as_number(evidence.about.get("seconds"))
    if seconds is not None:
        told.append(f"{wording.duration(seconds)} in all")
    resumed = as_number(evidence.about.get("resumed"))
    if resumed:
        told.append(f"resumed {wording.plural(int(resumed), 'time')}")
    sentence = ", ".join(told) + "."
    stopped = str(evidence.about.get("stopped") or "").strip().rstrip(".")
    return f"{sentence} Stopped: {stopped}." if stopped else sentence


def _told(name: str, curves: Sequence[Line]) -> str:
    parts = []
    for curve in curves:
        shown = [v for v in curve.y if not math.isnan(v)]
        who = f"{curve.name} " if curve.name else ""
        parts.append(
            f"{who}from {shown[0]:.3g} to {shown[-1]:.3g} (lowest {min(shown):.3g}, highest {max(shown):.3g})"
        )
    epochs = len(curves[0].x)
    return f"{name} over {wording.plural(epochs, 'epoch')}: {'; '.join(parts)}."


def _empty(values: Sequence[float]) -> bool:
    return all(math.isnan(v) for v in values)
