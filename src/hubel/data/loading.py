"""`load`: labelled data of any supported kind as a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hubel.core.errors import UnreadableData, nearest
from hubel.data.archives import StoredArrays, read_hdf5, read_npy, read_npz
from hubel.data.arrays import KINDS, Kind, channels_axis, from_arrays
from hubel.data.box_files import list_boxes
from hubel.data.box_pictures import BoxOptions, load_boxes
from hubel.data.boxes_of_masks import OBJECTS
from hubel.data.builtin import BUILTIN, load_builtin
from hubel.data.dataset import Dataset
from hubel.data.feature_table import from_table, names_pictures
from hubel.data.fits_cube import read_fits_cube
from hubel.data.folders import PICTURES, Wanted, holds, list_folder
from hubel.data.forecasting import load_forecasting
from hubel.data.idx import is_idx, read_idx
from hubel.data.images import FITS
from hubel.data.itself import labels_of, list_unlabelled, says_self
from hubel.data.listing import Listing
from hubel.data.mask_files import asks_for_masks, holds_masks, list_mask_table, list_masks, with_masks
from hubel.data.masks import ClassNames, Unlabelled, classes_of_reading
from hubel.data.pictures import PictureOptions, load_pictures
from hubel.data.reading import Progress
from hubel.data.series import AXES, SeriesKind
from hubel.data.series_files import is_series_file, load_series
from hubel.data.sizes import Resize
from hubel.data.steps import PARQUET, holds_numbers, is_steps
from hubel.data.table_pieces import TABLES, is_table
from hubel.data.tables import COLUMNS, list_table
from hubel.data.targets import Task
from hubel.data.text import SUFFIXES, Tokens
from hubel.data.texts import load_as_text
from hubel.data.unused_options import refuse_for_forecasts, refuse_no_path

SERIES = Wanted(is_series_file, "series")
TEXTS_OF_NUMBERS = Wanted(lambda path: is_steps(path) and holds_numbers(path), "series")
IMAGE_SERIES = Wanted(lambda path: path.suffix.lower() == ".npy", "image series")


def load(
    source: str | os.PathLike[str] | Dataset,
    *,
    target: str | Sequence[str] = "label",
    columns: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    categories: str | Sequence[str] = (),
    missing: str | Sequence[str] = (),
    size: int | tuple[int, int] | str | None = None,
    resize: Resize = "pad",
    channels: Literal["rgb", "grey", "first", "last"] | None = None,
    kind: Kind | None = None,
    nan: Literal["refuse", "zero"] = "refuse",
    task: Task | None = None,
    skip_unreadable: bool = False,
    symmetries: Iterable[str] | None = None,
    reading: Mapping[str, Any] | None = None,
    download: bool = False,
    cache: bool = True,
    length: int | None = None,
    step: int | None = None,
    tokens: Tokens | None = None,
    least: int | None = None,
    validation: float | None = None,
    test: float | None = None,
    time: str | None = None,
    forecast: int | None = None,
    season: int | None = None,
    unlabelled: Unlabelled = None,
    tile: int | tuple[int, int] | None = None,
    overlap: int | None = None,
    voc_offset: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Labelled data, as they were stored.

    `source` is a folder of class folders (or of train, validation and test folders of them); a table (`.csv`, `.tsv`, `.parquet`, `.xlsx`)
    of features, or of pictures by a column path, with the column label and, where they are, group, split and weight; arrays (`.npz`, `.npy` with its labels beside it, HDF5, a FITS
    cube, IDX files); a text (`.txt`, `.text`, `.md`); or a name: digits, fashion-mnist, mnist, cifar-10, cifar-100, opticks, fashion-scenes, fashion-scenes-shifted, light-echoes (write ./digits
    for a folder of that name).

    `target` names the column or array of labels (several columns: several targets); "self" asks for the input itself, so that labels
    may be missing (a flat folder of pictures, an array alone). `columns`, `ignore`, `categories`, `missing` are for
    tables of features: see `hubel.data.from_table`. `size`, `resize`: see `hubel.data.sizes`. `channels`:
    "rgb" or "grey" converts pictures, "first" or "last" says where arrays have their channels. `kind="volumes"`: files (or arrays of four
    axes) are volumes, with the pages of a TIFF, the planes of a FITS cube or the first axis of an array as depth. `nan="zero"` sets NaN and infinite values to
    zero instead of refusing them. `task`: see `hubel.data.targets`. `symmetries` are changes that leave every label true, by your word.
    Series: class folders (or a table of paths) of text files with one row a step; `kind="series"` says that `.npy` files are series [L, F] and
    not pictures, and that arrays of three axes are [N, L, F]; `kind="image series"` that they are films [T, C, H, W]. `time` names the
    column of times where its name is another. `forecast` reads one long series instead, and asks for its next values, so many steps of
    the columns `target` (all of them unless said), from windows of `length`: see `hubel.data.forecasting`.
    A class for every pixel: a folder with `images` and `masks` in it, a table of pictures with a column `mask`, or arrays whose targets are masks
    [N, H, W]; `unlabelled` is the value of pixels without a label (255 in 8-bit masks), "none" where all have one: see `hubel.data.masks`.
    Boxes of objects: COCO, VOC, YOLO, Label Studio, labelme, tables and lines, and masks of numbered objects (`target="objects"`): see
    `hubel.data.box_files`. Pictures larger than `tile` (pixels, or height and width) are cut into tiles with an `overlap`, see `hubel.data.tiles`;
    `size` resizes whole pictures instead. `unlabelled` says of pictures without labels "empty" or "skip"; `voc_offset` what VOC's pixels count from.

    `reading` is that of other data (`Dataset.reading`): pictures become rows of the same size, channels and type as those, by the same rule,
    in place of what `size`, `resize`, `channels` and `nan` would say; a table by its columns, levels and means.
    `download` permits the network for a built-in name. `length`, `step`, `tokens`, `least`, `validation` and `test` say how a text becomes
    windows: see `hubel.data.from_text`. `progress(done, total)` is told how far reading is. What was done is in
    `Dataset.notes`.

    Raises `ValueError`, `UnreadableData` or `FileNotFoundError` with what was received, what was expected, and the remedy.

    >>> load("digits")
    Dataset('digits': 1,797 examples of 1 × 8 × 8 uint8, 10 classes)
    """
    itself = says_self(target)
    if isinstance(source, Dataset):
        _refuse_unlabelled(source.name, unlabelled)
        source = source.as_its_own_target() if itself else source
        return source if symmetries is None else replace(source, symmetries=frozenset(symmetries))
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"load takes a path or a name, but received {type(source).__name__}; for arrays use hubel.data.from_arrays(x, y)"
        )
    of_tables = {"columns": columns, "ignore": ignore, "categories": categories, "missing": missing}
    of_files = {
        **{name: value or None for name, value in of_tables.items()},
        "size": size,
        "resize": None if resize == "pad" else resize,
        "channels": channels,
        "kind": kind,
        "task": task,
        "skip_unreadable": skip_unreadable or None,
    }
    windows = {
        "length": length,
        "step": step,
        "tokens": tokens,
        "least": least,
        "validation": validation,
        "test": test,
    }
    if forecast is None:
        others = of_files | {
            "target": None if target == "label" else target,
            "nan": None if nan == "refuse" else nan,
            "symmetries": symmetries,
            "time": time,
            "season": season,
            "unlabelled": unlabelled,
        }
        if (text := load_as_text(source, windows, others)) is not None:
            return text
        if season is not None:
            raise ValueError(f"season={season} belongs to a forecast: say forecast= as well")
    else:
        refuse_for_forecasts(source, forecast, {**windows, "length": None}, of_files)
    of_boxes = {"tile": tile, "overlap": overlap, "voc_offset": voc_offset}
    if forecast is not None or (isinstance(source, str) and source.lower() in BUILTIN):
        _refuse_unlabelled(source, unlabelled)
        _refuse_given(source, OF_BOXES, **of_boxes)
    if isinstance(source, str) and source.lower() in BUILTIN:
        _refuse_given(
            source, "changes how files are read, but {} is built in", **of_tables, time=time, task=task
        )
        _refuse_given(source, NOT_RESIZED, resize=None if resize == "pad" else resize)
        _refuse_unused(
            source,
            size=size,
            channels=channels,
            kind=kind,
            target=None if itself or target == "label" else target,
        )
        data = load_builtin(source.lower(), download=download, symmetries=symmetries, progress=progress)
        return data.as_its_own_target() if itself else data
    if kind not in (None, "volumes", *AXES):
        raise ValueError(f"kind={kind!r} is not known; expected {KINDS}")
    path = Path(source).expanduser()
    refuse_no_path(path)
    if not path.exists():
        raise FileNotFoundError(_not_there(path))
    declared = frozenset(() if symmetries is None else symmetries)
    if forecast is not None:
        return _forecast(
            path,
            forecast,
            target,
            length=length,
            season=season,
            time=time,
            nan=nan,
            like=reading,
            symmetries=declared,
        )
    if kind is None and not itself and not _table_reading(reading):
        with _naming(path):
            boxed = list_boxes(path, target, voc_offset=voc_offset)
        if boxed is not None:
            if task is not None:
                raise ValueError(f"task={task!r} was said, but {source} holds boxes: leave it out")
            if boxed.format != "VOC":
                _refuse_given(source, "is for VOC's XML, but {} is none", voc_offset=voc_offset)
            _refuse_given(source, "is for tables of features, but {} is none", **of_tables)
            _refuse_given(source, OF_TIMES, time=time)
            if target not in ("label", OBJECTS) and not is_table(path):
                _refuse_unused(source, target=target)
            like = reading if reading is not None and "boxes" in reading else None
            options = BoxOptions(
                tile=tile,
                overlap=overlap,
                size=size,
                resize=resize,
                channels=channels,
                nan=nan,
                unlabelled=unlabelled,
                reading=like,
            )
            with _naming(path):
                data = load_boxes(
                    boxed,
                    options,
                    name=_name(path),
                    symmetries=declared,
                    skip_unreadable=skip_unreadable,
                    progress=progress,
                )
            return replace(data, source=str(path.absolute()))
    _refuse_given(source, OF_BOXES, **of_boxes)
    not_resized = {"resize": None if resize == "pad" else resize}
    if is_table(path) and path.is_file() and not names_pictures(path, COLUMNS["path"]):
        if kind is not None:
            raise ValueError(
                f"kind={kind!r} is for files and arrays, but {path} is a table of features: leave it out, or say forecast= for one long series"
            )
        _refuse_unused(source, size=size, channels=channels)
        _refuse_given(source, NOT_RESIZED, **not_resized)
        _refuse_unlabelled(source, unlabelled)
        _refuse_given(source, OF_TIMES, time=time)
        _refuse_for_tables(path, nan=nan, symmetries=declared)
        data = from_table(
            path,
            target=target,
            task=task,
            name=_name(path),
            like=_table_reading(reading),
            progress=progress,
            **of_tables,
        )
        return replace(data, source=str(path.absolute()))
    reading = None if _table_reading(reading) else reading
    _refuse_given(source, "is for tables of features, but {} is none", **of_tables)
    listing = _listing(path, target, kind)
    of_series = None if listing is None else _kind_of_series(listing, kind)
    if of_series != "series":
        _refuse_given(source, OF_TIMES, time=time)
    if listing is None or of_series is not None:
        _refuse_given(source, NOT_RESIZED, **not_resized)
    if listing is not None and of_series is not None:
        _refuse_unused(source, size=size, channels=channels)
        data = load_series(
            listing,
            of_series,
            name=_name(path),
            nan=nan,
            time=time,
            task=task,
            symmetries=declared,
            skip_unreadable=skip_unreadable,
            like=reading,
            progress=progress,
        )
    elif listing is not None:
        if kind == "volumes" and (size is not None or channels is not None or resize != "pad"):
            raise ValueError("volumes are kept as they are; size, resize and channels are for pictures")
        options = PictureOptions(size=size, resize=resize, channels=channels, nan=nan, kind=kind)
        if reading is not None and len(reading.get("size") or ()) == 2:
            options = PictureOptions(reading=dict(reading))
        if listing.masks is not None and kind is not None:
            raise ValueError(f"kind={kind!r} is not for pictures with masks; leave it out")
        with _naming(path):
            data = load_pictures(
                listing,
                options,
                name=_name(path),
                task=task,
                symmetries=declared,
                skip_unreadable=skip_unreadable,
                cache=cache,
                progress=progress,
            )
            if listing.masks is not None:
                data = with_masks(
                    data, listing, unlabelled=unlabelled, skip_unreadable=skip_unreadable, progress=progress
                )
    else:
        _refuse_unused(source, size=size, channels=channels if channels in ("rgb", "grey") else None)
        data = _arrays(
            path,
            target,
            channels=channels,
            kind=kind,
            nan=nan if reading is None else reading.get("nan", nan),
            task=task,
            symmetries=declared,
            reading=reading,
            unlabelled=unlabelled,
        )
    if declared and data.kind == "features":
        raise ValueError(
            f"symmetries ({', '.join(sorted(declared))}) are of pictures, volumes and series, but {source} holds rows of features: leave them out"
        )
    if not data.has_masks:
        _refuse_unlabelled(source, unlabelled)
    data = replace(data, source=str(path.absolute()))
    return data.as_its_own_target() if itself and not data.is_its_own_target else data


