"""`Dataset`: examples with names and units, resident as the small integers in which they were stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hubel.data.rows import Rows

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SYMMETRIES = (
    "flip_horizontal",
    "flip_vertical",
    "rotate_90",
    "rotate",
    "shift",
    "scale",
    "brightness",
    "contrast",
    "colour",
    "background",
    "occlusion",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Labelled examples, as they were stored.

    `inputs` [N, C, H, W] (or [N, F]) keep the stored type: `uint8` stays `uint8`, 16 bits stay 16 bits. They may be
    memory-mapped, and the memory order may be channels-last. `targets` are class numbers [N] (int64, with `classes`),
    several yes/no labels [N, K] (uint8, with `classes`), or real values [N, K] (floating, with `target_names`, `units`).
    `ids` name each example (a path, or a row). `groups` [N] tie examples that must not be split apart. `weights` [N] count
    each example's loss. `part` [N] is a split that came with the data ("train", "validation", "test").
    `symmetries` are the changes that leave a label true *because the user or the built-in set says so*; none is assumed.
    Most are shown to the network as augmentation. "background" says that a constant added to a channel of one picture means
    nothing (the sky, a dark current, an offset of the detector): each picture's own mean is taken off. "occlusion" says that a
    label stays true where part of the picture is hidden.
    `channels` [C] are the names of the channels. `source` says where the examples come from (a path, a built-in set, arrays).
    `notes` say what the reader did (resized, skipped), in full sentences for the user. `reading` records the steps from files or
    arrays to rows, which `read_like` repeats for new data; it is empty for a Dataset made by hand.

    Raises `ValueError` where one of these does not have N rows, or a symmetry is not one of `SYMMETRIES`.

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
    symmetries: frozenset[str] = frozenset()
    channels: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)  # how files become rows: what predict repeats

    def __post_init__(self) -> None:
        num = len(self.inputs)
        for name in ("targets", "ids", "groups", "weights", "part"):
            value = getattr(self, name)
            if value is not None and len(value) != num:
                raise ValueError(
                    f"{name} has {len(value)} rows, but inputs have {num}: there must be one {name} row per example"
                )
        unknown = set(self.symmetries) - set(SYMMETRIES)
        if unknown:
            raise ValueError(
                f"unknown symmetries {sorted(unknown)}; expected some of {', '.join(SYMMETRIES)}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.inputs.shape[1:]))
        kind = (
            f"{len(self.classes)} classes"
            if self.classes
            else f"targets {self.targets.shape[1:]} {self.targets.dtype}"
        )
        return f"Dataset({self.name!r}: {len(self):,} examples of {shape} {self.inputs.dtype}, {kind})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W), or (F,)."""
        return tuple(int(n) for n in self.inputs.shape[1:])

    @property
    def is_multilabel(self) -> bool:
        """Several yes/no labels an example."""
        return self.classes is not None and self.targets.ndim == 2

    def select(self, rows: np.ndarray | Sequence[int]) -> Dataset:
        """The examples of these rows, in this order, with inputs of their own."""
        part = self.view(rows)
        return replace(part, inputs=np.asarray(part.inputs))

    def view(self, rows: np.ndarray | Sequence[int]) -> Dataset:
        """The examples of these rows, in this order; the inputs are not copied but read where they are asked for (`Rows`)."""
        rows = np.asarray(rows) if len(rows) else np.empty(0, np.int64)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        pick = {
            name: None if (value := getattr(self, name)) is None else value[rows]
            for name in ("targets", "ids", "groups", "weights", "part")
        }
        base, inner = (
            (self.inputs.whole, self.inputs.rows[rows])
            if isinstance(self.inputs, Rows)
            else (self.inputs, rows)
        )
        return replace(self, inputs=Rows(base, inner), **pick)  # type: ignore[arg-type]

    def class_counts(self) -> dict[str, int]:
        """Examples of each class (yes answers, for several yes/no labels)."""
        if self.classes is None:
            return {}
        if self.is_multilabel:
            counts = self.targets.astype(np.int64).sum(0)
        else:
            counts = np.bincount(self.targets, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, counts, strict=True)}

    @cached_property
    def digests(self) -> np.ndarray:
        """16 bytes for each example's input [N], dtype `S16`-like void: equal exactly where the stored values are equal."""
        out = np.empty(len(self), dtype="V16")
        for row in range(len(self)):
            content = np.ascontiguousarray(self.inputs[row])
            out[row] = hashlib.blake2b(content.data, digest_size=16).digest()
        return out

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, types, all inputs, targets, groups, weights and part, in order."""
        digest = hashlib.sha256()
        digest.update(
            f"{self.inputs.shape}{self.inputs.dtype}{self.targets.shape}{self.targets.dtype}{self.classes}".encode()
        )
        digest.update(self.digests.tobytes())
        for value in (self.targets, self.weights):
            if value is not None:
                digest.update(np.ascontiguousarray(value).tobytes())
        for value in (self.groups, self.part):
            if value is not None:
                digest.update("\x1f".join(map(str, value.tolist())).encode())
        return digest.hexdigest()

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
