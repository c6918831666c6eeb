"""Masks in files, each beside its picture: folders `images/` and `masks/` with the same names, or a table with the columns path and mask.

A mask is a file of one number a pixel (PNG, TIFF, BMP, `.npy`; of palettes the numbers, not their colours), read as it was stored: 1, 2 and 4
bits are not spread. It has the size of its picture; where pictures are brought to one size, their masks are too, by the same rule and by nearest
neighbour, and what padding adds is not labelled. The names of the classes may stand in `classes.txt`, a name a line for 0, 1, 2, …, or in
`classes.json`, a list of names or an object of names by value.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import mapped_npy, part_of
from hubel.data.dataset import Dataset
from hubel.data.decoding import in_parallel, look_at_all, refuse_unreadable
from hubel.data.folders import files_below, printable, subfolders
from hubel.data.images import SUFFIXES, TIFF, named, tiff_series
from hubel.data.listing import Listing
from hubel.data.masks import (
    UNLABELLED,
    ClassNames,
    MaskClasses,
    Unlabelled,
    classes_of_reading,
    plan_classes,
    values_in,
)
from hubel.data.reading import Progress
from hubel.data.sizes import fit_mask
from hubel.data.storage import room_for
from hubel.data.table_pieces import table_of
from hubel.data.tables import COLUMNS, list_table

FOLDERS = ("images", "masks")
CLASS_FILES = ("classes.txt", "classes.json")
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
READ = "expected PNG, TIFF, BMP or .npy"
TOO_MANY = 1000  # values of a picture, rather than of a mask
SHARED_BITS = {"L;2": 85, "L;4": 17}  # by which Pillow spreads 2 and 4 bits over 0 to 255


@dataclass(frozen=True, slots=True)
class MaskHeader:
    """Rows and columns of a mask, the type of its numbers, and which there are."""

    height: int
    width: int
    dtype: str
    values: np.ndarray


def holds_masks(root: Path) -> bool:
    """Whether a folder has `images` and `masks` in it, or folders for parts that have."""
    names = {folder.name.casefold(): folder for folder in subfolders(root)}
    if set(FOLDERS) <= set(names):
        return True
    parts = [folder for name, folder in names.items() if part_of(name)]
    return bool(parts) and all(
        set(FOLDERS) <= {inside.name.casefold() for inside in subfolders(part)} for part in parts
    )


def list_masks(root: Path) -> Listing:
    """The pictures of a folder, each with its mask.

    Raises `ValueError` naming and counting pictures without a mask and masks without a picture.
    """
    pairs: list[tuple[bool, str | None, dict[str, Path], dict[str, Path]]] = []
    inside = {folder.name.casefold(): folder for folder in subfolders(root)}
    if set(FOLDERS) <= set(inside):
        pictures, masks = (inside[name] for name in FOLDERS)
        parts = {part_of(folder.name) for folder in subfolders(pictures)}
        parted = "train" in parts and None not in parts
        of_pictures = _by_stem(pictures)
        if parted and (loose := [stem for stem in of_pictures if "/" not in stem]):
            raise ValueError(
                f"{pictures} has folders for parts, and {len(loose):,} pictures beside them ({_few(loose)}): sort these into the parts"
            )
        pairs.append((parted, None, of_pictures, _by_stem(masks)))
    else:
        for folder in (f for f in subfolders(root) if part_of(f.name)):
            inside = {f.name.casefold(): f for f in subfolders(folder)}
            of_pictures, of_masks = (_by_stem(inside[name]) for name in FOLDERS)
            pairs.append((False, part_of(folder.name), of_pictures, of_masks))
        if len({part for _, part, _, _ in pairs}) < len(pairs):
            raise ValueError(
                f"{root} has two folders for one part: {', '.join(f.name for f in subfolders(root))}"
            )
    found: list[tuple[Path, Path, str | None]] = []
    for parted, part, pictures, masks in pairs:
        _refuse_unpaired(root, pictures, masks)
        for stem, path in pictures.items():
            of = part_of(stem.partition("/")[0]) if parted else part
            found.append((path, masks[stem], of))
    if not found:
        raise UnreadableData(f"{root} has the folders images and masks, but no pictures in them")
    has_parts = any(part for _, _, part in found)
    return Listing(
        paths=[path for path, _, _ in found],
        ids=[printable(path.relative_to(root)) for path, _, _ in found],
        y=None,
        masks=[mask for _, mask, _ in found],
        mask_ids=[printable(mask.relative_to(root)) for _, mask, _ in found],
        class_names=names_beside(root),
        part=np.array([str(part) for _, _, part in found]) if has_parts else None,
    )


def asks_for_masks(table: Path, target: str | Sequence[str] | None) -> bool:
    """Whether a table of pictures has a column of masks that is the target: by its name, or because there is no column of labels."""
    header = [name.casefold() for name in table_of(table).header]
    if not any(word in header for word in COLUMNS["mask"]):
        return False
    if target == "label":
        return not any(word in header for word in COLUMNS["label"])
    return isinstance(target, str) and target.casefold() in COLUMNS["mask"]


def list_mask_table(table: Path) -> Listing:
    """The pictures of a table, each with the mask that stands in its row; raises what `list_table` raises."""
    listing = list_table(table, "mask")
    names = [str(name) for name in listing.y]
    paths = [table.parent / name for name in names]
    if missing := [name for name, path in zip(names, paths, strict=True) if not path.is_file()]:
        raise UnreadableData(
            f"{len(missing):,} of {len(names):,} masks that {table} names do not exist: {_few(missing)}. Paths are relative to the table's folder"
        )
    return replace(
        listing,
        y=None,
        target_names=None,
        masks=paths,
        mask_ids=names,
        class_names=names_beside(table.parent),
    )


def with_masks(
    data: Dataset,
    listing: Listing,
    *,
    unlabelled: Unlabelled = None,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """`data`, the pictures of a list, with their masks as targets.

    Raises `UnreadableData` naming every mask that can not be read, `ValueError` for masks of another size than their picture and for values
    that are no class numbers.
    """
    assert listing.masks is not None and listing.mask_ids is not None and data.ids is not None
    place = {name: k for k, name in enumerate(listing.ids)}
    rows = [place[name] for name in data.ids.tolist()]
    paths, names = [listing.masks[k] for k in rows], [listing.mask_ids[k] for k in rows]
    headers, failed = look_at_all(paths, progress, look=look_mask)
    skipped = refuse_unreadable(failed, names, skip_unreadable)
    if failed:
        kept = [k for k in range(len(rows)) if k not in failed]
        data, rows = data.select(np.array(kept)), [rows[k] for k in kept]
        paths, names = [paths[k] for k in kept], [names[k] for k in kept]
        headers = [headers[k] for k in kept]
    pictures, _ = look_at_all([listing.paths[k] for k in rows])
    _refuse_sizes(names, headers, pictures)
    like = classes_of_reading(data.reading)
    given: ClassNames = (
        listing.class_names if like is None else dict(zip(like.values, like.classes, strict=True))
    )
    if like is not None and unlabelled is None:
        unlabelled = "none" if like.unlabelled is None else like.unlabelled
    dtype = np.result_type(*{header.dtype for header in headers})
    found = plan_classes((header.values for header in headers), dtype, classes=given, unlabelled=unlabelled)
    size, resize = tuple(data.reading["size"]), data.reading["resize"]
    numbers = room_for((len(paths), *size), np.dtype(np.uint8))

    def fill(row: int) -> None:
        mask = found.numbers(mask_values(paths[row]))
        numbers[row] = fit_mask(mask, size, resize, fill=UNLABELLED)

    changed = {k: why for k, (_, why) in enumerate(in_parallel(fill, range(len(paths)), None)) if why}
    refuse_unreadable(changed, names, False)
    resized = any((header.height, header.width) != size for header in headers)
    how = (
        "Masks were brought to the size of their pictures by nearest neighbour"
        + ("; what padding added is not labelled." if resize == "pad" else "."),
    )
    return replace(
        data,
        targets=numbers,
        classes=found.classes,
        target_names=None,
        reading={**data.reading, "masks": found.as_json()},
        notes=(*data.notes, *skipped, *(how if resized else ()), *found.notes),
    )


def look_mask(path: Path) -> MaskHeader:
    """What a mask holds; raises `UnreadableData` with the reason where it is none."""
    mask = mask_values(path)
    values = values_in(mask)
    if len(values) > TOO_MANY:
        raise UnreadableData(
            f"it holds {len(values):,} different values, as a picture does; expected one class number a pixel"
        )
    return MaskHeader(mask.shape[0], mask.shape[1], mask.dtype.name, values)


def mask_values(path: Path) -> np.ndarray:
    """The numbers [H, W] of a mask as they are stored; raises `UnreadableData` with the reason."""
    with named(path):
        name = path.name.lower()
        if name.endswith(LOSSY):
            raise ValueError(
                f"it is {path.suffix}, which changes values where it saves room; save masks as PNG"
            )
        if name.endswith(".npy"):
            mask = np.array(mapped_npy(path))
        elif name.endswith(TIFF):
            mask = _of_tiff(path)
        elif name.endswith((".png", ".bmp", ".gif")):
            mask = _of_pillow(path)
        else:
            raise ValueError(f"it is no mask that hubel reads; {READ}")
        if mask.ndim != 2 or 0 in mask.shape:
            raise ValueError(
                f"it has the shape {mask.shape}, as colours or several planes have; expected one class number a pixel [H, W]"
            )
        if mask.dtype.kind not in "iub":
            raise ValueError(f"its values are {mask.dtype}; expected whole numbers, the class of every pixel")
        mask = mask.astype(np.uint8) if mask.dtype.kind == "b" else mask
        return mask.astype(mask.dtype.newbyteorder("="), copy=False)


def names_beside(folder: Path) -> ClassNames:
    """The names of classes in `classes.txt` or `classes.json`, or None.

    Raises `ValueError` for a file that does not hold names, and where there are both.
    """
    found = [folder / name for name in CLASS_FILES if (folder / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"{folder} has classes.txt and classes.json: remove one of them")
    try:
        text = found[0].read_text("utf-8-sig")
        names = json.loads(text) if found[0].suffix == ".json" else text.rstrip().splitlines()
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{found[0]} can not be read: {error}") from error
    of_text = isinstance(names, (list, Mapping)) and all(
        isinstance(name, str) and name.strip()
        for name in (names.values() if isinstance(names, Mapping) else names)
    )
    if not of_text:
        raise ValueError(
            f'{found[0]} holds no names; expected a name a line for 0, 1, 2, …, or in JSON ["sky", "star"] or {{"0": "sky", "255": "star"}}'
        )
    return (
        {k: v.strip() for k, v in names.items()} if isinstance(names, Mapping) else [n.strip() for n in names]
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    """Files below a folder by their name without its ending, in order."""
    found: dict[str, Path] = {}
    twice: list[str] = []
    for path in files_below(folder, folder.parent):
        stem = unicodedata.normalize("NFC", _without_suffix(printable(path.relative_to(folder))))
        if stem in found:
            twice.append(f"{found[stem].name} and {path.name}")
        found[stem] = path
    if twice:
        raise ValueError(
            f"{folder} has {len(twice):,} names twice, with different endings: {_few(twice)}. Which mask belongs to which can not be told: rename them"
        )
    return found


def _without_suffix(name: str) -> str:
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len)
    return name[: -len(suffix)]


def _refuse_unpaired(root: Path, pictures: Mapping[str, Any], masks: Mapping[str, Any]) -> None:
    without = [stem for stem in pictures if stem not in masks]
    alone = [stem for stem in masks if stem not in pictures]
    if not without and not alone:
        return
    said = []
    if without:
        said.append(f"{len(without):,} of {len(pictures):,} pictures have no mask ({_few(without)})")
    if alone:
        said.append(f"{len(alone):,} of {len(masks):,} masks have no picture ({_few(alone)})")
    raise ValueError(
        f"{root}: {' and '.join(said)}. A mask has the name of its picture, images/a.jpg and masks/a.png; rename, add or remove them, or name the "
        "pairs in a table with the columns path and mask"
    )


def _refuse_sizes(names: Sequence[str], masks: Sequence[MaskHeader], pictures: Sequence[Any]) -> None:
    other = [
        f"{name} ({mask.height} × {mask.width}, its picture {picture.height} × {picture.width})"
        for name, mask, picture in zip(names, masks, pictures, strict=True)
        if picture is not None and (mask.height, mask.width) != (picture.height, picture.width)
    ]
    if other:
        raise ValueError(
            f"{len(other):,} of {len(names):,} masks are of another size than their picture: {_few(other)}. Expected a class number for every "
            "pixel: resize these masks by nearest neighbour, or pair them with the right pictures"
        )


def _of_pillow(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if getattr(image, "is_animated", False):
            raise ValueError("it is an animation; expected one mask")
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise ValueError(
                f"its pixels are of kind {image.mode}, colours; expected one class number a pixel (greyscale or palette). Replace each colour by the "
                "number of its class"
            )
        tile: Any = image.tile[0] if image.tile else None
        spread = SHARED_BITS.get(str(tile[3]), 1) if tile is not None and path.suffix.lower() == ".png" else 1
        mask = np.asarray(ImageOps.exif_transpose(image))
    return mask // np.array(spread, mask.dtype) if spread > 1 else mask


def _of_tiff(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        plain = image.mode in ("1", "L", "P") and getattr(image, "n_frames", 1) == 1
        tags: Any = getattr(image, "tag_v2", {})
        plain = (
            plain and set(tags.get(258, (1,))) <= {1, 8} and tags.get(262) != 0
        )  # 0: Pillow turns black and white over
        if plain:
            return np.asarray(image)
    return tiff_series(path).values


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


__all__ = [
    "MaskClasses",
    "asks_for_masks",
    "holds_masks",
    "list_mask_table",
    "list_masks",
    "look_mask",
    "mask_values",
    "names_beside",
    "with_masks",
]
