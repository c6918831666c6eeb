"""Grad-CAM and its relatives: maps A_c(i, j) of a layer, weighted by what the score's gradient g_c(i, j) = ∂f/∂A_c(i, j) says.

    Grad-CAM     M = Σ_c ḡ_c A_c,            ḡ_c the mean of g_c over positions
    Grad-CAM++   M = Σ_c w_c A_c,            w_c = Σ α_c max(g_c, 0),  α_c = g_c² / (2 g_c² + g_c³ Σ A_c), with g the slope of exp f
    HiResCAM     M = Σ_c g_c A_c             the gradient stays where it is
    LayerCAM     M = Σ_c max(g_c, 0) A_c

The sum of a HiResCAM is f - f(A = 0) where all after the layer is linear (one pooling and one linear layer, say): `residual` tells
whether it is, and `absorbed` is f(A = 0), what biases give. With a mean over positions and a linear layer at the end, Grad-CAM and HiResCAM
are the class activation map, divided by the number of positions.

Maps are signed: what speaks against the target is negative. The papers keep the positive part, for drawing.

Source: R. R. Selvaraju et al., "Grad-CAM", ICCV 2017 (arXiv:1610.02391), eqs. 1 and 2; A. Chattopadhyay et al., "Grad-CAM++", WACV 2018
(arXiv:1710.11063), eqs. 10 and 19; R. L. Draelos, L. Carin, "HiResCAM" (2020), arXiv:2011.08891; P.-T. Jiang et al., "LayerCAM",
IEEE Trans. Image Process. 30 (2021) 5875, doi:10.1109/TIP.2021.3089943.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.gradient import slope_at
from hubel.explain.maps import Seen, score_without, seen_maps, spread
from hubel.explain.question import Scale, Target, untouched

Weighting = Callable[[Tensor, Tensor], Tensor]


def grad_cam(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    layer: str | None = None,
    positive: bool = False,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Grad-CAM: `coarse` [N, h, w] of the maps of `layer` (the last ones unless named), `values` [N, C, H, W] spread over the input.

    `positive` keeps the positive part alone, as in the paper.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> found = grad_cam(net, torch.rand(1, 1, 8, 8), target=1)
    >>> found.coarse.shape, found.values.shape
    (torch.Size([1, 6, 6]), torch.Size([1, 1, 8, 8]))

    Raises `ValueError` as `Question` does, for a network without maps, a layer that is not there, is not called or answers no maps, a score
    that does not depend on them, and a gradient that is not finite.
    """
    return _weighted(net, x, target, layer, of, also, "Grad-CAM", _mean_slope, positive)


def grad_cam_plus_plus(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    layer: str | None = None,
    positive: bool = False,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Grad-CAM++, which weighs positions by α, so that several objects of a class all count; shapes and errors as `grad_cam`.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> grad_cam_plus_plus(net, torch.rand(1, 1, 8, 8)).method
    'Grad-CAM++'
    """
    return _weighted(net, x, target, layer, of, also, "Grad-CAM++", _plus_plus, positive)


def layer_cam(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    layer: str | None = None,
    positive: bool = False,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """LayerCAM, which also works in early layers, whose maps are fine; shapes and errors as `grad_cam`.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> layer_cam(net, torch.rand(1, 1, 8, 8), layer="0").coarse.shape
    torch.Size([1, 6, 6])
    """
    return _weighted(net, x, target, layer, of, also, "LayerCAM", _positive_slope, positive)


def hires_cam(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    layer: str | None = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """HiResCAM, with its residual; shapes and errors as `grad_cam`.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> bool(hires_cam(net, torch.rand(1, 1, 8, 8)).residual < 1e-4)
    True
    """
    return _weighted(net, x, target, layer, of, also, "HiResCAM", _itself, False, complete=True)


def _weighted(
    net: nn.Module,
    x: Tensor | np.ndarray,
    target: Target,
    layer: str | None,
    of: Scale,
    also: tuple[Tensor, ...],
    method: str,
    weighting: Weighting,
    positive: bool,
    *,
    complete: bool = False,
) -> Attribution:
    start = time.perf_counter()
    residual = absorbed = None
    with untouched(net):
        seen = seen_maps(net, x, target, layer=layer, of=of, also=also)
        question, maps = seen.question, seen.as_maps(seen.source.detach())
        slope = seen.as_maps(slope_at(seen.answer, seen.source))
        coarse = (weighting(slope, maps) * maps).sum(1)
        coarse = coarse.clamp(min=0) if positive else coarse
        values = spread(coarse, question.x, steps_first=seen.steps_first)
        if complete:
            absorbed = score_without(seen, layer)
            residual = completeness_residual(values, question.score, absorbed)
        passes = question.calls + len(maps)
    return Attribution(
        values=values,
        method=method,
        target=question.names,
        score=question.score,
        residual=residual,
        absorbed=absorbed,
        coarse=coarse,
        passes=passes,
        seconds=time.perf_counter() - start,
        notes=_notes(layer, seen),
    )


def _notes(layer: str | None, seen: Seen) -> tuple[str, ...]:
    if layer is not None:
        return (f"maps of {layer}",)
    return () if seen.tokens is None else ("maps are the last normalized tokens on which the answer depends",)


def _mean_slope(slope: Tensor, maps: Tensor) -> Tensor:
    return slope.mean(tuple(range(2, slope.ndim)), keepdim=True)


def _plus_plus(slope: Tensor, maps: Tensor) -> Tensor:
    """Slopes of exp f are exp f times those of f, its second and third derivatives its powers; exp f itself cancels in α, and scales the map
    of an example by a number that is left out.
    """
    positions = tuple(range(2, slope.ndim))
    below = 2 * slope.square() + slope.pow(3) * maps.sum(positions, keepdim=True)
    alpha = torch.where(below == 0, 0, slope.square() / below.masked_fill(below == 0, 1))
    return (alpha * slope.clamp(min=0)).sum(positions, keepdim=True)


def _positive_slope(slope: Tensor, maps: Tensor) -> Tensor:
    return slope.clamp(min=0)


def _itself(slope: Tensor, maps: Tensor) -> Tensor:
    return slope
