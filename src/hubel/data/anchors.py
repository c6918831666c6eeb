"""Anchors: a few sizes that stand for the sizes of all objects, found by k-means of boxes.

The distance of two sizes is 1 - IoU of boxes of these sizes about one centre, not the Euclidean one, by which large objects would weigh most.
A cluster's size is the median of its members' widths and heights; the iteration ends where no object changes its cluster, and the best of
`STARTS` starts is answered.

Source: J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017 (arXiv:1612.08242), section 2 ("Dimension Clusters").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hubel.core.random import numpy_generator
from hubel.data.boxes import IGNORED, objects_of

STARTS, ROUNDS = 8, 100


@dataclass(frozen=True)
class Anchors:
    """`sizes` (width, height) in pixels from small to large, and `coverage`: the mean IoU of objects with the size that fits them best.

    `assigned` says how many objects each size fits best.
    """

    sizes: tuple[tuple[float, float], ...]
    coverage: float
    assigned: tuple[int, ...]

    def __str__(self) -> str:
        told = ", ".join(f"{w:.0f} × {h:.0f}" for w, h in self.sizes)
        return f"{len(self.sizes)} anchors of {told} pixels, whose mean overlap with the objects is {self.coverage:.2f}"


def anchors_of(boxes: np.ndarray, num: int = 9, *, seed: int = 0) -> Anchors:
    """`num` anchors of the objects in boxes [N, M, 6]; ignored ones do not count.

    >>> from hubel.data.boxes import packed
    >>> rows = np.array([[0, 0, 10, 20, 0, 0], [5, 5, 15, 25, 0, 0], [0, 0, 40, 40, 0, 0]])
    >>> found = anchors_of(packed([rows]), 2)
    >>> print(found)
    2 anchors of 10 × 20, 40 × 40 pixels, whose mean overlap with the objects is 1.00

    Raises `ValueError` where there are fewer objects of different sizes than anchors.
    """
    rows = objects_of(np.asarray(boxes).reshape(-1, 6))
    rows = rows[rows[:, IGNORED] == 0].astype(np.float64)
    sizes = rows[:, 2:4] - rows[:, :2]
    different = len(np.unique(sizes, axis=0))
    if num < 1 or different < num:
        raise ValueError(
            f"{num} anchors were asked for, but the {len(sizes):,} objects that count have {different:,} different sizes; expected at least one anchor "
            "and as many sizes: take fewer anchors"
        )
    generator = numpy_generator(seed, "anchors")
    found = max((_k_means(sizes, num, generator) for _ in range(STARTS)), key=lambda one: one[1])
    centres, coverage = found
    centres = centres[np.argsort(centres.prod(1), kind="stable")]
    best = overlaps_of_sizes(sizes, centres).argmax(1)
    return Anchors(
        sizes=tuple((float(w), float(h)) for w, h in centres),
        coverage=float(coverage),
        assigned=tuple(np.bincount(best, minlength=num).tolist()),
    )


def overlaps_of_sizes(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of boxes of sizes [n, 2] with such of sizes [m, 2] about one centre: [n, m].

    >>> overlaps_of_sizes(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 4.0]])).round(4)
    array([[0.3333, 1.    ]])
    """
    common = np.minimum(sizes[:, None], others[None]).prod(2)
    return common / (sizes.prod(1)[:, None] + others.prod(1)[None] - common)


def _k_means(sizes: np.ndarray, num: int, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Centres [num, 2] and their coverage, from centres drawn far apart (k-means++)."""
    unique = np.unique(sizes, axis=0)
    centres = unique[[generator.integers(len(unique))]]
    while len(centres) < num:
        far = (1 - overlaps_of_sizes(unique, centres).max(1)).clip(0) ** 2
        centres = np.concatenate([centres, unique[[generator.choice(len(unique), p=far / far.sum())]]])
    before = None
    for _ in range(ROUNDS):
        nearest = overlaps_of_sizes(sizes, centres).argmax(1)
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        centres = np.stack(
            [
                np.median(sizes[nearest == k], axis=0) if (nearest == k).any() else centres[k]
                for k in range(num)
            ]
        )
    return centres, float(overlaps_of_sizes(sizes, centres).max(1).mean())
