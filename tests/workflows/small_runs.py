"""Small runs that are over in a moment, with every choice made, so that nothing is measured."""

import numpy as np
import torch
from torch import nn

from hubel import fitting


class Small(nn.Sequential):
    """A user's own network with batch norm and dropout: [N, 5] to 2 scores."""

    def __init__(self, outputs=2):
        super().__init__(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, outputs)
        )


def quick(**changes):
    """A resolved recipe: two epochs of SGD."""
    return fitting.Recipe(
        **{
            "epochs": 2,
            "batch_size": 16,
            "optimizer": fitting.SGD(learning_rate=0.05),
            "schedule": fitting.Linear(),
            "augmentation": (),
            "max_grad_norm": False,
            "average": 0.9,
            "early_stopping": False,
            "precision": fitting.Precision(),
            "seed": 1,
            **changes,
        }
    )


def table(num=60, seed=0):
    """`num` rows of 5 features in two classes."""
    x = np.random.default_rng(seed).normal(size=(num, 5)).astype("float32")
    return x, (x[:, 0] > 0).astype(int)


def same_weights(one, other):
    """Whether two runs chose the same weights, bit by bit."""
    a, b = (run.checkpoints.read(("chosen",)).trees["chosen"] for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
