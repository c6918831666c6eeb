"""One recurrent unit over a text: every character on a ground of its activation, with the characters that the network expects next below it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from hubel.explain.units_over_text import TextUnits, UnitSearch
from hubel.show.figures import BLUE, INK, RULE, SOFT
from hubel.show.sheets import bar, blank, head, named_axes, scale_of
from hubel.show.text import symbol_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SYMBOLS = 720
ROWS_BELOW = 3
CELL = (0.105, 0.2)  # inches
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
:root {{ color-scheme: light dark; --ink: #23221f; --soft: #66635b; --ground: #ffffff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9e6dd; --soft: #a29e93; --ground: #1b1a18; }} }}
@media print {{ :root {{ --ink: #000000; --soft: #444444; --ground: #ffffff; }} }}
body {{ font: 15px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
p {{ color: var(--soft); max-width: 46rem; }}
.text {{ font: 14px/1.15 ui-monospace, monospace; display: flex; flex-wrap: wrap; row-gap: .7rem; }}
.text span {{ display: inline-flex; flex-direction: column; align-items: center; min-width: 1.05ch; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
.text b {{ font-weight: 600; color: #17160f; width: 100%; text-align: center; padding: .12rem 0; white-space: pre; }}
.text i {{ font-style: normal; font-size: 11px; white-space: pre; }}
.text hr {{ width: 100%; border: 0; margin: 0; height: 0; }}
.bar {{ width: 16rem; height: .8rem; border-radius: 2px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
.ends {{ display: flex; justify-content: space-between; width: 16rem; color: var(--soft); font-size: 13px; }}
</style><h1>{title}</h1><p>{story}</p><div class="bar" style="background: linear-gradient(90deg, {ramp})"></div>
<div class="ends"><span>{low}</span><span>{middle}</span><span>{high}</span></div><div class="text">{text}</div></html>
"""


def text_units(found: TextUnits, *, unit: int | None = None, width: int = 80) -> Figure:
    """The text in lines of at most `width` symbols, its first 720; below each symbol the likeliest ones to follow it, the fainter the less likely.

    `unit` is one of those that were looked at; by default the first.

    Raises `ValueError` for a unit that was not looked at.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = _of(found, unit)[:MOST_SYMBOLS]
    low, high, scheme = scale_of(values)
    norm, colours = Normalize(low, high), colormaps[scheme]
    names = [symbol_name(s) for s in found.symbols[:MOST_SYMBOLS]]
    lines = _lines(names, width)
    below = min(ROWS_BELOW, found.expected.shape[1])
    columns = max(len(line) for line in lines)
    step = below + 1.5
    figure = blank(max(columns * CELL[0] + 1.1, 5.0), len(lines) * step * CELL[1] * 0.72 + 0.8)
    ax = figure.add_subplot()
    for row, line in enumerate(lines):
        top = row * step
        shades = np.full((1, len(line), 4), 1.0)
        for place, number in enumerate(line):
            shade = shades[0, place] = colours(norm(values[number]))
            dark = float(np.dot(shade[:3], (0.3, 0.59, 0.11))) < 0.5
            _letter(ax, place, top, names[number], "white" if dark else INK)
            for rank in range(below):
                likely = float(found.probabilities[number, rank])
                _letter(
                    ax,
                    place,
                    top + rank + 1,
                    symbol_name(found.expected[number, rank]),
                    SOFT,
                    0.25 + 0.75 * likely,
                )
        ax.imshow(
            shades,
            extent=(-0.5, len(line) - 0.5, top + 0.5, top - 0.5),
            aspect="auto",
            interpolation="nearest",
        )
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(len(lines) * step - 0.5, -0.5)
    ax.set_axis_off()
    bar(figure, ScalarMappable(norm, colours), ax, "activation", fraction=0.02)
    number = found.units[0] if unit is None else unit
    cut = "" if len(found) <= MOST_SYMBOLS else f", the first {MOST_SYMBOLS} of {len(found):,} symbols"
    head(
        figure, f"{found.of} of unit {number} of {found.layer}{cut}; below each symbol, what is expected next"
    )
    return figure


def text_units_html(found: TextUnits, *, unit: int | None = None) -> str:
    """The same as a page of its own, of the whole text, for light and dark screens and for paper.

    Raises `ValueError` for a unit that was not looked at.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, to_hex

    values = _of(found, unit)
    low, high, scheme = scale_of(values)
    norm, colours = Normalize(low, high), colormaps[scheme]
    pieces = []
    for number, symbol in enumerate(found.symbols):
        shade = colours(norm(values[number]))
        dark = float(np.dot(shade[:3], (0.3, 0.59, 0.11))) < 0.5
        ink = ";color:#fff" if dark else ""
        below = "".join(
            f'<i style="opacity:{0.25 + 0.75 * float(p):.2f}">{escape(symbol_name(s))}</i>'
            for s, p in zip(found.expected[number], found.probabilities[number], strict=True)
        )
        pieces.append(
            f'<span title="{values[number]:.3f}"><b style="background:{to_hex(shade)}{ink}">{escape(symbol_name(symbol))}</b>{below}</span>'
        )
        if "\n" in symbol:
            pieces.append("<hr>")
    chosen = found.units[0] if unit is None else unit
    return PAGE.format(
        title=escape(f"{found.of} of unit {chosen} of {found.layer}"),
        story=escape(
            f"Each symbol stands on a ground of the unit's activation behind it. Below it are the {found.expected.shape[1]} symbols that the "
            f"network thinks likeliest to follow, the fainter the less likely. {found}."
        ),
        ramp=", ".join(to_hex(colours(at)) for at in np.linspace(0, 1, 9)),
        low=f"{low:.2f}",
        middle=f"{(low + high) / 2:.2f}",
        high=f"{high:.2f}",
        text="".join(pieces),
    )


