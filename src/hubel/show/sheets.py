"""Sheets of small pictures as Matplotlib figures: arrays become colours in one of three ways, and lie in rows and columns under their names.

    natural   a picture: one channel is grey, three are red, green and blue, from the darkest to the lightest value
    signed    weights: zero is the middle grey, so that what is wanted is light and what is not is dark
    measured  numbers: a colour scale with its bar; with negative ones, red is above zero and blue below

Figures are made without pyplot, on white, so that they can be printed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hubel.show.figures import INK, RULE, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["natural", "signed"]
SIGNED_COLOURS, POSITIVE_COLOURS = "RdBu_r", "viridis"


def blank(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")


def colours(
    picture: np.ndarray, kind: Kind, limits: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """A picture [C, H, W] (or [H, W]) as [H, W, 3] between 0 and 1. Of other numbers of channels than 1 and 3, their mean is shown.

    `limits` are black and white, one value a channel or one for all; by default the range that holds 99 % of the values.

    >>> colours(np.array([[[-1.0, 0.0, 1.0]]]), "signed")[0, :, 0].tolist()
    [0.0, 0.5, 1.0]
    """
    values = np.asarray(picture, np.float64)
    values = values[None] if values.ndim == 2 else values
    if len(values) not in (1, 3):
        values = values.mean(axis=0, keepdims=True)
    if kind == "signed":
        high = np.abs(values).max()
        shown = 0.5 + 0.5 * values / (high or 1.0)
    else:
        low, high = limits if limits is not None else np.quantile(values, [0.005, 0.995])
        low, high = (np.asarray(v, np.float64).reshape(-1, 1, 1) for v in (low, high))
        shown = (values - low) / np.where(high > low, high - low, 1.0)
    shown = np.clip(shown, 0.0, 1.0)
    return np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, -1)


def sheet(
    pictures: Sequence[np.ndarray],
    names: Sequence[str] = (),
    *,
    title: str = "",
    columns: int | None = None,
    side: float = 0.95,
    frames: Sequence[str] = (),
) -> Figure:
    """Pictures [H, W, 3] beside each other, each under its name; `side` in inches."""
    count = len(pictures)
    columns = columns or min(count, 8 if count <= 32 else 12)
    rows = math.ceil(count / columns)
    figure = blank(side * columns + 0.2, (side + (0.22 if names else 0)) * rows + (0.35 if title else 0.1))
    for place, picture in enumerate(pictures):
        ax = figure.add_subplot(rows, columns, place + 1)
        bare(ax, picture)
        if names:
            ax.set_title(short(names[place]), fontsize=7, color=INK, pad=2, parse_math=False)
        if frames:
            ax.spines[:].set_visible(True)
            ax.spines[:].set(color=frames[place], linewidth=1.6)
    head(figure, title)
    return figure


def bare(ax: Axes, picture: np.ndarray, **how: Any) -> Any:
    """A picture without axes, in a thin frame."""
    drawn = ax.imshow(picture, interpolation="nearest", **how)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set(color=RULE, linewidth=0.6)
    return drawn


def measured(
    figure: Figure,
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    columns: int,
    unit: str,
    positive: bool | None = None,
) -> None:
    """Maps [H, W] of numbers on one colour scale, with its bar."""
    rows = math.ceil(len(maps) / columns)
    values = np.concatenate([np.ravel(m) for m in maps])
    low, high, scheme = scale_of(values, positive)
    axes, drawn = [], None
    for place, (values_here, name) in enumerate(zip(maps, names, strict=True)):
        ax = figure.add_subplot(rows, columns, place + 1)
        drawn = bare(ax, values_here, cmap=scheme, vmin=low, vmax=high)
        ax.set_title(short(name), fontsize=7, color=INK, pad=2, parse_math=False)
        axes.append(ax)
    bar(figure, drawn, axes, unit)


def scale_of(values: np.ndarray, positive: bool | None = None) -> tuple[float, float, str]:
    """Least and greatest value and the colour scheme for numbers: from zero, or symmetric around it where some are negative."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0, POSITIVE_COLOURS
    if positive if positive is not None else finite.min() >= 0:
        return 0.0, float(np.quantile(finite, 0.999)) or 1.0, POSITIVE_COLOURS
    high = float(np.quantile(np.abs(finite), 0.999)) or 1.0
    return -high, high, SIGNED_COLOURS


def bar(figure: Figure, drawn: Any, axes: Any, unit: str, **how: Any) -> None:
    """The colour bar of what was drawn."""
    made = figure.colorbar(drawn, ax=axes, **({"fraction": 0.03, "pad": 0.01, "aspect": 30} | how))
    made.ax.tick_params(labelsize=7, color=SOFT, labelcolor=SOFT)
    made.outline.set_visible(False)
    made.set_label(unit, fontsize=8, color=SOFT)


def head(figure: Figure, title: str) -> None:
    """The sentence above a figure, in as many lines as it needs."""
    if title:
        lines = textwrap.wrap(title, max(24, int(15.5 * figure.get_figwidth())))
        figure.suptitle("\n".join(lines), fontsize=8.5, color=SOFT, x=0.01, ha="left", parse_math=False)


def named_axes(ax: Axes, x_name: str, y_name: str) -> None:
    """Axes in the style of the other figures."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(SOFT)
    ax.tick_params(color=SOFT, labelcolor=SOFT, labelsize=8, length=3)
    ax.set_xlabel(x_name, color=SOFT, fontsize=8.5, parse_math=False)
    ax.set_ylabel(y_name, color=SOFT, fontsize=8.5, parse_math=False)


def short(name: str, most: int = 22) -> str:
    """At most so many characters: the end of the name is what tells units apart.

    >>> short("unit 5 of features.denseblock3.conv2", 20)
    'unit 5 of …ck3.conv2'
    """
    name = str(name)
    if len(name) <= most:
        return name
    front = most // 2
    return f"{name[:front]}…{name[len(name) - (most - front - 1) :]}"
