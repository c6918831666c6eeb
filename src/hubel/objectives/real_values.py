"""What all questions for real values share: units, standardized targets, the reading, the scores.

The network works in units of `scale` about `center` (mean and standard deviation of the training targets); the reading turns its
scores back into the user's units. A kind of loss says only how far a score is from a standardized target.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.objective import OneRowEach, forward, mean_over_batch

MOST_NAMED = 10  # values that have a score of their own each


def mixed_units(units: Sequence[str] | None) -> bool:
    """Whether values are in different units, so that their errors have no mean.

    >>> mixed_units(("m", "kg")), mixed_units(("m", "m")), mixed_units(None)
    (True, False, False)
    """
    return len(set(units or ())) > 1


@dataclass(frozen=True)
class RealValues(OneRowEach, ABC):
    """K real values, targets [N] (for K = 1) or [N, K]; linear last layer.

    `center` and `scale` [K] standardize the targets; `target_names` and `units` [K] label what is shown. Errors in different units have no
    mean: such values are judged by the mean of their R², and each by its own error.
    """

    num_outputs: int = 1
    center: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    target_names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise ContractError(f"num_outputs is {self.num_outputs}; expected at least 1")
        for name in ("center", "scale", "target_names", "units"):
            value = getattr(self, name)
            if value is not None and len(value) != self.num_values:
                raise ContractError(
                    f"{name} has {len(value)} entries for {self._counted()}: give one per value"
                )
        if self.scale is not None and not all(0 < s < math.inf for s in self.scale):
            raise ContractError(f"scale is {self.scale}; expected positive numbers")
        if self.center is not None and not all(map(math.isfinite, self.center)):
            raise ContractError(f"center is {self.center}; expected finite numbers")

    @property
    def num_values(self) -> int:
        """K: how many values are asked for; the last layer may be larger."""
        return self.num_outputs

    @property
    def headline(self) -> str:
        return "r2" if self._mixed else "rmse"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher" if self._mixed else "lower"

    @property
    def _mixed(self) -> bool:
        return mixed_units(self.units)

    @abstractmethod
    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """The loss of every example [N], of scores [N, L] and standardized targets [N, K]."""

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        outputs = forward(net, batch)
        losses = self.losses(outputs, self.standardized(batch.targets.to(outputs)))
        return Loss(total=mean_over_batch(losses, batch.weights))

    def read(self, outputs: Tensor) -> Prediction:
        values = self.in_units(outputs.detach().double().cpu().numpy()[:, : self.num_values])
        return Prediction(values=values, units=self.units)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        outputs = outputs.double()
        wanted = targets.double().view(len(outputs), self.num_values)
        errors = np.square(self.read(outputs).values - wanted.cpu().numpy()).mean(axis=0)
        loss = float(self.losses(outputs, self.standardized(wanted.to(outputs.device))).mean())
        if not self._mixed:
            return {"rmse": float(np.sqrt(errors).mean()), "loss": loss}  # as in hubel.metrics.rmse
        spread = wanted.var(dim=0, correction=0).cpu().numpy()
        usual = np.ones(self.num_values) if self.scale is None else np.square(self.scale)
        r2 = 1 - errors / np.where(spread > 0, spread, usual)  # as in hubel.metrics.r2, where that is defined
        return {"r2": float(r2.mean()), "loss": loss}

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        wanted = targets.reshape(len(targets), -1)
        scores = metrics.regression(wanted, prediction.values, groups)
        if self._mixed:
            scores = {"r2": scores["r2"]}
        if 1 < self.num_values <= MOST_NAMED:
            names = self.target_names or tuple(f"value_{k}" for k in range(self.num_values))
            for k, name in enumerate(names):
                scores[f"rmse_{name}"] = metrics.rmse(wanted[:, k], prediction.values[:, k], groups=groups)
        return scores

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Self:
        """As it is: nothing in its training makes it less sure than it should be."""
        return self

    def check_targets(self, targets: Tensor) -> None:
        shape, num = tuple(targets.shape), self.num_values
        if not ((targets.ndim == 2 and shape[1] == num) or (targets.ndim == 1 and num == 1)):
            nodes = self.num_outputs // num * (shape[1] if len(shape) == 2 else 1)
            raise ContractError(
                f"{self._named()} of {self._counted()} received targets of shape {shape}; expected "
                f"{'[N] or ' if num == 1 else ''}[N, {num}]: reshape the targets, or write {type(self).__name__}({nodes})"
            )
        if not targets.is_floating_point():
            raise ContractError(
                f"{self._named()} received {str(targets.dtype).removeprefix('torch.')} targets, which look like class numbers or counts. "
                "For classes write CrossEntropy(K); for real values convert them with targets.astype('float32')"
            )
        if not bool(torch.isfinite(targets).all()):
            rows = (~torch.isfinite(targets.reshape(len(targets), -1)).all(1)).nonzero()[:5, 0].tolist()
            raise ContractError(
                f"targets hold NaN or infinite values (rows {rows} of the batch): remove these examples"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        wanted = self.standardized(targets.double())
        return float(self.losses(wanted.new_zeros(len(wanted), self.num_outputs), wanted).mean())

    def standardized(self, targets: Tensor) -> Tensor:
        """Targets [N] or [N, K] in units of `scale` about `center`: [N, K], what the network's scores are compared with."""
        values = targets.reshape(len(targets), self.num_values)
        if self.center is not None:
            values = values - values.new_tensor(self.center)
        return values if self.scale is None else values / values.new_tensor(self.scale)

    def in_units(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `standardized`, of values [N, K]."""
        if self.scale is not None:
            values = values * np.asarray(self.scale)
        return values if self.center is None else values + np.asarray(self.center)

    def _counted(self) -> str:
        return f"{self.num_values} value{'s' if self.num_values > 1 else ''}"

    def _named(self) -> str:
        """The name of the loss in a sentence: AbsoluteError is "absolute error"."""
        word = type(self).__name__
        return "".join(f" {c.lower()}" if c.isupper() else c for c in word).strip()
