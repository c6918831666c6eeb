"""What kinds of errors a detector makes, and what each kind costs: every false box and every object that was not found has one cause.

With IoU to the wanted truths of the image, f = the threshold of the rule (0.5) and b = 0.1, a false positive is, by the first that holds,

    duplicate    IoU ≥ f with a truth of its class, which another box found
    class        IoU ≥ f with a truth of another class
    location     b ≤ IoU < f with a truth of its class
    both         b ≤ IoU < f with a truth of another class
    background   IoU < b with all

and a truth that no box found is *missed* where no class or location error points at it. What a kind costs is how much average precision rises when it alone is mended: a
class or location error becomes the true positive that it was about (the best one, if the truth is not found already; the others go), duplicates, background and both go away, and
missed truths are not asked for. The gains of several kinds do not add up.

Source: D. Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020 (arXiv:2008.08115), sections 2.2 and 2.3. There the order in which kinds are
tried is left open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hubel.metrics.detection import average_precision_alone
from hubel.metrics.detection_matching import Matches, Scenes, match, scenes_of
from hubel.metrics.detection_rules import Rule, iou

KINDS = ("class", "location", "both", "duplicate", "background", "missed")


@dataclass(frozen=True, kw_only=True)
class ErrorBreakdown:
    """How often each kind of error occurs (`counts`), and how much average precision is gained when it alone is mended (`gains`).

    `value` is the average precision as it is, `name` tells the rule. `kinds` [n] of the false positives, with their `images` [n] and `rows` [n] there, and
    `missed` [m, 2] (image, row) of the truths, so that they can be shown.
    """

    name: str
    value: float
    counts: Mapping[str, int]
    gains: Mapping[str, float]
    kinds: tuple[str, ...]
    images: np.ndarray
    rows: np.ndarray
    missed: np.ndarray

    def __str__(self) -> str:
        return "; ".join(
            [f"{self.name} {self.value:.3g}"]
            + [f"{kind} {self.counts[kind]} (+{self.gains[kind]:.3g})" for kind in self.counts]
        )


def error_breakdown(
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
    *,
    rule: Rule,
    background: float = 0.1,
) -> ErrorBreakdown:
    """The errors by kind. A rule with one threshold of IoU is needed, above `background`.

    >>> from hubel.metrics import all_point
    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [0, 0]}]
    >>> found = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 3], [0, 0, 9, 8]], "labels": [0, 0, 0], "scores": [0.9, 0.8, 0.7]}]
    >>> print(error_breakdown(found, truths, rule=all_point))
    AP50[all-point] 0.5; class 0 (+0); location 1 (+0.5); both 0 (+0); duplicate 1 (+0); background 0 (+0); missed 0 (+0)
    """
    if len(rule.thresholds) != 1 or rule.measure is not iou or not 0 < background < rule.thresholds[0]:
        raise ValueError(
            f"{rule} and background={background} were given; expected a rule with one threshold of IoU, and a background below it"
        )
    scenes = scenes_of(predictions, truths)
    matches = match(scenes, rule)
    kinds, target = _kinds(scenes, matches, rule.thresholds[0], background)
    pointed = np.zeros(len(scenes.true_boxes), bool)
    pointed[target[target >= 0]] = True
    found = np.zeros(len(scenes.true_boxes), bool)
    found[matches.truth[0][matches.hit[0]]] = True
    missed = matches.wanted & ~found & ~pointed
    value = average_precision_alone(scenes, matches, rule)
    counts = {kind: int((kinds == kind).sum()) for kind in KINDS[:-1]} | {"missed": int(missed.sum())}
    gains = {kind: _mended(scenes, matches, kinds == kind, target, rule) - value for kind in KINDS[:-1]}
    asked = replace(matches, wanted=matches.wanted & ~missed)
    gains["missed"] = average_precision_alone(scenes, asked, rule) - value
    false = np.flatnonzero(kinds != "")
    rows = matches.rows[false]
    return ErrorBreakdown(
        name=str(rule),
        value=value,
        counts=counts,
        gains=gains,
        kinds=tuple(kinds[false].tolist()),
        images=scenes.images[rows],
        rows=rows - np.searchsorted(scenes.images, scenes.images[rows]),
        missed=np.column_stack(
            [
                scenes.true_images[missed],
                np.flatnonzero(missed) - np.searchsorted(scenes.true_images, scenes.true_images[missed]),
            ]
        ),
    )


def _kinds(scenes: Scenes, matches: Matches, enough: float, little: float) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each box [D] ("" where it is no false positive), and the truth that a class or location error is about [D], or -1."""
    kinds = np.full(len(matches.rows), "", dtype="U10")
    target = np.full(len(matches.rows), -1)
    false = np.flatnonzero((matches.truth[0] < 0) & ~matches.void[0])
    wanted = np.flatnonzero(matches.wanted)
    starts = np.searchsorted(scenes.true_images[wanted], np.arange(scenes.num_images + 1))
    for i in false:
        row = matches.rows[i]
        image = scenes.images[row]
        near = wanted[starts[image] : starts[image + 1]]
        overlap = iou(scenes.boxes[row], scenes.true_boxes[near])
        own = scenes.true_labels[near] == scenes.labels[row]
        mine, other = np.where(own, overlap, 0), np.where(own, 0, overlap)
        best, rest = mine.max(initial=0), other.max(initial=0)
        kinds[i] = (
            "duplicate"
            if best >= enough
            else "class"
            if rest >= enough
            else "location"
            if best >= little
            else "both"
            if rest >= little
            else "background"
        )
        if kinds[i] in ("class", "location"):
            target[i] = near[(other if kinds[i] == "class" else mine).argmax()]
    return kinds, target


def _mended(scenes: Scenes, matches: Matches, these: np.ndarray, target: np.ndarray, rule: Rule) -> float:
    """Average precision when `these` [D] boxes are what they were meant to be, or away."""
    truth, labels = matches.truth.copy(), scenes.labels.copy()
    found = set(matches.truth[0][matches.hit[0]].tolist())
    keep = ~these
    scores = scenes.scores[matches.rows]
    about = np.flatnonzero(these & (target >= 0))
    for i in about[np.argsort(-scores[about], kind="stable")]:
        if int(target[i]) not in found:
            found.add(int(target[i]))
            keep[i], truth[0, i] = True, target[i]
            labels[matches.rows[i]] = scenes.true_labels[target[i]]
    mended = Matches(
        rows=matches.rows[keep], truth=truth[:, keep], void=matches.void[:, keep], wanted=matches.wanted
    )
    return average_precision_alone(replace(scenes, labels=labels), mended, rule)
