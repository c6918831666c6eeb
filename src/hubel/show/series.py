"""Series and forecasts as drawings: a panel a feature over common steps, with names and units on the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.show import charts, wording
from hubel.show.charts import Line
from hubel.show.evidence import Evidence, as_number
from hubel.show.scales import Scale, scale, thin, tick_text

WIDTH, LEFT, RIGHT = 480, 52, 12
PANELS = (170, 110, 90)  # height of one, of each of two, of each of more
HEAD, FOOT = 18, 36
CLOCK = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
MOST_FEATURES = 4
MOST_FORECASTS = 3  # target columns drawn


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The horizontal axis: its name, and how much of it a step is."""

    name: str
    step: float = 1.0


def examples(evidence: Evidence) -> dict[str, Any] | None:
    """The section of example series: some of the scored part, evenly chosen; None where none are stored, or forecasts are shown instead."""
    series, rows = evidence.arrays.get("example_series"), evidence.arrays.get("example_rows")
    if not _is_series(series, rows) or evidence.predicted is None or is_forecast(evidence):
        return None
    assert series is not None and rows is not None
    lengths = evidence.arrays.get("example_lengths")
    targets, _ = evidence.predicted
    cards = [
        {
            "drawing": drawing(evidence, without_padding(series, lengths, place), evidence.ids[int(row)]),
            "id": evidence.ids[int(row)],
            "true": _said(evidence, targets[int(row)]),
        }
        for place, row in enumerate(rows)
        if 0 <= int(row) < len(targets)
    ]
    hidden = series.shape[2] - MOST_FEATURES
    return {
        "cards": cards,
        "note": f"The first {MOST_FEATURES} of {series.shape[2]} features." if hidden > 0 else "",
    }


def worst(evidence: Evidence, place: int, row: int) -> str:
    """The drawing of a worst mistake (number `place` of those stored, row `row` of the predictions); empty where it is not stored."""
    series, rows = evidence.arrays.get("worst_series"), evidence.arrays.get("worst_rows")
    if not _is_series(series, rows) or place >= len(series):  # type: ignore[arg-type]
        return ""
    assert series is not None
    if is_forecast(evidence):
        return forecast_drawing(evidence, np.asarray(series[place], np.float64), row)
    return drawing(
        evidence, without_padding(series, evidence.arrays.get("worst_lengths"), place), evidence.ids[row]
    )


def is_forecast(evidence: Evidence) -> bool:
    """Whether the next values of a series were asked for."""
    return evidence.part("data", "reading").get("kind") == "forecast"


def forecast(evidence: Evidence) -> dict[str, Any] | None:
    """The section of forecasts: the error by steps ahead, and some forecasts beside the truth; None where there are none."""
    if not is_forecast(evidence) or evidence.predicted is None:
        return None
    series, rows = evidence.arrays.get("example_series"), evidence.arrays.get("example_rows")
    drawn = []
    if _is_series(series, rows):
        assert series is not None and rows is not None
        drawn = [
            {
                "drawing": forecast_drawing(evidence, np.asarray(one, np.float64), int(row)),
                "id": evidence.ids[int(row)],
            }
            for one, row in zip(series, rows, strict=True)
            if 0 <= int(row) < len(evidence.predicted[0])
        ]
    return {"by_step": _errors_by_step(evidence), "cards": drawn, "naive": _naive_name(evidence)}


def drawing(evidence: Evidence, values: np.ndarray, name: str, names: Sequence[str] | None = None) -> str:
    """A series [L, F], a panel a feature, called by `names` [F] (default: those of the data)."""
    names = channels(evidence, values.shape[1]) if names is None else names
    axis = _axis(evidence)
    x = np.arange(len(values)) * axis.step
    panels = [
        (names[k], [Line(name="", x=x.tolist(), y=values[:, k].astype(float).tolist())])
        for k in range(min(values.shape[1], MOST_FEATURES))
    ]
    told = "; ".join(f"{label} from {min(c[0].y):.3g} to {max(c[0].y):.3g}" for label, c in panels)
    return _panels(panels, axis, f"Series {name} of {len(values)} steps: {told}.")


