"""Charts as inline SVG. Colours are the page's variables, so one drawing serves light, dark and paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from hubel.core.types import Interval
from hubel.metrics import ReliabilityBin
from hubel.show.scales import Scale, scale, thin, tick_text

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 84, 30, 40
ROOM = 9.0  # between the middle of a line of text and a curve that does not cross it


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve with its name, which is written at its end; `kind` is a class of the style sheet."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "one"


def lines(
    curves: Sequence[Line],
    *,
    x_name: str,
    y_name: str,
    alt: str,
    log: bool = False,
    level: tuple[float, str] | None = None,
    limits: tuple[float, float] | None = None,
    whole: bool = False,
) -> str:
    """Curves over a common axis; `level` is a horizontal line with its label.

    The vertical axis stays inside `limits`, and with `whole` it covers them.
    """
    curves = [Line(name=c.name, x=x, y=y, kind=c.kind) for c in curves for x, y in [thin(c.x, c.y)]]
    values = [v for c in curves for v in c.y] + ([level[0]] if level else [])
    last = max([1.0, *(v for c in curves for v in c.x if math.isfinite(v))])
    across = Scale(0.0, last, LEFT, WIDTH - RIGHT)
    if limits and whole:
        up = Scale(*limits, HEIGHT - BOTTOM, TOP)
    else:
        up = scale(values, HEIGHT - BOTTOM, TOP, log=log, limits=limits)
    parts = axes(across, up, x_name, y_name, whole_x=True)
    if level:
        y = up(level[0])
        parts.append(f'<path class="level" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        drawn = [[(across(a), up(b)) for a, b in zip(c.x, c.y, strict=True)] for c in curves]
        place, below, anchor = _free_place(y, level[1], drawn)
        parts.append(text(place, below, level[1], anchor, "note"))
    ends = []
    for curve in curves:
        places = [(across(a), up(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        parts.append(f'<path class="line {curve.kind}" d="{path(places)}"/>')
        shown = [p for p in places if not math.isnan(p[1])]
        if shown:
            ends.append((shown[-1][1], shown[-1], curve))
            if len(shown) <= 30:
                parts += [
                    f'<circle class="dot {curve.kind}" cx="{x:.1f}" cy="{y:.1f}" r="1.8"/>' for x, y in shown
                ]
    for y, (end_y, (end_x, _), curve) in zip(_apart([e[0] for e in ends]), ends, strict=True):
        parts.append(f'<circle class="dot {curve.kind}" cx="{end_x:.1f}" cy="{end_y:.1f}" r="3"/>')
        parts.append(text(end_x + 8, y + 4, curve.name, "start", f"label {curve.kind}"))
    return svg(WIDTH, HEIGHT, parts, alt)


def _free_place(
    y: float, label: str, drawn: Sequence[Sequence[tuple[float, float]]]
) -> tuple[float, float, str]:
    """Where the label of a level at `y` is not crossed by a curve, if there is such a place: over or under it, at its right or left end."""
    wide, right = 6.3 * len(label), WIDTH - RIGHT - 4
    best, found = -1.0, (right, y - 6, "end")
    for start, anchor, place in ((right - wide, "end", right), (LEFT + 4, "start", LEFT + 4)):
        across = np.linspace(start, start + wide, 20)
        for middle, baseline in ((y - 10, y - 6), (y + 11, y + 15)):
            clear = 1e9
            for curve in drawn:
                known = np.array([p for p in curve if not math.isnan(p[1])]).reshape(-1, 2)
                inside = across[
                    (across >= known[:, 0].min(initial=1e9)) & (across <= known[:, 0].max(initial=-1e9))
                ]
                if len(inside):
                    clear = min(
                        clear, float(np.abs(np.interp(inside, known[:, 0], known[:, 1]) - middle).min())
                    )
            if baseline < HEIGHT - BOTTOM and clear > best and best < ROOM:
                best, found = clear, (place, baseline, anchor)
    return found


def reliability_diagram(bins: Sequence[ReliabilityBin], *, alt: str) -> str:
    """Accuracy against confidence: a cross a bin (its range, Wilson's interval), and the diagonal."""
    right = WIDTH - 24
    low = min([b.low for b in bins] + [b.accuracy.low for b in bins] + [0.9])
    across = Scale(low, 1.0, LEFT, right)
    up = Scale(low, 1.0, HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, "confidence: the probability given", "share that is right")
    parts.append(f'<path class="level" d="M{across(low):.1f} {up(low):.1f}L{across(1):.1f} {up(1):.1f}"/>')
    middle = low + 0.55 * (1 - low)
    parts.append(text(across(middle) + 12, up(middle) + 12, "says what it knows", "start", "note"))
    for b in bins:
        x, y = across(b.confidence), up(b.accuracy.value)
        parts.append(
            f'<path class="whisker" d="M{x:.1f} {up(b.accuracy.low):.1f}V{up(b.accuracy.high):.1f}'
            f'M{across(b.low):.1f} {y:.1f}H{across(b.high):.1f}"/><circle class="dot one" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        )
    return svg(WIDTH, HEIGHT, parts, alt)


def predicted_against_true(
    targets: np.ndarray, values: np.ndarray, *, name: str, alt: str, bars: np.ndarray | None = None
) -> str:
    """A point an example, with its error bar of one standard deviation where there is one, and the diagonal on which they should lie."""
    targets, values, bars = _some(targets, values, bars)
    both = scale([*targets.tolist(), *values.tolist()], 0, 1)
    across = Scale(both.low, both.high, LEFT, WIDTH - 24)
    up = Scale(both.low, both.high, HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, f"true {name}", f"predicted {name}")
    parts.append(
        f'<path class="level" d="M{across(both.low):.1f} {up(both.low):.1f}L{across(both.high):.1f} {up(both.high):.1f}"/>'
    )
    parts += _whiskers(across, up, targets, values, bars)
    parts += _points([(across(a), up(b)) for a, b in zip(targets, values, strict=True)])
    return svg(WIDTH, HEIGHT, parts, alt)


def residuals(
    targets: np.ndarray,
    values: np.ndarray,
    *,
    name: str,
    unit: str = "",
    alt: str,
    bars: np.ndarray | None = None,
) -> str:
    """Predicted minus true against predicted, with the line of no error."""
    targets, values, bars = _some(targets, values, bars)
    across = scale(values.tolist(), LEFT, WIDTH - 24)
    up = scale([*(values - targets).tolist(), 0.0], HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, f"predicted {name}", f"predicted − true{f' ({unit})' if unit else ''}")
    parts.append(f'<path class="level" d="M{LEFT} {up(0):.1f}H{WIDTH - 24}"/>')
    parts += _whiskers(across, up, values, values - targets, bars)
    parts += _points([(across(a), up(b)) for a, b in zip(values, values - targets, strict=True)])
    return svg(WIDTH, HEIGHT, parts, alt)


def coverage_diagram(shares: Sequence[float], found: Sequence[Interval], *, alt: str) -> str:
    """How often the truth lies within the central intervals that should hold it so often; a whisker is the 95 % interval."""
    across, up = Scale(0.0, 1.0, LEFT, WIDTH - 24), Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    parts = axes(across, up, "share that the error bars should hold", "share that they hold")
    parts.append(f'<path class="level" d="M{across(0):.1f} {up(0):.1f}L{across(1):.1f} {up(1):.1f}"/>')
    parts.append(text(across(0.3) - 12, up(0.3) - 22, "too wide", "end", "note"))
    parts.append(text(across(0.5) + 16, up(0.5) + 26, "too narrow", "start", "note"))
    for share, score in zip(shares, found, strict=True):
        x, y = across(share), up(score.value)
        if not math.isnan(score.low):
            parts.append(f'<path class="whisker" d="M{x:.1f} {up(score.low):.1f}V{up(score.high):.1f}"/>')
        parts.append(f'<circle class="dot one" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    return svg(WIDTH, HEIGHT, parts, alt)


def strip(low: float, value: float, high: float) -> str:
    """A score from 0 to 1 as a small line with a dot, for a table's row."""
    if any(math.isnan(v) for v in (low, value, high)):
        return ""
    return (
        '<svg class="strip" viewBox="0 0 120 12" aria-hidden="true"><path class="axis" d="M0 6H120"/>'
        f'<path class="span" d="M{120 * low:.1f} 6H{120 * high:.1f}"/>'
        f'<circle class="dot one" cx="{120 * value:.1f}" cy="6" r="3"/></svg>'
    )


def score_line(low: float, value: float, high: float, marks: Sequence[tuple[float, str]], *, alt: str) -> str:
    """The score between 0 and 100 %, its interval, and what would be reached without learning."""
    across = Scale(0, 1, 12, 708)
    parts = ['<path class="axis" d="M12 40H708"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = across(share)
        parts.append(f'<path class="axis" d="M{x:.1f} 40v5"/>')
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(
            text(
                x if 0 < share < 1 else x + (-8 if share == 0 else 8),
                62,
                f"{100 * share:.0f} %",
                anchor,
                "tick",
            )
        )
    taken = -math.inf
    for share, name in sorted(marks):
        x = across(share)
        parts.append(f'<path class="mark" d="M{x:.1f} 26v20"/>')
        place = max(x - 4, taken)
        parts.append(text(place, 18, name, "start", "note"))
        taken = place + 7.2 * len(name) + 12
    parts.append(f'<path class="span" d="M{across(low):.1f} 40H{max(across(high), across(low) + 1):.1f}"/>')
    parts.append(f'<circle class="dot one" cx="{across(value):.1f}" cy="40" r="6"/>')
    return svg(720, 70, parts, alt, "score-line")


def rows_of_scores(
    rows: Sequence[tuple[str, float, float, float]], *, name: str, alt: str, percent: bool = False
) -> str:
    """A line a row: its name, and a dot at the value on the line from low to high; the last row, that of all together, is set apart."""
    step, left, right = 22, 96, 720 - 24
    factor = 100.0 if percent else 1.0
    values = [factor * v for _, *numbers in rows for v in numbers]
    bottom = TOP + step * len(rows) + 10
    across = scale(values, left, right)
    parts = [f'<path class="axis" d="M{left} {bottom}H{right}"/>']
    for value in across.ticks():
        x = across(value)
        parts.append(f'<path class="rule" d="M{x:.1f} {TOP - 8}V{bottom}"/>')
        parts.append(text(x, bottom + 17, tick_text(value), "middle", "tick"))
    for place, (label, low, value, high) in enumerate(rows):
        last = place == len(rows) - 1
        y = TOP + step * place + (8 if last else 0)
        kind = "two" if last else "one"
        ends = [across(factor * v) for v in (low, high)]
        if not any(math.isnan(end) for end in ends):
            parts.append(f'<path class="span {kind}" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>')
        parts.append(f'<circle class="dot {kind}" cx="{across(factor * value):.1f}" cy="{y}" r="4"/>')
        parts.append(text(left - 12, y + 4, label, "end", f"label {kind}" if last else "tick"))
    parts.append(text(right, bottom + 34, f"{name} (%)" if percent else name, "end", "name"))
    return svg(720, bottom + 40, parts, alt, "score-line")


def axes(across: Scale, up: Scale, x_name: str, y_name: str, *, whole_x: bool = False) -> list[str]:
    """Horizontal rules at the ticks, tick labels, and the axes' names with their units."""
    left, right, bottom = across.start, across.end, up.start
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(f'<path class="rule" d="M{left:.0f} {y:.1f}H{right:.0f}"/>')
        parts.append(text(left - 8, y + 4, tick_text(value), "end", "tick"))
    parts.append(f'<path class="axis" d="M{left:.0f} {bottom:.0f}H{right:.0f}"/>')
    for value in across.ticks():
        if whole_x and value != int(value):
            continue
        x = across(value)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom:.0f}v4"/>')
        parts.append(text(x, bottom + 17, tick_text(value), "middle", "tick"))
    parts.append(text(right, bottom + 34, x_name, "end", "name"))
    parts.append(text(8, 14, y_name, "start", "name"))
    return parts


def svg(width: float, height: float, parts: Iterable[str], alt: str, kind: str = "chart") -> str:
    """The drawing, with what it shows in words."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(alt)}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, content: str, anchor: str, kind: str) -> str:
    """A line of text; `content` is escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def path(places: Sequence[tuple[float, float]]) -> str:
    """A path through the places; it is interrupted where one is NaN."""
    steps, pen = [], "M"
    for x, y in places:
        if math.isnan(x) or math.isnan(y):
            pen = "M"
            continue
        steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(steps)


def _apart(places: Sequence[float], gap: float = 15) -> list[float]:
    """Places of labels, moved apart until they do not overlap."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    over = max([0.0, *(m - (HEIGHT - BOTTOM) for m in moved)])
    return [m - over for m in moved]


def _some(
    targets: np.ndarray, values: np.ndarray, bars: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """At most 1000 of the pairs (200 with error bars), evenly by row, the largest errors among them."""
    most = 1000 if bars is None else 200
    if len(targets) <= most:
        return targets, values, bars
    worst = np.argsort(-np.abs(values - targets), kind="stable")[: most // 10]
    rows = np.union1d(np.linspace(0, len(targets) - 1, most - len(worst)).astype(int), worst)
    return targets[rows], values[rows], None if bars is None else bars[rows]


def _whiskers(across: Scale, up: Scale, x: np.ndarray, y: np.ndarray, bars: np.ndarray | None) -> list[str]:
    """Vertical bars of ± `bars`, cut off at the ends of the axis."""
    if bars is None:
        return []
    steps = "".join(
        f"M{across(a):.1f} {up(max(b - s, up.low)):.1f}V{up(min(b + s, up.high)):.1f}"
        for a, b, s in zip(x.tolist(), y.tolist(), bars.tolist(), strict=True)
    )
    return [f'<path class="whisker thin" d="{steps}"/>']


def _points(places: Iterable[tuple[float, float]]) -> list[str]:
    steps = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    return [f'<path class="points" d="{steps}"/>']
