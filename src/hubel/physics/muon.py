"""Muon: the momentum of inner matrices is made orthogonal, so that all their singular directions learn alike; the rest takes steps of Adam.

    m <- mu m + g,   W <- W - rate sqrt(max(1, rows / columns)) orthogonal(g + mu m)

The orthogonal factor is that of `hubel.fitting.Muon`, whose steps for labelled data these are (K. Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/). The first matrix, the last one and all vectors are no inner matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hubel.fitting.muon import orthogonalized
from hubel.physics.first_order import FirstOrder


@dataclass(kw_only=True)
class Muon(FirstOrder):
    """The method and its state. `momentum` is mu, `learning_rate` that of the inner matrices, `other_learning_rate` that of the rest."""

    learning_rate: float = 2e-2
    other_learning_rate: float = 5e-3
    momentum: float = 0.95
    iterations: int = 5

    def _steps(self, gradients: list[Tensor]) -> list[Tensor]:
        matrices = [place for place, gradient in enumerate(gradients) if gradient.ndim > 1]
        steps = []
        for place, (gradient, kept) in enumerate(zip(gradients, self.memory, strict=True)):
            if place in matrices[1:-1]:
                steps.append(self.rate * self._orthogonal(gradient, kept))
            else:
                share = self.other_learning_rate / self.learning_rate
                steps.append(self.rate * share * self._adam(gradient, kept, self.count))
        return steps

    def _orthogonal(self, gradient: Tensor, kept: dict[str, Tensor]) -> Tensor:
        """The direction of an inner matrix."""
        momentum = kept.setdefault("momentum", torch.zeros_like(gradient))
        momentum.mul_(self.momentum).add_(gradient)
        ahead = (gradient + self.momentum * momentum).flatten(1)
        rows, columns = ahead.shape
        return max(1.0, rows / columns) ** 0.5 * orthogonalized(ahead, self.iterations).view_as(gradient)
