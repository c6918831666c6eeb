"""Words for `load` that say nothing about what is read: each is a misunderstanding, which is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubel.data.builtin import BUILTIN


def refuse_for_forecasts(
    source: Any, forecast: int, windows: Mapping[str, Any], of_files: Mapping[str, Any]
) -> None:
    """Raise `ValueError` for words about texts (`windows`) or about many files and tables (`of_files`) beside a forecast, and for data
    that are built in; what is None was not said.
    """
    if given := [name for name, value in windows.items() if value is not None]:
        raise ValueError(
            f"{given[0]}= is for texts, but forecast={forecast} asks for the next values of a series"
        )
    if given := [f"{name}={value!r}" for name, value in of_files.items() if value is not None]:
        columns = given[0].partition("=")[0] in ("columns", "ignore")
        raise ValueError(
            f"{given[0]} was given, but forecast={forecast} asks for the next values of one long series: leave it out"
            + (". A forecast looks at all columns of its file: take the others out of it" if columns else "")
        )
    if isinstance(source, str) and source.lower() in BUILTIN:
        raise ValueError(
            f"forecast={forecast} asks for the next values of one long series, but {source} is built in and holds none: name a file"
        )


def refuse_no_path(path: Path) -> None:
    """Raise `FileNotFoundError` for what no path can be, such as a text that was passed in place of its path."""
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{str(path)[:60] + '…'!r} is no path; a text itself is cut into windows first: hubel.fit(hubel.data.from_text(text))"
        ) from error
