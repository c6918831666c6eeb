"""Real values: the squared difference, summed over the outputs of an example, averaged over examples.

    loss = sum_k ((z_k - (y_k - center_k) / scale_k))^2

The network works in units of `scale` about `center` (mean and standard deviation of the training targets); the reading
turns its scores back into the user's units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.objective import forward, mean_over_batch


@dataclass(frozen=True)
class SquaredError:
    """Squared error of K real values, targets [N] (for K = 1) or [N, K]; linear last layer.

    `center` and `scale` [K] standardize the targets; `target_names` and `units` [K] label what is shown.

    Raises `ContractError` where `num_outputs` is below 1, one of these does not have K entries, or a scale is not positive.

    >>> import torch
    >>> batch = Batch(inputs=torch.tensor([[0.0], [0], [1], [1]]), targets=torch.tensor([1.0, 1, 1, 0]))
    >>> SquaredError(1)(nn.Identity(), batch).total.item()
    0.75
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
            if value is not None and len(value) != self.num_outputs:
                raise ContractError(
                    f"{name} has {len(value)} entries for {self.num_outputs} outputs: give one per output"
                )
        if self.scale is not None and min(self.scale) <= 0:
            raise ContractError(f"scale is {self.scale}; expected positive numbers")

    @property
    def headline(self) -> str:
        return "rmse"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "lower"

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        outputs = forward(net, batch)
        losses = (outputs - self.standardized(batch.targets.to(outputs))).square().sum(1)
        return Loss(total=mean_over_batch(losses, batch.weights))

    def read(self, outputs: Tensor) -> Prediction:
        values = outputs.detach().double().cpu().numpy()
        if self.scale is not None:
            values = values * np.asarray(self.scale)
        if self.center is not None:
            values = values + np.asarray(self.center)
        return Prediction(values=values, units=self.units)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        wanted = targets.double().view(outputs.shape).cpu().numpy()
        rmse = np.sqrt(
            np.square(self.read(outputs).values - wanted).mean(axis=0)
        ).mean()  # as in hubel.metrics.rmse
        scaled = (outputs.double() - self.standardized(targets.double().to(outputs.device))).square().sum(1)
        return {"rmse": float(rmse), "loss": float(scaled.mean())}

    def metrics(self, prediction: Prediction, targets: np.ndarray) -> dict[str, Interval]:
        return metrics.regression(targets.reshape(len(targets), -1), prediction.values)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> SquaredError:
        """As it is: nothing in its training makes it less sure than it should be."""
        return self

    def check_targets(self, targets: Tensor) -> None:
        shape = tuple(targets.shape)
        fits = (targets.ndim == 2 and shape[1] == self.num_outputs) or (
            targets.ndim == 1 and self.num_outputs == 1
        )
        if not fits:
            raise ContractError(
                f"squared error with {self.num_outputs} outputs received targets of shape {shape}; expected "
                f"{'[N] or ' if self.num_outputs == 1 else ''}[N, {self.num_outputs}]: "
                f"reshape the targets, or write SquaredError({shape[1] if len(shape) == 2 else 1})"
            )
        if not targets.is_floating_point():
            raise ContractError(
                f"squared error received {str(targets.dtype).removeprefix('torch.')} targets, which look like class numbers or counts. "
                "For classes write CrossEntropy(K); for real values convert them with targets.astype('float32')"
            )
        if not bool(torch.isfinite(targets).all()):
            rows = (~torch.isfinite(targets.reshape(len(targets), -1)).all(1)).nonzero()[:5, 0].tolist()
            raise ContractError(
                f"targets hold NaN or infinite values (rows {rows} of the batch): remove these examples"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        return float(self.standardized(targets.double()).square().sum(1).mean())

    def standardized(self, targets: Tensor) -> Tensor:
        """Targets [N] or [N, K] in units of `scale` about `center`: [N, K], what the network's scores are compared with."""
        values = targets.reshape(len(targets), self.num_outputs)
        if self.center is not None:
            values = values - values.new_tensor(self.center)
        return values if self.scale is None else values / values.new_tensor(self.scale)
