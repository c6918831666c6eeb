"""Where a patch can lie on an example, and how what it does is told of the positions that it covers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.data.storage import free_memory

BYTES_A_PLACE = 96
"""What a place takes: where it lies, its score, its effect, and the groups of the engine."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Places of a patch of `size` along the `axes` of an example of `shape` (without N): `starts` [M, axes], on a grid [G_1, ...]."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    size: tuple[int, ...]
    starts: np.ndarray
    grid: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def crop(self, values: Tensor, k: int) -> Tensor:
        """What `values` of the example's shape hold at place `k`."""
        index = [slice(None)] * len(self.shape)
        for axis, place, length in zip(self.axes, self.starts[k].tolist(), self.size, strict=True):
            index[axis] = slice(place, place + length)
        return values[tuple(index)]

    def crops(self, values: Tensor) -> Tensor:
        """What `values` hold at every place [M, ...]; one for all [1, ...] where they are the same everywhere."""
        corner = values[
            tuple(slice(0, 1) if axis in self.axes else slice(None) for axis in range(values.ndim))
        ]
        if bool((values == corner).all()):
            return self.crop(values, 0)[None]
        return torch.stack([self.crop(values, k) for k in range(len(self))])

    def spread(self, effects: Tensor) -> Tensor:
        """Values of the example's shape from the effects [M] of the patches.

        The effect of a patch is shared equally among all values under it; a position that several patches cover has the mean of its shares.
        So the values of patches that do not overlap sum to their effects.

        >>> patches = patches_of((1, 4), (2,), (2,), axes=(1,))
        >>> patches.spread(torch.tensor([1.0, 4.0]))
        tensor([[0.5000, 0.5000, 2.0000, 2.0000]])
        """
        sides = [self.shape[axis] for axis in self.axes]
        share = effects.double().cpu().numpy() / (math.prod(self.size))
        both = np.zeros((2, *(side + 1 for side in sides)))
        for corner in itertools.product((0, 1), repeat=len(sides)):
            places = tuple((self.starts + np.array(corner) * np.array(self.size)).T)
            sign = (-1.0) ** sum(corner)
            np.add.at(both[0], places, sign * share)
            np.add.at(both[1], places, sign)
        for axis in range(len(sides)):
            both = both.cumsum(axis=1 + axis)
        total, count = both[(slice(None), *(slice(side) for side in sides))]
        mean = np.divide(total, np.round(count), out=np.zeros_like(total), where=np.round(count) > 0)
        others = math.prod(self.shape) // math.prod(sides)
        values = torch.from_numpy(mean / others).to(effects.device, effects.dtype)
        return values.view([side if axis in self.axes else 1 for axis, side in enumerate(self.shape)]).expand(
            self.shape
        )


def patches_of(
    shape: Sequence[int], patch: Sequence[int], stride: Sequence[int], *, axes: Sequence[int]
) -> Patches:
    """The places of a patch on an example of `shape` (without N), `stride` positions apart; a last one reaches the border, so that all is covered.

    Raises `ValueError` for a patch larger than the example, sizes below 1, and more places than memory can hold.

    >>> patches_of((3, 8, 6), (4, 4), (3, 2), axes=(1, 2)).starts.tolist()
    [[0, 0], [0, 2], [3, 0], [3, 2], [4, 0], [4, 2]]
    """
    sides = [shape[axis] for axis in axes]
    if any(not 1 <= p <= side for p, side in zip(patch, sides, strict=True)):
        raise ValueError(
            f"a patch of {_by(patch)} does not lie on an example of {_by(sides)} positions: choose patch between 1 and that"
        )
    if any(step < 1 for step in stride):
        raise ValueError(f"stride must be at least 1; received {_by(stride)}")
    counts = [-(-(side - p) // step) + 1 for side, p, step in zip(sides, patch, stride, strict=True)]
    num, free = math.prod(counts), free_memory()
    if num * BYTES_A_PLACE > free // 2:
        more = math.ceil((2 * num * BYTES_A_PLACE / free) ** (1 / len(counts)))
        raise ValueError(
            f"a patch {_by(stride)} positions apart has {num:,} places on {_by(sides)} positions: their scores and effects alone take "
            f"{num * BYTES_A_PLACE / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free. Use a stride {more} times as large, or a part of the example"
        )
    places = [
        np.minimum(np.arange(count) * step, side - p)
        for count, step, side, p in zip(counts, stride, sides, patch, strict=True)
    ]
    starts = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, len(sides))
    return Patches(shape=tuple(shape), axes=tuple(axes), size=tuple(patch), starts=starts, grid=tuple(counts))


def axes_of(example: Tensor, *, steps_first: bool = False) -> tuple[int, ...]:
    """The axes of an example along which a patch moves: all but the channels of maps [C, ...]; those of features [F], symbols [L] and steps [L, F]."""
    if steps_first and example.ndim != 2:
        raise ValueError(f"steps_first is for examples [L, F]; received one of shape {list(example.shape)}")
    return (0,) if example.ndim == 1 or steps_first else tuple(range(1, example.ndim))


def sizes_for(given: int | Sequence[int] | None, usual: Sequence[int], name: str) -> tuple[int, ...]:
    """One whole number an axis, from one for all, one an axis, or nothing (the `usual` ones).

    >>> sizes_for(3, (8, 8), "patch"), sizes_for(None, (8, 8), "patch")
    ((3, 3), (8, 8))
    """
    if given is None:
        return tuple(usual)
    values: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given] * len(usual)
    if len(values) != len(usual) or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise ValueError(
            f"{name} must be a whole number, or {len(usual)} of them, one an axis; received {given!r}"
        )
    return tuple(values)


def usual_patch(example: Tensor, axes: Sequence[int]) -> tuple[int, ...]:
    """32 positions along each axis, as in the paper, or a quarter of smaller maps; 1 of features and symbols."""
    if example.ndim == 1 or len(axes) != example.ndim - 1 or axes[0] == 0:
        return (1,) * len(axes)
    return tuple(min(32, max(1, example.shape[axis] // 4)) for axis in axes)


def _by(numbers: Sequence[int]) -> str:
    return " × ".join(map(str, numbers))
