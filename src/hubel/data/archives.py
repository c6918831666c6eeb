"""Arrays in files: `.npz`, `.npy` and HDF5, by the names under which they are stored.

A stored name is read as words (`train_images`, `x_train`, `test/labels`, `Xtrain`): one word says the role (x, images, data … or
y, labels, targets …), one may say the part (train, validation, test). Nothing is ever unpickled.
"""

from __future__ import annotations

import lzma
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData, missing_extra, nearest
from hubel.data.dataset import PARTS
from hubel.data.npz import UNFOLDS, Npz, header_of
from hubel.data.storage import fits, in_slices, room_for

ROLES = {
    "x": ("x", "inputs", "input", "images", "image", "data", "features", "pixels"),
    "y": ("y", "targets", "target", "labels", "label"),
    "groups": ("groups", "group"),
    "weights": ("weights", "weight"),
    "part": ("part", "split"),
    "lengths": ("lengths", "length"),
    "classes": ("classes",),
}
PART_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_ROLE_OF = {word: role for role, words in ROLES.items() for word in words}
_PART_OF = {word: part for part, words in PART_WORDS.items() for word in words}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredArrays:
    """What a file of arrays holds: the arguments of `from_arrays`, and notes; no `y` only where the input is its own target."""

    x: np.ndarray
    y: np.ndarray | None = None
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    part: np.ndarray | None = None
    lengths: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def part_of(word: str) -> str | None:
    """The part that a word such as "val" means, or None.

    >>> part_of("Valid"), part_of("cats")
    ('validation', None)
    """
    return _PART_OF.get(word.strip().casefold())


def read_npz(path: Path, target: str | None = "label") -> StoredArrays:
    """The arrays of a `.npz` file; no `target` where the inputs are wanted and targets may be missing."""
    with opened_npz(path) as archive:
        if target is None and len(archive.files) == 1:
            return StoredArrays(x=archive[archive.files[0]])
        if sorted(archive.files) == ["arr_0", "arr_1"]:
            return StoredArrays(x=archive["arr_0"], y=archive["arr_1"])
        return collect(archive.files, lambda name: archive[name], path, target)


@contextmanager
def opened_npz(path: Path) -> Iterator[Npz]:
    """The arrays of a `.npz` file by name; inside, a damaged one is `UnreadableData`, Python objects are refused."""
    try:
        if not zipfile.is_zipfile(path):
            path.stat()  # a file that is not there says so
            raise UnreadableData(f"{path} can not be read as .npz: it is no whole ZIP archive")
        with zipfile.ZipFile(path) as archive:
            yield Npz(archive, path)
    except ValueError as error:
        raise _without_pickle(path, error) from error
    except DAMAGED_ZIP as error:
        raise UnreadableData(f"{path} can not be read as .npz: {error or type(error).__name__}") from error


DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)
"""What the standard library raises for an archive that was cut, changed or encrypted."""


def read_npy(path: Path, target: str | None = "label") -> StoredArrays:
    """`NAME.npy`, memory-mapped, and its targets beside it, which have to be there unless no `target` is asked for.

    Targets are looked for as NAME_labels.npy, NAME_targets.npy and NAME_y.npy; then NAME with images or data replaced by
    labels; then NAME with a word x replaced by y (x.npy: y.npy, x_train.npy: y_train.npy).
    """
    names = [f"{path.stem}_{word}.npy" for word in ("labels", "targets", "y")]
    names += [path.stem.replace(word, "labels") + ".npy" for word in ("images", "data") if word in path.stem]
    names += (
        [re.sub(r"(?<![A-Za-z])x(?![A-Za-z])", "y", path.stem) + ".npy"]
        if re.search(r"(?<![A-Za-z])x(?![A-Za-z])", path.stem)
        else []
    )
    names += (
        [re.sub(r"^X(?![A-Za-z])", "y", path.stem) + ".npy"] if re.match(r"X(?![A-Za-z])", path.stem) else []
    )
    for name in names:
        if (beside := path.with_name(name)).is_file():
            return StoredArrays(
                x=_held(mapped_npy(path)),
                y=np.array(mapped_npy(beside)),
                notes=(f"The targets are those of {name}.",),
            )
    if target is None:
        return StoredArrays(x=_held(mapped_npy(path)))
    raise ValueError(f"{path} has no targets beside it; expected one of {', '.join(names)}")


