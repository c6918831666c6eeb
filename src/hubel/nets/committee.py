"""A committee of perceptrons in one network: several members of the same shape, each with weights of its own, whose scores are averaged.

    scores = (1/M) Σ_m mlp_m(x)

In training every member is to learn by its own error, not by that of the mean, or they would become one. So in training the rows of a
batch are dealt out: the first N/M go to the first member, and so on, and `hubel.fitting.steps` repeats every batch M times, so that
each member sees all of it. All members are computed in one matrix product a layer.

Initial weights are those of `mlp`: with Glorot's in place of He's the root mean square error on Friedman's first function (1,000 rows,
noise 1) fell from 1.66 to 1.46 (three splits), the accuracy on the breast cancer table rose from 96.9 to 97.9 %; four tables stayed.

Source: L. K. Hansen and P. Salamon, "Neural network ensembles", IEEE Trans. Pattern Anal. 12, 993 (1990), doi:10.1109/34.58871; in one
network for tables: Y. Gorishniy, A. Kotelnikov, A. Babenko, arXiv:2410.24210 (2024), whose members share most weights; these share none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hubel.layers.activation import Activation
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.mlp import SHALLOW


def committee(
    hidden: Sequence[int] = (100, 100),
    *,
    inputs: int | Sequence[int],
    outputs: int,
    members: int = 8,
    activation: Activation | str = Activation.RELU,
) -> Committee:
    """`members` multilayer perceptrons in one network. Input [N, *inputs] is flattened; output [N, outputs].

    Raises `ValueError` for sizes that are not positive and for an unknown activation.

    >>> net = committee((20,), inputs=5, outputs=3)
    >>> net(torch.zeros(2, 5)).shape, sum(p.numel() for p in net.parameters()) == 8 * (5 * 20 + 20 + 20 * 3 + 3)
    (torch.Size([2, 3]), True)
    """
    shape = (int(inputs),) if isinstance(inputs, (int, float)) else tuple(int(size) for size in inputs)
    hidden = tuple(int(width) for width in hidden)
    if not shape or min((*shape, *hidden, int(members))) < 1:
        raise ValueError(
            f"committee: inputs, hidden and members must be positive; received inputs={shape}, hidden={hidden}, members={members}"
        )
    activation = Activation(activation)
    net = Committee(shape, hidden, num_outputs(outputs, "committee"), int(members), activation)
    return made(
        net,
        "committee",
        hidden=hidden,
        inputs=shape,
        outputs=int(outputs),
        members=int(members),
        activation=str(activation),
    )


class Linears(nn.Module):
    """A linear layer for each of M members: [M, N, A] to [M, N, B]; the biases are one vector [M B], which is not decayed."""

    def __init__(self, members: int, before: int, after: int, *, fades: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, before, after))
        self.bias = nn.Parameter(torch.zeros(members * after))
        for member in self.weight.data.unbind():
            if fades:
                nn.init.kaiming_normal_(member.T, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(member.T)

    def forward(self, x: Tensor) -> Tensor:
        """One matrix product for all members."""
        return torch.baddbmm(self.bias.view(len(self.weight), 1, -1), x, self.weight)


class Committee(Net):
    """See `committee`."""

    def __init__(
        self,
        inputs: tuple[int, ...],
        hidden: tuple[int, ...],
        outputs: int,
        members: int,
        activation: Activation,
    ):
        super().__init__()
        self.inputs, self.members = inputs, members
        widths = (math.prod(inputs), *hidden)
        layers: list[nn.Module] = []
        fades = activation.rectifies and len(hidden) > SHALLOW
        for before, after in pairwise(widths):
            layers += [Linears(members, before, after, fades=fades), activation.module()]
        self.body = nn.Sequential(*layers)
        self.head = Linears(members, widths[-1], outputs, fades=False)

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layers of all members, beside each other [N, M F]."""
        return self._of_members(x).movedim(0, 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]: the mean over members; in training each row's own member."""
        if not self.training:
            return self.head(self._of_members(x)).mean(dim=0)
        x = self._checked(x)
        rows, missing = len(x), -len(x) % self.members
        if missing:
            x = torch.cat([x, x.new_zeros(missing, x.shape[1])])
        dealt = x.reshape(self.members, -1, x.shape[1])
        return self.head(self.body(dealt)).flatten(0, 1)[:rows]

    def _of_members(self, x: Tensor) -> Tensor:
        """[M, N, F] of every member on all rows."""
        x = self._checked(x)
        return self.body(x.expand(self.members, *x.shape))

    def _checked(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.inputs:
            sizes = ", ".join(map(str, self.inputs))
            raise ValueError(f"committee expects [N, {sizes}]; received {list(x.shape)}")
        return x.flatten(1)