def _forecast(
    path: Path, horizon: int, target: str | Sequence[str], *, symmetries: frozenset[str], **options: Any
) -> Dataset:
    if path.is_dir() or not (is_series_file(path) or path.suffix.lower() in PARQUET):
        raise ValueError(
            f"a forecast needs one long series in one file (.csv, .tsv, .txt, .parquet, .npy), with a row a step; received {path}"
        )
    if symmetries:
        raise ValueError(
            f"symmetries {sorted(symmetries)} are for labels; the values that follow a changed series are others"
        )
    return load_forecasting(path, horizon, target=None if target == "label" else target, **options)


def _kind_of_series(listing: Listing, kind: Kind | None) -> SeriesKind | None:
    """What the listed files are, where they are series."""
    if kind is None:
        return "series" if all(is_steps(path) for path in listing.paths) else None
    return None if kind == "volumes" else kind


def _listing(path: Path, target: str | Sequence[str], kind: Kind | None) -> Listing | None:
    itself = says_self(target)
    if path.is_dir():
        _refuse_unused(path, target=None if itself or target == "label" else target)
        if kind in AXES:
            return list_folder(path, SERIES if kind == "series" else IMAGE_SERIES)
        if holds_masks(path):
            listing = list_masks(path)
            return replace(listing, masks=None) if itself else listing
        if _has_idx(path):
            return None
        if not holds(path, PICTURES) and any(
            holds(f, TEXTS_OF_NUMBERS) for f in path.iterdir() if f.is_dir()
        ):
            return list_folder(path, SERIES)
        return list_unlabelled(path) if itself else list_folder(path)
    if not is_table(path):
        return None
    if not itself:
        return list_mask_table(path) if asks_for_masks(path, target) else list_table(path, target)
    try:
        return list_table(path, "label")
    except ValueError:  # no labels, or not for all: the pictures alone are what is asked for
        return list_table(path, None)


