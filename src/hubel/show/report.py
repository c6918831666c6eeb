"""A run as one offline HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from hubel.show.evidence import Evidence


def report(run: Evidence | os.PathLike | str) -> str:
    """The page for a run folder (or `Evidence` read from one), as HTML: one file, under 2 MB, no network."""
    import jinja2

    evidence = run if isinstance(run, Evidence) else Evidence.read(Path(run))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(evidence=evidence)
