"""Arrays in memory become a `Dataset`: which axis holds the channels, which values are allowed.

The rule for four axes [N, a, b, c]: channels come first where a is at most half of both b and c, last where c is at most half
of both a and b; anything else is asked for (`channels="first"` or `"last"`). Three axes are one channel [N, H, W], two are
features [N, F]. Five axes are volumes, [N, C, D, H, W] or [N, D, H, W, C] by the same rule; four axes are volumes of one channel
[N, D, H, W] only where that is said (`kind="volumes"`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_column
from hubel.data.boxes import are_mappings
from hubel.data.dataset import Dataset
from hubel.data.masks import ClassNames, Unlabelled, has_planes, read_masks
from hubel.data.storage import in_slices, room_for
from hubel.data.targets import SELF, Targets, Task, as_numpy, read_targets

Nan = Literal["refuse", "zero"]
Channels = Literal["first", "last"]
Kind = Literal["volumes", "series", "image series"]
KINDS = '"volumes", "series", "image series", or nothing'
KEPT_TYPES = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "float16", "float32", "float64")


def from_arrays(
    x: Any,
    y: Any,
    *,
    classes: Sequence[str] | Mapping[Any, str] | None = None,
    channels: Channels | None = None,
    kind: Kind | None = None,
    task: Task | None = None,
    name: str = "arrays",
    nan: Nan = "refuse",
    ids: Sequence[Any] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    weights: Sequence[float] | None = None,
    part: Sequence[str] | None = None,
    symmetries: Iterable[str] = (),
    target_names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    lengths: Sequence[int] | np.ndarray | None = None,
    labels: Sequence[Any] | np.ndarray | None = None,
    unlabelled: Unlabelled = None,
) -> Dataset:
    """Examples `x` [N, H, W], [N, H, W, C], [N, C, H, W], [N, C, D, H, W], [N, D, H, W, C] or [N, F] with targets `y` as a data set;
    `y="self"` makes them their own target, with `labels` [N] beside them as words that nothing learns.

    `kind="volumes"` says that four axes are volumes [N, D, H, W] of one channel.

    NumPy arrays, torch tensors, pandas columns and nested lists are taken. The stored type is kept (yes/no becomes uint8, 64-bit
    integers become int32 where their values fit). `y`: see `hubel.data.targets`. NaN and infinite values are refused, or set
    to zero with `nan="zero"`.

    Series [L, F] may have different lengths: a list of arrays, a `hubel.data.Series`, or an array [N, L, F] with `lengths` [N]. Three axes
    without lengths are pictures, unless `kind` says "series"; five or four are with `kind` "image series" [N, T, C, H, W] or [N, T, H, W].

    Whole numbers `y` [N, H, W] beside pictures are masks, a class for every pixel: `classes` names their values (by number, or as a mapping),
    `unlabelled` is the value of pixels without a label (255 where they are bytes), "none" where all have one: see `hubel.data.masks`.

    Mappings `y` beside pictures, one each, are boxes: `boxes` [m, 4] (x0, y0, x1, y1) in pixels from the upper left corner, `labels` [m]
    (numbers from 0, or names), `ignore` [m] where some count neither as found nor as missed. A picture may have none.

    Raises `ValueError` saying what was received, what was expected and what to write.

    >>> from_arrays(np.zeros((4, 8, 8, 3), np.uint8), ["a", "b", "a", "b"])
    Dataset('arrays': 4 examples of 3 × 8 × 8 uint8, 2 classes)
    """
    inputs, steps, reading, notes = _read(x, channels, nan, kind, lengths, ids)
    if len(inputs) == 0:
        raise ValueError("x has no examples")
    itself = isinstance(y, str)
    if not itself and are_mappings(y):
        found, reading = _boxes(y, inputs, reading, classes=classes, unlabelled=unlabelled, task=task)
    elif not itself and has_planes(y):
        found, reading = _masks(y, inputs, reading, classes=classes, unlabelled=unlabelled, task=task)
    elif unlabelled is not None:
        raise ValueError(
            f"unlabelled={unlabelled!r} is a value of masks [N, H, W], but y has none: leave it out"
        )
    elif itself and y != SELF:
        raise ValueError(f'y is {y!r}; expected one target per example, or "{SELF}" for the input itself')
    elif itself:
        found = Targets(values=np.zeros((len(inputs), 1), np.float32))
    elif hasattr(y, "__len__") and len(y) != len(inputs):
        raise ValueError(
            f"x has {len(inputs):,} examples, but y has {len(y):,}: there must be one target per example"
        )
    else:
        found = read_targets(y, classes=_in_order(classes, y), task=task, ids=ids)
    if len(found.values) != len(inputs):
        raise ValueError(
            f"x has {len(inputs):,} examples, but y has {len(found.values):,}: there must be one target per example"
        )
    data = Dataset(
        inputs=inputs,
        targets=found.values,
        classes=found.classes,
        name=name,
        labels=None if labels is None else np.array([str(label) for label in labels]),
        ids=np.array([str(i) for i in (range(len(inputs)) if ids is None else ids)]),
        groups=None if groups is None else np.asarray(groups),
        weights=None if weights is None else checked_weights(weights),
        part=None if part is None else part_column((str(p) for p in part), "part"),
        symmetries=frozenset(symmetries),
        target_names=None if target_names is None else tuple(target_names),
        units=None if units is None else tuple(units),
        source="arrays",
        lengths=steps,
        notes=(*notes, *found.notes),
        reading=reading,
    )
    return data.as_its_own_target() if itself else data


def _masks(
    y: Any,
    inputs: np.ndarray,
    reading: Mapping[str, Any],
    *,
    classes: ClassNames,
    unlabelled: Unlabelled,
    task: Task | None,
) -> tuple[Targets, dict[str, Any]]:
    """Masks as targets, and the reading with their values."""
    if task not in (None, "classes"):
        raise ValueError(
            f"task={task!r} was said, but y has shape {np.shape(y)}: masks hold the class of every pixel. Leave task out"
        )
    numbers, found = read_masks(y, inputs.shape, classes=classes, unlabelled=unlabelled)
    targets = Targets(values=numbers, classes=found.classes, notes=found.notes)
    return targets, {**reading, "masks": found.as_json()}


def _boxes(
    y: Any,
    inputs: np.ndarray,
    reading: Mapping[str, Any],
    *,
    classes: ClassNames,
    unlabelled: Unlabelled,
    task: Task | None,
) -> tuple[Targets, dict[str, Any]]:
    """Boxes as targets, and the reading with their classes."""
    from hubel.data.box_pictures import boxes_from_mappings

    if task is not None or unlabelled is not None:
        given = f"task={task!r}" if task is not None else f"unlabelled={unlabelled!r}"
        raise ValueError(f"{given} was said, but y holds the boxes of every picture: leave it out")
    boxes, names, notes = boxes_from_mappings(y, inputs.shape, _in_order(classes, y))
    about = {"classes": list(names), "tile": list(inputs.shape[2:]), "overlap": 0, "resized": False}
    return Targets(values=boxes, classes=names, notes=notes), {**reading, "boxes": about}


def _in_order(classes: Sequence[str] | Mapping[Any, str] | None, y: Any) -> Sequence[str] | None:
    if isinstance(classes, Mapping):
        raise ValueError(
            f"classes names the values of masks [N, H, W], but y has shape {np.shape(y)}; expected masks, or the names of the classes in order"
        )
    return classes


def _read(
    x: Any,
    channels: Channels | None,
    nan: Nan,
    kind: Kind | None,
    lengths: Any,
    ids: Sequence[Any] | None,
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any], tuple[str, ...]]:
    """Inputs, lengths of series, reading and notes."""
    from hubel.data import series
    from hubel.data.series_files import reading_of_series

    if kind is None and (lengths is not None or isinstance(x, series.Series) or series.is_ragged_list(x)):
        kind = "series"
    if kind is None or kind == "volumes":
        stored, notes = stored_values(as_numpy(x, "x"), "x")
        layout = layout_of(stored.shape, channels, kind)
        inputs, counted = finite(rows_of(stored, layout), nan, ids)
        return inputs, None, reading_of(inputs, layout, nan), (*notes, *_flat_pictures(inputs), *counted)
    if kind not in series.AXES:
        raise ValueError(f"kind={kind!r} is not known; expected {KINDS}")
    if channels is not None:
        raise ValueError(f"channels={channels!r} is for pictures; {kind} are {series.AXES[kind]}")
    found, notes = series.series_of(x, kind, lengths=lengths, nan=nan)
    steps = found.lengths if found.is_ragged else None
    return found.values, steps, reading_of_series(found, kind, nan), notes


def layout_of(shape: tuple[int, ...], channels: Channels | None = None, kind: Kind | None = None) -> str:
    """The meaning of the axes by the rule of this file: NF, NHW, NCHW, NHWC, NDHW, NCDHW or NDHWC.

    >>> layout_of((10, 32, 32, 3)), layout_of((10, 1, 28, 28)), layout_of((10, 16, 16, 16), kind="volumes")
    ('NHWC', 'NCHW', 'NDHW')
    """
    if channels not in (None, "first", "last"):
        raise ValueError(f'channels={channels!r} is not known for arrays; expected "first" or "last"')
    if kind not in (None, "volumes"):
        raise ValueError(f'kind={kind!r} is not known; expected "volumes", or nothing')
    if any(n == 0 for n in shape[1:]):
        raise ValueError(f"x has shape {shape}: an axis of length 0 holds nothing")
    if kind == "volumes" and len(shape) not in (4, 5):
        raise ValueError(
            f"x has shape {shape}; expected volumes [N, D, H, W], [N, C, D, H, W] or [N, D, H, W, C]"
        )
    if kind == "volumes" and len(shape) == 4:
        return "NDHW"
    if len(shape) in (2, 3):
        return "NF" if len(shape) == 2 else "NHW"
    if len(shape) not in (4, 5):
        raise ValueError(
            f"x has shape {shape}; expected [N, F], [N, H, W], [N, H, W, C], [N, C, H, W], [N, C, D, H, W] or [N, D, H, W, C]"
        )
    space = "HW" if len(shape) == 4 else "DHW"
    if channels is not None:
        return f"NC{space}" if channels == "first" else f"N{space}C"
    if 2 * shape[1] <= min(shape[2:]):
        return f"NC{space}"
    if 2 * shape[-1] <= min(shape[1:-1]):
        return f"N{space}C"
    axes = ", ".join(space)
    volumes = ' (or kind="volumes" for volumes [N, D, H, W])' if len(shape) == 4 else ""
    raise ValueError(
        f'x has shape {shape}, from which it is not clear where the channels are; say channels="first" for [N, C, {axes}] '
        f'or channels="last" for [N, {axes}, C]{volumes}'
    )


def channels_axis(shape: tuple[int, ...], reading: Mapping[str, Any] | None) -> Channels | None:
    """Where the channels of an array are by the `reading` of other data, tried first as they were there; None where it does not fit.

    >>> channels_axis((10, 6, 5, 4), {"shape": [4, 6, 5], "layout": "NHWC"})
    'last'
    """
    if reading is None or len(shape) not in (4, 5):
        return None
    wanted = tuple(reading["shape"])
    ways: dict[Channels, tuple[int, ...]] = {"first": shape[1:], "last": (shape[-1], *shape[1:-1])}
    last = str(reading.get("layout", "")).endswith("C")
    order: tuple[Channels, ...] = ("last", "first") if last else ("first", "last")
    return next((axis for axis in order if ways[axis] == wanted), None)


def rows_of(x: np.ndarray, layout: str) -> np.ndarray:
    """`x` as [N, C, H, W] or [N, C, D, H, W] (or [N, F]), a view where it can be."""
    if layout in ("NHW", "NDHW"):
        return x[:, None]
    return np.moveaxis(x, -1, 1) if layout.endswith("C") else x


def stored_values(x: np.ndarray, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """`x` in one of the kept types and this machine's byte order, and notes; other types are refused with the remedy."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(f"{what} has masked values; fill them first: {what}.filled(0)")
        x = x.data
    kind = x.dtype.kind
    if kind == "O":
        raise ValueError(
            f"{what} is an array of Python objects; expected numbers. Write np.stack(list(x)) where entries are arrays of one shape, "
            "x.astype(float) where they are numbers"
        )
    if kind == "c":
        raise ValueError(
            f"{what} is complex; expected real numbers. Write np.stack([x.real, x.imag], axis=1) for two channels"
        )
    if kind not in "biuf":
        raise ValueError(f"{what} has type {x.dtype}; expected numbers of type {', '.join(KEPT_TYPES)}")
    if kind == "b":
        return x.astype(np.uint8), (f"{what} has yes/no values, kept as 0 and 1.",)
    if x.dtype.itemsize == 8 and kind in "iu":
        return _narrowed(x, what)
    if x.dtype.itemsize > 8:
        return x.astype(np.float64), (f"{what} was rounded from {x.dtype} to float64.",)
    if not x.dtype.isnative:
        native = room_for(x.shape, x.dtype.newbyteorder("="))
        for rows in in_slices(x):
            native[rows] = x[rows]
        return native, ()
    return x, ()


