"""Two maps that know nothing: what an explanation has to beat before it is believed.

    random map    a normal number a position, the same for every network
    centre map    exp(-r² / 2 s²) around the middle, s a quarter of each side: where photographers put what they photograph

They are explanations like any other, `random_map(net, x, target=...)`, so that every measure can be asked about them.

The centre as a rival: J. Zhang et al., "Top-down neural attention by excitation backprop", IJCV 126, 1084 (2018),
doi:10.1007/s11263-017-1059-x, table 1.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.core.types import Attribution
from hubel.explain.question import Question, Target, untouched

RANDOM, CENTRE = "random map", "centre map"
CONTROLS = (RANDOM, CENTRE)


def random_map(
    net: nn.Module, x: Tensor | np.ndarray, *, target: Target = None, seed: int = 0
) -> Attribution:
    """A standard normal number a position of `x` [N, ...], shared equally among channels.

    Raises what `Question` raises.

    >>> random_map(nn.Linear(3, 2), torch.ones(4, 3)).values.shape
    torch.Size([4, 3])
    """
    return _known_to_nobody(net, x, target, RANDOM, seed)


def centre_map(net: nn.Module, x: Tensor | np.ndarray, *, target: Target = None) -> Attribution:
    """A bell around the middle of pictures and volumes [N, C, ...], or around the middle of the longer axis of series [N, L, F].

    Raises `ValueError` for rows of features [N, F], which have no middle.

    >>> found = centre_map(nn.Sequential(nn.Flatten(), nn.Linear(25, 2)), torch.ones(1, 1, 5, 5))
    >>> int(found.map.flatten().argmax()), round(float(found.map[0, 0, 2]), 4)  # two rows from the middle: exp(-2² / 2 (5/4)²)
    (12, 0.278)
    """
    return _known_to_nobody(net, x, target, CENTRE, 0)


def controls(x: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """The maps that know nothing about `x`, shaped like it: both, or the random one where `x` has no middle."""
    found = {RANDOM: random_values(x, seed)}
    return found if x.ndim < 3 else found | {CENTRE: centre_values(x)}


def random_values(x: Tensor, seed: int, step: int = 0) -> Tensor:
    """Normal numbers shaped like `x`, one a position; other ones for another `step`."""
    shape = x.shape if x.ndim < 4 else (len(x), 1, *x.shape[2:])
    drawn = torch.randn(shape, generator=torch_generator(seed, RANDOM, step=step)).to(x.device, _real(x))
    return drawn if x.ndim < 4 else (drawn / x.shape[1]).expand_as(x)


def centre_values(x: Tensor) -> Tensor:
    """The bell, shaped like `x`."""
    if x.ndim < 3:
        raise ValueError(
            f"the centre map is for pictures, volumes and series; x has shape {list(x.shape)}, features without a middle"
        )
    axes = range(2, x.ndim) if x.ndim >= 4 else (1 if x.shape[1] >= x.shape[2] else 2,)
    bell = torch.ones((1,) * x.ndim, dtype=_real(x), device=x.device)
    for axis in axes:
        size = x.shape[axis]
        away = (torch.arange(size, dtype=bell.dtype, device=x.device) - (size - 1) / 2) / (size / 4)
        bell = bell * torch.exp(-(away**2) / 2).view(*(size if a == axis else 1 for a in range(x.ndim)))
    return (bell if x.ndim < 4 else bell / x.shape[1]).expand(x.shape)


def _real(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float32


def _known_to_nobody(
    net: nn.Module, x: Tensor | np.ndarray, target: Target, name: str, seed: int
) -> Attribution:
    began = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target)
    values = random_values(question.x, seed) if name == RANDOM else centre_values(question.x)
    return Attribution(
        values=values,
        method=name,
        target=question.names,
        score=question.score,
        passes=question.calls,
        seconds=time.perf_counter() - began,
    )
