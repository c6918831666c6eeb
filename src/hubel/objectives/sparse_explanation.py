"""An explanation that is trained together with the task: right answers from as little of the input as possible.

    total = loss(scores of the masked input) + weight · mean(mask)

The first term makes the mask sufficient: the scores come from nothing but what it lets through. The second makes it sparse. In training
mode only; reading, scores and metrics are those of the question itself.

Trained like this alone, a network says the class by the shape of its mask (nothing shown: the first class) rather than by what it shows;
so the part behind the mask learns from random masks only, see `hubel.nets.self_explaining` (N. Jethani et al., AISTATS 2021,
arXiv:2103.01890). All the same, judge the masks as other explanations are judged (`hubel.explain.compare`).

Source: J. Chen, L. Song, M. Wainwright, M. Jordan, "Learning to explain", ICML 2018 (arXiv:1802.07814), equation 5, with a price on the
mask in place of a fixed number of features, as T. Lei, R. Barzilay, T. Jaakkola, "Rationalizing neural predictions", EMNLP 2016
(arXiv:1606.04155), equation 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hubel.core.errors import ContractError
from hubel.core.types import Batch, Loss
from hubel.layers.explanation import RelaxedMask, masks_of
from hubel.objectives.around import Around
from hubel.objectives.objective import Objective


@dataclass(frozen=True)
class SparseExplanation(Around):
    """`objective`, with a price on what the network looks at; for `hubel.nets.self_explaining("mask", ...)`.

    The loss has the parts "plain", that of the scores (what learning curves show), and "seen", the mean of the mask.

    Raises `ContractError` for a negative weight, and in training for a network without a mask.

    >>> from hubel.nets import self_explaining
    >>> from hubel.objectives import CrossEntropy
    >>> net = self_explaining("mask", inputs=(1, 16, 16), outputs=4)
    >>> batch = Batch(inputs=torch.randn(8, 1, 16, 16), targets=torch.arange(8) % 4)
    >>> loss = SparseExplanation(CrossEntropy(4), weight=0.5)(net, batch)
    >>> torch.allclose(loss.total, loss.parts["plain"] + 0.5 * loss.parts["seen"])
    True
    """

    objective: Objective
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ContractError(
                f"the weight of the mask is {self.weight}; expected 0 or a positive number, such as 1"
            )

    def check_net(self, net: nn.Module) -> None:
        """Raise `ContractError` for a network without a mask."""
        if not any(isinstance(module, RelaxedMask) for module in net.modules()):
            raise ContractError(self.maskless)

    @property
    def maskless(self) -> str:
        """What is said of a network without a mask."""
        return (
            'a sparse explanation was asked for, but the network has no mask: make it with hubel.nets.self_explaining("mask", ...), or pass '
            f"{type(self.objective).__name__} without SparseExplanation"
        )

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        if not net.training:
            return self.objective(net, batch)
        with masks_of(net) as masks:
            loss = self.objective(net, batch)
        if not masks:
            raise ContractError(self.maskless)
        seen = torch.stack([mask.mean() for mask in masks]).mean()
        parts = {"plain": loss.total.detach(), **loss.parts, "seen": seen.detach()}
        return Loss(total=loss.total + self.weight * seen, parts=parts)
