"""`Dataset`: examples with names and units, resident as the small integers in which they were stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hubel.data.boxes import check_boxes, object_counts
from hubel.data.digests import digests_of, pieces_of
from hubel.data.masks import pixel_counts
from hubel.data.rows import Rows

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
BESIDE = (
    "ids",
    "groups",
    "weights",
    "part",
    "lengths",
    "labels",
    "spans",
)  # what has a row an example, besides inputs and targets
SYMMETRIES = (
    "flip_horizontal",
    "flip_vertical",
    "flip_depth",
    "rotate_90",
    "rotate_cube",
    "rotate",
    "shift",
    "scale",
    "brightness",
    "contrast",
    "colour",
    "background",
    "occlusion",
    "copy_paste",
    "mosaic",
)
OF_BOXES_ALONE = ("copy_paste", "mosaic")
OF_VOLUMES_ALONE = ("flip_depth", "rotate_cube")
NOT_OF_VOLUMES = ("rotate", "scale", "occlusion")
SYMMETRIES_OF_SERIES = ("crop", "jitter", "scale")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Labelled examples, as they were stored.

    `inputs` [N, C, H, W] (or [N, C, D, H, W], [N, F]) keep the stored type: `uint8` stays `uint8`, 16 bits stay 16 bits. They may be
    memory-mapped, and the memory order may be channels-last. `targets` are class numbers [N] (int64, of tables int32, with `classes`),
    several yes/no labels [N, K] (uint8, with `classes`), masks [N, H, W] (uint8, the class of every pixel or 255 for none, with `classes`), boxes [N, M, 6] (float32, see `hubel.data.boxes`, with `classes`), class probabilities [N, K] (floating, with `classes`), or real values [N, K] (floating, with `target_names`, `units`); the inputs
    themselves (the same array) where a network is to give back what it was shown.
    `lengths` [N] are the numbers of steps of series [N, L, F] of different lengths, zero beyond them. `alphabet` are the symbols
    whose numbers the inputs [N, L] (and targets [N, L]) are. `labels` [N] are words shown beside the examples, which nothing learns.
    `ids` name each example (a path, or a row). `groups` [N] tie examples that must not be split apart. `weights` [N] count
    each example's loss. `part` [N] is a split that came with the data ("train", "validation", "test").
    `spans` [N, 2] are the steps (first, end) of one long series that each example was cut from: parts are then consecutive stretches of
    it, and no two share a step.
    `symmetries` are the changes that leave a label true *because the user or the built-in set says so*; none is assumed.
    Most are shown to the network as augmentation. "background" says that a constant added to a channel of one picture means
    nothing (the sky, a dark current, an offset of the detector): each picture's own mean is taken off. "occlusion" says that a
    label stays true where part of the picture is hidden. Of pictures with boxes "copy_paste" says that an object may stand on another picture,
    "mosaic" that a picture may be put together of several. Of volumes [C, D, H, W] `flip_horizontal`, `flip_vertical` and `rotate_90` change
    every plane [H, W] alike, `flip_depth` mirrors the order of the planes, and `rotate_cube` makes all 24 rotations of a cube. Of series:
    "crop" (every stretch of one has its label), "jitter" (noise of a twentieth of the spread changes nothing), "scale" (nor does a common
    factor on how far the values are from their mean).
    `channels` [C] are the names of the channels. `source` says where the examples come from (a path, a built-in set, arrays).
    `notes` say what the reader did (resized, skipped), in full sentences for the user. `reading` records the steps from files or
    arrays to rows, which `read_like` repeats for new data; it is empty for a Dataset made by hand.

    Raises `ValueError` where one of these does not have N rows, or a symmetry is not one of `SYMMETRIES` (of series, `SYMMETRIES_OF_SERIES`).

    >>> data = Dataset(inputs=np.zeros((6, 1, 8, 8), np.uint8), targets=np.array([0, 1] * 3), classes=("no", "yes"))
    >>> data, data.class_counts()
    (Dataset('data': 6 examples of 1 × 8 × 8 uint8, 2 classes), {'no': 3, 'yes': 3})
    """

    inputs: np.ndarray
    targets: np.ndarray
    name: str = "data"
    classes: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    part: np.ndarray | None = None
    lengths: np.ndarray | None = None
    alphabet: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    spans: np.ndarray | None = None
    symmetries: frozenset[str] = frozenset()
    channels: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)  # how files become rows: what predict repeats

    def __post_init__(self) -> None:
        num = len(self.inputs)
        for name in ("targets", *BESIDE):
            value = getattr(self, name)
            if value is not None and len(value) != num:
                raise ValueError(
                    f"{name} has {len(value)} rows, but inputs have {num}: there must be one {name} row per example"
                )
        self._check_lengths()
        self._check_masks()
        if self.has_boxes:
            check_boxes(self.targets, self.inputs.shape, len(self.classes or ()))
        known = SYMMETRIES_OF_SERIES if self.inputs.ndim == 3 else SYMMETRIES
        unknown = set(self.symmetries) - set(known)
        if unknown:
            raise ValueError(
                f"unknown symmetries {sorted(unknown)}{' of series' if self.inputs.ndim == 3 else ''}; expected some of {', '.join(known)}"
            )
        if self.symmetries and self.kind == "image series":
            raise ValueError(
                f"symmetries {sorted(self.symmetries)} are not defined for image series: leave them out"
            )
        if (needing := sorted(self.symmetries & set(OF_BOXES_ALONE))) and num and not self.has_boxes:
            raise ValueError(
                f"the symmetries {', '.join(needing)} move objects from picture to picture, and {self.name} has no boxes of objects: leave them out"
            )
        if self.symmetries and num:
            volumes = self.inputs.ndim == 5
            meaningless = sorted(self.symmetries & set(NOT_OF_VOLUMES if volumes else OF_VOLUMES_ALONE))
            if meaningless:
                raise ValueError(
                    f"the symmetries {', '.join(meaningless)} are not defined for {'volumes' if volumes else 'other data than volumes'} "
                    f"{list(self.inputs.shape)}: leave them out"
                )

    def _check_masks(self) -> None:
        if self.has_masks and (self.inputs.ndim != 4 or self.targets.shape[1:] != self.inputs.shape[2:]):
            raise ValueError(
                f"masks have shape {list(self.targets.shape)} for inputs {list(self.inputs.shape)}; expected [N, H, W] for pictures [N, C, H, W]"
            )

    def _check_lengths(self) -> None:
        if self.lengths is None or not len(self.lengths):
            return
        steps = self.inputs.shape[1] if self.inputs.ndim in (3, 5) else 0
        least, greatest = int(self.lengths.min()), int(self.lengths.max())
        if self.lengths.dtype.kind not in "iu" or least < 1 or greatest > steps:
            raise ValueError(
                f"lengths run from {least} to {greatest} ({self.lengths.dtype}) for inputs {list(self.inputs.shape)}; expected whole "
                f"numbers from 1 to L, for series [N, L, F] (or [N, T, C, H, W])"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.inputs.shape[1:]))
        kind = (
            f"{len(self.classes)} classes{' of pixels' if self.has_masks else ' of objects' if self.has_boxes else ''}"
            if self.classes
            else "its own targets"
            if self.is_its_own_target
            else f"an alphabet of {len(self.alphabet)}"
            if self.alphabet
            else f"targets {self.targets.shape[1:]} {self.targets.dtype}"
        )
        return f"Dataset({self.name!r}: {len(self):,} examples of {shape} {self.inputs.dtype}, {kind})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W), or (F,)."""
        return tuple(int(n) for n in self.inputs.shape[1:])

    @property
    def kind(self) -> Literal["features", "series", "symbols", "pictures", "volumes", "image series"]:
        """What one input is, by its axes: [F], [L, F], [L] with an alphabet, [C, H, W], [C, D, H, W]; or, where it was read as that, an
        image series [T, C, H, W].
        """
        if self.alphabet is not None:
            return "symbols"
        if self.reading.get("kind") == "image series":
            return "image series"
        kinds: dict[int, Any] = {1: "features", 2: "series", 3: "pictures", 4: "volumes"}
        if len(self.shape) not in kinds:
            raise ValueError(
                f"{self.name} has inputs of shape {list(self.inputs.shape)}; expected [N, F], [N, L, F], [N, C, H, W] or [N, C, D, H, W]"
            )
        return kinds[len(self.shape)]

    @property
    def is_its_own_target(self) -> bool:
        """What is asked for is the input itself."""
        return self.targets is self.inputs

    def as_its_own_target(self) -> Dataset:
        """The same examples, asked to be given back as they are; their classes become `labels`.

        Raises `UnreadableData` for tables with words or gaps.
        """
        labels, reading = self.labels, self.reading
        if reading.get("kind") == "table":
            from hubel.data.table_plan import reading_of_itself

            reading = reading_of_itself(reading, self.name)
        if labels is None and self.classes is not None and self.targets.ndim == 1:
            labels = np.asarray(self.classes)[self.targets]
        reading = {name: value for name, value in reading.items() if name not in ("masks", "boxes")}
        asked = {"classes": None, "target_names": None, "units": None, "labels": labels, "reading": reading}
        return replace(self, targets=self.inputs, **asked)  # type: ignore[arg-type]

    @property
    def is_multilabel(self) -> bool:
        """Several yes/no labels an example."""
        return self.classes is not None and self.targets.ndim == 2 and self.targets.dtype.kind != "f"

    @property
    def has_probabilities(self) -> bool:
        """The targets are class probabilities [N, K]."""
        return self.classes is not None and self.targets.ndim == 2 and self.targets.dtype.kind == "f"

    @property
    def has_masks(self) -> bool:
        """The targets are masks [N, H, W]: the class of every pixel."""
        return self.classes is not None and self.targets.ndim == 3 and self.targets.dtype.kind != "f"

    @property
    def has_boxes(self) -> bool:
        """The targets are boxes [N, M, 6]: the objects of every picture."""
        return self.classes is not None and self.targets.ndim == 3 and self.targets.dtype.kind == "f"

    @property
    def entering(self) -> tuple[int, ...]:
        """Shape of what enters a network for one input: `shape`, but for tables, whose categories become several numbers."""
        return (int(self.reading["encoded"]),) if self.reading.get("kind") == "table" else self.shape

    def select(self, rows: np.ndarray | Sequence[int]) -> Dataset:
        """The examples of these rows, in this order, with inputs of their own."""
        part = self.view(rows)
        inputs = np.asarray(part.inputs)
        targets = inputs if part.is_its_own_target else np.asarray(part.targets)
        return replace(part, inputs=inputs, targets=targets)

    def view(self, rows: np.ndarray | Sequence[int]) -> Dataset:
        """The examples of these rows, in this order; the inputs (and masks) are not copied but read where they are asked for (`Rows`)."""
        rows = np.asarray(rows) if len(rows) else np.empty(0, np.int64)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        pick = {name: None if (value := getattr(self, name)) is None else value[rows] for name in BESIDE}
        inputs: Any = _rows_of(self.inputs, rows)
        targets: Any = inputs
        if not self.is_its_own_target:
            targets = _rows_of(self.targets, rows) if self.has_masks else self.targets[rows]
        return replace(self, inputs=inputs, targets=targets, **pick)  # type: ignore[arg-type]

    def class_counts(self) -> dict[str, int]:
        """Examples of each class (yes answers, for several yes/no labels; the likeliest class, for probabilities; pixels, for masks; objects, for boxes)."""
        if self.classes is None:
            return {}
        if self.is_multilabel:
            counts = self.targets.astype(np.int64).sum(0)
        elif self.has_probabilities:
            counts = np.bincount(self.targets.argmax(1), minlength=len(self.classes))
        elif self.has_boxes:
            counts = object_counts(self.targets, len(self.classes))
        elif self.has_masks:
            counts = pixel_counts(self.targets, len(self.classes))
        else:
            counts = np.bincount(self.targets, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, counts, strict=True)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, types, all inputs, targets, groups, weights and part, in order."""
        return self._read_through(None)

    def keys(self) -> np.ndarray:
        """8 bytes for each example's input, uint64 [N]: where they differ, the stored values do, and almost always the other way round.

        They are not kept, being an eighth of what a table of 16 numbers takes; the fingerprint is found on the way.
        """
        found = np.empty(len(self), np.uint64)
        self.__dict__["fingerprint"] = self._read_through(found)  # where `cached_property` looks
        return found

    def _read_through(self, keys: np.ndarray | None) -> str:
        """The fingerprint; `keys` are filled on the way."""
        digest = hashlib.sha256()
        targets = np.dtype(np.int64) if self._numbers_of_table else self.targets.dtype
        digest.update(
            f"{self.inputs.shape}{self.inputs.dtype}{self.targets.shape}{targets}{self.classes}".encode()
        )
        if self.alphabet is not None:
            digest.update("\x1f".join(self.alphabet).encode("utf-8", "surrogatepass"))
        if self.reading.get("kind") == "table":
            digest.update(json.dumps(self.reading["columns"]).encode())
        done = 0
        for some in digests_of(self.inputs):
            digest.update(some.view(np.uint8).data)
            if keys is not None:
                keys[done : done + len(some)] = some.view(">u8")[::2]  # ordered as the digests are
                done += len(some)
        for value in (None if self.is_its_own_target else self.targets, self.weights, self.lengths):
            for some in () if value is None else pieces_of(value):
                told = some.astype(targets, copy=False) if value is self.targets else some
                digest.update(told.reshape(-1).view(np.uint8).data)
        for value in (self.groups, self.part):
            for place, some in enumerate(() if value is None else pieces_of(value)):
                digest.update(("\x1f" * (place > 0) + "\x1f".join(map(str, some.tolist()))).encode())
        return digest.hexdigest()

    @property
    def _numbers_of_table(self) -> bool:
        """The targets are class numbers of a table, which are held in 32 bits and told in 64, as those of other data are."""
        return self.reading.get("kind") == "table" and self.targets.dtype == np.int32

    def split(
        self,
        *,
        seed: int = 0,
        validation: float | None = None,
        test: float | None = None,
        groups: np.ndarray | Sequence[Any] | None = None,
        stratify: bool = True,
    ) -> tuple[Dataset, Dataset, Dataset]:
        """`train, validation, test`: see `hubel.data.assign_parts`, which also says how it was done."""
        from hubel.data.splits import assign_parts

        rows = assign_parts(
            self, seed=seed, validation=validation, test=test, groups=groups, stratify=stratify
        )
        return self.select(rows.train), self.select(rows.validation), self.select(rows.test)


def _rows_of(values: Any, rows: np.ndarray) -> Rows:
    """These rows of an array, or of what are some rows of one already."""
    return Rows(values.whole, values.rows[rows]) if isinstance(values, Rows) else Rows(values, rows)
