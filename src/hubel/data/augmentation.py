"""Changes that leave a label true, made on whole batches of scaled tensors [N, C, H, W], or of volumes [N, C, D, H, W]; those of series
[N, L, F] stand in `hubel.data.augmentation_of_series`, what becomes of boxes in `hubel.data.augmentation_of_boxes`.

Each is a frozen object with its own strength; each draws from a generator that is a pure function of
(seed, name, epoch, step), so that a resumed run sees the same pictures. Nothing here is applied unless the user (or a
built-in set, of itself) declared the symmetry.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.core import random
from hubel.data.augmentation_of_boxes import (
    CopyPaste,
    Mosaic,
    Size,
    hidden,
    mirrored,
    quarter_turned,
    shifted,
    through,
)
from hubel.data.augmentation_of_series import CropSteps, Jitter, ScaleValues
from hubel.data.masks import UNLABELLED

__all__ = [
    "Affine",
    "Augmentation",
    "Brightness",
    "Colour",
    "Contrast",
    "CopyPaste",
    "Crop",
    "CropSteps",
    "Draw",
    "Erase",
    "Flip",
    "Jitter",
    "Mixup",
    "Mosaic",
    "Noise",
    "RotateCube",
    "RotateQuarter",
    "ScaleValues",
    "Shift",
    "augment",
]

Fill = Literal["edge", "reflect", "mean"]


@dataclass(frozen=True)
class Draw:
    """The moment of a batch, from which its randomness follows. `ids` [N] are the rows in the dataset, `lengths` [N] the numbers of steps of
    series of different lengths.
    """

    seed: int
    epoch: int
    step: int
    ids: Tensor
    lengths: Tensor | None = None

    def generator(self, purpose: str) -> torch.Generator:
        """The generator of `purpose` at this moment (on the CPU, so that all devices draw alike)."""
        return random.torch_generator(self.seed, f"augment/{purpose}", self.epoch, self.step)

    def uniform(self, purpose: str, num: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """`num` numbers in [low, high)."""
        return torch.rand(num, generator=self.generator(purpose)) * (high - low) + low


class Augmentation(Protocol):
    """A change of a batch of scaled inputs [N, C, H, W] that keeps shape, type and labels."""

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor: ...


def augment(inputs: Tensor, augmentations: Sequence[Augmentation], draw: Draw) -> Tensor:
    """Apply `augmentations` in order."""
    return augmented(inputs, augmentations, draw)[0]


def augmented(
    inputs: Tensor, augmentations: Sequence[Augmentation], draw: Draw
) -> tuple[Tensor, Tensor | None]:
    """Apply `augmentations` in order: what they make of the inputs, and the lengths [N] that its series then have. What lies beyond a length
    is zero afterwards, whatever a change made of it.
    """
    for change in augmentations:
        before, inputs = inputs, change(inputs, draw)
        if isinstance(change, CropSteps):
            draw = replace(draw, lengths=change.new_lengths(before, draw))
    if draw.lengths is not None and augmentations:
        beyond = torch.arange(inputs.shape[1], device=inputs.device) >= draw.lengths.to(
            inputs.device
        ).unsqueeze(1)
        inputs = inputs.masked_fill(beyond.view(*beyond.shape, *(1,) * (inputs.ndim - 2)), 0.0)
    return inputs, draw.lengths


def moved(masks: Tensor, augmentations: Sequence[Augmentation], draw: Draw) -> Tensor:
    """What becomes of masks [N, H, W] when `augment` changes their pictures at the same moment: each pixel goes where that of the picture goes
    (by nearest neighbour), and what is new is not labelled.

    Raises `ValueError` for a change that does not say what becomes of masks.

    >>> masks, draw = torch.tensor([[[0, 1]], [[0, 1]]]), Draw(0, 1, 0, torch.arange(2))
    >>> moved(masks, [Flip()], draw).tolist() == Flip()(masks.unsqueeze(1), draw).squeeze(1).tolist()
    True
    """
    for change in augmentations:
        of_masks = getattr(change, "of_masks", None)
        if of_masks is None:
            name = type(change).__name__
            raise ValueError(
                f"{name} does not say what becomes of masks when it changes their pictures: leave it out of the augmentation, or give it a method "
                "of_masks(masks [N, H, W], draw)"
            )
        masks = of_masks(masks, draw)
    return masks


def changed_with_boxes(
    inputs: Tensor, boxes: Tensor, augmentations: Sequence[Augmentation], draw: Draw
) -> tuple[Tensor, Tensor]:
    """Apply `augmentations` in order to pictures [N, C, H, W] and to their boxes [N, M, 6]; some add rows.

    Raises `ValueError` for a change that does not say what becomes of boxes.

    >>> boxes, draws = torch.tensor([[[0.0, 0, 2, 4, 1, 0]]]), [Draw(0, epoch, 0, torch.arange(1)) for epoch in (1, 2)]
    >>> [changed_with_boxes(torch.zeros(1, 1, 8, 8), boxes, [Flip()], draw)[1][0, 0, 0].item() for draw in draws]
    [6.0, 0.0]
    """
    for change in augmentations:
        if isinstance(change, (CopyPaste, Mosaic)):
            inputs, boxes = change.with_boxes(inputs, boxes, draw)
            continue
        of_boxes = getattr(change, "of_boxes", None)
        if of_boxes is None:
            name = type(change).__name__
            raise ValueError(
                f"{name} does not say what becomes of boxes when it changes their pictures: leave it out of the augmentation, or give it a method "
                "of_boxes(boxes [N, M, 6], (H, W), draw)"
            )
        boxes = of_boxes(boxes, (inputs.shape[2], inputs.shape[3]), draw)
        inputs = change(inputs, draw)
    return inputs, boxes


class KeepsPlaces:
    """A change of colours alone: every pixel stays where it is."""

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """The same masks."""
        return masks

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """The same boxes."""
        return boxes


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirror left-right (`axis="horizontal"`), up-down (`"vertical"`) or, of volumes, the order of the planes (`"depth"`).

    Alternating: which half of the examples is mirrored is drawn once, and changes over from one epoch to the next, so that
    every example is seen both ways in any two epochs (Jordan 2024, arXiv:2404.00498, section 3.6).
    """

    axis: Literal["horizontal", "vertical", "depth"] = "horizontal"

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        if self.axis == "depth" and inputs.ndim != 5:
            raise ValueError(f"only volumes [N, C, D, H, W] have a depth; received {tuple(inputs.shape)}")
        other = inputs.flip({"horizontal": -1, "vertical": -2, "depth": -3}[self.axis])
        return torch.where(_column(self._chosen(draw), inputs, dtype=torch.bool), other, inputs)

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] of the mirrored pictures."""
        return self(masks.unsqueeze(1), draw).squeeze(1)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """Boxes [N, M, 6] of the mirrored pictures."""
        return mirrored(boxes, self._chosen(draw), size, axis=int(self.axis == "vertical"))

    def _chosen(self, draw: Draw) -> Tensor:
        """Which examples [N] are mirrored."""
        start = random.key(draw.seed, f"flip/{self.axis}") & 0x7FFFFFFF
        ids = draw.ids.cpu()
        mixed = (ids * 2654435761 + start) & 0xFFFFFFFF  # multiplicative hash of the row number
        mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0xFFFFFFFF
        return (((mixed >> 16) + draw.epoch) & 1).bool()


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Move by up to `pixels` in each direction, every whole number of pixels alike; the border is filled by `fill`."""

    pixels: int = 2
    fill: Fill = "edge"

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        if self.pixels == 0:
            return inputs
        starts = self._starts(inputs.ndim - 2, len(inputs), draw).to(inputs.device)
        return _window(_pad(inputs, self.pixels, self.fill), starts, inputs)

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] of the moved pictures; what `fill` repeats keeps its class, what it fills with the mean has none."""
        return _with_zero_unlabelled(lambda planes: self(planes, draw), masks)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """Boxes [N, M, 6] of the moved pictures."""
        if self.pixels == 0:
            return boxes
        down, right = self.pixels - self._starts(2, len(boxes), draw)
        return shifted(boxes, right, down, size)

    def _starts(self, num_axes: int, num: int, draw: Draw) -> Tensor:
        """The first row, column, … [axes, N] of each window of the padded pictures."""
        return torch.randint(2 * self.pixels + 1, (num_axes, num), generator=draw.generator("shift"))


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pad by `padding`, then cut a window of the old size anywhere: the classic CIFAR crop. Same as `Shift` by name and fill."""

    padding: int = 4
    fill: Fill = "reflect"

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        return Shift(pixels=self.padding, fill=self.fill)(inputs, draw)

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] of the cut pictures."""
        return Shift(pixels=self.padding, fill=self.fill).of_masks(masks, draw)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """Boxes [N, M, 6] of the cut pictures."""
        return Shift(pixels=self.padding, fill=self.fill).of_boxes(boxes, size, draw)


@dataclass(frozen=True, kw_only=True)
class RotateQuarter:
    """Turn by 0, 90, 180 or 270 degrees, each alike; volumes about the axis of their depth. Images must be square."""

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        if inputs.shape[-1] != inputs.shape[-2]:
            raise ValueError(
                f"quarter turns need square images, received {tuple(inputs.shape[-2:])}: use Rotate, or resize to a square"
            )
        turns = self._turns(len(inputs), draw).to(inputs.device)
        out = inputs.clone()
        for turn in (1, 2, 3):
            rows = (turns == turn).nonzero(as_tuple=True)[0]
            out[rows] = torch.rot90(inputs[rows], turn, dims=(-2, -1))
        return out

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] of the turned pictures."""
        return self(masks.unsqueeze(1), draw).squeeze(1)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """Boxes [N, M, 6] of the turned pictures."""
        return quarter_turned(boxes, self._turns(len(boxes), draw), size)

    def _turns(self, num: int, draw: Draw) -> Tensor:
        """By how many right angles [N] each is turned."""
        return torch.randint(4, (num,), generator=draw.generator("rotate_90"))