def _refuse_unused(
    source: Any,
    *,
    size: Any = None,
    channels: str | None = None,
    kind: str | None = None,
    target: str | Sequence[str] | None = None,
) -> None:
    """An option that could change nothing is a misunderstanding."""
    if kind is not None:
        raise ValueError(
            f"kind={kind!r} is for files and arrays that could be pictures; {source} is built in"
        )
    if size is not None or channels is not None:
        given = f"size={size!r}" if size is not None else f"channels={channels!r}"
        raise ValueError(f"{source} holds arrays, which are kept as they are; {given} is for image files")
    if target is not None:
        raise ValueError(
            f"target={target!r} names a column or an array, but {source} has none: its labels are built in"
        )


def _refuse_given(source: Any, why: str, **options: Any) -> None:
    """As `_refuse_unused`, for the first of `options` that is something; `why` has a place for the source."""
    for name, value in options.items():
        if value not in (None, ()):
            raise ValueError(f"{name}={value!r} {why.format(source)}: leave it out")


NOT_RESIZED = "is for picture files, but {} holds none"
OF_BOXES = "is for pictures with boxes, but {} holds none"
OF_TIMES = "names the times of series, but {} holds none"


def _refuse_unlabelled(source: Any, unlabelled: Unlabelled) -> None:
    if unlabelled is not None:
        raise ValueError(
            f"unlabelled={unlabelled!r} is a value of masks, but {source} has none: leave it out"
        )


