"""The pointing game: does the greatest value of the map lie on what is to be seen?

    score = hits / images,    a hit: the greatest position lies in the mask or box, or within `tolerance` pixels of it

The random map is counted exactly: the share of positions that are a hit. Where the greatest value is held by several positions, their
share that hits counts.

Source: J. Zhang et al., "Top-down neural attention by excitation backprop", IJCV 126, 1084 (2018), doi:10.1007/s11263-017-1059-x,
section 4.2 (tolerance 15 pixels); the rival that always points at the middle is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hubel.explain.controls import CENTRE, RANDOM
from hubel.explain.question import Target
from hubel.explain.trust import Explainer, Trust, asked, judged, over_positions
from hubel.metrics.intervals import wilson


def pointing_game(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    where: Tensor | np.ndarray | Sequence[Sequence[Sequence[float]]],
    *,
    target: Target = None,
    tolerance: float = 0,
    seed: int = 0,
) -> Trust:
    """The share of images whose greatest value hits, with Wilson's interval; higher is better.

    `where` are masks [N, H, W] (bool; [N, D, H, W] of volumes, [N, F] of features), or for each image a list of boxes (top, left,
    bottom, right) in pixels, the last row and column not inside.

    Raises `ValueError` for masks of another shape, or an image on which nothing or everything would be a hit.

    >>> from hubel.core.types import Attribution
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> def corner(net, x, target=None):
    ...     values = torch.zeros_like(x)
    ...     values[:, 0, 0, 0] = 1
    ...     return Attribution(values=values, method="corner", target=("",) * len(x), score=net(x)[:, 0])
    >>> found = pointing_game(net, torch.ones(2, 1, 4, 4), corner, [[(0, 0, 2, 2)], [(2, 2, 4, 4)]])
    >>> found.each.tolist(), found.controls["random map"].value
    ([1.0, 0.0], 0.25)
    """
    told = asked(net, x, explain, target, seed=seed)
    x = told.question.x
    sizes = tuple(x.shape[2:] if x.ndim >= 4 else x.shape[1:])
    hit = _grown(_masks(where, len(x), sizes), tolerance, sizes).flatten(1).to(x.device)
    share = hit.double().mean(1)
    for number in range(len(x)):
        if not 0 < float(share[number]) < 1:
            raise ValueError(
                f"image {number}: {float(share[number]):.0%} of the positions would be a hit, which decides the game before it begins: "
                "leave the image out"
            )
    scores = {"": _hits(told.found.values, hit), RANDOM: share.cpu().numpy()}
    if CENTRE in told.controls:
        scores[CENTRE] = _hits(told.controls[CENTRE], hit)
    found = judged("pointing game", told.found.method, "higher", scores, seed=seed)
    return replace(found, value=wilson(float(scores[""].sum()), len(x)))


def _masks(
    where: Tensor | np.ndarray | Sequence[Sequence[Sequence[float]]], num: int, sizes: tuple[int, ...]
) -> Tensor:
    """Bool [N, *sizes] of masks, or of boxes."""
    if isinstance(where, (Tensor, np.ndarray)):
        masks = torch.as_tensor(where)
        if tuple(masks.shape) != (num, *sizes):
            raise ValueError(f"where has shape {list(masks.shape)}; expected masks {[num, *sizes]}")
        return masks.cpu() > 0
    if len(where) != num or len(sizes) != 2:
        raise ValueError(
            f"where has {len(where)} lists of boxes for {num} images of {sizes}: give one list of boxes (top, left, bottom, right) a picture"
        )
    masks = torch.zeros(num, *sizes, dtype=torch.bool)
    for number, boxes in enumerate(where):
        for box in boxes:
            if len(box) != 4:
                raise ValueError(
                    f"image {number} has the box {tuple(box)}; expected (top, left, bottom, right) in pixels"
                )
            top, left, bottom, right = (round(float(v)) for v in box)
            if not (0 <= top < bottom <= sizes[0] and 0 <= left < right <= sizes[1]):
                raise ValueError(
                    f"image {number} has the box {tuple(box)}; expected (top, left, bottom, right) inside {sizes[0]} × {sizes[1]} pixels"
                )
            masks[number, top:bottom, left:right] = True
    return masks


def _grown(masks: Tensor, tolerance: float, sizes: tuple[int, ...]) -> Tensor:
    """Masks and all positions within `tolerance` of them (Euclidean)."""
    if tolerance < 0:
        raise ValueError(f"tolerance is {tolerance}; expected 0 or a positive number of pixels")
    if tolerance == 0:
        return masks
    from scipy.ndimage import distance_transform_edt

    away = [
        np.asarray(distance_transform_edt(~mask.numpy())) if bool(mask.any()) else np.full(sizes, np.inf)
        for mask in masks
    ]
    return torch.from_numpy(np.stack(away) <= tolerance)


def _hits(values: Tensor, hit: Tensor) -> np.ndarray:
    """The share [N] of the greatest positions that hit."""
    maps = over_positions(values)
    greatest = maps == maps.amax(1, keepdim=True)
    return ((greatest & hit).sum(1).double() / greatest.sum(1)).cpu().numpy()
