"""Inside a fitted network, written as figures: its layers, filters, maps, what excites a unit, codes, a surrogate, the loss around its weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from hubel import explain
from hubel.data import Dataset
from hubel.data.batches import Batches
from hubel.data.encoding import Encoding
from hubel.explain import Surrogate
from hubel.fitting import Run
from hubel.fitting.evaluation import own_test
from hubel.workflows.display import Display
from hubel.workflows.explain import write_figure
from hubel.workflows.layers import classes_of, has_steps_first, inputs_of, layer_of, unit_of
from hubel.workflows.predict import files_of
from hubel.workflows.subject import subjects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CODES, MOST_FOR_LANDSCAPE, MOST_FOR_SURROGATE = 1_000, 256, 20_000


def draw_filters(known: Run | nn.Module, layer: str | None, out: Path) -> Path:
    """The weights of a convolution as pictures (default: the first one)."""
    from hubel.show import inside

    net = known.net if isinstance(known, Run) else known
    found = explain.filters(net, None if layer is None else layer_of(known, layer))
    return _drawn(inside.filters(found), out, f"filters-{found.layer}")


def draw_feature_maps(known: Run | nn.Module, layer: str, paths: Sequence[Path | str], out: Path) -> Path:
    """What a layer makes of the first example in files."""
    from hubel.show import inside

    layer = layer_of(known, layer)
    subject = next(iter(subjects(known, paths, most=1)))
    found = explain.feature_maps(subject.net, subject.x, layer)
    return _drawn(inside.feature_maps(found), out, f"features-{layer}-{Path(subject.ids[0]).stem}")


def draw_maximized(known: Run | nn.Module, word: str, out: Path, *, steps: int = 256, seed: int = 0) -> Path:
    """The input that excites a unit most, found by climbing its gradient."""
    from hubel.show import inside

    net = known.net if isinstance(known, Run) else known
    if isinstance(known, Run) and known.reading["kind"] == "text":
        raise ValueError(
            f"{known.folder} reads symbols, of which there are none in between: no input can be made step by step that excites a unit most. "
            "See what its units answer over a text with --text"
        )
    shape = inputs_of(known)
    if shape is None:
        raise ValueError(
            "the size of the network's inputs is not known: use hubel.explain.maximize(net, target, inputs=...)"
        )
    unit = unit_of(known, word)
    found = explain.maximize(net, unit, inputs=shape, steps=steps, seed=seed)
    names = classes_of(known)
    if isinstance(unit, int) and unit < len(names):
        found = replace(found, names=(names[unit],))
    figure = inside.gallery(
        found, features=_entering(known), steps_first=isinstance(known, Run) and has_steps_first(known)
    )
    return _drawn(figure, out, f"maximize-{word}")


def _entering(known: Run | nn.Module) -> Sequence[str] | None:
    """The names of what enters the network, of rows and of series."""
    if not isinstance(known, Run):
        return None
    columns = known.reading.get("columns")
    if isinstance(known.scaling, Encoding) and columns:
        return known.scaling.names(columns)
    return known.reading.get("channels") if has_steps_first(known) else None


def draw_codes(
    known: Run | nn.Module,
    paths: Sequence[Path | str],
    out: Path,
    *,
    layer: str | None = None,
    method: Literal["tsne", "umap", "pca"] = "tsne",
    grid: bool | None = None,
    seed: int = 0,
) -> Path:
    """A map of examples by what the network makes of them, drawn with the pictures; without files of the run's test part.

    With `grid` every picture has a cell of its own; unless told, where pictures would hide each other at their places.
    """
    from hubel.show import inside

    layer = None if layer is None else layer_of(known, layer)
    labels = None
    if paths:
        (subject, *others) = subjects(known, paths, most=MOST_CODES)
        if others:
            raise ValueError(
                "a map of codes needs examples of one length: these are series of different lengths"
            )
        net, x, shown, ids = subject.net, subject.x, subject.shown, subject.ids
        folders = [Path(one).parent.name for one in ids]
        labels = folders if 1 < len(set(folders)) < len(ids) else None
    elif isinstance(known, Run):
        part = _some(own_test(known), MOST_CODES)
        net, shown = known.net, np.asarray(part.inputs)
        x = known.scaling(torch.from_numpy(np.array(shown)).to(known.device))
        if part.classes is not None and np.ndim(part.targets) == 1:
            labels = [part.classes[int(k)] for k in np.asarray(part.targets)]
    else:
        raise ValueError("name the pictures (files or folders) that are to be on the map")
    found = explain.codes_map(net, x, layer, method=method, labels=labels, seed=seed)
    pictures = shown if shown.ndim == 4 else None
    return _drawn(inside.codes_map(found, pictures, labels=labels, grid=grid), out, f"codes-{method}")


def draw_text(
    run: Run,
    path: Path | str,
    out: Path,
    *,
    units: Sequence[int] = (),
    layer: str | None = None,
    most: int = 2_000,
    quiet: bool = True,
) -> list[Path]:
    """A text whose symbols are coloured by a recurrent unit, a figure each; without `units` by the one that follows best the place in the line."""
    from hubel.data.text import read_text
    from hubel.show import inside

    if run.reading["kind"] != "text":
        raise ValueError(
            f"{run.folder} was not fitted to a text, so none of its units can be coloured over one"
        )
    text = read_text(path)[:most]
    if not units:
        search = explain.find_units(run, text, explain.position_in_line, layer=layer, count=1)
        units, layer = search.units[:1], search.layers[0]
        with Display(quiet=quiet) as display:
            display.say(str(search))
    found = explain.units_over_text(run, text, list(units), layer=layer)
    stem = f"text-{Path(path).stem}-unit"
    return [_drawn(inside.text_units(found, unit=unit), out, f"{stem}-{unit}") for unit in found.units]


def draw_landscape(run: Run, out: Path, *, points: int = 17, seed: int = 0, quiet: bool = True) -> Path:
    """The loss around the fitted weights in two random directions, on the run's test part (256 examples of it at most)."""
    from hubel.show import inside

    part = _some(own_test(run), MOST_FOR_LANDSCAPE)
    batches = Batches(data=part, scaling=run.scaling, batch_size=256, device=run.device)
    with Display(quiet=quiet) as display:
        display.say(f"the loss at {points} × {points} points, on {len(part):,} examples of the test part")
        found = explain.loss_landscape(
            run.net,
            run.objective,
            list(batches.in_order()),
            points=points,
            seed=seed,
            progress=display.counting("points"),
        )
    return _drawn(inside.landscape(found), out, "landscape")


def surrogate_of(
    known: Run,
    paths: Sequence[Path | str] = (),
    *,
    kind: Literal["tree", "linear"] = "tree",
    depth: int = 4,
    seed: int = 0,
) -> Surrogate:
    """A small tree (or sparse linear model) that says what the network says, judged on examples that it has not seen: those in files, or the
    run's test part.
    """
    if paths:
        of_table = known.reading["kind"] == "table"
        x: Any = [Path(p) for p in paths] if of_table else files_of(paths, known.reading)
    else:
        x = _some(own_test(known), MOST_FOR_SURROGATE)
    return explain.surrogate(known, x, kind, depth=depth, seed=seed)


def _some(part: Dataset, most: int) -> Dataset:
    """Evenly many of the examples."""
    rows = np.linspace(0, len(part) - 1, min(most, len(part))).astype(np.int64)
    return part.view(rows) if len(rows) < len(part) else part


def _drawn(figure: Figure, folder: Path, name: str) -> Path:
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    path = folder / f"{safe}.png"
    write_figure(figure, path)
    return path
