"""Boxes of YOLO: a text file a picture, a line an object: class, centre x, centre y, width, height, in shares of the sides.

Lines with more numbers are outlines (class, x, y, x, y, …), of which the envelope is taken. An empty file says that nothing is on the
picture; a picture without a file is not labelled. Names of classes stand in data.yaml, classes.txt or obj.names; without them a class is called
by its number. Of data.yaml the keys names, path, train, val and test are read, and no YAML beyond that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from hubel.data.archives import part_of
from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    by_number,
    envelope,
    few,
    names_in,
    number,
    read_text,
    refuse_two_parts,
    stem_of,
    whole_number,
)
from hubel.data.folders import files_below, printable, subfolders

NOT_LABELS = ("classes.txt", "readme.txt", "requirements.txt", "train.txt", "val.txt", "test.txt")
ROUNDING = 1e-3  # shares beyond 0 and 1 that come from rounding


def list_yolo(root: Path, yaml: Path | None = None) -> BoxListing:
    """The pictures of a folder with the labels that lie in `labels/` instead of `images/`, or beside them; of its data.yaml the parts.

    Raises `ValueError` naming lines that are not understood, and labels without a picture.
    """
    said = {} if yaml is None else read_yaml(yaml)
    pairs = list(_folders(root, said))
    pictures: list[BoxedPicture] = []
    lone: list[str] = []
    of_file: set[Path] = set()
    numbers: set[int] = set()
    faults = Faults()
    for part, of_pictures, of_labels in pairs:
        texts = _texts(of_labels)
        takers: dict[Path, Path] = {}
        for path in files_below(of_pictures, of_pictures.parent):
            below = path.parent.relative_to(of_pictures)
            text = texts.get((_composed(below), stem_of(path)))
            inside = part_of(below.parts[0]) if below.parts else None
            boxes = None
            if text is not None:
                if (other := takers.setdefault(text, path)) is not path:
                    raise ValueError(
                        f"{root}: {text.name} would be the labels of {other.name} and of {path.name}, and one picture could stand in two parts: "
                        "keep one of them"
                    )
                of_file.add(text.resolve())
                boxes = _boxes(text, numbers, faults)
            pictures.append(
                BoxedPicture(
                    path=path,
                    id=printable(path.relative_to(root)) if path.is_relative_to(root) else path.name,
                    boxes=boxes,
                    part=part or inside,
                )
            )
        lone += [
            printable(text.relative_to(root)) if text.is_relative_to(root) else text.name
            for text in sorted(texts.values())
            if text.resolve() not in of_file
        ]
    faults.refuse()
    if lone:
        raise ValueError(
            f"{root}: {len(lone):,} files of labels have no picture: {few(lone)}. A picture and its labels have the same name, images/a.png and "
            "labels/a.txt"
        )
    parts = {picture.part for picture in pictures}
    if None in parts and len(parts) > 1:
        loose = [picture.id for picture in pictures if picture.part is None]
        raise ValueError(
            f"{root} has folders for parts, and {len(loose):,} pictures beside them ({few(loose)}): sort these into the parts"
        )
    refuse_two_parts(pictures, root)
    names = _names(said, root, [folder for _, _, folder in pairs], numbers, yaml)
    for picture in pictures:
        if picture.boxes:
            picture.boxes = [Box(b.corners, names[int(b.label)], b.where) for b in picture.boxes]
    classes = tuple(name for _, name in sorted(names.items()))
    return BoxListing(pictures=pictures, format="YOLO", classes=classes, unit="shares")


def _texts(folder: Path) -> dict[tuple[str, str], Path]:
    """Files of labels by the folder in which they lie and the name without its ending, in composed form, as file systems differ in that."""
    return {
        (_composed(path.parent.relative_to(folder)), stem_of(path)): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".txt" and path.name.lower() not in NOT_LABELS and path.is_file()
    }


def _composed(path: Path) -> str:
    return unicodedata.normalize("NFC", path.as_posix())


def read_yaml(path: Path) -> dict[str, str | list[str] | dict[int, str]]:
    """The keys of a data.yaml as YOLO has it: words, lists of words, and names by number.

    Raises `ValueError` for what is written otherwise.
    """
    found: dict[str, str | list[str] | dict[int, str]] = {}
    key = open_list = ""
    for row, line in enumerate(read_text(path).splitlines(), start=1):
        text = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if not text.strip() or text.strip() == "---":
            continue
        if open_list:  # a list in brackets goes on over lines
            open_list = f"{open_list} {text.strip()}"
            if open_list[-1] in "]}":
                found[key], open_list = _value(open_list, f"{path}, line {row}"), ""
            continue
        if not text[0].isspace() and not text.startswith("-"):
            key, colon, value = text.partition(":")
            key = key.strip()
            if not colon:
                raise ValueError(f"{path}, line {row}: {line!r} is not understood; expected key: value")
            if key in found:
                raise ValueError(f"{path}, line {row}: {key} stands twice; expected it once")
            value = value.strip()
            if value[:1] in ("[", "{") and value[-1] not in "]}":
                open_list = value
                continue
            found[key] = _value(value, f"{path}, line {row}")
            continue
        item = text.strip()
        before = found.get(key)
        if item.startswith("-"):
            items = before if isinstance(before, list) else []
            found[key] = [*items, _word(item[1:])]
        elif (entry := re.fullmatch(r"(\d+)\s*:\s*(.*)", item)) is not None:
            entries = before if isinstance(before, dict) else {}
            found[key] = {**entries, int(entry[1]): _word(entry[2])}
        elif key == "names":
            raise ValueError(
                f"{path}, line {row}: {line!r} is not understood; expected names as [a, b], as - a, or as 0: a"
            )
    if open_list:
        raise ValueError(
            f"{path}: the list {open_list[:80]!r} of {key} is not closed; expected a bracket at its end"
        )
    return found


def _value(text: str, where: str) -> str | list[str] | dict[int, str]:
    if text.startswith("[") and text.endswith("]"):
        return [_word(word) for word in _split(text[1:-1])]
    if text.startswith("{") and text.endswith("}"):
        entries = [word.partition(":") for word in _split(text[1:-1])]
        return {
            whole_number(_word(place), "the number of a class", where): _word(word)
            for place, _, word in entries
        }
    return _word(text)


def _split(text: str) -> list[str]:
    """Words between commas, of which those in quotes may hold commas."""
    return [word for word in re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", text) if word.strip()]


def _word(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _folders(root: Path, said: Mapping[str, object]) -> Iterator[tuple[str | None, Path, Path]]:
    """Part, folder of pictures, folder of labels."""
    named = [key for key in said if part_of(key) and isinstance(said[key], (str, list)) and said[key]]
    if named:
        base = root / str(said.get("path") or "")
        base = base if base.is_dir() else root
        for key in named:
            entry = said[key]
            for text in entry if isinstance(entry, list) else [entry]:
                folder = _existing(base, root, str(text), key)
                yield part_of(key), folder, _labels_of(folder)
        return
    inside = {folder.name.casefold(): folder for folder in subfolders(root)}
    if {"images", "labels"} <= set(inside):
        yield None, inside["images"], inside["labels"]
        return
    parts = [(part_of(name), folder) for name, folder in inside.items() if part_of(name)]
    of_parts = [(part, {f.name.casefold(): f for f in subfolders(folder)}, folder) for part, folder in parts]
    if of_parts and all({"images", "labels"} <= set(below) for _, below, _ in of_parts):
        for part, below, _ in of_parts:
            yield part, below["images"], below["labels"]
        return
    yield None, root, root


def _existing(base: Path, root: Path, text: str, key: str) -> Path:
    tried = [base / text, root / text, root / text.removeprefix("../"), root / Path(text).name]
    found = next((folder for folder in tried if folder.is_dir()), None)
    if found is None:
        raise ValueError(
            f"data.yaml names {text!r} as {key}, but there is no folder {tried[0]}: correct it, or leave {key} out"
        )
    return found / "images" if (found / "images").is_dir() and (found / "labels").is_dir() else found


def _labels_of(folder: Path) -> Path:
    """The folder of labels of a folder of pictures: `labels` in place of the last `images`, or the same folder."""
    parts = list(folder.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            other = Path(*parts[:place], "labels", *parts[place + 1 :])
            return other if other.is_dir() else folder
    return folder


def _boxes(path: Path, numbers: set[int], faults: Faults) -> list[Box]:
    """The boxes of a file of labels, called by the numbers of their classes, which are added to `numbers`."""
    boxes: list[Box] = []
    lines: list[str] = []
    with faults.of(str(path)):
        lines = read_text(path).splitlines()
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        with faults.of(str(path)):
            boxes.append(_box(line.strip(), f"{path.name}, line {row}"))
    numbers.update(int(box.label) for box in boxes)
    return boxes


def _box(line: str, where: str) -> Box:
    words = line.split()
    kind = whole_number(words[0], "the class", where)
    if kind < 0 or len(words) < 5 or (len(words) > 5 and len(words) % 2 == 0):
        more = "; a sixth number is a score, which labels do not have" if len(words) == 6 else ""
        raise ValueError(
            f"{where}: {line[:80]!r} is not understood; expected class, x, y, width, height (or class and pairs x, y of an outline){more}"
        )
    values = [number(word, "a coordinate", where) for word in words[1:]]
    if any(value > 1 + ROUNDING or value < -ROUNDING for value in values):
        raise ValueError(
            f"{where}: {line[:80]!r} goes beyond 0 to 1; expected shares of the width and height: divide pixels by them"
        )
    if len(values) == 4:
        x, y, width, height = values
        return Box((x - width / 2, y - height / 2, x + width / 2, y + height / 2), str(kind), where)
    return Box(envelope(list(zip(values[::2], values[1::2], strict=True)), where), str(kind), where)


def _names(
    said: Mapping[str, object], root: Path, folders: list[Path], numbers: set[int], yaml: Path | None
) -> dict[int, str]:
    given = said.get("names")
    if isinstance(given, str) and given:
        raise ValueError(f"{yaml}: names is {given!r}; expected them as [a, b], as - a, or as 0: a")
    count = said.get("nc")
    if isinstance(given, (list, dict)) and given and isinstance(count, str) and count != str(len(given)):
        raise ValueError(
            f"{yaml}: nc is {count}, but there are {len(given)} names ({few(list(given if isinstance(given, list) else given.values()))}): correct one of them"
        )
    if isinstance(given, (list, dict)) and given:
        names = dict(enumerate(given)) if isinstance(given, list) else dict(given)
        return by_number(names, numbers, yaml or root)
    for folder in dict.fromkeys([root, *folders, *(folder.parent for folder in folders)]):
        if (beside := names_in(folder)) is not None:
            return by_number(dict(enumerate(beside)), numbers, folder)
    return {k: str(k) for k in sorted(numbers)}
