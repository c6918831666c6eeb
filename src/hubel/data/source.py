"""What a user may hand over as data, and the `Dataset` behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from hubel.data.arrays import from_arrays
from hubel.data.dataset import Dataset
from hubel.data.feature_table import from_table
from hubel.data.itself import says_self
from hubel.data.loading import load
from hubel.data.table_pieces import is_frame
from hubel.data.targets import SELF


def dataset_of(
    source: Any,
    y: Any = None,
    *,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The dataset behind what a user gave: a Dataset, arrays `x, y`, a pandas DataFrame, or a path or built-in name (read with `options`).

    Where `y` is "self", the examples are their own target.
    """
    if isinstance(y, str):
        return _itself(source, y, dict(options or {}), progress)
    given = dict(options or {})
    if isinstance(source, Dataset):
        if y is not None:
            raise TypeError("received a Dataset and y; a Dataset holds its targets already: leave y out")
        return source
    if isinstance(source, (str, os.PathLike)):
        if y is not None:
            raise TypeError(f"received {source!r} and y; y goes with arrays: fit(x, y)")
        return load(source, progress=progress, **given)
    if is_frame(source) or isinstance(source, Mapping):
        like = given.pop("reading", None)
        if y is None and "target" not in given and like is None:
            raise TypeError(
                'received a table without targets; expected fit(table, target="name of a column"), fit(table, y), or fit(table, "self") for the rows themselves'
            )
        return from_table(source, y, like=like, progress=progress, **given)
    if y is None and "forecast" in given:
        raise TypeError(
            f"received a {type(source).__name__} and forecast={given['forecast']}: of an array make windows, hubel.fit(hubel.data.forecasting(series, "
            f"{given['forecast']}))"
        )
    if y is None:
        raise TypeError(
            f"received a {type(source).__name__} without targets; expected fit(x, y), fit(x, 'self') for the input itself, a Dataset, a path, or the name of built-in data"
        )
    return from_arrays(source, y, **given)


def _itself(
    source: Any, y: str, options: dict[str, Any], progress: Callable[[int, int], None] | None
) -> Dataset:
    if not says_self(y):
        raise TypeError(f'y is {y!r}; expected one target per example, or "{SELF}" for the input itself')
    if isinstance(source, Dataset):
        return source.as_its_own_target()
    if isinstance(source, (str, os.PathLike)):
        return load(source, progress=progress, **{**options, "target": SELF})
    if is_frame(source) or isinstance(source, Mapping):
        like = options.pop("reading", None)
        return from_table(source, like=like, progress=progress, **{**options, "target": SELF})
    return from_arrays(source, SELF, **options)
