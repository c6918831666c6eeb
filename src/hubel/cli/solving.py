"""`hubel solve`: an equation by its name, or a file of the user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hubel.cli import words
from hubel.cli.options import Json, Quiet

if TYPE_CHECKING:
    from hubel.physics import Solution


def solve(
    equation: Annotated[
        str | None,
        typer.Argument(
            metavar="[EQUATION]",
            help="The name of an equation (default: list them), or a Python file that defines `problem`; the file is executed.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A table (.csv, .tsv, .npz) of measured points, a column a coordinate and a field; unknowns are found from it."
        ),
    ] = None,
    tol: Annotated[float, typer.Option(help="The relative L2 error that is asked for.")] = 1e-4,
    budget: Annotated[str | None, typer.Option(help='Time: "60s", "20m", "2h" (default: 345s).')] = None,
    noise: Annotated[
        float,
        typer.Option(help="Of data that a named equation makes itself: a share of their standard deviation."),
    ] = 0.0,
    continuation: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of a number of the equation that are walked through before its own: nu=0.1,0.03 (repeatable)."
        ),
    ] = None,
    causal: Annotated[
        bool, typer.Option("--causal", help="Later times count when earlier ones are solved.")
    ] = False,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Equal parts of the time, solved one after the other by a network each (default: one network).",
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Units of a layer at the beginning (default: 10; with data 12).")
    ] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Hidden layers (default: 4; with data 3).")] = None,
    activation: Annotated[str, typer.Option(help='"tanh", "sine" or "silu".')] = "tanh",
    residual: Annotated[
        bool, typer.Option("--residual", help="Layers add their answer to what they received.")
    ] = False,
    fourier: Annotated[
        int,
        typer.Option(min=0, help="Cosines and sines of so many random directions before the first layer."),
    ] = 0,
    method: Annotated[
        str | None,
        typer.Option(
            help='"levenberg-marquardt", "broyden", "lbfgs", "adam", "soap" or "muon" (default: by the number of weights).'
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder to make (default: runs/DATE-NAME-N).")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0.0, help="Seconds between checkpoints.")] = 30.0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Solve an equation by a network to a tolerance, or find its unknown numbers from data; write a run folder with its report."""
    if equation is None:
        _list(as_json)
        return
    if not 0 < tol < 1:
        raise words.WrongWords(f"--tol is {tol:g}; expected a relative error between 0 and 1, such as 1e-4")
    named = words.equation(equation)
    seconds = None if budget is None else words.seconds(budget)
    network = words.architecture(
        width=width, depth=depth, activation=activation, residual=residual, fourier=fourier
    )
    chosen = None if method is None else words.method_of_equations(method)
    from hubel import workflows

    solution = workflows.solve(  # pyright: ignore[reportCallIssue] - the function, not the file
        named,
        data=data,
        tol=tol,
        seed=seed,
        network=network,
        method=chosen,
        budget=seconds,
        noise=noise,
        continuation=words.walk(continuation or []),
        causal=causal,
        windows=windows,
        out=out,
        quiet=quiet,
        checkpoint_seconds=checkpoint_seconds,
    )
    _end(solution, as_json, quiet)


def resume(
    run: Path, *, equation: Path | None, others: Mapping[str, Any], quiet: bool, as_json: bool
) -> None:
    """Go on with the run of an equation. `others` are options that only other runs have: none of them may be given."""
    from hubel import workflows

    for name, value in others.items():
        if value:
            raise words.WrongWords(f"{name} is for runs of labelled data; {run} is the run of an equation")
    _end(workflows.resume_solution(run, equation=equation, quiet=quiet), as_json, quiet)


def _list(as_json: bool) -> None:
    """A line an equation: its name, and what it is."""
    from hubel.physics.posing import NAMES, posed

    shown = {name: posed(name).equation for name in NAMES}
    if as_json:
        print(json.dumps({name: equation.formula for name, equation in shown.items()}, ensure_ascii=False))
        return
    width = max(map(len, shown))
    for name, equation in shown.items():
        print(f"{name:<{width}}  {equation.title}: {equation.formula}")


def _end(solution: Solution, as_json: bool, quiet: bool) -> None:
    """How it ended: on stdout JSON where asked, or the folder where nothing else was said; and the exit code."""
    if quiet and not as_json:
        print(solution.folder)
    if as_json:
        from hubel.fitting.about import read_equation

        assert solution.folder is not None
        about = read_equation(solution.folder)
        entries = (
            "status",
            "stopped",
            "estimate",
            "reached",
            "limit",
            "seconds",
            "unknowns",
            "functions",
            "test",
        )
        print(json.dumps({"run": str(solution.folder), **{name: about.get(name) for name in entries}}))
    if solution.stopped == "interrupted":
        sys.exit(130)