def _held(mapped: np.ndarray) -> np.ndarray:
    """In memory where it fits: what stays mapped changes with the user's file while it is fitted."""
    return np.array(mapped) if fits(mapped.nbytes) else mapped


def mapped_npy(path: Path) -> np.ndarray:
    """A `.npy` file, memory-mapped; `UnreadableData` where it is broken or would have to be unpickled."""
    try:
        with open(path, "rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise UnreadableData(f"{path} can not be read as .npy: it does not begin as one")
            file.seek(0)
            header_of(file)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise _without_pickle(path, error) from error
    except (OSError, EOFError, OverflowError) as error:
        raise UnreadableData(f"{path} can not be read as .npy: {error}") from error


def read_hdf5(path: Path, target: str | None = "label") -> StoredArrays:
    """The datasets of an HDF5 file, in groups or not; what does not fit in memory stays mapped to the file."""
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("h5py", "science", "reading HDF5 files") from error
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, Any] = {}
            file.visititems(
                lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
            )
            return collect(list(found), lambda name: _from_hdf5(found[name], path), path, target)
    except DAMAGED_HDF5 as error:
        raise UnreadableData(f"{path} can not be read as HDF5: {error}") from error


DAMAGED_HDF5 = (OSError, RuntimeError, LookupError, TypeError, AttributeError, UnicodeError, OverflowError)
"""What h5py raises for a file that was cut or changed."""


def collect(
    names: Iterable[str], fetch: Callable[[str], np.ndarray], path: Path, target: str | None
) -> StoredArrays:
    """Sort stored names into roles and parts, and put the parts together in the order train, validation, test; without a `target`,
    what there are of targets is taken, and may be missing.
    """
    table: dict[str, dict[str | None, str]] = {}
    ignored = []
    for name in names:
        role, part = _role(name, target)
        if role is None:
            ignored.append(name)
        elif part in table.setdefault(role, {}):
            raise ValueError(
                f"{path} has two arrays for {role}{f' of the {part} part' if part else ''}: {table[role][part]} and {name}"
            )
        else:
            table[role][part] = name
    classes = table.pop("classes", {})
    _complete(table, list(names), path, target)
    notes = (f"Arrays that are not used: {', '.join(ignored[:10])}.",) if ignored else ()
    return StoredArrays(
        **_joined(table, fetch, path),
        classes=tuple(str(c) for c in _text(fetch(classes[None]))) if None in classes else None,
        notes=notes,
    )


def _role(name: str, target: str | None) -> tuple[str | None, str | None]:
    if target not in (None, "label") and name == target:
        return "y", None
    words = [w for w in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()) if w]
    if words == ["class", "names"]:
        return "classes", None
    for k, word in enumerate(words):  # xtrain, trainx
        if found := re.fullmatch(r"([xy])(train|val|valid|test)|(train|val|valid|test)([xy])", word):
            words[k : k + 1] = [group for group in found.groups() if group]
    parts = [_PART_OF[w] for w in words if w in _PART_OF]
    roles = [_ROLE_OF[w] for w in words if w in _ROLE_OF]
    if len(parts) > 1 or len(roles) != 1 or len(words) != len(parts) + len(roles):
        return None, None
    return roles[0], parts[0] if parts else None


def _complete(
    table: Mapping[str, Mapping[str | None, str]], names: list[str], path: Path, target: str | None
) -> None:
    there = f" The file has: {', '.join(names[:20]) or 'no arrays'}."
    for role in ("x",) if target is None else ("x", "y"):
        if role not in table:
            if role == "y" and target != "label" and target is not None:
                raise ValueError(f"{path} has no array {target!r}.{nearest(target, names)}")
            raise ValueError(
                f"{path} has no array for {'the inputs' if role == 'x' else 'the targets'}; expected a name such as "
                f"{', '.join(ROLES[role][:4])}, or {role}_train and {role}_test.{there}"
            )
    for role, by_part in table.items():
        if set(by_part) != set(table["x"]):
            raise ValueError(
                f"{path} has {', '.join(table['x'].values())} for the inputs, but {', '.join(by_part.values())} for {role}: each part needs its own.{there}"
            )
    if None in table["x"] and len(table["x"]) > 1:
        raise ValueError(
            f"{path} has inputs of named parts and without a part: {', '.join(table['x'].values())}; expected one or the other"
        )


