"""The tokens of a network that cuts its input into patches and reads them as a sequence: maps [N, C, h, w] laid out as [N, extra + h·w, C].

`extra` tokens (of the class, registers) stand before those of the patches. A network that reads its answer from the class token alone does
not look at the others behind its last attention, so that the last tokens which say something are those that the last attention reads.

Source: J. Gildenblat, "pytorch-grad-cam" (2021), github.com/jacobgil/pytorch-grad-cam: the transform of a vision transformer's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_EXTRA = 8
NORMS = ("layer_norm", "rms_norm")
ATTENTIONS = ("scaled_dot_product_attention", "multi_head_attention_forward")


@dataclass(frozen=True)
class Tokens:
    """How tokens [N, extra + h·w, C] lie: `extra` before those of the patches, on a `grid` (h, w)."""

    extra: int
    grid: tuple[int, ...]

    def as_maps(self, tokens: Tensor) -> Tensor:
        """Those of the patches as maps [N, C, h, w].

        >>> Tokens(1, (2, 2)).as_maps(torch.arange(5.0).view(1, 5, 1)).flatten().tolist()
        [1.0, 2.0, 3.0, 4.0]
        """
        return tokens[:, self.extra :].transpose(1, 2).unflatten(2, self.grid)

    def emptied(self, tokens: Tensor) -> Tensor:
        """A copy in which those of the patches are zero."""
        kept = tokens.clone()
        kept[:, self.extra :] = 0
        return kept


def tokens_of(shape: Sequence[int], grid: tuple[int, ...]) -> Tokens | None:
    """How tokens of this shape lie on a grid of patches; None where these are not so many.

    >>> tokens_of((1, 197, 768), (14, 14)), tokens_of((1, 50, 768), (14, 14))
    (Tokens(extra=1, grid=(14, 14)), None)
    """
    if len(shape) != 3 or not 0 <= shape[1] - math.prod(grid) <= MOST_EXTRA:
        return None
    return Tokens(shape[1] - math.prod(grid), grid)


def last_that_counts(answer: Tensor, found: Sequence[tuple[Tensor, Tokens]]) -> tuple[Tensor, Tokens] | None:
    """Of tokens in the order in which they were made the last on whose patches the numbers `answer` [N] depend."""
    if not found or not answer.requires_grad:
        return None
    slopes = torch.autograd.grad(
        answer.sum(), [tokens for tokens, _ in found], retain_graph=True, allow_unused=True
    )
    for (tokens, lie), slope in zip(reversed(found), reversed(slopes), strict=True):
        if slope is not None and bool((slope[:, lie.extra :] != 0).any()):
            return tokens, lie
    return None
