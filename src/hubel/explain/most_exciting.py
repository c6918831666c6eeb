"""The examples of a data set that excite a unit most, and the patches of them that it saw.

What a unit stands for is seen best from what it answers to in real data. Of every example the position counts at which the unit is excited
most; the patch is the receptive field of that position. The data pass through the network once, and only the best are kept.

Source: M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (arXiv:1311.2901), figure 2;
R. Girshick et al., CVPR 2014 (arXiv:1311.2524), section 3.1.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.data.dataset import Dataset
from hubel.explain.layer import LayerOf, check_channels
from hubel.explain.question import Unit, as_input, untouched
from hubel.explain.receptive_field import Fields


@dataclass(frozen=True, kw_only=True, eq=False)
class MostExciting:
    """The `count` examples that excite `unit` most, the most exciting first: their rows in the data (`ids` [n]), the unit's answers `values`
    [n] and where (`positions` [n, axes]), the examples as they are stored (`examples` [n, C, H, W]), the corners of the patches in them
    (`boxes` [n, axes, 2], first and last), and the patches. `seen` is how many examples were looked at, `mean` the mean of their answers.
    """

    unit: Unit
    ids: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    examples: np.ndarray
    boxes: np.ndarray
    seen: int
    mean: float

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def patches(self) -> list[np.ndarray]:
        """What the unit saw of each example: [C, h, w], smaller at the borders."""
        first = self.examples.ndim - 1 - self.boxes.shape[1]
        return [
            example[(slice(None),) * first + tuple(slice(a, b + 1) for a, b in box)]
            for example, box in zip(self.examples, self.boxes.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        shown = ", ".join(str(i) for i in self.ids[:9].tolist())
        return (
            f"{self.unit}: of {self.seen:,} examples, {shown} excite it most ({self.values[0]:.3g} to {self.values[-1]:.3g}; "
            f"the mean is {self.mean:.3g})"
        )


def most_exciting(
    net: nn.Module,
    data: np.ndarray | Tensor | Dataset,
    unit: Unit,
    *,
    count: int = 9,
    scaling: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 64,
) -> MostExciting:
    """The `count` examples of `data` [N, C, H, W] in which `unit` is excited most at any position (or at its own, where it has one).

    `data` are arrays, memory-mapped ones too, or a `Dataset`; they enter the network as they are, or by `scaling`, that of a run.

    Raises `ValueError` for a unit that the network does not have, for data without examples or with values that are not finite.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False))
    >>> _ = nn.init.ones_(net[0].weight)
    >>> x = np.zeros((5, 1, 8, 8), "float32")
    >>> x[3, 0, 2:5, 4:7] = 1
    >>> found = most_exciting(net, x, Unit(layer="0", channel=0), count=2)
    >>> int(found.ids[0]), found.values[0], found.positions[0].tolist(), found.patches[0].min()
    (3, np.float64(9.0), [2, 4], np.float32(1.0))
    """
    rows: Any = data.inputs if isinstance(data, Dataset) else data
    if not isinstance(rows, Tensor) and not hasattr(rows, "shape"):
        raise TypeError(f"data must be an array, a tensor or a Dataset; received {type(data).__name__}")
    if count < 1 or batch_size < 1:
        raise ValueError(f"count is {count} and batch_size {batch_size}; expected at least 1")
    if len(rows) == 0:
        raise ValueError("data has no examples: there is nothing to look at")
    best: list[tuple[float, int, tuple[int, ...]]] = []
    total = 0.0
    answer = fields = None
    with untouched(net), torch.no_grad():
        for first in range(0, len(rows), batch_size):
            x = entering(net, rows[first : first + batch_size], scaling)
            if answer is None:
                answer = LayerOf(net, unit.layer, x[:1])
                fields = Fields(net, unit.layer, tuple(x.shape[1:]), steps_first=unit.steps_first)
                check_channels(unit.layer, answer.shape[-1 if unit.steps_first else 0], [unit.channel])
            values, positions = _greatest(answer(x), unit)
            total += float(values.sum())
            for place, (value, position) in enumerate(zip(values.tolist(), positions, strict=True)):
                entry = (value, -(first + place), position)
                if len(best) < count:
                    heapq.heappush(best, entry)
                else:
                    heapq.heappushpop(best, entry)
    assert fields is not None
    best.sort(reverse=True)
    ids = [-number for _, number, _ in best]
    return MostExciting(
        unit=unit,
        ids=np.array(ids),
        values=np.array([value for value, _, _ in best]),
        positions=np.array([position for _, _, position in best]).reshape(len(best), -1),
        examples=np.stack([_stored(rows, number) for number in ids]),
        boxes=np.array([fields.cut(fields.at(position)) for _, _, position in best]),
        seen=len(rows),
        mean=total / len(rows),
    )


def entering(net: nn.Module, rows: Any, scaling: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Some rows as they enter the network: scaled, where there is a scaling, and checked."""
    part = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    if scaling is None and part.ndim > 2 and not part.is_floating_point() and part.dtype != torch.int64:
        raise ValueError(
            f"data hold {str(part.dtype).removeprefix('torch.')} values, and it is not said how they enter the network: pass "
            "scaling=run.scaling, or floating numbers"
        )
    return as_input(net, part if scaling is None else scaling(part))


def _greatest(answered: Tensor, unit: Unit) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The unit's greatest answer [n] in each example, and its position."""
    if unit.position is not None:
        return unit.read(answered).double(), [unit.position] * len(answered)
    maps = answered[..., unit.channel] if unit.steps_first else answered[:, unit.channel]
    if maps.ndim == 1:
        return maps.double(), [()] * len(maps)
    values, places = maps.flatten(1).double().max(1)
    shape = tuple(maps.shape[1:])
    return values, [tuple(int(i) for i in np.unravel_index(place, shape)) for place in places.tolist()]


def _stored(rows: Any, number: int) -> np.ndarray:
    row = rows[number]
    return row.detach().cpu().numpy() if isinstance(row, Tensor) else np.array(row)
