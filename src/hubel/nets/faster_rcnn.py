"""Faster R-CNN: one network proposes where objects may be, and judges each proposal by what lies inside it.

    body, pyramid    maps of several strides
    proposals        at every place A anchors: is there an object, and how is the anchor to be moved; the surest ones, without those that overlap
                     a surer one by more than `SAME` (the region proposal network, a head without classes)
    regions          each proposal, cut out of the map that suits its size as 7 × 7 values (RoIAlign)
    judgement        two fully connected layers, then the probabilities of K classes and "none", and of each class offsets from the proposal

The answer has a row for every proposal: the proposal, its box moved as its likeliest class wants it, and K raw scores. What is asked of it is
`hubel.objectives.FasterRCNNDetection`.

Sources: S. Ren, K. He, R. Girshick, J. Sun, "Faster R-CNN", NeurIPS 2015 (arXiv:1506.01497); on a pyramid: T.-Y. Lin et al., CVPR 2017,
doi:10.1109/CVPR.2017.106, section 4; RoIAlign: K. He et al., "Mask R-CNN", ICCV 2017, doi:10.1109/ICCV.2017.322. We differ: our body; a
proposal has one box in the answer (published: one of each class).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.boxes import clip, decode, nms
from hubel.core.sureness import log_of_rest
from hubel.nets.anchor_parts import Sizes, anchors_of_places, dealt_out
from hubel.nets.backbones import body_of, description_of
from hubel.nets.detector_parts import (
    Pyramid,
    Tower,
    at_least_single,
    check_strides,
    in_rows,
)
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

RATIOS = (0.5, 1.0, 2.0)  # height : width of the anchors that are taken unless given
ANCHOR_STRIDES = 4  # side of a square anchor in strides
SAME = 0.7  # overlap of two proposals of which one is enough
COMPARED = 4  # times as many boxes as proposals are compared with each other
SMALLEST_SIDE = 1.0  # pixels of a proposal
BINS, SAMPLES = 7, 2  # values of a region a side, and sampled points of a value a side
MOST_BINS = 2  # places of a map that a value may stand for, a side; beyond it the next coarser map is read
UNIT = (10.0, 10.0, 5.0, 5.0)  # of the offsets that the judgement answers
NOTHING = -20.0  # raw score of a row without a proposal
INITIAL_SPREAD = 0.01


Learn = Callable[[Any, list[Tensor]], Tensor]
"""How a loss is asked for: a function of the network and its maps, called within the forward pass, where hooks and wrappers see it."""


class Anchored(NamedTuple):
    """Anchors [A, 4] of a picture; whether each holds an object, as raw scores [N, A]; and the offsets to it [N, A, 4]."""

    boxes: Tensor
    scores: Tensor
    offsets: Tensor


def faster_rcnn(
    width: int = 32,
    *,
    anchors: Sequence[Sequence[float]] | None = None,
    strides: Sequence[int] = (8, 16),
    channels: int | None = None,
    hidden: int = 256,
    proposals: int = 100,
    backbone: Mapping[str, Any] | nn.Module | None = None,
    inputs: Sequence[int] = (3, 128, 128),
    outputs: int = 1,
) -> FasterRCNN:
    """Faster R-CNN. Input [N, C, H, W], output candidates [N, proposals, 8 + outputs]: the proposal, its box, and K raw scores.

    `anchors` are sizes (width, height) in pixels, as many for every stride (see `hubel.data.anchors_of`); unless given three of 4 strides a side, in
    the proportions 1:2, 1:1 and 2:1. `width` are the channels at stride 4, `channels` those of the pyramid (2 · `width` unless given), `hidden` the
    nodes of the two layers that judge a proposal. Where fewer than `proposals` are found, rows of zeros fill up. `backbone` is another network
    of `hubel.nets`, of which a copy takes the place of the body, with its weights (see `hubel.nets.backbones`). Other sizes of pictures are accepted.

    >>> net = faster_rcnn(16, proposals=20, inputs=(1, 64, 96), outputs=3).eval()
    >>> net(torch.zeros(2, 1, 64, 96)).shape
    torch.Size([2, 20, 11])

    Raises `ValueError` for sizes that are not positive, pictures smaller than the greatest stride, strides that a backbone has not, and
    anchors that can not be dealt out to the strides.
    """
    steps = check_strides(strides, "faster_rcnn")
    shape = image_shape(inputs, smallest=steps[-1], net="faster_rcnn")
    channels = 2 * int(width) if channels is None else int(channels)
    if min(int(width), channels, int(hidden), int(proposals)) < 1:
        raise ValueError(
            f"faster_rcnn: width, channels, hidden and proposals must be positive; received width={width}, channels={channels}, hidden={hidden}, "
            f"proposals={proposals}"
        )
    sizes = dealt_out(_usual(steps) if anchors is None else anchors, len(steps), "faster_rcnn")
    net = FasterRCNN(
        body_of(backbone, int(width), shape, steps),
        sizes,
        channels,
        int(hidden),
        int(proposals),
        shape,
        num_outputs(outputs, "faster_rcnn"),
    )
    given = {
        "width": int(width),
        "anchors": [list(size) for of_stride in sizes for size in of_stride],
        "strides": steps,
        "channels": channels,
        "hidden": int(hidden),
        "proposals": int(proposals),
        "backbone": description_of(backbone),
    }
    return made(net, "faster_rcnn", inputs=shape, outputs=int(outputs), **given)


class FasterRCNN(Net):
    """See `faster_rcnn`."""

    def __init__(
        self,
        body: nn.Module,
        anchors: tuple[Sizes, ...],
        channels: int,
        hidden: int,
        proposals: int,
        inputs: tuple[int, int, int],
        outputs: int,
    ):
        super().__init__()
        self.inputs, self.proposals = inputs, proposals
        self.body = body
        self.strides: tuple[int, ...] = body.strides  # type: ignore[assignment]
        self.pyramid = Pyramid(body.channels, channels)  # type: ignore[arg-type]
        self.anchors = anchors
        self.proposer = Tower(channels, 5 * len(anchors[0]), depth=1)
        self.judge_body = nn.Sequential(
            nn.Linear(channels * BINS**2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.classes = nn.Linear(hidden, outputs + 1)
        self.offsets = nn.Linear(hidden, 4 * outputs)
        for last in (self.classes, self.offsets):
            nn.init.normal_(last.weight, std=INITIAL_SPREAD)
            nn.init.zeros_(last.bias)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What both heads read: [N, channels, ⌈H/s⌉, ⌈W/s⌉] of each stride."""
        check_images(x, self.inputs, "faster_rcnn", smallest=self.strides[-1])
        return self.pyramid(self.body(x))

    def features(self, x: Tensor) -> Tensor:
        """What the heads read, averaged over places: [N, strides · channels]."""
        return torch.cat([found.mean(dim=(2, 3)) for found in self.maps(x)], dim=1)

    def anchored(self, maps: Sequence[Tensor]) -> Anchored:
        """What the anchors of all maps find."""
        boxes, said = [], []
        for stride, sizes, seen in zip(self.strides, self.anchors, maps, strict=True):
            answers = at_least_single(in_rows(self.proposer(seen)))
            said.append(answers.unflatten(2, (len(sizes), 5)).flatten(1, 2))
            boxes.append(
                anchors_of_places(seen.shape[2], seen.shape[3], stride, sizes, answers).flatten(0, 1)
            )
        answered = torch.cat(said, dim=1)
        return Anchored(torch.cat(boxes), answered[..., 0], answered[..., 1:])

    @torch.no_grad()
    def propose(self, found: Anchored, size: tuple[int, int]) -> Tensor:
        """The surest boxes of pictures of `size` (H, W) that differ, surest first: [N, proposals, 4]; rows of zeros where there are fewer."""
        scores, best = found.scores.topk(min(COMPARED * self.proposals, found.scores.shape[1]), dim=1)
        offsets = found.offsets.gather(1, best.unsqueeze(2).expand(-1, -1, 4))
        boxes = clip(decode(offsets, found.boxes[best]), size)
        fits = ((boxes[..., 2:] - boxes[..., :2]).amin(2) >= SMALLEST_SIDE) & scores.isfinite()
        answer = boxes.new_zeros(len(boxes), self.proposals, 4)
        for rows, surest, fit, into in zip(boxes, scores, fits, answer, strict=True):
            fitting = rows[fit]
            kept = nms(fitting, surest[fit], SAME, limit=self.proposals)
            into[: len(kept)] = fitting[kept]
        return answer

    def judge(self, maps: Sequence[Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores [N, P, K + 1] of the classes, "none" last, and of each class offsets [N, P, K, 4] from `proposals` [N, P, 4]."""
        seen = self.judge_body(self.regions(maps, proposals).flatten(2))
        return at_least_single(self.classes(seen)), at_least_single(self.offsets(seen)).unflatten(2, (-1, 4))

    def regions(self, maps: Sequence[Tensor], proposals: Tensor) -> Tensor:
        """What lies in proposals [N, P, 4], each from the finest map of which a value stands for at most two places a side:
        [N, P, 7, 7, channels].
        """
        sides = (proposals[..., 2:] - proposals[..., :2]).clamp_min(0).prod(2).sqrt()
        level = (sides / (MOST_BINS * BINS * self.strides[0])).clamp_min(1).log2().ceil()
        steps = [math.log2(stride / self.strides[0]) for stride in self.strides]
        cut = maps[0].new_zeros(())
        for k, (stride, step, seen) in enumerate(zip(self.strides, steps, maps, strict=True)):
            above = level <= step if k < len(maps) - 1 else torch.ones_like(level, dtype=torch.bool)
            here = above if k == 0 else above & (level > steps[k - 1])
            if k == 0 or bool(here.any()):
                cut = cut + aligned(seen, proposals / stride, here)
        return cut

    def forward(self, x: Tensor, learn: Learn | None = None) -> Tensor:
        """Candidates [N, proposals, 8 + K]; with `learn` the loss that it makes of this network and its maps."""
        maps = self.maps(x)
        if learn is not None:
            return learn(self, maps)
        size = (x.shape[2], x.shape[3])
        proposals = self.propose(self.anchored(maps), size)
        return self.candidates(proposals, *self.judge(maps, proposals), size)

    def candidates(
        self, proposals: Tensor, classes: Tensor, offsets: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """The answer's rows [N, P, 8 + K] of what `judge` says of proposals [N, P, 4]; "none" for those of no size."""
        log_shares = F.log_softmax(classes, dim=2)[..., :-1].clamp(max=-1e-7)
        likeliest = log_shares.argmax(2)[:, :, None, None].expand(-1, -1, 1, 4)
        boxes = clip(decode(offsets.gather(2, likeliest).squeeze(2), proposals, weights=UNIT), size)
        there = (proposals[..., 2:] > proposals[..., :2]).all(2, keepdim=True)
        scores = torch.where(there, log_shares - log_of_rest(log_shares), NOTHING)
        return torch.cat([proposals, torch.where(there, boxes, 0.0), scores], dim=2)


def aligned(x: Tensor, boxes: Tensor, here: Tensor) -> Tensor:
    """RoIAlign of maps [N, C, h, w] at boxes [N, P, 4] in places of the map: [N, P, 7, 7, C], zeros for those that are not `here` [N, P].

    Each of the 7 × 7 values is the mean of 2 × 2 points, between whose four neighbouring places x is interpolated linearly. That is separable:
    a region is L x Rᵀ with one matrix for the rows and one for the columns.
    """
    rows = _weights(boxes[..., 1], boxes[..., 3], x.shape[2]) * here[..., None, None]
    columns = _weights(boxes[..., 0], boxes[..., 2], x.shape[3])
    num, channels, height, width = x.shape
    by_rows = rows.flatten(1, 2).to(x.dtype) @ x.permute(0, 2, 3, 1).reshape(num, height, width * channels)
    return columns.unsqueeze(2).to(x.dtype) @ by_rows.view(num, -1, BINS, width, channels)


def _weights(low: Tensor, high: Tensor, length: int) -> Tensor:
    """What each of `length` places gives to 7 values between `low` and `high` [N, P]: [N, P, 7, length]."""
    steps = (torch.arange(BINS * SAMPLES, device=low.device, dtype=low.dtype) + 0.5) / (BINS * SAMPLES)
    points = low.unsqueeze(2) + (high - low).unsqueeze(2) * steps - 0.5  # place k has its centre at k
    within = (points >= -1) & (points <= length)
    places = torch.arange(length, device=low.device, dtype=low.dtype)
    near = (1 - (points.clamp(0, length - 1).unsqueeze(3) - places).abs()).clamp_min(0)
    return (near * within.unsqueeze(3)).unflatten(2, (BINS, SAMPLES)).mean(3)


def _usual(strides: Sequence[int]) -> list[tuple[float, float]]:
    """Anchors of equal areas in three proportions for each stride."""
    return [
        (ANCHOR_STRIDES * stride / math.sqrt(ratio), ANCHOR_STRIDES * stride * math.sqrt(ratio))
        for stride in strides
        for ratio in RATIOS
    ]