def forecast_drawing(evidence: Evidence, window: np.ndarray, row: int) -> str:
    """The end of a window [L, F], the values that followed it, the forecast, and the naive one."""
    assert evidence.predicted is not None
    targets, values = (array[row] for array in evidence.predicted)
    columns, horizon = _targets(evidence)
    if not columns or len(targets) != horizon * len(columns) or max(columns) >= window.shape[1]:
        return ""
    naive = evidence.arrays.get("naive_values")
    back = min(len(window), max(3 * horizon, 30))
    axis = _axis(evidence)
    past, ahead = np.arange(1 - back, 1) * axis.step, np.arange(1, horizon + 1) * axis.step
    names = channels(evidence, window.shape[1])
    panels = []
    for place, column in enumerate(columns[:MOST_FORECASTS]):
        before = window[-back:, column]

        def line(
            name: str, found: np.ndarray, kind: str, place: int = place, last: float = before[-1]
        ) -> Line:
            y = [last, *found.reshape(horizon, len(columns))[:, place].tolist()]
            return Line(name=name, x=[past[-1], *ahead.tolist()], y=y, kind=kind)

        curves = [
            Line(name="", x=past.tolist(), y=before.tolist(), kind="truth"),
            line("truth", targets, "truth"),
        ]
        if naive is not None and naive.shape == evidence.predicted[0].shape:
            curves.append(line("naive", naive[row], "two"))
        panels.append((names[column], [*curves, line("forecast", values, "one")]))
    error = float(np.sqrt(np.square(values - targets).mean()))
    alt = f"Forecast of {horizon} steps from {evidence.ids[row]}: root mean squared error {error:.3g}."
    return _panels(panels, Axis(name=f"{axis.name}, from the last one seen", step=axis.step), alt)


def _errors_by_step(evidence: Evidence) -> list[dict[str, str]]:
    """Root mean squared error of network and naive forecast by steps ahead, a chart a target column."""
    assert evidence.predicted is not None
    targets, values = evidence.predicted
    columns, horizon = _targets(evidence)
    if not columns or targets.shape[1] != horizon * len(columns) or horizon < 2:
        return []
    naive = evidence.arrays.get("naive_values")
    names = channels(evidence, max(columns) + 1)
    steps = list(range(1, horizon + 1))
    found = []
    for place, column in enumerate(columns[:MOST_FORECASTS]):

        def errors(said: np.ndarray, place: int = place) -> list[float]:
            squares = np.square(said - targets).mean(axis=0).reshape(horizon, len(columns))
            return np.sqrt(squares[:, place]).tolist()

        curves = [Line(name="network", x=steps, y=errors(values), kind="one")]
        if naive is not None and naive.shape == targets.shape:
            curves.append(Line(name="naive", x=steps, y=errors(naive), kind="two"))
        lowest = min(min(curve.y) for curve in curves)
        told = "; ".join(
            f"{c.name} {c.y[0]:.3g} at the first step, {c.y[-1]:.3g} at the last" for c in curves
        )
        picture = charts.lines(
            curves,
            x_name="steps ahead",
            y_name=f"root mean squared error of {names[column]}",
            limits=(0.0, math.inf) if lowest >= 0 else None,
            alt=f"Error by steps ahead: {told}.",
        )
        found.append({"picture": picture, "caption": f"Root mean squared error by steps ahead: {told}."})
    return found


def _naive_name(evidence: Evidence) -> str:
    season = evidence.arrays.get("naive_season")
    if season is None or not len(season):
        return ""
    steps = int(season[0])
    return "the last value" if steps == 1 else f"the value one season ({steps} steps) before"


