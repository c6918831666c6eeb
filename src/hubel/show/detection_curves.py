"""Drawings of a detector's curves: precision against recall, and recall against false alarms."""

from __future__ import annotations

import numpy as np

from hubel.metrics.detection_curves import Curve
from hubel.show.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Scale, axes, path, svg, text

RIGHT = WIDTH - 24


def precision_against_recall(curve: Curve, *, at: tuple[float, float] | None = None) -> str:
    """The curve with its interval as a band; `at` is the (recall, precision) of the threshold from which on objects count as found."""
    across, up = Scale(0, 1, LEFT, RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, curve.x_name, curve.y_name)
    parts += _banded(curve, [across(x) for x in curve.x], up)
    if at is not None:
        x, y = across(at[0]), up(at[1])
        parts.append(f'<circle class="dot two" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        side = "end" if at[0] > 0.5 else "start"
        parts.append(text(x + (-9 if side == "end" else 9), y + 15, "threshold", side, "note"))
    return svg(WIDTH, HEIGHT, parts, "precision against recall")


def recall_against_false_alarms(curve: Curve) -> str:
    """The curve with its interval as a band; false alarms on a logarithmic axis."""
    across = Scale(float(curve.x[0]), float(curve.x[-1]), LEFT, RIGHT, log=True)
    up = Scale(0, 1, HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, curve.x_name, curve.y_name)
    parts += _banded(curve, [across(x) for x in curve.x], up)
    return svg(WIDTH, HEIGHT, parts, "recall against false alarms an image")


def _banded(curve: Curve, places: list[float], up: Scale) -> list[str]:
    """The band of the interval, and the curve over it."""
    there = np.isfinite(curve.low) & np.isfinite(curve.high)
    parts = []
    if there.any():
        ends = [(x, up(v)) for x, v, ok in zip(places, curve.high, there, strict=True) if ok]
        ends += [(x, up(v)) for x, v, ok in zip(places, curve.low, there, strict=True) if ok][::-1]
        parts.append(f'<path class="band" d="{path(ends)}Z"/>')
    line = [(x, up(v)) for x, v in zip(places, curve.y, strict=True)]
    return [*parts, f'<path class="line one" d="{path(line)}"/>']
