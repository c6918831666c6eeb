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
Weights = Annotated[
    str | None,
    typer.Option(help='Published weights of a network: a .safetensors or .pth file, or "hf:OWNER/REPO".'),
]
Download = Annotated[
    bool, typer.Option("--download", help="Permit the network, for weights that are not here.")
]
Seed = Annotated[int, typer.Option(help="Decides everything random.")]
