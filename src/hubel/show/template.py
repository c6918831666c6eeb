"""The pages of this folder's templates: everything escaped but drawings, and nothing that a template names may be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def rendered(template: str, **values: Any) -> str:
    """The page of a `template` (a file name) filled with `values`; the filter `svg` takes drawings as they are, which escape what they write."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    return environment.get_template(template).render(**values)
