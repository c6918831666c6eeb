"""The solution of an equation as figures and as one page: fields, residuals, error, profiles, and the error against time.

Everything is read from the run's folder; nothing is computed by a network here.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.core import files
from hubel.core.errors import DamagedRun
from hubel.core.version import VERSION
from hubel.data.archives import opened_npz
from hubel.fitting.about import read_equation
from hubel.show import wording
from hubel.show.figures import BLUE, INK, RED, RULE, SOFT
from hubel.show.template import rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADES = 5  # of a logarithmic map
TIMES = (0.25, 0.5, 0.75, 1.0)  # of the profiles, as shares of the range of the first coordinate


@dataclass(frozen=True, kw_only=True)
class Solved:
    """What a run folder holds: `about` of run.json, `axes`, `fields`, `known` values of the reference and `residuals` on their grid
    (complex fields by their size), and a row an iteration.
    """

    folder: Path
    about: Mapping[str, Any]
    axes: Mapping[str, np.ndarray]
    fields: Mapping[str, np.ndarray]
    known: Mapping[str, np.ndarray]
    residuals: tuple[np.ndarray, ...]
    rows: tuple[Mapping[str, Any], ...]

    @staticmethod
    def read(folder: os.PathLike[str] | str) -> Solved:
        """Raises `FileNotFoundError`, `DamagedRun` or `ValueError` where the folder holds no solution."""
        folder = Path(folder)
        about = read_equation(folder)
        path = folder / "solution.npz"
        if not path.exists():
            raise DamagedRun(
                f"{folder} holds no solution yet (it is {about['status']}): go on with hubel resume {folder}"
            )
        names, fields = tuple(about["problem"]["ranges"]), tuple(about["problem"]["fields"])
        try:
            with opened_npz(path) as content:
                arrays = {name: content[name] for name in content.files}
            axes = {name: arrays[f"axis_{name}"] for name in names}
            shape = tuple(len(axis) for axis in axes.values())
            told = {name: arrays[f"field_{name}"] for name in fields}
            known = {name: arrays[f"reference_{name}"] for name in fields if f"reference_{name}" in arrays}
            residuals = tuple(arrays[name] for name in sorted(arrays) if name.startswith("residual_"))
            if any(array.shape != shape for array in (*told.values(), *known.values(), *residuals)):
                raise ValueError("its arrays are not of the size of its axes")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DamagedRun(
                f"{path} can not be read ({error}): restore it from a copy, or solve again"
            ) from error
        rows = tuple(
            row
            for row in files.read_lines(folder / "curves.jsonl")
            if isinstance(row.get("seconds"), (int, float))
        )
        return Solved(
            folder=folder, about=about, axes=axes, fields=told, known=known, residuals=residuals, rows=rows
        )

    @property
    def title(self) -> str:
        """That of the equation."""
        return str(self.about["problem"].get("title") or self.folder.name)


def maps(run: Solved | os.PathLike[str] | str) -> Figure:
    """Every field over the domain, the size of the residuals, and of the error where a reference is known.

    Of a field of more than two coordinates the map at the last time is drawn, or in the middle of the other coordinates.
    """
    solved = _solved(run)
    panels: list[tuple[str, np.ndarray, bool]] = []
    for name, values in solved.fields.items():
        shown = np.abs(values) if np.iscomplexobj(values) else values
        panels.append((_named(name, values), shown, False))
        if name in solved.known:
            panels.append((f"error of {name}", np.abs(values - solved.known[name]), True))
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
    solved = _solved(run)
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
            ax.set_xlabel(second, loc="right", color=SOFT, fontsize=9, parse_math=False)
            ax.grid(axis="y", color=RULE, linewidth=0.8)
        row[0].set_ylabel(_named(name, values), color=SOFT, fontsize=9, parse_math=False)
    if solved.known:
        axes[0].legend(fontsize=8, frameon=False)
    return figure


def course(run: Solved | os.PathLike[str] | str) -> Figure:
    """The residual, the estimated and the measured error against time, the tolerance, and what a method without networks needs."""
    solved = _solved(run)
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
            and (size := _measured(solved))
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
        label = f"without a network: {_seconds(classical['seconds'])}, {_short(classical['error'])}"
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


def report(run: Solved | os.PathLike[str] | str) -> str:
    """The page of the run of an equation: HTML in one file that loads nothing."""
    solved = _solved(run)
    about = solved.about
    figures = [("Over the domain", _maps_said(solved), maps(solved))]
    if len(solved.axes) > 1:
        figures.append(
            (
                "Profiles",
                "What the network answers, and the reference where one is known (dashed).",
                profiles(solved),
            )
        )
    if solved.rows:
        figures.append(("Error against time", _course_said(), course(solved)))
    return rendered(
        "equation.html",
        title=solved.title,
        formula=about["problem"].get("formula", ""),
        kicker=" · ".join(
            part
            for part in (str(about.get("created"))[:10], "equation", _duration(about.get("seconds")))
            if part
        ),
        verdict=_verdict(solved),
        figures=[
            {"title": title, "caption": caption, "picture": _address(figure)}
            for title, caption, figure in figures
        ],
        unknowns=_unknowns(about),
        numbers=_numbers(solved),
        warnings=list(about.get("warnings", ())),
        facts=_facts(about),
        source=about["problem"].get("source", ""),
        version=VERSION,
    )


def _solved(run: Solved | os.PathLike[str] | str) -> Solved:
    return run if isinstance(run, Solved) else Solved.read(run)


def _verdict(solved: Solved) -> list[str]:
    """What came out, in sentences: the first one is the answer."""
    about = solved.about
    tol = about["asked"]["tol"]
    sentences = []
    if about.get("unknowns"):
        sentences.append(
            "The numbers of the equation were found from data; the table below has their intervals."
        )
    elif about.get("estimate") is None:
        sentences.append(
            f"That the tolerance of {_short(tol)} was reached can not be said: the error could not be estimated."
        )
    elif about.get("reached"):
        sentences.append(
            f"Solved to an estimated relative error of {_short(about['estimate'])} (asked: {_short(tol)})."
        )
    else:
        sentences.append(
            f"The tolerance of {_short(tol)} was not reached: the estimated relative error of this solution is {_short(about['estimate'])}."
        )
    if measured := _measured(solved):
        sentences.append(f"Against the reference the relative error is {_short(measured)}.")
    if not about.get("reached") and about.get("limit"):
        sentences.append(f"What limits the error: {about['limit']}.")
    classical = about.get("classical")
    if classical:
        error = "" if classical.get("error") is None else f" to an error of {_short(classical['error'])}"
        sentences.append(
            f"A method without networks does it in {_seconds(classical['seconds'])}{error} ({classical['how']}); this took "
            f"{_seconds(about['seconds'])}."
        )
    return sentences


def _measured(solved: Solved) -> float | None:
    """The relative error of all fields together, each in units of its size."""
    shares = [score.get("value") for score in solved.about["test"].values()]
    if not shares or any(share is None for share in shares):
        return None
    return math.sqrt(sum(share**2 for share in shares) / len(shares))


def _unknowns(about: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, found in about.get("unknowns", {}).items():
        if not isinstance(found, Mapping):
            continue
        error = found.get("standard_error")
        value, low, high, truth = (
            _digits(found.get(key), error) for key in ("value", "low", "high", "truth")
        )
        rows.append([name, value, _short(error), f"{low} to {high}", truth])
    return rows


def _numbers(solved: Solved) -> list[tuple[str, str]]:
    about = solved.about
    rows = [
        ("estimated relative error", _short(about.get("estimate"))),
        ("asked", _short(about["asked"]["tol"])),
    ]
    rows += [(name, _short(score.get("value"))) for name, score in about["test"].items()]
    for name, error in about.get("errors", {}).items():
        rows.append((f"largest error of {name}", _short(error.get("largest"))))
    rows.append(("residual at points that were not used", _short(about.get("residual"))))
    rows += [(f"violation of {name}", _short(value)) for name, value in about.get("violations", {}).items()]
    rows += [(f"noise of {name}", _short(value)) for name, value in about.get("noise", {}).items()]
    rows.append(("time", _duration(about.get("seconds"))))
    rows.append(("iterations", wording.number(about.get("iterations"))))
    rows.append(("weights", wording.number(about.get("weights"))))
    rows += [(name, str(about[name])) for name in ("network", "method") if about.get(name)]
    return rows


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the equation and the reference come from, and how to repeat it."""
    known, facts = about["equation"], []
    facts.append(("ended", str(about.get("stopped", ""))))
    if reference := about.get("reference"):
        accuracy = (
            "" if reference.get("accuracy") is None else f", relative error {_short(reference['accuracy'])}"
        )
        facts.append(("reference", f"{reference['how']}{accuracy} ({reference['known_by']})"))
    if data := about.get("data"):
        facts.append(("data", f"{data['rows']:,} rows of {', '.join(data['columns'])}, {data['source']}"))
    if "file" in known:
        facts.append(("equation", f"{known['file']}, kept as equation.py (SHA-256 {known['sha256'][:16]}…)"))
    ranges = ", ".join(
        f"{name} from {low:g} to {high:g}" for name, (low, high) in about["problem"]["ranges"].items()
    )
    facts.append(("domain", ranges))
    if within := about["problem"].get("within"):
        facts.append(("within", str(within)))
    numbers = [
        f"{name} = {value:g}" for name, value in about["problem"]["parameters"].items() if value is not None
    ]
    if numbers:
        facts.append(("numbers", ", ".join(numbers)))
    facts.append(("seed", str(about["asked"]["seed"])))
    facts.append(("command", str(about.get("command", ""))))
    facts.append(
        (
            "machine",
            ", ".join(f"{v}" for k, v in about.get("machine", {}).items() if k in ("processor", "system")),
        )
    )
    facts.append(("versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())))
    return facts


def _maps_said(solved: Solved) -> str:
    said = "The solution, and on logarithmic scales the size of what the equation leaves (the residual)"
    return (
        f"{said} and of the error against the reference."
        if solved.known
        else f"{said}. No reference is known."
    )


def _course_said() -> str:
    return "The estimate is made without the reference, from how far earlier states were from later ones."


def _address(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


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
    across, up = [(name, axis) for name, axis in solved.axes.items() if name not in fixed]
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
    for ax, (title, values, is_size) in zip(axes, panels, strict=True):
        ax.plot(axis, values, color=BLUE, linewidth=1.6, label="network")
        if title in solved.known:
            ax.plot(
                axis,
                _size(solved.known[title]),
                color=RED,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                label="reference",
            )
            ax.legend(fontsize=8, frameon=False)
        if is_size and (values > 0).any():
            ax.set_yscale("log")
        ax.set_xlabel(name, loc="right", color=SOFT, fontsize=9, parse_math=False)
        ax.set_title(title, loc="left", color=INK, fontsize=9, parse_math=False)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
    return figure


def _limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    low, high = min(float(np.nanmin(a)) for a in arrays), max(float(np.nanmax(a)) for a in arrays)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _size(values: np.ndarray) -> np.ndarray:
    return np.abs(values) if np.iscomplexobj(values) else values


def _named(name: str, values: np.ndarray) -> str:
    return f"|{name}|" if np.iscomplexobj(values) else name


def _short(value: Any) -> str:
    """Two digits.

    >>> _short(0.000123), _short(None), _short(0.25)
    ('1.2e−4', '–', '0.25')
    """
    if not isinstance(value, (int, float)):
        return "–"
    text = (
        f"{value:.2g}"
        if 0.001 <= abs(value) < 1000 or value == 0
        else f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    )
    return text.replace("-", "−")


def _digits(value: Any, error: Any) -> str:
    """As many digits as a number with this standard error has.

    >>> _digits(3.990259, 0.025), _digits(1.0, 3e-7), _digits(2.5, None), _digits(None, 0.1)
    ('3.990', '1.00000000', '2.5', '–')
    """
    if not isinstance(value, (int, float)):
        return "–"
    if not isinstance(error, (int, float)) or not 1e-12 < error < 1e3:
        return f"{value:.7g}".replace("-", "−")
    return f"{value:.{max(0, 1 - math.floor(math.log10(error)))}f}".replace("-", "−")


def _seconds(value: float) -> str:
    """A time in the unit that suits it.

    >>> _seconds(0.00012), _seconds(0.14), _seconds(34.2)
    ('0.12 ms', '0.14 s', '34 s')
    """
    return f"{value * 1e3:.2g} ms" if value < 0.1 else f"{value:.2g} s" if value < 100 else _duration(value)


def _duration(value: Any) -> str:
    return wording.duration(value) if isinstance(value, (int, float)) else ""
