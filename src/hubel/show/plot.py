"""Plots of numbers against numbers as inline SVG: lines and points on linear or logarithmic axes, and regions of a plane."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hubel.show.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, axes, path, svg, text
from hubel.show.scales import Scale, scale, thin

COLOURS = ("one", "two", "three", "four", "five", "six")  # classes of the style sheet
BLUE, RED = (62, 118, 190), (200, 98, 58)  # readable on white and on black
SIDE = 300  # of a square plot


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Numbers `y` [N] against `x` [N] under a name, which is written at the end; an empty name is not written.

    `kind` is one of `COLOURS`.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    kind: str = "one"
    marks: Literal["line", "dashed", "points", "both"] = "line"


def plot(
    curves: Sequence[Curve],
    *,
    x_name: str,
    y_name: str,
    alt: str,
    log_x: bool = False,
    log_y: bool = False,
    level: tuple[float, str] | None = None,
    y_limits: tuple[float, float] | None = None,
    square: bool = False,
) -> str:
    """Curves over common axes, named with their units; `level` is a horizontal line with its label.

    Values that an axis has no place for (NaN, or not positive where it is logarithmic) interrupt a line. The vertical axis stays
    inside `y_limits`. With `square` both axes have the same scale.

    >>> drawing = plot([Curve(name="a", x=[1, 10], y=[2, 4])], x_name="width", y_name="error (m)", alt="a rises", log_x=True)
    >>> drawing.count('class="name"'), 'aria-label="a rises"' in drawing
    (2, True)
    """
    shown = [(c, *thin([float(v) for v in c.x], [float(v) for v in c.y])) for c in curves]
    x_values = [v for _, xs, _ in shown for v in xs]
    y_values = [v for _, _, ys in shown for v in ys] + ([level[0]] if level else [])
    width = SIDE + 40 if square else WIDTH
    longest = max((len(c.name) for c in curves), default=0)
    right = width - 12 if square else width - (18 + 7.5 * longest)
    bottom = TOP + right - LEFT if square else HEIGHT - BOTTOM
    if square:
        both = scale([*x_values, *y_values], 0, 1)
        across, up = Scale(both.low, both.high, LEFT, right), Scale(both.low, both.high, bottom, TOP)
    else:
        across = scale(x_values, LEFT, right, log=log_x, margin=0.02)
        up = scale(y_values, bottom, TOP, log=log_y, limits=y_limits)
    parts = axes(across, up, x_name, y_name)
    if level:
        y = up(level[0])
        parts.append(f'<path class="level" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(text(right - 4, y - 5, level[1], "end", "note"))
    ends, drawn = [], []
    for curve, xs, ys in shown:
        places = [(across(a), up(b)) for a, b in zip(xs, ys, strict=True)]
        drawn += _drawn(places, curve)
        seen = [p for p in places if not (math.isnan(p[0]) or math.isnan(p[1]))]
        if seen and curve.name:
            ends.append((curve, *max(seen)))
    parts += _inside(drawn, right, bottom) if y_limits else drawn
    heights = _apart([y for *_, y in ends], bottom)
    for (curve, *_), y in zip(ends, heights, strict=True):
        parts.append(text(right + 8, y + 4, curve.name, "start", f"label {curve.kind}"))
    return svg(width, bottom + BOTTOM, parts, alt, "chart square" if square else "chart")


def regions(
    values: np.ndarray,
    *,
    low: float,
    high: float,
    x_name: str,
    y_name: str,
    alt: str,
    points: Sequence[Curve] = (),
) -> str:
    """Values [H, W] from -1 (red) over 0 (clear) to 1 (blue) on the square from `low` to `high`, its first row at the bottom."""
    right = SIDE + 28
    bottom = TOP + right - LEFT
    across, up = Scale(low, high, LEFT, right), Scale(low, high, bottom, TOP)
    address = _picture(values)
    parts = [
        f'<image x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{bottom - TOP}" preserveAspectRatio="none" href="{address}"/>',
        *axes(across, up, x_name, y_name),
    ]
    for curve in points:
        parts += _drawn(
            [(across(float(a)), up(float(b))) for a, b in zip(curve.x, curve.y, strict=True)], curve
        )
    return svg(SIDE + 40, bottom + BOTTOM, parts, alt, "chart square")


def _inside(drawn: list[str], right: float, bottom: float, margin: float = 4) -> list[str]:
    """What is drawn, cut off beyond the axes: a picture in the picture shows nothing outside itself."""
    box = f"{LEFT - margin} {TOP - margin} {right - LEFT + 2 * margin:g} {bottom - TOP + 2 * margin:g}"
    x, y, width, height = box.split()
    return [f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}">', *drawn, "</svg>"]


def _drawn(places: list[tuple[float, float]], curve: Curve) -> list[str]:
    parts = []
    if curve.marks != "points":
        dashed = " dashed" if curve.marks == "dashed" else ""
        parts.append(f'<path class="line {curve.kind}{dashed}" d="{path(places)}"/>')
    if curve.marks in ("points", "both"):
        parts += [
            f'<circle class="dot {curve.kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.3"/>'
            for x, y in places
            if not (math.isnan(x) or math.isnan(y))
        ]
    return parts


def _apart(places: Sequence[float], bottom: float, gap: float = 15) -> list[float]:
    """Heights of labels, moved apart until they do not overlap, and none below the axis."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, least = list(places), -math.inf
    for i in order:
        moved[i] = least = max(moved[i], least + gap)
    most = bottom
    for i in reversed(order):
        moved[i] = min(moved[i], most)
        most = moved[i] - gap
    return moved


def _picture(values: np.ndarray) -> str:
    """A PNG whose colour shows the sign and whose opacity shows the size, so that it reads on any ground."""
    from PIL import Image

    blue = np.asarray(values)[::-1, :, None] > 0
    alpha = np.round(170 * np.clip(np.abs(values[::-1]), 0, 1)).astype(np.uint8)
    pixels = np.dstack([np.where(blue, BLUE, RED).astype(np.uint8), alpha])
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
