"""What all questions share whose target is the input itself: what was stored, in the units in which a network sees it.

Targets are the stored values; a network sees them as the run's `Scaling` makes them, and it is these that are compared in training, so
that an augmentation changes both. `Scaling` belongs to the question, because scores are wanted in stored units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.data.preprocessing import Scaling

AT_ONCE = 2**22  # values


@dataclass(frozen=True, kw_only=True)
class OwnTarget(ABC):
    """A question about examples that are their own target. `scaling` is that of the run; `hubel.fit` puts it in."""

    scaling: Scaling | None = None

    @property
    def known_scaling(self) -> Scaling:
        """The scaling; raises `ContractError` where there is none yet."""
        if self.scaling is None:
            raise ContractError(
                f"{type(self).__name__} does not know yet how its data are scaled: hubel.fit puts it in; in a loop of your own write "
                f"{type(self).__name__}(scaling=hubel.data.preprocessing.scaling_of(data))"
            )
        return self.scaling

    @property
    def num_outputs(self) -> int:
        """How many values an example has."""
        return math.prod(self.known_scaling.shape)

    @property
    @abstractmethod
    def headline(self) -> str: ...

    @property
    @abstractmethod
    def better(self) -> Literal["higher", "lower"]: ...

    @abstractmethod
    def scores_shape(self, batch: Batch) -> tuple[int, ...]: ...

    @abstractmethod
    def __call__(self, net: nn.Module, batch: Batch) -> Loss: ...

    @abstractmethod
    def read(self, outputs: Tensor) -> Prediction: ...

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]: ...

    @abstractmethod
    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]: ...

    @abstractmethod
    def expected_initial_loss(self, targets: Tensor) -> float: ...

    @property
    @abstractmethod
    def surprise_name(self) -> str:
        """What `surprise` is, with its unit, for an axis."""

    @abstractmethod
    def surprise(self, prediction: Prediction, targets: np.ndarray) -> np.ndarray:
        """How unusual each example is to the network: [N], larger for stranger ones."""

    def check_net(self, net: nn.Module) -> None:  # noqa: B027 - most ask for nothing more
        """Raise `ContractError` where `net` lacks what this question needs beside its answer."""

    def of_network(
        self, net: nn.Module, inputs: Tensor, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """Scores that need the network itself, in evaluation mode, on scaled inputs [N, ...]; none for most."""
        return {}

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Self:
        """As it is."""
        return self

    def check_targets(self, targets: Tensor) -> None:
        shape = self.known_scaling.shape
        if tuple(targets.shape[1:]) != shape:
            raise ContractError(
                f"{type(self).__name__} asks about the examples themselves, of shape {list(shape)}, but received targets of shape "
                f'{list(targets.shape)}: take the input as the target (--target self, hubel.fit(x, "self"), data.as_its_own_target())'
            )
        if targets.is_floating_point() and not bool(torch.isfinite(targets).all()):
            raise ContractError("the examples hold NaN or infinite values: remove or replace them")
        self.check_values(targets)

    def check_values(self, targets: Tensor) -> None:  # noqa: B027 - most take any
        """Raise `ContractError` where stored examples [N, ...] of the right shape hold values that this question can not take."""

    @property
    def examples_at_once(self) -> int:
        """So many that their values in double precision take little memory."""
        return max(1, AT_ONCE // self.num_outputs)
