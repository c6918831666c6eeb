"""Pictures with boxes as a file of labels names them, before any picture is opened; and what every such reader needs."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hubel.core.errors import UnreadableData, nearest
from hubel.data.archives import part_of
from hubel.data.images import SUFFIXES, is_image

FOLDERS_OF_PICTURES = ("", "images", "JPEGImages", "img", "imgs")
NAMES_BESIDE = ("classes.txt", "obj.names", "_darknet.labels")
OBJECT = "object"
EXACT = 2**53  # up to which floating numbers are whole numbers exactly
YES = ("1", "1.0", "true", "yes", "t", "y")
NO = ("", "0", "0.0", "false", "no", "f", "n", "nan", "none", "null")


@dataclass(frozen=True, slots=True)
class Box:
    """One object: its `corners` (x0, y0, x1, y1), what it is, the file and row `where` that is said, and whether it counts."""

    corners: tuple[float, float, float, float]
    label: str
    where: str
    ignored: bool = False


@dataclass(kw_only=True, eq=False)
class BoxedPicture:
    """A picture and its boxes; None where nobody has looked for objects, an empty list where there are none. `size` (H, W) is what the labels
    say of it, `group` what it must not be parted from.
    """

    path: Path
    id: str
    boxes: list[Box] | None
    size: tuple[int, int] | None = None
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxListing:
    """Pictures with boxes in a fixed order, and the names of the classes where their order is given.

    Corners are in pixels, or in shares of the sides (`unit`). `written` is how the file gives a box: by its corners, by a corner and its
    sizes, or otherwise; it is what a suspicion is about.
    """

    pictures: list[BoxedPicture]
    format: str
    classes: tuple[str, ...] | None = None
    unit: Literal["pixels", "shares"] = "pixels"
    written: Literal["corners", "sizes", "otherwise"] = "otherwise"
    notes: tuple[str, ...] = ()


def few(names: Sequence[str], most: int = 10) -> str:
    """The first names of many.

    >>> few(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises `UnreadableData` where it is none."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no text, no JSON, numbers of thousands of digits
        raise UnreadableData(f"{path} is no JSON: {error}") from error


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8; raises `UnreadableData` naming the file where it is none."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableData(
            f"{path} is no text in UTF-8 ({error}): write it again, or save it as UTF-8"
        ) from error


def number(value: Any, what: str, where: str) -> float:
    """`value` as a number; raises `ValueError` with the place where it is none."""
    if isinstance(value, str):
        value = value.strip()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{where}: {what} is {value!r}; expected a number")
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"{where}: {what} is {value!r}; expected a number") from error
    except OverflowError as error:
        raise ValueError(
            f"{where}: {what} is {str(value)[:20]} …, beyond all floating numbers; expected a number"
        ) from error


def numbers(values: Any, count: int, what: str, where: str) -> list[float]:
    """A list of so many numbers; raises `ValueError` with the place where it is none."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise ValueError(f"{where}: {what} is {values!r}; expected {count} numbers")
    return [number(value, what, where) for value in values]


def whole_number(value: Any, what: str, where: str) -> int:
    """`value` as a whole number; raises `ValueError` with the place where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # exactly: ids may have more digits than a floating number
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9]{1,4000}\s*", value):
        return int(value)
    found = number(value, what, where)
    if not math.isfinite(found) or found != round(found) or abs(found) > EXACT:
        raise ValueError(f"{where}: {what} is {value!r}; expected a whole number")
    return int(found)


def yes_or_no(value: Any, what: str, where: str) -> bool:
    """`value` as yes or no, as files say it: true, 1, "yes", and nothing for no; raises `ValueError` with the place for other words.

    >>> yes_or_no("0", "difficult", "a.xml"), yes_or_no(None, "difficult", "a.xml"), yes_or_no(1.0, "difficult", "a.xml")
    (False, False, True)
    """
    word = "" if value is None else str(value).strip().casefold()
    if word in YES or word in NO:
        return word in YES
    raise ValueError(f"{where}: {what} is {value!r}; expected 1 or 0, true or false")


