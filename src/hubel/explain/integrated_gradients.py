"""Integrated gradients: the gradient, averaged along the straight way from a baseline to the input, times their difference.

    V_i = (x_i - x⁰_i) ∫₀¹ ∂f/∂x_i (x⁰ + α (x - x⁰)) dα,   Σ_i V_i = f(x) - f(x⁰)

The integral is a sum over the middles of m equal pieces of the way. How far the sum is from complete is known at no cost, and decides m, for
each example by itself: m = 7, 21, 63, ... until it is within `tolerance`. Three times as many pieces keep all middles that were computed
before. (The way of a network of ReLUs has kinks: there no rule of higher order is better. Measured on networks with kinks, Gauss–Legendre
needs more points than middles do for the same residual.)

Source: M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv:1703.01365).
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.entry import Baseline, Entry, batches, positive, rows_at_once
from hubel.explain.gradient import gradient
from hubel.explain.question import Question, Scale, Target, untouched

FIRST = 7


def integrated_gradients(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    baseline: Baseline = None,
    tolerance: float = 0.01,
    max_steps: int = 1701,
    steps: int | None = None,
    batch_size: int | None = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Integrated gradients [N, ...] of the input `x` [N, ...], complete within `tolerance` of score(x) - score(baseline).

    `baseline` is zero unless given, as in `deeplift`. No example takes more than `max_steps`; with `steps` there are exactly so many. At most
    `batch_size` points of the way are computed at once, whatever the number of steps. The notes say how many steps were made.

    >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> bool(integrated_gradients(net, torch.ones(1, 2), tolerance=1e-3).residual < 1e-3)
    True

    Raises `ValueError` as `Question` does, for a wrong `baseline`, a tolerance that is not positive, steps or batch sizes that are no
    positive whole numbers, an output that does not depend on the input, and a gradient that is not finite.
    """
    if not (isinstance(tolerance, (int, float)) and 0 < tolerance < math.inf):
        raise ValueError(f"tolerance must be a positive number; received {tolerance!r}")
    max_steps = positive(max_steps, "max_steps")
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        batch_size = rows_at_once(entry.point, batch_size)
        point0, shown = entry.baseline(baseline)
        with torch.no_grad():
            difference = question.score.double() - entry(point0).double()
        first = min(FIRST, max_steps) if steps is None else positive(steps, "steps")
        made = torch.full((len(entry),), first)
        middles = (torch.arange(first, dtype=torch.float64) + 0.5) / first
        rows = torch.arange(len(entry))
        mean = torch.zeros_like(entry.point)
        _add(mean, entry, point0, rows, middles, batch_size, 1 / first)
        residual = completeness_residual(mean * (entry.point - point0), difference)
        while steps is None and first * 3 <= max_steps:
            rows = (residual > tolerance).nonzero()[:, 0].cpu()
            if not len(rows):
                break
            thirds = (torch.arange(3 * first, dtype=torch.float64) + 0.5) / (3 * first)
            fresh = thirds[torch.arange(3 * first) % 3 != 1]
            mean[rows] /= 3
            first *= 3
            made[rows] = first
            _add(mean, entry, point0, rows, fresh, batch_size, 1 / first)
            residual = completeness_residual(mean * (entry.point - point0), difference)
        found = mean * (entry.point - point0)
    return Attribution(
        values=entry.values(found),
        method="integrated gradients",
        target=question.names,
        score=question.score,
        baseline=shown,
        residual=residual,
        absorbed=torch.zeros_like(question.score),
        passes=entry.passes,
        seconds=time.perf_counter() - start,
        notes=_notes(made, residual, tolerance, steps),
    )


def _add(
    mean: Tensor,
    entry: Entry,
    point0: Tensor,
    rows: Tensor,
    places: Tensor,
    batch_size: int,
    weight: float,
) -> None:
    """Add `weight` times the gradients of `rows` at all `places` [P] of the way to `mean`."""
    device, dtype = mean.device, mean.dtype
    examples = rows.repeat_interleave(len(places)).to(device)
    alphas = places.repeat(len(rows)).to(device, dtype)
    ones = [1] * (mean.ndim - 1)
    for part in batches(len(examples), batch_size):
        mine, alpha = examples[part], alphas[part].view(-1, *ones)
        point = torch.lerp(point0[mine], entry.point[mine], alpha)
        _, slope = gradient(lambda p, mine=mine: entry(p, mine), point)
        mean.index_add_(0, mine, slope, alpha=weight)
        entry.backwards += len(mine)


def _notes(made: Tensor, residual: Tensor, tolerance: float, steps: int | None) -> tuple[str, ...]:
    least, most = int(made.min()), int(made.max())
    said = f"{least} steps" if least == most else f"{least} to {most} steps"
    missed = int((residual > tolerance).sum())
    if steps is not None or not missed:
        return (said,)
    return (
        said,
        f"{missed} of {len(made)} examples are not within {tolerance:g}: allow more with max_steps",
    )
