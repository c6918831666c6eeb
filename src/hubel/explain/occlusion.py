"""Occlusion: how much the answer falls when a grey patch covers a part of the input.

    effect(patch) = f(x) - f(x with the patch),   for every place of the patch

A patch whose effect is positive covers something that speaks for the target. The value of a position is the mean, over the patches that
cover it, of the patch's effect shared among the positions under it; `Attribution.coarse` is the map of effects at the places of the patch.
On a linear model with patches that do not overlap, the values sum to f(x) - f(x₀), x₀ being the example covered altogether.

Source: M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2 (arXiv:1311.2901,
doi:10.1007/978-3-319-10590-1_53). They map the score under a patch; the fall of the score is the same map turned round.

Where the network's operations can be followed, only what a patch changes is computed (`hubel.explain.incremental`), exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.filling import Fill, filled
from hubel.explain.patches import BYTES_A_PLACE, Patches, axes_of, patches_of, sizes_for, usual_patch
from hubel.explain.question import Question, Scale, Target, as_input, untouched
from hubel.explain.room import refuse_what_does_not_fit
from hubel.explain.versions import BUDGET, Progress, Versions

COARSE = 3
"""How many places of the fine grid lie between two of the coarse one."""
LOOKED_AT = 0.25
"""The share of the coarse places around which the fine ones are computed."""


def occlusion(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    patch: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: Fill = None,
    coarse_to_fine: bool = False,
    steps_first: bool = False,
    also: tuple[Tensor, ...] = (),
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """By how much the number that is explained falls when a patch covers a part of each example.

    `x` is [N, C, ...] (signals, images, volumes; the patch covers all channels), features [N, F], symbols [N, L] (integers, with the symbol
    that stands for nothing as `fill`), or with `steps_first` steps [N, L, F]. `patch` and `stride` are numbers of positions, one for all axes or
    one each: 32 (a quarter of smaller maps) and half of it unless told, 1 for features, symbols and steps. `fill` is what the patch shows,
    see `hubel.explain.filling.filled`: grey unless told.

    `coarse_to_fine` computes every third place first, and the others only around the quarter of them with the largest effects; the rest takes
    the effect of the nearest one. That is approximate, and `notes` say so. `also` are further arguments of the network; batches take `budget`
    bytes; `progress(done, all)` is called after each, example by example.

    Raises `ValueError` for a patch that does not lie on the example, for more places than memory can hold, and for examples of which a pass
    would not fit the memory; see also `Question`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False))
    >>> found = occlusion(net, torch.ones(1, 1, 8), patch=2, stride=2, fill=0)
    >>> bool(torch.allclose(found.values[0, 0, ::2] + found.values[0, 0, 1::2], net[1].weight[0].view(4, 2).sum(1), atol=1e-6))
    True
    """
    start = time.perf_counter()
    with untouched(net):
        refuse_what_does_not_fit(net, as_input(net, x), also)
        question = Question(net, x, target, of=of, also=also)
        values, coarse, baselines, notes = [], [], [], []
        for row, example in enumerate(question.x):
            patches, cover = _placed(example, patch, stride, fill, steps_first)
            versions = Versions(question, row, axes=patches.axes, budget=budget)
            crops = patches.crops(cover)
            if coarse_to_fine:
                scores, share = _coarse_to_fine(versions, patches, crops, progress)
                notes.append(f"approximate: coarse to fine, {share:.0%} of the places computed")
            else:
                scores = versions.scores(patches.starts, crops, progress)
            effects = question.score[row] - scores
            values.append(patches.spread(effects))
            coarse.append(effects.view(patches.grid))
            baselines.append(cover)
            notes += versions.notes
    return Attribution(
        values=torch.stack(values),
        method="occlusion",
        target=question.names,
        score=question.score,
        baseline=torch.stack(baselines),
        coarse=torch.stack(coarse),
        passes=question.calls,
        seconds=time.perf_counter() - start,
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an explanation will take, by one pass and the counted operations: `versions` of the example, `seconds`, `memory` in bytes."""

    versions: int
    seconds: float
    memory: int

    def __str__(self) -> str:
        return f"{self.versions:,} versions of the example, about {self.seconds:.2g} s and {self.memory / 1e6:,.0f} MB"


def occlusion_cost(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    patch: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    steps_first: bool = False,
    also: tuple[Tensor, ...] = (),
    budget: int = BUDGET,
) -> Estimate:
    """What `occlusion` will take for the first example, before it is done: from one recorded pass and counted operations.

    >>> net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(248, 2)).eval()
    >>> occlusion_cost(net, torch.zeros(1, 1, 64), patch=4, stride=2).versions
    31
    """
    with untouched(net):
        first = as_input(net, x)[:1]
        refuse_what_does_not_fit(net, first, also)
        question = Question(
            net, first, target, also=tuple(value[:1] if value.ndim else value for value in also)
        )
        patches, cover = _placed(question.x[0], patch, stride, 0, steps_first)
        versions = Versions(question, 0, axes=patches.axes, budget=budget)
        seconds, memory = versions.estimate(patches.starts, patches.crop(cover, 0)[None])
    return Estimate(versions=len(patches), seconds=seconds, memory=memory + len(patches) * BYTES_A_PLACE)


def _placed(
    example: Tensor,
    patch: int | Sequence[int] | None,
    stride: int | Sequence[int] | None,
    fill: Fill,
    steps_first: bool,
) -> tuple[Patches, Tensor]:
    axes = axes_of(example, steps_first=steps_first)
    size = sizes_for(patch, usual_patch(example, axes), "patch")
    step = sizes_for(stride, [max(1, p // 2) for p in size], "stride")
    patches = patches_of(example.shape, size, step, axes=axes)
    return patches, filled(example, fill, sigma=max(1.0, min(size) / 4), steps_first=steps_first)


def _coarse_to_fine(
    versions: Versions, patches: Patches, crops: Tensor, progress: Progress
) -> tuple[Tensor, float]:
    """Scores [M] of all places, most of them taken from a neighbour; and the share of them that was computed."""
    grid = np.stack(np.unravel_index(np.arange(len(patches)), patches.grid), axis=1)
    last = np.array(patches.grid) - 1
    chosen = ((grid % COARSE == COARSE // 2) | (grid == last)).all(axis=1)

    def computed(numbers: np.ndarray) -> Tensor:
        return versions.scores(
            patches.starts[numbers], crops if len(crops) == 1 else crops[numbers], progress
        )

    coarse = np.flatnonzero(chosen)
    scores = torch.empty(len(patches), dtype=versions.question.score.dtype, device=crops.device)
    scores[coarse] = computed(coarse)
    nearest = coarse[_nearest(grid, grid[coarse])]
    effects = (versions.question.score[versions.row] - scores[coarse]).abs()
    many = max(1, math.ceil(LOOKED_AT * len(coarse)))
    striking = coarse[effects.topk(many).indices.cpu().numpy()]
    fine = np.flatnonzero(np.isin(nearest, striking) & ~chosen)
    scores = scores[nearest]
    if len(fine):
        scores[fine] = computed(fine)
    return scores, (len(coarse) + len(fine)) / len(patches)


def _nearest(places: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of each place the number of the nearest `among` others."""
    found = np.empty(len(places), np.int64)
    for first in range(0, len(places), 4096):
        part = places[first : first + 4096, None]
        found[first : first + 4096] = ((part - among[None]) ** 2).sum(axis=2).argmin(axis=1)
    return found
