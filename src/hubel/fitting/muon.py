"""Muon: momentum whose direction is made orthogonal, so that all singular directions of a filter learn alike.

    m <- mu m + g,   w <- w - lr * sqrt(max(1, rows / columns)) * orthogonal(g + mu m)

The orthogonal factor U V^T of U S V^T comes from a few Newton-Schulz iterations with the quintic polynomial
a X + b (X X^T) X + c (X X^T)^2 X (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/); it is approximate:
singular values end between about 0.7 and 1.2. Filters [O, I, h, w] are read as matrices [O, I h w]. Vectors, and the last
matrix (whose rows are classes), take AdamW steps in the same optimizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from hubel.fitting.optimizers import Muon

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


def orthogonalized(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Approximately U V^T for every matrix of a stack [B, R, C], R <= C, by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class MuonWithAdam(torch.optim.Optimizer):
    """One optimizer of three groups: Muon for inner matrices and filters, AdamW for the last matrix and for vectors.

    Every group's `lr` is its own highest learning rate times the schedule's factor.
    """

    def __init__(self, net: nn.Module, choice: Muon):
        trained = [p for p in net.parameters() if p.requires_grad]
        if not trained:
            raise ValueError(
                "the network has no trainable parameters: unfreeze some (parameter.requires_grad_(True))"
            )
        matrices = [p for p in trained if p.ndim >= 2]
        last = matrices[-1:]
        inner = matrices[:-1]
        vectors = [p for p in trained if p.ndim < 2]
        muon: dict[str, Any] = {"momentum": choice.momentum, "iterations": choice.iterations, "kind": "muon"}
        groups = [
            {"params": inner, "lr": choice.learning_rate, "weight_decay": choice.weight_decay, **muon},
            {
                "params": last,
                "lr": choice.adam_learning_rate,
                "weight_decay": choice.weight_decay,
                "kind": "adam",
            },
            {"params": vectors, "lr": choice.adam_learning_rate, "weight_decay": 0.0, "kind": "adam"},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": choice.learning_rate})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update from the gradients in place."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["kind"] == "muon":
                self._muon(parameters, group)
            else:
                self._adam(parameters, group)

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        momenta = []
        for p in parameters:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            momenta.append(state["momentum"])
        grads = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, grads)
        looked_ahead = torch._foreach_add(grads, momenta, alpha=group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, p in enumerate(parameters):
            by_shape.setdefault((p.shape[0], p[0].numel()), []).append(i)
        for (rows, columns), members in by_shape.items():
            stack = torch.stack([looked_ahead[i].reshape(rows, columns) for i in members])
            if rows > columns:
                directions = orthogonalized(stack.transpose(1, 2), group["iterations"]).transpose(1, 2)
            else:
                directions = orthogonalized(stack, group["iterations"])
            size = group["lr"] * max(1.0, rows / columns) ** 0.5
            for i, direction in zip(members, directions, strict=True):
                parameters[i].add_(direction.reshape(parameters[i].shape), alpha=-size)

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        first, second = [], []
        for p in parameters:
            state = self.state[p]
            if not state:
                state["steps"] = torch.zeros((), dtype=torch.float64)
                state["first"], state["second"] = torch.zeros_like(p), torch.zeros_like(p)
            state["steps"] += 1
            first.append(state["first"])
            second.append(state["second"])
        grads = [p.grad for p in parameters if p.grad is not None]
        done = float(self.state[parameters[0]]["steps"])
        beta1, beta2 = ADAM_BETAS
        torch._foreach_lerp_(first, grads, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
        spread = torch._foreach_sqrt(second)
        torch._foreach_div_(spread, (1 - beta2**done) ** 0.5)
        torch._foreach_add_(spread, ADAM_EPSILON)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(parameters, first, spread, -group["lr"] / (1 - beta1**done))
