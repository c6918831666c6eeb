"""RISE: the mean of random masks, each weighted by what the network answers under it.

    S(λ) = 1 / (E[M] n) Σ_i f(x ⊙ M_i + x₀ ⊙ (1 - M_i)) M_i(λ)

Masks are coarse random grids of 0 and 1 (1 with probability p), enlarged linearly to cells of ⌈H/h⌉ × ⌈W/w⌉ positions and cut at a random
place, so that they are smooth. The paper has x₀ = 0 and draws S from its least to its greatest value. Here the values are S less the mean
answer over all masks: by how much the answer is greater where a position is kept. Their sum means nothing.

Source: V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC 2018 (arXiv:1806.07421),
equation 6 and section 3.2: n = 4,000 (8,000 for ResNet-50), h = w = 7, p = 0.5.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.core.types import Attribution
from hubel.explain.filling import Fill
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.versions import BUDGET, Progress, rows_at_once, scores_of

AT_ONCE = 64
"""Masks that are made together: the masks of a seed do not depend on memory."""


def rise(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "probability",
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    fill: Fill = 0.0,
    steps_first: bool = False,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """How much more likely the target is where each position of maps [N, C, ...] is kept, over `masks` random masks of `cells` a side.

    With `steps_first` `x` are steps [N, L, F]. Positions are kept with probability `keep`; what is not shows `fill`. `coarse` is S; `values` are S less the mean answer under all masks, shared
    among the channels, so that 0 is neutral; `notes` have that mean, and the largest standard error of S.

    Raises `ValueError` for inputs without spatial axes, a probability outside 0 and 1, or fewer than two masks.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    >>> rise(net, torch.rand(1, 1, 8, 8), masks=100).values.shape
    torch.Size([1, 1, 8, 8])
    """
    start = time.perf_counter()
    if masks < 2 or cells < 1 or not 0 < keep < 1:
        raise ValueError(
            f"at least 2 masks of at least 1 cell, kept with a probability between 0 and 1, are needed; received masks={masks}, "
            f"cells={cells}, keep={keep}"
        )
    with untouched(net):
        question = Question(net, x, target, of=of, steps_first=steps_first)
        examples = question.x
        if examples.ndim < 3 or not examples.is_floating_point():
            raise ValueError(
                f"x must be maps with channels, [N, C, ...]; received {list(examples.shape)} of {examples.dtype}"
            )
        sides = tuple(examples.shape[2:])
        blank = question.emptied(fill, sigma=max(sides) / 16)
        maps, errors, means, at_once = [], [], [], rows_at_once(question, budget)
        for row in range(len(examples)):
            sums, total = examples.new_zeros(2, *sides, dtype=torch.float64), 0.0
            for first in range(0, masks, AT_ONCE):
                count = min(AT_ONCE, masks - first)
                kept = masks_of(sides, count, cells=cells, keep=keep, seed=seed, batch=first // AT_ONCE)
                kept = kept.to(examples)

                def make(numbers: np.ndarray, kept: Tensor = kept, row: int = row) -> Tensor:
                    mask = kept[torch.from_numpy(numbers).to(kept.device)][:, None]
                    return mask * examples[row] + (1 - mask) * blank[row]

                scores = scores_of(question, row, make, count, at_once=at_once).double()
                weighted = scores.view(-1, *(1,) * len(sides)) * kept.double() / keep
                total += float(scores.sum())
                sums += torch.stack([weighted.sum(0), weighted.square().sum(0)])
                if progress is not None:
                    progress(first + count, masks)
            mean = sums[0] / masks
            errors.append(((sums[1] / masks - mean**2).clamp_min(0) / (masks - 1)).sqrt().max())
            maps.append(mean)
            means.append(total / masks)
    coarse = torch.stack(maps)
    values = coarse - torch.tensor(means, dtype=torch.float64).to(coarse).view(-1, *(1,) * len(sides))
    return Attribution(
        values=question.as_given(
            (values.to(examples.dtype) / examples.shape[1]).unsqueeze(1).expand_as(examples)
        ),
        method="RISE",
        target=question.names,
        score=question.score,
        baseline=question.as_given(blank),
        coarse=coarse.to(examples.dtype),
        passes=question.calls,
        seconds=time.perf_counter() - start,
        notes=(
            f"mean answer {', '.join(f'{mean:.3g}' for mean in means[:3])}",
            f"standard error at most {float(torch.stack(errors).max()):.2g}",
        ),
    )


def masks_of(
    sides: tuple[int, ...], count: int, *, cells: int, keep: float, seed: int, batch: int = 0
) -> Tensor:
    """`count` random masks [count, *sides] with values from 0 to 1 and mean `keep`; a function of the seed and the number of the batch.

    >>> masks_of((8, 6), 3, cells=4, keep=0.5, seed=0).shape
    torch.Size([3, 8, 6])
    """
    generator = torch_generator(seed, "RISE", 0, batch)
    grid = [min(cells, side) for side in sides]
    cell = [-(-side // number) for side, number in zip(sides, grid, strict=True)]
    coarse = (torch.rand(count, 1, *grid, generator=generator) < keep).float()
    size = [(number + 1) * length for number, length in zip(grid, cell, strict=True)]
    mode = ("linear", "bilinear", "trilinear")[len(sides) - 1]
    large = F.interpolate(coarse, size=size, mode=mode, align_corners=False)[:, 0]
    found = []
    for mask in large:
        offsets = [int(torch.randint(length, (1,), generator=generator)) for length in cell]
        found.append(mask[tuple(slice(o, o + side) for o, side in zip(offsets, sides, strict=True))])
    return torch.stack(found)
