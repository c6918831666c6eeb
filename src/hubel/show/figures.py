"""The same evidence as Matplotlib figures, for papers and slides: `curves(run).savefig("curves.png")`.

Figures are made without pyplot: nothing global is changed, no window opens, and nothing has to be closed.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubel.metrics import confusion_matrix
from hubel.show import wording
from hubel.show.course import column, loss_unit, metric_names
from hubel.show.evidence import Evidence
from hubel.show.examples import worst_rows
from hubel.show.pictures import levels
from hubel.show.scales import Scale, tick_text
from hubel.show.verdict import target_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE, BLUE, RED = "#23221f", "#66635b", "#e3e0d7", "#2b5f9e", "#b2502a"
Readable = Evidence | os.PathLike[str] | str


def curves(run: Readable) -> Figure:
    """Training and validation loss by epoch on a logarithmic axis, and the validation metric beside it.

    Raises `ValueError` where no epoch is recorded, and what `Evidence.read` raises.
    """
    evidence = _evidence(run)
    if not evidence.epochs:
        raise ValueError(f"{evidence.folder} records no epoch: curves.jsonl is missing or empty")
    names = [
        name for name in metric_names(evidence) if not np.isnan(column(evidence, "validation", name)).all()
    ]
    figure, axes = _figure(1 + bool(names), (4.6, 3.2))
    epochs = column(evidence, "epoch")
    _loss(axes[0], evidence, epochs)
    for ax, name in zip(axes[1:], names, strict=False):
        share = wording.is_share(name)
        values = np.array(column(evidence, "validation", name)) * (100 if share else 1)
        ax.plot(epochs, values, color=RED, linewidth=1.6)
        _end_label(ax, epochs, values, "validation", RED)
        _name(ax, "epoch", f"{wording.metric_name(name)}{' (%)' if share else ''}")
    return figure


def confusion(run: Readable, *, most: int = 100) -> Figure:
    """The confusion matrix: shade is the share of the true class, numbers are counts (up to 20 classes).

    Raises `ValueError` above `most` classes, where no figure is readable, and where no class predictions are recorded (real
    targets, several labels); and what `Evidence.read` raises.
    """
    evidence = _evidence(run)
    if evidence.kind != "classes" or evidence.predicted is None:
        raise ValueError(f"{evidence.folder} holds no class predictions, so it has no confusion matrix")
    classes = evidence.classes
    if len(classes) > most:
        raise ValueError(f"there are {len(classes)} classes; a confusion figure is readable up to {most}")
    matrix = confusion_matrix(*evidence.predicted, len(classes))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(12.0, max(3.6, 0.42 * len(classes)))
    figure, (ax,) = _figure(1, (side + 0.8, side))
    right = np.eye(len(classes), dtype=bool)
    colours = np.where(right[..., None], _blend(BLUE, 0.9 * shares), _blend(RED, 0.9 * np.sqrt(shares)))
    ax.imshow(colours, interpolation="nearest")
    size = 9 if len(classes) <= 20 else 5
    if len(classes) <= 20:
        for true, said in np.argwhere(matrix):
            colour = "white" if shares[true, said] > 0.5 else INK
            ax.text(
                said, true, str(matrix[true, said]), ha="center", va="center", fontsize=size, color=colour
            )
    short = [name if len(name) <= 18 else name[:17] + "…" for name in classes]
    turned = 90 if max(map(len, short)) > 3 else 0
    ax.set_xticks(range(len(classes)), short, rotation=turned, fontsize=size, parse_math=False)
    ax.set_yticks(range(len(classes)), short, fontsize=size, parse_math=False)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted", color=SOFT)
    ax.set_ylabel("true", color=SOFT)
    return figure


def mistakes(run: Readable, *, most: int = 12) -> Figure:
    """The stored pictures of the worst mistakes (at most `most`), with true and predicted values.

    Raises `ValueError` where none are stored or they are no pictures, and what `Evidence.read` raises.
    """
    evidence = _evidence(run)
    pictures, rows = evidence.arrays.get("worst_pictures"), evidence.arrays.get("worst_rows")
    if evidence.predicted is None or evidence.kind == "labels" or pictures is None or rows is None:
        raise ValueError(f"{evidence.folder} holds no pictures of its mistakes")
    count = min(most, len(pictures), len(rows))
    shown = levels(pictures[:count]) if pictures.ndim == 4 and count else None
    if shown is None:
        raise ValueError(
            f"worst_pictures in {evidence.folder} has shape {pictures.shape}; expected (m, C, H, W)"
        )
    targets, values = evidence.predicted
    columns = min(6, count)
    figure, axes = _figure(count, (1.5, 1.75), columns=columns)
    for ax, panels, row in zip(axes, shown, worst_rows(evidence), strict=False):
        ax.imshow(panels[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_axis_off()
        true, said = _said(evidence, targets[row]), _said(evidence, values[row])
        ax.set_title(f"{true} → {said}", fontsize=8, color=INK, parse_math=False)
    return figure


def predicted(run: Readable, *, output: int = 0) -> Figure:
    """Predicted against true values of one output (number `output`, from 0), and the line on which they should lie.

    Raises `ValueError` where no real values are recorded, `IndexError` where there is no such output, and what `Evidence.read`
    raises.
    """
    evidence = _evidence(run)
    if evidence.kind != "values" or evidence.predicted is None:
        raise ValueError(f"{evidence.folder} holds no predictions of real values")
    targets, values = (part[:, output] for part in evidence.predicted)
    figure, (ax,) = _figure(1, (4.2, 3.8))
    ends = [min(targets.min(), values.min()), max(targets.max(), values.max())]
    ax.plot(ends, ends, color=SOFT, linestyle="--", linewidth=0.9)
    ax.scatter(targets, values, s=9, color=BLUE, alpha=0.5, linewidths=0)
    unit = f" ({target_unit(evidence)})" if target_unit(evidence) else ""
    _name(ax, f"true{unit}", f"predicted{unit}")
    return figure


def _evidence(run: Readable) -> Evidence:
    return run if isinstance(run, Evidence) else Evidence.read(Path(run))


def _figure(
    count: int, size: tuple[float, float], *, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = columns or count
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=160, layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for ax in axes:
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(SOFT)
        ax.tick_params(color=SOFT, labelcolor=SOFT, labelsize=9, length=3, which="both", left=False)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, axes


def _loss(ax: Axes, evidence: Evidence, epochs: list[float]) -> None:
    ends: list[tuple[float, str, np.ndarray, str]] = []
    for name, key, colour in (("train", "loss", BLUE), ("validation", "validation_loss", RED)):
        values = np.array(column(evidence, key))
        if not np.isnan(values).all():
            ax.plot(epochs, values, color=colour, linewidth=1.6)
            ends.append((float(values[np.isfinite(values)][-1]), name, values, colour))
    start = evidence.initial_loss
    if start and start > 0:
        ax.axhline(start, color=SOFT, linestyle="--", linewidth=0.9)
        note = f"before learning: {start:.3g}"
        ax.annotate(
            note, (1, start), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
            ha="right", fontsize=8, color=SOFT,
        )  # fmt: skip
    _name(ax, "epoch", loss_unit(evidence))
    if any((values <= 0).any() for _, _, values, _ in ends):  # a density may be above 1: its loss is negative
        for _, name, values, colour in ends:
            _end_label(ax, epochs, values, name, colour)
        return
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ends.sort(key=lambda end: end[0])
    close = (
        len(ends) == 2 and ends[0][0] > 0 and math.log(ends[1][0] / ends[0][0]) < 0.07 * math.log(high / low)
    )
    for place, (_, name, values, colour) in enumerate(ends):
        _end_label(ax, epochs, values, name, colour, shift=(2 * place - 1) * 5 if close else 0)
    ticks = Scale(low, high, 0, 1, log=True).ticks()
    ax.set_yticks(ticks, [tick_text(tick) for tick in ticks])
    ax.set_yticks([], minor=True)


def _end_label(
    ax: Axes, x: list[float], y: np.ndarray, name: str, colour: str, *, shift: float = 0.0
) -> None:
    last = np.flatnonzero(np.isfinite(y))[-1]
    ax.plot([x[last]], [y[last]], "o", color=colour, markersize=3.5)
    ax.annotate(
        name, (x[last], y[last]), xytext=(6, -3 + shift), textcoords="offset points", color=colour, fontsize=9,
        annotation_clip=False,
    )  # fmt: skip


def _name(ax: Axes, x_name: str, y_name: str) -> None:
    ax.set_xlabel(x_name, loc="right", color=SOFT, fontsize=9, parse_math=False)
    ax.set_title(y_name, loc="left", color=SOFT, fontsize=9, parse_math=False)


def _blend(colour: str, share: np.ndarray) -> np.ndarray:
    """`colour` over a pale ground, [K, K, 3]."""
    full, ground = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for c in (colour, "#f4f2eb"))
    return ground + (full - ground) * share[..., None]


def _said(evidence: Evidence, value: np.ndarray) -> str:
    return (
        evidence.classes[int(value)]
        if evidence.kind == "classes"
        else wording.number(float(f"{value[0]:.4g}"))
    )
