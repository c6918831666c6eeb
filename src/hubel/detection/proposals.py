"""Proposals of many pictures, made once: how many, how fast, and how many of the known objects they reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hubel.core.boxes import pairwise
from hubel.data.boxes import IGNORED, objects_of

TOLD = (0.5, 0.7)  # overlaps for which the recall is told


class Propose(Protocol):
    """What makes proposals [n, 4] for a picture [C, H, W], the best first: `SelectiveSearch`, `SlidingWindow`, or a function."""

    def __call__(self, picture: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Proposals:
    """Boxes [n, 4] for each of N pictures, as (x0, y0, x1, y1) in pixels, and the `seconds` that one picture took."""

    boxes: tuple[np.ndarray, ...]
    seconds: float

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.boxes)

    def __getitem__(self, picture: int) -> np.ndarray:
        return self.boxes[picture]

    def recall(self, objects: np.ndarray, overlap: float = 0.5) -> float:
        """The share of the objects [N, M, 6] that a proposal overlaps by `overlap` (IoU) or more, ignored ones aside: no detector on these
        proposals, which moves no box, can find more. Not a number where there are no objects.

        >>> made = Proposals(boxes=(np.array([[0.0, 0, 10, 10]]),), seconds=0.0)
        >>> made.recall(np.array([[[0, 0, 10, 8, 0, 0], [20, 20, 30, 30, 1, 0]]]))
        0.5
        """
        if len(objects) != len(self.boxes):
            raise ValueError(
                f"there are proposals for {len(self.boxes):,} pictures and objects of {len(objects):,}"
            )
        best = [np.zeros(0)]
        for found, picture in zip(self.boxes, np.asarray(objects), strict=True):
            rows = objects_of(picture)
            rows = rows[rows[:, IGNORED] == 0, :4].astype(np.float64)
            if len(found) == 0:
                best.append(np.zeros(len(rows)))
            elif len(rows):
                overlaps = pairwise(torch.from_numpy(rows), torch.from_numpy(found.astype(np.float64)))
                best.append(overlaps.amax(1).numpy())
        reached = np.concatenate(best)
        return float((reached >= overlap).mean()) if len(reached) else float("nan")

    def padded(self, most: int) -> Tensor:
        """The first `most` of each picture, filled up with rows of zeros: [N, most, 4]."""
        rows = torch.zeros(len(self.boxes), most, 4)
        for into, found in zip(rows, self.boxes, strict=True):
            into[: min(most, len(found))] = torch.from_numpy(found[:most].astype(np.float32))
        return rows


def propose_all(
    pictures: np.ndarray | Tensor,
    propose: Propose,
    *,
    objects: np.ndarray | None = None,
    say: Callable[[str], None] = print,
) -> Proposals:
    """Proposals for pictures [N, C, H, W]. With their `objects` [N, M, 6] it is said (`say`) how many of them the proposals reach.

    Raises `ValueError` for proposals that are no boxes [n, 4].

    >>> from hubel.detection import SlidingWindow
    >>> known = np.array([[[0, 0, 16, 16, 0, 0]]])
    >>> made = propose_all(np.zeros((1, 1, 32, 32)), SlidingWindow(((16, 16),), step=1.0), objects=known, say=lambda text: None)
    >>> len(made[0]), made.recall(known)
    (4, 1.0)
    """
    began = time.perf_counter()
    boxes = []
    for number, picture in enumerate(np.asarray(pictures)):
        found = np.asarray(propose(picture), np.float32)
        if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
            raise ValueError(
                f"the proposals for picture {number} have shape {list(found.shape)}; expected finite boxes [n, 4], rows (x0, y0, x1, y1)"
            )
        boxes.append(found)
    made = Proposals(boxes=tuple(boxes), seconds=(time.perf_counter() - began) / max(len(boxes), 1))
    if objects is not None:
        mean = np.mean([len(found) for found in boxes]) if boxes else 0.0
        reached = ", ".join(f"{100 * made.recall(objects, least):.1f} % by {least:g}" for least in TOLD)
        say(
            f"{mean:,.0f} proposals a picture in {made.seconds:.3g} s; they overlap of the known objects {reached} or more: no detector on them finds more"
        )
    return made
