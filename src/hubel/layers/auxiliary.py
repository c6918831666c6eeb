"""Auxiliary heads: classifiers on the way through a deep network, whose losses push gradient into its middle in training.

    total = loss(scores) + weight · Σ loss(auxiliary scores)

A network with such heads answers with its scores alone, as any other. Its heads are idle until somebody asks for their
scores with `auxiliary_scores`; what they say is never kept in the network, so that it can be copied, saved and exported at
any time.

Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), section 5: weight 0.3, heads
discarded after training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class AuxiliaryHead(nn.Module):
    """A module that makes scores [N, K] of maps [N, C, H, W] inside a network, when they are asked for."""

    asked: list[Tensor] | None = None

    def offer(self, x: Tensor) -> None:
        """Append the scores of `x` to the list of `auxiliary_scores`; does nothing where none is open."""
        if self.asked is not None:
            self.asked.append(self(x))


@contextmanager
def auxiliary_scores(net: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, every pass of `net` leaves the scores [N, K] of its auxiliary heads in this list, in the order of the pass.

    The list stays empty where `net` has no such heads.

    >>> import torch
    >>> from hubel.nets import googlenet
    >>> net = googlenet(inputs=(1, 32, 32), outputs=4, auxiliary=True)
    >>> with auxiliary_scores(net) as found:
    ...     scores = net(torch.zeros(2, 1, 32, 32))
    >>> scores.shape, [other.shape for other in found]
    (torch.Size([2, 4]), [torch.Size([2, 4]), torch.Size([2, 4])])
    """
    found: list[Tensor] = []
    heads = [module for module in net.modules() if isinstance(module, AuxiliaryHead)]
    before = [head.asked for head in heads]
    for head in heads:
        head.asked = found
    try:
        yield found
    finally:
        for head, asked in zip(heads, before, strict=True):
            head.asked = asked
