"""Regions of interest: the part of a feature map under each of many boxes, brought to one size.

RoIAlign lays a grid of `size` bins over a box, reads the map at `ratio` × `ratio` places of each bin by bilinear interpolation, and takes the mean. A place is read as
0 where it is more than one cell outside of the map. With `aligned` a box is shifted by half a cell, as the value of a cell is meant for its centre; the first
implementations, and torchvision by default, do without, and are half a cell off. RoIPool rounds box and bins to whole cells and takes the greatest value of each.

Bilinear weights are products of a weight of the row and one of the column, and so are their means over a bin: RoIAlign of a box is Y F Xᵀ with Y [rows of bins, H] and X [columns of
bins, W], two products of matrices (the *separable* form; any number of places; the same bits again and again on every device). The *grid* form reads all places by
`F.grid_sample`; its cost does not grow with the map. Both are torchvision 0.29.1's values within rounding, and their gradients too. Boxes have no gradient.

Measured (AMD EPYC (Zen 4), one thread, CPU time, torch 2.14.1, torchvision 0.29.1, 2026-11-22): 256 boxes, 128 channels, 7 × 7 bins, ratio 2,
forward / forward + backward in ms. RoIPool is here to be understood, and slower than torchvision's.

| map | separable | grid | torchvision | `roi_pool` | torchvision |
|---|---|---|---|---|---|
| 32 × 32 | 30 / 36 | 65 / 142 | 15 / 102 | 126 / 210 | 15 / 24 |
| 64 × 64 | 43 / 86 | 74 / 181 | 22 / 121 | 371 / 557 | 19 / 27 |
| 128 × 128 | 134 / 317 | 95 / 291 | | | |

Sources: K. He et al., "Mask R-CNN", ICCV 2017 (arXiv:1703.06870), section 3; R. Girshick, "Fast R-CNN", ICCV 2015 (arXiv:1504.08083), section 2.1; the shift by half a cell:
Y. Wu et al., Detectron2 (2019), ROIAlign with aligned=True.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]
Form = Literal["auto", "separable", "grid"]

LARGEST_SEPARABLE = 10_000  # cells of a map, beyond which the grid form is faster
BOXES_AT_A_TIME = 32


class RoIAlign(nn.Module):
    """`roi_align` as a layer: features [N, C, H, W], boxes [K, 4] and their images [K] → [K, C, *size].

    `scale` is cells per pixel of the boxes: 1/16 for a map of stride 16.

    >>> layer = RoIAlign(2, scale=0.5)
    >>> layer(torch.ones(1, 3, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0])).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(
        self,
        size: Size,
        *,
        scale: float = 1.0,
        ratio: int | None = 2,
        aligned: bool = True,
        form: Form = "auto",
    ):
        super().__init__()
        self.size, self.scale, self.ratio, self.aligned = _pair(size), scale, ratio, aligned
        self.form: Form = form

    def extra_repr(self) -> str:
        return f"{self.size}, scale={self.scale:g}, ratio={self.ratio}, aligned={self.aligned}"

    def forward(self, features: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
        return roi_align(
            features,
            boxes,
            images,
            self.size,
            scale=self.scale,
            ratio=self.ratio,
            aligned=self.aligned,
            form=self.form,
        )


class RoIPool(nn.Module):
    """`roi_pool` as a layer: features [N, C, H, W], boxes [K, 4] and their images [K] → [K, C, *size].

    >>> layer = RoIPool(2)
    >>> layer(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 3.0, 3.0]]), torch.tensor([0]))
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """

    def __init__(self, size: Size, *, scale: float = 1.0):
        super().__init__()
        self.size, self.scale = _pair(size), scale

    def extra_repr(self) -> str:
        return f"{self.size}, scale={self.scale:g}"

    def forward(self, features: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
        return roi_pool(features, boxes, images, self.size, scale=self.scale)


def roi_align(
    features: Tensor,
    boxes: Tensor,
    images: Tensor,
    size: Size,
    *,
    scale: float = 1.0,
    ratio: int | None = 2,
    aligned: bool = True,
    form: Form = "auto",
) -> Tensor:
    """The part of `features` [N, C, H, W] under each of `boxes` [K, 4], of the images with these numbers [K]: [K, C, *size].

    `ratio` places a bin and axis; None takes as many as cells lie in a bin, rounded up. `form` "auto" is the separable one for maps of at most
    10,000 cells, where `ratio` is None or where torch is asked for deterministic algorithms, else the grid. Boxes without an area read one
    place if `ratio` is a number, and nothing (0) if not.

    Raises `ValueError` for shapes and types that do not fit, for NaN, and for images that are not there.

    >>> slope = torch.arange(6.0).expand(1, 1, 6, 6)  # the value of a cell is its column: at x that is x - 1/2
    >>> roi_align(slope, torch.tensor([[1.0, 1.0, 5.0, 5.0]]), torch.tensor([0]), 2)
    tensor([[[[1.5000, 3.5000],
              [1.5000, 3.5000]]]])
    """
    high, wide = _pair(size)
    _check(features, boxes, images)
    if ratio is not None and ratio < 1:
        raise ValueError(f"ratio is {ratio}; expected how many places a bin has along each axis, or None")
    if form not in ("auto", "separable", "grid") or (form == "grid" and ratio is None):
        raise ValueError(
            f"form is {form!r} and ratio {ratio}; expected auto, separable or grid, and a number as ratio for the grid"
        )
    if form == "auto":
        small = features.shape[2] * features.shape[3] <= LARGEST_SEPARABLE
        exact = ratio is None or torch.are_deterministic_algorithms_enabled()
        form = "separable" if small or exact else "grid"
    height, width = features.shape[2:]
    corners = _at_least_single(boxes.detach(), features) * scale - (0.5 if aligned else 0.0)
    rows = _places(corners[:, 1], corners[:, 3], high, ratio, aligned)
    columns = _places(corners[:, 0], corners[:, 2], wide, ratio, aligned)
    if form == "grid":
        assert ratio is not None

        def read(image: Tensor, own: Tensor) -> Tensor:
            return _by_grid(image.to(corners.dtype), rows[0][own], columns[0][own], ratio).to(image.dtype)

    else:
        by_rows, by_columns = (
            _weights(*part, cells).to(features.dtype) for part, cells in ((rows, height), (columns, width))
        )

        def read(image: Tensor, own: Tensor) -> Tensor:
            return _by_products(image, by_rows[own], by_columns[own])

    return _of_each_image(features, images, (high, wide), read)


def roi_pool(features: Tensor, boxes: Tensor, images: Tensor, size: Size, *, scale: float = 1.0) -> Tensor:
    """The greatest value of `features` [N, C, H, W] in each bin of each of `boxes` [K, 4], of the images with these numbers [K]: [K, C, *size].

    Edges are rounded to cells, the last one included; bins overlap where they share a cell; a bin outside of the map is 0. Of equal values the first
    in reading order has the gradient. Raises `ValueError` as `roi_align` does.

    >>> roi_pool(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0]), 1)
    tensor([[[[5.]]]])
    """
    high, wide = _pair(size)
    _check(features, boxes, images)
    edges = _at_least_single(boxes.detach(), features) * scale
    edges = torch.sign(edges) * torch.floor(edges.abs() + 0.5)  # halves away from zero, as C rounds
    rows, no_row = _cells(edges[:, 1], edges[:, 3], high, features.shape[2])
    columns, no_column = _cells(edges[:, 0], edges[:, 2], wide, features.shape[3])

    def read(image: Tensor, own: Tensor) -> Tensor:
        channels, height, _ = image.shape
        across = image.index_select(2, columns[own].flatten())
        across = across.view(channels, height, len(own), wide, -1).max(-1).values.permute(2, 1, 0, 3)
        each = torch.arange(len(own), device=own.device)[:, None]
        down = across[each, rows[own].flatten(1)].view(len(own), high, -1, channels, wide).max(2).values
        nothing = no_row[own][:, None, :, None] | no_column[own][:, None, None, :]
        return down.transpose(1, 2).masked_fill(nothing, 0.0)

    return _of_each_image(features, images, (high, wide), read)


def _at_least_single(boxes: Tensor, features: Tensor) -> Tensor:
    """`boxes` in the type of the features, or in single precision: half precision does not tell the pixels of a large image apart."""
    return boxes.to(torch.promote_types(features.dtype, torch.float32))


def _of_each_image(
    features: Tensor, images: Tensor, size: tuple[int, int], read: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """What `read(image [C, H, W], places of its boxes [k])` answers for all images, in the order of the boxes."""
    order = torch.argsort(images, stable=True)
    counts = torch.bincount(images, minlength=len(features)).tolist()
    nothing = features.new_zeros((0, features.shape[1], *size))
    parts = [nothing + features[:0].sum()]  # so that it hangs on the features without boxes too
    for image, own in zip(features, order.split(counts), strict=True):
        parts += [read(image, some) for some in own.split(BOXES_AT_A_TIME) if len(some)]
    return torch.cat(parts)[torch.argsort(order)]


def _places(low: Tensor, high: Tensor, bins: int, ratio: int | None, aligned: bool) -> tuple[Tensor, Tensor]:
    """Where a bin is read along one axis, in cells [K, bins, r], and the weight of each place in the mean of its bin."""
    length = high - low if aligned else (high - low).clamp(min=1)
    step = length / bins
    number = torch.ceil(step) if ratio is None else torch.full_like(step, ratio)
    most = int(number.max()) if ratio is None and len(step) else ratio or 1
    at = torch.arange(max(most, 1), dtype=low.dtype, device=low.device)
    begin = low[:, None] + torch.arange(bins, dtype=low.dtype, device=low.device) * step[:, None]
    inside = (at + 0.5) * (step / number.clamp(min=1))[:, None]
    share = (at < number[:, None]) / number.clamp(min=1)[:, None]
    return begin[:, :, None] + inside[:, None], share[:, None].expand(-1, bins, -1)


def _weights(places: Tensor, shares: Tensor, cells: int) -> Tensor:
    """The mean of bilinear weights: [K, bins, cells] that multiply the cells along one axis."""
    shares = torch.where((places >= -1) & (places <= cells), shares, 0.0)
    places = places.clamp(0, cells - 1)
    lower = places.floor()
    upper_share = (places - lower) * shares
    lower = lower.long()
    weights = places.new_zeros((*places.shape[:2], cells))
    weights.scatter_add_(2, lower, shares - upper_share)
    return weights.scatter_add_(2, (lower + 1).clamp(max=cells - 1), upper_share)


def _by_products(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[k, C, bins of rows, bins of columns]."""
    channels, height, width = image.shape
    num, high, _ = rows.shape
    down = rows.reshape(num * high, height) @ image.transpose(0, 1).reshape(height, channels * width)
    across = down.view(num, high * channels, width) @ columns.transpose(1, 2)
    return across.view(num, high, channels, -1).transpose(1, 2)


def _by_grid(image: Tensor, rows: Tensor, columns: Tensor, ratio: int) -> Tensor:
    """[k, C, bins of rows, bins of columns]."""
    height, width = image.shape[1:]
    num, high, wide = len(rows), rows.shape[1], columns.shape[1]
    down, across = rows.flatten(1), columns.flatten(1)
    grid = torch.stack(
        [
            _in_unit_square(across, width)[:, None, :].expand(-1, down.shape[1], -1),
            _in_unit_square(down, height)[:, :, None].expand(-1, -1, across.shape[1]),
        ],
        dim=-1,
    )
    values = F.grid_sample(image[None], grid.flatten(0, 1)[None], padding_mode="border", align_corners=True)
    there = ((down >= -1) & (down <= height))[:, :, None] & ((across >= -1) & (across <= width))[:, None, :]
    values = values[0].view(len(image), *there.shape) * there
    return values.view(len(image), num, high, ratio, wide, ratio).mean((3, 5)).transpose(0, 1)


def _in_unit_square(places: Tensor, cells: int) -> Tensor:
    """Cells 0 … cells - 1 as -1 … 1, as `F.grid_sample` counts."""
    return places * (2 / max(cells - 1, 1)) - 1


def _cells(low: Tensor, high: Tensor, bins: int, cells: int) -> tuple[Tensor, Tensor]:
    """The cells of each bin [K, bins, longest], the last one again and again where there are fewer, and whether there are none [K, bins]."""
    step = ((high - low + 1).clamp(min=1) / bins)[:, None]
    number = torch.arange(bins, dtype=low.dtype, device=low.device)
    begin = (torch.floor(number * step) + low[:, None]).clamp(0, cells)
    end = (torch.ceil((number + 1) * step) + low[:, None]).clamp(0, cells)
    longest = int((end - begin).max().clamp(min=1)) if len(low) else 1
    at = torch.arange(longest, dtype=low.dtype, device=low.device)
    chosen = torch.minimum(begin[:, :, None] + at, end[:, :, None] - 1).clamp(0, cells - 1)
    return chosen.long(), end <= begin


def _pair(size: Size) -> tuple[int, int]:
    high, wide = (size, size) if isinstance(size, int) else size
    if high < 1 or wide < 1:
        raise ValueError(f"size is {size}; expected the number of rows and of columns, at least 1")
    return high, wide


def _check(features: Tensor, boxes: Tensor, images: Tensor) -> None:
    if features.ndim != 4 or not features.dtype.is_floating_point:
        raise ValueError(
            f"features are {list(features.shape)} of {features.dtype}; expected [N, C, H, W] in a floating type"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.dtype.is_floating_point:
        raise ValueError(
            f"boxes are {list(boxes.shape)} of {boxes.dtype}; expected [K, 4] in a floating type, rows (x0, y0, x1, y1)"
        )
    if images.shape != boxes.shape[:1] or images.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"images are {list(images.shape)} of {images.dtype}; expected the number of each box's image, [{len(boxes)}] of int64"
        )
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not len(boxes):
        return
    if bool(torch.isnan(boxes).any()):
        raise ValueError("boxes have NaN; find what made them (a network that diverged?) or leave them out")
    if not 0 <= int(images.min()) <= int(images.max()) < len(features):
        raise ValueError(
            f"images are numbered {int(images.min())} to {int(images.max())}; expected 0 to {len(features) - 1}, as there are {len(features)}"
        )
