"""New files or arrays, read exactly as those from which a network learned."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import mapped_npy, opened_npz
from hubel.data.arrays import finite, rows_of, stored_values
from hubel.data.decoding import decode_all
from hubel.data.feature_table import rows_like
from hubel.data.images import decode, is_image
from hubel.data.reading import Progress
from hubel.data.series import Series
from hubel.data.sizes import fit_size
from hubel.data.storage import room_for
from hubel.data.table_pieces import TABLES, Pieces, is_frame, is_table
from hubel.data.targets import as_numpy
from hubel.data.text import text_rows

ARRAYS = (".npy", ".npz")


def read_like(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Any,
    reading: Mapping[str, Any],
    *,
    progress: Progress | None = None,
) -> np.ndarray | Series:
    """Rows [N, C, H, W] (or [N, C, D, H, W], [N, F]) of new data, by the steps that `Dataset.reading` records; of series a `Series` where
    lengths differ, or rows [N, L, F].

    `source` is one file or several: image files, one row each; files of series; or `.npy` and `.npz` files of arrays (in a `.npz` the only
    array, or x, inputs, images or data); or tables, where the network was fitted to one; or texts, whose windows are the rows, where it was
    fitted to a text. It may also be an array or a tensor, of one example or of many (of a text numbers of symbols), a list of series, or a
    pandas DataFrame. The same file gives the same bits as when it was loaded.

    Raises `UnreadableData` naming every file that can not be read or is of another kind, `ValueError` for arrays that are of another kind.

    >>> from hubel.data import from_arrays
    >>> data = from_arrays(np.zeros((6, 8, 8), np.uint8), [0, 1] * 3)
    >>> read_like(np.zeros((2, 8, 8), np.uint8), data.reading).shape
    (2, 1, 8, 8)
    """
    if reading["kind"] == "text":
        paths = isinstance(source, (str, os.PathLike)) or (
            isinstance(source, (list, tuple)) and all(isinstance(s, (str, os.PathLike)) for s in source)
        )
        return text_rows(source if paths else as_numpy(source, "x"), reading)
    is_series = reading["kind"] in ("series", "image series", "forecast")
    if is_series:
        from hubel.data.series_input import series_like
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if reading["kind"] == "table":
        return _table_rows(source, reading)
    if (
        not isinstance(source, (list, tuple))
        or not source
        or not all(isinstance(s, (str, os.PathLike)) for s in source)
    ):
        return series_like(source, reading) if is_series else _array_rows(as_numpy(source, "x"), reading, "x")
    paths = [Path(s).expanduser() for s in source]
    if absent := [str(p) for p in paths if not p.exists()]:
        raise FileNotFoundError(
            f"{len(absent):,} of {len(paths):,} files do not exist: {', '.join(absent[:10])}"
        )
    if folders := [str(p) for p in paths if p.is_dir()]:
        raise ValueError(f"{folders[0]} is a folder; name the files in it ({folders[0]}/*.png)")
    if is_series:
        return series_like(paths, reading, progress)
    if any(p.name.lower().endswith(ARRAYS) for p in paths):
        pieces = [_file_rows(path, reading) for path in paths]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return _picture_rows(paths, reading, progress)


def in_groups(paths: Iterable[Path], most: int) -> Iterator[list[Path]]:
    """Files in groups of up to `most`, in order; an array file, which may hold many examples, alone.

    >>> [[path.name for path in group] for group in in_groups(map(Path, ["a.png", "b.npz", "c.png", "d.png", "e.png"]), 2)]
    [['a.png'], ['b.npz'], ['c.png', 'd.png'], ['e.png']]
    """
    group: list[Path] = []
    for path in paths:
        alone = path.suffix.lower() in ARRAYS
        if group and (alone or len(group) == most):
            yield group
            group = []
        group.append(path)
        if alone:
            yield group
            group = []
    if group:
        yield group


def _table_rows(source: Any, reading: Mapping[str, Any]) -> np.ndarray:
    """Rows of tables, with a warning of what was unlike the table that was learned; arrays only where all columns are numbers."""
    of_files = (
        isinstance(source, (list, tuple))
        and source
        and all(isinstance(s, (str, os.PathLike)) for s in source)
    )
    if not (of_files or is_frame(source) or isinstance(source, (Mapping, Pieces))):
        return _array_of_numbers(as_numpy(source, "x"), reading)
    tables: list[Any] = [source]
    if of_files:
        tables = [_table_file(Path(name).expanduser()) for name in list(source)]  # type: ignore[arg-type]
    pieces: list[np.ndarray] = []
    for table in tables:
        for rows, remarks in rows_like(table, reading):
            pieces.append(rows)
            if remarks:
                warnings.warn(" ".join(remarks), UserWarning, stacklevel=4)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _table_file(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not is_table(path):
        raise ValueError(
            f"the network was fitted to a table, but {path} is none; expected one of {', '.join(TABLES)}"
        )
    return path


def _array_of_numbers(x: np.ndarray, reading: Mapping[str, Any]) -> np.ndarray:
    columns = reading["columns"]
    names = ", ".join(column["header"] for column in columns[:10]) + (" …" if len(columns) > 10 else "")
    words = [column["header"] for column in columns if column["kind"] != "number"]
    if words:
        raise ValueError(
            f"the network was fitted to a table with words in {', '.join(map(repr, words[:5]))}: give a table with the columns {names} (a file, a "
            "pandas DataFrame, or a mapping of names to columns)"
        )
    x = x[None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[1] != len(columns) or x.dtype.kind not in "iuf":
        raise ValueError(
            f"x is an array {x.shape} of {x.dtype}; expected numbers [N, {len(columns)}], in the order {names}, or a table with these columns"
        )
    if np.isinf(x).any():
        raise ValueError("x holds infinite values; write NaN where nothing was measured")
    if reading["nan"] == "refuse" and np.isnan(x).any():
        raise ValueError(
            f"x has NaN in {int(np.isnan(x).any(axis=1).sum()):,} of {len(x):,} rows, but a row that is its own target needs all its numbers: fill them, "
            "or remove these rows"
        )
    return x.astype(reading["dtype"])


def _picture_rows(paths: list[Path], reading: Mapping[str, Any], progress: Progress | None) -> np.ndarray:
    if reading["kind"] == "features":
        raise ValueError(
            f"the network was fitted to {reading['shape'][0]} features an example, not to pictures such as {paths[0]}; give an array (.npy, .npz)"
        )
    if others := [str(p) for p in paths if not is_image(p)]:
        raise ValueError(
            f"{len(others):,} of {len(paths):,} files are no pictures that hubel reads: {', '.join(others[:10])}"
        )
    out = room_for((len(paths), *reading["shape"]), np.dtype(reading["dtype"]))
    failed = decode_all(paths, reading, out, progress)
    if failed:
        if len(paths) == 1:
            raise UnreadableData(f"{paths[0]} can not be used: {failed[0]}")
        told = "; ".join(f"{paths[k]} ({reason})" for k, reason in list(failed.items())[:10])
        more = f"; and {len(failed) - 10:,} more" if len(failed) > 10 else ""
        raise UnreadableData(f"{len(failed):,} of {len(paths):,} files can not be used: {told}{more}")
    return out


def _file_rows(path: Path, reading: Mapping[str, Any]) -> np.ndarray:
    if path.name.lower().endswith(".npy"):
        x = mapped_npy(path)
        if reading["kind"] == "images" and (x.ndim == 2 or (x.ndim == 3 and _is_one_picture(path, reading))):
            return _picture_rows([path], reading, None)
        return _array_rows(x, reading, str(path))
    if not path.name.lower().endswith(".npz"):
        return _picture_rows([path], reading, None)
    with opened_npz(path) as archive:
        names = archive.files
        known = [n for n in names if n.lower() in ("x", "inputs", "images", "data", "features")]
        if len(names) != 1 and len(known) != 1:
            raise ValueError(
                f"{path} has the arrays {', '.join(names)}; expected one array, or one of them named x"
            )
        return _array_rows(archive[known[0] if known else names[0]], reading, str(path))


def _is_one_picture(path: Path, reading: Mapping[str, Any]) -> bool:
    """Whether an array of three axes is a picture with channels, as those of a folder were, rather than several without."""
    try:
        return len(decode(path)[1]) == reading["shape"][0]
    except UnreadableData:  # it is not clear where the channels are
        return False


def _array_rows(x: np.ndarray, reading: Mapping[str, Any], what: str) -> np.ndarray:
    shape = tuple(reading["shape"])
    if x.ndim == 0:
        raise ValueError(f"{what} is a single value; expected examples of {' × '.join(map(str, shape))}")
    x, _ = stored_values(x, what)
    x = as_type(x, np.dtype(reading["dtype"]), what)
    x, _ = finite(x, reading["nan"])
    rows = _as_rows(x, shape, reading.get("layout", "NCHW"))
    if rows is None and reading["kind"] == "images":
        rows = _resized(x, reading, what)
    if rows is None:
        raise ValueError(
            f"{what} has shape {x.shape}; expected examples of {' × '.join(map(str, shape))}, as the network was fitted to"
        )
    return rows


def _as_rows(x: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray | None:
    """`x` as rows of `shape`, tried first as examples in the layout of training, then in the others; a single example too."""
    if len(shape) < 3:  # features, or steps of a sequence
        return x if x.shape[1:] == shape else x[None] if x.shape == shape else None
    others = ("NCHW", "NHWC", "NHW") if len(shape) == 3 else ("NCDHW", "NDHWC", "NDHW")
    for candidate in (layout, *others):
        for examples in (x, x[None]):
            if examples.ndim == len(candidate) and (rows := rows_of(examples, candidate)).shape[1:] == shape:
                return rows
    return None


def _resized(x: np.ndarray, reading: Mapping[str, Any], what: str) -> np.ndarray | None:
    """Pictures of another size, brought to that of training; None where they are no pictures with its channels.

    Raises `ValueError` where `x` could be several things: one colour picture, or several grey ones that are 3 columns wide.
    """
    num, flat = reading["shape"][0], int(np.prod(reading["shape"]))
    if x.ndim == 2 and x.shape[1] == flat:
        raise ValueError(
            f"{what} has shape {x.shape}: rows of {flat} values, which are pictures of {' × '.join(map(str, reading['shape']))} laid flat, or one "
            f"large picture. Write {what}.reshape(-1, {', '.join(map(str, reading['shape']))}) for the first, {what}[None, None] for the second"
        )
    if x.ndim == 2:
        rows = x[None, None] if num == 1 else None
    elif x.ndim == 3 and num == 1:
        rows = _grey(x, what)
    elif x.ndim in (3, 4):
        examples = x if x.ndim == 4 else x[None]
        first, last = examples.shape[1] == num, examples.shape[3] == num
        if first and last:
            raise ValueError(
                f"{what} has shape {x.shape}, from which it is not clear where its {num} channels are; give [N, C, H, W] in the size that the "
                f"network was fitted to: {' × '.join(map(str, reading['shape']))}"
            )
        rows = examples if first else rows_of(examples, "NHWC") if last else None
    else:
        rows = None
    if rows is None or 0 in rows.shape:
        return None
    return np.stack([fit_size(row, tuple(reading["size"]), reading["resize"]) for row in rows])


COLOURS = (3, 4)


def _grey(x: np.ndarray, what: str) -> np.ndarray:
    """Three axes as grey pictures [N, 1, H, W]."""
    if x.shape[2] == 1:
        return x.transpose(2, 0, 1)[None]
    if x.shape[0] > 1 and (x.shape[2] in COLOURS or x.shape[0] in COLOURS):
        raise ValueError(
            f"{what} has shape {x.shape}: one colour picture, or {x.shape[0]} grey ones of {x.shape[1]} × {x.shape[2]}. The network was fitted to "
            f"grey pictures: convert a colour picture as those were; for several grey ones write {what}[:, None]"
        )
    return x[:, None]


def as_type(x: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    """`x` with the type that the network was fitted to; raises `ValueError` where that would change what the values mean."""
    if x.dtype == dtype:
        return x
    if x.dtype.kind == dtype.kind == "f":
        return x.astype(dtype)
    if (
        "int32" in (x.dtype.name, dtype.name) and dtype.kind in "iu" and x.dtype.kind in "iu"
    ):  # whole numbers of no particular width
        limits = np.iinfo(dtype)
        if x.size and limits.min <= int(x.min()) and int(x.max()) <= limits.max:
            return x.astype(dtype)
    raise ValueError(
        f"{what} has {x.dtype} values, but the network was fitted to {dtype}; convert it as the training data were, so that the scale is the same"
    )
