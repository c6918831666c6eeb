"""Which predicted box found which object: read once, matched for all images, classes and thresholds together."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hubel.metrics.detection_rules import OVERLAPS, Measure, Rule

PAIRS_AT_A_TIME = 2_000_000
FARTHEST = 1e100  # pixels, of which areas are finite still


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Boxes of all images one after the other: D predicted and G true ones, `labels` as places in `names` [K]."""

    names: np.ndarray
    num_images: int
    boxes: np.ndarray  # [D, 4]
    labels: np.ndarray
    scores: np.ndarray
    images: np.ndarray
    true_boxes: np.ndarray  # [G, 4]
    true_labels: np.ndarray
    true_images: np.ndarray
    ignored: np.ndarray  # [G], yes or no


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Of each threshold (T) and predicted box (D, those within the limit of the rule, the best of an image first): `truth` [T, D] that it found or
    -1, and whether it does not count [T, D]. `rows` [D] are their places in the scenes. `wanted` [G] are the truths that count.
    """

    rows: np.ndarray
    truth: np.ndarray
    void: np.ndarray
    wanted: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """Whether a box is a true positive: [T, D]."""
        return (self.truth >= 0) & ~self.void


def truths_of(boxes) -> list[dict[str, np.ndarray]]:
    """One mapping an image of truths [N, M, 6], rows (x0, y0, x1, y1, class, ignored); rows of a negative class are no objects.

    >>> truths_of([[[0, 0, 4, 4, 1, 0], [0, 0, 0, 0, -1, 0]]])[0]["labels"].tolist()
    [1]
    """
    return _images_of(boxes, "ignore")


def predictions_of(boxes) -> list[dict[str, np.ndarray]]:
    """One mapping an image of predictions [N, M, 6], rows (x0, y0, x1, y1, class, score); rows of a negative class are no boxes.

    >>> predictions_of([[[0, 0, 4, 4, 1, 0.5], [0, 0, 0, 0, -1, 0]]])[0]["scores"].tolist()
    [0.5]
    """
    return _images_of(boxes, "scores")


def _images_of(boxes, last: str) -> list[dict[str, np.ndarray]]:
    boxes = np.asarray(boxes)
    if boxes.ndim != 3 or boxes.shape[2] != 6:
        raise ValueError(
            f"boxes have shape {boxes.shape}; expected (N, M, 6), a row of corners, class and {last} for each"
        )
    rows = [image[image[:, 4] >= 0] for image in boxes]
    return [{"boxes": own[:, :4], "labels": own[:, 4].astype(np.int64), last: own[:, 5]} for own in rows]


def scenes_of(predictions: Sequence[Mapping[str, Any]], truths: Sequence[Mapping[str, Any]]) -> Scenes:
    """Read one mapping an image: `boxes` [n, 4], `labels` [n] (class numbers, or names), and `scores` [n] of predictions, `ignore` [n] of truths where there is any.

    Raises `ValueError` with the number of the image where something is missing, has another shape, is no number, or where a true box has no size.
    """
    for name, images in (("predictions", predictions), ("truths", truths)):
        if not isinstance(images, Sequence) or not all(isinstance(one, Mapping) for one in images):
            raise ValueError(
                f"{name} are {type(images).__name__}; expected a list with one mapping an image, with boxes [n, 4] and labels [n]"
            )
    if len(predictions) != len(truths):
        raise ValueError(
            f"there are predictions for {len(predictions)} images and truths for {len(truths)}; expected one mapping for each image on both "
            "sides (boxes of shape (0, 4) where there are none)"
        )
    if not len(truths):
        raise ValueError("there are no images: predictions and truths are empty; expected at least one")
    if any("scores" in one for one in truths) and not any("scores" in one for one in predictions):
        raise ValueError(
            "truths have scores and predictions have none; expected predictions first, then truths"
        )
    found = [_read(one, f"predictions of image {i}", "scores") for i, one in enumerate(predictions)]
    real = [_read(one, f"truths of image {i}", "ignore") for i, one in enumerate(truths)]
    kinds = {one[1].dtype.kind for one in found + real if len(one[1])}
    if len(kinds) > 1:
        raise ValueError(
            "some labels are names and others are numbers; expected the same words on both sides"
        )
    if kinds == {"U"}:
        _refuse_alike([one[1] for one in found], [one[1] for one in real])
    empty = np.zeros(0, str if kinds == {"U"} else np.int64)
    found, real = ([(b, k if len(k) else empty, more) for b, k, more in side] for side in (found, real))
    boxes, labels, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    true_boxes, true_labels, ignored = (np.concatenate(part) for part in zip(*real, strict=True))
    names, numbers = np.unique(np.concatenate([true_labels, labels]), return_inverse=True)
    return Scenes(
        names=names,
        num_images=len(truths),
        boxes=boxes,
        labels=numbers[len(true_labels) :],
        scores=scores,
        images=np.repeat(np.arange(len(found)), [len(one[0]) for one in found]),
        true_boxes=true_boxes,
        true_labels=numbers[: len(true_labels)],
        true_images=np.repeat(np.arange(len(real)), [len(one[0]) for one in real]),
        ignored=ignored > 0,
    )


def _refuse_alike(found: Sequence[np.ndarray], real: Sequence[np.ndarray]) -> None:
    """Names of classes that differ in case or blanks alone would never match, and the score would say that nothing was found."""
    first: dict[str, str] = {}
    for name in sorted({str(name) for labels in (*real, *found) for name in labels.tolist()}):
        other = first.setdefault(" ".join(name.split()).casefold(), name)
        if other != name:
            raise ValueError(
                f"labels are {other!r} and {name!r}, which differ in case or blanks alone and would be two classes; write them alike"
            )


def _read(one: Mapping[str, Any], where: str, third: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    needed = ("boxes", "labels", "scores") if third == "scores" else ("boxes", "labels")
    if missing := [key for key in needed if key not in one]:
        raise ValueError(f"{where} have {sorted(one)}; {missing[0]!r} is missing")
    boxes = _floats(one["boxes"], "boxes", where)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{where} have boxes of shape {boxes.shape}; expected (n, 4), rows (x0, y0, x1, y1)")
    labels = _array(one["labels"])
    more = _floats(one.get(third, np.zeros(len(boxes))), third, where)
    for key, values in (("labels", labels), (third, more)):
        if values.shape != (len(boxes),):
            raise ValueError(
                f"{where} have {len(boxes)} boxes and {key} of shape {values.shape}; expected one a box"
            )
    if not np.isfinite(more).all():
        raise ValueError(f"{where} have {third} {more[:3].tolist()} …; expected finite numbers")
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    numbers = labels.dtype.kind in "iuf" and bool(
        (np.isfinite(labels) & (labels >= 0) & (labels < 2**53)).all()
    )
    if len(labels) and labels.dtype.kind != "U" and not (numbers and (labels == np.floor(labels)).all()):
        raise ValueError(
            f"{where} have labels {labels[:3].tolist()} …; expected names, or class numbers 0, 1, 2, … (rows that stand for nothing are left out)"
        )
    far = (np.isfinite(boxes) & (np.abs(boxes) > FARTHEST)).any(1)
    if far.any():
        row = int(np.flatnonzero(far)[0])
        raise ValueError(
            f"{where} have the box {boxes[row].tolist()} in row {row}; expected edges in pixels, of which none is beyond {FARTHEST:g}"
        )
    sides = boxes[:, 2:] - boxes[:, :2]
    wrong = ~np.isfinite(boxes).all(1) | ((sides < 0) if third == "scores" else (sides <= 0)).any(1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{where} have the box {boxes[row].tolist()} in row {row}; expected finite edges (x0, y0, x1, y1) with x0 < x1 and y0 < y1"
        )
    return boxes, labels if labels.dtype.kind == "U" else labels.astype(np.int64), more


def _array(values: Any) -> np.ndarray:
    """As an array, a tensor without its gradient; who passes one has imported torch, so that it is not imported here."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    return np.asarray(values)


