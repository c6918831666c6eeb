"""The evidence lower bound: give back what was shown, by codes that together look standard normal.

    loss = −E_q[ln p(x | z)] + β KL(q(z | x) ‖ N(0, 1)),   q = N(μ(x), σ²(x)),   p(x | z) = N(x̂(z), s²)       (nats an example)
    −ln p(x | z) = Σ_d [(x_d − x̂_d)² / (2 s²) + ln s + ½ ln 2π]

The mean is over one draw of z an example. With β = 1 the negative loss is a lower bound of ln p(x), in the units in which the network
sees x. The divergence has its closed form. β above 1 asks for simpler codes (I. Higgins et al., β-VAE, ICLR 2017).

Source: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv:1312.6114), equation 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core import random
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss
from hubel.layers.auxiliary import auxiliary_scores
from hubel.layers.gaussian_code import GaussianCode, kl_from_standard_normal
from hubel.objectives.generated import log_scale, scores_of_samples
from hubel.objectives.objective import forward, mean_over_batch
from hubel.objectives.reconstruction import GivesBack

DRAWN_FROM = 0  # seed of the draws of scores


@runtime_checkable
class Decoding(Protocol):
    """A network that can be asked what it makes of a code."""

    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Variational(GivesBack):
    """The negative evidence lower bound, with weight `beta` of the divergence; `spread` is s, in units of the data's spread.

    A smaller spread asks for sharper reconstructions and gives the codes more to say. The loss has the parts "plain" (the reconstruction,
    which is what learning curves show) and "kl". For networks with a `GaussianCode`, such as `nets.variational_autoencoder`.

    Raises `ContractError` for a negative beta, a spread that is not positive, and a network without a Gaussian code.

    >>> from hubel.nets import variational_autoencoder
    >>> net = variational_autoencoder(2, inputs=5)
    >>> loss = Variational(beta=2.0)(net, Batch(inputs=torch.zeros(3, 5), targets=torch.zeros(3, 5)))
    >>> torch.allclose(loss.total, loss.parts["plain"] + 2 * loss.parts["kl"])
    True
    """

    beta: float = 1.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < math.inf:
            raise ContractError(f"beta is {self.beta}; expected 0 or a positive number")
        if not 0 < self.spread < math.inf:
            raise ContractError(f"spread is {self.spread}; expected a positive number")

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        self.check_net(net)
        with auxiliary_scores(net) as said:
            outputs = forward(net, batch)
        plain = mean_over_batch(self.losses(outputs, batch.inputs), batch.weights)
        kl = mean_over_batch(kl_from_standard_normal(*said[0].chunk(2, dim=1)), batch.weights)
        return Loss(total=plain + self.beta * kl, parts={"plain": plain.detach(), "kl": kl.detach()})

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """−ln p(x | z), in nats, of every example."""
        constant = math.log(self.spread) + 0.5 * math.log(2 * math.pi)
        return ((outputs - wanted).square() / (2 * self.spread**2) + constant).flatten(1).sum(1)

    def check_net(self, net: nn.Module) -> None:
        codes = [module for module in net.modules() if isinstance(module, GaussianCode)]
        if len(codes) != 1 or not isinstance(net, Decoding):
            raise ContractError(
                f"{type(net).__name__} has {len(codes)} Gaussian codes; Variational expects a network with one, and with `decode`: take "
                "hubel.nets.variational_autoencoder, or Reconstruction for a plain autoencoder"
            )

    def of_network(
        self, net: nn.Module, inputs: Tensor, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """`elbo`, the lower bound of ln p(x) by one draw an example, in nats and stored units; `kl`; and how far samples are from the data."""
        assert isinstance(net, Decoding)
        bounds: list[Tensor] = []
        divergences: list[Tensor] = []
        with random.torch_seeded(DRAWN_FROM, "bound", device=inputs.device):
            for part in inputs.split(self.examples_at_once):
                with auxiliary_scores(net) as said:
                    net(part)
                code = next(module for module in net.modules() if isinstance(module, GaussianCode))
                kl = kl_from_standard_normal(*said[0].chunk(2, dim=1))
                bounds.append(-self.losses(net.decode(code.drawn(said[0])), part).double() - kl)
                divergences.append(kl.double())
        shift = log_scale(self.known_scaling)
        return {
            "elbo": metrics.mean(torch.cat(bounds).cpu().numpy() - shift, groups=groups),
            "kl": metrics.mean(torch.cat(divergences).cpu().numpy(), groups=groups),
            **scores_of_samples(net, inputs),
        }

    def expected_initial_loss(self, targets: Tensor) -> float:
        wanted = self.known_scaling(targets).double()
        return float(self.losses(torch.zeros_like(wanted), wanted).mean())
