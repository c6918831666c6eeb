"""Auxiliary losses: the same question asked of the classifiers on the way through a deep network, while it trains.

    total = loss(scores) + weight · Σ loss(auxiliary scores)

In training mode only; reading, scores and metrics are those of the question itself, asked of the network's own scores.

Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), section 5, with weight 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from hubel.core.errors import ContractError
from hubel.core.types import Batch, Loss
from hubel.layers.auxiliary import AuxiliaryHead, auxiliary_scores
from hubel.objectives.around import Around
from hubel.objectives.objective import Objective


@dataclass(frozen=True)
class WithAuxiliary(Around):
    """`objective`, asked of the auxiliary heads of a network too, with `weight`. For networks that were made with such heads.

    The loss has the parts "plain", that of the network's own scores (what learning curves show), and "auxiliary", the sum of the
    others before it is weighted.

    Raises `ContractError` for a negative weight, and in training for a network without auxiliary heads.

    >>> from hubel.nets import googlenet
    >>> from hubel.objectives import CrossEntropy
    >>> net = googlenet(inputs=(1, 32, 32), outputs=4, auxiliary=True)
    >>> batch = Batch(inputs=torch.randn(8, 1, 32, 32), targets=torch.arange(8) % 4)
    >>> loss = WithAuxiliary(CrossEntropy(4), weight=0.3)(net, batch)
    >>> torch.allclose(loss.total, loss.parts["plain"] + 0.3 * loss.parts["auxiliary"])
    True
    """

    objective: Objective
    weight: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ContractError(
                f"the weight of auxiliary losses is {self.weight}; expected 0 or a positive number"
            )

    @property
    def headless(self) -> str:
        """What is said of a network without auxiliary heads."""
        return (
            "auxiliary losses were asked for, but the network has no auxiliary heads: make it with auxiliary=True "
            f"(googlenet, inception_v3), or pass {type(self.objective).__name__} without WithAuxiliary"
        )

    def check_net(self, net: nn.Module) -> None:
        """Raise `ContractError` for a network without auxiliary heads."""
        if not any(isinstance(module, AuxiliaryHead) for module in net.modules()):
            raise ContractError(self.headless)

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        if not net.training:
            return self.objective(net, batch)
        with auxiliary_scores(net) as found:
            loss = self.objective(net, batch)
        if not found:
            raise ContractError(self.headless)
        answer = nn.Identity().train()
        others = [
            self.objective(answer, replace(batch, inputs=scores, lengths=None)).total for scores in found
        ]
        auxiliary = torch.stack(others).sum()
        parts = {"plain": loss.total.detach(), **loss.parts, "auxiliary": auxiliary.detach()}
        return Loss(total=loss.total + self.weight * auxiliary, parts=parts)
