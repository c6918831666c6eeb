"""An example divided into parts that are kept or taken away together: features, symbols, cells of a grid, superpixels, or the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """`labels` say of each value of an example (its shape) to which of `count` parts it belongs, 0 to count - 1."""

    labels: Tensor
    count: int

    def versions(self, example: Tensor, blank: Tensor, kept: Tensor) -> Tensor:
        """The example with `blank` in the place of the parts that are not kept: [n, ...] for `kept` [n, count].

        >>> parts_of(torch.zeros(3)).versions(torch.ones(3), torch.zeros(3), torch.tensor([[True, False, True]]))
        tensor([[1., 0., 1.]])
        """
        return torch.where(kept.to(self.labels.device)[:, self.labels], example, blank)

    def maker(self, example: Tensor, blank: Tensor, kept: Tensor) -> Callable[[np.ndarray], Tensor]:
        """The versions of some rows of `kept`, as `scores_of` asks for them."""
        return lambda numbers: self.versions(example, blank, kept[torch.from_numpy(numbers)])

    def spread(self, effects: Tensor) -> Tensor:
        """Values of the example's shape: the effect [count] of each part, shared equally by its values."""
        sizes = torch.bincount(self.labels.flatten(), minlength=self.count).to(effects)
        return (effects / sizes)[self.labels]


def parts_of(example: Tensor, parts: int | np.ndarray | Tensor | None = None) -> Parts:
    """Parts of features [F] or symbols [L]: each alone. Of maps [C, ...]: a grid of `parts` cells along each axis, 4 unless told; all channels together.

    `parts` can also be an array of whole numbers that says which part each position belongs to, of the shape of the example without its
    channels (of features: [F]); any numbers will do.

    Raises `ValueError` for an array that does not fit, and a grid that the example is too small for.

    >>> parts_of(torch.zeros(1, 4, 4), 2).labels[0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    sides = tuple(example.shape[1:]) if example.ndim > 1 else tuple(example.shape)
    if isinstance(parts, (np.ndarray, Tensor)):
        given = torch.as_tensor(parts)
        if tuple(given.shape) != sides or given.is_floating_point() or given.is_complex():
            raise ValueError(
                f"parts must be whole numbers [{', '.join(map(str, sides))}], one a position; received {list(given.shape)} of {given.dtype}"
            )
        different, labels = given.unique(return_inverse=True)
        return _of_positions(example, labels, len(different))
    if example.ndim == 1:
        if parts is not None:
            raise ValueError(
                f"each of {len(example)} features stands alone, or parts is an array [{len(example)}]; received {parts!r}"
            )
        return _of_positions(example, torch.arange(len(example)), len(example))
    cells = 4 if parts is None else parts
    if not isinstance(cells, int) or isinstance(cells, bool) or not 1 <= cells <= max(sides):
        raise ValueError(
            f"parts must be the number of cells along each axis, 1 to {max(sides)}; received {parts!r}"
        )
    labels = torch.zeros(sides, dtype=torch.int64)
    for axis, side in enumerate(sides):
        along = torch.arange(side) * min(cells, side) // side
        labels = labels * min(cells, side) + along.view([-1 if a == axis else 1 for a in range(len(sides))])
    return _of_positions(example, labels, math.prod(min(cells, side) for side in sides))


def _of_positions(example: Tensor, labels: Tensor, count: int) -> Parts:
    labels = labels.to(torch.int64).to(example.device)
    return Parts(labels.expand(example.shape) if example.ndim > 1 else labels, count)
