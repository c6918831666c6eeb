"""The perceptron: one layer of neurons, each a weighted sum of the inputs and a threshold.

    s_k = w_k · x + b_k,   the neuron fires where s_k ≥ 0

One neuron divides the inputs by a plane: it can learn AND and OR, but not XOR. What it is asked decides what it is: with
`hubel.fitting.PerceptronRule` Rosenblatt's perceptron (one output), under squared error linear regression, under cross-entropy
logistic regression. Like the others it answers with the raw score s; `fires` applies the step. Initial weights U(±1/√m) for m inputs,
biases zero.

Source: F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the brain", Psychological
Review 65 (1958) 386, doi:10.1037/h0042519.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from hubel.nets.made import Net, made, num_outputs


def perceptron(inputs: int | Sequence[int], outputs: int = 1) -> Perceptron:
    """One layer of `outputs` neurons. Input [N, *inputs] is flattened; output the raw scores [N, outputs].

    >>> import torch
    >>> net = perceptron(2)
    >>> _ = net.load_state_dict({"layer.weight": torch.ones(1, 2), "layer.bias": torch.tensor([-2.0])})  # AND
    >>> net.fires(torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]))[:, 0].tolist()
    [False, False, False, True]

    Raises `ValueError` for sizes that are not positive.
    """
    shape = (int(inputs),) if isinstance(inputs, (int, float)) else tuple(int(size) for size in inputs)
    if not shape or min(shape) < 1:
        raise ValueError(f"perceptron: inputs must be positive; received {shape}")
    net = Perceptron(shape, num_outputs(outputs, "perceptron"))
    return made(net, "perceptron", inputs=shape, outputs=int(outputs))


class Perceptron(Net):
    """See `perceptron`."""

    def __init__(self, inputs: tuple[int, ...], outputs: int):
        super().__init__()
        self.inputs = inputs
        size = math.prod(inputs)
        self.layer = nn.Linear(size, outputs)
        nn.init.uniform_(self.layer.weight, -(size**-0.5), size**-0.5)
        nn.init.zeros_(self.layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """The flattened input [N, F]."""
        if tuple(x.shape[1:]) != self.inputs:
            sizes = ", ".join(map(str, self.inputs))
            raise ValueError(
                f"perceptron expects [N, {sizes}]; received {list(x.shape)}, of which layer would get "
                f"{math.prod(x.shape[1:])} values, and it was made for {math.prod(self.inputs)}"
            )
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.layer(self.features(x))

    def fires(self, x: Tensor) -> Tensor:
        """Which neurons fire: [N, K], yes or no."""
        return self.forward(x) >= 0
