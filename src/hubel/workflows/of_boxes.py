"""What is chosen for boxes: the question, and the network; and what of them a run keeps to be shown."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from hubel import nets
from hubel.core.errors import ContractError
from hubel.core.types import Prediction
from hubel.data.boxes import CLASS, NO_OBJECT, object_counts
from hubel.data.dataset import Dataset
from hubel.objectives import AnchorFreeDetection, Objective
from hubel.objectives.detection import Detection
from hubel.workflows.asking import Wishes

WIDTH = 32
NUM_SHOWN = 12
SMALL, LARGE = 0.1, 0.9  # quantiles of the sizes of objects, which the strides follow
PLACES_ACROSS = 3  # of the finest map over a small object
FINEST, COARSEST = 4, 32


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
    return AnchorFreeDetection(num, classes=train.classes), why


def net_of_boxes(train: Dataset, objective: Objective) -> tuple[nn.Module, str]:
    """The default detector for pictures with boxes; its weights follow from torch's global generator."""
    if not isinstance(objective, Detection):
        raise ContractError(
            f"{type(objective).__name__} asks for one answer a picture, but {train.name} has boxes, the objects of every picture: take "
            f"AnchorFreeDetection({len(train.classes or ())}), or give one target a picture"
        )
    strides = strides_for(train)
    net = nets.anchor_free(WIDTH, strides=strides, inputs=train.shape, outputs=objective.num_outputs)
    told = " and ".join(map(str, strides))
    return (
        net,
        f"pictures with boxes: a detector without anchors {WIDTH} channels wide, which looks for objects every {told} pixels",
    )


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


def refuse_boxes(parts: dict[str, Dataset], net: nn.Module) -> None:
    """Raise `ContractError` where no training picture shows an object, for classes that only other parts show, and for views of a picture that
    are averaged.
    """
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
    if isinstance(net, nets.Symmetrized):
        raise ContractError(
            "the network averages its answers over mirrored and turned views, whose objects are at other places: pass the network inside it; "
            "declared symmetries change pictures and boxes in training"
        )


def boxes_shown(part: Dataset, prediction: Prediction) -> dict[str, np.ndarray]:
    """The arrays of `predictions.npz` for boxes: truth and detections of every picture, and the pictures that are shown, evenly chosen."""
    shown = np.linspace(0, len(part) - 1, min(NUM_SHOWN, len(part))).astype(np.int64)
    return {
        "targets": np.asarray(part.targets),
        "values": prediction.values,
        "shown_rows": shown,
        "shown_pictures": np.asarray(part.inputs[shown]),
    }
