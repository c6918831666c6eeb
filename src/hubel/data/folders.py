"""A folder of class folders, or of train, validation and test folders of class folders.

The class is the name of the folder (Unicode in composed form, natural order); pictures (or series) in folders below it belong to it too.
Hidden files are passed over in silence, other files that are no pictures are counted and noted.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_of
from hubel.data.images import is_image
from hubel.data.listing import Listing
from hubel.data.table_pieces import is_table
from hubel.data.targets import class_order

IGNORED_FOLDERS = ("__MACOSX",)


@dataclass(frozen=True)
class Wanted:
    """Which files are examples, and what they are called."""

    test: Callable[[Path], bool]
    one: str = "picture"

    @property
    def a_one(self) -> str:
        return f"{'an' if self.one[0] in 'aeiou' else 'a'} {self.one}"

    @property
    def many(self) -> str:
        return self.one if self.one.endswith("s") else f"{self.one}s"


PICTURES = Wanted(is_image)


@dataclass(eq=False)
class _Walk:
    """What is met on the way, counted."""

    root: Path
    wanted: Wanted
    others: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)


def holds(root: Path, wanted: Wanted) -> bool:
    """Whether a file in the folders below `root` is wanted; hidden ones do not count."""
    for here, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in IGNORED_FOLDERS]
        if any(wanted.test(Path(here, name)) for name in files if not name.startswith(".")):
            return True
    return False


def list_folder(root: Path, wanted: Wanted = PICTURES) -> Listing:
    """The pictures (or other wanted files) of a folder of class folders; raises `ValueError` where it is none, saying what was found instead."""
    folders = subfolders(root)
    parts = {folder: part_of(folder.name) for folder in folders}
    walk = _Walk(root, wanted)
    split = (
        bool(folders)
        and all(parts.values())
        and "train" in parts.values()
        and all(subfolders(f) for f in folders)
    )
    if split:
        twice = [name for name, n in Counter(parts.values()).items() if n > 1]
        if twice:
            raise ValueError(
                f"{root} has two folders for the {twice[0]} part: {', '.join(f.name for f in folders)}"
            )
        found = [
            (part, label, p) for folder, part in parts.items() for label, p in _class_files(folder, walk)
        ]
    else:
        said = {part for part in parts.values() if part}
        if "train" in said and len(said) > 1:
            raise ValueError(
                f"{root} has folders for parts ({', '.join(f.name for f, part in parts.items() if part)}), but "
                f"{_why_no_parts(parts)}; expected train/CLASS/…, test/CLASS/…: name the training folder alone, or sort the others into classes"
            )
        found = [(None, label, p) for label, p in _class_files(root, walk)]
    if not found:
        raise UnreadableData(_nothing_in(root, folders, wanted))
    ids = [printable(path.relative_to(root)) for _, _, path in found]
    labels = [label for _, label, _ in found]
    classes = class_order(labels)
    number = {name: k for k, name in enumerate(classes)}
    notes = list(_notes(walk, ids))
    if split:
        notes += _uneven(root, [(str(part), label) for part, label, _ in found])
    if len(classes) < 2:
        raise ValueError(
            f'{root} has one class only, "{labels[0]}" ({len(found):,} {wanted.many}); expected a folder of at least two class folders, '
            "or there is nothing to tell apart"
        )
    return Listing(
        paths=[path for _, _, path in found],
        ids=ids,
        y=np.array([number[label] for label in labels]),
        classes=classes,
        part=np.array([str(part) for part, _, _ in found]) if split else None,
        notes=tuple(notes),
    )


def _why_no_parts(parts: dict[Path, str | None]) -> str:
    others = [folder.name for folder, part in parts.items() if part is None]
    if others:
        return f"others beside them ({', '.join(others[:5])})"
    flat = [folder.name for folder in parts if not subfolders(folder)]
    return f"no class folders in {', '.join(flat)}"


def _class_files(root: Path, walk: _Walk) -> Iterator[tuple[str, Path]]:
    folders = subfolders(root)
    names = [unicodedata.normalize("NFC", folder.name) for folder in folders]
    folded = Counter(name.casefold() for name in names)
    alike = [name for name in names if folded[name.casefold()] > 1]
    if alike:
        raise ValueError(
            f"{root} has class folders that differ in case only: {', '.join(sorted(alike))}; rename or merge them"
        )
    for entry in root.iterdir():
        if entry.is_file() and not entry.name.startswith("."):
            walk.others["outside class folders" if walk.wanted.test(entry) else _kind(entry)] += 1
    empty = []
    place = {name: number for number, name in enumerate(class_order(names))}
    for name, folder in sorted(zip(names, folders, strict=True), key=lambda pair: place[pair[0]]):
        paths = list(_files_below(folder, walk))
        if not paths:
            empty.append(name)
        yield from ((printable(Path(name)), path) for path in paths)
    if empty and len(empty) < len(folders):
        raise ValueError(
            f"class folders of {root} without {walk.wanted.a_one}: {', '.join(empty)}; add {walk.wanted.many} or remove the folders"
        )


def files_below(folder: Path, root: Path) -> Iterator[Path]:
    """Image files below `folder`, sorted, for a reader that does not count what else there is."""
    return _files_below(folder, _Walk(root, PICTURES))


def _files_below(folder: Path, walk: _Walk) -> Iterator[Path]:
    """Image files below `folder`, sorted; links are followed, but none that leads back to a folder on the way here."""

    def below(here: Path, way: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        status = here.stat()
        if (status.st_dev, status.st_ino) in way:
            walk.loops.append(printable(here.relative_to(walk.root)))
            return
        with os.scandir(here) as entries:
            inside = sorted(entries, key=lambda e: e.name)
        for entry in inside:
            path = here / entry.name
            if entry.name.startswith(".") or entry.name in IGNORED_FOLDERS:
                continue
            if entry.is_dir():
                yield from below(path, (*way, (status.st_dev, status.st_ino)))
            elif walk.wanted.test(path):
                yield path  # a link to nothing too: it is counted among the files that can not be read
            else:
                walk.others[_kind(path)] += 1

    root = walk.root.stat()
    yield from below(folder, ((root.st_dev, root.st_ino),))


def subfolders(root: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return sorted(
        p
        for p in root.iterdir()
        if p.is_dir() and not p.name.startswith(".") and p.name not in IGNORED_FOLDERS
    )


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without ending"


def _notes(walk: _Walk, ids: list[str]) -> Iterator[str]:
    outside = walk.others.pop("outside class folders", 0)
    if outside:
        yield f"{outside:,} {walk.wanted.many} lie outside class folders; they have no label and were left out."
    if walk.others:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in walk.others.most_common(10))
        yield f"{sum(walk.others.values()):,} files are no {walk.wanted.many} that hubel reads ({kinds}); they were left out."
    if walk.loops:
        yield f"{len(walk.loops):,} links lead back to a folder above them and were not followed: {', '.join(walk.loops[:10])}."
    alike = [name for name, n in Counter(i.casefold() for i in ids).items() if n > 1]
    if len(alike) > 0:
        shown = [i for i in ids if i.casefold() == alike[0]]
        yield (
            f"{len(alike):,} file names occur twice with different case ({' and '.join(shown)}); they are different files here, but not "
            "on every system."
        )


def _uneven(root: Path, found: list[tuple[str, str]]) -> list[str]:
    trained = {label for part, label in found if part == "train"}
    untrained = sorted({label for _, label in found} - trained)
    if untrained:
        raise ValueError(
            f"{root}: classes without a training picture: {', '.join(untrained)}; a network can not learn them. Are the folders spelt alike?"
        )
    notes = []
    for part in sorted({part for part, _ in found} - {"train"}):
        missing = class_order(trained - {label for p, label in found if p == part})
        if missing:
            notes.append(
                f"The {part} part has no picture of {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}."
            )
    return notes


def _nothing_in(root: Path, folders: list[Path], wanted: Wanted) -> str:
    expected = f"expected a folder with one folder of {wanted.many} per class"
    if not any(root.iterdir()):
        return f"{root} is empty; {expected}"
    files = [p for p in root.iterdir() if p.is_file() and not p.name.startswith(".")]
    if tables := sorted(p.name for p in files if is_table(p)):
        return f"{root} has no class folders, but a table; give the table itself: {root / tables[0]}"
    pictures = sum(map(wanted.test, files))
    if pictures:
        return f"{root} has {pictures:,} {wanted.many}, but no class folders; {expected}, or a table (CSV) with the columns path and label"
    inside = f"{len(folders)} folders" if folders else f"{len(files)} files"
    inside += f" without {wanted.a_one}" if folders else f", none of them {wanted.a_one}"
    return f"{root} has {inside}; {expected}"


def printable(path: Path) -> str:
    """The path as text that every terminal and file can hold."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")