def unit_search(found: UnitSearch) -> Figure:
    """The correlations of the units with the property, and the line that the best unit reaches by chance."""
    figure = blank(5.0, 0.32 * len(found.units) + 1.2)
    ax = figure.add_subplot()
    places = np.arange(len(found.units))[::-1]
    ax.barh(places, found.correlations, color=BLUE, height=0.6)
    for sign in (-1, 1):
        ax.axvline(sign * found.chance, color=SOFT, linestyle="--", linewidth=0.9)
    ax.axvline(0, color=RULE, linewidth=0.8)
    names = [f"unit {u} of {layer}" for u, layer in zip(found.units, found.layers, strict=True)]
    ax.set_yticks(places, names, fontsize=8, parse_math=False)
    ax.set_xlim(-1, 1)
    named_axes(
        ax, f"correlation with {found.name} (dashed: the best of {found.searched} units by chance)", ""
    )
    return figure


def _of(found: TextUnits, unit: int | None) -> np.ndarray:
    if unit is not None and unit not in found.units:
        raise ValueError(f"unit {unit} was not looked at: there are {', '.join(map(str, found.units))}")
    return found.activations[:, 0 if unit is None else found.units.index(unit)]


def _lines(names: list[str], width: int) -> list[list[int]]:
    """Numbers of symbols, line by line; a line ends at `width` or behind a line end."""
    if width < 1:
        raise ValueError(f"width is {width}; expected at least 1 symbol a line")
    lines: list[list[int]] = [[]]
    for number, name in enumerate(names):
        lines[-1].append(number)
        if len(lines[-1]) == width or "↵" in name:
            lines.append([])
    return [line for line in lines if line]


def _letter(ax: Axes, x: float, y: float, letter: str, colour: str, alpha: float = 1.0) -> None:
    ax.text(
        x, y, letter[:4], ha="center", va="center_baseline", fontsize=7 if len(letter) == 1 else 4, family="monospace", color=colour,
        alpha=alpha, parse_math=False,
    )  # fmt: skip
