"""R-CNN: proposals, what a fitted classifier sees in each, a support vector machine for every class, and boxes moved by regression.

    features    of each proposal, cut out and brought to one size, what the classifier's last layer reads: computed once, kept in half precision
    classes     of each class a linear support vector machine: true boxes against proposals that overlap none of the class by 0.3, begun with
                some and given, round by round, those that it takes for objects (hard negatives)
    boxes       of each class a ridge regression from features to offsets, from proposals that overlap an object by 0.6 or more

Features are brought to a mean length of 20, as published, so that the strengths of the penalties mean the same for every classifier.

Source: R. Girshick, J. Donahue, T. Darrell, J. Malik, "Rich Feature Hierarchies for Accurate Object Detection and Semantic Segmentation", CVPR 2014
(arXiv:1311.2524), section 2.3 and appendices A to C. We differ: the regression moves a box as its likeliest class wants it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.boxes import clip, decode, encode, pairwise
from hubel.core.random import numpy_generator
from hubel.data.boxes import CLASS, IGNORED, objects_of
from hubel.detection.crops import CONTEXT
from hubel.detection.proposals import Proposals, Propose, propose_all
from hubel.detection.window_detector import cut_out, rows_of

LENGTH = 20.0  # mean of the features
NEGATIVE, MOVED = (
    0.3,
    0.6,
)  # overlaps: below, a proposal shows no object of a class; from here on, its box is moved
ROUNDS = 3  # of hard negatives
FIRST_NEGATIVES, MOST_NEGATIVES = 2_000, 20_000  # of a class: at the beginning, and new ones of a round
POSITIVE_WEIGHT, CONSTANT = (
    2.0,
    10,
)  # of an error on an object; what stands for 1 beside the features, as published
MOST_PASSES = 20_000
HARD = -1.0  # decisions above it are on the wrong side of the margin
LARGEST = 1.0  # logarithm of how much a side may grow, as of a regression nothing bounds it


@dataclass(frozen=True)
class RegionFeatures:
    """What a classifier sees in the proposals of N pictures: `features` [n, F] in half precision for `boxes` [n, 4] of each.

    The true boxes come first, where they were given (`known` of each picture). `seconds` a picture.
    """

    boxes: tuple[np.ndarray, ...]
    features: tuple[np.ndarray, ...]
    known: tuple[int, ...]
    seconds: float


def region_features(
    net: nn.Module,
    pictures: Tensor,
    proposals: Proposals,
    size: tuple[int, int],
    *,
    objects: np.ndarray | None = None,
    context: float = CONTEXT,
) -> RegionFeatures:
    """`net.features` of all proposals of pictures [N, C, H, W], as they enter the network, and of the true boxes of `objects` [N, M, 6].

    Raises `ValueError` for a network without `features`, and for proposals of other pictures.
    """
    if not hasattr(net, "features"):
        raise ValueError(
            f"{type(net).__name__} has no `features`; expected a network of hubel.nets, or a module with that method"
        )
    if len(proposals) != len(pictures):
        raise ValueError(
            f"there are proposals for {len(proposals):,} pictures, and {len(pictures):,} pictures"
        )
    began = time.perf_counter()
    boxes, features, known = [], [], []
    for row, picture in enumerate(pictures):
        rows = np.zeros((0, 6), np.float32) if objects is None else _counted(objects[row])
        here = np.concatenate([rows[:, :4].astype(np.float32), proposals[row]])
        boxes.append(here)
        features.append(_seen(net, picture, torch.from_numpy(here), size, context).half().cpu().numpy())
        known.append(len(rows))
    seconds = (time.perf_counter() - began) / max(len(boxes), 1)
    return RegionFeatures(boxes=tuple(boxes), features=tuple(features), known=tuple(known), seconds=seconds)


@dataclass(frozen=True)
class RCNN:
    """A fitted R-CNN: candidates [N, most, 8 + K], whose raw scores are the decisions of the K machines.

    `lengthen` is the factor on features; `classes` [F + 1, K] and `offsets` [K, F + 1, 4] hold the machines and the regressions, constants last.
    """

    net: nn.Module
    propose: Propose
    size: tuple[int, int]
    context: float
    most: int
    lengthen: float
    classes: Tensor
    offsets: Tensor

    @torch.no_grad()
    def candidates(self, pictures: Tensor) -> Tensor:
        """Of pictures [N, C, H, W], as they enter the classifier."""
        found = []
        for picture in pictures:
            boxes = torch.from_numpy(np.asarray(self.propose(picture.cpu().numpy()), np.float32))
            seen = _with_constant(
                _seen(self.net, picture, boxes, self.size, self.context).cpu() * self.lengthen
            )
            scores = seen @ self.classes
            likeliest = self.offsets[scores.argmax(1)]  # [n, F + 1, 4]
            moved = decode(torch.einsum("nf,nfo->no", seen, likeliest), boxes, largest=LARGEST)
            moved = clip(moved, (picture.shape[1], picture.shape[2]))
            found.append(rows_of(boxes, moved, scores, self.most))
        return torch.stack(found)


def fit_rcnn(
    net: nn.Module,
    pictures: Tensor,
    objects: np.ndarray,
    propose: Propose,
    size: tuple[int, int],
    *,
    num_classes: int,
    cost: float = 1e-3,
    ridge: float = 1_000.0,
    most: int = 300,
    context: float = CONTEXT,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> RCNN:
    """Fit the machines and regressions of an R-CNN to pictures [N, C, H, W], as they enter `net`, and their `objects` [N, M, 6].

    `net` is a fitted classifier of crops of `size` (h, w), with `features` (see `labelled_crops`); its weights stay. `cost` is that of an error
    against the width of the margin, `ridge` the penalty of the regressions. How many objects the proposals reach, and how long they take, is said
    first.

    Raises `ValueError` for classes without an object that counts.
    """
    proposals = propose_all(pictures, propose, objects=objects, say=say)
    cached = region_features(net, pictures, proposals, size, objects=objects, context=context)
    total = sum(len(found) for found in cached.boxes)
    say(f"features of {total:,} boxes in {cached.seconds:.3g} s a picture")
    truths = [_counted(picture) for picture in np.asarray(objects)]
    numbers = np.concatenate([rows[:, CLASS] for rows in truths]).astype(np.int64)
    counts = np.bincount(numbers, minlength=num_classes)
    if len(counts) > num_classes or not counts.all():
        raise ValueError(
            f"objects of the classes are {counts.tolist()}; expected {num_classes} classes, each with an object that counts"
        )
    features = np.concatenate(cached.features).astype(np.float32)
    lengthen = LENGTH / max(float(np.linalg.norm(features, axis=1).mean()), 1e-12)
    features *= lengthen
    of_class, offsets = _overlaps_of_classes(cached, objects, num_classes)
    is_known = np.concatenate(
        [np.arange(len(boxes)) < known for boxes, known in zip(cached.boxes, cached.known, strict=True)]
    )
    classes, moves = [], []
    for number in range(num_classes):
        positive = np.zeros(len(features), bool)
        positive[np.flatnonzero(is_known)[numbers == number]] = True
        negative = np.flatnonzero(of_class[:, number] < NEGATIVE)
        generator = numpy_generator(seed, "rcnn", step=number)
        classes.append(_machine(features, np.flatnonzero(positive), negative, cost, generator))
        near = np.flatnonzero(of_class[:, number] >= MOVED)
        moves.append(_regression(features[near], offsets[near, number], ridge))
    return RCNN(
        net=net,
        propose=propose,
        size=size,
        context=context,
        most=most,
        lengthen=lengthen,
        classes=torch.from_numpy(np.stack(classes, axis=1)),
        offsets=torch.from_numpy(np.stack(moves)),
    )


def _machine(
    features: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    cost: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Weights [F + 1] of a linear support vector machine, the constant last, with hard negatives."""
    from sklearn.svm import LinearSVC

    chosen = generator.permutation(negative)[:FIRST_NEGATIVES]
    weights = np.zeros(features.shape[1] + 1, np.float32)
    for _ in range(ROUNDS):
        rows = np.concatenate([positive, chosen])
        wanted = np.arange(len(rows)) < len(positive)
        machine: Any = LinearSVC(
            C=cost,
            loss="hinge",
            class_weight={True: POSITIVE_WEIGHT},
            intercept_scaling=CONSTANT,
            max_iter=MOST_PASSES,
            random_state=0,
        )
        machine.fit(features[rows], wanted)
        weights = np.append(machine.coef_[0], machine.intercept_[0]).astype(np.float32)
        decisions = features[negative] @ weights[:-1] + weights[-1]
        hard = negative[decisions > HARD]
        new = np.setdiff1d(hard, chosen)
        if not len(new):
            break
        chosen = np.concatenate([chosen, generator.permutation(new)[:MOST_NEGATIVES]])
    return weights


