"""Series in files, one file a series: which columns are features, what the time says, and the same again for new files.

Steps at even times need no time: its column is left out. Where the times are uneven (a light curve), the time since the step before is a
feature of its own, the last one; that of the first step counts as the usual (median) one. The decision is kept in `Dataset.reading`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import mapped_npy
from hubel.data.arrays import Nan, checked_weights, finite
from hubel.data.dataset import Dataset
from hubel.data.decoding import refuse_unreadable
from hubel.data.listing import Listing
from hubel.data.reading import Progress
from hubel.data.series import Series, SeriesKind, pad_series
from hubel.data.steps import Steps, is_steps, read_steps
from hubel.data.targets import Task, read_targets

EVEN = 1e-3  # of the usual step: what times may deviate and still count as even
SINCE = "time since the step before"


def is_series_file(path: Path) -> bool:
    """Whether the name is that of a file that may hold one series: text, or `.npy`."""
    return is_steps(path) or path.suffix.lower() == ".npy"


def load_series(
    listing: Listing,
    kind: SeriesKind = "series",
    *,
    name: str,
    nan: Nan = "refuse",
    time: str | None = None,
    task: Task | None = None,
    symmetries: Iterable[str] = (),
    skip_unreadable: bool = False,
    like: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The series of a list of files, with their labels; with the columns of `like` (a `Dataset.reading`) where that is given.

    Raises `UnreadableData` naming every file that can not be read (unless they may be skipped), `ValueError` where the series do not
    go together.
    """
    found = read_targets(listing.y, classes=listing.classes, task=task, ids=listing.ids)
    read: Callable[[Path], Any] = (
        mapped_npy if kind == "image series" else lambda path: read_steps(path, time=time)
    )
    files: dict[int, Any] = {}
    failed: dict[int, str] = {}
    for k, path in enumerate(listing.paths):
        try:
            files[k] = read(path)
        except (UnreadableData, OSError) as error:
            failed[k] = str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
        if progress is not None:
            progress(k + 1, len(listing.paths))
    notes = refuse_unreadable(failed, listing.ids, skip_unreadable)
    kept = np.array(list(files), np.int64)
    ids = [listing.ids[k] for k in kept]
    columns: dict[str, Any] = {"channels": None, "time": None}
    arrays = list(files.values())
    if kind == "series":
        columns, more = plan_columns(arrays, ids) if like is None else (columns_like(like), ())
        notes = (*notes, *more)
        arrays = [features_of(steps, columns, one) for steps, one in zip(arrays, ids, strict=True)]
    padded = pad_series(arrays, kind=kind, names=ids, refuse_nan=nan == "refuse")
    values, counted = finite(padded.values, nan, ids)

    def of_kept(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else column[kept]

    series = replace(padded, values=values)
    return Dataset(
        inputs=series.values,
        targets=found.values[kept],
        classes=found.classes,
        name=name,
        ids=np.array(ids),
        groups=of_kept(listing.groups),
        weights=None if listing.weights is None else checked_weights(listing.weights)[kept],
        part=of_kept(listing.part),
        lengths=series.lengths if series.is_ragged else None,
        symmetries=frozenset(symmetries),
        channels=None if columns["channels"] is None else tuple(columns["channels"]),
        target_names=listing.target_names,
        notes=(*listing.notes, *found.notes, *notes, *counted),
        reading=reading_of_series(series, kind, nan) | columns | {"asked_time": time},
    )


def reading_of_series(series: Series, kind: SeriesKind, nan: str) -> dict[str, Any]:
    """What prediction needs to turn new series into the same rows; files add `channels` and `time`."""
    return {
        "kind": kind,
        "shape": [int(n) for n in series.values.shape[1:]],
        "dtype": series.values.dtype.name,
        "ragged": series.is_ragged,
        "nan": nan,
        "channels": None,
        "time": None,
    }


def plan_columns(files: Sequence[Steps], ids: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The names of the features and what becomes of the time, which all these files share; with notes.

    Raises `ValueError` where their columns differ, with the number and examples of each.
    """
    told = [_told(steps) for steps in files]
    if len(set(told)) > 1:
        first: dict[str, list[int]] = {}
        for k, text in enumerate(told):
            first.setdefault(text, []).append(k)
        shown = "; ".join(
            f"{len(rows):,} have {text} ({', '.join(ids[k] for k in rows[:3])})"
            for text, rows in sorted(first.items(), key=lambda item: -len(item[1]))
        )
        raise ValueError(f"the series have different columns: {shown}. Make them alike")
    one = files[0]
    if one.time is None:
        return {"channels": None if one.names is None else list(one.names), "time": None}, ()
    gaps = np.concatenate([np.diff(steps.time) for steps in files if steps.time is not None])
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    uneven = bool(len(gaps)) and bool((np.abs(gaps - usual) > EVEN * usual).any())
    unit = f" {one.time_unit}" if one.time_unit else ""
    time = {
        "name": one.time_name,
        "unit": one.time_unit,
        "place": one.place,
        "step": usual,
        "feature": uneven,
    }
    if not uneven:
        note = f"The column {one.time_name!r} says when each step was; the steps are even ({usual:.6g}{unit}), so it is no feature."
        return {"channels": None if one.names is None else list(one.names), "time": time}, (note,)
    names = one.names or tuple(f"column {k + 1}" for k in range(one.values.shape[1]))
    since = f"{SINCE} ({one.time_unit})" if one.time_unit else SINCE
    note = (
        f"The times in {one.time_name!r} are uneven (from {gaps.min():.4g} to {gaps.max():.4g}{unit} between steps): the time since the step "
        "before is a feature, the last one."
    )
    return {"channels": [*names, since], "time": time}, (note,)


def columns_like(reading: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of columns that a reading records."""
    return {"channels": reading.get("channels"), "time": reading.get("time")}


def features_of(steps: Steps, columns: Mapping[str, Any], name: str) -> np.ndarray:
    """The features [L, F] of a file, by the plan of `plan_columns`. Columns that it does not name are left out.

    Raises `UnreadableData` where a feature or the time is missing, or steps come at another rate than those of training.
    """
    time, wanted = columns["time"], columns["channels"]
    feature = time if time is not None and time["feature"] else None
    if wanted is not None and feature is not None:
        wanted = wanted[:-1]
    values = steps.values
    if wanted is not None and steps.names is not None:
        missing = [column for column in wanted if column not in steps.names]
        if missing:
            raise UnreadableData(
                f"{name} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, steps.names))}"
            )
        values = values[:, [steps.names.index(column) for column in wanted]]
    if feature is None:
        if time is not None:
            _refuse_other_steps(steps, time, name)
        return values
    if steps.time is None:
        raise UnreadableData(
            f"{name} has no column {feature['name']!r} for the time, which the network looks at"
        )
    since = np.diff(steps.time, prepend=steps.time[0] - feature["step"])
    return np.concatenate([values, since[:, None]], axis=1)


def _refuse_other_steps(steps: Steps, time: Mapping[str, Any], name: str) -> None:
    """Where the time is no feature, it must be that of training: a network that learned hours takes minutes for hours.

    Raises `UnreadableData` where the usual step is another one, and warns where some are.
    """
    if steps.time is None or len(steps.time) < 2 or not time["step"]:
        return
    gaps, usual = np.diff(steps.time), float(time["step"])
    median = float(np.median(gaps))
    units = [f" {unit}" if unit else "" for unit in (steps.time_unit, time["unit"])]
    if abs(median - usual) > EVEN * usual:
        raise UnreadableData(
            f"{name} has a step every {median:.6g}{units[0]}, but the network was fitted to one every {usual:.6g}{units[1]}: bring the series to "
            "that step, or take the column of the time out of it"
        )
    if (np.abs(gaps - usual) > EVEN * usual).any():
        row = int((np.abs(gaps - usual) > EVEN * usual).argmax())
        warnings.warn(
            f"{name} has uneven steps (first {gaps[row]:.6g}{units[0]} before row {row + 2}), which the network takes for even ones",
            UserWarning,
            stacklevel=2,
        )


def _told(steps: Steps) -> str:
    """The columns of a file in words; their order does not matter where they have names."""
    names = (
        f"{steps.values.shape[1]} without names" if steps.names is None else ", ".join(sorted(steps.names))
    )
    return names if steps.time is None else f"{names} and the time {steps.time_name}"
