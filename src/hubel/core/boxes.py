"""Boxes in torch: how much two of them have in common, offsets between them, and which of many say the same.

A box is (x0, y0, x1, y1): left, upper, right and lower edge in pixels, [..., 4] in a floating type. Edges are places between pixels, so that
the area is (x1 - x0)(y1 - y0). With I the area of the intersection, U of the union and E of the smallest box around both:

    IoU  = I / U                        P. Jaccard, New Phytologist 11, 37 (1912), doi:10.1111/j.1469-8137.1912.tb05611.x
    GIoU = IoU - (E - U) / E            H. Rezatofighi et al., CVPR 2019 (arXiv:1902.09630)
    DIoU = IoU - |c - c'|² / d²         Z. Zheng et al., AAAI 2020 (arXiv:1911.08287); c, c' are the centres, d is the diagonal of E
    IoP  = I / area of the first        the share of a prediction that lies in the other box
    IoS  = I / area of the smaller

A box of no area has nothing in common with any: 0, never 0/0. Shapes and types that do not fit raise `ValueError`, and so does NaN where boxes
are compared for a choice (`pairwise`, `encode`, `remove_small`, `nms`, `soft_nms`, `merge`). What stands in a loss or in a network (the measures, `decode`, `clip`)
hands NaN on, so that fitting sees a loss that is no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_LOG_SIZE = math.log(1000 / 16)  # `decode` makes no box larger than 62.5 anchors
BLOCK = 256  # boxes that `nms` decides about at a time

Measure = Callable[[Tensor, Tensor], Tensor]


def areas(boxes: Tensor) -> Tensor:
    """Areas [...] of boxes [..., 4]; 0 where corners are swapped.

    >>> areas(torch.tensor([[0.0, 0.0, 2.0, 3.0], [4.0, 4.0, 4.0, 9.0]]))
    tensor([6., 0.])
    """
    width, height = _sizes(_floating(boxes, "boxes"))
    return width * height


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [...] of boxes `a` and `b` [..., 4], element by element, with broadcasting.

    >>> iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]]))
    tensor([0.3333, 0.0000])
    """
    common, union, _, _ = _parts(a, b)
    return _ratio(common, union)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized IoU [...] in (-1, 1]: below 0 for boxes far apart, where IoU has no slope.

    >>> giou(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([[0.0, 0.0, 1.0, 1.0], [3.0, 0.0, 4.0, 1.0]]))
    tensor([ 1.0000, -0.5000])
    """
    common, union, a, b = _parts(a, b)
    around = areas(_around(a, b))
    return _ratio(common, union) - _ratio(around - union, around)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """Distance IoU [...] in (-1, 1]: IoU less the squared distance of the centres in units of the diagonal around both.

    >>> diou(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 1.0]))
    tensor(-0.5294)
    """
    common, union, a, b = _parts(a, b)
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    around = _around(a, b)
    diagonal = around[..., 2:] - around[..., :2]
    return _ratio(common, union) - _ratio(apart.square().sum(-1), diagonal.square().sum(-1))


def iop(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over the area of the first [...]: the share of prediction `a` that lies in `b`.

    >>> iop(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 9.0, 9.0]))
    tensor(0.5000)
    """
    common, _, a, _ = _parts(a, b)
    return _ratio(common, areas(a))


