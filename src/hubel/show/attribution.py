"""What an explanation found, as a figure: the input, the map, the map over the input, and what the network said.

Red speaks for what is explained, blue against it; the scale is symmetric around 0 and its own in every row, since maps of different
pictures have different units. What exceeds the 99.5 % quantile of the absolute values is drawn as that, and the colour bar says so by a
pointed end. Maps of large pictures whose values cancel from pixel to pixel are drawn as means over blocks (`hubel.show.blocks`), and the heading
says so. The raw numbers belong into the `.npz` beside the figure.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.core.types import Attribution
from hubel.show.blocks import BLOCK, readable
from hubel.show.pictures import levels
from hubel.show.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE = "#23221f", "#66635b", "#e3e0d7"
COLOURS = "RdBu_r"
FOR, AGAINST = "#b2182b", "#2166ac"
QUANTILE = 0.995
MOST_BARS, MOST_LINES, MOST_SLICES = 20, 8, 5
TEXT_WIDTH, MOST_SYMBOLS = 80, 4_000


def attribution(
    found: Attribution,
    inputs: np.ndarray,
    *,
    titles: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    symbols: Sequence[Sequence[str]] | None = None,
    values: Sequence[Sequence[str]] | None = None,
    planes: str = "plane",
    most: int = 8,
) -> Figure:
    """A figure of the first `most` examples, a row each (of text and rows of features: a block each).

    `inputs` [N, ...] are the examples as they are to be shown, in stored units: pictures [N, C, H, W], volumes [N, C, D, H, W], series
    [N, L, F] or [N, C, L], rows [N, F]. `titles` [N] say what the network answers (default: the target and its score), `names` the features of
    rows and series, `values` [N, F] how the features of rows are to be written, `planes` what a plane of a volume is called. With `symbols` [N, L] the values [N, L] are those of
    symbols of a text.

    Raises `ValueError` where shapes do not fit.

    >>> import torch
    >>> found = Attribution(values=torch.randn(2, 1, 8, 8), method="saliency", target=("output 0",) * 2, score=torch.ones(2))
    >>> figure = attribution(found, np.zeros((2, 1, 8, 8)))
    >>> len(figure.axes)  # input, map, map over input, colour bar
    8
    """
    maps = found.map.detach().cpu().double().numpy()
    num = min(most, len(maps))
    said = list(titles) if titles is not None else default_titles(found)
    if len(said) < num or (symbols is None and len(inputs) != len(maps)):
        raise ValueError(
            f"{len(inputs)} inputs and {len(said)} titles for {len(maps)} examples: give one of each an example"
        )
    head, inputs = found.method, np.asarray(inputs)
    if symbols is not None:
        figure = _texts(maps[:num], symbols, said, head)
    elif found.values.ndim == 4:
        figure = _pictures({head: maps[:num]}, inputs, said)
    elif found.values.ndim == 5:
        figure = _volumes(maps[:num], inputs, said, head, planes)
    elif found.values.ndim == 3:
        figure = _series(maps[:num], inputs, said, names, head)
    elif found.values.ndim == 2:
        figure = _rows(maps[:num], inputs, said, names, values, head)
    else:
        raise ValueError(
            f"values {list(found.values.shape)} are no pictures, volumes, series or rows: there is no figure of them"
        )
    if found.notes:
        figure.supxlabel(
            "\n".join(textwrap.wrap(". ".join(found.notes), 130)), fontsize=6, color=SOFT, parse_math=False
        )
    return figure


def side_by_side(
    found: Mapping[str, Attribution],
    inputs: np.ndarray,
    *,
    titles: Sequence[str],
    most: int = 6,
) -> Figure:
    """Several methods on the same pictures [N, C, H, W]: the input, and a map a method, in the order of `found`.

    Raises `ValueError` where nothing is given, or these are no pictures.
    """
    if not found or any(one.values.ndim != 4 for one in found.values()):
        raise ValueError("side_by_side draws maps of pictures [N, C, H, W], at least one method")
    maps = {name: one.map.detach().cpu().double().numpy()[:most] for name, one in found.items()}
    return _pictures(maps, np.asarray(inputs), list(titles), overlay=False)


def default_titles(found: Attribution) -> list[str]:
    """The target and its score, an example each."""
    scores = found.score.detach().cpu().double().tolist()
    return [f"{name}: {score:.4g}" for name, score in zip(found.target, scores, strict=True)]


def limit_of(maps: np.ndarray) -> tuple[float, bool]:
    """The end of a symmetric scale, and whether values lie beyond it.

    >>> limit_of(np.array([-2.0, 1.0]))
    (2.0, False)
    """
    sizes = np.abs(maps[np.isfinite(maps)])
    if not len(sizes) or sizes.max() == 0:
        return 1.0, False
    greatest = float(sizes.max())
    limit = float(np.quantile(sizes, QUANTILE)) if sizes.size >= 400 else greatest
    return (limit, greatest > limit) if limit > 0 else (greatest, False)


def _pictures(
    maps: Mapping[str, np.ndarray], inputs: np.ndarray, titles: Sequence[str], *, overlay: bool = True
) -> Figure:
    """A row a picture: input, then for each method its map (and the map over the input where there is one method)."""
    drawn = {name: readable(one) for name, one in maps.items()}
    maps = {
        f"{name}, means of {BLOCK} × {BLOCK} pixels" if in_blocks else name: one
        for name, (one, in_blocks) in drawn.items()
    }
    names = list(maps)
    num = len(maps[names[0]])
    shown = [_flat_picture(picture) for picture in inputs[:num]]
    columns = 1 + len(names) + (len(names) if overlay else 0)
    height, width = inputs.shape[2:]
    side = 2.3
    figure = _figure(columns * side + 0.9 * len(names), num * (side * min(1.6, height / width) + 0.42))
    grid = figure.add_gridspec(num, columns)
    for row in range(num):
        ax = _blank(figure.add_subplot(grid[row, 0]))
        ax.imshow(shown[row], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(_short(titles[row], 34), fontsize=8, color=INK, parse_math=False, loc="left")
        place = 1
        for name in names:
            one = maps[name][row]
            limit, beyond = limit_of(one)
            ax = _blank(figure.add_subplot(grid[row, place]))
            image = ax.imshow(one, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
            if row == 0:
                ax.set_title(_short(name, 44), fontsize=8, color=SOFT, parse_math=False, loc="left")
            last = ax
            if overlay:
                place += 1
                last = _blank(figure.add_subplot(grid[row, place]))
                last.imshow(_over(shown[row], one, limit), interpolation="nearest")
            _bar(figure, image, last, beyond)
            place += 1
    return figure


def _volumes(
    maps: np.ndarray, inputs: np.ndarray, titles: Sequence[str], head: str, planes_called: str
) -> Figure:
    """Two rows a volume: the planes in which most happens, above as they are, below with the map over them."""
    num, depth = len(maps), maps.shape[1]
    count = min(MOST_SLICES, depth)
    figure = _figure(count * 2.1 + 0.9, num * 4.6)
    grid = figure.add_gridspec(2 * num, count)
    for row in range(num):
        strength = np.abs(maps[row]).sum(axis=(1, 2))
        planes = np.sort(np.argsort(-strength, kind="stable")[:count])
        limit, beyond = limit_of(maps[row])
        volume = inputs[row].mean(axis=0)
        grey = levels(volume[None, None].reshape(1, 1, depth * volume.shape[1], volume.shape[2]))
        assert grey is not None
        grey = grey[0][0].reshape(depth, *volume.shape[1:])
        drawn: list[Any] = []
        for place, plane in enumerate(planes):
            ax = _blank(figure.add_subplot(grid[2 * row, place]))
            ax.imshow(grey[plane], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            said = f"{titles[row]}; {planes_called} {plane}" if place == 0 else f"{planes_called} {plane}"
            ax.set_title(_short(said, 40), fontsize=8, color=INK, parse_math=False, loc="left")
            ax = _blank(figure.add_subplot(grid[2 * row + 1, place]))
            ax.imshow(_over(grey[plane], maps[row][plane], limit), interpolation="nearest")
            drawn.append(ax)
        drawn[0].set_title(_short(head, 44), fontsize=8, color=SOFT, parse_math=False, loc="left")
        _bar(figure, _scale(limit), drawn[-1], beyond)
    return figure


def _series(
    maps: np.ndarray, inputs: np.ndarray, titles: Sequence[str], names: Sequence[str] | None, head: str
) -> Figure:
    """A block a series, a line a feature, whose colour is the map along it."""
    from matplotlib.collections import LineCollection

    steps_last = maps.shape[2] > maps.shape[1] and (names is None or len(names) != maps.shape[2])
    if steps_last:
        maps, inputs = np.swapaxes(maps, 1, 2), np.swapaxes(inputs, 1, 2)
    num, length, features = maps.shape
    lines = min(features, MOST_LINES)
    figure = _figure(8.4, num * (0.35 + 1.25 * lines))
    axes: list[Axes] = list(figure.subplots(num * lines, 1, squeeze=False)[:, 0])
    for row in range(num):
        limit, beyond = limit_of(maps[row])
        for line in range(lines):
            ax = axes[row * lines + line]
            steps, signal = np.arange(length), inputs[row, :, line].astype(float)
            ends = np.stack([steps, signal], axis=1)
            drawn = LineCollection(
                np.stack([ends[:-1], ends[1:]], axis=1).tolist(),
                cmap=COLOURS,
                linewidths=2.2,
                capstyle="round",
            )
            drawn.set_array((maps[row, :-1, line] + maps[row, 1:, line]) / 2)
            drawn.set_clim(-limit, limit)
            ax.plot(steps, signal, color=RULE, linewidth=4.0, zorder=1)
            drawn.set_zorder(2)
            ax.add_collection(drawn)
            ax.autoscale_view()
            _plain(ax)
            name = names[line] if names is not None and line < len(names) else f"feature {line}"
            ax.set_ylabel(_short(str(name), 18), fontsize=8, color=SOFT, parse_math=False)
            if line == 0:
                more = f" (the first {lines} of {features} features)" if lines < features else ""
                ax.set_title(
                    f"{titles[row]}   {head}{more}", fontsize=8, color=INK, parse_math=False, loc="left"
                )
        axes[(row + 1) * lines - 1].set_xlabel("step", fontsize=8, color=SOFT)
        _bar(figure, _scale(limit), axes[row * lines : (row + 1) * lines], beyond)
    return figure


def _rows(
    maps: np.ndarray,
    inputs: np.ndarray,
    titles: Sequence[str],
    names: Sequence[str] | None,
    values: Sequence[Sequence[str]] | None,
    head: str,
) -> Figure:
    """A block of bars a row: the features with the greatest absolute values, the greatest on top."""
    num, features = maps.shape
    bars = min(features, MOST_BARS)
    figure = _figure(7.6, num * (0.75 + 0.24 * bars))
    axes: list[Axes] = list(figure.subplots(num, 1, squeeze=False)[:, 0])
    for row, ax in enumerate(axes):
        order = np.argsort(-np.abs(maps[row]), kind="stable")[:bars]
        sizes = maps[row][order]
        ax.barh(range(bars), sizes, color=[FOR if size >= 0 else AGAINST for size in sizes], height=0.7)
        labels = [_named(k, row, inputs, names, values) for k in order]
        ax.set_yticks(range(bars), labels, fontsize=8, parse_math=False)
        ax.invert_yaxis()
        ax.axvline(0, color=SOFT, linewidth=0.8)
        limit = float(np.abs(sizes).max()) or 1.0
        ax.set_xlim(-1.08 * limit, 1.08 * limit)
        _plain(ax)
        rest = np.abs(maps[row]).sum() - np.abs(sizes).sum()
        more = f"; {features - bars} others sum to {rest:.3g} in absolute value" if bars < features else ""
        ax.set_title(f"{titles[row]}   {head}{more}", fontsize=8, color=INK, parse_math=False, loc="left")
        ax.set_xlabel("against  ←  0  →  for", fontsize=8, color=SOFT)
    return figure


def _texts(maps: np.ndarray, symbols: Sequence[Sequence[str]], titles: Sequence[str], head: str) -> Figure:
    """A block a text, whose symbols stand on the colour of their value."""
    blocks = []
    for one, text in zip(maps, symbols, strict=False):
        if len(text) != len(one):
            raise ValueError(f"{len(text)} symbols for {len(one)} values: give one symbol a value")
        blocks.append(laid_out(list(text)[:MOST_SYMBOLS], one[:MOST_SYMBOLS]))
    heights = [0.5 + 0.19 * (1 + max(line for line, *_ in cells)) for cells in blocks]
    width = max(column + len(text) for cells in blocks for _, column, text, _ in cells)
    figure = _figure(max(0.125 * width + 0.9, 4.0), sum(heights), least=0.7)
    axes = figure.subplots(len(blocks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for ax, cells, title, one in zip(axes, blocks, titles, maps, strict=False):
        lines = 1 + max(line for line, *_ in cells)
        ground = np.full((lines, width), np.nan)
        limit, beyond = limit_of(one)
        for line, column, text, value in cells:
            ground[line, column : column + len(text)] = value
        image = ax.imshow(
            np.ma.masked_invalid(ground),
            cmap=COLOURS,
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
        )
        for line, column, text, value in cells:
            colour = "white" if abs(value) > 0.65 * limit else INK
            for place, letter in enumerate(text):
                ax.text(
                    column + place, line, letter, ha="center", va="center", fontsize=8, color=colour,
                    family="monospace", parse_math=False,
                )  # fmt: skip
        _blank(ax)
        ax.set_title(f"{title}   {head}", fontsize=8, color=INK, parse_math=False, loc="left")
        _bar(figure, image, ax, beyond)
    return figure


def laid_out(symbols: Sequence[str], values: np.ndarray) -> list[tuple[int, int, str, float]]:
    r"""Line, column, text and value of each symbol on lines of 80 columns; a line break ends its line, words have a space between them.

    >>> laid_out(["a", "\n", "b"], np.array([1.0, 2.0, 3.0]))
    [(0, 0, 'a', 1.0), (0, 1, '↵', 2.0), (1, 0, 'b', 3.0)]
    """
    line = column = 0
    words = any(len(symbol) > 1 for symbol in symbols)
    cells = []
    for symbol, value in zip(symbols, values.tolist(), strict=True):
        text = symbol.replace("\n", "↵").replace("\t", " ")[:TEXT_WIDTH] or " "
        if column + len(text) > TEXT_WIDTH:
            line, column = line + 1, 0
        cells.append((line, column, text, value))
        column += len(text) + words
        if symbol.endswith("\n"):
            line, column = line + 1, 0
    return cells


def _figure(width: float, height: float, *, least: float = 1.6) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(min(width, 40), min(max(height, least), 80)), dpi=150, layout="constrained")


def _flat_picture(picture: np.ndarray) -> np.ndarray:
    """Bytes [H, W] or [H, W, 3] of a picture [C, H, W]; the mean of channels that are no colours."""
    if picture.shape[0] not in (1, 3):
        picture = picture.astype(np.float64).mean(axis=0, keepdims=True)
    shown = levels(picture[None])
    assert shown is not None
    return shown[0][0]


def _over(picture: np.ndarray, one: np.ndarray, limit: float) -> np.ndarray:
    """The map over the grey picture, [H, W, 3] in 0 to 1: the stronger, the more of its colour."""
    from matplotlib import colormaps

    grey = picture.astype(np.float64) / 255
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    share = np.clip(one / limit, -1, 1)
    colours = colormaps[COLOURS](0.5 + 0.5 * np.sign(share) * (0.55 + 0.45 * np.abs(share)))[..., :3]
    weight = 0.85 * np.abs(share)[..., None]
    return (1 - weight) * (0.25 + 0.75 * grey[..., None]) + weight * colours


def _scale(limit: float) -> Any:
    """A symmetric scale without a picture."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(-limit, limit), COLOURS)


def _bar(figure: Figure, image: Any, ax: Axes | list[Axes], beyond: bool) -> None:
    bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02, extend="both" if beyond else "neither")
    limit = float(image.norm.vmax)
    bar.set_ticks([-limit, 0, limit], labels=[number(float(f"{v:.2g}")) for v in (-limit, 0.0, limit)])
    bar.ax.tick_params(labelsize=7, labelcolor=SOFT, color=RULE)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _blank(ax: Axes) -> Axes:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(RULE)
    return ax


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(RULE)
    ax.tick_params(labelsize=8, labelcolor=SOFT, color=RULE)


def _named(
    k: int,
    row: int,
    inputs: np.ndarray,
    names: Sequence[str] | None,
    values: Sequence[Sequence[str]] | None,
) -> str:
    name = str(names[k]) if names is not None and k < len(names) else f"feature {k}"
    if values is not None:
        return f"{_short(name, 28)} = {_short(values[row][k], 14)}"
    if inputs.ndim == 2 and k < inputs.shape[1] and not math.isnan(float(inputs[row, k])):
        return f"{_short(name, 28)} = {float(inputs[row, k]):.4g}"
    return _short(name, 40)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
