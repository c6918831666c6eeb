"""The solution of an equation as figures: fields, residuals, error, unknown functions, profiles, and the error against time."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.show.digits import seconds, short
from hubel.show.figures import BLUE, INK, RED, RULE, SOFT
from hubel.show.solved_run import Solved, solved_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADES = 5  # of a logarithmic map
TIMES = (0.25, 0.5, 0.75, 1.0)  # of the profiles, as shares of the range of the first coordinate


def maps(run: Solved | os.PathLike[str] | str) -> Figure:
    """Every field over the domain, the size of the residuals, and of the error where a reference is known.

    Of a field of more than two coordinates the map at the last time is drawn, or in the middle of the other coordinates.
    """
    solved = solved_run(run)
    panels: list[tuple[str, np.ndarray, bool]] = []
    for name, values in solved.fields.items():
        shown = np.abs(values) if np.iscomplexobj(values) else values
        panels.append((_named(solved, name, values), shown, False))
        if name in solved.known:
            panels.append((f"error of {solved.labelled(name)}", np.abs(values - solved.known[name]), True))
    for number, values in enumerate(solved.residuals, start=1):
        panels.append(
            ("residual" if len(solved.residuals) == 1 else f"residual {number}", np.abs(values), True)
        )
    if len(solved.axes) == 1:
        return _lines(solved, panels)
    columns = 3 if len(panels) % 3 == 0 or len(panels) > 4 else min(2, len(panels))
    figure, axes = _panels(len(panels), columns, (3.5, 2.7))
    across, up, place, told = _plane(solved)
    for ax, (title, values, is_size) in zip(axes, panels, strict=True):
        _map(ax, across, up, values[place], f"{title}{told}", is_size)
    return figure


def profiles(run: Solved | os.PathLike[str] | str) -> Figure:
    """Every field along its second coordinate at some values of the first, with the reference where one is known."""
    solved = solved_run(run)
    if len(solved.axes) == 1:
        raise ValueError(f"{solved.folder} has one coordinate: its profile is the solution itself")
    (first, times), (second, places), *others = solved.axes.items()
    chosen = sorted({round(share * (len(times) - 1)) for share in TIMES})
    figure, axes = _panels(len(solved.fields) * len(chosen), len(chosen), (2.9, 2.5))
    middle = tuple(len(axis) // 2 for _, axis in others)
    at = "".join(f", {name} = {axis[k]:.3g}" for (name, axis), k in zip(others, middle, strict=True))
    for number, (name, values) in enumerate(solved.fields.items()):
        row = axes[number * len(chosen) : (number + 1) * len(chosen)]
        limits = _limits([_size(values), *([_size(solved.known[name])] if name in solved.known else [])])
        for ax, k in zip(row, chosen, strict=True):
            index = (k, slice(None), *middle)
            ax.plot(places, _size(values)[index], color=BLUE, linewidth=1.8, label="network")
            if name in solved.known:
                ax.plot(
                    places,
                    _size(solved.known[name])[index],
                    color=RED,
                    linewidth=1.2,
                    linestyle=(0, (4, 3)),
                    label="reference",
                )
            ax.set_ylim(*limits)
            ax.set_title(f"{first} = {times[k]:.3g}{at}", fontsize=9, color=INK, loc="left", parse_math=False)
            ax.set_xlabel(solved.labelled(second), loc="right", color=SOFT, fontsize=9, parse_math=False)
            ax.grid(axis="y", color=RULE, linewidth=0.8)
        row[0].set_ylabel(_named(solved, name, values), color=SOFT, fontsize=9, parse_math=False)
    if solved.known:
        axes[0].legend(fontsize=8, frameon=False)
    return figure


def functions(run: Solved | os.PathLike[str] | str) -> Figure:
    """Every unknown function with its band of 95 %, of two coordinates as a map of its values beside one of half the width of the band.

    Of a function of three coordinates the plane in the middle of the last one is drawn.
    """
    solved = solved_run(run)
    if not solved.functions:
        raise ValueError(f"{solved.folder} has no unknown function")
    of_one = {name: found for name, found in solved.functions.items() if len(found.of) == 1}
    of_more = {name: found for name, found in solved.functions.items() if len(found.of) > 1}
    figure, axes = _panels(len(of_one) + 2 * len(of_more), 2 if of_more else min(2, len(of_one)), (4.6, 3.1))
    places = iter(axes)
    for name, found in of_more.items():
        (first, second), others = found.of[:2], found.of[2:]
        plane = (slice(None), slice(None), *(len(solved.axes[x]) // 2 for x in others))
        at = "".join(f" at {x} = {solved.axes[x][len(solved.axes[x]) // 2]:.3g}" for x in others)
        across, up = ((solved.labelled(x), solved.axes[x]) for x in (first, second))
        _map(next(places), across, up, found.values[plane], f"{solved.labelled(name)}{at}", False)
        half = (found.high - found.low)[plane] / 2
        _map(next(places), across, up, half, f"half the band of {solved.labelled(name)}{at}", True)
    for name, found in of_one.items():
        ax, axis = next(places), solved.axes[found.of[0]]
        ax.fill_between(axis, found.low, found.high, color=BLUE, alpha=0.2, linewidth=0, label="95 % band")
        ax.plot(axis, found.values, color=BLUE, linewidth=1.8, label="found")
        if found.truth is not None:
            ax.plot(axis, found.truth, color=RED, linewidth=1.2, linestyle=(0, (4, 3)), label="true")
        spread = float(np.nanmax(found.values) - np.nanmin(found.values)) or 1.0
        seen = (np.nanmin(found.values) - 2 * spread, np.nanmax(found.values) + 2 * spread)
        low, high = _limits([np.clip(found.low, *seen), np.clip(found.high, *seen)])
        ax.set_ylim(low, high)
        ax.set_xlabel(solved.labelled(found.of[0]), loc="right", color=SOFT, fontsize=9, parse_math=False)
        ax.set_title(solved.labelled(name), loc="left", color=INK, fontsize=9, parse_math=False)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
        ax.legend(fontsize=8, frameon=False)
    return figure


def course(run: Solved | os.PathLike[str] | str) -> Figure:
    """The residual, the estimated and the measured error against time, the tolerance, and what a method without networks needs."""
    solved = solved_run(run)
    if not solved.rows:
        raise ValueError(f"{solved.folder} records no iteration: curves.jsonl is missing or empty")
    figure, (ax,) = _panels(1, 1, (6.4, 3.6))
    found = (
        (
            "residual (root mean square, scaled)",
            lambda row: math.sqrt(row["loss"]) if row.get("loss") else None,
            SOFT,
            "-",
            "",
        ),
        ("error, estimated", lambda row: row.get("estimate"), BLUE, "-", ""),
        ("error, measured", lambda row: row.get("error"), RED, "-", "o"),
    )
    drawn = False
    for label, value, colour, style, mark in found:
        pairs = [(row["seconds"], value(row)) for row in solved.rows]
        pairs = [(s, v) for s, v in pairs if isinstance(v, (int, float)) and v > 0]
        if (
            label == "error, measured"
            and solved.about["test"]
            and solved.about.get("seconds")
            and (size := solved.measured)
        ):
            pairs.append((solved.about["seconds"], size))
        if pairs:
            ax.plot(
                *zip(*pairs, strict=True),
                color=colour,
                linestyle=style,
                marker=mark,
                markersize=3,
                linewidth=1.5,
                label=label,
            )
            drawn = True
    classical = solved.about.get("classical") or {}
    if classical.get("error") and classical.get("seconds"):
        ax.set_xscale("log")
        label = f"without a network: {seconds(classical['seconds'])}, {short(classical['error'])}"
        if classical["seconds"] > 0.03 * solved.rows[0]["seconds"]:
            ax.plot([classical["seconds"]], [classical["error"]], "D", color=INK, markersize=5, label=label)
        else:
            ax.plot([], [], " ", label=f"{label} (left of this figure)")
    ax.axhline(solved.about["asked"]["tol"], color=SOFT, linestyle="--", linewidth=0.9)
    ax.annotate(
        "asked", (1, solved.about["asked"]["tol"]), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="right", fontsize=8, color=SOFT,
    )  # fmt: skip
    ax.set_yscale("log")
    ax.grid(axis="y", color=RULE, linewidth=0.8)
    ax.set_xlabel("time (s)", loc="right", color=SOFT, fontsize=9)
    ax.set_title("relative error", loc="left", color=SOFT, fontsize=9)
    if drawn:
        ax.legend(fontsize=8, frameon=False)
    return figure


def _panels(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=130, layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["bottom", "left"]].set_color(SOFT)
        ax.tick_params(color=SOFT, labelcolor=SOFT, labelsize=8, which="both")
        ax.set_axisbelow(True)
    return figure, axes


def _plane(solved: Solved) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray], tuple[Any, ...], str]:
    """The two coordinates that are drawn, the places of the others, and what is said of these."""
    names = list(solved.axes)
    time = solved.about["problem"].get("time")
    fixed: dict[str, int] = {}
    if len(names) > 2 and time in names:
        fixed[time] = len(solved.axes[time]) - 1
    for name in reversed(names):
        if len(names) - len(fixed) > 2 and name not in fixed:
            fixed[name] = len(solved.axes[name]) // 2
    across, up = [(solved.labelled(name), axis) for name, axis in solved.axes.items() if name not in fixed]
    place = tuple(fixed.get(name, slice(None)) for name in names)
    told = ", ".join(f"{name} = {solved.axes[name][k]:.3g}" for name, k in fixed.items())
    return across, up, place, f" at {told}" if told else ""


def _map(
    ax: Axes,
    across: tuple[str, np.ndarray],
    up: tuple[str, np.ndarray],
    values: np.ndarray,
    title: str,
    is_size: bool,
) -> None:
    from matplotlib.colors import LogNorm

    finite = values[np.isfinite(values)]
    highest = float(finite.max()) if finite.size else 0.0
    if is_size and highest > 0:
        lowest = max(float(np.quantile(finite, 0.02)), highest * 10.0**-DECADES, 1e-300)
        norm = LogNorm(min(lowest, highest / 10), highest)
        options: dict[str, Any] = {"norm": norm, "cmap": "magma"}
        values = np.clip(values, norm.vmin, None)
    else:
        most = float(np.abs(finite).max()) if finite.size else 1.0
        crosses = finite.size and finite.min() < -0.05 * most and finite.max() > 0.05 * most
        options = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if crosses else {"cmap": "viridis"}
    mesh = ax.pcolormesh(across[1], up[1], values.T, shading="nearest", rasterized=True, **options)
    assert ax.figure is not None
    bar = ax.figure.colorbar(mesh, ax=ax)
    bar.ax.tick_params(labelsize=8, color=SOFT, labelcolor=SOFT)
    bar.outline.set_visible(False)  # type: ignore[operator]
    ax.set_xlabel(across[0], color=SOFT, fontsize=9, parse_math=False)
    ax.set_ylabel(up[0], color=SOFT, fontsize=9, parse_math=False)
    ax.set_title(title, loc="left", color=INK, fontsize=9, parse_math=False)


def _lines(solved: Solved, panels: Sequence[tuple[str, np.ndarray, bool]]) -> Figure:
    """The panels of an equation with one coordinate, as lines."""
    figure, axes = _panels(len(panels), min(3, len(panels)), (4.0, 2.8))
    ((name, axis),) = solved.axes.items()
    known = {_named(solved, name, values): values for name, values in solved.known.items()}
    for ax, (title, values, is_size) in zip(axes, panels, strict=True):
        ax.plot(axis, values, color=BLUE, linewidth=1.6, label="network")
        if title in known:
            ax.plot(
                axis,
                _size(known[title]),
                color=RED,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                label="reference",
            )
            ax.legend(fontsize=8, frameon=False)
        if is_size and (values > 0).any():
            ax.set_yscale("log")
        ax.set_xlabel(solved.labelled(name), loc="right", color=SOFT, fontsize=9, parse_math=False)
        ax.set_title(title, loc="left", color=INK, fontsize=9, parse_math=False)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
    return figure


def _limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    low, high = min(float(np.nanmin(a)) for a in arrays), max(float(np.nanmax(a)) for a in arrays)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _size(values: np.ndarray) -> np.ndarray:
    return np.abs(values) if np.iscomplexobj(values) else values


def _named(solved: Solved, name: str, values: np.ndarray) -> str:
    return (
        solved.labelled(name).replace(name, f"|{name}|", 1)
        if np.iscomplexobj(values)
        else solved.labelled(name)
    )