def ios(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over the area of the smaller [...]: 1 where one box lies in the other.

    >>> ios(torch.tensor([0.0, 0.0, 9.0, 9.0]), torch.tensor([1.0, 1.0, 2.0, 2.0]))
    tensor(1.)
    """
    common, _, a, b = _parts(a, b)
    return _ratio(common, torch.minimum(areas(a), areas(b)))


def pairwise(a: Tensor, b: Tensor, measure: Measure = iou) -> Tensor:
    """The `measure` of each of N boxes `a` [N, 4] with each of M boxes `b` [M, 4]: [N, M].

    >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
    >>> pairwise(boxes, boxes)
    tensor([[1.0000, 0.3333],
            [0.3333, 1.0000]])
    """
    _list_of_boxes(a, "the first boxes")
    _list_of_boxes(b, "the second boxes")
    return measure(a[:, None], b[None])


def encode(
    boxes: Tensor, anchors: Tensor, *, weights: tuple[float, float, float, float] = (1, 1, 1, 1)
) -> Tensor:
    """Offsets [..., 4] that lead from `anchors` to `boxes` [..., 4]: `weights` times ((x - xₐ)/wₐ, (y - yₐ)/hₐ, log w/wₐ, log h/hₐ).

    (x, y) are centres, (w, h) sizes. Boxes and anchors without a size raise `ValueError`.

    Source: S. Ren et al., "Faster R-CNN", NeurIPS 2015 (arXiv:1506.01497), equation 2.

    >>> encode(torch.tensor([2.0, 0.0, 6.0, 4.0]), torch.tensor([0.0, 0.0, 4.0, 4.0]))
    tensor([0.5000, 0.0000, 0.0000, 0.0000])
    """
    boxes, anchors = _floating(boxes, "boxes"), _floating(anchors, "anchors")
    for name, given in (("boxes", boxes), ("anchors", anchors)):
        _without_nan(given, name)
        if _can_look() and given.numel() and float((given[..., 2:] - given[..., :2]).min()) <= 0:
            raise ValueError(
                f"{name} of no width or height have no offsets; expected x0 < x1 and y0 < y1 (see `remove_small`)"
            )
    (centre, size), (origin, unit) = _centre_and_size(boxes), _centre_and_size(anchors)
    return torch.cat([(centre - origin) / unit, torch.log(size / unit)], dim=-1) * boxes.new_tensor(weights)


def decode(
    offsets: Tensor,
    anchors: Tensor,
    *,
    weights: tuple[float, float, float, float] = (1, 1, 1, 1),
    largest: float = LARGEST_LOG_SIZE,
) -> Tensor:
    """Boxes [..., 4] at these `offsets` [..., 4] from `anchors` [..., 4], the inverse of `encode`; log sizes end at `largest`, so that exp does.

    >>> anchor = torch.tensor([0.0, 0.0, 4.0, 4.0])
    >>> decode(encode(torch.tensor([1.0, 1.0, 3.0, 9.0]), anchor), anchor)
    tensor([1., 1., 3., 9.])
    """
    offsets, anchors = _floating(offsets, "offsets"), _floating(anchors, "anchors")
    steps = offsets / offsets.new_tensor(weights)
    origin, unit = _centre_and_size(anchors)
    centre = origin + steps[..., :2] * unit
    half = unit * torch.exp(steps[..., 2:].clamp(max=largest)) / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The part of boxes [..., 4] that lies in a picture of `size` (H, W).

    >>> clip(torch.tensor([-1.0, 2.0, 5.0, 9.0]), (4, 8))
    tensor([0., 2., 5., 4.])
    """
    height, width = size
    left, upper, right, lower = _floating(boxes, "boxes").unbind(-1)
    return torch.stack(
        [left.clamp(0, width), upper.clamp(0, height), right.clamp(0, width), lower.clamp(0, height)], dim=-1
    )


def remove_small(boxes: Tensor, side: float) -> Tensor:
    """Indices [n] of those of boxes [N, 4] whose width and height are at least `side` pixels, and more than 0.

    >>> remove_small(torch.tensor([[0.0, 0.0, 9.0, 1.0], [0.0, 0.0, 4.0, 4.0]]), 2)
    tensor([1])
    """
    _list_of_boxes(boxes, "boxes")
    shorter = (boxes[:, 2:] - boxes[:, :2]).amin(1)
    return torch.nonzero((shorter >= side) & (shorter > 0)).flatten()


def nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    labels: Tensor | None = None,
    limit: int | None = None,
) -> Tensor:
    """Non-maximum suppression: indices [n] of the boxes that stay, the best first.

    Greedy: of boxes [N, 4] in the order of `scores` [N] (equal ones in the order in which they are given) one stays where no box
    that stays before it has an IoU above `threshold` with it. With `labels` [N] only boxes of the same class are compared. At most `limit` stay.

    The answer is that of the loop over all boxes, found in blocks: a block is compared with the boxes that stay so far, and those left are
    settled by repeating "who stays is who no staying one suppresses", each round of which makes at least one more decision final.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [6.0, 6.0, 9.0, 9.0]])
    >>> nms(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5), nms(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5, labels=torch.tensor([0, 1, 0]))
    (tensor([1, 2]), tensor([1, 0, 2]))
    """
    _scored(boxes, scores, labels)
    _share(threshold, "threshold")
    if limit is not None and limit < 0:
        raise ValueError(f"limit is {limit}; expected how many boxes may stay, or None")
    order = torch.argsort(scores, descending=True, stable=True)
    rows = boxes.detach()[order]
    columns = torch.cat([rows.T, areas(rows)[None]]).contiguous()
    threshold = _below(threshold, columns.dtype)
    classes = None if labels is None else labels[order]
    kept = order.new_empty(0)
    for start in range(0, len(order), BLOCK):
        if limit is not None and len(kept) >= limit:
            break
        block = torch.arange(start, min(start + BLOCK, len(order)), device=order.device)
        if len(kept):
            block = block[~_suppressed(columns, classes, kept, block, threshold).any(0)]
        among = _suppressed(columns, classes, block, block, threshold).triu_(1).to(columns.dtype)
        kept = torch.cat([kept, block[_settled(among)]])
    return order[kept[:limit]]


