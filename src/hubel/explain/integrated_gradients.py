"""Integrated gradients: the gradient, averaged along the straight way from a baseline to the input, times their difference.

    V_i = (x_i - x⁰_i) ∫₀¹ ∂f/∂x_i (x⁰ + α (x - x⁰)) dα,   Σ_i V_i = f(x) - f(x⁰)

The way is cut into four pieces, [0, 1/64], [1/64, 1/16], [1/16, 1/4] and [1/4, 1], and each into equal parts, at whose middles the gradient
is taken. Completeness holds for every piece by itself, so that what each lacks is known at nearly no cost; the pieces that lack too much
get three times as many parts (all middles stay), for each example by itself, until the sum is within `tolerance`. The short pieces are for
networks with layer norm, in which nearly everything happens next to a baseline of zero; on kinks, as ReLUs make them, no rule of
higher order is better than middles.

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

EDGES = (0.0, 1 / 64, 1 / 16, 1 / 4, 1.0)
FIRST = (1, 1, 3, 9)
"""Where the pieces of the way end, and into how many parts each is cut at first."""


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
        way = _Way(entry, point0, batch_size, cut=FIRST if steps is None else (positive(steps, "steps"),))
        way.add(torch.ones_like(way.counts, dtype=torch.bool), anew=True)
        found, residual, open_ = way.found(difference, tolerance)
        while steps is None and bool((more := way.affordable(open_, max_steps)).any()):
            way.add(more)
            found, residual, open_ = way.found(difference, tolerance)
        made = way.counts.sum(1)
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


class _Way:
    """The way from the baseline to each example: `counts` [N, K] parts of each piece, and the sums of the gradients at their middles."""

    def __init__(self, entry: Entry, point0: Tensor, batch_size: int, *, cut: tuple[int, ...]):
        self.entry, self.point0, self.batch_size = entry, point0, batch_size
        self.edges = torch.tensor(EDGES if len(cut) > 1 else (0.0, 1.0), dtype=torch.float64)
        self.counts = torch.tensor(cut).repeat(len(entry), 1)
        self.sums = torch.zeros(len(entry), len(cut), *entry.point.shape[1:]).to(entry.point)
        ends = [self._score(place) for place in self.edges[1:-1].tolist()]
        self.inner = torch.stack(ends, 1) if ends else torch.zeros(len(entry), 0, dtype=torch.float64)

    def add(self, which: Tensor, *, anew: bool = False) -> None:
        """Cut the pieces `which` [N, K] into three times as many parts, or (`anew`) into as many as `counts` says."""
        rows, pieces, places = [], [], []
        for row, piece in which.nonzero().tolist():
            count = int(self.counts[row, piece]) * (1 if anew else 3)
            self.counts[row, piece] = count
            number = torch.arange(count)
            number = number if anew else number[number % 3 != 1]
            start, end = self.edges[piece], self.edges[piece + 1]
            places.append(start + (number + 0.5) / count * (end - start))
            rows += [row] * len(number)
            pieces += [piece] * len(number)
        device = self.sums.device
        flat = self.sums.view(-1, *self.sums.shape[2:])
        examples, alphas = torch.tensor(rows, device=device), torch.cat(places).to(flat)
        index = examples * self.sums.shape[1] + torch.tensor(pieces, device=device)
        for part in batches(len(rows), self.batch_size):
            mine = examples[part]
            alpha = alphas[part].view(-1, *[1] * (flat.ndim - 1))
            point = torch.lerp(self.point0[mine], self.entry.point[mine], alpha)
            _, slope = gradient(lambda p, mine=mine: self.entry(p, mine), point)
            flat.index_add_(0, index[part], slope)
            self.entry.backwards += len(mine)

    def found(self, difference: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        """The values [N, ...], their residuals [N], and which pieces [N, K] lack too much."""
        shape = (*self.counts.shape, *[1] * (self.sums.ndim - 2))
        weights = (self.edges.diff() / self.counts).view(shape).to(self.sums)
        change = self.entry.point - self.point0
        values = (self.sums * weights).sum(1) * change
        residual = completeness_residual(values, difference)
        along = (self.sums * change.unsqueeze(1)).flatten(2).double().sum(2) * weights.flatten(1).double()
        end, start = self.entry.question.score.double(), self.entry.question.score.double() - difference
        ends = torch.cat([start[:, None], self.inner.to(start.device), end[:, None]], 1)
        lacking = (along - ends.diff(dim=1)).abs()
        allowed = tolerance * difference.abs().maximum(values.flatten(1).abs().amax(1).double())
        return values, residual, (residual > tolerance)[:, None] & (lacking > allowed[:, None] / shape[1])

    def affordable(self, which: Tensor, max_steps: int) -> Tensor:
        """The pieces of `which` of the examples for which three times as many parts there are not more than `max_steps` in all."""
        which = which.cpu()
        after = self.counts.sum(1) + 2 * (self.counts * which).sum(1)
        return which & (after <= max_steps)[:, None]

    def _score(self, place: float) -> Tensor:
        with torch.no_grad():
            return self.entry(torch.lerp(self.point0, self.entry.point, place)).double().cpu()


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
