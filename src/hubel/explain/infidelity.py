"""Infidelity and sensitivity of explanations.

    infidelity        E_I[(I · a - (f(x) - f(x - I)))²]      by how much the map misses what a perturbation I does
    max-sensitivity   max over |d| ≤ r of |a(x + d) - a(x)| / |a(x)|      how far the map moves when the input hardly does

`a` is the map. Perturbations of the infidelity are "patches", random boxes that become the baseline, of which I · a is the sum of the
contributions inside; or "noise", normal numbers of which I · a is a sum of slopes times changes (for methods whose values are slopes).
With `scaled`, the map is multiplied by the number that suits it best, and the answer is divided by E[(f(x) - f(x - I))²]: 0 is a map that
foretells all, 1 one that foretells nothing, whatever its unit.

A map that never changes is not sensitive at all: low max-sensitivity is necessary, not sufficient.

Source: C.-K. Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019 (arXiv:1901.09392), definitions 2.1 and
3.1, the best scale in section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.explain.controls import CENTRE, RANDOM, random_values
from hubel.explain.question import Question, Scale, Target
from hubel.explain.sensitivity_n import random_sets
from hubel.explain.trust import (
    Explainer,
    Trust,
    asked,
    at_positions,
    baseline_for,
    evaluated,
    explained,
    judged,
    over_positions,
)


def infidelity(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    perturbation: Literal["patches", "noise"] = "patches",
    noise: float = 0.2,
    samples: int = 100,
    baseline: float | Tensor | None = None,
    scaled: bool = True,
    of: Scale = "score",
    batch_size: int = 256,
    seed: int = 0,
) -> Trust:
    """Infidelity over `samples` perturbations of inputs [N, ...]; lower is better.

    Patches become `baseline` (default: that of the method, else 0); of features and series they are random sets of positions.
    `noise` is the standard deviation in the units of x.

    >>> net = nn.Linear(6, 2).double()
    >>> from hubel.core.types import Attribution
    >>> def exact(net, x, target=None):
    ...     return Attribution(values=x * net.weight[target], method="exact", target=("",) * len(x), score=net(x)[:, 0])
    >>> round(infidelity(net, torch.rand(3, 6).double(), exact, target=1, scaled=False).value.value, 9)
    0.0
    """
    told = asked(net, x, explain, target, of=of, seed=seed)
    found = missed(
        told.question,
        told.maps,
        baseline_for(told.question.x, baseline, told.found),
        perturbation=perturbation,
        noise=noise,
        samples=samples,
        scaled=scaled,
        batch_size=batch_size,
        seed=seed,
    )
    return judged("infidelity", told.found.method, "lower", found, seed=seed)


def missed(
    question: Question,
    maps: Mapping[str, Tensor],
    zero: Tensor,
    *,
    perturbation: Literal["patches", "noise"] = "patches",
    noise: float = 0.2,
    samples: int = 100,
    scaled: bool = True,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The infidelity [N] of every map [N, ...], by the name of the map; all maps are held to the same perturbations."""
    if perturbation not in ("patches", "noise"):
        raise ValueError(f"perturbation must be patches or noise; received {perturbation!r}")
    if samples < 1 or not noise > 0:
        raise ValueError(
            f"samples is {samples} and noise {noise}; expected at least 1, and a positive number"
        )
    x = question.x
    generator = torch_generator(seed, "infidelity")
    foretold: dict[str, list[Tensor]] = {name: [] for name in maps}

    def versions() -> Iterator[Tensor]:
        for _ in range(samples):
            if perturbation == "noise":
                change = noise * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
                for name, one in maps.items():
                    foretold[name].append((change * one).flatten(1).sum(1))
                yield x - change
            else:
                inside = _patch(x, generator)
                for name, one in maps.items():
                    foretold[name].append((over_positions(one) * inside).sum(1))
                yield torch.where(at_positions(inside, x), zero, x)

    effect = (question.score - evaluated(question, versions(), batch_size)).T.double()
    return {
        name: _missed(torch.stack(columns, 1).double(), effect, scaled).cpu().numpy()
        for name, columns in foretold.items()
    }


def max_sensitivity(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
) -> Trust:
    """The greatest relative change of the map over `samples` changes of at most `radius` (in units of x) a value; lower is better.

    The random map is drawn anew for every input, the centre map is always the same: no method can be steadier than that.

    >>> net = nn.Linear(6, 2)
    >>> from hubel.core.types import Attribution
    >>> def slope(net, x, target=None):
    ...     return Attribution(values=net.weight[target], method="slope", target=("",) * len(x), score=net(x)[:, 0])
    >>> max_sensitivity(net, torch.rand(3, 6), slope, target=1).value.value
    0.0
    """
    if samples < 1 or not radius > 0:
        raise ValueError(
            f"samples is {samples} and radius {radius}; expected at least 1, and a positive number"
        )
    told = asked(net, x, explain, target, seed=seed)
    x = told.question.x
    generator = torch_generator(seed, "max-sensitivity")
    own, random = [], []
    still = random_values(x, seed)
    for sample in range(samples):
        shift = (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1).to(x.device) * radius
        moved = explained(net, x + shift, explain, told.question.target).values
        own.append(_relative(moved, told.found.values))
        random.append(_relative(random_values(x, seed, step=sample + 1), still))
    scores = {"": torch.stack(own, 1).amax(1).double().cpu().numpy()}
    scores[RANDOM] = torch.stack(random, 1).amax(1).double().cpu().numpy()
    if CENTRE in told.controls:
        scores[CENTRE] = np.zeros(len(x))
    return judged("max-sensitivity", told.found.method, "lower", scores, seed=seed)


def _patch(x: Tensor, generator: torch.Generator) -> Tensor:
    """Positions [N, P] inside a random box of each example (sides from 1 to half of the picture's); of features, random sets."""
    sizes = x.shape[2:] if x.ndim >= 4 else x.shape[1:]
    if x.ndim < 4:
        count = int(np.prod(sizes))
        size = int(torch.randint(1, max(2, count // 2 + 1), (), generator=generator))
        return random_sets(len(x), count, size, generator).to(x.device)
    inside = torch.ones(len(x), *sizes, dtype=torch.bool)
    for axis, side in enumerate(sizes):
        length = torch.randint(1, max(2, side // 2 + 1), (len(x),), generator=generator)
        first = (torch.rand(len(x), generator=generator) * (side - length + 1)).long()
        place = torch.arange(side)
        along = (place >= first[:, None]) & (place < (first + length)[:, None])
        inside &= along.view(len(x), *(side if a == axis else 1 for a in range(len(sizes))))
    return inside.flatten(1).to(x.device)


def _missed(foretold: Tensor, effect: Tensor, scaled: bool) -> Tensor:
    """E[(foretold - effect)²] [N]; scaled: at the best factor of at least 0, relative to E[effect²], NaN where nothing happens."""
    if not scaled:
        return ((foretold - effect) ** 2).mean(1)
    square = (foretold**2).sum(1)
    factor = ((foretold * effect).sum(1) / square.clamp_min(1e-300)).clamp_min(0)
    return ((factor[:, None] * foretold - effect) ** 2).sum(1) / (effect**2).sum(1)


def _relative(moved: Tensor, still: Tensor) -> Tensor:
    """|moved - still| / |still| [N]; NaN where there is nothing to move."""
    return (moved - still).flatten(1).norm(dim=1) / still.flatten(1).norm(dim=1)
