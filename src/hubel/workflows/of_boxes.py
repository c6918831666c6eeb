"""What is chosen for boxes: the question, and the network; and what of them a run keeps to be shown."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel import nets
from hubel.core.errors import ContractError
from hubel.core.types import Prediction
from hubel.data.anchors import anchors_of
from hubel.data.boxes import CLASS, NO_OBJECT, object_counts, objects_of
from hubel.data.dataset import Dataset
from hubel.metrics import all_point, error_breakdown, predictions_of, truths_of
from hubel.nets.backbones import description_of, strides_of
from hubel.objectives import (
    AnchorFreeDetection,
    FasterRCNNDetection,
    Objective,
    YOLODetection,
    YOLOv3Detection,
    lost_to_shared_cells,
)
from hubel.objectives.detection import Detection
from hubel.workflows.asking import Wishes
from hubel.workflows.given_back import ids_of

WIDTH = 32
STEPS, FEWEST_PASSES, MOST_PASSES = 6000, 50, 500  # judged, not measured
MIRRORS = ("flip_horizontal", "flip_vertical")
NUM_SHOWN = 12
NUM_CROPS = 24
CROP = 64  # pixels a side
SMALL, LARGE = 0.1, 0.9  # quantiles of the sizes of objects, which the strides follow
PLACES_ACROSS = 3  # of the finest map over a small object
FINEST, COARSEST = 4, 32
MOST_FOUND, PROPOSALS = 300, 100  # objects of a picture that are answered, proposals of Faster R-CNN
ROOM = 2  # times as many as the fullest picture has objects, where these are not enough
ANCHORS = 3  # of each stride
GRIDS, MOST_LOST = (
    (7, 10, 14, 20, 28, 40),
    0.01,
)  # cells a side, and the share of objects that may be lost where two share one
QUESTIONS: dict[str, type[Detection]] = {
    "anchor_free": AnchorFreeDetection,
    "faster_rcnn": FasterRCNNDetection,
    "yolo": YOLODetection,
    "yolo_v3": YOLOv3Detection,
}


def box_objective(train: Dataset, wishes: Wishes) -> tuple[Detection, str]:
    """The question that boxes ask.

    Raises `ValueError` for wishes that mean nothing for boxes.
    """
    assert train.classes is not None
    if wishes:
        raise ValueError(
            f"{wishes.named} was asked for, but {train.name} has boxes: leave it out, or show pictures of rare classes more often (weights)"
        )
    num = len(train.classes)
    why = (
        f"the targets are boxes of {num} class{'' if num == 1 else 'es'} of objects, so {'a score' if num == 1 else f'{num} scores'} and a box are asked of every "
        "place of a picture, and the mean precision over all recalls is reported (average precision at an overlap of a half)"
    )
    most = most_detections(train)
    if most > MOST_FOUND:
        why = f"{why}; up to {most:,} objects of a picture are answered, as one picture has {most // ROOM:,}"
    return AnchorFreeDetection(num, classes=train.classes, most=most), why


def most_detections(train: Dataset) -> int:
    """How many objects of a picture are answered at most: `ROOM` times those of the fullest, so that none is lost for want of room."""
    return max(MOST_FOUND, ROOM * _fullest(train))


def _fullest(train: Dataset) -> int:
    return int((np.asarray(train.targets)[:, :, CLASS] != NO_OBJECT).sum(1).max(initial=0))


def net_of_boxes(train: Dataset, objective: Objective) -> tuple[nn.Module, str]:
    """The default detector for pictures with boxes; its weights follow from torch's global generator."""
    if not isinstance(objective, Detection):
        raise ContractError(
            f"{type(objective).__name__} asks for one answer a picture, but {train.name} has boxes, the objects of every picture: take "
            f"AnchorFreeDetection({len(train.classes or ())}), or give one target a picture"
        )
    strides = strides_for(train)
    net = nets.anchor_free(WIDTH, strides=strides, inputs=train.shape, outputs=objective.num_outputs)
    told = (
        f"pictures with boxes: a detector without anchors {WIDTH} channels wide, which looks for objects every "
        f"{' and '.join(map(str, strides))} pixels"
    )
    mirrors = sorted(set(MIRRORS) & set(train.symmetries))
    if not mirrors:
        return net, told
    return nets.symmetrized(
        net, mirrors
    ), f"{told}; its candidates at the end are the mean over {2 ** len(mirrors)} declared mirror images"


