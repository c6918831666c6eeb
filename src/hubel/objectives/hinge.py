"""Classes with a margin, as a support vector machine asks for them.

    one node    loss = max(0, 1 - s z),                 s = -1 (no) or +1 (yes)
    K nodes     loss = max(0, 1 + max over j != y of z_j - z_y)

Crammer and Singer, J. Mach. Learn. Res. 2, 265 (2001). An example that is right by more than the margin costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.cross_entropy import best_temperature
from hubel.objectives.objective import OneRowEach, forward, mean_over_batch


@dataclass(frozen=True)
class Hinge(OneRowEach):
    """Hinge loss of two classes with one node, or of K classes with K; integer targets [N], raw scores.

    `classes` are the names of the classes. Margins are no probabilities: the reading makes them some by a softmax of the scores
    divided by `temperature` (with one node, of 0 and z), which `calibrated` finds on held-out data.

    Raises `ContractError` where `num_outputs` is below 1, for another number of names, or a temperature that is not positive.

    >>> import torch
    >>> batch = Batch(inputs=torch.tensor([[2.0], [0.5]]), targets=torch.tensor([1, 0]))
    >>> Hinge(1)(nn.Identity(), batch).total.item()  # (0 + 1.5) / 2
    0.75
    """

    num_outputs: int = 1
    classes: tuple[str, ...] | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise ContractError(f"num_outputs is {self.num_outputs}; expected at least 1")
        if self.classes is not None and len(self.classes) != self.num_classes:
            raise ContractError(
                f"{len(self.classes)} class names for {self.num_outputs} outputs; expected {self.num_classes}"
            )
        if not 0 < self.temperature < math.inf:
            raise ContractError(f"temperature is {self.temperature}; expected a positive number")

    @property
    def num_classes(self) -> int:
        """Two for one node, else as many as nodes."""
        return max(2, self.num_outputs)

    @property
    def headline(self) -> str:
        return "accuracy"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        return Loss(total=mean_over_batch(self._losses(forward(net, batch), batch.targets), batch.weights))

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.reshape(-1).long()
        if self.num_outputs == 1:
            return F.relu(1 - (2.0 * wanted - 1).to(outputs) * outputs[:, 0])
        right = outputs.gather(1, wanted.unsqueeze(1)).squeeze(1)
        others = outputs.masked_fill(F.one_hot(wanted, self.num_outputs).bool(), -math.inf)
        return F.relu(1 + others.amax(1) - right)

    def _both(self, outputs: Tensor) -> Tensor:
        """Scores of all classes [N, num_classes]."""
        return F.pad(outputs, (1, 0)) if self.num_outputs == 1 else outputs

    def read(self, outputs: Tensor) -> Prediction:
        scores = self._both(outputs.detach().float())
        probabilities = (scores / self.temperature).softmax(dim=1).cpu().numpy()
        return Prediction(values=probabilities.argmax(1), probabilities=probabilities, classes=self.classes)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        said = self._both(outputs.double()).argmax(1)
        accuracy = (said == targets.reshape(-1).to(said)).double().mean()
        return {
            "accuracy": float(accuracy),
            "loss": float(self._losses(outputs.double(), targets.to(outputs.device)).mean()),
        }

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        assert prediction.probabilities is not None
        return metrics.classification(targets.reshape(-1).astype(np.int64), prediction.probabilities, groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Hinge:
        """The same objective with the temperature that makes held-out `targets` likeliest."""
        if len(outputs) == 0:
            return self
        return replace(self, temperature=best_temperature(self._both(outputs), targets.reshape(-1).long()))

    def check_targets(self, targets: Tensor) -> None:
        shape = tuple(targets.shape)
        if not (targets.ndim == 1 or (targets.ndim == 2 and shape[1] == 1)) or targets.is_floating_point():
            raise ContractError(
                f"hinge loss received {str(targets.dtype).removeprefix('torch.')} targets of shape {shape}; expected class numbers [N] "
                "as integers (for labels -1 and 1 pass (y + 1) // 2). For class probabilities write CrossEntropy"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self.num_classes:
            raise ContractError(
                f"class numbers run from {low} to {high}, but there are {self.num_classes} classes (0 to {self.num_classes - 1}): "
                f"renumber the classes from 0, or write Hinge({max(high, 1) + 1})"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        return 1.0
