"""Give back what was shown: the question of an autoencoder.

squared   loss = 1/D Σ_d (z_d − x_d)²                          x as the network sees it: mean 0, spread 1; 1 is no better than the mean
binary    loss = 1/D Σ_d −[p_d ln s(z_d) + (1 − p_d) ln(1 − s(z_d))]   p = (stored − low) / (high − low), s the sigmoid; nats a value

With `noise` or `hidden` the network is shown a spoiled example and asked for the clean one, so that it can not get by with
copying (denoising autoencoder: P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, ICML 2008, doi:10.1145/1390156.1390294).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.objective import forward, mean_over_batch
from hubel.objectives.own_target import OwnTarget

PEAKS = {"uint8": 255.0, "uint16": 65535.0}  # the greatest value that these types can store


@dataclass(frozen=True, kw_only=True)
class GivesBack(OwnTarget, ABC):
    """Questions whose answer has the shape of the input."""

    @property
    def headline(self) -> str:
        return "rmse"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "lower"

    @abstractmethod
    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """The loss of every example [N], of answers and of scaled examples [N, ...]."""

    def in_units(self, outputs: Tensor) -> Tensor:
        """Answers [N, ...] in stored units."""
        return self.known_scaling.invert(outputs)

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return tuple(batch.inputs.shape)

    def read(self, outputs: Tensor) -> Prediction:
        """The examples as the network gives them back, in stored units (above the background, where that is subtracted)."""
        return Prediction(values=self.in_units(outputs.detach().cpu()).numpy())

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        scaling = self.known_scaling
        losses: list[Tensor] = []
        squares: list[Tensor] = []
        for rows in torch.arange(len(outputs)).split(self.examples_at_once):
            said = outputs[rows].double()
            wanted = scaling(targets[rows].to(outputs.device)).double()
            losses.append(self.losses(said, wanted))
            squares.append(metrics.by_channel((self.in_units(said) - scaling.invert(wanted)).square()))
        rmse = torch.cat(squares).mean(dim=0).sqrt().mean()
        return {"rmse": float(rmse), "loss": float(torch.cat(losses).mean())}

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        return metrics.reconstruction(
            self._as_shown(targets),
            prediction.values,
            spread=np.asarray(self.known_scaling.std),
            peak=self._peak(targets),
            groups=groups,
        )

    def _peak(self, targets: np.ndarray) -> float | None:
        """The greatest value that pictures of this type can store, where they make use of it."""
        peak = PEAKS.get(self.known_scaling.dtype) if len(self.known_scaling.shape) == 3 else None
        return peak if peak is not None and targets.max() > peak / 2 else None

    @property
    def surprise_name(self) -> str:
        unit = "spreads of its values" if self._of_features else "stored units"
        return f"reconstruction error (root mean square, {unit})"

    @property
    def _of_features(self) -> bool:
        """The values of an example may be in different units: errors add up in units of the spread that each value has."""
        return len(self.known_scaling.shape) == 1

    def surprise(self, prediction: Prediction, targets: np.ndarray) -> np.ndarray:
        error = prediction.values - self._as_shown(targets)
        if self._of_features:
            error = error / np.asarray(self.known_scaling.std)
        return np.sqrt(np.square(error).reshape(len(error), -1).mean(axis=1, dtype=np.float64))

    def _as_shown(self, targets: np.ndarray) -> np.ndarray:
        """Stored examples as floating numbers, without the background where that is subtracted."""
        scaling = self.known_scaling
        if scaling.background == "kept":
            return np.asarray(targets, np.float32 if targets.dtype.itemsize <= 4 else np.float64)
        return scaling.invert(scaling(torch.from_numpy(np.ascontiguousarray(targets)))).numpy()


@dataclass(frozen=True, kw_only=True)
class Reconstruction(GivesBack):
    """The example itself, by `loss` "squared" or "binary" (for values between `low` and `high`, in stored units: 0 and the greatest
    value of the type for whole numbers, 0 and 1 otherwise; the network ends without a sigmoid).

    In training `noise` times the spread of the data is added as Gaussian noise, and a share `hidden` of all values is set to the mean;
    the clean example is asked for.

    Raises `ContractError` for a negative noise, a share outside [0, 1), another loss, or low not below high.

    >>> half = nn.Linear(2, 2, bias=False)
    >>> half.weight.data = 0.5 * torch.eye(2)
    >>> batch = Batch(inputs=torch.tensor([[1.0, -3.0]]), targets=torch.tensor([[3.0, 1.0]]))
    >>> Reconstruction()(half, batch).total.item()  # (0.5² + 1.5²) / 2
    1.25
    """

    loss: Literal["squared", "binary"] = "squared"
    noise: float = 0.0
    hidden: float = 0.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise ContractError(f"noise is {self.noise}; expected 0, or a positive number of spreads")
        if not 0 <= self.hidden < 1:
            raise ContractError(f"hidden is {self.hidden}; expected a share from 0 to below 1")
        if self.loss not in ("squared", "binary"):
            raise ContractError(f'loss is {self.loss!r}; expected "squared" or "binary"')
        if self.scaling is not None and self.loss == "binary":
            low, high = self._limits()
            if not low < high:
                raise ContractError(f"low is {low} and high {high}; expected low below high")
            if self.scaling.background == "subtracted":
                raise ContractError(
                    "the binary loss needs values between two limits, and pictures without their background have none: take the squared one"
                )

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        shown = replace(batch, inputs=self.spoiled(batch.inputs)) if net.training else batch
        losses = self.losses(forward(net, shown), batch.inputs)
        return Loss(total=mean_over_batch(losses, batch.weights))

    def spoiled(self, inputs: Tensor) -> Tensor:
        """`inputs` with noise and hidden values, by torch's global generator; drawn alike whatever the memory layout."""
        if self.noise:
            drawn = torch.randn(inputs.shape, dtype=inputs.dtype, device=inputs.device)
            inputs = inputs + self.noise * drawn
        if self.hidden:
            kept = torch.rand(inputs.shape, device=inputs.device) >= self.hidden
            inputs = inputs * kept
        return inputs

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        if self.loss == "squared":
            return (outputs - wanted).square().flatten(1).mean(1)
        share = self._shares(wanted).to(outputs.dtype)
        return F.binary_cross_entropy_with_logits(outputs, share, reduction="none").flatten(1).mean(1)

    def in_units(self, outputs: Tensor) -> Tensor:
        if self.loss == "squared":
            return self.known_scaling.invert(outputs)
        low, high = self._limits()
        return low + (high - low) * outputs.sigmoid()

    def check_values(self, targets: Tensor) -> None:
        if self.loss == "binary":
            low, high = self._limits()
            least, greatest = float(targets.min()), float(targets.max())
            if least < low or greatest > high:
                raise ContractError(
                    f"the binary loss is for values from {low:g} to {high:g}, but the examples run from {least:.4g} to {greatest:.4g}: "
                    "say their limits, Reconstruction(loss='binary', low=…, high=…), or take the squared loss"
                )

    def expected_initial_loss(self, targets: Tensor) -> float:
        wanted = self.known_scaling(targets).double()
        return float(self.losses(torch.zeros_like(wanted), wanted).mean())

    def _shares(self, wanted: Tensor) -> Tensor:
        low, high = self._limits()
        return ((self.known_scaling.invert(wanted) - low) / (high - low)).clamp(0, 1)

    def _limits(self) -> tuple[float, float]:
        greatest = PEAKS.get(self.known_scaling.dtype, 1.0)
        return 0.0 if self.low is None else self.low, greatest if self.high is None else self.high