@dataclass(frozen=True, kw_only=True)
class RotateCube:
    """One of the 24 rotations of a cube, each alike (mirror images are not among them). Volumes must have equal sides.

    >>> draw = Draw(0, 1, 0, torch.arange(2))
    >>> RotateCube()(torch.arange(54.0).view(2, 1, 3, 3, 3), draw).shape
    torch.Size([2, 1, 3, 3, 3])
    """

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        if inputs.ndim != 5 or len(set(inputs.shape[2:])) != 1:
            raise ValueError(
                f"rotations of a cube need volumes [N, C, D, H, W] with equal sides; received {tuple(inputs.shape)}: use RotateQuarter, or "
                "resample to equal sides"
            )
        chosen = torch.randint(24, (len(inputs),), generator=draw.generator("rotate_cube")).to(inputs.device)
        out = inputs.clone()
        for number, (axes, turned) in enumerate(cube_rotations()):
            rows = (chosen == number).nonzero(as_tuple=True)[0]
            out[rows] = inputs[rows].permute(0, 1, *axes).flip(turned)
        return out


def cube_rotations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each of the 24 rotations of a volume [N, C, D, H, W] the order of its last three axes, and which of them are then mirrored.

    A permutation of axes with signs is a rotation where its determinant is +1: an even number of exchanges and mirrors.

    >>> len(cube_rotations()), cube_rotations()[0]
    (24, ((2, 3, 4), ()))
    """
    found = []
    for order in itertools.permutations((2, 3, 4)):
        exchanges = sum(a > b for a, b in itertools.combinations(order, 2))
        for signs in itertools.product((0, 1), repeat=3):
            if (exchanges + sum(signs)) % 2 == 0:
                found.append(
                    (order, tuple(axis for axis, sign in zip((2, 3, 4), signs, strict=True) if sign))
                )
    return found


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Rotation by up to ± `degrees`, scale in [1/(1+zoom), 1+zoom] and width-to-height ratio in [1/(1+aspect), 1+aspect]
    (both uniform in the logarithm), in one bilinear resampling.
    """

    degrees: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    fill: Fill = "edge"

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        return self._resampled(inputs, draw, "bilinear")

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] of the resampled pictures, by nearest neighbour."""
        return _with_zero_unlabelled(lambda planes: self._resampled(planes, draw, "nearest"), masks)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """The boxes [N, M, 6] that hold those of the pictures before."""
        return through(boxes, self._theta(len(boxes), size, draw), size)

    def _resampled(self, inputs: Tensor, draw: Draw, mode: str) -> Tensor:
        num, _, height, width = _of_pictures(inputs, "Affine")
        theta = self._theta(num, (height, width), draw)
        grid = F.affine_grid(theta.to(inputs), list(inputs.shape), align_corners=False)
        padding = {"edge": "border", "reflect": "reflection", "mean": "zeros"}[self.fill]
        return F.grid_sample(inputs, grid, mode=mode, padding_mode=padding, align_corners=False)

    def _theta(self, num: int, size: Size, draw: Draw) -> Tensor:
        """Where each output pixel comes from [N, 2, 3], in coordinates from -1 to 1."""
        angle = draw.uniform("affine/angle", num, -self.degrees, self.degrees) * (math.pi / 180)
        zoom = draw.uniform("affine/zoom", num, -1.0, 1.0).mul(math.log1p(self.zoom)).exp()
        aspect = draw.uniform("affine/aspect", num, -1.0, 1.0).mul(math.log1p(self.aspect) / 2).exp()
        cos, sin = angle.cos(), angle.sin()
        x, y = 1 / (zoom * aspect), aspect / zoom
        ratio = size[0] / size[1]
        theta = torch.zeros(num, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * x, -sin * x * ratio
        theta[:, 1, 0], theta[:, 1, 1] = sin * y / ratio, cos * y
        return theta


@dataclass(frozen=True, kw_only=True)
class Brightness(KeepsPlaces):
    """Add a constant in ± `amount` (in standard deviations of the training data) to all channels of an example."""

    amount: float = 0.2

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        return inputs + _column(draw.uniform("brightness", len(inputs), -self.amount, self.amount), inputs)


@dataclass(frozen=True, kw_only=True)
class Contrast(KeepsPlaces):
    """Stretch each example about its own mean by a factor in [1/(1+amount), 1+amount], uniform in the logarithm."""

    amount: float = 0.2

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        factor = draw.uniform("contrast", len(inputs), -1.0, 1.0).mul(math.log1p(self.amount)).exp()
        mean = inputs.mean(dim=tuple(range(1, inputs.ndim)), keepdim=True)
        return mean + (inputs - mean) * _column(factor, inputs)


@dataclass(frozen=True, kw_only=True)
class Colour(KeepsPlaces):
    """Change each channel of an example by itself: stretch it about its own mean by a factor in [1/(1+gain), 1+gain], uniform in
    the logarithm, and add a constant in ± `amount` (in standard deviations of that channel).
    """

    amount: float = 0.1
    gain: float = 0.3

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        num, channels = inputs.shape[:2]
        each = (num, channels, *(1,) * (inputs.ndim - 2))
        change = draw.uniform("colour", num * channels, -self.amount, self.amount).view(each)
        factor = draw.uniform("colour/gain", num * channels, -1.0, 1.0).mul(math.log1p(self.gain)).exp()
        mean = inputs.mean(dim=tuple(range(2, inputs.ndim)), keepdim=True)
        return mean + change.to(inputs) + (inputs - mean) * factor.view(each).to(inputs)


@dataclass(frozen=True, kw_only=True)
class Noise(KeepsPlaces):
    """Add Gaussian noise of `amount` standard deviations of the training data."""

    amount: float = 0.05

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        noise = torch.randn(inputs.shape, generator=draw.generator("noise"))
        return inputs + self.amount * noise.to(inputs)


@dataclass(frozen=True, kw_only=True)
class Erase:
    """With `probability`, replace a rectangle of `area` (a range, as a fraction of the image) by the training mean.

    Random erasing: Zhong et al. 2020, doi:10.1609/aaai.v34i07.7000, with the mean in place of noise and a height-to-width
    ratio between 1/3 and 3.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.25)

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        return inputs.masked_fill(self._inside(inputs, draw).unsqueeze(1), 0.0)

    def of_masks(self, masks: Tensor, draw: Draw) -> Tensor:
        """Masks [N, H, W] that are not labelled where their picture is hidden."""
        return masks.masked_fill(self._inside(masks.unsqueeze(1), draw), UNLABELLED)

    def of_boxes(self, boxes: Tensor, size: Size, draw: Draw) -> Tensor:
        """The same boxes [N, M, 6]; those that are hidden by more than half are ignored."""
        return hidden(boxes, self._rectangles(len(boxes), size, draw))

    def _inside(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Which pixels [N, H, W] are erased."""
        num, _, height, width = _of_pictures(inputs, "Erase")
        left, top, right, lower = self._rectangles(num, (height, width), draw).T.reshape(4, -1, 1, 1)
        y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
        return ((y >= top) & (y < lower) & (x >= left) & (x < right)).to(inputs.device)

    def _rectangles(self, num: int, size: Size, draw: Draw) -> Tensor:
        """What is erased (x0, y0, x1, y1) [N, 4]; zeros where nothing is."""
        height, width = size
        chosen, area, ratio, top, left = torch.rand(5, num, generator=draw.generator("erase"))
        extent = (self.area[0] + area * (self.area[1] - self.area[0])) * height * width
        ratio = torch.exp((2 * ratio - 1) * math.log(3.0))
        high = (extent * ratio).sqrt().round().clamp(1, height)
        wide = (extent / ratio).sqrt().round().clamp(1, width)
        top, left = (top * (height - high + 1)).floor(), (left * (width - wide + 1)).floor()
        rectangles = torch.stack([left, top, left + wide, top + high], 1)
        return rectangles * (chosen < self.probability).unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Blend every example with another of its batch: x <- s x + (1 - s) x', and its target likewise, s drawn from Beta(alpha, alpha).

    Class numbers become class probabilities; yes/no labels and real values become blends. H. Zhang et al. 2018, arXiv:1710.09412
    (who draw one s a batch; here every example has its own).

    Raises `ValueError` where alpha is not positive.

    >>> mix, draw = Mixup(alpha=1.0), Draw(0, 1, 0, torch.arange(4))
    >>> mix.of_targets(torch.tensor([0, 1, 2, 0]), 3, draw).sum(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha is {self.alpha}; expected a positive number")

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        return self._blended(inputs, draw)

    def of_targets(self, targets: Tensor, num_classes: int | None, draw: Draw) -> Tensor:
        """The targets [N] or [N, K] of what `__call__` makes of the inputs at the same moment: [N, K] for `num_classes` K."""
        if num_classes is not None and targets.ndim == 1 and not targets.is_floating_point():
            targets = F.one_hot(targets.long(), num_classes)
        values = targets if targets.is_floating_point() else targets.float()
        return self._blended(values, draw)

    def _blended(self, values: Tensor, draw: Draw) -> Tensor:
        generator = draw.generator("mixup")
        num = len(draw.ids)
        other = torch.randperm(num, generator=generator).to(values.device)
        one, two = torch._standard_gamma(torch.full((2, num), self.alpha), generator=generator).clamp_min(
            1e-30
        )
        share = (one / (one + two)).to(values).view(-1, *(1,) * (values.ndim - 1))
        return share * values + (1 - share) * values[other]


def _with_zero_unlabelled(change: Callable[[Tensor], Tensor], masks: Tensor) -> Tensor:
    """`change`, which fills with zeros, of masks [N, H, W]: these zeros become `UNLABELLED`."""
    planes = change(masks.unsqueeze(1).float() - UNLABELLED)
    return (planes + UNLABELLED).squeeze(1).to(masks.dtype)


def _of_pictures(inputs: Tensor, name: str) -> tuple[int, int, int, int]:
    if inputs.ndim != 4:
        raise ValueError(
            f"{name} is for pictures [N, C, H, W]; received {tuple(inputs.shape)}: leave it out of the augmentation"
        )
    num, channels, height, width = inputs.shape
    return num, channels, height, width


def _column(values: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return values.to(like.device, dtype or like.dtype).view(-1, *(1,) * (like.ndim - 1))


def _pad(inputs: Tensor, pixels: int, fill: Fill) -> Tensor:
    if fill == "reflect" and pixels >= min(inputs.shape[2:]):
        raise ValueError(
            f"cannot reflect {pixels} pixels of an image of {tuple(inputs.shape[2:])}: use fill='edge' or fewer pixels"
        )
    mode = {"edge": "replicate", "reflect": "reflect", "mean": "constant"}[fill]
    return F.pad(inputs, (pixels,) * 2 * (inputs.ndim - 2), mode=mode)


def _window(padded: Tensor, starts: Tensor, like: Tensor) -> Tensor:
    """Cut windows of the size of `like` [N, C, H, W] (or [N, C, D, H, W]) at `starts` [axes, N] out of `padded`, by one gather."""
    num, channels, *sides = like.shape
    flat = torch.zeros(num, *(1,) * len(sides), dtype=torch.int64, device=padded.device)
    for axis, (start, side) in enumerate(zip(starts, sides, strict=True)):
        places = start.view(-1, 1) + torch.arange(side, device=padded.device)  # [N, side]
        shape = [num, *(1,) * len(sides)]
        shape[1 + axis] = side
        flat = flat * padded.shape[2 + axis] + places.view(shape)
    flat = flat.view(num, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, flat).view(like.shape)
