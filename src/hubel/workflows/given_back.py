"""What is kept of a fit to examples that are their own target: originals and reconstructions, codes, samples, the strangest examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core import random
from hubel.core.types import Prediction
from hubel.data import Dataset
from hubel.data.preprocessing import Preprocessing, Scaling
from hubel.fitting.precision import Precision
from hubel.fitting.run import outputs_of
from hubel.nets.latent import Encoder, Generator
from hubel.objectives import Objective, OwnTarget
from hubel.objectives.reconstruction import GivesBack

NUM_SHOWN = 16
NUM_SAMPLES = 64
NUM_WORST = 24
MOST_CODES = 10_000
COMPARED = 2**26  # values of the training examples that principal components are taken from, at most
ENOUGH = 4_000  # such examples
DRAWN = ("worst_examples", "worst_given_back", "shown_examples", "shown_given_back", "samples")
"""Arrays of examples, of which a page draws what it can."""


class Encoding(nn.Module):
    """A network that answers with the codes of another."""

    def __init__(self, net: Encoder):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Codes [N, Z]."""
        return self.net.encode(x)


def codes_of(
    net: Encoder, scaling: Preprocessing, precision: Precision, stored: Any, device: torch.device
) -> np.ndarray:
    """Codes [N, Z] of stored examples [N, ...]."""
    return outputs_of(Encoding(net), scaling, precision, stored, device).numpy()


def samples_of(net: Generator, scaling: Preprocessing, num: int, seed: int) -> np.ndarray:
    """`num` new examples in stored units and of the stored type: whole numbers are rounded, and kept within their limits."""
    assert isinstance(scaling, Scaling), "rows of tables are not their own targets"
    values = scaling.invert(net.sample(num, seed).double().cpu()).numpy()
    dtype = np.dtype(scaling.dtype)
    if dtype.kind in "iu" and scaling.background == "kept":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype if dtype.kind == "f" else np.float32)


def ids_of(part: Dataset) -> np.ndarray:
    """What the examples are called [N]: the numbers of their rows in a table, from 1, and their places, from 0, where they have no name."""
    ids = np.arange(len(part)) if part.ids is None else np.asarray(part.ids)
    return ids.astype(np.int32) if ids.dtype.kind in "iu" and ids.max(initial=0) < 2**31 else ids


def shown_of(
    net: nn.Module,
    objective: OwnTarget,
    scaling: Preprocessing,
    part: Dataset,
    prediction: Prediction,
    *,
    precision: Precision,
    seed: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """The arrays of `predictions.npz`."""
    surprise = objective.surprise(prediction, np.asarray(part.targets))
    worst = np.argsort(-surprise, kind="stable")[:NUM_WORST]
    first = np.linspace(0, len(part) - 1, min(NUM_SHOWN, len(part))).astype(np.int64)
    content: dict[str, np.ndarray] = {
        "ids": ids_of(part),
        "surprise": surprise.astype(np.float32),
        "worst_rows": worst.astype(np.int64),
        "worst_examples": np.asarray(part.inputs[worst]),
        "shown_rows": first,
        "shown_examples": np.asarray(part.inputs[first]),
    }
    if part.labels is not None:
        content["labels"] = np.asarray(part.labels).astype(str)
    if isinstance(objective, GivesBack):
        content["worst_given_back"] = prediction.values[worst].astype(np.float32)
        content["shown_given_back"] = prediction.values[first].astype(np.float32)
    if isinstance(net, Encoder):
        rows = np.linspace(0, len(part) - 1, min(MOST_CODES, len(part))).astype(np.int64)
        content["code_rows"] = rows
        content["codes"] = codes_of(net, scaling, precision, part.inputs[rows], device).astype(np.float32)
    if isinstance(net, Generator):
        content["samples"] = samples_of(net, scaling, NUM_SAMPLES, seed)
    return content


def baselines(
    net: nn.Module, objective: Objective, train: Dataset, part: Dataset
) -> dict[str, dict[str, float]]:
    """What answering the mean example, and as many principal components as the code has values, would score on `part`.

    An autoencoder without nonlinear layers finds the principal components (Baldi and Hornik 1989): above them it has learned more.
    """
    if not isinstance(objective, GivesBack) or len(train) < 2:
        return {}
    scaling = objective.known_scaling
    most = max(2, min(ENOUGH, COMPARED // objective.num_outputs))
    known, asked = (_some(data, scaling, most) for data in (train, part))
    mean = known.mean(dim=0)
    found = {"mean of the training examples": _scores(scaling, asked, mean.expand_as(asked))}
    latent = net.latent if isinstance(net, Encoder) else 0
    if 0 < latent < min(known.shape):
        axes = _directions(known - mean, latent)
        given_back = (asked - mean) @ axes.T @ axes + mean
        found[f"{latent} principal component{'' if latent == 1 else 's'}"] = _scores(
            scaling, asked, given_back
        )
    return found


def _some(data: Dataset, scaling: Preprocessing, most: int) -> Tensor:
    """Scaled examples, flattened, evenly spaced over the data."""
    rows = np.linspace(0, len(data) - 1, min(most, len(data))).astype(np.int64)
    return scaling(torch.from_numpy(np.array(data.inputs[rows]))).float().flatten(1)


def _scores(scaling: Preprocessing, wanted: Tensor, given_back: Tensor) -> dict[str, float]:
    assert isinstance(scaling, Scaling), "rows of tables are not their own targets"
    stored = [scaling.invert(values.unflatten(1, scaling.shape)).numpy() for values in (wanted, given_back)]
    scores = metrics.reconstruction(*stored, spread=np.asarray(scaling.std))
    return {name: scores[name].value for name in scores if not math.isnan(scores[name].value)}


def _directions(centred: Tensor, num: int) -> Tensor:
    """The first `num` principal directions [num, F], by a randomized method (N. Halko, P. Martinsson, J. Tropp, SIAM Rev. 53, 217
    (2011), doi:10.1137/090771806).
    """
    with random.torch_seeded(0, "components"):
        directions = torch.svd_lowrank(centred, q=min(num + 10, *centred.shape), niter=6)[2]
    return directions[:, :num].T
