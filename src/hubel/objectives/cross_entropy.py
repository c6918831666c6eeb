"""One of K classes: the mean negative logarithm of the probability that the network gives to the right class.

    loss = -log softmax(z)[y],   z raw scores [N, K], y class numbers [N]          (nats an example)

Targets may also be class probabilities p [N, K]: loss = -sum_k p_k log softmax(z)_k. Label smoothing replaces p by
(1 - a) p + a / K (Szegedy et al. 2016, doi:10.1109/CVPR.2016.308, section 7), in training mode only. Focusing multiplies the loss of
an example by (1 - q)^g, q the probability that the network gives to the right class: what is right already counts less (the focal
loss of Lin et al. 2017, arXiv:1708.02002, equation 4), in training mode only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.objective import OneRowEach, forward, mean_over_batch

PRIOR = 0.5  # of log temperature, before the validation part is seen


@dataclass(frozen=True)
class CrossEntropy(OneRowEach):
    """Cross-entropy of K classes with integer targets [N] (or class probabilities [N, K]); K raw scores, no softmax in the network.

    `classes` [K] are their names. `label_smoothing` is a in [0, 1): in training mode the target probabilities p become
    (1 - a) p + a / K. `focus` is g, 0 for none. `class_weights` [K] count every example by its class. The reading is the softmax of the scores divided by
    `temperature`, and its largest entry; `calibrated` finds the temperature on held-out data after a fit.

    Raises `ContractError` for fewer than 2 outputs, for another number of names or weights than K, and where `label_smoothing`
    or `temperature` is out of its range.

    >>> objective = CrossEntropy(3)
    >>> batch = Batch(inputs=torch.zeros(2, 3), targets=torch.tensor([0, 2]))
    >>> round(objective(nn.Identity(), batch).total.item(), 4)  # ln 3
    1.0986
    """

    num_outputs: int
    classes: tuple[str, ...] | None = None
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    temperature: float = 1.0
    focus: float = 0.0

    def __post_init__(self) -> None:
        if self.num_outputs < 2:
            raise ContractError(
                f"cross-entropy of {self.num_outputs} class: a softmax over one node is always 1, so nothing can be learned. "
                "Expected at least 2 outputs; for a yes/no target with one node write BinaryCrossEntropy(1)"
            )
        if self.classes is not None and len(self.classes) != self.num_outputs:
            raise ContractError(
                f"{len(self.classes)} class names for {self.num_outputs} outputs: give one name per output"
            )
        if not 0 < self.temperature < math.inf:
            raise ContractError(f"temperature is {self.temperature}; expected a positive number")
        if not 0 <= self.label_smoothing < 1:
            raise ContractError(f"label_smoothing is {self.label_smoothing}; expected a number in [0, 1)")
        if not 0 <= self.focus < math.inf:
            raise ContractError(f"focus is {self.focus}; expected 0 or a positive number (2 is usual)")
        if self.class_weights is not None and len(self.class_weights) != self.num_outputs:
            raise ContractError(
                f"{len(self.class_weights)} class weights for {self.num_outputs} outputs: give one per output"
            )
        check_weights("class_weights", self.class_weights)

    @property
    def headline(self) -> str:
        return "accuracy"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        logp = forward(net, batch).log_softmax(dim=1)
        weights = batch.weights
        if batch.targets.is_floating_point():
            losses = -(batch.targets.to(logp) * logp).sum(1)
            if self.class_weights is not None:
                weights = _times(weights, batch.targets.to(logp) @ logp.new_tensor(self.class_weights))
        else:
            losses = nn.functional.nll_loss(logp, batch.targets.long(), reduction="none")
            if self.class_weights is not None:
                weights = _times(weights, logp.new_tensor(self.class_weights)[batch.targets.long()])
        plain = mean_over_batch(losses, weights)
        if not net.training or not (self.label_smoothing or self.focus):
            return Loss(total=plain)
        wanted = losses
        if self.label_smoothing:
            wanted = (1 - self.label_smoothing) * losses - self.label_smoothing * logp.mean(dim=1)
        if self.focus:
            wanted = wanted * (-torch.expm1(-losses)).clamp_min(1e-12).pow(
                self.focus
            )  # 1 - q, without cancellation
        return Loss(total=mean_over_batch(wanted, weights), parts={"plain": plain.detach()})

    def read(self, outputs: Tensor) -> Prediction:
        probabilities = (outputs.detach().float() / self.temperature).softmax(dim=1).cpu().numpy()
        return Prediction(values=probabilities.argmax(1), probabilities=probabilities, classes=self.classes)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        outputs = outputs.float()
        hard = targets.argmax(1) if targets.is_floating_point() else targets.long()
        accuracy = (outputs.argmax(1) == hard).double().mean()
        loss = nn.functional.cross_entropy(
            outputs.double(), targets.double() if targets.is_floating_point() else hard
        )
        return {"accuracy": float(accuracy), "loss": float(loss)}

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        assert prediction.probabilities is not None
        hard = targets.argmax(1) if targets.ndim == 2 else targets
        return metrics.classification(hard, prediction.probabilities, groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> CrossEntropy:
        """The same objective with the temperature that makes held-out `targets` likeliest (Guo et al. 2017, arXiv:1706.04599).

        One number for all classes: no answer changes, only how sure it is said to be.
        """
        if len(outputs) == 0:
            return self
        return replace(self, temperature=best_temperature(outputs, targets))

    def check_targets(self, targets: Tensor) -> None:
        if targets.is_floating_point():
            self._check_probabilities(targets)
            return
        if targets.ndim != 1:
            raise ContractError(
                f"cross-entropy received integer targets of shape {tuple(targets.shape)}; expected class numbers [N]. "
                "For one-hot rows pass them as floating probabilities, or take their argmax; "
                "for several yes/no labels an example write BinaryCrossEntropy(K)"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self.num_outputs:
            raise ContractError(
                f"class numbers run from {low} to {high}, but there are {self.num_outputs} outputs (0 to {self.num_outputs - 1}): "
                f"renumber the classes from 0, or write CrossEntropy({high + 1})"
            )

    def _check_probabilities(self, targets: Tensor) -> None:
        if targets.ndim != 2 or targets.shape[1] != self.num_outputs:
            raise ContractError(
                f"cross-entropy received floating targets of shape {tuple(targets.shape)}; expected class probabilities "
                f"[N, {self.num_outputs}], or integer class numbers [N]. For real values write SquaredError"
            )
        if bool((targets < 0).any()) or not torch.allclose(
            targets.sum(1), torch.ones(len(targets)).to(targets), atol=1e-3
        ):
            raise ContractError(
                "floating targets of cross-entropy must be probabilities: not negative, every row with sum 1. "
                "For independent yes/no labels write BinaryCrossEntropy; for real values SquaredError"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        return math.log(self.num_outputs)


def best_temperature(outputs: Tensor, targets: Tensor) -> float:
    """The likeliest t in [1/20, 20] of `outputs / t` [N, K], by golden section in log t, before the data near 1: log t is held to be
    normal with a standard deviation of `PRIOR`. Ten examples that are all right would else make the network sure of everything.

    >>> scores = torch.tensor([[2.0, 0.0]] * 400)
    >>> t = best_temperature(scores, torch.tensor([0, 0, 0, 1] * 100))  # right three times in four: exp(2 / t) = 3
    >>> round(t, 2)
    1.78
    """
    scores = outputs.double()
    wanted = targets.double() if targets.is_floating_point() else targets.long()

    def loss(log_t: float) -> float:
        likelihood = nn.functional.cross_entropy(scores / math.exp(log_t), wanted, reduction="sum")
        return float(likelihood) + 0.5 * (log_t / PRIOR) ** 2

    low, high = -math.log(20), math.log(20)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-5:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + ratio * (high - low)
            loss_right = loss(right)
    return math.exp((low + high) / 2)


def check_weights(name: str, weights: tuple[float, ...] | None) -> None:
    """Raise `ContractError` where weights are negative or not finite, or none counts.

    >>> check_weights("class_weights", (1.0, 0.0))
    """
    if weights is None or (all(0 <= w < math.inf for w in weights) and any(weights)):
        return
    raise ContractError(f"{name} is {weights}; expected finite numbers of at least 0, one of them above 0")


def _times(weights: Tensor | None, more: Tensor) -> Tensor:
    return more if weights is None else weights * more
