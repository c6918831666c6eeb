"""How likely the data are: the question of a network that answers with log densities.

    loss = −1/(N D) Σ_n ln p(x_n)          x as the network sees it, D values an example; nats a value

In stored units ln p(x) = ln p(scaled x) − Σ ln σ. Whole numbers have no density: a model could put all of it on them. They are
therefore spread over their unit by uniform noise (dequantization), x + u with u from (−½, ½), and E_u[ln p(x + u)] is a lower
bound of the log probability of the whole number x (L. Theis, A. van den Oord, M. Bethge, ICLR 2016, arXiv:1511.01844, section 3.1).
In the learning curves the density is taken at the whole number itself; the scores at the end are over a draw of u.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core import random
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.generated import log_scale, scores_of_samples
from hubel.objectives.objective import forward, mean_over_batch
from hubel.objectives.own_target import OwnTarget

DRAWN_FROM = 0  # seed of the noise of scores


@dataclass(frozen=True, kw_only=True)
class LogLikelihood(OwnTarget):
    """The negative log likelihood, for networks that answer with ln p(x) [N, 1], such as `nets.realnvp`.

    Raises `ContractError` for pictures without their background, which have no density in stored units.

    >>> net = nn.Linear(2, 1).requires_grad_(False)
    >>> net.weight.data, net.bias.data = torch.zeros(1, 2), torch.tensor([-3.0])
    >>> LogLikelihood()(net, Batch(inputs=torch.zeros(4, 2), targets=torch.zeros(4, 2))).total.item()
    1.5
    """

    def __post_init__(self) -> None:
        if self.scaling is not None and self.scaling.background == "subtracted":
            raise ContractError(
                "pictures whose background is subtracted have no density in stored units: leave that symmetry out"
            )

    @property
    def headline(self) -> str:
        return "log_likelihood"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return len(batch), 1

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        shown = replace(batch, inputs=self.spread_out(batch.inputs)) if net.training else batch
        size = batch.inputs[0].numel()
        return Loss(total=mean_over_batch(-forward(net, shown)[:, 0] / size, batch.weights))

    def spread_out(self, inputs: Tensor) -> Tensor:
        """Scaled inputs [N, ...] of whole numbers, spread over their unit by torch's global generator; others as they are."""
        if self.scaling is None or not self.scaling.dtype.startswith(("int", "uint")):
            return inputs
        drawn = torch.rand(inputs.shape, dtype=inputs.dtype, device=inputs.device) - 0.5
        zero = torch.zeros_like(inputs[:1], dtype=torch.float64)
        unit = 1 / (self.scaling.invert(zero + 1) - self.scaling.invert(zero))
        return inputs + drawn * unit.to(inputs.dtype)

    def read(self, outputs: Tensor) -> Prediction:
        """Log densities [N, 1], in nats and stored units."""
        values = outputs.detach().double().cpu().numpy() - log_scale(self.known_scaling)
        return Prediction(values=values)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        outputs = outputs.double()
        return {
            "log_likelihood": float(outputs.mean()) - log_scale(self.known_scaling),
            "loss": float(-outputs.mean() / self.num_outputs),
        }

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """`log_likelihood`, nats an example in stored units; `bits_per_value`, minus the same in bits over the number of values."""
        return self._scores(prediction.values[:, 0], groups)

    def of_network(
        self, net: nn.Module, inputs: Tensor, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """The same scores over a draw of the noise that spreads whole numbers out, and how far samples are from the data."""
        with random.torch_seeded(DRAWN_FROM, "dequantization", device=inputs.device):
            parts = [net(self.spread_out(part))[:, 0] for part in inputs.split(self.examples_at_once)]
        densities = torch.cat(parts).double().cpu().numpy() - log_scale(self.known_scaling)
        return self._scores(densities, groups) | scores_of_samples(net, inputs)

    @property
    def surprise_name(self) -> str:
        return "−ln p (nats, stored units)"

    def surprise(self, prediction: Prediction, targets: np.ndarray) -> np.ndarray:
        return -prediction.values[:, 0]

    def expected_initial_loss(self, targets: Tensor) -> float:
        """That of the standard normal."""
        wanted = self.known_scaling(targets).double()
        return float(0.5 * (wanted.square() + math.log(2 * math.pi)).mean())

    def _scores(self, densities: np.ndarray, groups: np.ndarray | None) -> dict[str, Interval]:
        bits = -densities / (self.num_outputs * math.log(2))
        return {
            "log_likelihood": metrics.mean(densities, groups=groups),
            "bits_per_value": metrics.mean(bits, groups=groups),
        }
