"""Changes of series that leave a label true, made on whole batches of scaled tensors [N, L, F]: a stretch instead of the whole, noise, scale.

They know the lengths of the series (`Draw.lengths`): what lies beyond a length stays zero.

Source: A. Le Guennec, S. Malinowski, R. Tavenard, "Data augmentation for time series classification using convolutional neural
networks", ECML/PKDD workshop AALTD (2016) (stretches); T. T. Um et al., ICMI 2017, arXiv:1706.00527 (noise, scale).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hubel.data.augmentation import Draw


@dataclass(frozen=True, kw_only=True)
class CropSteps:
    """A stretch of each series, which begins anywhere; its share of the steps is uniform in [`least`, 1], and at least one step is left.

    The stretch moves to the beginning, and zeros follow: the batch keeps its shape, and the network is told the new lengths
    (`net(inputs, lengths)`), also where all series had one length.

    Raises `ValueError` where `least` is not in (0, 1].

    >>> from hubel.data.augmentation import Draw
    >>> draw = Draw(0, 1, 0, torch.arange(2))
    >>> crop, x = CropSteps(least=0.5), torch.arange(1.0, 9).view(1, 8, 1).expand(2, 8, 1)
    >>> [int((row != 0).sum()) for row in crop(x, draw)] == crop.new_lengths(x, draw).tolist()
    True
    """

    least: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ValueError(f"least is {self.least}; expected a share of the steps, above 0 and at most 1")

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        first, lengths = self._stretch(inputs, draw)
        steps = torch.arange(inputs.shape[1], device=inputs.device)
        places = (first.unsqueeze(1) + steps).clamp_max(inputs.shape[1] - 1)
        moved = inputs.gather(1, places.unsqueeze(2).expand_as(inputs))
        return moved.masked_fill((steps >= lengths.unsqueeze(1)).unsqueeze(2), 0.0)

    def new_lengths(self, inputs: Tensor, draw: Draw) -> Tensor:
        """The lengths [N] of what `__call__` makes of the inputs at the same moment."""
        return self._stretch(inputs, draw)[1]

    def _stretch(self, inputs: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """First step and number of steps of each stretch."""
        _check_series(inputs, "CropSteps")
        num, whole = len(inputs), torch.full((len(inputs),), inputs.shape[1])
        whole = whole if draw.lengths is None else draw.lengths.cpu()
        share = draw.uniform("crop_steps/share", num, self.least, 1.0)
        lengths = (share * whole).round().long().clamp_min(1)
        first = (draw.uniform("crop_steps/first", num) * (whole - lengths + 1)).long()
        return first.to(inputs.device), lengths.to(inputs.device)


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Add Gaussian noise of `amount` standard deviations of the training data to every value of a series."""

    amount: float = 0.05

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        _check_series(inputs, "Jitter")
        noise = self.amount * torch.randn(inputs.shape, generator=draw.generator("jitter")).to(inputs)
        return inputs + (
            noise if draw.lengths is None else noise.masked_fill(_beyond(inputs, draw.lengths), 0.0)
        )


@dataclass(frozen=True, kw_only=True)
class ScaleValues:
    """Multiply how far every feature of a series is from its mean over the series by a factor in [1/(1+amount), 1+amount], uniform in the
    logarithm, the same for all features of an example.
    """

    amount: float = 0.2

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        _check_series(inputs, "ScaleValues")
        factor = draw.uniform("scale_values", len(inputs), -1.0, 1.0).mul(math.log1p(self.amount)).exp()
        factor = factor.to(inputs).view(-1, 1, 1)
        if draw.lengths is None:
            mean = inputs.mean(dim=1, keepdim=True)
            return mean + (inputs - mean) * factor
        mean = inputs.sum(dim=1, keepdim=True) / draw.lengths.to(inputs).view(-1, 1, 1)
        return (mean + (inputs - mean) * factor).masked_fill(_beyond(inputs, draw.lengths), 0.0)


def _check_series(inputs: Tensor, name: str) -> None:
    if inputs.ndim != 3:
        raise ValueError(
            f"{name} changes series [N, L, F]; received {list(inputs.shape)}: leave it out of the augmentation"
        )


def _beyond(inputs: Tensor, lengths: Tensor) -> Tensor:
    """[N, L, 1], True where there is no step."""
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    return (steps >= lengths.to(inputs.device).unsqueeze(1)).unsqueeze(2)