def _joined(
    table: Mapping[str, Mapping[str | None, str]], fetch: Callable[[str], np.ndarray], path: Path
) -> dict[str, Any]:
    if None in table["x"]:
        joined: dict[str, Any] = {role: fetch(by_part[None]) for role, by_part in table.items()}
    else:
        order = [part for part in PARTS if part in table["x"]]
        pieces = {role: [fetch(by_part[part]) for part in order] for role, by_part in table.items()}
        joined = {role: _stacked(arrays, role, path) for role, arrays in pieces.items()}
        joined["part"] = np.repeat(order, [len(x) for x in pieces["x"]])
    if (part := joined.get("part")) is not None:
        joined["part"] = part_column([str(p) for p in _text(part)], str(path))
    for role, array in joined.items():
        if len(array) != len(joined["x"]):
            raise ValueError(
                f"{path} has {len(joined['x']):,} inputs, but {len(array):,} {role}: there must be one per example"
            )
    return joined


def part_column(words: Iterable[str], where: str) -> np.ndarray:
    """A column of words such as "train" and "val" as parts; another word is refused with what was expected."""
    words = list(words)
    unknown = sorted({word for word in words if part_of(word) is None})
    if unknown:
        hint = nearest(unknown[0], _PART_OF)
        raise ValueError(f"{where} has the split {unknown[0]!r}; expected train, validation or test.{hint}")
    return np.array([part_of(word) for word in words], dtype=np.str_)


def _stacked(arrays: list[np.ndarray], role: str, path: Path) -> np.ndarray:
    if len({(a.shape[1:], a.dtype) for a in arrays}) > 1 and role == "x":
        shown = ", ".join(f"{a.shape} {a.dtype}" for a in arrays)
        raise ValueError(
            f"the parts of {path} have inputs of different shapes or types: {shown}; expected one shape and type"
        )
    if role != "x" or len(arrays) == 1:
        return np.concatenate(arrays)
    whole = room_for((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    np.concatenate(arrays, out=whole)
    return whole


def _from_hdf5(stored: Any, path: Path) -> np.ndarray:
    import h5py

    promised, held = math.prod(stored.shape or ()) * stored.dtype.itemsize, stored.id.get_storage_size()
    if not fits(promised) and promised > UNFOLDS * held:
        raise UnreadableData(
            f"{path}: {stored.name} says that it holds {stored.shape} values of {stored.dtype} ({promised:,} bytes), but {held:,} bytes "
            "are in the file"
        )
    if h5py.check_string_dtype(stored.dtype) is not None:
        return np.array(stored.asstr()[...], dtype=np.str_)
    if stored.dtype.kind not in "biufc" or not stored.shape:
        raise ValueError(
            f"{path}: {stored.name} has type {stored.dtype} and shape {stored.shape}; expected an array of numbers"
        )
    if fits(promised):
        return stored[...]
    if (offset := stored.id.get_offset()) is not None:
        return np.memmap(path, dtype=stored.dtype, mode="r", offset=offset, shape=stored.shape)
    whole = room_for(stored.shape, stored.dtype)
    for rows in in_slices(whole):
        whole[rows] = stored[rows]
    return whole


def _text(values: np.ndarray) -> list[Any]:
    return (np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values).ravel().tolist()


def _without_pickle(path: Path, error: ValueError) -> ValueError:
    if "allow_pickle" not in str(error):
        return (
            error
            if "can not be read" in str(error) or str(path) in str(error)
            else UnreadableData(f"{path} can not be read: {error}")
        )
    return ValueError(
        f"{path} holds Python objects, which are not unpickled (a file could run code that way). Write arrays of numbers: "
        "np.savez(path, x=np.stack(pictures), y=np.array(labels, dtype=str))"
    )