def _refuse_for_tables(path: Path, *, nan: str, symmetries: frozenset[str]) -> None:
    if nan != "refuse":
        raise ValueError(
            f"nan={nan!r} is for pictures and arrays; in {path} an empty field is a missing value, which has a place of its own"
        )
    if symmetries:
        raise ValueError(
            f"symmetries ({', '.join(sorted(symmetries))}) are for pictures, but {path} is a table of features"
        )


def _table_reading(reading: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return reading if reading is not None and reading.get("kind") == "table" else None


def _has_idx(folder: Path) -> bool:
    return any(is_idx(p) and "images" in p.name and p.is_file() for p in folder.iterdir())


def _arrays(
    path: Path,
    target: str | Sequence[str],
    *,
    channels: Any,
    kind: Kind | None,
    nan: Any,
    task: Task | None,
    symmetries: frozenset[str],
    reading: Mapping[str, Any] | None,
    unlabelled: Unlabelled,
) -> Dataset:
    if not isinstance(target, str):
        raise ValueError(
            f"several target columns ({', '.join(target)}) are for tables; {path} holds arrays, whose targets may be a matrix [N, K]"
        )
    itself = says_self(target)
    found = _stored(path, None if itself else target)
    like = None if itself else classes_of_reading(reading)
    named: ClassNames = None if itself else found.classes
    if like is not None:
        named = dict(zip(like.values, like.classes, strict=True))
    if like is not None and unlabelled is None:
        unlabelled = "none" if like.unlabelled is None else like.unlabelled
    with _naming(path):
        data = from_arrays(
            found.x,
            target if itself else found.y,
            classes=named,
            labels=labels_of(found.y, found.classes) if itself else None,
            channels=channels or channels_axis(found.x.shape, reading),
            kind=kind,
            task=task,
            name=_name(path),
            nan=nan,
            groups=found.groups,
            weights=None if found.weights is None else found.weights.tolist(),
            part=None if found.part is None else found.part.tolist(),
            symmetries=symmetries,
            lengths=found.lengths,
            unlabelled=unlabelled,
        )
    return replace(data, notes=(*found.notes, *data.notes))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is wrong with examples is said with the name of the file or folder."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        kind = UnreadableData if isinstance(error, UnreadableData) else ValueError
        raise kind(f"{path}: {error}") from error


def _stored(path: Path, target: str | None) -> StoredArrays:
    name = path.name.lower()
    if path.is_dir() or is_idx(path):
        return read_idx(path, target)
    if name.endswith(".npz"):
        return read_npz(path, target)
    if name.endswith(".npy"):
        return read_npy(path, target)
    if name.endswith((".h5", ".hdf5", ".hdf", ".he5")):
        return read_hdf5(path, target)
    if name.endswith(FITS):
        return read_fits_cube(path, target or "label")
    raise ValueError(
        f"{path} is of a kind that hubel does not load; expected a folder of class folders, a table ({', '.join(TABLES)}), arrays (.npz, .npy, "
        f".h5, .fits, IDX), a text ({', '.join(SUFFIXES)}), or one of the names " + ", ".join(BUILTIN)
    )


def _name(path: Path) -> str:
    path = path.resolve()
    return path.name if path.is_dir() else path.name.split(".")[0]


def _not_there(path: Path) -> str:
    beside = [p.name for p in path.parent.iterdir()][:1000] if path.parent.is_dir() else []
    hint = nearest(path.name, beside) if beside else ""
    if not path.parent.is_dir():
        hint = f" Nor does the folder {path.parent}."
    names = (
        nearest(path.name, BUILTIN).replace("There are:", "Built-in data:") if len(path.parts) == 1 else ""
    )
    return f"{path} does not exist.{hint}{names}"