@dataclass(frozen=True)
class Linear:
    """Scores of boxes that overlap by more than `threshold` are multiplied by 1 - IoU."""

    threshold: float = 0.3

    def __call__(self, overlap: Tensor) -> Tensor:
        return torch.where(overlap > self.threshold, 1 - overlap, 1.0)


@dataclass(frozen=True)
class Gaussian:
    """Scores are multiplied by exp(-IoU²/`sigma`)."""

    sigma: float = 0.5

    def __call__(self, overlap: Tensor) -> Tensor:
        return torch.exp(-overlap.square() / self.sigma)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    decay: Callable[[Tensor], Tensor] = Gaussian(),
    *,
    labels: Tensor | None = None,
    smallest: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Indices [n], the best first, and new scores [n]: neighbours of a better box lose score by `decay` (`Linear`, `Gaussian`) and are not removed.

    Boxes [N, 4] whose score falls below `smallest` go. With `labels` [N] only boxes of the same class count as neighbours.

    Source: N. Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017 (arXiv:1704.04503), equations 1 and 3.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [6.0, 6.0, 9.0, 9.0]])
    >>> soft_nms(boxes, torch.tensor([0.8, 0.9, 0.7]), Linear(0.5))
    (tensor([1, 2, 0]), tensor([0.9000, 0.7000, 0.1600]))
    """
    _scored(boxes, scores, labels)
    rows, left = boxes.detach().cpu(), scores.detach().cpu().clone()
    classes = None if labels is None else labels.cpu()
    waiting = torch.ones(len(left), dtype=torch.bool)
    found: list[int] = []
    for _ in range(len(left)):
        best = int(torch.where(waiting, left, -math.inf).argmax())
        if left[best] < smallest:
            break
        found.append(best)
        waiting[best] = False
        others = waiting if classes is None else waiting & (classes == classes[best])
        left = torch.where(others, left * decay(iou(rows[best], rows)), left)
    indices = torch.tensor(found, dtype=torch.int64)
    return indices.to(boxes.device), left[indices].to(boxes.device)


def merge(
    boxes: Tensor,
    scores: Tensor,
    tiles: Tensor,
    places: Tensor,
    *,
    labels: Tensor | None = None,
    threshold: float = 0.5,
    touch: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """One box an object, where tiles that overlap saw it several times: boxes [n, 4] and whose they were [n], the best score first.

    `boxes` [N, 4] and `places` of the T tiles [T, 4] are in pixels of the whole picture, `tiles` [N] says which tile saw a box. Only boxes of
    different tiles, and with `labels` [N] of the same class, can be one object (within a tile that is for `nms`), and only what lies in the zone that both tiles see is compared: there they
    have to show the same. A box is cut where it comes within `touch` pixels of an edge of its tile beyond which the picture goes on.

    * Two whole boxes are one object where their IoU is above `threshold`; the better one stays as it is.
    * A cut box is one with a whole one where their IoS in the zone is above `threshold`; the whole one stays as it is.
    * Two cut boxes that are one by the same rule are parts of one object, larger than the zone: the box around both stays.

    So an object near others, or inside of a larger one that no edge cuts, is not swallowed by them.

    >>> places = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0]])
    >>> boxes = torch.tensor([[8.0, 2.0, 10.0, 5.0], [8.0, 2.0, 12.0, 5.0], [1.0, 1.0, 4.0, 4.0]])
    >>> merge(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0]), places)
    (tensor([[ 8.,  2., 12.,  5.],
            [ 1.,  1.,  4.,  4.]]), tensor([1, 2]))
    """
    _scored(boxes, scores, labels)
    _share(threshold, "threshold")
    _list_of_boxes(places, "places")
    if tiles.shape != scores.shape or tiles.dtype.is_floating_point:
        raise ValueError(
            f"tiles are {_told(tiles)}; expected whole numbers [{len(boxes)}], the tile of each box"
        )
    if len(tiles) and not 0 <= int(tiles.min()) <= int(tiles.max()) < len(places):
        raise ValueError(
            f"tiles are numbered {int(tiles.min())} to {int(tiles.max())}; expected 0 to {len(places) - 1}, as there are {len(places)} places"
        )
    device, dtype = boxes.device, boxes.dtype
    rows, points, tiles, places = (t.detach().cpu() for t in (boxes, scores, tiles, places.to(dtype)))
    cut = _cut(rows, places[tiles], places, touch)
    partners = _partners(rows, tiles, places, cut, None if labels is None else labels.cpu(), threshold)
    owner: dict[int, int] = {}  # which box stands for this one; a box that is missing is dropped
    around = rows.clone()
    by_score = torch.argsort(points, descending=True, stable=True)
    for i in by_score[torch.argsort(cut[by_score].int(), stable=True)].tolist():
        stands = [owner[j] for j in partners[i] if j in owner]
        if not stands:
            owner[i] = i
        elif cut[i] and all(bool(cut[j]) for j in stands):
            owner[i] = first = min(stands, key=lambda j: (-float(points[j]), j))
            around[first] = _around(around[first], rows[i])
            for other in {*stands} - {first}:  # two parts that this one joins
                around[first] = _around(around[first], around[other])
                owner.update({j: first for j, stand in owner.items() if stand == other})
    stay = torch.tensor([i for i in by_score.tolist() if owner.get(i) == i], dtype=torch.int64)
    return around[stay].to(device), stay.to(device)


def _partners(
    rows: Tensor, tiles: Tensor, places: Tensor, cut: Tensor, labels: Tensor | None, threshold: float
) -> list[list[int]]:
    """For each box those of other tiles that show the same object."""
    partners: list[list[int]] = [[] for _ in range(len(rows))]
    inside = [torch.nonzero(tiles == t).flatten() for t in range(len(places))]
    for one, other in torch.nonzero(pairwise(places, places).triu_(1)).tolist():
        first, second = inside[one], inside[other]
        if not (len(first) and len(second)):
            continue
        zone = torch.cat(
            [torch.maximum(places[one], places[other])[:2], torch.minimum(places[one], places[other])[2:]]
        )
        within = [
            torch.minimum(torch.maximum(rows[w], zone[[0, 1, 0, 1]]), zone[[2, 3, 2, 3]])
            for w in (first, second)
        ]
        either_cut = cut[first][:, None] | cut[second]
        overlap = torch.where(
            either_cut, pairwise(within[0], within[1], ios), pairwise(rows[first], rows[second])
        )
        same = overlap > threshold
        if labels is not None:
            same &= labels[first][:, None] == labels[second]
        for i, j in torch.nonzero(same).tolist():
            partners[int(first[i])].append(int(second[j]))
            partners[int(second[j])].append(int(first[i]))
    return partners


def _cut(rows: Tensor, own: Tensor, places: Tensor, touch: float) -> Tensor:
    """Whether a box [N] ends at an edge of its tile that is not the edge of the picture."""
    if not len(places):
        return torch.zeros(len(rows), dtype=torch.bool)
    low, high = places[:, :2].amin(0), places[:, 2:].amax(0)
    before = (rows[:, :2] <= own[:, :2] + touch) & (own[:, :2] > low)
    after = (rows[:, 2:] >= own[:, 2:] - touch) & (own[:, 2:] < high)
    return (before | after).any(1)


def _suppressed(
    columns: Tensor, classes: Tensor | None, by: Tensor, whom: Tensor, threshold: float
) -> Tensor:
    """Whether a box of `by` [n] overlaps one of `whom` [m] too much: [n, m]."""
    a, b = columns[:, by][:, :, None], columns[:, whom][:, None]
    common = (torch.minimum(a[2], b[2]).sub_(torch.maximum(a[0], b[0]))).clamp_(min=0)
    common.mul_(torch.minimum(a[3], b[3]).sub_(torch.maximum(a[1], b[1])).clamp_(min=0))
    above = common.div_((a[4] + b[4]).sub_(common)) > threshold  # 0/0 is above nothing
    return above if classes is None else above.logical_and_(classes[by][:, None] == classes[whom])


def _below(threshold: float, dtype: torch.dtype) -> float:
    """The greatest number of this type that is not above `threshold`, as torchvision compares in double precision."""
    rounded = torch.tensor(threshold, dtype=dtype)
    below = torch.nextafter(rounded, rounded.new_tensor(-math.inf))
    return float(below if float(rounded) > threshold else rounded)


def _settled(among: Tensor) -> Tensor:
    """Who stays [n], where `among` [n, n] says whom each would suppress further down."""
    stays = torch.ones(len(among), dtype=torch.bool, device=among.device)
    while True:
        now = (stays.to(among.dtype) @ among) == 0
        if torch.equal(now, stays):
            return now
        stays = now


def _parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Area of the intersection and of the union, and both boxes in at least single precision."""
    a, b = _floating(a, "the first boxes"), _floating(b, "the second boxes")
    try:
        torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError:
        raise ValueError(
            f"boxes are {_told(a)} and {_told(b)}; expected shapes that broadcast (for all pairs of two lists: `pairwise`)"
        ) from None
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    sides = (high - low).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    return common, areas(a) + areas(b) - common, a, b