def _regression(features: np.ndarray, offsets: np.ndarray, ridge: float) -> np.ndarray:
    """Weights [F + 1, 4] of a ridge regression, the constants last; zeros where there is nothing to learn from."""
    from sklearn.linear_model import Ridge

    if not len(features):
        return np.zeros((features.shape[1] + 1, 4), np.float32)
    fitted: Any = Ridge(alpha=ridge).fit(features, offsets)
    return np.concatenate([fitted.coef_.T, fitted.intercept_[None]]).astype(np.float32)


def _overlaps_of_classes(
    cached: RegionFeatures, objects: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each box the greatest overlap with an object of each class [n, K], and the offsets to that object [n, K, 4].

    Boxes that overlap an ignored object by 0.3 or more count for no class: not a number.
    """
    overlaps, offsets = [], []
    for boxes, picture in zip(cached.boxes, np.asarray(objects), strict=True):
        here, rows = torch.from_numpy(boxes), objects_of(picture)
        best, moved = np.zeros((len(boxes), num_classes)), np.zeros((len(boxes), num_classes, 4))
        if len(rows) and len(boxes):
            found = pairwise(here, torch.from_numpy(rows[:, :4])).numpy()
            for number in range(num_classes):
                mine = np.flatnonzero((rows[:, CLASS] == number) & (rows[:, IGNORED] == 0))
                if len(mine):
                    which = found[:, mine].argmax(1)
                    best[:, number] = found[:, mine].max(1)
                    moved[:, number] = encode(torch.from_numpy(rows[mine[which], :4]), here).numpy()
            ignored = rows[:, IGNORED] == 1
            if ignored.any():
                best[(found[:, ignored] >= NEGATIVE).any(1)] = np.nan
        overlaps.append(best)
        offsets.append(moved)
    return np.concatenate(overlaps), np.concatenate(offsets)


@torch.no_grad()
def _seen(net: nn.Module, picture: Tensor, boxes: Tensor, size: tuple[int, int], context: float) -> Tensor:
    """`net.features` of boxes [n, 4] of a picture: [n, F]."""
    net.eval()
    features: Any = net.features
    parts = [features(part) for part in cut_out(picture, boxes.to(picture.device), size, context)]
    return torch.cat(parts).float()


def _counted(picture: np.ndarray) -> np.ndarray:
    """The rows [m, 6] of a picture's objects that count."""
    rows = objects_of(np.asarray(picture))
    return rows[rows[:, IGNORED] == 0]


def _with_constant(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
