"""SmoothGrad: the gradient, averaged over noisy copies of the input.

    V = mean over s of ∂f(x + ε_s) / ∂x,   ε_s normal with deviation noise · (max x - min x), for each example

The gradient of a network of many pieces jumps from one to the next; the mean over a neighbourhood does not.

Source: D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg, "SmoothGrad: removing noise by adding noise" (2017), arXiv:1706.03825;
the mean of squares: S. Hooker et al., NeurIPS 2019 (arXiv:1806.10758).
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.core.types import Attribution
from hubel.explain.entry import Entry, batches, positive, rows_at_once
from hubel.explain.gradient import gradient
from hubel.explain.question import Question, Scale, Target, untouched


def smoothgrad(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    noise: float = 0.15,
    samples: int = 50,
    squared: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """The mean gradient [N, ...] over `samples` noisy copies of each example, or with `squared` the mean of its squares.

    `noise` is the deviation as a fraction of each example's range. `batch_size` is the number of copies that are computed at once.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> torch.allclose(smoothgrad(net, torch.rand(1, 2), samples=5).values, net.weight)
    True

    Raises `ValueError` as `Question` does, for noise that is not positive, samples or batch sizes that are no positive whole numbers, an
    output that does not depend on the input, and a gradient that is not finite.
    """
    if not (isinstance(noise, (int, float)) and 0 < noise < math.inf):
        raise ValueError(f"noise must be a positive fraction of the input's range; received {noise!r}")
    samples = positive(samples, "samples")
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        batch_size = rows_at_once(entry.point, batch_size)
        point = entry.point
        flat = point.flatten(1)
        shape = (-1, *[1] * (point.ndim - 1))
        deviation = (noise * (flat.amax(1) - flat.amin(1))).view(shape)
        drawn = torch_generator(seed, "smoothgrad", device=point.device)
        found = torch.zeros_like(point)
        rows = torch.arange(len(point), device=point.device).repeat(samples)
        for part in batches(len(rows), batch_size):
            mine = rows[part]
            moved = torch.randn(
                len(mine), *point.shape[1:], generator=drawn, device=point.device, dtype=point.dtype
            )
            _, slope = gradient(lambda p, mine=mine: entry(p, mine), point[mine] + moved * deviation[mine])
            found.index_add_(0, mine, slope.square() if squared else slope)
            entry.backwards += len(mine)
        found /= samples
    return Attribution(
        values=entry.values(found),
        method="SmoothGrad" if not squared else "smoothgrad (squared)",
        target=question.names,
        score=question.score,
        passes=entry.passes,
        seconds=time.perf_counter() - start,
        notes=(f"{samples} samples",),
    )
