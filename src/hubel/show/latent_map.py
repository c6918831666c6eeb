"""Codes as points of a plane, coloured by what stands beside the examples; and how unusual the examples are, as a histogram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hubel.show.charts import axes, svg, text
from hubel.show.scales import Scale, scale

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 720, 560, 60, 34, 44, 150
MOST_POINTS = 4_000
COLOURS = (
    "#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#9c755f", "#76b7b2", "#d4a800", "#ff7ca3", "#7f7f7f",
    "#1f3b73", "#a04000", "#7b1fa2", "#1b7837", "#e7298a", "#4d4d4d", "#008b8b", "#8b8000", "#c71585", "#556b2f",
)  # fmt: skip
"""As many labels as a reader can tell apart; the first ten are Tableau's."""


def plane(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Codes [N, Z] as points [N, 2] and the names of the axes: themselves, or their first two principal components.

    >>> plane(np.eye(3))[1][0]
    'first principal component of 3 code values (50 % of their variance)'
    """
    size = codes.shape[1]
    codes = np.asarray(codes, np.float64)
    if size == 1:
        return np.column_stack([codes[:, 0], np.zeros(len(codes))]), ("the code", "")
    if size == 2:
        return codes, ("first value of the code", "second value of the code")
    centred = codes - codes.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(-values)[:2]
    shares = values[order] / max(values.sum(), 1e-300)
    names = tuple(
        f"{word} principal component of {size} code values ({100 * share:.0f} % of their variance)"
        for word, share in zip(("first", "second"), shares, strict=True)
    )
    return centred @ vectors[:, order], (names[0], names[1])


def shown_share(codes: np.ndarray) -> float:
    """The share of the variance of codes [N, Z] that the plane of their first two principal components holds.

    >>> round(shown_share(np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])), 3)
    0.833
    """
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(np.asarray(codes, np.float64).T)))
    return float(values[-2:].sum() / max(values.sum(), 1e-300))


def latent_map(codes: np.ndarray, labels: np.ndarray | None, *, alt: str) -> str:
    """A drawing of codes [N, Z], a point an example, with a legend where there are few enough labels [N]."""
    points, (x_name, y_name) = plane(codes)
    if len(points) > MOST_POINTS:
        rows = np.linspace(0, len(points) - 1, MOST_POINTS).astype(int)
        points, labels = points[rows], None if labels is None else labels[rows]
    names = [] if labels is None else np.unique(labels).tolist()
    coloured = 1 < len(names) <= len(COLOURS)
    right = WIDTH - (LEGEND if coloured else 24)
    across = scale(points[:, 0].tolist(), LEFT, right)
    up = scale(points[:, 1].tolist(), HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, x_name, y_name)
    if not coloured or labels is None:
        parts.append(_dots(points, across, up, "currentColor"))
        return svg(WIDTH, HEIGHT, parts, alt, "chart map")
    for name, colour in zip(names, COLOURS, strict=False):
        parts.append(_dots(points[labels == name], across, up, colour))
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        y = TOP + 14 + 20 * place
        parts.append(f'<circle cx="{right + 22}" cy="{y - 4}" r="5" fill="{colour}"/>')
        short = str(name) if len(str(name)) <= 17 else f"{str(name)[:16]}…"
        parts.append(text(right + 33, y, short, "start", "key"))
    return svg(WIDTH, HEIGHT, parts, alt, "chart map")


def histogram(values: np.ndarray, *, x_name: str, alt: str, marks: Sequence[tuple[float, str]] = ()) -> str:
    """How many examples have which value; `marks` are vertical lines with their labels."""
    values = values[np.isfinite(values)]
    width, height, left, right, top, bottom = 480, 300, 52, 24, 34, 44
    counts, edges = np.histogram(values, bins=min(40, max(8, int(np.sqrt(len(values))))))
    across = Scale(float(edges[0]), float(edges[-1]), left, width - right)
    up = Scale(0.0, 1.06 * float(counts.max()), height - bottom, top)
    parts = axes(across, up, x_name, "examples")
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            a, b, y = across(float(low)), across(float(high)), up(float(count))
            parts.append(
                f'<rect class="right" x="{a + 0.5:.1f}" y="{y:.1f}" width="{max(b - a - 1, 0.5):.1f}" height="{height - bottom - y:.1f}" '
                'fill-opacity="0.75"/>'
            )
    for value, name in marks:
        x = across(value)
        parts.append(f'<path class="mark" d="M{x:.1f} {top}V{height - bottom}"/>')
        parts.append(text(x + 4, top + 10, name, "start", "note"))
    return svg(width, height, parts, alt)


def _dots(points: np.ndarray, across: Scale, up: Scale, colour: str) -> str:
    steps = "".join(f"M{across(float(x)):.1f} {up(float(y)):.1f}h0" for x, y in points)
    return f'<path class="points" style="stroke:{colour};opacity:.6;stroke-width:4" d="{steps}"/>'