def _panels(panels: Sequence[tuple[str, list[Line]]], axis: Axis, alt: str) -> str:
    panel = PANELS[min(len(panels), len(PANELS)) - 1]
    height = len(panels) * (HEAD + panel) + FOOT
    everywhere = [v for _, curves in panels for curve in curves for v in (curve.x[0], curve.x[-1])]
    low, high = min(everywhere), max(everywhere)
    labelled = any(curve.name for _, curves in panels for curve in curves)
    across = Scale(low, high if high > low else low + 1, LEFT, WIDTH - (62 if labelled else RIGHT))
    parts: list[str] = []
    for number, (name, curves) in enumerate(panels):
        top = number * (HEAD + panel) + HEAD
        up = scale([v for curve in curves for v in curve.y], top + panel - 6, top + 4)
        for value in up.ticks(4 if len(panels) == 1 else 2):
            y = up(value)
            parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{across.end:.0f}"/>')
            parts.append(charts.text(LEFT - 8, y + 4, tick_text(value), "end", "tick"))
        parts.append(charts.text(8, top - 4, name, "start", "name"))
        ends = []
        for curve in curves:
            x, y = thin(curve.x, curve.y)
            places = [(across(a), up(b)) for a, b in zip(x, y, strict=True)]
            parts.append(f'<path class="line {curve.kind}" d="{charts.path(places)}"/>')
            if len(places) == 1:
                parts.append(
                    f'<circle class="dot {curve.kind}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
                )
            if curve.name:
                ends.append((places[-1][1], curve))
        lowest = -math.inf
        for y, curve in sorted(ends, key=lambda end: end[0]):
            lowest = max(lowest + 13, y)
            parts.append(charts.text(across.end + 5, lowest + 4, curve.name, "start", f"label {curve.kind}"))
    bottom = len(panels) * (HEAD + panel)
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{across.end:.0f}"/>')
    for value in across.ticks():
        parts.append(f'<path class="axis" d="M{across(value):.1f} {bottom}v4"/>')
        parts.append(charts.text(across(value), bottom + 17, tick_text(value), "middle", "tick"))
    parts.append(charts.text(across.end, bottom + 33, axis.name, "end", "name"))
    return charts.svg(WIDTH, height, parts, alt, "chart series")


def _axis(evidence: Evidence) -> Axis:
    """Time in its unit where the steps are even and the file said their times, else steps."""
    time = evidence.part("data", "reading", "time")
    step = as_number(time.get("step"))
    if not time or time.get("feature") or not step:
        return Axis(name="step")
    unit = str(time.get("unit") or "")
    if unit == "s":  # as a clock would say it
        step, unit = next((step / size, word) for size, word in CLOCK if step >= size or size == 1)
    return Axis(name=f"{time.get('name') or 'time'}{f' ({unit})' if unit else ''}", step=step)


def channels(evidence: Evidence, num: int) -> list[str]:
    """The names of the features, with their units; by their places where they have none."""
    names = evidence.part("data").get("channels")
    names = [str(name) for name in names] if isinstance(names, list) else []
    return [names[k] if k < len(names) else "value" if num == 1 else f"feature {k + 1}" for k in range(num)]


def _targets(evidence: Evidence) -> tuple[list[int], int]:
    """The numbers of the columns that are forecast, and how many steps."""
    reading = evidence.part("data", "reading")
    columns, horizon = reading.get("target_columns"), as_number(reading.get("horizon"))
    if (
        not isinstance(columns, list)
        or horizon is None
        or not all(isinstance(k, int) and k >= 0 for k in columns)
    ):
        return [], 0
    return columns, int(horizon)


def _is_series(series: np.ndarray | None, rows: np.ndarray | None) -> bool:
    return (
        series is not None
        and rows is not None
        and series.ndim == 3
        and 0 not in series.shape
        and series.dtype.kind in "biuf"
        and rows.dtype.kind in "iu"
        and len(series) <= len(rows)
    )


def without_padding(series: np.ndarray, lengths: np.ndarray | None, place: int) -> np.ndarray:
    """Series number `place` [L_i, F] of [m, L, F]."""
    one = np.nan_to_num(series[place].astype(np.float64))
    if lengths is None or len(lengths) <= place or lengths.dtype.kind not in "iu":
        return one
    return one[: max(1, int(lengths[place]))]


def _said(evidence: Evidence, target: Any) -> str:
    if evidence.kind == "classes":
        return evidence.classes[int(target)]
    if evidence.kind == "labels":
        return ", ".join(name for name, on in zip(evidence.classes, target, strict=True) if on) or "none"
    return ", ".join(wording.number(float(f"{v:.4g}")) for v in np.atleast_1d(target)[:4])
