"""An objective around another one: a further loss in training, the same question, reading, scores and metrics."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Literal, Self

import numpy as np
from torch import Tensor, nn

from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.objective import Objective, Pieces


class Around:
    """Everything but the loss is that of `objective`, the dataclass field of those who are built on this."""

    objective: Objective

    @abstractmethod
    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        """The loss of `objective`, and in training mode more."""

    @abstractmethod
    def check_net(self, net: nn.Module) -> None:
        """Raise `ContractError` for a network that can not be asked for the further loss."""

    @property
    def num_outputs(self) -> int:
        return self.objective.num_outputs

    @property
    def headline(self) -> str:
        return self.objective.headline

    @property
    def better(self) -> Literal["higher", "lower"]:
        return self.objective.better

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return self.objective.scores_shape(batch)

    def read(self, outputs: Tensor) -> Prediction:
        return self.objective.read(outputs)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return self.objective.score(outputs, targets)

    def scored(self, pieces: Pieces) -> dict[str, float]:
        return self.objective.scored(pieces)

    def answered(self, pieces: Pieces) -> Prediction:
        return self.objective.answered(pieces)

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        return self.objective.metrics(prediction, targets, groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Self:
        return replace(self, objective=self.objective.calibrated(outputs, targets))  # type: ignore[type-var]

    def check_targets(self, targets: Tensor) -> None:
        self.objective.check_targets(targets)

    def expected_initial_loss(self, targets: Tensor) -> float:
        return self.objective.expected_initial_loss(targets)
