"""Files that stand where labels of boxes do and are none: broken, empty, or of a form that is not read. They are named, lest a picture count as not labelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hubel.core.errors import UnreadableData
from hubel.data.box_listing import few, read_json, stem_of
from hubel.data.images import is_image

OF_PICTURES = ("images", "jpegimages")
OF_LABELS = ("annotations", "labels")


def refuse_broken(
    root: Path, homes: Sequence[Path], of_pictures: Sequence[Path], understood: set[Path]
) -> None:
    """Raise `UnreadableData` for JSON and XML files in `homes` that are not among those that were `understood` as labels, but stand where labels do.

    Where other files of a folder are labels with the names of pictures (labelme, VOC), these are all that are called like a picture. Where nothing was
    understood, they are those beside pictures or folders of pictures that are broken or nearly labels.
    """
    stems = {stem_of(path) for folder in (root, *of_pictures) for path in folder.iterdir() if is_image(path)}
    kinds = {(path.parent, path.suffix) for path in understood if stem_of(path) in stems}
    wrong = []
    for folder in homes if stems or of_pictures else ():
        for path in sorted(folder.iterdir()):
            if path in understood or path.suffix.lower() not in (".json", ".xml") or not path.is_file():
                continue
            as_others = (folder, path.suffix) in kinds and stem_of(path) in stems
            why = _why_no_labels(path)
            if as_others or (why and not understood):
                wrong.append(f"{path.relative_to(root)} {why or 'holds no labels as the files beside it do'}")
    if wrong:
        raise UnreadableData(
            f"{root}: {len(wrong):,} files stand where labels do, but are none: {few(wrong)}. Write them again, or move them away"
        )


def _why_no_labels(path: Path) -> str:
    """What is wrong with a file that may have been meant as labels; nothing for other files."""
    if path.stat().st_size == 0:
        return "is empty"
    if path.suffix.lower() == ".xml":
        return ""
    try:
        content = read_json(path)
    except UnreadableData as error:
        return str(error).removeprefix(f"{path} ")
    if isinstance(content, dict) and {"images", "annotations", "categories"} & set(content):
        return "is no COCO: expected images and annotations, both lists"
    if isinstance(content, dict) and "shapes" in content:
        return "is no labelme: expected shapes as a list"
    if isinstance(content, list) and content and isinstance(content[0], dict) and "image" in content[0]:
        return "looks like Label Studio's JSON-MIN: export its raw JSON"
    return ""
