"""Where an equation is asked to hold: Sobol points, half of them drawn to where the residual is large.

Among CANDIDATES times as many Sobol points, the probability of one is proportional to  |r| / mean |r| + 1  (RAD with k = c = 1): C. Wu,
M. Zhu, Q. Tan, Y. Kartha, L. Lu, Comput. Methods Appl. Mech. Eng. 403 (2023) 115671, doi:10.1016/j.cma.2022.115671. A draw without
return is the largest of  log p + Gumbel noise. All is a function of the seed and the number of the round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hubel.core.random import key, torch_generator

CANDIDATES = 3
Inside = Callable[[Tensor], Tensor | None]


def everywhere(points: Tensor) -> None:
    """What `Problem.inside` answers of points [N, D] where the domain is a box: there is nothing to choose."""
    return None


def sobol(
    region: Mapping[str, tuple[float, float]],
    num: int,
    seed: int,
    purpose: str,
    round: int = 0,
    inside: Inside = everywhere,
) -> Tensor:
    """Scrambled Sobol points [num, D] in a box, of those that are `inside`.

    >>> points = sobol({"t": (0, 1), "x": (-1, 1)}, 256, 0, "doctest")
    >>> points.shape, points.mean(0).abs().round(decimals=1).tolist()
    (torch.Size([256, 2]), [0.5, 0.0])
    """
    engine = torch.quasirandom.SobolEngine(
        len(region), scramble=True, seed=key(seed, purpose, 0, round) % 2**31
    )
    low = torch.tensor([ends[0] for ends in region.values()], dtype=torch.float64)
    high = torch.tensor([ends[1] for ends in region.values()], dtype=torch.float64)
    found = torch.empty(0, len(region), dtype=torch.float64)
    while len(found) < num:
        points = low + (high - low) * engine.draw(num, dtype=torch.float64)
        chosen = inside(points)
        found = torch.cat([found, points if chosen is None else points[chosen]])
    return found[:num]


def drawn(
    region: Mapping[str, tuple[float, float]],
    num: int,
    seed: int,
    round: int,
    residual: Callable[[Tensor], Tensor],
    inside: Inside = everywhere,
) -> Tensor:
    """Points [num, D] for a round; `residual` answers |r| [N] at points [N, D]."""
    candidates = sobol(region, CANDIDATES * num, seed, "points", round, inside)
    size = residual(candidates)
    weight = size / size.mean().clamp_min(1e-300) + 1
    uniform = torch.rand(
        len(candidates), dtype=torch.float64, generator=torch_generator(seed, "drawn", 0, round)
    )
    order = (weight.log() - (-uniform.clamp(1e-300, 1 - 1e-16).log()).log()).topk(num).indices
    return candidates[order.sort().values]
