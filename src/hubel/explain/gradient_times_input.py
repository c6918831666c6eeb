"""Gradient times input: the first-order part of what each value did.

    V = x ∂f(x) / ∂x

On a linear network, and on one of ReLUs without biases, it is exact: the values sum to f(x) - f(0), and `residual` says so. Elsewhere it
promises nothing, and `residual` is None.

Source: A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje, "Not Just a Black Box" (2016), arXiv:1605.01713; its equality with LRP-0:
M. Ancona et al., ICLR 2018 (arXiv:1711.06104), proposition 1.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.entry import Entry
from hubel.explain.gradient import gradient
from hubel.explain.question import Question, Scale, Target, untouched


def gradient_times_input(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Gradient times input [N, ...]; with its residual where it is exact.

    >>> found = gradient_times_input(nn.Linear(2, 1), torch.tensor([[1.0, 2.0]]))
    >>> bool(found.residual < 1e-5)
    True

    Raises `ValueError` as `Question` does, for an output that does not depend on the input, and for a gradient that is not finite.
    """
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        _, slope = gradient(entry, entry.point)
        entry.backwards += len(entry)
        found = slope * entry.point
        with torch.no_grad():
            nothing = entry(torch.zeros_like(entry.point))
        residual = completeness_residual(found, question.score.double() - nothing.double())
        exact = bool((residual <= torch.finfo(found.dtype).eps ** 0.5).all())
    return Attribution(
        values=entry.values(found),
        method="gradient times input",
        target=question.names,
        score=question.score,
        baseline=torch.zeros_like(question.x) if exact else None,
        residual=residual if exact else None,
        absorbed=torch.zeros_like(question.score) if exact else None,
        passes=entry.passes,
        seconds=time.perf_counter() - start,
    )
