"""What a recipe leaves open, chosen from the data and the network alone.

`hubel.fit` measures this machine and fills the time that it is given. An estimator is fitted many times (a fold, a candidate of a
search), and the same call must do the same work, so nothing is timed here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.data import Dataset
from hubel.fitting import Plateau, Precision, Recipe
from hubel.fitting.recipe import default_optimizer
from hubel.workflows.pretrained import useful_epochs

BATCH_SIZE = 128
LEAST_STEPS = 500  # after the 100 steps of 100 epochs over iris the network still learned


def settled(recipe: Recipe, data: Dataset, net: nn.Module, *, learning_rate: float | None) -> Recipe:
    """`recipe` with every blank filled: batches of 128 examples, and as many epochs as `default_epochs` says.

    Number format and threads are those of the network and of torch. `learning_rate` replaces that of the optimizer.

    >>> data = Dataset(inputs=np.zeros((50, 3), np.float32), targets=np.arange(50) % 2, classes=("a", "b"))
    >>> found = settled(Recipe(), data, nn.Linear(3, 2), learning_rate=0.1)
    >>> found.is_resolved, found.epochs, found.batch_size, found.optimizer.learning_rate
    (True, 500, 50, 0.1)
    """
    size = min(recipe.batch_size or BATCH_SIZE, len(data))
    optimizer: Any = recipe.optimizer or default_optimizer(net, size)[0]
    if learning_rate is not None:
        optimizer = replace(optimizer, learning_rate=learning_rate)
    precision = Precision(dtype="float64" if is_double(net) else "float32", threads=torch.get_num_threads())
    found, _ = replace(recipe, batch_size=size, optimizer=optimizer).resolve(
        data,
        net,
        choose_precision=lambda batch_size: (precision, "that of the network"),
        choose_epochs=lambda batch_size, precision: (
            default_epochs(net, len(data), batch_size),
            "by the number of examples",
        ),
    )
    return found


def default_epochs(net: nn.Module, num_train: int, batch_size: int) -> int:
    """200 for up to 1,500 examples, fewer for more (20 at least), and more where that is less than 500 steps; 5 to 20 where published
    weights are fine-tuned.

    >>> [default_epochs(nn.Linear(3, 2), n, 100) for n in (100, 1_000, 5_000, 100_000)]
    [500, 200, 60, 20]
    """
    steps_per_epoch = -(-num_train // batch_size)
    usual = max(int(np.clip(300_000 // num_train, 20, 200)), -(-LEAST_STEPS // steps_per_epoch))
    return useful_epochs(net, num_train) or usual


def is_double(net: nn.Module) -> bool:
    """Whether the network has weights in float64."""
    return any(p.dtype == torch.float64 for p in net.parameters())


def refuse_blind_stopping(recipe: Recipe, num_validation: int) -> None:
    """Early stopping and plateaus look at a validation loss. Raises `ValueError` where there is none."""
    if num_validation == 0 and (recipe.early_stopping or isinstance(recipe.schedule, Plateau)):
        blind = "early stopping" if recipe.early_stopping else "the plateau schedule"
        raise ValueError(
            f"{blind} watches the validation loss, but validation=0 leaves no part for it: write validation=0.1, or fit without it"
        )
