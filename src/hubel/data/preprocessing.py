"""From stored values to what enters a network: `(x - mean) / std`, by numbers taken from the training part only.

The same object serves fitting, evaluation, prediction and export, so that they agree bit by bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from hubel.data.dataset import Dataset
from hubel.data.encoding import Encoding, encoding_of

__all__ = ["Preprocessing", "Scaling", "scaling_of"]

CHUNK_BYTES = 2**21  # of float64 values summed at a time: what a processor keeps close to it


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """`(x - mean[c]) / std[c]`, one pair a channel [C, H, W], [C, D, H, W] or a feature [F], [L, F], computed in this order of operations: in float32, or in
    float64 where more than 24 bits were stored, and then rounded to `precision`.

    Steps of a series beyond its length become 0. Where `symbols` is true, inputs [N, L] are numbers of symbols and stay so, as int64.

    Where the `background` is subtracted, each channel of each picture first loses its own mean over all positions, and `mean`
    and `std` are those of what is left.
    `dtype` and `shape` are those of the stored inputs that it was made for; others are refused.

    >>> scaling = Scaling(mean=(128.0,), std=(64.0,), dtype="uint8", shape=(1, 2, 2))
    >>> scaling(torch.tensor([[[[0, 64], [128, 192]]]], dtype=torch.uint8)).flatten().tolist()
    [-2.0, -1.0, 0.0, 1.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str
    shape: tuple[int, ...]
    source: str = "training part"
    precision: str = "float32"
    background: Literal["kept", "subtracted"] = "kept"
    symbols: bool = False
    axis: int | None = None  # of the channels in `shape`; by default that of [F], [L, F], [C, H, W]

    def __post_init__(self) -> None:
        if self.symbols:
            if self.mean or self.std or len(self.shape) != 1:
                raise ValueError(
                    f"symbols of shape {tuple(self.shape)} with {len(self.mean)} means; expected shape (L,), and no means: numbers of "
                    "symbols are not scaled"
                )
            return
        if self.background not in ("kept", "subtracted"):
            raise ValueError(f"background is {self.background!r}; expected kept or subtracted")
        if self.background == "subtracted" and len(self.shape) not in (3, 4):
            raise ValueError(
                f"background: only pictures [C, H, W] and volumes [C, D, H, W] have one; received shape {tuple(self.shape)}"
            )
        if self.precision not in ("float32", "float64"):
            raise ValueError(f"precision is {self.precision!r}; expected float32 or float64")
        if len(self.mean) != len(self.std) or not self.shape or len(self.mean) != self.shape[self._channels]:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} deviations for inputs of shape {tuple(self.shape)}: expected one of each "
                "for every channel or feature"
            )
        if not all(0 < s < math.inf for s in self.std) or not all(map(math.isfinite, self.mean)):
            raise ValueError(
                f"means {self.mean[:5]} and deviations {self.std[:5]}; expected finite numbers, and deviations above zero"
            )

    def __call__(self, stored: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled inputs [N, ...] of the stored inputs [N, ...], on the same device, in a new tensor; of series with `lengths` [N], steps
        beyond them are 0.
        """
        if self.symbols and stored.ndim == 2 and not stored.is_floating_point():
            return stored.to(torch.int64, copy=True)
        fixed = (
            2 if self._channels == 1 else 1
        )  # the first axis of an example is time where the second has the channels: any length
        if stored.ndim != 1 + len(self.shape) or tuple(stored.shape[fixed:]) != tuple(
            self.shape[fixed - 1 :]
        ):
            raise ValueError(
                f"received inputs of shape {tuple(stored.shape[1:])}, but this network was fitted on {tuple(self.shape)}: "
                "read them the way the training data were read (hubel.data.read_like), or fit again"
            )
        work = torch.float64 if stored.dtype.itemsize > 2 and stored.dtype != torch.float32 else torch.float32
        mean, scale = _constants(self.mean, self.std, self._broadcast, work, stored.device)
        values = stored.to(work, copy=True)
        if self.background == "subtracted":
            values.sub_(values.mean(dim=tuple(range(2, values.ndim)), keepdim=True))
        values = values.sub_(mean).mul_(scale).to(getattr(torch, self.precision))
        if lengths is not None:
            beyond = torch.arange(stored.shape[1], device=stored.device) >= lengths.unsqueeze(1)
            values.masked_fill_(beyond.view(*beyond.shape, *(1,) * (stored.ndim - 2)), 0.0)
        return values

    def invert(self, scaled: torch.Tensor) -> torch.Tensor:
        """Values in stored units (floating) of scaled inputs, above the background where that is subtracted."""
        mean = torch.tensor(self.mean, dtype=scaled.dtype, device=scaled.device).view(self._broadcast)
        std = torch.tensor(self.std, dtype=scaled.dtype, device=scaled.device).view(self._broadcast)
        return scaled * std + mean

    @property
    def _broadcast(self) -> tuple[int, ...]:
        """The shape in which one number a channel or feature meets inputs [N, ...]."""
        return (1, *(-1 if place == self._channels else 1 for place in range(len(self.shape))))

    @property
    def _channels(self) -> int:
        return _feature_axis(self.shape) if self.axis is None else self.axis


Preprocessing = Scaling | Encoding
"""From stored inputs to what enters a network."""


def _feature_axis(shape: tuple[int, ...]) -> int:
    """The axis of channels [C, H, W] or features [F], [L, F] in the shape of one example."""
    return 1 if len(shape) == 2 else 0


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _constants(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1/std, shaped to be broadcast; kept, since making them costs as much as scaling a small batch."""
    inverse = [1.0 / s for s in std]
    return (
        torch.tensor(mean, dtype=dtype, device=device).view(shape),
        torch.tensor(inverse, dtype=dtype, device=device).view(shape),
    )


def scaling_of(train: Dataset, *, precision: str = "float32") -> Preprocessing:
    """Mean and standard deviation of every channel (or feature) over the training part, in float64.

    For a table its `Encoding`, unless its rows are their own targets. Of series only the steps that there are count. Symbols are not scaled.
    Where the symmetry "background" is declared, each picture's own mean is taken off first.
    A constant channel keeps a standard deviation of 1, so that it becomes 0 rather than infinite.
    """
    if len(train) == 0:
        raise ValueError(
            "the training part is empty: there is nothing to take mean and standard deviation from"
        )
    if train.reading.get("kind") == "table" and not train.is_its_own_target:
        return encoding_of(train, precision=precision)
    if train.alphabet is not None:
        return Scaling(
            mean=(),
            std=(),
            dtype=str(train.inputs.dtype),
            shape=train.shape,
            precision=precision,
            symbols=True,
        )
    axis = 1 if train.kind == "image series" else None
    feature = 1 + (_feature_axis(train.shape) if axis is None else axis)
    axes = tuple(axis for axis in range(train.inputs.ndim) if axis != feature)
    total = square = 0.0
    above = "background" in train.symmetries and train.inputs.ndim in (4, 5)
    shift = np.asarray(train.inputs[:1], np.float64).mean(
        axis=axes, keepdims=True
    )  # near the mean: no cancellation
    if above:
        shift = np.zeros_like(shift)
    step = max(1, CHUNK_BYTES // (8 * max(1, int(np.prod(train.shape, dtype=np.int64)))))
    for first in range(0, len(train), step):
        part = np.asarray(train.inputs[first : first + step], np.float64)
        part = part - (part.mean(axis=tuple(range(2, part.ndim)), keepdims=True) if above else shift)
        if train.lengths is not None:
            part[np.arange(part.shape[1]) >= train.lengths[first : first + step, None]] = 0.0
        total = total + part.sum(axis=axes)
        square = square + np.square(part, out=part).sum(axis=axes)
    count = len(train) * int(np.prod(train.shape, dtype=np.int64)) // train.shape[feature - 1]
    if train.lengths is not None:
        count = int(train.lengths.sum()) * (int(np.prod(train.shape[1:])) // train.shape[feature - 1])
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0.0)
    mean = mean + shift.reshape(-1)
    std = np.sqrt(variance)
    std = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-300), std, 1.0)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        bad = [c for c, ok in enumerate(np.isfinite(mean) & np.isfinite(std)) if not ok]
        raise ValueError(
            f"channels {bad} of the training part hold NaN or infinite values, so they have no mean: remove or replace them first"
        )
    return Scaling(
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        dtype=str(train.inputs.dtype),
        shape=train.shape,
        precision=precision,
        background="subtracted" if above else "kept",
        axis=axis,
    )
