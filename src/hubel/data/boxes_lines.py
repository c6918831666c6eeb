"""Boxes in lines of text: `path x0,y0,x1,y1,class x0,y0,x1,y1,class …`, a picture a line, as several YOLO programs (and AILE) have them.

A path may have blanks in it. A line with a path alone is a picture with nothing on it, and is kept. Names of classes stand in classes.txt or
a `.names` file beside it; without them a class is called by its number.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    by_number,
    find_picture,
    names_in,
    numbers,
    read_text,
    refuse_absent,
    refuse_two_parts,
    whole_number,
)
from hubel.data.images import is_image

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|-?inf"
BOX = re.compile(rf"(?:{NUMBER})(?:,(?:{NUMBER})){{4}}", re.IGNORECASE)


def is_lines(path: Path) -> bool:
    """Whether the first lines of a text file begin with the name of a picture, most of them, and some go on with boxes."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.strip() for line in islice(file, 50) if line.strip()]
    except (UnicodeDecodeError, OSError):
        return False
    split = [_split(line) for line in lines]
    named = [is_image(Path(name)) for name, _ in split]
    return bool(lines) and named[0] and 2 * sum(named) > len(named) and any(boxes for _, boxes in split)


def list_lines(path: Path) -> BoxListing:
    """The pictures of a file of lines; raises `ValueError` naming lines that are not understood, `UnreadableData` for absent pictures."""
    pictures: list[BoxedPicture] = []
    absent: list[str] = []
    numbers: set[int] = set()
    faults = Faults()
    for row, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {row}"
        name, words = _split(line.strip())
        with faults.of(str(path)):
            if not is_image(Path(name)):
                raise ValueError(
                    f"{where}: {line.strip()[:100]!r} is not understood; expected path x0,y0,x1,y1,class …"
                )
            file = find_picture(path.parent, name)
            if file is None:
                absent.append(name)
                continue
            pictures.append(BoxedPicture(path=file, id=name, boxes=(boxes := [])))
            for place, word in enumerate(words, start=1):
                with faults.of(str(path)):
                    boxes.append(_box(word, f"{where}, box {place}"))
            numbers.update(int(box.label) for box in boxes)
    faults.refuse()
    refuse_absent(absent, len(pictures) + len(absent), path, "beside it and in images/")
    refuse_two_parts(pictures, path)
    beside = names_in(path.parent)
    names = {k: str(k) for k in sorted(numbers)}
    if beside is not None:
        names = by_number(dict(enumerate(beside)), numbers, path.parent)
        for picture in pictures:
            picture.boxes = [Box(b.corners, names[int(b.label)], b.where) for b in picture.boxes or ()]
    classes = tuple(name for _, name in sorted(names.items()))
    return BoxListing(pictures=pictures, format="a file of lines", classes=classes, written="corners")


def _box(word: str, where: str) -> Box:
    *corners, said = word.split(",")
    kind = whole_number(said, "the class", where)
    if kind < 0:
        raise ValueError(f"{where}: the class is {kind}; expected a whole number from 0")
    x0, y0, x1, y1 = numbers(corners, 4, "the box", where)
    return Box((x0, y0, x1, y1), str(kind), where)


def _split(line: str) -> tuple[str, list[str]]:
    """The path, which may have blanks, and the boxes behind it."""
    words = line.split()
    first = len(words)
    while first > 1 and BOX.fullmatch(words[first - 1]):
        first -= 1
    boxes = words[first:]
    end = len(line)
    for word in reversed(boxes):
        end = line.rindex(word, 0, end)
    return line[:end].strip(), boxes
