"""Yes or no, once (one node) or K times an example (several labels at once).

loss = sum_k -[ y_k log s(z_k) + (1 - y_k) log(1 - s(z_k)) ] / K,   s(z) = 1 / (1 + exp(-z))       (nats a label)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.cross_entropy import check_weights
from hubel.objectives.objective import OneRowEach, forward, mean_over_batch


@dataclass(frozen=True)
class BinaryCrossEntropy(OneRowEach):
    """Binary cross-entropy with targets 0 or 1: [N] (or [N, 1]) for one node, [N, K] for K labels; raw scores, no sigmoid.

    With one node, `classes` are the names of no and yes; with K nodes, of the K labels. `positive_weights` [K] multiply the
    yes-term of every label.

    Raises `ContractError` where `num_outputs` is below 1, or the number of names or weights does not fit it.

    >>> objective = BinaryCrossEntropy(1)
    >>> batch = Batch(inputs=torch.zeros(2, 1), targets=torch.tensor([0, 1]))
    >>> round(objective(nn.Identity(), batch).total.item(), 4)  # ln 2
    0.6931
    """

    num_outputs: int = 1
    classes: tuple[str, ...] | None = None
    positive_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise ContractError(f"num_outputs is {self.num_outputs}; expected at least 1")
        expected = 2 if self.num_outputs == 1 else self.num_outputs
        if self.classes is not None and len(self.classes) != expected:
            raise ContractError(
                f"{len(self.classes)} class names for {self.num_outputs} outputs; expected {expected}"
            )
        if self.positive_weights is not None and len(self.positive_weights) != self.num_outputs:
            raise ContractError(
                f"{len(self.positive_weights)} positive weights for {self.num_outputs} outputs: give one per output"
            )
        check_weights("positive_weights", self.positive_weights)

    @property
    def headline(self) -> str:
        """`accuracy` with one node, `f1_macro` with several labels."""
        return "accuracy" if self.num_outputs == 1 else "f1_macro"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        outputs = forward(net, batch)
        weight = None if self.positive_weights is None else outputs.new_tensor(self.positive_weights)
        targets = batch.targets.to(outputs).view(outputs.shape)
        losses = F.binary_cross_entropy_with_logits(
            outputs, targets, pos_weight=weight, reduction="none"
        ).mean(1)
        return Loss(total=mean_over_batch(losses, batch.weights))

    def read(self, outputs: Tensor) -> Prediction:
        yes = outputs.detach().float().sigmoid().cpu().numpy()
        if self.num_outputs == 1:
            both = np.concatenate([1 - yes, yes], axis=1)
            return Prediction(
                values=(yes[:, 0] > 0.5).astype(np.int64), probabilities=both, classes=self.classes
            )
        return Prediction(values=(yes > 0.5).astype(np.uint8), probabilities=yes, classes=self.classes)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        outputs = outputs.double()
        wanted = targets.to(outputs).view(outputs.shape)
        loss = float(F.binary_cross_entropy_with_logits(outputs, wanted))
        said = outputs > 0
        if self.num_outputs == 1:
            return {"accuracy": float((said == wanted.bool()).double().mean()), "loss": loss}
        hit = (said & wanted.bool()).double().sum(0)
        total = said.double().sum(0) + wanted.sum(0)
        there = total > 0  # a label that is neither true nor predicted anywhere has no F1
        f1 = 2 * hit[there] / total[there]
        return {"f1_macro": float(f1.mean()) if bool(there.any()) else 0.0, "loss": loss}

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        assert prediction.probabilities is not None
        if self.num_outputs == 1:
            return metrics.classification(
                targets.reshape(-1).astype(np.int64), prediction.probabilities, groups
            )
        return metrics.multilabel(targets, prediction.probabilities, groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> BinaryCrossEntropy:
        """As it is: nothing in its training makes it less sure than it should be."""
        return self

    def check_targets(self, targets: Tensor) -> None:
        shape = tuple(targets.shape)
        fits = (targets.ndim == 2 and shape[1] == self.num_outputs) or (
            targets.ndim == 1 and self.num_outputs == 1
        )
        if not fits:
            expected = "[N] or [N, 1]" if self.num_outputs == 1 else f"[N, {self.num_outputs}]"
            raise ContractError(
                f"binary cross-entropy with {self.num_outputs} outputs received targets of shape {shape}; expected {expected} of 0 and 1. "
                "For one class out of several write CrossEntropy(K)"
            )
        values = targets.double()
        if not bool(torch.isfinite(values).all()):
            raise ContractError("binary targets hold NaN or infinite values: remove these examples")
        if bool(((values < 0) | (values > 1)).any()):
            raise ContractError(
                f"binary targets run from {float(values.min()):g} to {float(values.max()):g}; expected 0 (no) and 1 (yes). "
                "For labels -1 and 1 pass (y + 1) / 2; for class numbers write CrossEntropy(K)"
            )
        between = values[(values > 0) & (values < 1)]
        if len(between):
            raise ContractError(
                f"binary targets hold {float(between[0]):g}; expected 0 (no) and 1 (yes). For a probability p of yes write CrossEntropy(2) "
                "with rows [1 - p, p]; for real values write SquaredError"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        if self.positive_weights is None:
            return math.log(2)
        yes = targets.double().reshape(len(targets), self.num_outputs)
        weights = 1 + (yes.new_tensor(self.positive_weights) - 1) * yes
        return math.log(2) * float(weights.mean())