def _floats(values: Any, what: str, where: str) -> np.ndarray:
    """Numbers as float64; raises `ValueError` with the place for what is none."""
    try:
        found = _array(values)
        if found.dtype.kind == "c":
            raise TypeError("complex numbers")
        return found.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        shape = "(n, 4)" if what == "boxes" else "(n,)"
        raise ValueError(
            f"{where} have {what} {str(values)[:80]}; expected numbers {shape} ({error})"
        ) from error


def match(scenes: Scenes, rule: Rule) -> Matches:
    """Boxes in the order of their scores (equal ones as given) take truths of their image and class by `rule`.

    All images and classes are matched at once: in round r each takes its r-th best box. Raises `TypeError` where `rule` is no rule.
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"rule is {rule!r}; expected a rule such as hubel.metrics.all_point, voc07 or coco")
    width = max(len(scenes.names), 1)
    cells = scenes.images * width + scenes.labels
    rows = np.lexsort((-scenes.scores, cells))
    ranks = _places(cells[rows])
    if rule.limit is not None:
        _warn_of_limit(rule, ranks, scenes)
        rows, ranks = rows[ranks < rule.limit], ranks[ranks < rule.limit]
    outside = _outside(scenes.true_boxes, rule.area)
    unwanted = scenes.ignored | outside
    limits = _levels(rule.measure, np.asarray(rule.thresholds))[:, None]
    pairs = _pairs(scenes, rule, rows, cells, float(limits.min()))
    boxes, others, values = _preferred(pairs, rule, ranks, unwanted)
    found = np.full((len(limits), len(rows)), -1)
    taken = np.zeros((len(limits), len(unwanted)), bool)
    often = scenes.ignored & rule.ignored_often
    edges = np.flatnonzero(np.diff(ranks[boxes], prepend=-1, append=-1)) if len(boxes) else np.zeros(1, int)
    for start, stop in pairwise(edges):
        who, whom = boxes[start:stop], others[start:stop]
        free = (values[start:stop] >= limits) & (~taken[:, whom] | often[whom])
        begins = np.flatnonzero(np.diff(who, prepend=-1))
        first = np.minimum.reduceat(np.where(free, np.arange(len(who)), len(who)), begins, axis=1)
        level, box = np.nonzero(first < len(who))
        chosen = whom[first[level, box]]
        found[level, who[begins][box]] = chosen
        taken[level, chosen] = True
    there = found >= 0
    void = there & unwanted[found] if len(unwanted) else np.zeros_like(there)
    void |= ~there & _outside(scenes.boxes[rows], rule.area)
    return Matches(rows=rows, truth=found, void=void, wanted=~unwanted)


def match_alone(scenes: Scenes, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Whether each box would match a wanted truth [D], or an unwanted one [D], if there were no other box."""
    rows = np.arange(len(scenes.boxes))
    cells = scenes.images * max(len(scenes.names), 1) + scenes.labels
    unwanted = scenes.ignored | _outside(scenes.true_boxes, rule.area)
    lowest = float(_levels(rule.measure, np.asarray(rule.thresholds)).min())
    pairs = _pairs(scenes, rule, rows, cells, lowest)
    boxes, others, _ = _preferred(pairs, rule, np.zeros(len(rows), int), unwanted)
    first = np.diff(boxes, prepend=-1) != 0
    hit, void = np.zeros(len(rows), bool), _outside(scenes.boxes, rule.area)
    hit[boxes[first]], void[boxes[first]] = ~unwanted[others[first]], unwanted[others[first]]
    return hit, void


