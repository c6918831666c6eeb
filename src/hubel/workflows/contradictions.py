"""What contradicts itself between data, objective and recipe, refused before the first step.

`hubel.objectives.check` looks at network, objective and one batch; here is what one batch does not show: targets of all parts, names
and number of classes, changes that do not fit the inputs, blended targets, penalties without anything to act on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from hubel.core.errors import ContractError, is_out_of_memory
from hubel.core.types import Batch
from hubel.data import Dataset
from hubel.data.augmentation import (
    Affine,
    Augmentation,
    Brightness,
    Colour,
    Contrast,
    Crop,
    CropSteps,
    Draw,
    Erase,
    Flip,
    Mixup,
    RotateCube,
    RotateQuarter,
    ScaleValues,
    Shift,
    changed_with_boxes,
    moved,
)
from hubel.fitting import Recipe
from hubel.fitting.penalties import check_penalties
from hubel.fitting.recipe import default_augmentation
from hubel.objectives import BinaryCrossEntropy, Hinge, Objective, check
from hubel.objectives.around import Around
from hubel.workflows.of_boxes import refuse_boxes
from hubel.workflows.of_masks import refuse_masks
from hubel.workflows.prepare import Prepared

OF_PICTURES = (Affine, Brightness, Colour, Contrast, Crop, Erase, Flip, RotateCube, RotateQuarter, Shift)
"""Changes that mean something where pixels lie beside each other; mirrored features of a table are other features."""


def refuse_contradictions(
    prepared: Prepared, objective: Objective, recipe: Recipe, net: nn.Module, first: Batch
) -> None:
    """Raise `ContractError` (a `ValueError`) for the first contradiction; `first` is a real batch without augmentation."""
    plain = objective.objective if isinstance(objective, Around) else objective
    _check_all_targets(prepared, plain)
    if prepared.whole.has_masks:
        refuse_masks({name: prepared.part(name) for name in prepared.rows}, net)
    if prepared.whole.has_boxes:
        refuse_boxes({name: prepared.part(name) for name in prepared.rows})
    _check_classes(prepared.whole, plain)
    _check_changes(recipe, first, prepared.whole)
    _check_series(prepared, objective, recipe, net, first)
    _check_blends(recipe, prepared.whole, plain)
    _check_penalties(recipe, net)


def _check_all_targets(prepared: Prepared, objective: Objective) -> None:
    """A class number that no batch held yet would end a run in its middle."""
    if prepared.whole.is_its_own_target:
        return
    for name, rows in prepared.rows.items():
        if not len(rows):
            continue
        try:
            objective.check_targets(torch.from_numpy(np.array(prepared.part(name).targets)))
        except ContractError as error:
            raise ContractError(f"{name} part: {error}") from error


def _check_classes(data: Dataset, objective: Objective) -> None:
    """Names in another order would name every answer wrongly."""
    if data.classes is None or not hasattr(objective, "classes"):
        return
    name, asked = type(objective).__name__, objective.classes  # type: ignore[attr-defined]
    num = objective.num_outputs
    expected = 2 if num == 1 and not data.is_multilabel and not data.has_boxes else num
    if len(data.classes) != expected:
        words = ("label", "labels") if data.is_multilabel else ("class", "classes")
        raise ContractError(
            f"{name}({num}) is for {expected} {words[expected != 1]}, but {data.name} has {len(data.classes)}: {', '.join(data.classes[:5])}"
            f"{', …' if len(data.classes) > 5 else ''}. Write {name}({len(data.classes)}), and end the network with as many outputs"
        )
    if asked is not None and not data.is_multilabel and tuple(asked) != tuple(data.classes):
        raise ContractError(
            f"the objective names the classes {', '.join(asked[:5])}, but {data.name} has {', '.join(data.classes[:5])}, in this order: "
            f"answers would get wrong names. Write classes={data.classes[:5]!r}{'…' if len(data.classes) > 5 else ''}, or leave the names out"
        )


def _check_changes(recipe: Recipe, first: Batch, data: Dataset) -> None:
    """A change made for pictures does something else to a table."""
    assert first.ids is not None
    draw = Draw(recipe.seed, 1, 0, first.ids)
    for change in recipe.augmentation or ():
        name, shape = type(change).__name__, tuple(first.inputs.shape)
        if isinstance(change, OF_PICTURES) and data.kind not in ("pictures", "volumes"):
            raise ContractError(
                f"{name} changes pictures [N, C, H, W] and volumes, but {data.name} holds {data.kind} of shape {shape}: leave it out of the "
                "augmentation"
            )
        try:
            changed = _changed(change, first, draw, data)
        except (IndexError, RuntimeError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            raise ContractError(
                f"{name} can not change {data.kind} of shape {shape} ({type(error).__name__}: {error}); expected inputs that it was made "
                "for: leave it out of the augmentation"
            ) from error
        if changed.shape != first.inputs.shape or changed.dtype != first.inputs.dtype:
            raise ContractError(
                f"{name} makes {changed.dtype} of shape {tuple(changed.shape)} of {first.inputs.dtype} of shape {shape}; expected the same "
                "shape and type: leave it out of the augmentation"
            )
        if data.has_masks and not isinstance(change, Mixup):
            _check_moved(change, first, draw)


def _changed(change: Augmentation, first: Batch, draw: Draw, data: Dataset) -> torch.Tensor:
    """What a change makes of the inputs; with boxes, what it makes of them is looked at as well."""
    if not data.has_boxes:
        return change(first.inputs.clone(), draw)
    name = type(change).__name__
    try:
        inputs, boxes = changed_with_boxes(first.inputs.clone(), first.targets, [change], draw)
    except ValueError as error:
        raise ContractError(str(error)) from error
    if boxes.ndim != 3 or boxes.shape[::2] != first.targets.shape[::2] or boxes.dtype != first.targets.dtype:
        raise ContractError(
            f"{name}.of_boxes makes {boxes.dtype} of shape {tuple(boxes.shape)} of boxes {first.targets.dtype} of shape "
            f"{tuple(first.targets.shape)}; expected the same type and rows of six numbers"
        )
    return inputs


def _check_moved(change: Augmentation, first: Batch, draw: Draw) -> None:
    """Masks have to move with their pictures."""
    name = type(change).__name__
    try:
        masks = moved(first.targets, [change], draw)
    except ValueError as error:
        raise ContractError(str(error)) from error
    if masks.shape != first.targets.shape or masks.dtype != first.targets.dtype:
        raise ContractError(
            f"{name}.of_masks makes {masks.dtype} of shape {tuple(masks.shape)} of masks {first.targets.dtype} of shape "
            f"{tuple(first.targets.shape)}; expected the same shape and type"
        )


def _check_series(
    prepared: Prepared, objective: Objective, recipe: Recipe, net: nn.Module, first: Batch
) -> None:
    """Stretches have lengths, which a network has to take; and after a changed window of a forecast come other values."""
    data = prepared.whole
    if data.kind != "series":
        return
    changes = recipe.augmentation
    if changes is None:
        changes = default_augmentation(prepared.part("train"), 1)[0]
    changing = [type(change).__name__ for change in changes if isinstance(change, (CropSteps, ScaleValues))]
    if changing and data.reading.get("kind") == "forecast":
        raise ContractError(
            f"{changing[0]} changes a window, but not the values that follow it, which {data.name} asks for: leave it out of the augmentation "
            "(Jitter may stay)"
        )
    if "CropSteps" not in changing or first.lengths is not None:
        return
    lengths = torch.full((len(first),), first.inputs.shape[1], device=first.inputs.device)
    try:
        check(net, objective, replace(first, lengths=lengths))
    except ContractError as error:
        raise ContractError(
            f"CropSteps makes series of different lengths, which the network has to be told: {error}. Or leave the stretches out (crop)"
        ) from error


def _check_blends(recipe: Recipe, data: Dataset, objective: Objective) -> None:
    """Mixup makes class numbers to probabilities of classes, which not every loss takes."""
    if not any(isinstance(change, Mixup) for change in recipe.augmentation or ()):
        return
    if data.lengths is not None:
        raise ContractError(
            f"Mixup blends two examples step by step, but {data.name} holds series of different lengths, of which the longer one would be cut: "
            "leave Mixup out, or cut the series to one length"
        )
    if data.has_masks or data.has_boxes:
        held = "masks" if data.has_masks else "boxes"
        raise ContractError(
            f"Mixup blends pictures, but the {held} of {data.name} hold one class {'a pixel' if data.has_masks else 'an object'}, which can not be "
            "blended: leave Mixup out"
        )
    classes = data.classes is not None and not data.is_multilabel
    one_node = isinstance(objective, BinaryCrossEntropy) and objective.num_outputs == 1
    if isinstance(objective, Hinge) or (one_node and classes):
        raise ContractError(
            f"Mixup blends class numbers into probabilities of classes, but {type(objective).__name__} expects class numbers: write "
            f"CrossEntropy({len(data.classes or (0, 1))}) with as many outputs, or leave Mixup out"
        )


def _check_penalties(recipe: Recipe, net: nn.Module) -> None:
    try:
        check_penalties(net, recipe.penalties)
    except LookupError as error:
        raise ContractError(
            f"{error.args[0]}: name what the network has, or leave the penalty out"
        ) from error
