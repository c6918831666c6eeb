"""What becomes of boxes [N, M, 6] (see `hubel.data.boxes`) when their pictures [N, C, H, W] are changed, and two changes that need the boxes:
objects pasted into other pictures, and four pictures put together.

An object of which less than `LEAST_SEEN` is left in the picture is ignored: it counts neither as found nor as missed. What is left of it
by less than a pixel has no row any more. The number of rows stays, but for the two changes, which add some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hubel.data.boxes import CLASS, IGNORED, LEAST_SEEN, NO_OBJECT

if TYPE_CHECKING:
    from hubel.data.augmentation import Draw

HIDDEN = 0.5
Size = tuple[int, int]


def clipped(boxes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """What is seen of boxes [N, M, 6] in windows from `low` to `high` [N, 2] (x, y): cut there, ignored below `LEAST_SEEN`, or no object.

    >>> boxes = torch.tensor([[[-6.0, 0, 4, 8, 2, 0], [-8, 0, 2, 8, 2, 0], [-8, 0, 0, 8, 2, 0]]])
    >>> clipped(boxes, torch.zeros(1, 2), torch.full((1, 2), 8.0))[0].tolist()
    [[0.0, 0.0, 4.0, 8.0, 2.0, 0.0], [0.0, 0.0, 2.0, 8.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0, -1.0, 0.0]]
    """
    low, high = low.to(boxes).repeat(1, 2).unsqueeze(1), high.to(boxes).repeat(1, 2).unsqueeze(1)
    corners = torch.minimum(torch.maximum(boxes[..., :4], low), high)
    sides = corners[..., 2:] - corners[..., :2]
    before = boxes[..., 2:4] - boxes[..., :2]
    hardly = sides.prod(-1) < LEAST_SEEN * before.prod(-1)
    gone = (hardly & (sides < 1).any(-1)) | (boxes[..., CLASS] == NO_OBJECT)
    ignored = torch.where(hardly, torch.ones_like(boxes[..., IGNORED]), boxes[..., IGNORED])
    cut = torch.cat([corners, boxes[..., CLASS : CLASS + 1], ignored.unsqueeze(-1)], -1)
    return torch.where(gone.unsqueeze(-1), _no_object(boxes), cut)


def in_picture(boxes: Tensor, size: Size) -> Tensor:
    """What is seen of boxes [N, M, 6] in pictures of this `size` (H, W)."""
    low = torch.zeros(len(boxes), 2)
    return clipped(boxes, low, low + torch.tensor([size[1], size[0]]))


def mirrored(boxes: Tensor, chosen: Tensor, size: Size, axis: int) -> Tensor:
    """Boxes of pictures of which those `chosen` [N] are mirrored: left-right (`axis` 0) or up-down (1)."""
    other = boxes.clone()
    side = (size[1], size[0])[axis]
    other[..., axis], other[..., axis + 2] = side - boxes[..., axis + 2], side - boxes[..., axis]
    chosen = chosen.to(boxes.device).view(-1, 1) & (boxes[..., CLASS] != NO_OBJECT)
    return torch.where(chosen.unsqueeze(-1), other, boxes)


def shifted(boxes: Tensor, right: Tensor, down: Tensor, size: Size) -> Tensor:
    """Boxes of pictures whose pixels go `right` and `down` [N] by so many."""
    by = torch.stack([right, down, right, down], 1).to(boxes).unsqueeze(1)
    return in_picture(torch.cat([boxes[..., :4] + by, boxes[..., 4:]], -1), size)


def quarter_turned(boxes: Tensor, turns: Tensor, size: Size) -> Tensor:
    """Boxes of square pictures turned counterclockwise by so many right angles [N]."""
    out = boxes
    turns = turns.to(boxes.device).view(-1, 1, 1)
    for turn in (1, 2, 3):
        x0, y0, x1, y1, number, ignored = out.unbind(-1)
        corners = (y0, size[1] - x1, y1, size[1] - x0)
        once = torch.stack([*corners, number, ignored], -1)
        there = (out[..., CLASS] != NO_OBJECT).unsqueeze(-1)
        out = torch.where((turns >= turn) & there, once, out)
    return out


def through(boxes: Tensor, theta: Tensor, size: Size) -> Tensor:
    """The boxes that hold the four corners of boxes [N, M, 6] when each pixel of a picture is fetched from where `theta` [N, 2, 3] says, as
    `torch.nn.functional.affine_grid` means it (coordinates from -1 to 1).
    """
    sides = torch.tensor([size[1], size[0]]).to(boxes)
    x, y = boxes[..., [0, 2, 2, 0]], boxes[..., [1, 1, 3, 3]]
    corners = torch.stack([x, y], -1) * 2 / sides - 1  # [N, M, 4, 2]
    back = torch.linalg.inv(theta[:, :, :2].double()).to(boxes)
    moved = torch.einsum("nij,nmkj->nmki", back, corners - theta[:, None, None, :, 2].to(boxes))
    moved = (moved + 1) * sides / 2
    return in_picture(torch.cat([moved.amin(2), moved.amax(2), boxes[..., 4:]], -1), size)


def hidden(boxes: Tensor, covers: Tensor) -> Tensor:
    """Boxes of which those are ignored that rectangles `covers` [N, 4] (x0, y0, x1, y1; one a picture) hide by more than `HIDDEN`."""
    covers = covers.to(boxes).unsqueeze(1)
    both = torch.minimum(boxes[..., 2:4], covers[..., 2:]) - torch.maximum(boxes[..., :2], covers[..., :2])
    area = (boxes[..., 2:4] - boxes[..., :2]).prod(-1)
    under = (both.clamp_min(0).prod(-1) > HIDDEN * area) & (boxes[..., CLASS] != NO_OBJECT)
    out = boxes.clone()
    out[..., IGNORED] = torch.where(under, torch.ones_like(area), boxes[..., IGNORED])
    return out


@dataclass(frozen=True, kw_only=True)
class CopyPaste:
    """Paste up to `most` objects into every picture, each with `probability`: one of another picture of the batch, cut out by its box, at any
    place. Objects that it hides by more than half are ignored from then on.

    The cut is `feather` pixels wider than the box on every side, and passes there into the picture under it, so that there is no
    edge to learn. G. Ghiasi et al. 2021, arXiv:2012.07177 (who paste by masks); D. Dwibedi et al. 2017, arXiv:1708.01642 (on blending).

    >>> from hubel.data.augmentation import Draw
    >>> boxes = torch.tensor([[[1.0, 1, 3, 3, 0, 0]], [[2, 2, 6, 6, 1, 0]]])
    >>> inputs, more = CopyPaste(probability=1.0, most=1).with_boxes(torch.zeros(2, 1, 8, 8), boxes, Draw(0, 1, 0, torch.arange(2)))
    >>> more.shape
    torch.Size([2, 2, 6])
    """

    probability: float = 0.5
    most: int = 3
    feather: int = 2

    def __post_init__(self) -> None:
        _refuse_no_probability(self.probability)
        if self.most < 1 or self.feather < 0:
            raise ValueError(
                f"most is {self.most} and feather {self.feather}; expected at least one object, and no negative width"
            )

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        raise ValueError(_needs_boxes("CopyPaste"))

    def with_boxes(self, inputs: Tensor, boxes: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The changed pictures [N, C, H, W], and their boxes [N, M + most, 6]."""
        pictures, rows = inputs, boxes
        for number in range(self.most):
            inputs, boxes = self._pasted(inputs, boxes, pictures, rows, draw, number)
        return inputs, boxes

    def _pasted(
        self, inputs: Tensor, boxes: Tensor, pictures: Tensor, rows: Tensor, draw: Draw, number: int
    ) -> tuple[Tensor, Tensor]:
        """One object of `pictures` with their boxes `rows` in each of `inputs`."""
        num, _, height, width = inputs.shape
        generator = draw.generator(f"copy_paste/{number}")
        other = torch.randperm(num, generator=generator).to(boxes.device)
        chance, across, down = torch.rand(3, num, generator=generator).to(boxes)
        order = torch.rand(num, rows.shape[1], generator=generator).to(boxes)
        wanted = (rows[other][..., CLASS] != NO_OBJECT) & (rows[other][..., IGNORED] == 0)
        if not rows.shape[1]:
            return inputs, torch.cat([boxes, _no_object(boxes).expand(num, 1, -1)], 1)
        which = torch.where(wanted, order, -torch.ones_like(order)).argmax(1)
        row = rows[other, which]  # [N, 6]
        pasted = wanted.any(1) & (chance < self.probability)
        whole = torch.cat([row[:, :2].floor().clamp_min(0), row[:, 2:4].ceil()], 1)
        left = (across * (width - (whole[:, 2] - whole[:, 0]) + 1)).floor() - whole[:, 0]
        top = (down * (height - (whole[:, 3] - whole[:, 1]) + 1)).floor() - whole[:, 1]
        by = torch.stack([left, top], 1)
        covers = torch.where(pasted.unsqueeze(1), whole + by.repeat(1, 2), torch.zeros_like(whole))
        inputs = self._blended(inputs, pictures, other, covers, by)
        new = torch.cat([row[:, :4] + by.repeat(1, 2), row[:, 4:]], 1).unsqueeze(1)
        new = torch.where(pasted.view(-1, 1, 1), new, _no_object(boxes))
        return inputs, torch.cat([hidden(boxes, covers), new], 1)

    def _blended(self, inputs: Tensor, pictures: Tensor, other: Tensor, covers: Tensor, by: Tensor) -> Tensor:
        """`inputs` with what lies in `covers` [N, 4] from the `other` pictures, moved there `by` [N, 2]."""
        channels, height, width = inputs.shape[1:]
        there, margin = (covers[:, 2:] > covers[:, :2]).all(1), self.feather + 1
        lengths = [int(length) + 2 * margin for length in (covers[:, 2:] - covers[:, :2]).amax(0).tolist()]
        weights, heres, theres = [], [], []
        for axis, side in enumerate(
            (width, height)
        ):  # of windows about what is pasted, as large as the largest
            length = min(lengths[axis], side)
            begin = (covers[:, axis : axis + 1] - margin).clamp(0, side - length)
            here = begin + torch.arange(length, device=covers.device)
            outside = torch.maximum(
                covers[:, axis : axis + 1] - here - 0.5, here + 0.5 - covers[:, axis + 2 : axis + 3]
            )
            weights.append((1 - outside.clamp_min(0) / (self.feather + 0.5)).clamp(0, 1) * there.unsqueeze(1))
            heres.append(here.long())
            theres.append((here - by[:, axis : axis + 1]).clamp(0, side - 1).long())
        weight = (weights[1].unsqueeze(2) * weights[0].unsqueeze(1)).flatten(1).unsqueeze(1)
        at, source = (
            (y.unsqueeze(2) * width + x.unsqueeze(1)).flatten(1).unsqueeze(1).expand(-1, channels, -1)
            for x, y in (heres, theres)
        )
        under, over = inputs.flatten(2), pictures[other].flatten(2).gather(2, source)
        return under.scatter(2, at, torch.lerp(under.gather(2, at), over, weight.to(inputs))).view_as(inputs)


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """With `probability`, put four pictures of the batch together: about a point drawn in the middle half, each quarter shows its part of
    another picture. Nothing is resized, so that objects keep their sizes. After A. Bochkovskiy et al. 2020, arXiv:2004.10934.

    >>> from hubel.data.augmentation import Draw
    >>> boxes = torch.tensor([[[0.0, 0, 2, 2, 0, 0]], [[6, 6, 8, 8, 1, 0]]])
    >>> inputs, more = Mosaic(probability=1.0).with_boxes(torch.zeros(2, 1, 8, 8), boxes, Draw(0, 1, 0, torch.arange(2)))
    >>> more.shape
    torch.Size([2, 4, 6])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _refuse_no_probability(self.probability)

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        raise ValueError(_needs_boxes("Mosaic"))

    def with_boxes(self, inputs: Tensor, boxes: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The changed pictures [N, C, H, W], and their boxes [N, 4 M, 6]."""
        num, _, height, width = inputs.shape
        generator = draw.generator("mosaic")
        chance, across, down = torch.rand(3, num, generator=generator)
        chosen = chance < self.probability
        x = torch.where(chosen, ((0.25 + 0.5 * across) * width).round(), torch.full((num,), float(width)))
        y = torch.where(chosen, ((0.25 + 0.5 * down) * height).round(), torch.full((num,), float(height)))
        left, top = torch.zeros(num), torch.zeros(num)
        right, lower = left + width, top + height
        windows = ((left, top, x, y), (x, top, right, y), (left, y, x, lower), (x, y, right, lower))
        columns = torch.arange(width, device=inputs.device).view(1, 1, 1, -1)
        rows = torch.arange(height, device=inputs.device).view(1, 1, -1, 1)
        out, found = inputs, []
        for number, (x0, y0, x1, y1) in enumerate(windows):
            other = torch.arange(num) if number == 0 else torch.randperm(num, generator=generator)
            other = other.to(inputs.device)
            low, high = torch.stack([x0, y0], 1), torch.stack([x1, y1], 1)
            found.append(clipped(boxes[other], low, high))
            if number:
                edges = [edge.to(inputs.device).view(-1, 1, 1, 1) for edge in (x0, y0, x1, y1)]
                inside = (columns >= edges[0]) & (rows >= edges[1]) & (columns < edges[2]) & (rows < edges[3])
                out = torch.where(inside, inputs[other], out)
        return out, torch.cat(found, 1)


def _no_object(like: Tensor) -> Tensor:
    return torch.tensor([0.0, 0, 0, 0, NO_OBJECT, 0]).to(like).view(1, 1, -1)


def _refuse_no_probability(value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"probability is {value}; expected a number from 0 to 1")


def _needs_boxes(name: str) -> str:
    return f"{name} moves objects from picture to picture and needs their boxes [N, M, 6]: leave it out where the targets are no boxes"
