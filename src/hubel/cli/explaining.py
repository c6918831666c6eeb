"""`hubel explain`: the words of what a network saw, and of what its layers look for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hubel.cli import looks, words
from hubel.cli.options import Device, Download, Json, Quiet, Seed, Weights

Asked = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run folder, or a network with published weights such as efficientnet_lite0."
    ),
]


def explain(
    run: Asked,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]", help="Pictures, series, folders of them, tables, texts or array files."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="How: "
            + "; ".join(f"{what}: {', '.join(names)}" for what, names in words.METHODS.items())
            + " (default: chosen by the kind of examples). With --compare several times.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="What is explained: a class or value by its name, an output by its number, or a unit as LAYER:CHANNEL (default: the answer).",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(help="Examples that are explained at most (default: 8; --compare: 40).", min=1),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Judge several methods on the files, and say which to believe and why."
        ),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="The layers by name, with what they answer.")
    ] = False,
    filters: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER", help='The weights of a convolution as pictures ("first": the first one).'
        ),
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="LAYER", help="What a layer makes of the first of FILES.")
    ] = None,
    maximize: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="The input that excites a unit most: LAYER:CHANNEL, a class, or an output's number.",
        ),
    ] = None,
    map_: Annotated[
        bool,
        typer.Option(
            "--map",
            help="Pictures laid out by what the network makes of them (FILES, or the run's test part).",
        ),
    ] = False,
    map_method: Annotated[str, typer.Option(help="Of --map: tsne, umap or pca.")] = "tsne",
    grid: Annotated[
        bool | None,
        typer.Option(
            "--grid/--places",
            help="Of --map: each picture in a cell of its own, or at its place (default: by what can be seen).",
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Of --map and --text: the layer that is looked at.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text coloured by units of a network that was fitted to one."),
    ] = None,
    unit: Annotated[
        list[int] | None,
        typer.Option(help="Of --text: a unit by its number; several times for several (default: found)."),
    ] = None,
    surrogate: Annotated[
        bool,
        typer.Option(
            "--surrogate",
            help="A small tree that says what the network says, and how often (FILES, or the test part).",
        ),
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="Of --surrogate: a sparse linear model in place of a tree.")
    ] = False,
    landscape: Annotated[
        bool, typer.Option("--landscape", help="The loss around the fitted weights, on the run's test part.")
    ] = False,
    weights: Weights = None,
    download: Download = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for figures and maps (default: RUN/explained).")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """What a network saw. Of files: a figure (input, map, overlay) and the raw map (.npz).

    \b
    of files:    hubel explain RUN image.png [--method WORD] [--target CLASS] [--compare]
    inside:      --layers, --filters LAYER, --features LAYER, --maximize UNIT, --text FILE
    as a whole:  --map, --surrogate, --landscape
    """  # noqa: D301 - the backspace keeps the lines apart
    what = looks.one_of(
        {
            "--compare": compare,
            "--layers": layers,
            "--filters": filters is not None,
            "--features": features is not None,
            "--maximize": maximize is not None,
            "--map": map_,
            "--text": text is not None,
            "--surrogate": surrogate,
            "--landscape": landscape,
        }
    )
    looks.refuse_stray(
        what,
        method=method,
        target=target,
        most=most,
        layer=layer,
        grid=grid is not None,
        unit=unit,
        linear=linear,
    )
    for word in method or []:
        words.method(word)
    known = looks.network_of(run, weights=weights, download=download, device=device)
    about: dict[str, Any] = {"folder": looks.folder_of(known, out), "seed": seed, "quiet": quiet}
    paths = list(inputs or [])
    if what in ("", "--compare"):
        told = looks.explained if what == "" else looks.compared
        told(known, paths, method, target, most, about["folder"], quiet=quiet, as_json=as_json)
        return
    known = looks.one_network(known)
    if what == "--layers":
        looks.layers(known, as_json)
    elif what == "--surrogate":
        looks.surrogate(known, paths, "linear" if linear else "tree", seed, as_json)
    else:
        about |= {"filters": filters, "features": features, "maximize": maximize, "text": text}
        about |= {"map_method": map_method, "layer": layer, "grid": grid, "units": tuple(unit or ())}
        looks.written(looks.DRAWN[what](known, paths, about), as_json)
