"""Figures of what is inside a network: each takes what a function of `hubel.explain` answered, and answers with a Matplotlib figure.

inside.filters(explain.filters(net)).savefig("filters.png")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hubel.explain.circuit import Circuit
from hubel.explain.dream import Dream
from hubel.explain.feature_maps import FeatureMaps
from hubel.explain.filters import Filters
from hubel.explain.maximize import Maximized
from hubel.explain.most_exciting import MostExciting
from hubel.explain.receptive_field import ReceptiveField
from hubel.explain.templates import Templates
from hubel.show.code_plane import codes_map
from hubel.show.figures import BLUE, INK, RED, RULE, SOFT
from hubel.show.loss_surface import landscape
from hubel.show.pictures import display_range
from hubel.show.sheets import (
    POSITIVE_COLOURS,
    bar,
    bare,
    blank,
    colours,
    head,
    measured,
    named_axes,
    scale_of,
    sheet,
    short,
)
from hubel.show.unit_text import text_units, text_units_html, unit_search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "circuit",
    "codes_map",
    "dream",
    "feature_maps",
    "filters",
    "gallery",
    "landscape",
    "most_exciting",
    "receptive_field",
    "templates",
    "text_units",
    "text_units_html",
    "unit_search",
]

PALE = "#9fcaff"


def filters(found: Filters, *, most: int = 64) -> Figure:
    """The first `most` filters as pictures: in colours where they read three channels, in signed grey where one; of deeper ones each
    of the first filters is a row of its kernels over the first channels, on one colour scale.

    Raises `ValueError` for weights that are not [F, C, h, w], [F, C, l] or [F, C].
    """
    weights = found.weights
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    if weights.ndim == 2:
        return _matrix(weights, found)
    if weights.ndim != 4:
        raise ValueError(f"weights of shape {list(weights.shape)} are no pictures: expected [F, C, h, w]")
    num, channels = weights.shape[:2]
    shown = min(num, most)
    title = f"{found.layer}: {'all' if shown == num else f'the first {shown} of'} {num} filters"
    if channels in (1, 3):
        pictures = [colours(w, "signed") for w in weights[:shown]]
        return sheet(pictures, [str(k) for k in range(shown)], title=f"{title}; zero is grey", side=0.6)
    rows, columns = min(num, 8), min(channels, 16)
    figure = blank(0.5 * columns + 0.9, 0.55 * rows + 0.5)
    maps = [weights[r, c] for r in range(rows) for c in range(columns)]
    names = [f"{r} ← {c}" for r in range(rows) for c in range(columns)]
    measured(figure, maps, names, columns=columns, unit="weight", positive=False)
    head(
        figure,
        f"{found.layer}: filters 0 to {rows - 1} of {num}, over channels 0 to {columns - 1} of {channels}",
    )
    return figure


def _matrix(weights: np.ndarray, found: Filters) -> Figure:
    figure = blank(6.4, 3.6)
    ax = figure.add_subplot()
    low, high, scheme = scale_of(weights, positive=False)
    drawn = ax.imshow(weights, cmap=scheme, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    named_axes(ax, "what the layer reads", "unit")
    bar(figure, drawn, ax, "weight")
    head(figure, str(found))
    return figure


def feature_maps(found: FeatureMaps, *, example: int = 0, most: int = 64) -> Figure:
    """The first `most` maps of one example, on one colour scale.

    Raises `ValueError` for an example that is not there, and for answers that are not maps [N, C, H, W] or steps [N, C, L].
    """
    if not 0 <= example < len(found):
        raise ValueError(f"there are {len(found)} examples, 0 to {len(found) - 1}; received {example}")
    maps = found.maps[example]
    if maps.ndim == 2:
        maps = maps[:, None, :]
    if maps.ndim != 3:
        raise ValueError(f"{found.layer} answers {list(found.maps.shape)}: expected maps [N, C, H, W]")
    shown = min(len(maps), most)
    columns = min(shown, 8 if shown <= 32 else 12)
    figure = blank(0.85 * columns + 0.9, 1.02 * math.ceil(shown / columns) + 0.4)
    measured(figure, list(maps[:shown]), [str(k) for k in range(shown)], columns=columns, unit="activation")
    more = "" if shown == len(maps) else f", the first {shown}"
    head(figure, f"{found}{more}")
    return figure


def templates(found: Templates, *, most: int = 12) -> Figure:
    """Filters above, the patches that excite them most below, and the cosine between both."""
    shown = min(len(found), most)
    figure = blank(0.85 * shown + 0.8, 2.5)
    for place in range(shown):
        for row, picture in enumerate((found.filters[place], found.patches[place])):
            ax = figure.add_subplot(2, shown, row * shown + place + 1)
            bare(ax, colours(picture, "signed" if row == 0 else "natural"))
            if row == 0:
                ax.set_title(f"filter {place}", fontsize=7, color=INK, pad=2)
            else:
                ax.set_xlabel(f"cos {found.cosine[place]:.2f}", fontsize=7, color=INK)
            if place == 0:
                ax.set_ylabel(("filter", "best patch")[row], fontsize=8, color=SOFT)
    head(figure, f"{found.layer}: each filter and the patch that excites it most (1 is the same pattern)")
    return figure


def receptive_field(found: ReceptiveField, *, picture: np.ndarray | None = None) -> Figure:
    """Where the input acts on the unit in the middle: the effective field, the box of theory (solid) and that measured (dashed).

    `picture` [C, H, W] is drawn below them. Raises `ValueError` where the input is no picture or signal.
    """
    from matplotlib.patches import Rectangle

    sizes = found.inputs[-len(found.box) :]
    if len(sizes) not in (1, 2):
        raise ValueError(
            f"inputs of shape {found.inputs} have {len(sizes)} axes of positions: expected 1 or 2"
        )
    height, width = (1, sizes[0]) if len(sizes) == 1 else sizes
    figure = blank(4.6, 3.9 if len(sizes) == 2 else 2.0)
    ax = figure.add_subplot()
    if picture is not None:
        ax.imshow(
            colours(picture, "natural"),
            interpolation="nearest",
            aspect="auto" if len(sizes) == 1 else "equal",
        )
    if found.effective is not None:
        share = found.effective.reshape(height, width) / found.effective.max()
        shade = np.clip(np.sqrt(share), 0, 1) if picture is not None else None
        drawn = ax.imshow(
            share, cmap=POSITIVE_COLOURS, vmin=0, vmax=1, alpha=shade, aspect="auto" if len(sizes) == 1 else "equal",
            interpolation="nearest",
        )  # fmt: skip
        bar(figure, drawn, ax, "mean |gradient|, relative", fraction=0.045, pad=0.02)
    else:
        ax.set_aspect("auto" if len(sizes) == 1 else "equal")
    for box, style, colour, name in (
        (found.box, "-", RED, "theory"),
        (found.measured, (0, (3, 3)), PALE, "measured"),
    ):
        if box is None:
            continue
        (top, bottom), (left, right) = ((0, 0), box[0]) if len(box) == 1 else box
        ax.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.4, label=name,
            )
        )  # fmt: skip
    ax.set_xlim(-0.5 - 0.02 * width, width - 0.5 + 0.02 * width)
    ax.set_ylim(height - 0.5 + 0.02 * height, -0.5 - 0.02 * height)
    named_axes(ax, "column" if len(sizes) == 2 else "position", "row" if len(sizes) == 2 else "")
    ax.legend(fontsize=7, frameon=True, framealpha=0.85, edgecolor="none", loc="lower right")
    head(figure, str(found))
    return figure


def gallery(
    found: Maximized,
    *,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
    features: Sequence[str] | None = None,
    steps_first: bool = False,
) -> Figure:
    """What excites each unit most, each picture over its own range with zero, the mean of scaled inputs, as the middle grey; or from black to white of
    `limits`.

    Signals [M, C, L] (with `steps_first` [M, L, C]) are lines, rows [M, F] bars, with the names of their `features`; of volumes the planes in the
    middle and a quarter before and behind it are drawn.

    Raises `ValueError` where these are nothing of the kind.
    """
    names = [str(c) for c in found.channels] if found.channels is not None else list(found.names)
    title = f"what excites units of {found.layer} most" if found.layer else "what excites it most"
    title = f"{title} ({found.steps} steps from {found.start})"
    pictures = found.pictures
    if pictures.ndim == 5:
        depth = pictures.shape[2]
        planes = sorted({depth // 4, depth // 2, depth - 1 - depth // 4})
        names = [f"{name}, plane {plane}" for name in names for plane in planes]
        pictures = np.stack([volume[:, plane] for volume in pictures for plane in planes])
    if pictures.ndim == 4:
        return sheet(
            [colours(p, "natural", limits or _around_zero(p)) for p in pictures],
            names,
            title=title,
            columns=min(len(pictures), 8) if found.pictures.ndim == 4 else len(pictures) // len(found),
            side=1.15 if len(pictures) > 3 else 2.6,
        )
    if pictures.ndim == 2:
        return _as_bars(pictures, names, title, features)
    if pictures.ndim != 3:
        raise ValueError(f"pictures have shape {list(pictures.shape)}: expected [M, C, H, W]")
    figure = blank(5.2, 1.5 * len(found) + 0.7)
    for place, picture in enumerate(pictures):
        ax = figure.add_subplot(len(found), 1, place + 1)
        ax.plot(picture if steps_first else picture.T, linewidth=1.1, label=features)
        named_axes(ax, "step" if place == len(found) - 1 else "", "scaled value")
        ax.set_title(names[place], fontsize=8, color=INK, loc="left", parse_math=False)
        if features is not None and 1 < len(features) <= 8 and place == 0:
            ax.legend(fontsize=6.5, frameon=False)
    head(figure, title)
    return figure


MOST_BARS = 24


def _as_bars(rows: np.ndarray, names: list[str], title: str, features: Sequence[str] | None) -> Figure:
    """A bar a feature, those that are furthest from their mean, of each row [F]."""
    known = list(features or (f"feature {k}" for k in range(rows.shape[1])))
    count = min(MOST_BARS, len(known))
    figure = blank(5.2, len(rows) * (0.24 * count + 0.6) + 0.4)
    for place, row in enumerate(rows):
        ax = figure.add_subplot(len(rows), 1, place + 1)
        chosen = np.sort(np.argsort(-np.abs(row), kind="stable")[:count])[::-1]
        ax.barh(np.arange(count), row[chosen], color=BLUE, height=0.6)
        ax.axvline(0, color=RULE, linewidth=0.8)
        ax.set_yticks(np.arange(count), [short(known[k], 32) for k in chosen], fontsize=8, parse_math=False)
        named_axes(ax, "scaled value: 0 is the mean" if place == len(rows) - 1 else "", "")
        ax.set_title(names[place], fontsize=8, color=INK, loc="left", parse_math=False)
    head(figure, title)
    return figure


def _around_zero(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    high = np.quantile(np.abs(picture), 0.995)
    return np.array(-high), np.array(high)


def dream(found: Dream) -> Figure:
    """The picture before and after."""
    before, after = (_picture(p) for p in (found.before, found.image))
    height, width = before.shape[:2]
    wide = min(4.5, 4.5 * width / height)
    figure = blank(2 * wide + 0.3, wide * height / width + 0.5)
    limits = None if found.image.dtype == np.uint8 else _both(before, after)
    for place, (picture, name) in enumerate(((before, "before"), (after, f"after: {found.layer}"))):
        ax = figure.add_subplot(1, 2, place + 1)
        bare(
            ax,
            picture / 255
            if limits is None
            else np.clip((picture - limits[0]) / (limits[1] - limits[0]), 0, 1),
        )
        ax.set_title(name, fontsize=8, color=INK, pad=3, parse_math=False)
    return figure


def _picture(values: np.ndarray) -> np.ndarray:
    """Bytes [H, W] or [H, W, 3], or floating numbers [C, H, W], as [H, W, 3]."""
    if values.dtype != np.uint8:
        values = np.moveaxis(
            values if values.shape[0] in (1, 3) else values.mean(axis=0, keepdims=True), 0, 2
        )
    values = values[:, :, None] if values.ndim == 2 else values
    return np.broadcast_to(values, (*values.shape[:2], 3)).astype(np.float64)


def _both(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(np.stack([before, after]), [0.002, 0.998])
    return float(low), float(high) if high > low else float(low) + 1.0


def most_exciting(found: MostExciting) -> Figure:
    """The examples, with a frame around what the unit saw, and below them the patches.

    Raises `ValueError` where the examples are no pictures [C, H, W].
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    if found.examples.ndim != 4:
        raise ValueError(f"examples have shape {list(found.examples.shape[1:])}: expected pictures [C, H, W]")
    count = len(found)
    channels = found.examples.shape[1]
    limits = display_range(found.examples, channels == 3) if channels in (1, 3) else None
    figure = blank(1.2 * count + 0.5, 3.0)
    for place, (example, patch, box) in enumerate(
        zip(found.examples, found.patches, found.boxes.tolist(), strict=True)
    ):
        ax = figure.add_subplot(2, count, place + 1)
        bare(ax, colours(example, "natural", limits))
        (top, bottom), (left, right) = box
        ax.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5),
                right - left + 1,
                bottom - top + 1,
                fill=False,
                edgecolor=RED,
                linewidth=1.3,
                path_effects=[withStroke(linewidth=2.6, foreground="white")],
            )
        )
        ax.set_title(f"{found.ids[place]}: {found.values[place]:.3g}", fontsize=7, color=INK, pad=2)
        bare(figure.add_subplot(2, count, count + place + 1), colours(patch, "natural", limits))
    head(figure, f"{found.unit}: the examples of {found.seen:,} that excite it most, and what it saw of them")
    return figure