def _around(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], dim=-1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """`part` of `whole`, 0 of nothing; its slope is finite."""
    nothing = whole == 0
    return torch.where(nothing, 0.0, part / torch.where(nothing, 1.0, whole))


def _sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0), (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _floating(boxes: Tensor, name: str) -> Tensor:
    """`boxes` [..., 4], in at least single precision, as areas of half precision end at 65,504."""
    if boxes.ndim == 0 or boxes.shape[-1] != 4 or not boxes.dtype.is_floating_point:
        raise ValueError(
            f"{name} are {_told(boxes)}; expected [..., 4] in a floating type, rows (x0, y0, x1, y1)"
        )
    return boxes.float() if boxes.dtype.itemsize < 4 else boxes


def _list_of_boxes(boxes: Tensor, name: str) -> None:
    if boxes.ndim != 2:
        raise ValueError(f"{name} are {_told(boxes)}; expected [N, 4], rows (x0, y0, x1, y1)")
    _without_nan(_floating(boxes, name), name)


def _scored(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> None:
    _list_of_boxes(boxes, "boxes")
    for name, one in (("scores", scores), ("labels", labels)):
        if one is not None and one.shape != boxes.shape[:1]:
            raise ValueError(f"{name} are {_told(one)}; expected [{len(boxes)}], one for each box")
    _without_nan(scores, "scores")


def _without_nan(values: Tensor, name: str) -> None:
    if _can_look() and bool(torch.isnan(values).any()):
        rows = torch.isnan(values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)).any(1)
        raise ValueError(
            f"{name} have NaN in {int(rows.sum())} of {len(rows)} rows, the first is row {int(rows.nonzero()[0])}; find what made them "
            "(a network that diverged?) or leave them out"
        )


def _share(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a share from 0 to 1")


def _can_look() -> bool:
    """Whether values are there to be looked at: not while a graph is recorded for export or compilation."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def _told(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
