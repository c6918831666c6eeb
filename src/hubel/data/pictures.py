"""A list of image files becomes a `Dataset`: looked at, decoded in parallel, remembered for the next time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubel.data import decoded_cache
from hubel.data.arrays import checked_weights
from hubel.data.dataset import Dataset
from hubel.data.decoding import decode_all, look_at_all, refuse_unreadable
from hubel.data.images import Header, look
from hubel.data.listing import Listing
from hubel.data.reading import Progress, plan_reading, plan_volumes, sizes_note
from hubel.data.sizes import Resize
from hubel.data.targets import Targets, Task, read_targets
from hubel.data.volumes import look_volume


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """How pictures are to be read: see `hubel.data.load`."""

    size: int | tuple[int, int] | str | None = None
    resize: Resize = "pad"
    channels: Any = None
    nan: str = "refuse"
    kind: str | None = None
    reading: Mapping[str, Any] | None = None


def load_pictures(
    listing: Listing,
    options: PictureOptions,
    *,
    name: str,
    task: Task | None = None,
    symmetries: Iterable[str] = (),
    skip_unreadable: bool = False,
    cache: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """The pictures of a list, with their labels (where it has none: with zeros in their place).

    Raises `UnreadableData` naming every file that can not be read (unless they may be skipped), `ValueError` where the pictures do
    not go together.
    """
    found = (
        Targets(values=np.zeros((len(listing.paths), 1), np.float32))
        if listing.y is None
        else read_targets(listing.y, classes=listing.classes, task=task, ids=listing.ids)
    )
    decoded = decoded_cache.recall(listing.paths, options) if cache else None
    if decoded is None:
        decoded = _decode(listing, options, skip_unreadable, cache, progress)
    skipped = refuse_unreadable(decoded.failed, listing.ids, skip_unreadable)
    kept = np.setdiff1d(np.arange(len(listing.paths)), list(decoded.failed))

    def of_kept(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else column[kept]

    return Dataset(
        inputs=decoded.inputs,
        targets=found.values[kept],
        classes=found.classes,
        name=name,
        ids=np.array(listing.ids)[kept],
        groups=of_kept(listing.groups),
        weights=None if listing.weights is None else checked_weights(listing.weights)[kept],
        part=of_kept(listing.part),
        symmetries=frozenset(symmetries),
        channels=tuple(decoded.reading["channels"]),
        target_names=listing.target_names,
        notes=(*listing.notes, *found.notes, *skipped, *decoded.notes),
        reading=decoded.reading,
    )


def _decode(
    listing: Listing, options: PictureOptions, skip_unreadable: bool, cache: bool, progress: Progress | None
) -> decoded_cache.Decoded:
    states = decoded_cache.states_of(
        listing.paths
    )  # before decoding: a file that changes meanwhile is decoded again next time
    volumes = options.kind == "volumes"
    headers, failed = look_at_all(listing.paths, progress, look=look_volume if volumes else look)
    seen = [k for k, header in enumerate(headers) if header is not None]
    good = [header for header in headers if header is not None]
    if not seen:
        refuse_unreadable(failed, listing.ids, skip_unreadable)
    names = [listing.ids[k] for k in seen]
    if volumes:
        reading = plan_volumes(names, good, nan=options.nan)
    else:
        reading = dict(options.reading or {}) or _plan_pictures(names, good, options)
    room = decoded_cache.Room(
        (len(seen), *reading["shape"]), np.dtype(reading["dtype"]), listing.paths, options, cache
    )
    with room as out:
        broken = decode_all([listing.paths[k] for k in seen], reading, out, progress)
        failed = {**failed, **{seen[k]: reason for k, reason in broken.items()}}
        refuse_unreadable(failed, listing.ids, skip_unreadable)
        rows = np.setdiff1d(np.arange(len(seen)), list(broken))
        if broken:
            for new, old in enumerate(rows):
                out[new] = out[old]
        notes = () if volumes else (*sizes_note(good, reading), *_passed_over(names, good))
        return room.keep(len(rows), reading, failed, notes, states)


def _passed_over(ids: list[str], headers: list[Header]) -> tuple[str, ...]:
    """What was not read of files that hold several pictures."""
    several = [k for k, header in enumerate(headers) if header.passed_over]
    if not several:
        return ()
    first = several[0]
    return (
        f"{len(several):,} files hold several pictures, of which the first was read; beside it {ids[first]} has {headers[first].passed_over}.",
    )


def _plan_pictures(names: list[str], headers: list[Any], options: PictureOptions) -> dict[str, Any]:
    return plan_reading(
        names,
        headers,
        size=options.size,
        resize=options.resize,
        convert=options.channels,
        nan=options.nan,
    )
