"""Which sources are texts: files by their name, and the text that hubel embeds.

Embedded: the Queries with which Isaac Newton's *Opticks* ends, fourth edition, London 1730 (Newton died in 1727; no right is left in
the book anywhere). The text is the Project Gutenberg transcription, prepared by Suzanne Lybarger, Steve Harris, Josephine Paolucci and
the Online Distributed Proofreading Team, without its header, its marks of italics and the illustrations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubel.data.boxes_lines import is_lines
from hubel.data.dataset import Dataset
from hubel.data.steps import are_numbers
from hubel.data.text import SUFFIXES, is_text, load_text


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A text that comes with the installation."""

    name: str
    title: str
    file: str
    licence: str

    @property
    def path(self) -> Path:
        return Path(__file__).with_name(self.file)


EMBEDDED = {
    text.name: text
    for text in (
        Embedded(
            name="opticks",
            title="the Queries of I. Newton's Opticks (fourth edition, London 1730; Project Gutenberg's transcription)",
            file="opticks.txt",
            licence="public domain",
        ),
    )
}


def text_file(source: Any) -> Path | None:
    """The file of a text: of its path, or of the name of an embedded one; None for everything else.

    >>> text_file("opticks").name, text_file("digits")
    ('opticks.txt', None)
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    known = EMBEDDED.get(os.fspath(source).lower())
    path = Path(source).expanduser() if known is None else known.path
    if known is None and is_lines(path):
        return None  # pictures with boxes
    return path if known is not None or (is_text(path) and path.is_file()) else None


def with_shares(
    source: Any, options: Mapping[str, Any] | None, shares: Mapping[str, float | None]
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The options under which `source` is read, and the shares of its parts that are left for the split: a text is parted where it is cut
    into windows, everything else afterwards.

    >>> with_shares("opticks", {"length": 50}, {"validation": None, "test": 0.2})
    ({'length': 50, 'test': 0.2}, {'validation': None, 'test': None})
    """
    options = dict(options or {})
    if text_file(source) is None or options.get("forecast") is not None:
        return options, dict(shares)
    given = {part: share for part, share in shares.items() if share is not None}
    return options | given, dict.fromkeys(shares)


def load_as_text(source: Any, windows: Mapping[str, Any], others: Mapping[str, Any]) -> Dataset | None:
    """The dataset of a text, cut as `windows` says (arguments of `load_text`; those that are None are left to it); None where `source` is
    no text.

    Raises `ValueError` where one of the `others` is given that mean nothing for a text, or one of `windows` for something else.
    """
    path = text_file(source)
    if path is None and isinstance(source, (str, os.PathLike)) and is_text(source):
        return None  # there is no such file, which the caller says
    meaningless = windows if path is None else others
    if wrong := [f"{name}={value!r}" for name, value in meaningless.items() if value is not None]:
        of_series = wrong[0].partition("=")[0] in ("kind", "time", "season")
        raise ValueError(
            f"{wrong[0]} says how a text becomes windows, but {source} is no text ({', '.join(SUFFIXES)}): leave it out"
            + (", or say forecast= for a long series" if "length" in wrong[0] else "")
            if path is None
            else f"{wrong[0]} was given, but {source} is a text, whose target is the symbol that follows: leave it out"
            + (", or say forecast= where the file is one long series" if of_series else "")
        )
    if path is None:
        return None
    data = load_text(path, **{name: value for name, value in windows.items() if value is not None})
    if are_numbers(path):
        data = replace(
            data,
            notes=(
                *data.notes,
                "The file looks like a table of numbers, but is read as a text by its name: for one long series say forecast= (--forecast).",
            ),
        )
    known = EMBEDDED.get(os.fspath(source).lower())
    return data if known is None else replace(data, source=f"built-in {known.name}: {known.title}")