def _places(cells: np.ndarray) -> np.ndarray:
    """How many of the same cell stand before each: [D], cells in order."""
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    lengths = np.diff(starts, append=len(cells))
    return np.arange(len(cells)) - np.repeat(starts, lengths)


def _warn_of_limit(rule: Rule, ranks: np.ndarray, scenes: Scenes) -> None:
    """Said where an image has more objects than boxes may count: elsewhere the limit, which is part of the rule, cuts poor boxes only."""
    assert rule.limit is not None
    cells = scenes.true_images * len(scenes.names) + scenes.true_labels
    objects = np.bincount(cells[~scenes.ignored]) if len(cells) else np.zeros(1, int)
    if objects.max(initial=0) > rule.limit and (ranks >= rule.limit).any():
        most = np.minimum(objects, rule.limit).sum() / objects.sum()
        warnings.warn(
            f"{rule} counts the {rule.limit} best boxes of a class in an image, but one image has {objects.max():,} objects of a class: no more than "
            f"{100 * most:.0f} % of all objects can be found by this rule. dataclasses.replace(rule, limit=None) counts all boxes, as AP50[all-point] does",
            stacklevel=5,
        )


def _outside(boxes: np.ndarray, area: tuple[float, float] | None) -> np.ndarray:
    if area is None:
        return np.zeros(len(boxes), bool)
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (sizes < area[0]) | (sizes > area[1])


