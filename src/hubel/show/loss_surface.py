"""The loss along one direction as a curve, along two as a surface seen from above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubel.explain.loss_landscape import Landscape
from hubel.show.figures import BLUE, RED, RULE, SOFT
from hubel.show.scales import tick_text
from hubel.show.sheets import bar, blank, head, named_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 20.0  # greatest over least loss, from which on the scale is logarithmic


def landscape(found: Landscape) -> Figure:
    """The losses of `hubel.explain.loss_landscape` or `loss_line`, with the network in the middle (the other one at 1).

    The scale is logarithmic where losses are positive and differ by more than a factor of 20.

    Raises `ValueError` where no loss is finite.
    """
    finite = found.losses[np.isfinite(found.losses)]
    if not len(finite):
        raise ValueError("no loss of this landscape is finite: take a smaller reach")
    log = bool(finite.min() > 0 and finite.max() > WIDE * finite.min())
    figure = blank(5.4, 4.2 if found.losses.ndim == 2 else 3.2)
    ax = figure.add_subplot()
    if found.losses.ndim == 1:
        _curve(ax, found, log)
    else:
        _surface(figure, ax, found, log)
    head(figure, f"over {found.examples:,} examples, batch norm statistics: {found.statistics}")
    return figure


def _curve(ax: Axes, found: Landscape, log: bool) -> None:
    ax.plot(found.alphas, found.losses, color=BLUE, linewidth=1.6, marker="o", markersize=3)
    marks = ((0.0, "this network"), (1.0, "the other")) if found.line else ((0.0, "this network"),)
    for place, name in marks:
        ax.axvline(place, color=SOFT, linestyle="--", linewidth=0.9)
        ax.annotate(
            name, (place, 1), xycoords=("data", "axes fraction"), xytext=(4, -10), textcoords="offset points",
            fontsize=8, color=SOFT,
        )  # fmt: skip
    if log:
        ax.set_yscale("log")
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    ax.set_axisbelow(True)
    step = (
        "share of the way from one network to the other"
        if found.line
        else "step along the direction (filter norms)"
    )
    named_axes(ax, step, "loss")


def _surface(figure: Figure, ax: Axes, found: Landscape, log: bool) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    assert found.betas is not None
    losses = np.ma.masked_invalid(found.losses)
    low, high = float(losses.min()), float(losses.max())
    if high <= low:
        high = low + 1.0
    levels = np.geomspace(low, high, 25) if log else np.linspace(low, high, 25)
    drawn = ax.contourf(
        found.alphas,
        found.betas,
        losses,
        levels=levels,
        cmap="viridis",
        norm=LogNorm(low, high) if log else None,
    )
    lines = ax.contour(found.alphas, found.betas, losses, levels=levels[2::4], colors="white", linewidths=0.6)
    ax.clabel(lines, fontsize=6.5, fmt=lambda value: f"{value:.3g}")
    ax.plot([0], [0], marker="+", color=RED, markersize=9, markeredgewidth=1.6)
    ax.set_aspect("equal")
    named_axes(ax, "step along direction 1 (filter norms)", "step along direction 2 (filter norms)")
    ticks = levels[::6]
    bar(
        figure, drawn, ax, "loss", fraction=0.05, pad=0.02, ticks=ticks,
        format=FuncFormatter(lambda value, _: tick_text(float(f"{value:.3g}"))),
    )  # fmt: skip
