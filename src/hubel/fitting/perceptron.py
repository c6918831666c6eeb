"""Rosenblatt's perceptron: a step rule of the same loop, and whether it can succeed at all.

    for every example:   ŷ = 1 if w·x + b ≥ 0 else 0,   w <- w + lr (y - ŷ) x,   b <- b + lr (y - ŷ)

F. Rosenblatt, Psychol. Rev. 65, 386 (1958), doi:10.1037/h0042519. Where a plane separates the classes, the number of mistakes is at
most (R / margin)^2 whatever the order (A. B. Novikoff 1962); where none does, it goes on for ever.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Batch
from hubel.fitting.loop import ObjectiveCall


class PerceptronRule:
    """The perceptron's learning rule, one example after the other, for a network of one linear layer with one output.

    `update` answers `loss`, the share of the batch on which a mistake was made, and `mistakes`, their number; once an epoch has none,
    nothing changes any more. The objective is not asked: the rule has no loss.

    `update` raises `TypeError` where the network is not one linear layer with one output and a bias, and `ValueError` for targets
    that are neither 0 nor 1.

    >>> from hubel.fitting import steps
    >>> from hubel.objectives import Hinge
    >>> x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([0, 0, 0, 1])  # AND
    >>> net = nn.Linear(2, 1)
    >>> for record in steps(net, Hinge(1), [Batch(inputs=x, targets=y)] * 100, rule=PerceptronRule()):
    ...     if record.loss == 0:
    ...         break
    >>> (net(x)[:, 0] >= 0).long().tolist()
    [0, 0, 0, 1]
    """

    def __init__(self, learning_rate: float = 1.0):
        if not learning_rate > 0:
            raise ValueError(f"learning_rate is {learning_rate}; expected a positive number")
        self.highest = self.learning_rate = float(learning_rate)

    @torch.no_grad()
    def update(
        self, net: nn.Module, objective: ObjectiveCall, batch: Batch, factor: float
    ) -> dict[str, Tensor]:
        layer = _only_layer(net)
        inputs = batch.inputs.flatten(1).to(layer.weight)
        targets = batch.targets.reshape(-1)
        if not bool(((targets == 0) | (targets == 1)).all()):
            raise ValueError("the perceptron's rule expects targets of 0 and 1")
        self.learning_rate = self.highest * factor
        weight, bias, wanted = layer.weight[0], layer.bias, targets.to(layer.weight).tolist()
        mistakes = 0
        for x, y in zip(inputs, wanted, strict=True):
            wrong = y - float(weight @ x + bias[0] >= 0)
            if wrong:
                mistakes += 1
                weight.add_(x, alpha=self.learning_rate * wrong)
                bias.add_(self.learning_rate * wrong)
        if not bool(torch.isfinite(layer.weight).all()):
            raise FloatingPointError("the weights became non-finite")
        found = torch.tensor(float(mistakes))
        return {"loss": found / max(len(inputs), 1), "mistakes": found}


def linearly_separable(x: np.ndarray | Tensor, y: np.ndarray | Tensor) -> bool:
    """Whether a plane separates the examples `x` [N, ...] of the two classes `y` [N] (0 or 1), so that a perceptron can learn them.

    Solved as a linear programme: are there w, b with (2 y - 1) (w·x + b) ≥ 1 for every example? Exact up to the solver's tolerance.

    Raises `ValueError` where `y` holds other numbers, or x and y differ in length.

    >>> corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> linearly_separable(corners, np.array([0, 0, 0, 1])), linearly_separable(corners, np.array([0, 1, 1, 0]))  # AND, XOR
    (True, False)
    """
    from scipy.optimize import linprog

    points = np.asarray(x, np.float64)
    labels = np.asarray(y).reshape(-1)
    if len(points) != len(labels) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"expected one label of 0 or 1 an example; received {len(points)} examples and {len(labels)} labels "
            f"with the values {sorted(set(labels.tolist()))[:5]}"
        )
    points = points.reshape(len(points), -1)
    spread = np.ptp(points, axis=0)
    points = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    signs = 2.0 * labels - 1
    rows = -signs[:, None] * np.column_stack([points, np.ones(len(points))])
    found = linprog(np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None))
    return bool(found.status == 0)


def _only_layer(net: nn.Module) -> nn.Linear:
    layers = [m for m in net.modules() if next(m.parameters(recurse=False), None) is not None]
    if (
        len(layers) != 1
        or not isinstance(layers[0], nn.Linear)
        or layers[0].out_features != 1
        or layers[0].bias is None
    ):
        found = ", ".join(type(layer).__name__ for layer in layers) or "nothing that learns"
        raise TypeError(
            f"the perceptron's rule is for one linear layer with one output and a bias; received {found}. For deeper networks write "
            "Backprop(optimizer)"
        )
    return layers[0]