def _levels(measure: Measure, thresholds: np.ndarray) -> np.ndarray:
    """Thresholds of a quantity of which more is better; a share has to be more than none, and 1 is reached in spite of rounding."""
    return -thresholds if measure.distance else np.clip(thresholds, np.finfo(float).tiny, 1 - 1e-10)


def _agreement(measure: Measure, boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    values = measure(boxes, others)
    return -values if measure.distance else values


def _pairs(
    scenes: Scenes, rule: Rule, rows: np.ndarray, cells: np.ndarray, lowest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (places in `rows`), truths of the same image and class, and how well they agree, where it is enough for any threshold: [P] each."""
    kept = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    overlap = rule.measure in OVERLAPS and rule.ignored_by in (None, *OVERLAPS)
    candidates = _candidates(scenes, rows, cells)
    for boxes, others in _not_beside(scenes, rows, candidates) if overlap else candidates:
        mine, theirs = scenes.boxes[rows[boxes]], scenes.true_boxes[others]
        values = _agreement(rule.measure, mine, theirs)
        if rule.ignored_by is not None and (soft := scenes.ignored[others]).any():
            values[soft] = _agreement(rule.ignored_by, mine[soft], theirs[soft])
        enough = values >= lowest
        kept.append((boxes[enough], others[enough], values[enough]))
    return tuple(np.concatenate(part) for part in zip(*kept, strict=True))  # type: ignore[return-value]


def _candidates(
    scenes: Scenes, rows: np.ndarray, cells: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    true_cells = scenes.true_images * max(len(scenes.names), 1) + scenes.true_labels
    by_cell = np.argsort(true_cells, kind="stable")
    starts = np.searchsorted(true_cells[by_cell], cells[rows], "left")
    counts = np.searchsorted(true_cells[by_cell], cells[rows], "right") - starts
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(rows):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + PAIRS_AT_A_TIME, "right")))
        part = counts[begin:end]
        offsets = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield np.repeat(np.arange(begin, end), part), by_cell[np.repeat(starts[begin:end], part) + offsets]
        begin = end


def _not_beside(
    scenes: Scenes, rows: np.ndarray, candidates: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Without pairs that lie beside each other, as most in a crowded image do, and whose overlaps need not be computed."""
    left, right = (np.ascontiguousarray(scenes.boxes[rows, side]) for side in (0, 2))
    true_left, true_right = (np.ascontiguousarray(scenes.true_boxes[:, side]) for side in (0, 2))
    for boxes, others in candidates:
        meet = (left[boxes] < true_right[others]) & (true_left[others] < right[boxes])
        yield boxes[meet], others[meet]


def _preferred(
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray], rule: Rule, ranks: np.ndarray, unwanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs round by round, those of a box in the order in which it would take them."""
    boxes, others, values = pairs
    if rule.next_best:  # wanted truths first; of equal ones the last, as pycocotools does
        order = np.lexsort((-others, -values, unwanted[others], boxes, ranks[boxes]))
    else:  # only the best, of equal ones the first
        order = np.lexsort((others, -values, boxes, ranks[boxes]))
        order = order[np.diff(boxes[order], prepend=-1) != 0]
    return boxes[order], others[order], values[order]
