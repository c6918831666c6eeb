"""Boxes of Pascal VOC: an XML file a picture, with its name, its size and the corners of every object.

VOC counts pixels from 1 and names the first and the last pixel of an object: 1 is taken off xmin and ymin, so that they are edges. Many
programs that write XML count from 0: where a corner is 0 in any file, all are taken as edges already, which is noted; `voc_offset` says it
outright. Objects called `difficult` are ignored. XML that declares entities is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_of
from hubel.data.box_faults import Faults
from hubel.data.box_listing import (
    Box,
    BoxedPicture,
    BoxListing,
    find_picture,
    number,
    refuse_absent,
    refuse_two_parts,
    stem_of,
    whole_number,
    yes_or_no,
)
from hubel.data.folders import printable
from hubel.data.images import is_image

SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(path: Path) -> bool:
    """Whether an XML file holds an annotation."""
    if path.suffix.lower() != ".xml":
        return False
    with path.open("rb") as file:
        return b"<annotation" in file.read(2000)


def list_voc(
    files: Sequence[Path], root: Path, *, pictures: Path | None = None, voc_offset: int | None = None
) -> BoxListing:
    """The pictures of XML files. Those of the folder `pictures` that have none are kept as unlabelled.

    Raises `ValueError` naming files and objects that are not understood, `UnreadableData` naming pictures that are not there.
    """
    if voc_offset not in (None, 0, 1):
        raise ValueError(f"voc_offset={voc_offset!r}; expected 1 (pixels count from 1, as VOC says) or 0")
    faults = Faults()
    trees: list[tuple[Path, ElementTree.Element]] = []
    for path in files:
        with faults.of(str(path)):
            trees.append((path, _tree(path)))
    found: list[BoxedPicture] = []
    absent: list[str] = []
    for path, tree in trees:
        name = (tree.findtext("filename") or "").strip()
        file = find_picture(path.parent, name) if name else None
        file = file or _beside(path, pictures)
        if file is None:
            absent.append(f"{name or 'without a name'} ({path.name})")
            continue
        picture = BoxedPicture(
            path=file,
            id=printable(file.relative_to(root)) if file.is_relative_to(root) else file.name,
            boxes=(boxes := []),
            part=part_of(path.parent.name),
        )
        with faults.of(str(path)):
            picture.size = _size(tree, path)
        for k, entry in enumerate(tree.iter("object")):
            with faults.of(str(path)):
                boxes.append(_box(entry, f"{path.name}, object {k + 1}"))
        found.append(picture)
    faults.refuse()
    refuse_absent(absent, len(files), files[0], "beside it, in images/ and in JPEGImages/")
    corners = [box.corners for picture in found for box in picture.boxes or ()]
    from_zero = any(min(c[:2]) == 0 for c in corners)
    offset = voc_offset if voc_offset is not None else int(not from_zero)
    if offset:
        for picture in found:
            picture.boxes = [
                Box((b.corners[0] - 1, b.corners[1] - 1, *b.corners[2:]), b.label, b.where, b.ignored)
                for b in picture.boxes or ()
            ]
    if pictures is not None:
        labelled = {picture.path.resolve() for picture in found}
        found += [
            BoxedPicture(
                path=path,
                id=printable(path.relative_to(root)) if path.is_relative_to(root) else path.name,
                boxes=None,
            )
            for path in sorted(pictures.iterdir())
            if is_image(path) and not path.name.startswith(".") and path.resolve() not in labelled
        ]
    if any(picture.part for picture in found) and not all(picture.part for picture in found):
        for picture in found:
            picture.part = None
    refuse_two_parts(found, root)
    how = {
        0: "VOC's corners were taken as edges counted from 0"
        + (", since some are 0" if voc_offset is None else ""),
        1: "VOC's pixels were taken to count from 1"
        + (
            ", as VOC says (no corner is 0); where the program that wrote them counts from 0, say voc_offset=0 (--voc-offset 0)"
            if voc_offset is None
            else ""
        ),
    }[offset]
    return BoxListing(pictures=found, format="VOC", written="corners", notes=(f"{how}.",) if corners else ())


def _tree(path: Path) -> ElementTree.Element:
    content = path.read_bytes()
    if b"<!ENTITY" in content:
        raise UnreadableData(f"{path} declares entities, which labels do not need: it is refused")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableData(f"{path} is no XML: {error}") from error
    if root.tag != "annotation":
        raise UnreadableData(f"{path} has the root <{root.tag}>; expected <annotation>, as Pascal VOC has")
    return root


def _beside(path: Path, pictures: Path | None) -> Path | None:
    """The picture with the name of an XML file, whatever its ending."""
    folders = [path.parent] if pictures is None else [pictures, path.parent]
    return next(
        (
            other
            for folder in folders
            for other in sorted(folder.iterdir())
            if is_image(other) and stem_of(other) == path.stem
        ),
        None,
    )


def _size(tree: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    texts = [tree.findtext(f"size/{side}") for side in ("height", "width")]
    if any(text is None or not text.strip() for text in texts):
        return None
    height, width = (whole_number(text, "its size", str(path)) for text in texts)
    return (height, width) if height > 0 and width > 0 else None


def _box(entry: ElementTree.Element, where: str) -> Box:
    label = (entry.findtext("name") or "").strip()
    if not label:
        raise ValueError(f"{where} has no name; expected the class of the object")
    sides = {}
    for side in SIDES:
        text = entry.findtext(f"bndbox/{side}")
        if text is None:
            raise ValueError(f"{where} has no {side} in a bndbox; expected {', '.join(SIDES)}")
        sides[side] = number(text, side, where)
    x0, y0, x1, y1 = (sides[side] for side in SIDES)
    return Box((x0, y0, x1, y1), label, where, yes_or_no(entry.findtext("difficult"), "difficult", where))
