"""Deletion and insertion: take away (or bring in) the positions of a map in its order, and watch the probability.

    deletion     f(x with the k greatest positions replaced), k = 0 … P       area under the curve: lower is better
    insertion    f(substrate with the k greatest positions of x brought in)   area under the curve: higher is better

The areas are over the share of positions, by trapezoids, so between 0 and 1 for probabilities. Positions that the map holds equal are
taken in a random order. Both measures put pictures before the network that it has never seen, and they disagree with each other
(arXiv:2302.10764, arXiv:2411.14946): read them together, and against the maps that know nothing.

Source: V. Petsiuk, A. Das, K. Saenko, "RISE", BMVC 2018 (arXiv:1806.07421), section 3.3, and the authors' code: 28 steps (224 · 8
pixels of 224²), zeros for deletion, a blurred picture (11 pixels, σ = 5) for insertion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.explain.controls import CONTROLS
from hubel.explain.question import Question, Scale, Target
from hubel.explain.trust import (
    Explainer,
    Trust,
    asked,
    at_positions,
    evaluated,
    judged,
    over_positions,
)

STEPS = 28
BLUR = 11, 5.0
Curves = dict[str, tuple[np.ndarray, np.ndarray]]
"""By the name of a map the number that is explained [N, S], and the share [S] of positions that were changed."""
Substrate = Literal["zero", "blur"] | float | Tensor
"""What stands where nothing is shown: 0 (the mean of the training data, in what enters a fitted network), a number, the blurred
picture, or a tensor that meets x."""


def deletion(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    substrate: Substrate = "zero",
    step: int | None = None,
    of: Scale = "probability",
    batch_size: int = 256,
    seed: int = 0,
) -> Trust:
    """The area under the curve of deletion, for inputs [N, ...] in network units. `step` positions go at a time (default: a 28th).

    `curve` [N, S] has the probability of the target (or its score, by `of`), `at` [S] the share of positions that are gone.

    >>> net = nn.Linear(4, 1)
    >>> with torch.no_grad():
    ...     _ = net.weight.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]])), net.bias.zero_()
    >>> from hubel.core.types import Attribution
    >>> def exact(net, x, target=None):
    ...     return Attribution(values=x * net.weight, method="exact", target=("output 0",) * len(x), score=net(x)[:, 0])
    >>> deletion(net, torch.ones(3, 4), exact, of="score").curve[0].tolist()
    [10.0, 6.0, 3.0, 1.0, 0.0]
    """
    told = asked(net, x, explain, target, of=of, seed=seed)
    curves = deletion_curves(told.question, told.maps, substrate, step=step, batch_size=batch_size, seed=seed)
    return areas("deletion", told.found.method, curves, seed=seed)


def insertion(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    substrate: Substrate = "blur",
    step: int | None = None,
    of: Scale = "probability",
    batch_size: int = 256,
    seed: int = 0,
) -> Trust:
    """The area under the curve of insertion; arguments and answer as of `deletion`.

    Features [N, F] can not be blurred: they begin from 0 unless `substrate` says otherwise.
    """
    told = asked(net, x, explain, target, of=of, seed=seed)
    curves = insertion_curves(
        told.question, told.maps, substrate, step=step, batch_size=batch_size, seed=seed
    )
    return areas("insertion", told.found.method, curves, seed=seed)


def deletion_curves(
    question: Question,
    maps: Mapping[str, Tensor],
    substrate: Substrate = "zero",
    *,
    step: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> Curves:
    """The curve of deletion of every map [N, ...], by the name of the map."""
    x = question.x
    return _curves(question, maps, x, substrate_for(x, substrate), step, batch_size, seed)


def insertion_curves(
    question: Question,
    maps: Mapping[str, Tensor],
    substrate: Substrate = "blur",
    *,
    step: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> Curves:
    """The curve of insertion of every map [N, ...], by the name of the map."""
    x = question.x
    start = substrate_for(
        x, 0.0 if isinstance(substrate, str) and substrate == "blur" and x.ndim < 3 else substrate
    )
    return _curves(question, maps, start, x, step, batch_size, seed)


def areas(
    measure: Literal["deletion", "insertion"], method: str, curves: Curves, *, own: str = "", seed: int = 0
) -> Trust:
    """The areas under the curves of the map called `own` and of the maps that know nothing."""
    shown = {"": curves[own], **{name: curves[name] for name in CONTROLS if name in curves}}
    scores = {name: np.trapezoid(curve, at, axis=1) for name, (curve, at) in shown.items()}
    curve, at = curves[own]
    better = "lower" if measure == "deletion" else "higher"
    return judged(measure, method, better, scores, curve=curve, at=at, seed=seed)


def substrate_for(x: Tensor, substrate: Substrate) -> Tensor:
    """What stands where nothing is shown of `x`, in its shape.

    Raises `ValueError` for a word that is neither, or a shape that does not meet `x`.
    """
    if isinstance(substrate, str):
        if substrate not in ("zero", "blur"):
            raise ValueError(f"substrate must be zero, blur, a number or a tensor; received {substrate!r}")
        return torch.zeros_like(x) if substrate == "zero" else blurred(x)
    value = torch.as_tensor(substrate, dtype=x.dtype, device=x.device)
    try:
        return value.expand(x.shape)
    except RuntimeError:
        raise ValueError(
            f"substrate has shape {list(value.shape)}; expected a number, or a shape that meets inputs {list(x.shape)}"
        ) from None


def blurred(x: Tensor, size: int = BLUR[0], sigma: float = BLUR[1]) -> Tensor:
    """`x` [N, C, ...] under the kernel of RISE's code along every axis of positions, with zeros beyond the border.

    Of series [N, L, F] the longer axis is that of positions.

    >>> blurred(torch.ones(1, 1, 32, 32))[0, 0, 16, 16].round(decimals=4)
    tensor(1.)
    """
    from scipy.ndimage import gaussian_filter1d

    spike = np.zeros(size)
    spike[size // 2] = 1.0
    kernel = torch.as_tensor(gaussian_filter1d(spike, sigma), dtype=x.dtype, device=x.device)
    axes = range(2, x.ndim) if x.ndim >= 4 else (1 if x.shape[1] >= x.shape[2] else 2,)
    for axis in axes:
        line = x.movedim(axis, -1)
        smooth = nn.functional.conv1d(
            line.reshape(-1, 1, line.shape[-1]), kernel.view(1, 1, -1), padding=size // 2
        )
        x = smooth.view(line.shape).movedim(-1, axis)
    return x


def _curves(
    question: Question,
    maps: Mapping[str, Tensor],
    start: Tensor,
    end: Tensor,
    step: int | None,
    batch_size: int,
    seed: int,
) -> Curves:
    """For each map the number that is explained as more and more positions are as in `end`."""
    count = over_positions(end[:1]).shape[1]
    step = -(-count // STEPS) if step is None else step
    if not 1 <= step <= count:
        raise ValueError(f"step is {step}; expected 1 to {count}, the number of positions")
    edges = [*range(0, count, step), count]
    found = {}
    for name, one in maps.items():
        rank = ranks(over_positions(one), seed)
        versions = (torch.where(at_positions(rank < edge, end), end, start) for edge in edges)
        curve = evaluated(question, versions, batch_size).T
        found[name] = curve.double().cpu().numpy(), np.array(edges) / count
    return found


def ranks(maps: Tensor, seed: int) -> Tensor:
    """The place [N, P] of every position in the order of its map, the greatest first; equal ones in a random order.

    >>> ranks(torch.tensor([[1.0, 5.0, 3.0]]), 0).tolist()
    [[2, 0, 1]]
    """
    shuffled = torch.randperm(maps.shape[1], generator=torch_generator(seed, "equal positions")).to(
        maps.device
    )
    order = shuffled[maps[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(maps.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
