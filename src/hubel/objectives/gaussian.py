"""A value with its uncertainty: the negative logarithm of a normal distribution whose width the network says as well.

    loss = sum_k 1/2 [ s_k + (z_k - t_k)^2 exp(-s_k) + log 2 pi ],   z the means, s the logarithms of the variances      (nats)

Nix and Weigend 1994, doi:10.1109/ICNN.1994.374138.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Interval, Prediction
from hubel.objectives.real_values import RealValues

ONE_SIGMA = math.erf(math.sqrt(0.5))  # 0.6827, the share within one standard deviation
WIDEST = 20.0  # of |log variance|: e^20 standardized variances are no measurement any more


@dataclass(frozen=True)
class GaussianLikelihood(RealValues):
    """K values with a standard deviation each: `num_outputs` is 2 K, the means first, then the logarithms of the variances.

    Targets [N] (for K = 1) or [N, K], linear last layer. The reading has `values` [N, K] and `uncertainties` [N, K], one standard
    deviation, in the user's units; `widened` multiplies the latter, and `calibrated` finds it on held-out data. `center`, `scale`,
    `target_names`, `units` [K] as in `SquaredError`. What is learned is the scatter of the targets about the mean (noise), not
    what the network does not know for lack of data.

    Raises `ContractError` as `SquaredError`, for an odd `num_outputs`, and where `widened` is not positive.

    >>> import torch
    >>> from hubel.core.types import Batch
    >>> objective = GaussianLikelihood(2)
    >>> batch = Batch(inputs=torch.tensor([[0.0, 0.0]]), targets=torch.tensor([1.0]))
    >>> round(objective(torch.nn.Identity(), batch).total.item(), 4)  # (1 + log 2 pi) / 2
    1.4189
    >>> prediction = objective.read(torch.tensor([[3.0, 0.0]]))
    >>> prediction.values.tolist(), prediction.uncertainties.tolist()
    ([[3.0]], [[1.0]])
    """

    num_outputs: int = 2
    widened: float = 1.0

    def __post_init__(self) -> None:
        if self.num_outputs < 2 or self.num_outputs % 2:
            raise ContractError(
                f"num_outputs is {self.num_outputs}; expected 2 for every value (its mean, and the logarithm of its variance)"
            )
        super().__post_init__()
        if not 0 < self.widened < math.inf:
            raise ContractError(f"widened is {self.widened}; expected a positive number")

    @property
    def num_values(self) -> int:
        return self.num_outputs // 2

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Negative log likelihood of every example, in nats: [N]."""
        means, logs = outputs.split(self.num_values, dim=1)
        logs = logs.clamp(-WIDEST, WIDEST)
        return 0.5 * (logs + (means - wanted).square() * (-logs).exp() + math.log(2 * math.pi)).sum(1)

    def read(self, outputs: Tensor) -> Prediction:
        logs = outputs.detach().double().cpu().numpy()[:, self.num_values :].clip(-WIDEST, WIDEST)
        deviations = self.widened * np.exp(logs / 2)
        if self.scale is not None:
            deviations = deviations * np.asarray(self.scale)
        return replace(super().read(outputs), uncertainties=deviations)

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """Those of real values, and how often the truth lies within one and within 1.96 standard deviations."""
        scores = super().metrics(prediction, targets, groups)
        assert prediction.uncertainties is not None
        wanted = targets.reshape(len(targets), -1)
        for name, share in (("coverage_68", ONE_SIGMA), ("coverage_95", 0.95)):
            scores[name] = metrics.coverage(
                wanted, prediction.values, prediction.uncertainties, share=share, groups=groups
            )
        return scores

    def calibrated(self, outputs: Tensor, targets: Tensor) -> GaussianLikelihood:
        """The same objective with the one factor on all standard deviations that makes held-out targets likeliest: the root mean
        square of (y - ŷ) / sigma.
        """
        if len(outputs) == 0:
            return self
        plain = replace(self, widened=1.0).read(outputs)
        assert plain.uncertainties is not None
        wanted = targets.double().cpu().numpy().reshape(plain.values.shape)
        factor = float(np.sqrt(np.square((wanted - plain.values) / plain.uncertainties).mean()))
        return replace(self, widened=factor) if 0 < factor < math.inf else self
