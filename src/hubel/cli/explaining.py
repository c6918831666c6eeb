"""`hubel explain` and `hubel dream`: what a network saw, and what its layers look for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hubel.cli import words
from hubel.cli.options import Device, Json, Quiet

Asked = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run folder, or a network with published weights such as efficientnet_lite0."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help='Published weights of a network: a .safetensors or .pth file, or "hf:OWNER/REPO".'),
]
Seed = Annotated[int, typer.Option(help="Decides everything random.")]


def explain(
    run: Asked,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]", help="Pictures, series, folders of them, tables or array files."),
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
            help="What is explained: a class by its name, or an output by its number (default: the answer).",
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
    download: Annotated[
        bool, typer.Option("--download", help="Permit the network, for weights that are not here.")
    ] = False,
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
    asked = {
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
    what = _one_of(asked)
    _refuse_stray(what, method=method, target=target, most=most, layer=layer, unit=unit, linear=linear)
    for word in method or []:
        words.method(word)
    known = _opened(run, weights=weights, download=download, device=device)
    paths, folder = list(inputs or []), _folder(known, out)
    if what in LOOKS:
        chosen = {
            "filters": filters,
            "features": features,
            "maximize": maximize,
            "map_method": map_method,
            "layer": layer,
            "text": text,
            "units": tuple(unit or ()),
            "seed": seed,
            "quiet": quiet,
        }
        _written(LOOKS[what](known, paths, folder, chosen), as_json)
    elif what == "--layers":
        _layers(known, as_json)
    elif what == "--surrogate":
        _surrogate(known, paths, "linear" if linear else "tree", seed, as_json)
    elif what == "--compare":
        _compare(known, paths, method, target, folder, most or 40, quiet, as_json)
    else:
        _explain(known, paths, method, target, folder, most or 8, quiet, as_json)


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
    download: Annotated[
        bool, typer.Option("--download", help="Permit the network, for weights that are not here.")
    ] = False,
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
    known = _opened(
        str(run or net or "efficientnet_lite0"),
        weights=weights,
        download=download,
        device=device,
        folder=run is not None,
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
    _written(found, as_json)


def _filters(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    layer = chosen["filters"]
    return look_inside.draw_filters(known, None if layer == "first" else layer, folder)


def _features(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    look_inside.layer_of(known, chosen["features"])
    _need_files(paths, "--features")
    return look_inside.draw_feature_maps(known, chosen["features"], paths, folder)


def _maximize(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    return look_inside.draw_maximized(known, chosen["maximize"], folder, seed=chosen["seed"])


def _map(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    if chosen["map_method"] not in ("tsne", "umap", "pca"):
        raise words.WrongWords(f"--map-method {chosen['map_method']!r}: expected tsne, umap or pca")
    return look_inside.draw_codes(
        known, paths, folder, layer=chosen["layer"], method=chosen["map_method"], seed=chosen["seed"]
    )


def _text(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    return look_inside.draw_text(
        _run_only(known, "--text"), chosen["text"], folder, units=chosen["units"], layer=chosen["layer"]
    )


def _landscape(known: Any, paths: list[Path], folder: Path, chosen: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    return look_inside.draw_landscape(
        _run_only(known, "--landscape"), folder, seed=chosen["seed"], quiet=chosen["quiet"]
    )


LOOKS: dict[str, Callable[..., Path]] = {
    "--filters": _filters,
    "--features": _features,
    "--maximize": _maximize,
    "--map": _map,
    "--text": _text,
    "--landscape": _landscape,
}
"""What is drawn of the network itself, each in one figure."""
BELONGS = {
    "method": ("", "--compare"),
    "target": ("", "--compare"),
    "most": ("", "--compare"),
    "layer": ("--map", "--text"),
    "unit": ("--text",),
    "linear": ("--surrogate",),
}
"""Options and what they belong to; "" is the explanation of files."""


def _explain(
    known: Any,
    paths: list[Path],
    method: list[str] | None,
    target: str | None,
    folder: Path,
    most: int,
    quiet: bool,
    as_json: bool,
) -> None:
    from hubel.workflows.explain import explain_files

    _need_files(paths, "hubel explain RUN")
    if method and len(method) > 1:
        raise words.WrongWords("several methods are judged with --compare; without it expected one --method")
    found = ()
    tried = [words.method(method[0])] if method else words.default_methods()
    for place, chosen in enumerate(tried, start=1):
        try:
            found = explain_files(known, paths, chosen, target=target, out=folder, most=most, quiet=quiet)
            break
        except (TypeError, NotImplementedError) as error:  # an operation without a rule
            if place == len(tried):
                raise
            following = tried[place].__name__
            print(
                f"hubel: {chosen.__name__} does not suit this network ({error}): {following} instead",
                file=sys.stderr,
            )
    if as_json:
        print(json.dumps([one.as_json() for one in found], ensure_ascii=False))
        return
    for one in found:
        for note in one.attribution.notes:
            print(f"hubel: {note}", file=sys.stderr)
        print(one.figure)
        print(one.numbers)


def _compare(
    known: Any,
    paths: list[Path],
    method: list[str] | None,
    target: str | None,
    folder: Path,
    most: int,
    quiet: bool,
    as_json: bool,
) -> None:
    from hubel.workflows.explain import compare_methods

    _need_files(paths, "--compare")
    chosen = words.compared(_kind(known), method)
    found, numbers, figure = compare_methods(
        known, paths, chosen, target=target, out=folder, most=most, quiet=quiet
    )
    if as_json:
        about = {"numbers": str(numbers), "figure": None if figure is None else str(figure)}
        print(json.dumps({**about, **json.loads(numbers.read_text("utf-8"))}, ensure_ascii=False))
        return
    print(found)
    print(numbers)
    if figure is not None:
        print(figure)


def _layers(known: Any, as_json: bool) -> None:
    from hubel.workflows import look_inside

    print(json.dumps(look_inside.layers(known)) if as_json else look_inside.tree(known, most=10_000))


def _surrogate(known: Any, paths: list[Path], kind: Any, seed: int, as_json: bool) -> None:
    from hubel.workflows import look_inside

    found = look_inside.surrogate_of(_run_only(known, "--surrogate"), paths, kind=kind, seed=seed)
    if not as_json:
        print(found)
        return
    print(
        json.dumps(
            {
                "kind": found.kind,
                "fidelity": found.fidelity.as_json(),
                "chance": found.chance,
                "held_out": found.held_out,
                "features": list(found.used),
                "rules": found.rules,
            },
            ensure_ascii=False,
        )
    )


def _opened(word: str, *, weights: str | None, download: bool, device: str, folder: bool = False) -> Any:
    """The run in a folder, or a network with published weights."""
    if folder or Path(word).exists() or (word not in words.NETS and ("/" in word or "\\" in word)):
        from hubel.workflows.explain import opened

        if weights is not None:
            raise words.WrongWords("--weights belong to a network with published weights; a run has its own")
        return opened(word, device)
    from hubel.fitting.machine import device_of

    return words.published_net(word, weights, download=download).to(device_of(device))


def _folder(known: Any, out: Path | None) -> Path:
    from hubel.core import files
    from hubel.fitting import Run
    from hubel.workflows.explain import FOLDER

    folder = out or (known.folder / FOLDER if isinstance(known, Run) else Path())
    files.refuse_unwritable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kind(known: Any) -> str:
    """What the examples of a network are."""
    from hubel.workflows.look_inside import inputs_of
    from hubel.workflows.subject import KINDS

    shape = inputs_of(known) or (3, 1, 1)
    return KINDS.get(len(shape) + 1, "pictures")


def _run_only(known: Any, option: str) -> Any:
    from hubel.fitting import Run

    if not isinstance(known, Run):
        raise words.WrongWords(
            f"{option} is for run folders: a network with published weights has no data here"
        )
    return known


def _one_of(asked: Mapping[str, bool]) -> str:
    """The one thing that is asked for; "" for the explanation of files."""
    named = [option for option, given in asked.items() if given]
    if len(named) > 1:
        raise words.WrongWords(f"{' and '.join(named)} ask for different things: expected one of them")
    return named[0] if named else ""


def _refuse_stray(what: str, **given: Any) -> None:
    """Refuse an option that does not belong to what is asked for."""
    for name, value in given.items():
        if value and what not in BELONGS[name]:
            homes = " or ".join(home or "the explanation of files" for home in BELONGS[name])
            raise words.WrongWords(f"--{name} belongs to {homes}: leave it out")


def _need_files(paths: list[Path], what: str) -> None:
    if not paths:
        raise words.WrongWords(f"{what}: name the files that are to be explained")


def _written(path: Path, as_json: bool) -> None:
    print(json.dumps({"figure": str(path)}) if as_json else path)
