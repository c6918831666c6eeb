"""The explanation that a network gives with its answer: read from it, not found afterwards.

For networks of `hubel.nets.self_explaining`, and for any module with a method `explanation(x)` that answers `scores` [N, K], `maps` and
`absorbed` as `hubel.nets.self_explaining.Explained` does. Maps of contributions add up: map + what the bias absorbs = score.

Sources: see `hubel.nets.self_explaining`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.question import Question, Target, untouched
from hubel.nets.self_explaining import over_picture


def intrinsic(net: nn.Module, x: Tensor | np.ndarray, *, target: Target = None) -> Attribution:
    """What a self-explaining network says of its answer for inputs [N, C, H, W]; `coarse` is the map [N, h, w] at its own resolution.

    Each position's contribution is shared equally among the pixels that it stands for, so that the sum is kept; a mask is enlarged as
    the network does it, and promises no completeness.

    Raises `ValueError` for a network that gives no explanation, and `TypeError` for a target that is not one of its outputs.

    >>> from hubel.nets import self_explaining
    >>> net = self_explaining("class_activation", inputs=(1, 16, 16), outputs=3).eval()
    >>> found = intrinsic(net, torch.zeros(2, 1, 16, 16), target=1)
    >>> found.values.shape, found.coarse.shape, bool((found.residual < 1e-4).all())
    (torch.Size([2, 1, 16, 16]), torch.Size([2, 4, 4]), True)
    """
    began = time.perf_counter()
    if not callable(getattr(net, "explanation", None)):
        raise ValueError(
            "this network gives no explanation with its answer: fit hubel.nets.self_explaining(...), or choose a method that looks "
            "for one afterwards"
        )
    with untouched(net), torch.no_grad():
        question = Question(net, x, target)
        if not isinstance(question.target, Tensor):
            raise TypeError(
                "a self-explaining network explains its outputs: target must be an output's number, or one an example"
            )
        told: Any = net.explanation(question.x)  # type: ignore[operator]
    rows = torch.arange(len(question.x), device=question.x.device)
    channels, sizes = question.x.shape[1], question.x.shape[2:]
    if told.absorbed is None:
        coarse = told.maps[:, 0].detach()
        values = (over_picture(told.maps, question.x) / channels).expand_as(question.x)
        residual = absorbed = None
        notes = ("the mask is the same for all outputs",)
    else:
        coarse = told.maps[rows, question.target].detach()
        values = (spread(coarse, tuple(sizes))[:, None] / channels).expand_as(question.x)
        absorbed = told.absorbed.detach()[question.target]
        missing = (values.flatten(1).sum(1) + absorbed - question.score).abs()
        greatest = values.flatten(1).abs().amax(1)
        residual, notes = missing / question.score.abs().maximum(greatest).clamp_min(1e-30), ()
    return Attribution(
        values=values.detach().clone(),
        method="intrinsic",
        target=question.names,
        score=question.score,
        residual=residual,
        absorbed=absorbed,
        coarse=coarse,
        passes=question.calls + len(question.x),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def spread(coarse: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Maps [N, h, w] over pictures [H, W]: each value shared equally by the pixels that lie in its part, so that the sum is kept.

    >>> spread(torch.tensor([[[4.0, 8.0]]]), (2, 4))[0].tolist()
    [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    for axis, size in enumerate(sizes, start=1):
        num = coarse.shape[axis]
        part = torch.arange(size, device=coarse.device) * num // size
        counts = torch.bincount(part, minlength=num).to(coarse.dtype)
        shape = [num if a == axis else 1 for a in range(coarse.ndim)]
        coarse = (coarse / counts.view(shape)).index_select(axis, part)
    return coarse
