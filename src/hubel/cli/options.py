"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress on stderr; the run folder alone on stdout.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Device = Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1" or "mps".')]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
