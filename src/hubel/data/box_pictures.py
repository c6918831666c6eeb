"""A list of pictures with boxes becomes a `Dataset` of tiles of one size: see `hubel.data.tiles`, and `hubel.data.box_checks` for what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.archives import part_of
from hubel.data.box_checks import class_numbers, usable_rows
from hubel.data.box_faults import Faults
from hubel.data.box_listing import Box, BoxedPicture, BoxListing, few
from hubel.data.boxes import packed
from hubel.data.dataset import Dataset
from hubel.data.decoding import in_parallel, look_at_all, refuse_unreadable
from hubel.data.images import Header, is_image
from hubel.data.reading import Progress, pixels_of, plan_reading
from hubel.data.sizes import Resize, fit_boxes, fit_size
from hubel.data.storage import room_for
from hubel.data.targets import as_numpy
from hubel.data.tiles import Size, corners_of, cut_pixels, cut_rows, mean_of, tile_for

NAMING = (
    "COCO",
    "a table",
    "a file of lines",
    "Label Studio",
)  # formats that name their pictures, none beside them
MOST_UNNAMED = 100_000  # class numbers without names
Unboxed = Literal["empty", "skip"]


@dataclass(frozen=True, kw_only=True)
class BoxOptions:
    """How pictures with boxes are to be read: see `hubel.data.load`."""

    tile: int | Size | None = None
    overlap: int | None = None
    size: int | Size | str | None = None
    resize: Resize = "pad"
    channels: Any = None
    nan: str = "refuse"
    unlabelled: Any = None
    reading: Mapping[str, Any] | None = None


def load_boxes(
    listing: BoxListing,
    options: BoxOptions,
    *,
    name: str,
    symmetries: Iterable[str] = (),
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """The pictures of a list as tiles [N, C, H, W] of one size (or resized, where a size is asked for), with their boxes [N, M, 6].

    The tiles of a picture are a group (the group that it was given, where it has one), so that no split parts them.

    Raises `UnreadableData` naming every file that can not be read (unless they may be skipped), `ValueError` where pictures do not go
    together, are not labelled, or have boxes that are not usable.
    """
    if not listing.pictures:
        raise UnreadableData("there are no pictures beside the labels: expected at least one")
    pictures, left_out = _labelled(listing.pictures, options.unlabelled)
    left_out = (*left_out, *_about_files(listing))
    headers, failed = look_at_all([picture.path for picture in pictures], progress)
    skipped = refuse_unreadable(failed, [picture.id for picture in pictures], skip_unreadable)
    kept = [k for k, header in enumerate(headers) if header is not None]
    pictures, headers = [pictures[k] for k in kept], [headers[k] for k in kept]
    listing = replace(listing, pictures=pictures)
    like = None if options.reading is None else options.reading.get("boxes")
    classes, about_classes = class_numbers(listing, None if like is None else like["classes"])
    sizes = [(header.height, header.width) for header in headers]
    rows, about_rows = usable_rows(listing, sizes, classes)
    reading = _plan(pictures, headers, rows, classes, options)
    resized = reading["boxes"]["resized"]
    tile = (int(reading["size"][0]), int(reading["size"][1]))
    overlap = int(reading["boxes"]["overlap"])
    corners = [[(0, 0)] if resized else corners_of(size, tile, overlap) for size in sizes]
    first = np.cumsum([0, *map(len, corners)])
    inputs = room_for((int(first[-1]), *reading["shape"]), np.dtype(reading["dtype"]))

    def fill(number: int) -> None:
        pixels = pixels_of(pictures[number].path, reading)
        if resized:
            inputs[first[number]] = fit_size(pixels, tile, reading["resize"])
            return
        mean = mean_of(pixels)
        for place, corner in enumerate(corners[number], start=int(first[number])):
            inputs[place] = cut_pixels(pixels, corner, tile, mean)

    broken = {k: why for k, (_, why) in enumerate(in_parallel(fill, range(len(pictures)), progress)) if why}
    refuse_unreadable(broken, [picture.id for picture in pictures], False)
    cut: list[np.ndarray] = []
    for found, size, places in zip(rows, sizes, corners, strict=True):
        if resized:
            cut.append(cut_rows(fit_boxes(found, size, tile, reading["resize"]), (0, 0), tile))
        else:
            cut += [cut_rows(found, place, tile) for place in places]
    of = np.repeat(np.arange(len(pictures)), list(map(len, corners)))
    groups = [picture.group or picture.id for picture in pictures]
    parts = [picture.part for picture in pictures]
    ids = [
        picture.id if len(places) == 1 else f"{picture.id} [{y}:{y + tile[0]}, {x}:{x + tile[1]}]"
        for picture, places in zip(pictures, corners, strict=True)
        for y, x in places
    ]
    return Dataset(
        inputs=inputs,
        targets=packed(cut),
        classes=classes,
        name=name,
        ids=np.array(ids),
        groups=np.array(groups)[of],
        part=np.array([part_of(str(part)) or str(part) for part in parts])[of] if all(parts) else None,
        symmetries=frozenset(symmetries),
        channels=tuple(reading["channels"]),
        notes=(
            *listing.notes,
            *left_out,
            *skipped,
            *about_classes,
            *about_rows,
            *_about_tiles(sizes, tile, overlap, len(ids), resized),
            *_about_share(pictures, list(map(len, corners))),
            *_ignored(cut),
        ),
        reading=reading,
    )


def boxes_from_mappings(
    y: Sequence[Mapping[str, Any]], shape: tuple[int, ...], classes: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Boxes [N, M, 6] of one mapping a picture (`boxes` [m, 4] in pixels, `labels` [m], numbers or names, `ignore` [m] where some do not count) for
    pictures of this `shape` [N, C, H, W]; the names of the classes; and notes.

    Raises `ValueError` naming the picture and the box.

    >>> boxes_from_mappings([{"boxes": [[0, 0, 4, 4]], "labels": ["star"]}, {"boxes": [], "labels": []}], (2, 1, 8, 8))[1]
    ('star',)
    """
    if len(shape) != 4:
        raise ValueError(
            f"y has boxes, which belong to pictures [N, H, W], [N, H, W, C] or [N, C, H, W], but x was read as {shape}"
        )
    if len(y) != shape[0]:
        raise ValueError(
            f"x has {shape[0]:,} pictures, but y has {len(y):,} mappings of boxes: expected one a picture"
        )
    found: list[tuple[list[Any], np.ndarray]] = []
    faults = Faults()
    for place, entry in enumerate(y):
        with faults.of("y"):
            found.append(_mapping(entry, f"y[{place}]"))
    faults.refuse()
    words = [label for labels, _ in found for label in labels]
    numbered = bool(words) and all(
        isinstance(label, (int, np.integer)) and not isinstance(label, bool) for label in words
    )
    if any(isinstance(label, str) and not label.strip() for label in words):
        raise ValueError("a label is an empty name; expected the name of a class, or its number")
    if numbered and classes is None and int(max(words)) >= MOST_UNNAMED:
        raise ValueError(
            f"labels run from {min(words)} to {max(words)}; expected class numbers from 0 without large holes: number the classes anew, or give names"
        )
    if numbered and min(words) < 0:
        raise ValueError(f"labels run from {min(words)} to {max(words)}; expected numbers from 0")
    if numbered:
        names = list(map(str, range(int(max(words)) + 1))) if classes is None else list(classes)
        if min(words) < 0 or max(words) >= len(names):
            raise ValueError(
                f"labels run from {min(words)} to {max(words)}, but there are {len(names)} classes; expected numbers from 0 to {len(names) - 1}"
            )
    elif any(not isinstance(label, str) for label in words):
        raise ValueError(
            "labels are numbers and names together; expected whole numbers from 0 for all, or names for all"
        )
    else:
        names = None if classes is None else list(classes)
    pictures = [
        BoxedPicture(
            path=None,  # type: ignore[arg-type]
            id=f"y[{place}]",
            boxes=[
                Box((*map(float, corners),), (names or [])[label] if numbered else str(label), f"y[{place}], box {k}", bool(ignored))  # type: ignore[arg-type]
                for k, (label, (*corners, ignored)) in enumerate(zip(labels, rows.tolist(), strict=True))
            ],
        )
        for place, (labels, rows) in enumerate(found)
    ]  # fmt: skip
    listing = BoxListing(
        pictures=pictures, format="y", classes=None if names is None else tuple(names), written="corners"
    )
    if names is not None and words:
        order, notes = class_numbers(listing, names)
    else:
        order, notes = class_numbers(listing)
    rows, about = usable_rows(listing, [(shape[2], shape[3])] * len(y), order)
    return packed(rows), order, (*notes, *about)


