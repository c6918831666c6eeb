"""Examples that are their own target: pictures without labels, files of inputs alone, and the word for it.

`target="self"` (`--target self`), or `hubel.fit(x, "self")`, asks a network to give back, to generate or to weigh what it is shown. Labels
that there are stay beside the examples as words, which nothing learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_of
from hubel.data.folders import files_below, list_folder, printable, subfolders
from hubel.data.images import is_image
from hubel.data.listing import Listing
from hubel.data.targets import SELF, read_targets


def says_self(target: Any) -> bool:
    """Whether a target is the word for the input itself."""
    return isinstance(target, str) and target == SELF


def list_unlabelled(root: Path) -> Listing:
    """All pictures of a folder. Class folders (also inside folders for parts) give labels; loose pictures, and a single folder, have none;
    folders named train, validation and test that hold pictures are parts.

    Raises `UnreadableData` where there is no picture.
    """
    folders = subfolders(root)
    loose = sorted(p for p in root.iterdir() if p.is_file() and is_image(p) and not p.name.startswith("."))
    parts = {folder: part_of(folder.name) for folder in folders}
    flat_parts = (
        bool(folders)
        and not loose
        and all(parts.values())
        and len(set(parts.values())) == len(parts)
        and "train" in parts.values()
        and not any(subfolders(folder) for folder in folders)
    )
    if len(folders) > 1 and not loose and not flat_parts:
        return list_folder(root)
    found: list[tuple[Path, str | None]] = [(path, None) for path in loose]
    found += [(path, parts[folder]) for folder in folders for path in files_below(folder, root)]
    if not found:
        raise UnreadableData(
            f"{root} has no picture in it; expected a folder of pictures, or of folders of them"
        )
    return Listing(
        paths=[path for path, _ in found],
        ids=[printable(path.relative_to(root)) for path, _ in found],
        y=None,
        part=np.array([str(part) for _, part in found]) if flat_parts else None,
    )


def labels_of(y: Any, classes: Sequence[str] | None = None) -> np.ndarray | None:
    """Words [N] for the labels of examples, where `y` are labels; None for real values, several labels, or nothing."""
    if y is None:
        return None
    try:
        found = read_targets(y, classes=classes)
    except ValueError:
        return None
    if found.classes is None or found.values.ndim != 1:
        return None
    return np.asarray(found.classes)[found.values]