def class_name(value: Any, what: str, where: str) -> str:
    """The name of a class, a text or a whole number; raises `ValueError` with the place where it is empty or something else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise ValueError(f"{where}: {what} is {value!r}; expected the name of a class")
    return str(value).strip()


def envelope(points: Iterable[Sequence[float]], where: str) -> tuple[float, float, float, float]:
    """The smallest box that holds points (x, y)."""
    xs, ys = zip(*points, strict=True) if (points := list(points)) else ((), ())
    if len(xs) < 2:
        raise ValueError(f"{where}: an outline of {len(xs)} points has no extent; expected at least 3 points")
    if not all(map(math.isfinite, (*xs, *ys))):  # which min and max may pass over
        raise ValueError(
            f"{where}: an outline has a point that is not finite; expected numbers: correct or remove it"
        )
    return min(xs), min(ys), max(xs), max(ys)


def find_picture(root: Path, name: str, inside: Sequence[str] = FOLDERS_OF_PICTURES) -> Path | None:
    """The file of a picture that labels in `root` call `name`: there, in a folder for pictures beside them, or by its last part alone."""
    name = name.replace("\\", "/")
    for candidate in dict.fromkeys((name, Path(name).name)):
        for folder in inside:
            for base in (root, root.parent) if folder else (root,):
                path = base / folder / candidate
                try:
                    if path.is_file():
                        return path
                except (OSError, ValueError):
                    return None
    return None


def refuse_absent(absent: Sequence[str], total: int, source: Path, looked: str) -> None:
    """Raise `UnreadableData` naming labels whose picture is not there."""
    if absent:
        beside = [p.name for p in source.parent.iterdir() if is_image(p)][:1000]
        hint = nearest(Path(absent[0]).name, beside) if beside else ""
        raise UnreadableData(
            f"{len(absent):,} of {total:,} pictures that {source} names do not exist: {few(list(absent))}. Looked {looked}.{hint}"
        )


def stem_of(path: Path) -> str:
    """A file's name without the ending of pictures or of labels, in composed form."""
    name = path.name
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default=path.suffix)
    return unicodedata.normalize("NFC", name[: -len(suffix)] if suffix else name)


def part_in_name(path: Path) -> str | None:
    """The part that a word in a file's name means.

    >>> part_in_name(Path("instances_val2017.json")), part_in_name(Path("labels.json"))
    ('validation', None)
    """
    words = re.split(r"[^A-Za-z]+", stem_of(path))
    return next((part for word in words if (part := part_of(word))), None)


def names_in(folder: Path) -> tuple[str, ...] | None:
    """The names of classes in a file beside labels, a name a line for 0, 1, 2, …"""
    found = [folder / name for name in NAMES_BESIDE if (folder / name).is_file()]
    found += sorted(folder.glob("*.names")) if not found else []
    if not found:
        return None
    names = [line.strip() for line in read_text(found[0]).rstrip().splitlines()]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"{found[0]} holds {names[:10]}; expected a different name on every line")
    return tuple(names)


def refuse_two_parts(pictures: Sequence[BoxedPicture], source: Path) -> None:
    """Raise `ValueError` where one picture stands in several parts."""
    first: dict[Path, BoxedPicture] = {}
    twice = []
    for picture in pictures:
        other = first.setdefault(picture.path.resolve(), picture)
        if other is not picture:
            twice.append(
                f"{picture.id} ({other.part} and {picture.part})" if picture.part else f"{picture.id}"
            )
    if twice:
        raise ValueError(
            f"{source} names {len(twice):,} pictures twice: {few(twice)}. A picture belongs to one part, with all its boxes in one place"
        )


def refuse_two_names(pictures: Sequence[BoxedPicture], source: Path) -> None:
    """Raise `ValueError` where one picture is called by several names: its boxes would be those of several pictures."""
    first: dict[Path, str] = {}
    twice = []
    for picture in pictures:
        other = first.setdefault(picture.path.resolve(), picture.id)
        if other != picture.id:
            twice.append(f"{other} and {picture.id}")
    if twice:
        raise ValueError(
            f"{source} calls {len(twice):,} pictures by two names: {few(twice)}. They are one file, whose boxes belong together: write one name in all "
            "of its rows"
        )


def by_number(names: Mapping[int, str], found: Iterable[int], source: Path) -> dict[int, str]:
    """The names of class numbers, of which all `found` have one; raises `ValueError` for missing, empty and equal names."""
    given = [str(name).strip() for name in names.values()]
    if not all(given) or len(set(given)) < len(given):
        raise ValueError(
            f"{source}: the names of classes are {given[:10]}; expected a different name for every class"
        )
    if unknown := sorted(set(found) - set(names)):
        raise ValueError(
            f"{source}: the classes {few(list(map(str, unknown)))} have no name; there are {few([f'{k} ({v})' for k, v in names.items()])}"
        )
    return dict(names)