def _mapping(entry: Mapping[str, Any], where: str) -> tuple[list[Any], np.ndarray]:
    """The labels, and rows (x0, y0, x1, y1, ignored) [m, 5]."""
    if missing := {"boxes", "labels"} - set(entry):
        raise ValueError(
            f"{where} has no {' and no '.join(sorted(missing))}; expected boxes [m, 4], labels [m], and ignore [m] where some do not count"
        )
    if unknown := set(entry) - {"boxes", "labels", "ignore"}:
        raise ValueError(
            f"{where} has {', '.join(map(str, sorted(unknown)))}; expected boxes, labels and ignore"
        )
    boxes = as_numpy(entry["boxes"], f"{where} boxes")
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise ValueError(
            f"{where}: boxes are {boxes.dtype} of shape {boxes.shape}; expected numbers [m, 4], a row (x0, y0, x1, y1) an object"
        )
    labels = as_numpy(entry["labels"], f"{where} labels").tolist()
    ignore = (
        as_numpy(entry["ignore"], f"{where} ignore")
        if entry.get("ignore") is not None
        else np.zeros(len(boxes))
    )
    if ignore.dtype.kind not in "biuf" or not np.isin(ignore, (0, 1)).all():
        raise ValueError(
            f"{where} has ignore {ignore.tolist()[:5]}; expected 0 or 1, or False or True, for each box"
        )
    if not isinstance(labels, list) or len(labels) != len(boxes) or ignore.shape != (len(boxes),):
        raise ValueError(
            f"{where} has {len(boxes)} boxes, labels of shape {np.shape(labels)} and ignore of shape {ignore.shape}; expected one a box"
        )
    return labels, np.concatenate([boxes.astype(np.float64), ignore.astype(np.float64)[:, None]], 1)


