"""Batches of a resident dataset: one permutation an epoch, one gather a batch, scaling and augmentation on whole batches.

No worker processes, fixed shapes. The order of an epoch is a pure function of (seed, epoch). Where the number of examples
is not a multiple of the batch size, the last batch is filled up with the first examples of the same order: every example
is seen in every epoch, and no batch is ever small.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from hubel.core import random
from hubel.core.layout import arranged
from hubel.core.types import Batch
from hubel.data.augmentation import Augmentation, Draw, Mixup, augmented, changed_with_boxes, moved
from hubel.data.dataset import Dataset
from hubel.data.preprocessing import Preprocessing
from hubel.data.rows import Rows, gather

SCALED_BYTES = 2**26  # of a table, as float64, up to which all its rows are scaled at once
PAGE = 4096  # bytes: an example that is smaller shares its part of a mapped file with others
AHEAD_BYTES = 2**28  # of such examples that are read ahead, in the order of the file


@dataclass(kw_only=True, eq=False)
class Batches:
    """The training part as batches, or any part in order.

    `layout` is "contiguous" (N, C, H, W or N, C, D, H, W in memory) or "channels_last".
    """

    data: Dataset
    scaling: Preprocessing
    batch_size: int
    seed: int = 0
    augmentation: Sequence[Augmentation] = ()
    device: torch.device | str = "cpu"
    layout: str = "contiguous"
    _base: np.ndarray = field(init=False)
    _rows: torch.Tensor = field(init=False)
    _resident: torch.Tensor | None = field(init=False, default=None)
    _targets: torch.Tensor | None = field(
        init=False, default=None
    )  # none where the inputs are their own, or masks
    _masks: Rows | None = field(init=False, default=None)  # read where they are asked for, as inputs are
    _lengths: torch.Tensor | None = field(init=False, default=None)
    _weights: torch.Tensor | None = field(init=False, default=None)
    _scaled: torch.Tensor | None = field(init=False, default=None)  # all rows of a small table, as they enter

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")
        if len(self.data) == 0:
            raise ValueError(f"{self.data.name} has no examples, so there are no batches to make")
        self.batch_size = min(self.batch_size, len(self.data))
        inputs: Any = self.data.inputs
        if isinstance(inputs, Rows):
            self._base, self._rows = inputs.whole, _shared(np.asarray(inputs.rows, np.int64))
        else:
            self._base, self._rows = inputs, torch.arange(len(inputs))
        if not isinstance(self._base, np.memmap):
            self._resident = _shared(self._base)
        targets: Any = self.data.targets
        if self.data.has_masks:
            self._masks = targets if isinstance(targets, Rows) else Rows(targets, np.arange(len(targets)))
        elif not self.data.is_its_own_target:
            self._targets = _shared(np.asarray(self.data.targets))
        if self.data.lengths is not None:
            self._lengths = torch.from_numpy(np.array(self.data.lengths, np.int64))
        if self.data.weights is not None:
            self._weights = torch.from_numpy(np.array(self.data.weights, np.float32))
        if self._may_scale_all():
            assert self._resident is not None
            self._scaled = self.scaling(self._resident)

    def _may_scale_all(self) -> bool:
        """Whether all rows are scaled once, which gives the same bits as scaling them batch by batch: small tables, where the steps are so
        short that scaling would be a tenth of them.
        """
        kept = not self.augmentation and not self.data.is_its_own_target and self.data.alphabet is None
        size = len(self._base) * self.data.entering[0] * 8 if self._base.ndim == 2 else 0
        return self._resident is not None and kept and 0 < size <= SCALED_BYTES

    @property
    def _num_classes(self) -> int | None:
        return None if self.data.classes is None or self.data.targets.ndim > 1 else len(self.data.classes)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.data) // self.batch_size)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The shuffled, augmented batches of `epoch` (from 1), from batch number `start` (from 0) on."""
        generator = random.torch_generator(self.seed, "order", epoch)
        num, size = len(self.data), self.batch_size
        order = torch.randperm(
            num, generator=generator, dtype=torch.int32 if num < 2**31 else torch.int64
        )  # the same in both

        def places(first: int, steps: int) -> torch.Tensor:
            found = order[first * size : (first + steps) * size]
            return torch.cat([found, order[: steps * size - len(found)]]).long()

        ahead, read = iter(()), 0
        for step in range(start, self.steps_per_epoch):
            if self._reads_ahead and step == start + read:
                ahead = iter(())  # the memory of the last ones, before that of the next is taken
                steps = min(max(1, read), self._steps_ahead, self.steps_per_epoch - step)
                ahead = iter(self._gather(self._rows[places(step, steps)]).split(size))
                read += steps
            at = places(step, 1)
            rows = self._rows[at]
            yield self._batch(at, rows, Draw(self.seed, epoch, step, rows), next(ahead, None))

    def in_order(self, batch_size: int | None = None) -> Iterator[Batch]:
        """All examples once, in order, unchanged but for the scaling; the last batch may be smaller."""
        size = batch_size or self.batch_size
        for first in range(0, len(self.data), size):
            places = torch.arange(first, min(first + size, len(self.data)))
            yield self._batch(places, self._rows[places], None)

    @property
    def _reads_ahead(self) -> bool:
        """Whether batches are read many at a time: of a mapped table a batch alone would touch a page for each of its rows, and all pages
        as often as there are batches.
        """
        return self._resident is None and self._bytes_each < PAGE

    @property
    def _bytes_each(self) -> int:
        return max(1, self._base.nbytes // max(1, len(self._base)))

    @property
    def _steps_ahead(self) -> int:
        return max(1, AHEAD_BYTES // (self._bytes_each * self.batch_size))

    def _batch(
        self, places: torch.Tensor, rows: torch.Tensor, draw: Draw | None, stored: torch.Tensor | None = None
    ) -> Batch:
        """The examples at these places of the part, which are these rows of the whole dataset (their `ids`), and what is `stored` there
        where it was read already.
        """
        lengths = None if self._lengths is None else self._lengths[places].to(self.device)
        if self._scaled is not None:
            stored = inputs = self._scaled.index_select(0, rows).to(self.device, non_blocking=True)
        else:
            stored = self._gather(rows) if stored is None else stored.to(self.device, non_blocking=True)
            inputs = self.scaling(stored, lengths)
        if draw is not None and self.augmentation and not self.data.has_boxes:
            inputs, lengths = augmented(inputs, self.augmentation, replace(draw, lengths=lengths))
        weights = None if self._weights is None else self._weights[places].to(self.device)
        targets = self._wanted(places, stored)
        if self.data.has_boxes and draw is not None:
            inputs, targets = changed_with_boxes(inputs, targets, self.augmentation, draw)
        elif self._masks is not None and draw is not None:
            targets = moved(targets, self.augmentation, draw)
        elif draw is not None:
            for change in self.augmentation:
                if isinstance(change, Mixup):
                    targets = change.of_targets(targets, self._num_classes, draw)
        inputs = arranged(inputs, self.layout)
        return Batch(inputs=inputs, targets=targets, ids=rows, weights=weights, lengths=lengths)

    def _wanted(self, places: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
        """The targets of the examples at these places, whose inputs are `stored`."""
        if self._masks is not None:
            return torch.from_numpy(self._masks[places.numpy()]).to(self.device, non_blocking=True)
        if self._targets is None:
            return stored
        targets = self._targets.index_select(0, places)
        return (targets.long() if targets.dtype == torch.int32 else targets).to(
            self.device, non_blocking=True
        )

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        if self._resident is None:
            return torch.from_numpy(gather(self._base, rows.numpy())).to(self.device, non_blocking=True)
        signed = {torch.uint16: torch.int16, torch.uint32: torch.int32}.get(self._resident.dtype)
        if signed is not None:  # torch can not gather these: the same bits under another name
            found = self._resident.view(signed).index_select(0, rows).view(self._resident.dtype)
            return found.to(self.device, non_blocking=True)
        return self._resident.index_select(0, rows).to(self.device, non_blocking=True)


def _shared(inputs: np.ndarray) -> torch.Tensor:
    """The whole array as a tensor that shares its memory, where torch can; it is only ever read."""
    if not inputs.dtype.isnative or any(step < 0 for step in inputs.strides):
        inputs = np.array(inputs, dtype=inputs.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(inputs)
