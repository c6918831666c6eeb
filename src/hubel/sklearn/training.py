"""The training behind the estimators: the loop of `hubel.fitting.steps` in memory, with nothing written.

The same network, objective, resolved recipe and parts give the weights that `hubel.fit` gives, bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data import Dataset
from hubel.data.batches import Batches
from hubel.data.preprocessing import Preprocessing
from hubel.fitting import Backprop, MovingAverage, Progress, Recipe, codec, steps
from hubel.fitting.loop import StepRule
from hubel.fitting.machine import threads
from hubel.fitting.run import outputs_of
from hubel.nets.symmetrized import one_view
from hubel.objectives import Objective
from hubel.workflows.training import swapped


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a training went: the mean loss of every epoch, the validation loss after it (where there is such a part), all steps."""

    losses: list[float]
    validation: list[float]
    steps: int


def train(
    net: nn.Module,
    objective: Objective,
    recipe: Recipe,
    scaling: Preprocessing,
    data: Dataset,
    validation: Dataset | None = None,
) -> Course:
    """Fit `net` in place by a resolved recipe: to the best weights where early stopping watches, else the averaged or last ones.

    Raises `NonFiniteLoss` where the training breaks down.
    """
    assert recipe.is_resolved and recipe.epochs is not None and recipe.schedule is not None
    assert recipe.precision is not None and recipe.optimizer is not None
    schedule, stopping = recipe.schedule, recipe.early_stopping
    batches = batches_of(net, recipe, scaling, data)
    rule = rule_of(net, recipe, optimizer_of(net, recipe))
    average = MovingAverage(net, recipe.average) if recipe.average else None
    total = batches.steps_per_epoch * recipe.epochs
    losses: list[float] = []
    seen: list[float] = []
    best, best_loss, best_epoch = None, math.inf, 0

    def factor(step: int) -> float:
        return schedule.factor(Progress(step=step, total=total, validation=tuple(seen)))

    with threads(recipe.precision.threads), recipe.frozen(net):
        for epoch in range(1, recipe.epochs + 1):
            done = (epoch - 1) * batches.steps_per_epoch
            losses.append(
                one_pass(
                    net,
                    objective,
                    batches,
                    rule,
                    epoch=epoch,
                    first_step=done,
                    factor=factor,
                    average=average,
                )
            )
            if validation is None:
                continue
            seen.append(_loss(net, objective, recipe, scaling, validation, average))
            if stopping and seen[-1] < best_loss:
                best = {name: value.detach().clone() for name, value in _weights(net, average).items()}
                best_loss, best_epoch = seen[-1], epoch
            if stopping and epoch - best_epoch >= stopping.patience:
                break
    codec.assign(net.state_dict(), _weights(net, average) if best is None else best, "network")
    return Course(losses=losses, validation=seen, steps=len(losses) * batches.steps_per_epoch)


def one_pass(
    net: nn.Module,
    objective: Objective,
    batches: Batches,
    rule: StepRule,
    *,
    epoch: int,
    first_step: int,
    factor: Callable[[int], float] | None = None,
    average: MovingAverage | None = None,
) -> float:
    """One epoch; answers its mean loss."""
    losses: list[Tensor] = []
    for record in steps(
        net,
        objective,
        batches.epoch(epoch),
        rule=rule,
        schedule=factor,
        seed=batches.seed,
        epoch=epoch,
        first_step=first_step,
    ):
        if average is not None:
            average.update()
        losses.append(record.scalars.get("plain", record.scalars["loss"]))
    return float(torch.stack(losses).double().mean())


def batches_of(net: nn.Module, recipe: Recipe, scaling: Preprocessing, data: Dataset) -> Batches:
    """The batches of `data` on the device of the network."""
    assert recipe.batch_size is not None and recipe.augmentation is not None and recipe.precision is not None
    return Batches(
        data=data,
        scaling=scaling,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        device=device_of(net),
        layout=recipe.precision.layout,
    )


def rule_of(net: nn.Module, recipe: Recipe, optimizer: torch.optim.Optimizer) -> Backprop:
    """The step rule of a resolved recipe."""
    assert recipe.precision is not None
    return Backprop(
        optimizer,
        max_grad_norm=recipe.max_grad_norm or None,
        autocast=recipe.precision.autocast(device_of(net)),
        still=recipe.freeze.norms(net) if recipe.freeze else (),
    )


def optimizer_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of a resolved recipe, for the layers that it does not freeze."""
    assert recipe.optimizer is not None
    with recipe.frozen(net):
        return recipe.optimizer.build(net)


def device_of(net: nn.Module) -> torch.device:
    """Where the network is."""
    return next(net.parameters()).device


def _weights(net: nn.Module, average: MovingAverage | None) -> dict[str, Tensor]:
    return net.state_dict() if average is None else average.values


def _loss(
    net: nn.Module,
    objective: Objective,
    recipe: Recipe,
    scaling: Preprocessing,
    validation: Dataset,
    average: MovingAverage | None,
) -> float:
    """The validation loss, of the averaged weights where there is an average."""
    assert recipe.precision is not None
    with nullcontext() if average is None else swapped(net, average.values):
        outputs = outputs_of(one_view(net), scaling, recipe.precision, validation.inputs, device_of(net))
    return objective.score(outputs, torch.from_numpy(np.array(validation.targets)))["loss"]
