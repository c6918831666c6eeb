"""Forecasting: one long series becomes windows, each with the values that follow it as its targets.

    inputs   x[t - L + 1 … t]  [L, F]      targets   y[t + 1 … t + H]  [H·K], step by step: y₁(t+1), y₂(t+1), …, y₁(t+2), …

The parts are stretches in order of time (training first), and no window lies across a border: no part sees a step of another.

What a forecast has to be better than are the naive ones, which need no learning:

    last value   ŷ(t + h) = y(t)
    seasonal     ŷ(t + h) = y(t + h - s ⌈h / s⌉)         the value at the same phase of the last whole season of s steps

A seasonal forecast of s = 1 is the last value. Where no season is said, s is the one (2 … L) of the least squared error in the training part.

Neighbouring windows share steps and errors, so `groups` puts them into blocks that are drawn together: as long as the square root of their
number, but not so long that a test part of a fifth has fewer than 8, and never shorter than the horizon. Measured on 200 made
autoregressions of order 2 (and 1) each, with their best possible forecasts: how often the 95 % intervals of error and of skill hold the truth

    steps   window   horizon      error         skill
      300     12        4      0.89 (0.89)   0.82 (0.94)
    1,000     30        6      0.93 (0.93)   0.94 (0.95)
    1,000     48       24      0.86 (0.85)   0.96 (0.94)
    5,000     30        6      0.94 (0.94)   0.91 (0.95)

Source: R. J. Hyndman, G. Athanasopoulos, "Forecasting: principles and practice", 3rd edition (2021), section 5.2 (simple methods).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, nearest
from hubel.data.arrays import Nan, finite, stored_values
from hubel.data.dataset import Dataset
from hubel.data.series_files import columns_like, features_of, plan_columns
from hubel.data.steps import name_and_unit, read_steps
from hubel.data.storage import in_slices
from hubel.data.targets import as_numpy

LEAST_LENGTH = 30
BLOCKS = 40  # of windows at least, unless they were shorter than the horizon: 8 in a test part of a fifth
NEARLY = 1.05  # of the least error: no longer season than one that is nearly as good


def forecasting(
    series: Any,
    horizon: int,
    *,
    length: int | None = None,
    target: str | int | Sequence[str | int] | None = None,
    columns: Sequence[str] | None = None,
    season: int | None = None,
    nan: Nan = "refuse",
    name: str = "series",
    source: str = "arrays",
) -> Dataset:
    """The windows of one long `series` [T, F] (or [T]), each with the next `horizon` values of the `target` columns.

    `length` is L, the steps that a forecast looks at (default 2 `horizon`, at least 30). `columns` are the names of the F columns, where
    they have units in brackets ("flux (mJy)"); `target` names some of them, or says their numbers (default: all). `season` is the
    number of steps in a season, for the naive forecast. The inputs are a view of the series: a window takes no memory.

    Raises `ValueError` where the series is too short for a window, a column is not there, or a number is out of its range, `UnreadableData`
    for NaN and infinite values.

    >>> data = forecasting(np.arange(100.0), 2, length=5)
    >>> data, data.inputs[0, :, 0].tolist(), data.targets[0].tolist()
    (Dataset('series': 94 examples of 5 × 1 float64, targets (2,) float64), [0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 6.0])
    """
    values, notes = stored_values(as_numpy(series, "the series"), "the series")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] < 1:
        raise ValueError(
            f"the series has shape {values.shape}; expected one long series [T, F] or [T], with time along the first axis"
        )
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any() and nan == "refuse":
        raise UnreadableData(
            f"{int(wrong.sum()):,} of {len(values):,} steps hold NaN or infinite values, first step {int(wrong.argmax())} (counted from 0): fill "
            "them in, by interpolation for instance, or take the longest stretch without a gap"
        )
    length = max(2 * horizon, LEAST_LENGTH) if length is None else length
    _check_sizes(values, horizon, length, season)
    if columns is not None and len(columns) != values.shape[1]:
        raise ValueError(f"columns has {len(columns)} names, but the series has {values.shape[1]} columns")
    chosen = _chosen(target, columns, values.shape[1])
    if (gaps := ~np.isfinite(values[:, chosen]).all(axis=1)).any():
        raise UnreadableData(
            f"{int(gaps.sum()):,} of {len(values):,} steps lack a value that is to be forecast, first step {int(gaps.argmax())} (counted from 0): "
            "zero would be taken for a measurement; fill them in, or take the longest stretch without a gap"
        )
    values, counted = finite(values, nan)
    values = np.ascontiguousarray(values)
    inputs = np.lib.stride_tricks.sliding_window_view(
        values[: len(values) - horizon], length, axis=0
    ).swapaxes(1, 2)
    wanted = values[length:, chosen].astype(np.float32 if values.dtype == np.float32 else np.float64)
    targets = (
        np.lib.stride_tricks.sliding_window_view(wanted, horizon, axis=0)
        .swapaxes(1, 2)
        .reshape(len(inputs), -1)
    )
    first = np.arange(len(inputs))
    named = [
        ("value", None) if columns is None and values.shape[1] == 1 else _named(columns, k) for k in chosen
    ]
    constant = [
        _named(columns, k)[0] for k in range(values.shape[1]) if values[:, k].min() == values[:, k].max()
    ]
    if constant:
        notes = (*notes, f"These columns are the same in every step: {', '.join(constant[:10])}.")
    return Dataset(
        inputs=inputs,
        targets=targets,
        name=name,
        ids=np.array([f"step {step}" for step in (first + length).tolist()]),
        spans=np.stack([first, first + length + horizon], axis=1),
        groups=first // max(horizon, min(math.isqrt(len(first)), len(first) // BLOCKS)),
        channels=None if columns is None else tuple(columns),
        target_names=tuple(f"{word} +{step}" for step in range(1, horizon + 1) for word, _ in named),
        units=tuple(unit or "" for _ in range(horizon) for _, unit in named)
        if any(unit for _, unit in named)
        else None,
        source=source,
        notes=(*notes, *counted),
        reading={
            "kind": "forecast",
            "shape": [length, values.shape[1]],
            "dtype": values.dtype.name,
            "ragged": False,
            "nan": nan,
            "channels": None if columns is None else list(columns),
            "time": None,
            "horizon": horizon,
            "target_columns": chosen,
            "season": season,
        },
    )


def load_forecasting(
    path: str | os.PathLike[str],
    horizon: int,
    *,
    length: int | None = None,
    target: str | Sequence[str] | None = None,
    season: int | None = None,
    time: str | None = None,
    nan: Nan = "refuse",
    like: Mapping[str, Any] | None = None,
) -> Dataset:
    """The windows of the long series in a file (`.csv`, `.tsv`, `.txt`, `.parquet`, `.npy`): see `forecasting` and `hubel.data.steps`.
    With `like` (a `Dataset.reading`) its columns are read as there.
    """
    file = Path(path).expanduser()
    steps = read_steps(file, time=time)
    columns, notes = plan_columns([steps], [file.name]) if like is None else (columns_like(like), ())
    if target is None and columns["time"] is not None and columns["time"]["feature"]:
        target = columns["channels"][:-1]
    data = forecasting(
        features_of(steps, columns, str(file)),
        horizon,
        length=length,
        target=target,
        columns=columns["channels"],
        season=season,
        nan=nan,
        name=file.name.split(".")[0],
        source=str(file.absolute()),
    )
    reading = {**data.reading, **columns, "asked_time": time}
    return replace(data, notes=(*notes, *data.notes), reading=reading)


@dataclass(frozen=True, kw_only=True, eq=False)
class NaiveForecast:
    """What needs no learning: its name in words, the steps of its season (1: the last value), and its forecasts [N, H·K]."""

    name: str
    season: int
    values: np.ndarray


def words_of_forecast(data: Dataset) -> str | None:
    """What is asked for, in words; None where it is no forecast.

    >>> words_of_forecast(forecasting(np.arange(100.0), 3))
    'the next 3 values of value'
    """
    if data.reading.get("kind") != "forecast":
        return None
    columns = len(data.reading["target_columns"])
    names = [name.rpartition(" +")[0] for name in (data.target_names or ())[:columns]]
    horizon = int(data.reading["horizon"])
    told = f"the next {horizon:,} values" if horizon > 1 else "the next value"
    return f"{told} of {', '.join(names[:5])}{', …' if columns > 5 else ''}"


def naive_forecasts(train: Dataset, data: Dataset) -> tuple[NaiveForecast, ...]:
    """The last value and the seasonal forecast for every window of `data`; the season is said by the data, or found in `train`.

    >>> data = forecasting(np.sin(np.arange(80) * 2 * np.pi / 8), 3, length=20)
    >>> [(naive.name, bool(np.allclose(naive.values, data.targets))) for naive in naive_forecasts(data, data)]
    [('the last value', False), ('the value one season (8 steps) before', True)]
    """
    season = data.reading["season"]
    if season is None:
        season = find_season(train)
    found = [NaiveForecast(name="the last value", season=1, values=_repeated(data, 1))]
    if season > 1:
        name = f"the value one season ({season} steps) before"
        found.append(NaiveForecast(name=name, season=season, values=_repeated(data, season)))
    return tuple(found)


def find_season(train: Dataset, *, most: int = 2000) -> int:
    """The season s (2 … L) whose naive forecast has the least squared error over (at most `most`) windows of `train`, each column in units of
    its own spread; of those within 5 % of the least the shortest, since its multiples are seasons too. 1 where the last value is among them.
    """
    rows = np.unique(np.linspace(0, len(train) - 1, min(most, len(train))).astype(int))
    part = train.select(rows)
    targets = np.asarray(part.targets)
    spread = targets.std(axis=0)
    spread[spread == 0] = 1.0
    errors = [
        float(np.square((_repeated(part, season) - targets) / spread).mean())
        for season in range(1, train.shape[0] + 1)
    ]
    return next(
        season for season, error in enumerate(errors, start=1) if error <= NEARLY * min(errors) + 1e-9
    )


def _repeated(data: Dataset, season: int) -> np.ndarray:
    """The forecasts [N, H·K] that repeat the last season of every window."""
    length, horizon = data.shape[0], data.reading["horizon"]
    ahead = np.arange(1, horizon + 1)
    steps = length - 1 + ahead - season * -(-ahead // season)
    found = np.empty((len(data), horizon * len(data.reading["target_columns"])))
    for rows in in_slices(data.inputs):
        values = data.inputs[rows][:, steps][:, :, list(data.reading["target_columns"])]
        found[rows] = values.reshape(len(values), -1)
    return found


def _check_sizes(values: np.ndarray, horizon: int, length: int, season: int | None) -> None:
    for word, number in (("horizon", horizon), ("length", length), ("season", season)):
        if number is not None and (isinstance(number, bool) or int(number) != number or number < 1):
            raise ValueError(f"{word} is {number!r}; expected a whole number of steps, at least 1")
    if season is not None and season > length:
        raise ValueError(
            f"season is {season} steps, but a forecast looks at {length}: give a length of at least {season}"
        )
    if len(values) < length + horizon:
        raise ValueError(
            f"the series has {len(values):,} steps, but one window takes {length + horizon:,} (length {length:,} and horizon {horizon:,}): give a "
            "longer series, or a smaller length"
        )


def _chosen(
    target: str | int | Sequence[str | int] | None, columns: Sequence[str] | None, num: int
) -> list[int]:
    """The numbers of the target columns."""
    if target is None:
        return list(range(num))
    found = []
    for one in [target] if isinstance(target, (str, int)) else list(target):
        if isinstance(one, int):
            if not 0 <= one < num:
                raise ValueError(
                    f"target is column {one}, but the series has {num} columns: expected 0 to {num - 1}"
                )
            found.append(one)
            continue
        names = [f"column {k + 1}" for k in range(num)] if columns is None else list(columns)
        plain = [name_and_unit(name)[0] for name in names]
        if one not in names and one not in plain:
            there = (
                nearest(one, names)
                if columns is not None
                else f' Its columns have no names: say their numbers, "column 1" to "column {num}", or give the file a header.'
            )
            raise ValueError(f"the series has no column {one!r} to forecast.{there}")
        found.append(names.index(one) if one in names else plain.index(one))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"target={target!r}: expected one column or several different ones")
    return found


def _named(columns: Sequence[str] | None, k: int) -> tuple[str, str | None]:
    return (f"column {k + 1}", None) if columns is None else name_and_unit(columns[k])