def _labelled(
    pictures: Sequence[BoxedPicture], unlabelled: Any
) -> tuple[list[BoxedPicture], tuple[str, ...]]:
    """The pictures that are labelled, by what was said of the others."""
    if unlabelled not in (None, "empty", "skip"):
        raise ValueError(
            f'unlabelled={unlabelled!r}; of pictures without labels of boxes expected "empty" (nothing is on them) or "skip"'
        )
    without = [picture.id for picture in pictures if picture.boxes is None]
    if not without:
        return list(pictures), ()
    if unlabelled is None:
        raise ValueError(
            f"{len(without):,} of {len(pictures):,} pictures have no labels: {few(without)}. Has nobody looked at them, or is nothing on them? Say "
            'unlabelled="empty" (--unlabelled empty) where they show no object, or unlabelled="skip" to leave them out'
        )
    if unlabelled == "empty":
        kept = [replace(picture, boxes=[]) if picture.boxes is None else picture for picture in pictures]
        return kept, (f"{len(without):,} pictures without labels were taken to show no object.",)
    kept = [picture for picture in pictures if picture.boxes is not None]
    return kept, (f"{len(without):,} pictures without labels were left out: {few(without)}.",)


def _about_files(listing: BoxListing) -> tuple[str, ...]:
    """Notes about pictures that were found elsewhere than the labels say, and about others beside them that no label names."""
    if listing.format not in NAMING:
        return ()
    notes = []
    moved = [
        f"{picture.id} ({picture.path})"
        for picture in listing.pictures
        if not _ends_with(picture.path, picture.id)
    ]
    if moved and listing.format != "Label Studio":  # which gives names of its own
        notes.append(
            f"{len(moved):,} pictures are not where the labels say, and were taken by the last part of their names: {few(moved, 3)}."
        )
    named = {picture.path for picture in listing.pictures}
    others = [
        path.name
        for folder in sorted({path.parent for path in named})
        for path in sorted(folder.iterdir())
        if is_image(path) and path not in named and not path.name.startswith(".")
    ]
    if others:
        notes.append(
            f"{len(others):,} pictures beside those that the labels name are not named and were left out: {few(others, 3)}."
        )
    return tuple(notes)