def suited(make: Callable[..., nn.Module], train: Dataset) -> tuple[Callable[..., nn.Module], str | None]:
    """A function that makes a detector, with the strides, anchors or grid that suit the objects, and a sentence that says so; others as they are.

    A `functools.partial` of a detector that names some of these keeps them; one with other arguments than by name is taken as it is.
    """
    kind, given = make, {}
    if isinstance(make, functools.partial) and not make.args:
        kind, given = make.func, dict(make.keywords)
    if kind in (nets.anchor_free, nets.faster_rcnn, nets.yolo_v3):
        chosen, told = _strides_and_anchors(kind, train, given)
    elif kind is nets.yolo and "grid" not in given:
        chosen, told = _cells(train)
    else:
        return make, None
    if isinstance(backbone := given.get("backbone"), nn.Module):
        known = description_of(backbone) or {"name": type(backbone).__name__}
        told = f"{told}; it sees with a copy of a fitted {str(known['name']).rpartition('.')[2]}"
    return functools.partial(kind, **{**chosen, **given}), told


def _strides_and_anchors(
    kind: Callable[..., nn.Module], train: Dataset, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Strides by the sizes of the objects, as the backbone has them, and as many anchors for each."""
    strides = given.get("strides") or strides_for(train)
    if isinstance(given.get("backbone"), nn.Module) and "strides" not in given:
        strides = _nearest(strides, strides_of(given["backbone"], train.shape)) or strides  # type: ignore[arg-type]
    chosen: dict[str, Any] = {"strides": strides}
    why = f"strides of {', '.join(map(str, strides))} pixels for objects of these sizes"
    if (
        kind is nets.faster_rcnn
        and "proposals" not in given
        and (wanted := ROOM * _fullest(train)) > PROPOSALS
    ):
        chosen["proposals"] = wanted
        why = f"{why}, {wanted:,} proposals, as one picture has {_fullest(train):,} objects"
    if kind is nets.anchor_free or "anchors" in given:
        return chosen, why
    try:
        found = anchors_of(np.asarray(train.targets), ANCHORS * len(strides))
    except ValueError:  # too few objects of different sizes: the usual ones of the network
        return chosen, why
    return {**chosen, "anchors": found.sizes}, f"{why}; {found}"


def _nearest(wanted: Sequence[int], there: Sequence[int]) -> tuple[int, ...]:
    """Of each stride that is wanted the nearest that there is.

    >>> _nearest((4, 8), (8, 16)), _nearest((4, 8), (2, 4, 8)), _nearest((8,), ())
    ((8,), (4, 8), ())
    """
    if not there:
        return ()
    return tuple(sorted({min(there, key=lambda one: abs(math.log2(one / stride))) for stride in wanted}))


def _cells(train: Dataset) -> tuple[dict[str, Any], str]:
    """The first grid that loses hardly any object to a cell that it shares."""
    objects, size = np.asarray(train.targets), (int(train.shape[1]), int(train.shape[2]))
    total = max(int(object_counts(objects, len(train.classes or ())).sum()), 1)
    grid, lost = GRIDS[0], 0
    for grid in [grid for grid in GRIDS if 2 * grid <= min(size)] or GRIDS[:1]:
        lost = lost_to_shared_cells(torch.from_numpy(objects), size, grid)
        if lost <= MOST_LOST * total:
            break
    return {"grid": grid}, (
        f"{grid} × {grid} cells: {lost:,} of {total:,} objects can not be asked for, as the centre of a larger one lies in the same cell"
    )


def question_of(net: nn.Module, objective: Objective, *, chosen: bool) -> Objective:
    """The question that belongs to a detector of ours, where the question was `chosen` and not given.

    Raises `ContractError` where it was given and belongs to another one.
    """
    made = getattr(net, "made_by", None)
    name = "" if made is None else made.name
    wanted = QUESTIONS.get(name.removeprefix("hubel.nets."))
    if wanted is None or not isinstance(objective, Detection) or type(objective) is wanted:
        return objective
    if not chosen:
        raise ContractError(
            f"{type(objective).__name__} was asked of {name}, whose candidates mean something else: expected {wanted.__name__}({objective.num_outputs})"
        )
    return wanted(objective.num_outputs, classes=objective.classes, most=objective.most)


def strides_for(train: Dataset) -> tuple[int, ...]:
    """The strides of a detector for objects of these sizes: the finest has `PLACES_ACROSS` places over a small object, the coarsest over a
    large one, powers of two within the picture.
    """
    rows = np.asarray(train.targets).reshape(-1, 6)
    rows = rows[rows[:, CLASS] != NO_OBJECT]
    if not len(rows):
        return (8, 16)
    sides = np.sqrt((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]))
    most = min(COARSEST, 2 ** int(math.log2(max(min(train.shape[1:]), 8))) // 4)

    def stride(share: float) -> int:
        wanted = float(np.quantile(sides, share)) / PLACES_ACROSS
        return int(np.clip(2 ** round(math.log2(max(wanted, 1.0))), min(FINEST, most), most))

    fine, coarse = stride(SMALL), stride(LARGE)
    return tuple(
        2**k for k in range(int(math.log2(fine)), int(math.log2(max(coarse, min(2 * fine, most)))) + 1)
    )


def passes_over(train: Dataset, steps_per_epoch: int) -> int | None:
    """How many passes over pictures with boxes a detector can use that learns from scratch, some thousands of steps; None for everything else."""
    if not train.has_boxes:
        return None
    return min(MOST_PASSES, max(FEWEST_PASSES, STEPS // steps_per_epoch))


def refuse_boxes(parts: dict[str, Dataset]) -> None:
    """Raise `ContractError` where no training picture shows an object, and for classes that only other parts show."""
    train = parts["train"]
    assert train.classes is not None
    known = object_counts(train.targets, len(train.classes))
    if not known.any():
        raise ContractError(
            f"no training picture of {train.name} shows an object that counts: there is nothing to learn. Add pictures, or take another split "
            "(seed, groups, split=)"
        )
    for part, data in parts.items():
        found = object_counts(data.targets, len(train.classes))
        if unknown := [train.classes[k] for k in np.flatnonzero((known == 0) & (found > 0))]:
            shown = ", ".join(unknown[:10]) + (" …" if len(unknown) > 10 else "")
            raise ContractError(
                f"classes that no training picture shows, but pictures of the {part} part do: {shown}; a network can not learn them. Add pictures of "
                "them, take another split (seed, groups, split=), or have these objects ignored"
            )


def boxes_shown(
    part: Dataset, prediction: Prediction, threshold: float
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of `predictions.npz` for boxes: truth and detections of every picture, the pictures that are shown, evenly chosen, and crops
    around the surest false alarms and the largest objects that were missed; and what kinds of errors there are.
    """
    targets, values = np.asarray(part.targets), prediction.values
    shown = np.linspace(0, len(part) - 1, min(NUM_SHOWN, len(part))).astype(np.int64)
    arrays = {
        "targets": targets,
        "values": values,
        "shown_rows": shown,
        "shown_pictures": np.asarray(part.inputs[shown]),
    }
    if part.groups is not None:
        arrays["groups"] = np.unique(np.asarray(part.groups).astype(np.str_), return_inverse=True)[1]
    wanted, found = truths_of(targets), predictions_of(values)
    sure = [{name: one[name][one["scores"] >= threshold] for name in one} for one in found]
    whole, counted = (error_breakdown(rows, wanted, rule=all_point) for rows in (found, sure))
    names = ids_of(part)
    alarms = [
        (
            sure[picture]["scores"][row],
            picture,
            np.array(
                [*sure[picture]["boxes"][row], sure[picture]["labels"][row], sure[picture]["scores"][row]]
            ),
            kind,
        )
        for kind, picture, row in zip(
            counted.kinds, counted.images.tolist(), counted.rows.tolist(), strict=True
        )
    ]
    alarms.sort(key=lambda one: -one[0])
    missed = [
        (_area(row), picture, row, "missed")
        for picture, row in ((int(n), objects_of(targets[int(n)])[int(m)]) for n, m in counted.missed)
    ]
    missed.sort(key=lambda one: -one[0])
    for what, rows in (("alarm", alarms[:NUM_CROPS]), ("missed", missed[:NUM_CROPS])):
        if rows:
            arrays |= {
                f"{what}_pictures": np.stack(
                    [crop(np.asarray(part.inputs[n]), row[:4]) for _, n, row, _ in rows]
                ),
                f"{what}_boxes": np.stack([row for _, _, row, _ in rows]).astype(np.float32),
                f"{what}_ids": np.array([names[n] for _, n, _, _ in rows]),
                f"{what}_kinds": np.array([kind for *_, kind in rows]),
            }
    costs = {
        kind: gain if math.isfinite(gain) else None for kind, gain in whole.gains.items()
    }  # none where all objects were missed
    errors = {kind: {"count": counted.counts[kind], "cost": costs[kind]} for kind in counted.counts}
    return arrays, errors


def _area(row: np.ndarray) -> float:
    return float((row[2] - row[0]) * (row[3] - row[1]))


def crop(picture: np.ndarray, box: np.ndarray, *, side: int = CROP) -> np.ndarray:
    """The square [C, side, side] around a box of a picture [C, H, W], twice as wide as the box is long, by the nearest pixels; beyond the edges
    the outermost ones are repeated.

    >>> crop(np.arange(16.0).reshape(1, 4, 4), np.array([1, 1, 3, 3]), side=4)[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    middle = (box[:2] + box[2:]) / 2
    length = 2 * float(max(box[2] - box[0], box[3] - box[1], 1.0))
    places = (np.arange(side) + 0.5) / side * length - length / 2
    columns = np.clip(np.floor(middle[0] + places), 0, picture.shape[2] - 1).astype(np.int64)
    rows = np.clip(np.floor(middle[1] + places), 0, picture.shape[1] - 1).astype(np.int64)
    return picture[:, rows[:, None], columns[None, :]]
