"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, which turns slowly.

For every matrix W [m, n] with the gradient G, with Q_L and Q_R orthogonal,

    G' = Q_L^T G Q_R,   M <- b_1 M + (1 - b_1) G,   V <- b_2 V + (1 - b_2) G' G' (entry by entry),   M' = Q_L^T M Q_R,
    W <- W - rate Q_L (M' / (sqrt V + epsilon)) Q_R^T,   L <- b_2 L + (1 - b_2) G G^T,   R <- b_2 R + (1 - b_2) G^T G,

and every `refresh` iterations the bases follow by one step of power iteration, Q_L <- QR(L Q_L), Q_R <- QR(R Q_R). Means are divided by
1 - b^k as Adam's are. The first gradient gives the bases (by eigenvectors) and no step. Vectors take steps of Adam.

N. Vyas, D. Morwani, R. Zhao, I. Shapira, D. Brandfonbrener, L. Janson, S. Kakade, ICLR 2025, arXiv:2409.11321, algorithms 3 and 4; for
networks that solve equations S. Wang, A. K. Bhartari, B. Li, P. Perdikaris, arXiv:2502.00604. As in the authors' program, columns of
the bases are put in the order of their estimated eigenvalues before a power iteration, and V with them: QR would reorder them by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hubel.physics.first_order import FirstOrder


@dataclass(kw_only=True)
class SOAP(FirstOrder):
    """The method and its state. `refresh` counts the iterations between two turns of the bases; the rest as of `Adam`."""

    learning_rate: float = 1e-2
    warm_up: int = 20
    half_life: int = 300
    betas: tuple[float, float] = (0.99, 0.99)
    refresh: int = 2

    def _steps(self, gradients: list[Tensor]) -> list[Tensor]:
        if self.count == 1:
            for gradient, kept in zip(gradients, self.memory, strict=True):
                self._begin(gradient, kept)
            return [torch.zeros_like(gradient) for gradient in gradients]
        num = self.count - 1
        return [
            self.rate
            * (self._turned(gradient, kept, num) if gradient.ndim > 1 else self._adam(gradient, kept, num))
            for gradient, kept in zip(gradients, self.memory, strict=True)
        ]

    def _begin(self, gradient: Tensor, kept: dict[str, Tensor]) -> None:
        if gradient.ndim < 2:
            return
        matrix = gradient.flatten(1)
        for side, product in (("left", matrix @ matrix.t()), ("right", matrix.t() @ matrix)):
            kept[side] = (1 - self.betas[1]) * product
            kept[f"{side} basis"] = torch.linalg.eigh(product).eigenvectors

    def _turned(self, gradient: Tensor, kept: dict[str, Tensor], num: int) -> Tensor:
        """The direction in the eigenbases after `num` steps, turned back."""
        matrix = gradient.flatten(1)
        left, right = kept["left basis"], kept["right basis"]
        first, second = self.betas
        mean = kept.setdefault("mean", torch.zeros_like(matrix))
        square = kept.setdefault("square", torch.zeros_like(matrix))
        mean.lerp_(matrix, 1 - first)
        square.lerp_((left.t() @ matrix @ right).square(), 1 - second)
        root = (square / (1 - second**num)).sqrt()
        inner = left.t() @ mean @ right / (1 - first**num)
        direction = left @ (inner / (root + self.epsilon)) @ right.t()
        kept["left"].lerp_(matrix @ matrix.t(), 1 - second)
        kept["right"].lerp_(matrix.t() @ matrix, 1 - second)
        if num % self.refresh == 0:
            self._refresh(kept)
        return direction.view_as(gradient)

    @staticmethod
    def _refresh(kept: dict[str, Tensor]) -> None:
        for axis, side in enumerate(("left", "right")):
            product, basis = kept[side], kept[f"{side} basis"]
            order = (basis * (product @ basis)).sum(0).argsort(descending=True, stable=True)
            kept["square"] = kept["square"].index_select(axis, order)
            kept[f"{side} basis"] = torch.linalg.qr(product @ basis[:, order]).Q