def circuit(found: Circuit) -> Figure:
    """The unit's own expanded weights, and of each earlier unit its expanded weights, its kernel to this unit, and how much it excites and inhibits.

    Raises `ValueError` where the network does not read pictures.
    """
    if found.expanded.ndim != 4 or found.kernels.ndim not in (1, 3):
        raise ValueError(
            f"circuits are drawn of networks that read pictures; this one reads {list(found.own.shape)}"
        )
    count = len(found)
    figure = blank(1.15 * (count + 1) + 0.9, 2.9)
    grid = figure.add_gridspec(2, count + 1)
    ax = figure.add_subplot(grid[:, 0])
    bare(ax, colours(found.own, "signed"))
    ax.set_title(f"unit {found.channel}", fontsize=8, color=INK, pad=3)
    ax.set_xlabel(short(found.layer, 20), fontsize=7, color=SOFT, parse_math=False)
    kernels = found.kernels.reshape(count, 1, 1) if found.kernels.ndim == 1 else found.kernels
    low, high, scheme = scale_of(kernels, positive=False)
    axes, drawn = [], None
    for place in range(count):
        ax = figure.add_subplot(grid[0, place + 1])
        bare(ax, colours(found.expanded[place], "signed"))
        unit, _, layer = found.units[place].partition(" of ")
        ax.set_title(f"{unit}\n{short(layer, 20)}", fontsize=6.5, color=INK, pad=3, parse_math=False)
        ax = figure.add_subplot(grid[1, place + 1])
        drawn = bare(ax, kernels[place], cmap=scheme, vmin=low, vmax=high)
        ax.set_xlabel(
            f"+{found.excitation[place]:.2g}  −{found.inhibition[place]:.2g}", fontsize=6.5, color=INK
        )
        axes.append(ax)
    bar(figure, drawn, axes, "weight: red excites", fraction=0.02)
    head(
        figure,
        f"unit {found.channel} of {found.layer}: the earlier units that it reads, what they look for, and the weights to them",
    )
    return figure
