"""Sensitivity-n: do the values of the map add up to what really happens when n positions are taken away?

    score = mean over n of corr_S( sum of the map over S,  f(x) - f(x without S) ),   S random sets of n positions

The correlation is over sets, an image and an n at a time. It is 1 for every n on a linear network and its exact contributions, and it
does not change with the scale of the map.

Source: M. Ancona, E. Ceolini, C. Öztireli, M. Gross, "Towards better understanding of gradient-based attribution methods for deep
neural networks", ICLR 2018 (arXiv:1711.06104), definition 2 and section 4.1: n up to 80 % of the positions, 100 sets each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.explain.controls import CONTROLS
from hubel.explain.deletion_insertion import Curves
from hubel.explain.question import Question, Scale, Target
from hubel.explain.trust import (
    Explainer,
    Trust,
    asked,
    at_positions,
    baseline_for,
    evaluated,
    judged,
    over_positions,
)

SHARE, NUM_SIZES = 0.8, 8


def sensitivity_n(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    sizes: Sequence[int] | None = None,
    subsets: int = 100,
    baseline: float | Tensor | None = None,
    of: Scale = "score",
    batch_size: int = 256,
    seed: int = 0,
) -> Trust:
    """The mean correlation over `sizes` n (default: 8 from 1 to 80 % of the positions, in equal ratios), of `subsets` sets each.

    What is taken away becomes `baseline` (default: that of the method, else 0). `curve` [N, S] has the correlation at each n, `at` [S]
    the share n / P.

    Raises `ValueError` where the network's answer does not change whatever is taken away.

    >>> net = nn.Linear(6, 2).double()
    >>> from hubel.core.types import Attribution
    >>> def exact(net, x, target=None):
    ...     return Attribution(values=x * net.weight[target], method="exact", target=("",) * len(x), score=net(x)[:, 0])
    >>> round(sensitivity_n(net, torch.rand(3, 6).double(), exact, target=1).value.value, 6)
    1.0
    """
    told = asked(net, x, explain, target, of=of, seed=seed)
    zero = baseline_for(told.question.x, baseline, told.found)
    curves = correlations(
        told.question, told.maps, zero, sizes=sizes, subsets=subsets, batch_size=batch_size, seed=seed
    )
    return mean_correlation(told.found.method, curves, seed=seed)


def correlations(
    question: Question,
    maps: Mapping[str, Tensor],
    zero: Tensor,
    *,
    sizes: Sequence[int] | None = None,
    subsets: int = 100,
    batch_size: int = 256,
    seed: int = 0,
) -> Curves:
    """The correlations [N, S] of every map [N, ...] at each n, by the name of the map; all maps are held to the same sets.

    Raises `ValueError` for sizes out of range, and where the network's answer never changes.
    """
    x = question.x
    flat = {name: over_positions(values).double() for name, values in maps.items()}
    count = over_positions(x[:1]).shape[1]
    sizes = _sizes(count, sizes)
    if subsets < 3:
        raise ValueError(f"subsets is {subsets}; a correlation needs at least 3")
    generator = torch_generator(seed, "sensitivity-n")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in maps}
    for size in sizes:
        chosen = random_sets(subsets, count, size, generator).to(x.device)
        versions = (torch.where(at_positions(one, x), zero, x) for one in chosen)
        effect = (question.score - evaluated(question, versions, batch_size)).T.double()
        for name, one in flat.items():
            columns[name].append(_correlation(one @ chosen.T.double(), effect).cpu().numpy())
    found = {name: (np.stack(values, 1), np.array(sizes) / count) for name, values in columns.items()}
    if any(np.isnan(curve).all() for curve, _ in found.values()):
        raise ValueError(
            "the number that is explained does not change whatever is taken away: it does not depend on this input, or the baseline is the input"
        )
    return found


def mean_correlation(method: str, curves: Curves, *, own: str = "", seed: int = 0) -> Trust:
    """The mean over sizes of the correlations of the map called `own` and of the maps that know nothing."""
    shown = {"": curves[own], **{name: curves[name] for name in CONTROLS if name in curves}}
    scores = {name: _mean(curve) for name, (curve, _) in shown.items()}
    curve, at = curves[own]
    return judged("sensitivity-n", method, "higher", scores, curve=curve, at=at, seed=seed)


def random_sets(num: int, count: int, size: int, generator: torch.Generator) -> Tensor:
    """`num` random sets of `size` of `count` positions: [num, count], bool."""
    drawn = torch.rand(num, count, generator=generator).argsort(1)[:, :size]
    return torch.zeros(num, count, dtype=torch.bool).scatter_(1, drawn, True)


def _sizes(count: int, sizes: Sequence[int] | None) -> list[int]:
    if sizes is None:
        most = max(1, int(SHARE * count))
        return sorted({int(n) for n in np.geomspace(1, most, NUM_SIZES).round()})
    if not sizes or not all(1 <= n < count for n in sizes):
        raise ValueError(f"sizes are {list(sizes)}; expected numbers from 1 to {count - 1}")
    return list(sizes)


def _correlation(predicted: Tensor, effect: Tensor) -> Tensor:
    """Pearson's correlation [N] of rows [N, S]: 0 where the map says always the same, NaN where nothing happens."""
    a = predicted - predicted.mean(1, keepdim=True)
    b = effect - effect.mean(1, keepdim=True)
    size = a.norm(dim=1) * b.norm(dim=1)
    nothing = b.norm(dim=1) <= 1e-12 * effect.norm(dim=1).clamp_min(1e-300)
    value = torch.where(size > 0, (a * b).sum(1) / size.clamp_min(1e-300), torch.zeros_like(size))
    return torch.where(nothing, torch.nan, value)


def _mean(curve: np.ndarray) -> np.ndarray:
    """The mean over sizes at which the correlation exists; NaN where there is none."""
    counted = np.isfinite(curve)
    total = np.where(counted, curve, 0.0).sum(1)
    return np.where(counted.any(1), total / np.maximum(counted.sum(1), 1), np.nan)