def _narrowed(x: np.ndarray, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
    limits = np.iinfo(np.int32)
    if low < limits.min or high > limits.max:
        raise ValueError(
            f"{what} has {x.dtype} values from {low} to {high}, beyond 32 bits; write {what}.astype(np.float64), or subtract an offset"
        )
    narrow = room_for(x.shape, np.dtype(np.int32))
    for rows in in_slices(x):
        narrow[rows] = x[rows]
    return narrow, (f"{what} has {x.dtype} values that fit in 32 bits; they are kept as int32.",)


def finite(
    inputs: np.ndarray, nan: Nan, ids: Sequence[Any] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """`inputs` without NaN and infinite values: refused by name, or set to zero where `nan="zero"`, which is noted."""
    if nan not in ("refuse", "zero"):
        raise ValueError(f'nan={nan!r} is not known; expected "refuse" or "zero"')
    if inputs.dtype.kind != "f":
        return inputs, ()
    bad = np.zeros(len(inputs), dtype=bool)
    count = 0
    for rows in in_slices(inputs):
        wrong = ~np.isfinite(inputs[rows])
        if wrong.any():
            bad[rows] = wrong.reshape(len(wrong), -1).any(1)
            count += int(wrong.sum())
    if not count:
        return inputs, ()
    where = np.flatnonzero(bad)
    named = ", ".join(str(ids[r]) if ids is not None else f"row {r}" for r in where[:10])
    said = f"{count:,} values are NaN or infinite, in {len(where):,} of {len(inputs):,} examples: {named}{' …' if len(where) > 10 else ''}"
    if nan == "refuse":
        raise UnreadableData(
            f'{said}. Correct them, remove these examples, or set the values to zero with nan="zero"'
        )
    cleaned = room_for(inputs.shape, inputs.dtype)
    for rows in in_slices(inputs):
        cleaned[rows] = np.nan_to_num(inputs[rows], nan=0.0, posinf=0.0, neginf=0.0)
    return cleaned, (f"{said}; they were set to zero.",)


def checked_weights(weights: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Weights [N] as float32; negative, missing and all-zero ones are refused."""
    values = np.asarray(weights, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if len(wrong):
        raise ValueError(
            f"{len(wrong):,} weights are negative, missing or infinite, first in row {wrong[0]}; expected numbers ≥ 0"
        )
    if not values.any():
        raise ValueError("all weights are zero; expected at least one positive weight")
    return values


def reading_of(inputs: np.ndarray, layout: str, nan: Nan = "refuse") -> dict[str, Any]:
    """What prediction needs to turn new arrays into the same rows."""
    base = {
        "shape": [int(n) for n in inputs.shape[1:]],
        "dtype": inputs.dtype.name,
        "layout": layout,
        "nan": nan,
    }
    if layout == "NF":
        return {"kind": "features", **base}
    return {
        "kind": "arrays",
        **base,
        "channels": None,
        "convert": None,
        "size": base["shape"][1:],
        "resize": "pad",
    }


def _flat_pictures(inputs: np.ndarray) -> tuple[str, ...]:
    side = round(inputs.shape[1] ** 0.5)
    if inputs.ndim != 2 or inputs.dtype != np.uint8 or side * side != inputs.shape[1] or side < 8:
        return ()
    return (
        f"Rows of {inputs.shape[1]} bytes look like flattened {side} × {side} pictures; for a convolutional network pass "
        f"x.reshape(-1, {side}, {side}).",
    )
