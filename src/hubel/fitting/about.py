"""`run.json`, read as something that may come from a stranger or from a damaged disk: every entry that is used later is of its type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import DamagedRun
from hubel.core.typed import is_of

FORMAT = 1
SEVERAL = (
    ("ensemble.json", "an ensemble", "member-1"),
    ("folds.json", "a cross-validation", "fold-1"),
)  # what a folder of several runs holds
DEEPEST = 40  # objects within objects
EQUATION = "equation"  # the kind of a run that solved one, and has no labelled data
NEEDED = ("status", "data", "split", "net", "objective", "preprocessing", "recipe", "loading")
ENTRIES: dict[str, Any] = {
    "status": str,
    "stopped": str,
    "created": str,
    "device": str,
    "loading": Mapping[str, Any],
    "loading.source": str | None,
    "loading.options": Mapping[str, Any] | None,
    "data": Mapping[str, Any],
    "data.name": str,
    "data.source": str,
    "data.examples": int,
    "name": str,
    "data.shape": Sequence[int],
    "data.dtype": str,
    "data.classes": Sequence[str] | None,
    "data.fingerprint": str,
    "data.symmetries": Sequence[str],
    "data.duplicates": Mapping[str, Any],
    "data.reading": Mapping[str, Any] | None,
    "data.reading.kind": str,
    "data.reading.shape": Sequence[int],
    "data.reading.dtype": str,
    "data.reading.layout": str,
    "data.reading.nan": str,
    "data.reading.channels": Sequence[str] | None,
    "data.reading.convert": str | None,
    "data.reading.size": Sequence[int] | None,
    "data.reading.resize": str,
    "data.reading.masks": Mapping[str, Any] | None,
    "data.reading.masks.values": Sequence[int],
    "data.reading.masks.classes": Sequence[str],
    "data.reading.masks.unlabelled": int | None,
    "split": Mapping[str, Any],
    "split.how": str,
    "split.sha256": str,
    "net": Mapping[str, Any],
    "net.name": str | None,
    "net.class": str,
    "net.arguments": Mapping[str, Any],
    "net.parameters": int,
    "net.weights": Mapping[str, Any] | None,
    "objective": Mapping[str, Any],
    "preprocessing": Mapping[str, Any],
    "recipe": Mapping[str, Any],
    "reasons": Mapping[str, str],
    "machine": Mapping[str, Any],
    "versions": Mapping[str, Any],
    "resumed": int,
    "moved": Sequence[str],
    "test_looks": int,
    "seconds": float | None,
    "test": Mapping[str, Any],
    "scored_part": str,
}
NEEDED_INSIDE = (
    "data.name",
    "data.examples",
    "data.classes",
    "data.fingerprint",
    "split.how",
    "split.sha256",
    "net.parameters",
)
NEEDED_OF_EQUATION = ("status", "created", "equation", "problem", "asked", "test")
ENTRIES_OF_EQUATION: dict[str, Any] = {
    "status": str,
    "stopped": str,
    "created": str,
    "name": str,
    "equation": Mapping[str, Any],
    "equation.named": str,
    "equation.file": str,
    "equation.sha256": str,
    "problem": Mapping[str, Any],
    "problem.title": str,
    "problem.formula": str,
    "problem.source": str,
    "problem.fields": Sequence[str],
    "problem.time": str | None,
    "problem.ranges": Mapping[str, Sequence[float]],
    "problem.parameters": Mapping[str, float | None],
    "problem.functions": Mapping[str, Sequence[str]],
    "problem.units": Mapping[str, str],
    "asked": Mapping[str, Any],
    "asked.tol": float,
    "asked.seed": int,
    "asked.budget": float | None,
    "asked.threads": int,
    "asked.continuation": Mapping[str, Sequence[float]] | None,
    "asked.causal": bool | float,
    "asked.windows": int | None,
    "asked.network": Mapping[str, Any] | None,
    "asked.method": Mapping[str, Any] | None,
    "network": str,
    "method": str,
    "data": Mapping[str, Any] | None,
    "data.sha256": str,
    "data.rows": int,
    "machine": Mapping[str, Any],
    "versions": Mapping[str, Any],
    "resumed": int,
    "weights": int | None,
    "seconds": float | None,
    "estimate": float | None,
    "reached": bool,
    "limit": str,
    "warnings": Sequence[str],
    "unknowns": Mapping[str, Any],
    "functions": Mapping[str, Any],
    "noise": Mapping[str, float],
    "violations": Mapping[str, float],
    "residual": float | None,
    "reference": Mapping[str, Any] | None,
    "classical": Mapping[str, Any] | None,
    "test": Mapping[str, Any],
}
NEEDED_OF_READING = ("kind", "shape", "dtype")
NEEDED_OF_PICTURES = ("channels", "convert", "size", "resize", "nan")
NEEDED_OF_KIND = {
    "features": ("nan",),
    "arrays": ("nan",),
    "volumes": ("nan",),
    "series": ("nan", "ragged"),
    "image series": ("nan", "ragged"),
    "forecast": ("nan", "ragged", "horizon", "target_columns"),
    "table": ("nan", "columns"),
    "text": ("alphabet", "tokens"),
}
NEEDED_OF_MASKS = ("values", "classes", "unlabelled")
SCORE = {
    "value": float | None,
    "low": float | None,
    "high": float | None,
    "level": float | None,
    "count": int | None,
    "method": str,
}


def read_about(folder: Path) -> dict[str, Any]:
    """`run.json` of a run folder.

    Raises `FileNotFoundError`, `DamagedRun` or `ValueError` (unknown format) with the remedy.
    """
    about, path = _loaded(folder)
    if about.get("kind") == EQUATION:
        raise ValueError(
            f"{folder} holds the solution of an equation, and a fitted network is asked for: open it with hubel.open_solution, or see "
            f"{folder / 'report.html'}"
        )
    if wrong := _wrong(about):
        raise DamagedRun(f"{path} {wrong}: restore it from a copy, or fit again")
    return about


def read_equation(folder: Path) -> dict[str, Any]:
    """`run.json` of the run of an equation.

    Raises what `read_about` raises, and `ValueError` for the run of a fit.
    """
    about, path = _loaded(folder)
    if about.get("kind") != EQUATION:
        raise ValueError(
            f"{folder} holds a fitted network, and the solution of an equation is asked for: open it with hubel.open_run"
        )
    if wrong := _wrong_entries(about, NEEDED_OF_EQUATION, ENTRIES_OF_EQUATION):
        raise DamagedRun(f"{path} {wrong}: restore it from a copy, or solve again")
    return about


def is_equation(folder: Path | str) -> bool:
    """Whether this is the run of an equation; what can not be read is none."""
    try:
        return _loaded(Path(folder))[0].get("kind") == EQUATION
    except (OSError, ValueError, RuntimeError):
        return False


def _loaded(folder: Path) -> tuple[dict[str, Any], Path]:
    """The content of `run.json` of a known format, and its path."""
    path = folder / "run.json"
    if not path.exists():
        for file, several, one in SEVERAL:
            if (folder / file).exists():
                raise FileNotFoundError(
                    f"{folder} is {several}, and one run is asked for: name one of those in it, such as {folder / one}"
                )
        what = "is not a run folder (it has no run.json)" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"{folder} {what}; list the runs that there are with: hubel runs")
    try:
        about = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedRun(f"{path} is damaged ({error}): restore it from a copy, or fit again") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise ValueError(
            f"{path} has format {found!r}; this hubel reads format {FORMAT}. Take the hubel that wrote it: {about.get('hubel', 'unknown') if isinstance(about, dict) else 'unknown'}"
        )
    return about, path


def _wrong(about: dict[str, Any]) -> str:
    """What of `about` can not be used, in words; empty where all of it can."""
    if wrong := _wrong_entries(about, NEEDED, ENTRIES):
        return wrong
    if missing := [name for name in NEEDED_INSIDE if not _entry(about, name)[1]]:
        return f"lacks {', '.join(missing)}"
    if wrong := _wrong_reading(about["data"]):
        return wrong
    for name in ("data.dtype", "data.reading.dtype", "preprocessing.dtype"):
        value, there = _entry(about, name)
        if there and not _is_number_type(value):
            return f"has {name} = {_short(value)}, which is no type of numbers"
    for name, score in about.get("test", {}).items():
        if not isinstance(score, Mapping):
            return f"has test.{name} = {_short(score)}, which is of the wrong type"
        for key, hint in SCORE.items():
            if key in score and not is_of(score[key], hint):
                return f"has test.{name}.{key} = {_short(score[key])}, which is of the wrong type"
    return ""


def _wrong_entries(about: dict[str, Any], needed: Sequence[str], entries: Mapping[str, Any]) -> str:
    """What is missing or of the wrong type."""
    if missing := [name for name in needed if name not in about]:
        return f"lacks {', '.join(missing)}"
    if _depth(about) > DEEPEST:
        return f"has objects within objects, more than {DEEPEST} deep"
    for name, hint in entries.items():
        value, there = _entry(about, name)
        if there and not is_of(value, hint):
            return f"has {name} = {_short(value)}, which is of the wrong type"
    return ""


def _wrong_reading(data: Mapping[str, Any]) -> str:
    """What of the way in which files become rows can not be used."""
    reading = data.get("reading")
    if not reading:
        return ""
    pictures = reading.get("kind") in ("images", "arrays") and len(reading.get("shape", ())) == 3
    kind = NEEDED_OF_PICTURES if pictures else NEEDED_OF_KIND.get(str(reading.get("kind")), ())
    needed = NEEDED_OF_READING + kind
    if missing := [name for name in needed if name not in reading]:
        return f"lacks {', '.join(f'data.reading.{name}' for name in missing)}"
    if not reading["shape"] or min(reading["shape"]) < 1:
        return f"has data.reading.shape = {_short(reading['shape'])}; expected the sizes of an example"
    masks = reading.get("masks")
    if masks and not (
        set(masks) >= set(NEEDED_OF_MASKS) and 1 < len(masks["values"]) == len(masks["classes"])
    ):
        return f"has data.reading.masks = {_short(masks)}, which does not name the classes of masks"
    if pictures and (
        list(reading["size"] or ()) != list(reading["shape"][1:])
        or list(reading["shape"]) != list(data.get("shape", reading["shape"]))
    ):
        return f"says that the data are {data.get('shape')}, but that they were read as {reading['shape']} of size {reading['size']}"
    return ""


def _entry(about: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """The entry `name` (dots go inside), and whether it is there."""
    value: Any = about
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None, False
        value = value[key]
    return value, True


def _is_number_type(value: Any) -> bool:
    try:
        return isinstance(value, str) and np.dtype(value).kind in "biuf"
    except (TypeError, ValueError, SyntaxError):
        return False


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inside = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list))
        ]
        level, depth = [one for items in inside for one in items], depth + 1
    return depth


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
