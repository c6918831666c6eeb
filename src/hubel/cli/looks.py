"""What `hubel explain` does with its words: files explained, methods compared, and the network itself looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hubel.cli import words


def network_of(word: str, *, weights: str | None, download: bool, device: str, folder: bool = False) -> Any:
    """The run or ensemble in a folder, or a network with published weights."""
    if folder or Path(word).exists() or (word not in words.NETS and ("/" in word or "\\" in word)):
        from hubel.workflows.explain import opened

        if weights is not None:
            raise words.WrongWords("--weights belong to a network with published weights; a run has its own")
        return opened(word, device)
    from hubel.fitting.machine import device_of

    return words.published_net(word, weights, download=download).to(device_of(device))


def one_network(known: Any) -> Any:
    """What is no ensemble, whose members have layers of their own."""
    from hubel.fitting import Ensemble

    if isinstance(known, Ensemble):
        raise ValueError(
            f"{known.folder} is an ensemble, whose members have layers of their own: name the folder of one, such as "
            f"{known.members[0].folder}"
        )
    return known


def folder_of(known: Any, out: Path | None) -> Path:
    """Where figures and maps go, made where it is not there yet."""
    from hubel.workflows.explain import folder_for

    return folder_for(known, out)


def explained(
    known: Any,
    paths: list[Path],
    method: list[str] | None,
    target: str | None,
    most: int | None,
    folder: Path,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """What the network saw in files."""
    from hubel.workflows import explain

    _need_files(paths, "hubel explain RUN")
    if method and len(method) > 1:
        raise words.WrongWords("several methods are judged with --compare; without it expected one --method")
    chosen = words.method(method[0]) if method else None
    found = explain.explain_files(
        known, paths, chosen, target=target, out=folder, most=most or explain.MOST, quiet=quiet
    )
    if as_json:
        print(json.dumps([one.as_json() for one in found], ensure_ascii=False))
        return
    for one in found:
        for note in one.attribution.notes:
            print(f"hubel: {note}", file=sys.stderr)
        print(one.figure)
        print(one.numbers)


def compared(
    known: Any,
    paths: list[Path],
    method: list[str] | None,
    target: str | None,
    most: int | None,
    folder: Path,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Which method to believe on files."""
    from hubel.workflows import explain

    _need_files(paths, "--compare")
    found, numbers, figure = explain.compare_methods(
        known,
        paths,
        words.compared(_kind(known), method),
        target=target,
        out=folder,
        most=most or explain.MOST_COMPARED,
        quiet=quiet,
    )
    if as_json:
        about = {"numbers": str(numbers), "figure": None if figure is None else str(figure)}
        print(json.dumps({**about, **json.loads(numbers.read_text("utf-8"))}, ensure_ascii=False))
        return
    print(found)
    print(numbers)
    if figure is not None:
        print(figure)


def layers(known: Any, as_json: bool) -> None:
    """The layers by name."""
    from hubel.workflows import layers

    print(json.dumps(layers.layers(known)) if as_json else layers.tree(known, most=10_000))


def surrogate(known: Any, paths: list[Path], kind: Any, seed: int, as_json: bool) -> None:
    """A small tree or linear model that says what the network says."""
    from hubel.workflows import look_inside

    found = look_inside.surrogate_of(_run_only(known, "--surrogate"), paths, kind=kind, seed=seed)
    if not as_json:
        print(found)
        return
    about = {"kind": found.kind, "fidelity": found.fidelity.as_json(), "chance": found.chance}
    about |= {"held_out": found.held_out, "features": list(found.used), "rules": found.rules}
    print(json.dumps(about, ensure_ascii=False))


def _filters(known: Any, paths: list[Path], about: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    layer = about["filters"]
    return look_inside.draw_filters(known, None if layer == "first" else layer, about["folder"])


def _features(known: Any, paths: list[Path], about: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside
    from hubel.workflows.layers import layer_of

    layer_of(known, about["features"])
    _need_files(paths, "--features")
    return look_inside.draw_feature_maps(known, about["features"], paths, about["folder"])


def _maximize(known: Any, paths: list[Path], about: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    return look_inside.draw_maximized(known, about["maximize"], about["folder"], seed=about["seed"])


def _map(known: Any, paths: list[Path], about: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    method = about["map_method"]
    if method not in ("tsne", "umap", "pca"):
        raise words.WrongWords(f"--map-method {method!r}: expected tsne, umap or pca")
    return look_inside.draw_codes(
        known,
        paths,
        about["folder"],
        layer=about["layer"],
        method=method,
        grid=about["grid"],
        seed=about["seed"],
    )


def _text(known: Any, paths: list[Path], about: Mapping[str, Any]) -> list[Path]:
    from hubel.workflows import look_inside

    run = _run_only(known, "--text")
    return look_inside.draw_text(
        run, about["text"], about["folder"], units=about["units"], layer=about["layer"], quiet=about["quiet"]
    )


def _landscape(known: Any, paths: list[Path], about: Mapping[str, Any]) -> Path:
    from hubel.workflows import look_inside

    run = _run_only(known, "--landscape")
    return look_inside.draw_landscape(run, about["folder"], seed=about["seed"], quiet=about["quiet"])


DRAWN: dict[str, Callable[[Any, list[Path], Mapping[str, Any]], Path | list[Path]]] = {
    "--filters": _filters,
    "--features": _features,
    "--maximize": _maximize,
    "--map": _map,
    "--text": _text,
    "--landscape": _landscape,
}
"""What is drawn of the network itself, each in one figure; of a text one a unit."""
BELONGS = {
    "method": ("", "--compare"),
    "target": ("", "--compare"),
    "most": ("", "--compare"),
    "layer": ("--map", "--text"),
    "grid": ("--map",),
    "unit": ("--text",),
    "linear": ("--surrogate",),
}
"""Options and what they belong to; "" is the explanation of files."""


def one_of(asked: Mapping[str, bool]) -> str:
    """The one thing that is asked for; "" for the explanation of files."""
    named = [option for option, given in asked.items() if given]
    if len(named) > 1:
        raise words.WrongWords(f"{' and '.join(named)} ask for different things: expected one of them")
    return named[0] if named else ""


def refuse_stray(what: str, **given: Any) -> None:
    """Refuse an option that does not belong to what is asked for."""
    for name, value in given.items():
        if value and what not in BELONGS[name]:
            homes = " or ".join(home or "the explanation of files" for home in BELONGS[name])
            raise words.WrongWords(f"--{name} belongs to {homes}: leave it out")


def written(found: Path | list[Path], as_json: bool) -> None:
    """Where the figures are, on stdout."""
    if isinstance(found, list):
        figures = [str(path) for path in found]
        print(json.dumps({"figures": figures}) if as_json else "\n".join(figures))
    else:
        print(json.dumps({"figure": str(found)}) if as_json else found)


def _kind(known: Any) -> str:
    """What the examples of a network are."""
    from hubel.fitting import Ensemble
    from hubel.workflows.layers import inputs_of
    from hubel.workflows.subject import KINDS

    shape = inputs_of(known.members[0] if isinstance(known, Ensemble) else known) or (3, 1, 1)
    return KINDS.get(len(shape) + 1, "pictures")


def _run_only(known: Any, option: str) -> Any:
    from hubel.fitting import Run

    if not isinstance(known, Run):
        raise words.WrongWords(
            f"{option} is for run folders: a network with published weights has no data here"
        )
    return known


def _need_files(paths: list[Path], what: str) -> None:
    if not paths:
        raise words.WrongWords(f"{what}: name the files that are to be explained")
