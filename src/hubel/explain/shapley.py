"""Shapley values: the worth of a part, averaged over all orders in which the parts can come.

    φ_i = Σ over S without i of |S|! (n - |S| - 1)! / n! · (v(S ∪ {i}) - v(S)),   v(S) = f(x with the parts outside S taken away)

They alone share f(x) - f(x₀) among the parts such that parts that act alike get alike, parts that do nothing get nothing, and the values for
a sum of functions are the sums of the values. `shapley_exact` computes all 2ⁿ answers; `shapley_sampling` draws orders at random, each with
its reverse, and tells its standard error; every order shares out f(x) - f(x₀) exactly.

Sources: L. S. Shapley, "A value for n-person games" (1953), doi:10.1515/9781400881970-018; J. Castro, D. Gómez, J. Tejada, "Polynomial
calculation of the Shapley value based on sampling", Comput. Oper. Res. 36, 1726 (2009), doi:10.1016/j.cor.2008.04.004; E. Štrumbelj,
I. Kononenko, J. Mach. Learn. Res. 11, 1 (2010); the reverses: R. Mitchell et al., J. Mach. Learn. Res. 23, 43 (2022), arXiv:2104.12199.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import numpy_generator
from hubel.core.types import Attribution
from hubel.explain.filling import Fill
from hubel.explain.parts import Parts, parts_of
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.versions import BUDGET, Progress, rows_at_once, scores_of

MOST_PARTS = 16
"""Parts of which all combinations are computed, at most: 65,536 of them."""


def shapley_exact(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    parts: int | np.ndarray | Tensor | None = None,
    fill: Fill = None,
    steps_first: bool = False,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """The Shapley values of at most 16 parts, from all combinations of them.

    `parts` divides each example, see `hubel.explain.parts.parts_of`: each feature of [N, F] and symbol of [N, L] alone, maps [N, C, ...] in 4
    cells along each axis (with `steps_first` steps [N, L, F] in 4 pieces). What is taken away shows `fill` (see `hubel.explain.filling.filled`). `values` share a part's value among its
    positions and channels; `coarse` [N, parts] has the parts' own. `residual` is the completeness: rounding alone.

    Raises `ValueError` for more than 16 parts (use `shapley_sampling`).

    >>> net = nn.Linear(3, 1)
    >>> found = shapley_exact(net, torch.ones(1, 3), target=0)
    >>> bool(torch.allclose(found.values, net.weight, atol=1e-6))
    True
    """
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, steps_first=steps_first)
        empty = question.emptied(fill)
        parts_found = parts_of(question.x[0], parts)
        num = parts_found.count
        if num > MOST_PARTS:
            raise ValueError(
                f"{num} parts have 2^{num} combinations: at most {MOST_PARTS} parts can be computed exactly. Use fewer, or shapley_sampling"
            )
        numbers = np.arange(2**num)
        kept = torch.from_numpy((numbers[:, None] >> np.arange(num)) & 1).bool()
        at_once = rows_at_once(question, budget)
        effects, gaps = [], []
        for row, example in enumerate(question.x):
            blank = empty[row]
            scores = scores_of(
                question,
                row,
                parts_found.maker(example, blank, kept),
                len(kept),
                at_once=at_once,
                progress=progress,
            )
            effects.append(_exact(scores.double().cpu().numpy(), num))
            gaps.append(float(scores[-1].double() - scores[0].double()))
    return _attribution("Shapley values", question, parts_found, np.stack(effects), gaps, empty, start, ())


def shapley_sampling(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    parts: int | np.ndarray | Tensor | None = None,
    permutations: int = 100,
    fill: Fill = None,
    steps_first: bool = False,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """The Shapley values of any number of parts, estimated from `permutations` random orders (an even number: each comes with its reverse).

    The arguments are those of `shapley_exact`; `notes` have the largest standard error of a part's value, from the spread over the pairs.

    Raises `ValueError` for fewer than 4 permutations, or an odd number.

    >>> found = shapley_sampling(nn.Linear(30, 1), torch.ones(2, 30), target=0, permutations=4)
    >>> bool((found.residual < 1e-5).all())
    True
    """
    start = time.perf_counter()
    if permutations < 4 or permutations % 2:
        raise ValueError(f"permutations must be an even number, at least 4; received {permutations}")
    with untouched(net):
        question = Question(net, x, target, of=of, steps_first=steps_first)
        empty = question.emptied(fill)
        parts_found = parts_of(question.x[0], parts)
        num, at_once = parts_found.count, rows_at_once(question, budget)
        effects, gaps, errors = [], [], []
        for row, example in enumerate(question.x):
            blank = empty[row]
            ends = torch.stack([blank, example])
            nothing, everything = scores_of(
                question, row, lambda n, ends=ends: ends[torch.from_numpy(n)], 2, at_once=2
            ).tolist()
            orders = _orders(num, permutations, seed, row)
            gains = np.empty((permutations, num))
            for k, order in enumerate(orders):
                kept = torch.zeros(num - 1, num, dtype=torch.bool)
                for step in range(num - 1):
                    kept[step:, order[step]] = True
                between = (
                    scores_of(
                        question,
                        row,
                        parts_found.maker(example, blank, kept),
                        num - 1,
                        at_once=at_once,
                    ).tolist()
                    if num > 1
                    else []
                )
                gains[k, order] = np.diff([nothing, *between, everything])
                if progress is not None:
                    progress(k + 1, permutations)
            effects.append(gains.mean(axis=0))
            gaps.append(everything - nothing)
            pairs = gains.reshape(-1, 2, num).mean(axis=1)
            errors.append(pairs.std(axis=0, ddof=1).max() / math.sqrt(len(pairs)))
    notes = (f"{permutations} orders; standard error at most {max(errors):.2g}",)
    return _attribution(
        "Shapley values (sampled)", question, parts_found, np.stack(effects), gaps, empty, start, notes
    )


def _exact(scores: np.ndarray, num: int) -> np.ndarray:
    """φ [num] from v [2^num], combinations numbered by their bits."""
    numbers = np.arange(len(scores))
    sizes = sum((numbers >> i) & 1 for i in range(num))
    share = np.array([1 / (num * math.comb(num - 1, size)) for size in range(num)])
    values = np.empty(num)
    for i in range(num):
        without = numbers[(numbers >> i) & 1 == 0]
        values[i] = (share[sizes[without]] * (scores[without | 1 << i] - scores[without])).sum()  # type: ignore[index]
    return values


def _orders(num: int, permutations: int, seed: int, row: int) -> list[np.ndarray]:
    """Random orders of the parts, each followed by its reverse."""
    generator = numpy_generator(seed, "Shapley values", row)
    found = []
    for _ in range(permutations // 2):
        order = generator.permutation(num)
        found += [order, order[::-1].copy()]
    return found


def _attribution(
    method: str,
    question: Question,
    parts: Parts,
    effects: np.ndarray,
    gaps: list[float],
    empty: Tensor,
    start: float,
    notes: tuple[str, ...],
) -> Attribution:
    coarse = torch.from_numpy(effects).to(question.score)
    gap = torch.tensor(gaps, dtype=torch.float64)
    sums = torch.from_numpy(effects).sum(1)
    largest = torch.maximum(gap.abs(), torch.from_numpy(np.abs(effects).max(axis=1))).clamp_min(1e-300)
    return Attribution(
        values=question.as_given(torch.stack([parts.spread(effect) for effect in coarse])),
        method=method,
        target=question.names,
        score=question.score,
        baseline=question.as_given(empty),
        residual=((sums - gap).abs() / largest).to(question.score),
        absorbed=torch.zeros_like(question.score),
        coarse=coarse,
        passes=question.calls,
        seconds=time.perf_counter() - start,
        notes=notes,
    )
