"""Two networks against each other: one makes examples, the other tells them from real ones.

    discriminator   L_D = E_x[softplus(−D(x))] + E_z[softplus(D(G(z)))]
    generator       L_G = E_z[softplus(−D(G(z)))]                             (the non-saturating one)

Both descend at once, by one gradient of L_D + L_G in which L_D sees the made examples detached from G, and L_G sees D with its
weights detached: the gradient of each network is that of its own loss, as in two steps from the same point (simultaneous gradient
descent). So the loop, the checkpoints and the curves are those of any other question.

Source: I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014 (arXiv:1406.2661), section 3; simultaneous descent and when
it converges: L. Mescheder, A. Geiger, S. Nowozin, ICML 2018 (arXiv:1801.04406).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.objectives.generated import scores_of_samples
from hubel.objectives.objective import forward, mean_over_batch
from hubel.objectives.own_target import OwnTarget


@dataclass(frozen=True, kw_only=True)
class Adversarial(OwnTarget):
    """Generator against discriminator; `penalty` times ½ E_x|∇D(x)|² keeps the discriminator flat at real examples, so that the two
    converge (R₁ of Mescheder et al. 2018, equation 9, with γ = penalty; 0 leaves it out). The parts "discriminator" and "generator"
    are the two losses; "plain" is what the curves show, the discriminator's on real examples.

    Raises `ContractError` for a negative penalty, and for networks without `generate`, `discriminator` and `latent`.

    >>> from hubel.nets import dcgan
    >>> net, x = dcgan(8, 4, inputs=(1, 8, 8)), torch.zeros(5, 1, 8, 8)
    >>> loss = Adversarial(penalty=0.0)(net, Batch(inputs=x, targets=x))
    >>> sorted(loss.parts)
    ['discriminator', 'generator', 'plain']
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.penalty < math.inf:
            raise ContractError(f"penalty is {self.penalty}; expected 0 or a positive number")

    @property
    def headline(self) -> str:
        return "called_real"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "lower"  # towards one half, where the discriminator can not tell

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return len(batch), 1

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        told_by, generate, size = self._adversaries(net)
        flat = self.penalty > 0 and torch.is_grad_enabled()
        inputs = batch.inputs.detach().requires_grad_() if flat else batch.inputs
        real = forward(net, Batch(inputs=inputs, targets=batch.targets))[:, 0]
        called = mean_over_batch(F.softplus(-real), batch.weights)
        z = torch.randn(len(batch), size, device=inputs.device).to(inputs.dtype)
        made = generate(z)
        told = F.softplus(_scores(told_by, made.detach())).mean()
        frozen = {name: value.detach() for name, value in told_by.named_parameters()}
        generator = F.softplus(-_scores(told_by, made, frozen)).mean()
        discriminator = called + told
        if flat:
            (slope,) = torch.autograd.grad(real.sum(), inputs, create_graph=True)
            slope = slope.float() if slope.dtype.itemsize < 4 else slope
            steepness = slope.square().flatten(1).sum(1)
            discriminator = discriminator + 0.5 * self.penalty * mean_over_batch(steepness, batch.weights)
        parts = {"plain": called, "discriminator": discriminator, "generator": generator}
        return Loss(
            total=discriminator + generator, parts={name: value.detach() for name, value in parts.items()}
        )

    def read(self, outputs: Tensor) -> Prediction:
        """The discriminator's scores [N, 1], positive for "real"."""
        return Prediction(values=outputs.detach().double().cpu().numpy())

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The share of real examples that the discriminator calls real, and its loss on them."""
        outputs = outputs.double()
        return {
            "called_real": float((outputs > 0).double().mean()),
            "loss": float(F.softplus(-outputs).mean()),
        }

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        return {"called_real": metrics.mean((prediction.values[:, 0] > 0).astype(np.float64), groups=groups)}

    def of_network(
        self, net: nn.Module, inputs: Tensor, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """How far samples are from the data."""
        return scores_of_samples(net, inputs)

    @property
    def surprise_name(self) -> str:
        return "minus the discriminator’s score"

    def surprise(self, prediction: Prediction, targets: np.ndarray) -> np.ndarray:
        return -prediction.values[:, 0]

    def check_net(self, net: nn.Module) -> None:
        self._adversaries(net)

    def expected_initial_loss(self, targets: Tensor) -> float:
        return math.log(2)

    @staticmethod
    def _adversaries(net: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor], int]:
        """Discriminator, generator, and how many random numbers it takes."""
        discriminator = getattr(net, "discriminator", None)
        generate, size = getattr(net, "generate", None), getattr(net, "latent", None)
        if not isinstance(discriminator, nn.Module) or generate is None or not isinstance(size, int):
            raise ContractError(
                f"Adversarial expects a network with `discriminator`, `generate` and `latent`, such as hubel.nets.dcgan; received "
                f"{type(net).__name__}"
            )
        return discriminator, generate, size


def _scores(discriminator: nn.Module, examples: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
    """Scores [N] in at least float32, with these weights in place of its own where some are given."""
    scores = (
        discriminator(examples)
        if weights is None
        else torch.func.functional_call(discriminator, weights, (examples,))
    )
    return (scores.float() if scores.dtype.itemsize < 4 else scores)[:, 0]
