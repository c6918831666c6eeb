"""New series, read exactly as those from which a network learned: files, lists, arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.archives import mapped_npy, opened_npz
from hubel.data.arrays import finite, stored_values
from hubel.data.prediction_input import as_type
from hubel.data.reading import Progress
from hubel.data.series import AXES, Series, SeriesKind, is_list_of_series, pad_series
from hubel.data.series_files import features_of
from hubel.data.steps import PARQUET, is_steps, read_steps
from hubel.data.targets import as_numpy

KINDS = ("series", "image series", "forecast")


def series_like(
    source: list[Path] | Any, reading: Mapping[str, Any], progress: Progress | None = None
) -> np.ndarray | Series:
    """The series behind `source` (a list of paths that exist; or a `Series`, a list of arrays, an array of one or of many), by the steps
    that `reading` records: a `Series` where lengths differ or differed in training, else an array [N, L, F]. For a forecast each series
    gives its last steps.

    Raises `UnreadableData` naming a file that can not be read, `ValueError` for series of another kind.
    """
    if isinstance(source, list) and source and all(isinstance(one, Path) for one in source):
        found: list[tuple[str, np.ndarray]] = []
        for done, path in enumerate(source, start=1):
            found += [(name, _checked(one, reading, name)) for name, one in _in_file(path, reading)]
            if progress is not None:
                progress(done, len(source))
    else:
        found = [(name, _checked(one, reading, name)) for name, one in _in_memory(source, reading)]
    if reading["kind"] == "forecast":
        return _last_steps(found, reading)
    names, arrays = [name for name, _ in found], [one for _, one in found]
    kind: SeriesKind = reading["kind"]
    padded = pad_series(arrays, kind=kind, names=names, refuse_nan=reading["nan"] == "refuse")
    values = finite(padded.values, reading["nan"], names)[0]
    if reading["ragged"] or padded.is_ragged:
        return Series(values=values, lengths=padded.lengths)
    return values


def _in_file(path: Path, reading: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    """The series in a file with their names: one, or (in an array file) many."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with opened_npz(path) as archive:
            names = archive.files
            known = [n for n in names if n.lower() in ("x", "inputs", "data", "features", "images")]
            if len(known) != 1 and len(names) != 1:
                raise ValueError(
                    f"{path} has the arrays {', '.join(names)}; expected one array, or one of them named x"
                )
            x = archive[known[0] if known else names[0]]
            lengths = next((archive[n] for n in names if n.lower() in ("lengths", "length")), None)
        rows = _rows(x, reading, str(path))
        if lengths is not None:
            if len(lengths) != len(rows) or lengths.ndim != 1 or lengths.dtype.kind not in "iu":
                raise ValueError(
                    f"{path} has {len(rows):,} series, but lengths of shape {lengths.shape} and type {lengths.dtype}: there must be one whole number "
                    "a series"
                )
            for k, (row, n) in enumerate(zip(rows, lengths.tolist(), strict=True)):
                if not 1 <= n <= len(row):
                    raise ValueError(f"{path}[{k}] has the length {n}; expected 1 to {len(row)}")
            rows = [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)]
        return [(f"{path}[{k}]", row) for k, row in enumerate(rows)]
    if suffix == ".npy":
        rows = _rows(mapped_npy(path), reading, str(path))
        return [(f"{path}[{k}]" if len(rows) > 1 else str(path), row) for k, row in enumerate(rows)]
    if reading["kind"] == "image series" or not (is_steps(path) or suffix in PARQUET):
        expected = (
            ".npy, .npz" if reading["kind"] == "image series" else ".csv, .tsv, .txt, .parquet, .npy, .npz"
        )
        raise ValueError(f"{path} holds no {reading['kind']} that hubel reads; expected {expected}")
    time = reading.get("time") or {}
    steps = read_steps(path, time=reading.get("asked_time"), place=time.get("place"))
    return [(str(path), features_of(steps, reading, str(path)))]


def _in_memory(source: Any, reading: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    if isinstance(source, Series):
        return [(f"series {k}", source[k]) for k in range(len(source))]
    if is_list_of_series(source, axes=len(reading["shape"])):
        return [(f"series {k}", as_numpy(one, f"series {k}")) for k, one in enumerate(source)]
    return [(f"series {k}", row) for k, row in enumerate(_rows(as_numpy(source, "x"), reading, "x"))]


def _rows(x: np.ndarray, reading: Mapping[str, Any], name: str) -> list[np.ndarray]:
    """The series of an array of many, or of one."""
    shape = tuple(reading["shape"])
    if x.ndim == 1 + len(shape):
        return list(x)
    if x.ndim == len(shape) and x.shape[1:] == shape[1:]:
        return [x]
    if x.ndim == len(shape) and shape[1] == 1:  # many, without the axis of the one feature
        return [row[:, None] for row in x]
    if x.ndim == len(shape) - 1 and shape[1] == 1:
        return [x[:, None]]
    raise ValueError(
        f"{name} has shape {x.shape}; expected series of {_told(shape)}, as the network was fitted to: one array "
        f"{AXES['image series' if len(shape) == 4 else 'series'].partition(' or')[0]}, several with one more axis, or a list of them"
    )


def _checked(one: np.ndarray, reading: Mapping[str, Any], name: str) -> np.ndarray:
    """One series with features, values and type as in training."""
    shape = tuple(reading["shape"])
    one, _ = stored_values(one, name)
    if one.ndim == len(shape) - 1 and shape[1] == 1:
        one = one[:, None]
    if one.ndim != len(shape) or one.shape[1:] != shape[1:] or len(one) == 0:
        raise ValueError(
            f"{name} has shape {one.shape}; expected at least one step of {_told(shape)}, as the network was fitted to"
        )
    return as_type(one, np.dtype(reading["dtype"]), name)


def _last_steps(found: list[tuple[str, np.ndarray]], reading: Mapping[str, Any]) -> np.ndarray:
    length = reading["shape"][0]
    for name, one in found:
        if len(one) < length:
            raise ValueError(
                f"{name} has {len(one):,} steps; this network looks at the last {length:,} to say the next {reading['horizon']:,}: give at least "
                f"{length:,}"
            )
    last = np.stack([one[-length:] for _, one in found])
    return finite(last, reading["nan"], [name for name, _ in found])[0]


def _told(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} features" if len(shape) == 2 else f"{' × '.join(map(str, shape[1:]))} values"
