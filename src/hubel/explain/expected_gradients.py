"""Expected gradients: integrated gradients, averaged over many baselines, which are examples of the data.

    V_i = mean over x⁰ and α of (x_i - x⁰_i) ∂f/∂x_i (x⁰ + α (x - x⁰)),   Σ_i V_i → f(x) - mean f(x⁰)

x⁰ is drawn from the background, and α uniformly between 0 and 1, one in each of as many equal pieces as there are samples. No single
image has to count as nothing. The residual falls as 1/√samples at least.

Source: G. Erion, J. D. Janizek, P. Sturmfels, S. M. Lundberg, S.-I. Lee, "Improving performance of deep learning models with axiomatic
attribution priors and expected gradients", Nature Machine Intelligence 3 (2021) 620, doi:10.1038/s42256-021-00343-w.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.entry import Entry, batches, positive, rows_at_once
from hubel.explain.gradient import gradient
from hubel.explain.question import Question, Scale, Target, as_input, untouched


def expected_gradients(
    net: nn.Module,
    x: Tensor | np.ndarray,
    background: Tensor | np.ndarray,
    *,
    target: Target = None,
    samples: int = 200,
    seed: int = 0,
    batch_size: int | None = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Expected gradients [N, ...] of the input `x` [N, ...] against the examples `background` [M, ...].

    `samples` pairs of baseline and place on the way are drawn for each example; all of the background is drawn equally often, as nearly
    as that goes. The residual is against the mean score of the baselines that were drawn.

    >>> net = nn.Linear(2, 1)
    >>> found = expected_gradients(net, torch.ones(1, 2), torch.randn(10, 2), samples=10)
    >>> bool(found.residual < 1e-4)
    True

    Raises `ValueError` as `Question` does, for a background of another shape, samples or batch sizes that are no positive whole numbers, an
    output that does not depend on the input, and a gradient that is not finite; `TypeError` for symbols, whose way to another symbol
    leads nowhere.
    """
    samples = positive(samples, "samples")
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        batch_size = rows_at_once(entry.point, batch_size)
        if entry.of_symbols:
            raise TypeError("expected_gradients needs real numbers; for symbols use integrated_gradients")
        others = as_input(net, background).to(question.x.dtype)
        if others.shape[1:] != question.x.shape[1:]:
            raise ValueError(
                f"background has examples of shape {list(others.shape[1:])}, x of {list(question.x.shape[1:])}: they must be alike"
            )
        point, num = question.x, len(question.x)
        drawn = torch_generator(seed, "expected gradients", device="cpu")
        choice = _choices(num, samples, len(others), drawn)
        alphas = (torch.arange(samples) + torch.rand(num, samples, generator=drawn)) / samples
        rows = torch.arange(num).repeat_interleave(samples).to(point.device)
        picked, places = choice.flatten().to(point.device), alphas.flatten().to(point.device, point.dtype)
        found, baselines = torch.zeros_like(point), _mean_score(entry, others, rows, picked, batch_size)
        ones = [1] * (point.ndim - 1)
        for part in batches(len(rows), batch_size):
            mine, start0 = rows[part], others[picked[part]]
            way = point[mine] - start0
            _, slope = gradient(
                lambda p, mine=mine: entry(p, mine), start0 + places[part].view(-1, *ones) * way
            )
            found.index_add_(0, mine, slope * way)
            entry.backwards += len(mine)
        found /= samples
    return Attribution(
        values=found,
        method="expected gradients",
        target=question.names,
        score=question.score,
        residual=completeness_residual(found, question.score.double() - baselines),
        absorbed=torch.zeros_like(question.score),
        passes=entry.passes,
        seconds=time.perf_counter() - start,
        notes=(f"{samples} samples against {len(others)} baselines",),
    )


def _mean_score(entry: Entry, others: Tensor, rows: Tensor, picked: Tensor, batch_size: int) -> Tensor:
    """The mean score [N] of the baselines that were picked for each example; each pair is computed once."""
    pairs, counts = torch.unique(rows * len(others) + picked, return_counts=True)
    total = torch.zeros(len(entry), dtype=torch.float64, device=rows.device)
    for part in batches(len(pairs), batch_size):
        mine, other = pairs[part] // len(others), pairs[part] % len(others)
        with torch.no_grad():
            total.index_add_(0, mine, entry(others[other], mine).double() * counts[part])
    return total * len(entry) / len(rows)


def _choices(num: int, samples: int, count: int, drawn: torch.Generator) -> Tensor:
    """Numbers of baselines [num, samples]: whole shuffles of all of them, one after the other."""
    rounds = -(-samples // count)
    shuffles = [[torch.randperm(count, generator=drawn) for _ in range(rounds)] for _ in range(num)]
    return torch.stack([torch.cat(row)[:samples] for row in shuffles])
