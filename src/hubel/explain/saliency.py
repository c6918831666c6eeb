"""Saliency: how fast the score changes with each value of the input.

    V = ∂f(x) / ∂x

It says what would change the score, not what made it: a saturated score has no slope. Values are signed; the published map is the
greatest |V| over channels.

Source: K. Simonyan, A. Vedaldi, A. Zisserman, "Deep Inside Convolutional Networks" (2013), arXiv:1312.6034, section 3.
"""

from __future__ import annotations

import time

import numpy as np
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.entry import Entry
from hubel.explain.gradient import gradient
from hubel.explain.question import Question, Scale, Target, untouched


def saliency(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """The gradient [N, ...] of the score by the input `x` [N, ...]; of symbols [N, L] that by their embedding, summed over it.

    >>> import torch
    >>> net = nn.Linear(2, 1, bias=False)
    >>> torch.equal(saliency(net, torch.ones(1, 2)).values, net.weight)
    True

    Raises `ValueError` as `Question` does, for an output that does not depend on the input, and for a gradient that is not finite.
    """
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        _, slope = gradient(entry, entry.point)
        entry.backwards += len(entry)
    return Attribution(
        values=entry.values(slope),
        method="saliency",
        target=question.names,
        score=question.score,
        passes=entry.passes,
        seconds=time.perf_counter() - start,
    )