def _ends_with(path: Path, name: str) -> bool:
    """Whether a path is the one that is called so, from a folder that does not matter."""
    wanted = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return ".." in wanted or path.parts[-len(wanted) :] == tuple(wanted)


def _plan(
    pictures: Sequence[BoxedPicture], headers: Sequence[Header], rows: Sequence[np.ndarray], classes: Sequence[str], options: BoxOptions
) -> dict[str, Any]:  # fmt: skip
    if options.reading is not None:
        return dict(options.reading)
    if options.size is not None and (options.tile is not None or options.overlap is not None):
        raise ValueError(
            f"size={options.size!r} resizes whole pictures, tile and overlap cut them at full size: give one of them"
        )
    reading = plan_reading(
        [picture.id for picture in pictures],
        headers,
        size=options.size,
        resize=options.resize,
        convert=options.channels,
        nan=options.nan,
    )
    overlap = 0
    if options.size is None:
        if options.resize != "pad":
            raise ValueError(
                f"resize={options.resize!r} says how pictures are resized, but those with boxes are not, unless size= asks for it"
            )
        objects = np.concatenate([found[found[:, 5] == 0] for found in rows])
        longest = (objects[:, 2:4] - objects[:, :2]).max(1) if len(objects) else np.zeros(0)
        sizes = [(header.height, header.width) for header in headers]
        tile, overlap = tile_for(sizes, longest, tile=options.tile, overlap=options.overlap)
        reading |= {"size": list(tile), "shape": [reading["shape"][0], *tile]}
    about = {
        "classes": list(classes),
        "tile": list(reading["size"]),
        "overlap": overlap,
        "resized": options.size is not None,
    }
    return {**reading, "boxes": about}


def _about_tiles(sizes: Sequence[Size], tile: Size, overlap: int, num: int, resized: bool) -> tuple[str, ...]:
    if resized:
        return (
            (f"Pictures and their boxes were resized to {tile[0]} × {tile[1]}.",)
            if set(sizes) != {tile}
            else ()
        )
    notes = []
    larger = sum(size[0] > tile[0] or size[1] > tile[1] for size in sizes)
    smaller = sum(size[0] < tile[0] or size[1] < tile[1] for size in sizes)
    if larger:
        notes.append(
            f"{larger:,} of {len(sizes):,} pictures are larger than {tile[0]} × {tile[1]} and were cut into tiles that overlap by at least {overlap} pixels, "
            f"{num:,} tiles in all; the tiles of a picture stay in one part."
        )
    if smaller:
        notes.append(
            f"{smaller:,} pictures are smaller than {tile[0]} × {tile[1]} and were padded on the right and below with their mean."
        )
    return tuple(notes)


def _about_share(pictures: Sequence[BoxedPicture], tiles: Sequence[int]) -> tuple[str, ...]:
    """A note where one of several pictures makes most of the tiles."""
    largest, total = int(np.argmax(tiles)), sum(tiles)
    if len(tiles) == 1 or 2 * tiles[largest] <= total:
        return ()
    return (
        f"{pictures[largest].id} makes {tiles[largest]:,} of the {total:,} tiles ({100 * tiles[largest] / total:.0f} %), more than the other {len(tiles) - 1:,} "
        "pictures together, and they stay in one part: where it trains, the fit is to this picture above all, and the scores are of the others. Where its parts "
        "may be told apart, cut it into several files.",
    )


def _ignored(rows: Sequence[np.ndarray]) -> tuple[str, ...]:
    ignored = sum(int(found[:, 5].sum()) for found in rows)
    return (
        (
            f"{ignored:,} boxes are ignored (said to be, or cut so that little is seen): they count neither as found nor as missed.",
        )
        if ignored
        else ()
    )
