"""What all questions about making new examples share: how far samples are from the data, and the units of a density."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core import random
from hubel.core.types import Interval
from hubel.data.preprocessing import Scaling
from hubel.metrics import frechet_distance

COMPONENTS = 16  # principal components of the real examples, on which the distance is taken
MOST = 5_000  # examples
SEED = 0


@runtime_checkable
class Sampling(Protocol):
    """A network that makes new examples."""

    def sample(self, n: int, seed: int = 0) -> Tensor: ...


def scores_of_samples(net: nn.Module, inputs: Tensor) -> dict[str, Interval]:
    """How far samples of `net` are from real scaled examples [N, ...]: Fréchet distances on the first principal components of the
    real ones, relative to their variance.

    frechet_distance    of as many samples as there are examples: 0 where mean and covariance agree, 1 where they differ by
                        as much as the data vary
    frechet_of_halves   the same between the two halves of the real examples: what chance alone makes of half as many
    """
    if not isinstance(net, Sampling) or len(inputs) < 8:
        return {}
    rows = torch.linspace(0, len(inputs) - 1, min(MOST, len(inputs))).long()  # the data may be sorted
    real = inputs[rows.to(inputs.device)].flatten(1).double().cpu()
    made = net.sample(len(real), SEED).flatten(1).double().cpu()
    mean = real.mean(dim=0)
    num = min(COMPONENTS, real.shape[1], len(real) // 4)
    with random.torch_seeded(SEED, "components"):
        _, _, directions = torch.svd_lowrank(real - mean, q=min(num + 8, *real.shape), niter=4)
    one, two = ((points - mean) @ directions[:, :num] for points in (real, made))
    variance = float(one.square().sum(dim=1).mean()) or 1.0
    one, two = (points.numpy() / math.sqrt(variance) for points in (one, two))
    return {
        "frechet_distance": frechet_distance(one, two),
        "frechet_of_halves": frechet_distance(one[::2], one[1::2]),
    }


def log_scale(scaling: Scaling) -> float:
    """Σ ln σ over all values of an example: what a log density in scaled units loses in stored ones."""
    repeats = math.prod(scaling.shape) // len(scaling.std)
    return repeats * float(np.log(scaling.std).sum())
