"""`hubel dream`: a photograph that shows more and more of what a layer looks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubel.cli import words
from hubel.cli.looks import network_of, one_network, written
from hubel.cli.options import Device, Download, Json, Quiet, Seed, Weights


def dream(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A photograph, or any other picture.")],
    layer: Annotated[
        str,
        typer.Option(
            metavar="LAYER", help="The layer whose responses are made stronger (hubel explain RUN --layers)."
        ),
    ],
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="A run folder.")] = None,
    net: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="A network with published weights (default: efficientnet_lite0)."),
    ] = None,
    channel: Annotated[
        list[int] | None,
        typer.Option(help="A channel of the layer; several times for several (default: all)."),
    ] = None,
    octaves: Annotated[int, typer.Option(help="Sizes at which is dreamt, from small to large.", min=1)] = 4,
    steps: Annotated[int, typer.Option(help="Steps at each size.", min=1)] = 10,
    rate: Annotated[float, typer.Option(help="How far a step goes.")] = 0.03,
    most_pixels: Annotated[
        int, typer.Option("--size", help="Longest side; larger pictures are made smaller.", min=16)
    ] = 512,
    weights: Weights = None,
    download: Download = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The picture to write (default: NAME-dream-LAYER.png).")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """DeepDream: change a picture so that a layer responds more and more, at several sizes."""
    from hubel.cli.answers import refuse_unwritable
    from hubel.workflows.dream import dream_file

    if run is not None and net is not None:
        raise words.WrongWords("--run and --net both name a network: expected one of them")
    path = out or Path(f"{picture.stem}-dream-{layer.replace('.', '-')}.png")
    refuse_unwritable(path)
    known = one_network(
        network_of(
            str(run or net or "efficientnet_lite0"),
            weights=weights,
            download=download,
            device=device,
            folder=run is not None,
        )
    )
    found = dream_file(
        known,
        picture,
        layer,
        out=path,
        channels=tuple(channel) if channel else None,
        octaves=octaves,
        steps=steps,
        rate=rate,
        most_pixels=most_pixels,
        seed=seed,
        quiet=quiet,
    )
    written(found, as_json)
