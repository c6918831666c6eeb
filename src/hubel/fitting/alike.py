"""Data read again, and other data read alike: the options that a run recorded, as they hold for a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.core.errors import DamagedRun
from hubel.core.typed import refuse_other_types
from hubel.data import Dataset, load
from hubel.data.arrays import channels_axis, from_arrays
from hubel.data.builtin import BUILTIN
from hubel.data.feature_table import from_table
from hubel.data.itself import says_self
from hubel.data.masks import classes_of_reading
from hubel.data.reading import reading_again
from hubel.data.table_pieces import is_frame

if TYPE_CHECKING:
    from hubel.fitting.run import Run

WHOLE_TEXT = {"validation": 0.0, "test": 0.0, "least": 1}
OF_PICTURES = ("size", "resize", "channels", "nan")


def recorded_options(run: Run) -> dict[str, Any]:
    """The options with which the data of `run` were read, without the permission to download: what was fetched once is here.

    Raises `DamagedRun` for options that `hubel.data.load` does not know.
    """
    options = dict(run.about["loading"].get("options") or {})
    options.pop("download", None)
    reader: Callable[..., Dataset] = load
    if run.about["loading"].get("source") is None:
        reader = from_table if run.reading["kind"] == "table" else from_arrays
    known = set(signature(reader).parameters) - {"source", "x", "y", "like", "progress"}
    known |= {"reading"} if reader is from_table else set()
    try:
        refuse_other_types(reader, options, "loading.options")
        if unknown := sorted(set(options) - known):
            raise ValueError(
                f"loading.options has {', '.join(unknown)}; expected some of {', '.join(sorted(known))}"
            )
    except ValueError as error:
        raise DamagedRun(
            f"{run.folder / 'run.json'}: {error}. Restore it from a copy, or fit again"
        ) from error
    return options


def options_like(run: Run, source: Any, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options under which `source` becomes examples like those of `run`; what is `given` stands.

    Of a text all is read, in windows as long as those of the run, and its symbols are kept however rare they are. The same source of
    everything else is read with the same options. Of another one the pictures are read by the recorded reading (size, channels, type),
    arrays with their channels where those were; target, task and what becomes of NaN are as they were.
    """
    given = dict(given or {})
    if isinstance(source, Dataset):
        return given
    if run.reading["kind"] == "table" and (
        is_frame(source) or isinstance(source, (str, os.PathLike, Mapping))
    ):
        return {**given, "reading": dict(run.reading)}
    recorded = recorded_options(run)
    if run.reading["kind"] == "text" and isinstance(source, (str, os.PathLike)):
        return (
            {name: recorded[name] for name in ("tokens",) if name in recorded}
            | WHOLE_TEXT
            | {
                "length": run.reading["shape"][0],
                **given,
            }
        )
    if not isinstance(source, (str, os.PathLike)):
        return _of_arrays(run, source, recorded) | given
    text = os.fspath(source)
    if run.about["loading"].get("source") in (text, str(Path(text).expanduser().resolve())):
        return recorded | given
    if text.lower() in BUILTIN and isinstance(source, str):
        return given
    if run.reading["kind"] in ("series", "image series", "forecast"):
        return _of_series(run, Path(text).expanduser(), recorded) | given
    options = {name: recorded[name] for name in ("target", "task") if name in recorded}
    if Path(text).expanduser().is_dir() and not says_self(options.get("target")):
        options.pop("target", None)  # folders are their own labels
    if run.reading["kind"] == "volumes" or run.reading.get("layout") == "NDHW":
        options["kind"] = "volumes"
    of_pictures = {
        name: given.pop(name)
        for name in OF_PICTURES
        if name in given and given[name] not in ("first", "last")
    }
    return {**options, **given, "reading": _reading(run, of_pictures)}


def _reading(run: Run, changes: Mapping[str, Any]) -> dict[str, Any]:
    reading = dict(run.reading)
    if len(reading.get("size") or ()) != 2:  # not of pictures: only the word about NaN holds for others
        return {"shape": reading["shape"], **{name: changes[name] for name in ("nan",) if name in changes}}
    return reading_again(reading, changes)


def _of_arrays(run: Run, source: Any, recorded: Mapping[str, Any]) -> dict[str, Any]:
    if run.reading["kind"] == "forecast":
        length, horizon = run.reading["shape"][0], run.reading["horizon"]
        raise ValueError(
            f"a forecast is evaluated on one long series, whose windows know that they share steps: pass a file, or hubel.data.forecasting(series, "
            f"{horizon}, length={length}, target={run.reading['target_columns']})"
        )
    options: dict[str, Any] = {"nan": run.reading.get("nan", "refuse")}
    if "task" in recorded:
        options["task"] = recorded["task"]
    if run.reading["kind"] in ("series", "image series"):
        options["kind"] = run.reading["kind"]
    elif run.reading.get("layout") == "NDHW":
        options["kind"] = "volumes"
    elif (axis := channels_axis(np.shape(source), run.reading)) is not None:
        options["channels"] = axis
    if (masks := classes_of_reading(run.reading)) is not None:
        options["classes"] = dict(zip(map(str, masks.values), masks.classes, strict=True))
        options["unlabelled"] = "none" if masks.unlabelled is None else masks.unlabelled
    return options


def _of_series(run: Run, path: Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Series from another place: the same columns, and for a forecast windows of the same length."""
    reading = run.reading
    options: dict[str, Any] = {}
    if (
        reading["kind"] == "forecast"
    ):  # also where it was fitted to an array, of which no options are recorded
        options = {
            "forecast": reading["horizon"],
            "length": reading["shape"][0],
        }
        if "forecast" not in recorded:
            names = reading.get("channels")
            options["target"] = [
                f"column {k + 1}" if names is None else names[k] for k in reading["target_columns"]
            ]
    else:
        options["kind"] = reading["kind"]
    known = ("target", "task", "time", "season")
    options |= {name: recorded[name] for name in known if name in recorded}
    if path.is_dir():
        options.pop("target", None)
    return {**options, "nan": reading["nan"], "reading": dict(reading)}
