"""A mask that is part of the network: which positions of the input the rest of it is allowed to see.

    m = sigmoid((s(x) + noise) / τ),    noise logistic in training, 0 in evaluation

The noise is that of a relaxed Bernoulli variable, so that in training a position is seen or not, with probability sigmoid(s), and the mask
can still be differentiated: what is in doubt is at times withheld, and the network learns to do without it.

Source: C. J. Maddison, A. Mnih, Y. W. Teh, "The concrete distribution", ICLR 2017 (arXiv:1611.00712), appendix B (τ = 2/3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

TEMPERATURE = 2 / 3


class RelaxedMask(nn.Module):
    """A mask [N, 1, h, w] in (0, 1) of logits of the same shape; says it to `masks_of` where that listens.

    >>> RelaxedMask().eval()(torch.zeros(1, 1, 2, 2)).unique()
    tensor([0.5000])
    """

    asked: list[Tensor] | None = None

    def forward(self, logits: Tensor) -> Tensor:
        """The mask, in at least float32, so that its noise does not depend on the precision of the network."""
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        if self.training:
            uniform = torch.rand(logits.shape, device=logits.device).clamp(1e-6, 1 - 1e-6)
            logits = logits + (uniform.log() - (-uniform).log1p()).to(logits.dtype)
        mask = (logits / TEMPERATURE).sigmoid()
        if self.asked is not None:
            self.asked.append(mask)
        return mask


@contextmanager
def masks_of(net: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, every pass of `net` leaves the masks [N, 1, h, w] of its branches in this list; empty where it has none.

    >>> from hubel.nets import self_explaining
    >>> net = self_explaining("mask", inputs=(1, 16, 16), outputs=3).eval()
    >>> with masks_of(net) as found:
    ...     scores = net(torch.zeros(2, 1, 16, 16))
    >>> [mask.shape for mask in found]
    [torch.Size([2, 1, 4, 4])]
    """
    found: list[Tensor] = []
    branches = [module for module in net.modules() if isinstance(module, RelaxedMask)]
    before = [branch.asked for branch in branches]
    for branch in branches:
        branch.asked = found
    try:
        yield found
    finally:
        for branch, asked in zip(branches, before, strict=True):
            branch.asked = asked
