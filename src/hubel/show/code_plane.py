"""A map of examples, drawn with their pictures at their places, or in the cells of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.explain.codes_map import MOST_CELLS, CodesMap
from hubel.show.figures import INK
from hubel.show.latent_map import COLOURS
from hubel.show.pictures import display_range
from hubel.show.sheets import blank, colours, head, named_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CANVAS = 1800  # pixels a side
FRAME = 3  # pixels of it
MOST_HIDDEN = 0.1


def codes_map(
    found: CodesMap,
    pictures: np.ndarray | None = None,
    *,
    labels: Sequence[Any] | np.ndarray | None = None,
    grid: bool | None = None,
) -> Figure:
    """A map as points, or with `pictures` [N, C, H, W] or [N, H, W, 3]: with `grid` each in a cell of its own, without it at their places.

    Unless told, it is a grid where more than a tenth of the pictures would hide others at their places, and the heading says so.

    Labels (those of the map unless given) are colours: of points, or of frames around pictures; up to twenty are told apart.

    Raises `ValueError` for pictures or labels of another number, and for a grid without pictures.
    """
    named = found.labels if labels is None else np.asarray(labels)
    if named is not None and len(named) != len(found):
        raise ValueError(f"there are {len(named)} labels for {len(found)} examples")
    names = [] if named is None else np.unique(named).tolist()
    names = names if 1 < len(names) <= len(COLOURS) else []
    if pictures is None and grid:
        raise ValueError("a grid is drawn of pictures: pass them")
    figure = blank(7.2 if names else 6.2, 6.2)
    ax = figure.add_subplot()
    if pictures is None:
        _points(ax, found, named, names)
    else:
        shown = _as_colours(np.asarray(pictures), len(found))
        if grid is None:
            grid = hidden_share(found) > MOST_HIDDEN and len(found) <= MOST_CELLS
        frames = [COLOURS[names.index(n)] for n in np.asarray(named).tolist()] if names else []
        _painted(ax, found, shown, frames, grid)
    if names:
        for name, colour in zip(names, COLOURS, strict=False):
            ax.scatter([], [], s=22, color=colour, label=str(name))
        legend = ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        for entry in legend.get_texts():
            entry.set_color(INK)
            entry.set_parse_math(False)
    head(figure, f"{found}{'; each picture in the nearest free cell of a grid' if grid else ''}")
    return figure


def hidden_share(found: CodesMap) -> float:
    """The share of pictures that would lie over another one, were they drawn at their places."""
    from scipy.spatial import KDTree

    pairs = KDTree(_placed(found)).query_pairs(_side(len(found)) - 1, p=np.inf, output_type="ndarray")
    return len(np.unique(pairs)) / len(found)


def _points(ax: Axes, found: CodesMap, named: Any, names: list[Any]) -> None:
    if names:
        for name, colour in zip(names, COLOURS, strict=False):
            which = named == name
            ax.scatter(*found.points[which].T, s=9, color=colour, alpha=0.7, linewidths=0)
    else:
        ax.scatter(*found.points.T, s=9, color=COLOURS[0], alpha=0.6, linewidths=0)
    _finished(ax, found)


def _finished(ax: Axes, found: CodesMap) -> None:
    named_axes(ax, *found.axes)
    if not any(found.axes):  # of t-SNE and UMAP the axes mean nothing
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    ax.set_aspect("equal", adjustable="datalim")


def _as_colours(pictures: np.ndarray, num: int) -> list[np.ndarray]:
    if pictures.ndim != 4 or len(pictures) != num:
        raise ValueError(
            f"pictures have shape {list(pictures.shape)}; expected {num} of them, [N, C, H, W] or [N, H, W, 3]"
        )
    if pictures.shape[3] in (1, 3) and pictures.shape[1] not in (1, 3):
        pictures = np.moveaxis(pictures, 3, 1)
    limits = display_range(pictures, pictures.shape[1] == 3) if pictures.shape[1] in (1, 3) else None
    return [colours(p, "natural", limits) for p in pictures]


def _framed(picture: np.ndarray, colour: str) -> np.ndarray:
    from matplotlib.colors import to_rgb

    framed = np.array(picture)
    framed[:FRAME] = framed[-FRAME:] = framed[:, :FRAME] = framed[:, -FRAME:] = to_rgb(colour)
    return framed


def _painted(ax: Axes, found: CodesMap, pictures: list[np.ndarray], frames: list[str], grid: bool) -> None:
    """Pictures pasted on one canvas: thousands are as quick as one."""
    canvas = np.ones((CANVAS, CANVAS, 3))
    if grid:
        cells = found.grid()
        side = CANVAS // (int(cells.max()) + 1)
        corners = cells * side
    else:
        side, corners = _side(len(found)), _placed(found)
    for number, (top, left) in enumerate(np.round(corners).astype(int).tolist()):
        small = _sized(pictures[number], side - (2 if grid else 0))
        if frames:
            small = _framed(small, frames[number])
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    ax.imshow(canvas, interpolation="antialiased")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    if any(found.axes) and not grid:
        ax.set_xlabel(found.axes[0], fontsize=8.5)
        ax.set_ylabel(found.axes[1], fontsize=8.5)


def _side(num: int) -> int:
    """The longer side of a picture at its place, in pixels of the canvas."""
    return int(np.clip(1.3 * CANVAS / np.sqrt(num) / 1.6, 24, CANVAS // 6))


def _placed(found: CodesMap) -> np.ndarray:
    """The upper left corner (row, column) [N, 2] of each picture at its place."""
    low, spread = found.points.min(axis=0), np.ptp(found.points, axis=0)
    placed = (found.points - low) / np.where(spread > 0, spread, 1.0)
    return np.stack([1 - placed[:, 1], placed[:, 0]], axis=1) * (CANVAS - _side(len(found)) - 1)


def _sized(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture with its longer side `side`, by the nearest pixel (or the mean of blocks, where it is much larger)."""
    longest = max(picture.shape[:2])
    block = longest // side
    if block > 1:
        height, width = (n // block * block for n in picture.shape[:2])
        picture = (
            picture[:height, :width]
            .reshape(height // block, block, width // block, block, 3)
            .mean(axis=(1, 3))
        )
        longest = max(picture.shape[:2])
    rows, columns = (
        np.minimum((np.arange(max(1, round(n * side / longest))) * longest / side).astype(int), n - 1)
        for n in picture.shape[:2]
    )
    return picture[rows][:, columns]
