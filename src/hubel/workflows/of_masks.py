"""What is chosen for masks: the question, and the network; and what of them a run keeps to be shown."""

from __future__ import annotations

import numpy as np
from torch import nn

from hubel import metrics, nets
from hubel.core.errors import ContractError
from hubel.core.types import Prediction
from hubel.data.dataset import Dataset
from hubel.data.masks import UNLABELLED, pixel_counts
from hubel.objectives import Objective, PixelCrossEntropy
from hubel.workflows.asking import Wishes, balanced

WIDTH = 16
SMALLEST = 8  # rows or columns at the bottom of the network
NUM_SHOWN = 8
NUM_WORST = 16


def pixel_objective(train: Dataset, wishes: Wishes) -> tuple[PixelCrossEntropy, str]:
    """The question that masks ask.

    Raises `ValueError` for wishes that mean nothing for masks.
    """
    assert train.classes is not None
    if wishes.uncertainty or wishes.focus:
        asked = "uncertainty" if wishes.uncertainty else "focus"
        raise ValueError(
            f"{asked} was asked for, but {train.name} has a class for every pixel: for rare classes ask for balance, or take "
            f"PixelCrossEntropy({len(train.classes)}, dice=1.0)"
        )
    num, weights, more = len(train.classes), None, ""
    if wishes.balance:
        weights = balanced(pixel_counts(train.targets, num).astype(np.float64))
        more = f" (classes weighted {min(weights):.3g} to {max(weights):.3g}, so that each counts alike)"
    why = (
        f"the target is one of {num} classes for every pixel, so cross-entropy of the softmax of {num} scores a pixel is minimized{more} and "
        "the mean intersection over union of the classes is reported"
    )
    return PixelCrossEntropy(num, classes=train.classes, class_weights=weights), why


def net_of_masks(train: Dataset, objective: Objective) -> tuple[nn.Module, str]:
    """The default network for pictures with masks; its weights follow from torch's global generator."""
    if not isinstance(objective, PixelCrossEntropy):
        raise ContractError(
            f"{type(objective).__name__} asks for one answer a picture, but {train.name} has masks, the class of every pixel: take "
            f"PixelCrossEntropy({len(train.classes or ())}), or give one target a picture"
        )
    side = min(train.shape[1:])
    levels = max(1, min(4, (side // SMALLEST).bit_length() - 1))
    net = nets.unet(WIDTH, levels=levels, inputs=train.shape, outputs=objective.num_outputs)
    times = "once" if levels == 1 else f"{levels} times"
    return (
        net,
        f"pictures with a class for every pixel: a U-Net that begins {WIDTH} channels wide and halves the sides {times}",
    )


def refuse_masks(parts: dict[str, Dataset], net: nn.Module) -> None:
    """Raise `ContractError` for classes that no training picture shows, fewer than two of them, and views of a picture that are averaged.

    A class without pixels in any part is no contradiction: it is one that these pictures do not show.
    """
    train = parts["train"]
    assert train.classes is not None
    known = pixel_counts(train.targets, len(train.classes))
    if (known > 0).sum() < 2:
        only = [name for name, count in zip(train.classes, known, strict=True) if count]
        raise ContractError(
            f"the training masks of {train.name} show {f'one class only, {only[0]!r}' if only else 'no class'}: expected at least two, or there is "
            "nothing to tell apart. Add pictures, or take another split (seed, groups, split=)"
        )
    for part, data in parts.items():
        found = pixel_counts(data.targets, len(train.classes)) if len(data) else known
        if unknown := [train.classes[k] for k in np.flatnonzero((known == 0) & (found > 0))]:
            shown = ", ".join(unknown[:10]) + (" …" if len(unknown) > 10 else "")
            raise ContractError(
                f"classes that no training mask shows, but masks of the {part} part do: {shown}; a network can not learn them. Add pictures of "
                "them, take another split (seed, groups, split=), or leave their pixels unlabelled"
            )
    if isinstance(net, nets.Symmetrized):
        raise ContractError(
            "the network averages its scores over mirrored and turned views, whose pixels are at other places: pass the network inside it; "
            "declared symmetries change pictures and masks in training"
        )


def masks_shown(part: Dataset, prediction: Prediction) -> dict[str, np.ndarray]:
    """The arrays of `predictions.npz` for masks: truth and answer of every picture, its pixel counts, all confusions, and the pictures that are
    shown: some evenly chosen, and those of the least mean intersection over union.
    """
    assert part.classes is not None
    num = len(part.classes)
    targets, values = np.asarray(part.targets), prediction.values
    right, true, said = metrics.overlaps(targets, values, num, unlabelled=UNLABELLED)
    confusion = sum(metrics.pixel_confusions(targets, values, num, unlabelled=UNLABELLED))
    each = np.array([metrics.mean_overlap(*counts) for counts in zip(right, true, said, strict=True)])
    order = np.argsort(np.nan_to_num(each, nan=2.0), kind="stable")
    worst = order[~np.isnan(each[order])][:NUM_WORST].astype(np.int64)
    shown = np.linspace(0, len(part) - 1, min(NUM_SHOWN, len(part))).astype(np.int64)
    return {
        "targets": targets,
        "values": values,
        "pixels_right": right,
        "pixels_true": true,
        "pixels_said": said,
        "pixel_confusion": np.asarray(confusion),
        "picture_iou": each.astype(np.float32),
        "worst_rows": worst,
        "worst_pictures": np.asarray(part.inputs[worst]),
        "shown_rows": shown,
        "shown_pictures": np.asarray(part.inputs[shown]),
    }
