"""What is asked of Faster R-CNN: which anchors hold objects, and what lies in each proposal.

    proposals   of every picture `anchors_judged` anchors, at most half of which overlap an object by 0.7 or more (or overlap it most), the others
                none by 0.3: binary cross-entropy of "object", smooth L1 of the offsets
    judgement   of every picture `regions_judged` proposals and true boxes, at most a quarter of which overlap an object by 0.5 or more:
                cross-entropy of the K classes and "none", smooth L1 of the offsets of the true class

    smooth L1   Σ d²/(2β) where |d| < β, else |d| - β/2; divided by the number of anchors or regions judged

The numbers are drawn anew for every step, and are the same for all pictures, so that shapes are. Anchors and proposals that lie by more than a half in
an ignored object, and find no other, are not judged. Learning curves show the judgement ("plain"): of a picture that is not trained on, where nothing
is drawn, its mean over proposals with objects and over those without, in the shares in which they are drawn.

Sources: S. Ren, K. He, R. Girshick, J. Sun, "Faster R-CNN", NeurIPS 2015 (arXiv:1506.01497), section 3.1; R. Girshick, "Fast R-CNN", ICCV 2015
(arXiv:1504.08083), sections 2.3 and 3; β = 1/9 as in their code for proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.boxes import encode, iop, iou
from hubel.core.errors import ContractError
from hubel.core.sureness import confidence_and_classes, log_of_rest
from hubel.core.types import Batch, Loss
from hubel.data.boxes import CLASS, IGNORED, NO_OBJECT
from hubel.objectives.detection import BOX, FOUND_FROM, SCORES, Detection, wanted_objects

ANCHOR_HOLDS, ANCHOR_EMPTY = 0.7, 0.3  # overlaps with an object
HOLDS = 0.5
OF_ANCHORS, OF_REGIONS = 0.5, 0.25  # the share, at most, of those judged that hold an object
UNIT = (10.0, 10.0, 5.0, 5.0)  # of the offsets from proposals
BETA = 1 / 9
LEAST_SIDE = 1e-3  # pixels


@runtime_checkable
class Proposing(Protocol):
    """A network in two steps, such as `hubel.nets.faster_rcnn`. Called with a function of itself and its maps, it answers what this makes of them."""

    def anchored(self, maps: Sequence[Tensor]) -> Any: ...

    def propose(self, found: Any, size: tuple[int, int]) -> Tensor: ...

    def judge(self, maps: Sequence[Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class FasterRCNNDetection(Detection):
    """Objects of K classes by proposals that are judged, candidates [N, P, 8 + K] of `nets.faster_rcnn`; boxes [N, M, 6].

    Of every picture `anchors_judged` anchors and `regions_judged` regions enter the loss of a step. See `Detection` for the rest.

    Raises `ContractError` for numbers below 4, and in training for a network that proposes nothing.

    >>> from hubel.nets import faster_rcnn
    >>> batch = Batch(inputs=torch.zeros(2, 1, 64, 64), targets=torch.tensor([[[8.0, 8, 40, 40, 1, 0]]] * 2))
    >>> loss = FasterRCNNDetection(2)(faster_rcnn(8, inputs=(1, 64, 64), outputs=2), batch)
    >>> list(loss.parts)
    ['plain', 'proposals']
    """

    anchors_judged: int = 128
    regions_judged: int = 64

    def __post_init__(self) -> None:
        Detection.__post_init__(self)
        if min(self.anchors_judged, self.regions_judged) < 4:
            raise ContractError(
                f"{self.anchors_judged} anchors and {self.regions_judged} regions of a picture are judged; expected at least 4 of each"
            )

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        if not isinstance(net, Proposing):
            raise ContractError(
                f"{type(net).__name__} proposes nothing; FasterRCNNDetection expects a network in two steps: take hubel.nets.faster_rcnn, or "
                "AnchorFreeDetection for one that answers in a single step"
            )
        objects = batch.targets.to(batch.inputs.device, torch.float32)
        parts: dict[str, Tensor] = {}

        def learn(inner: Proposing, maps: list[Tensor]) -> Tensor:
            anchored = inner.anchored(maps)
            proposals = inner.propose(anchored, (batch.inputs.shape[2], batch.inputs.shape[3]))
            weights = _weights(batch.weights, proposals)
            parts["plain"] = self.judged(inner, maps, proposals, objects, weights)
            parts["proposals"] = self.proposed(
                anchored.boxes, anchored.scores, anchored.offsets, objects, weights
            )
            return parts["plain"] + parts["proposals"]

        total = net(batch.inputs, learn)
        return Loss(total=total, parts={name: part.detach() for name, part in parts.items()})

    def proposed(
        self, anchors: Tensor, scores: Tensor, offsets: Tensor, objects: Tensor, weights: Tensor
    ) -> Tensor:
        """The loss of raw scores [N, A] and offsets [N, A, 4] of anchors [A, 4]; `weights` [N] count the pictures."""
        with torch.no_grad():
            overlaps, ignored = _overlaps(anchors.expand(len(objects), -1, -1), objects)
            overlap, which = overlaps.max(dim=1)
            holds = overlap >= ANCHOR_HOLDS
            best, place = overlaps.max(dim=2)
            picture, mine = (best > 0).nonzero(as_tuple=True)
            holds[picture, place[picture, mine]] = True
            which[picture, place[picture, mine]] = mine
            positive, negative = drawn(
                holds, (overlap < ANCHOR_EMPTY) & ~holds & ~ignored, self.anchors_judged, OF_ANCHORS
            )
        unsure = F.binary_cross_entropy_with_logits(scores, positive.to(scores), reduction="none")
        judged = positive | negative
        picture, row = positive.nonzero(as_tuple=True)
        wanted = encode(_with_sides(objects[picture, which[picture, row], :4]), anchors[row])
        missed = weights[picture] * _smooth(offsets[picture, row], wanted)
        counts = judged * weights.unsqueeze(1)
        return ((unsure * counts).sum() + missed.sum()) / counts.sum().clamp_min(1)

    def judged(
        self, net: Proposing, maps: Sequence[Tensor], proposals: Tensor, objects: Tensor, weights: Tensor
    ) -> Tensor:
        """The loss of what `net` says of some of the `proposals` [N, P, 4] and true boxes, drawn at random; `weights` [N] count the pictures."""
        with torch.no_grad():
            known = torch.where(wanted_objects(objects).unsqueeze(2), objects[..., :4], 0.0)
            regions = torch.cat([proposals, known], dim=1)
            holds, without, which = regions_of(regions, objects)
            positive, negative = drawn(holds, without, self.regions_judged, OF_REGIONS)
            order = (2.0 * positive + 1.0 * negative).topk(min(self.regions_judged, regions.shape[1]), dim=1)
            chosen = order.indices
            regions = regions.gather(1, chosen.unsqueeze(2).expand(-1, -1, 4))
            positive, which = order.values == 2, which.gather(1, chosen)
            counts = (order.values > 0) * weights.unsqueeze(1)
            classes = _classes(objects, which, positive, self.num_outputs)
        scores, offsets = net.judge(maps, regions)
        wrong = F.cross_entropy(scores.flatten(0, 1), classes.flatten(), reduction="none")
        picture, row = positive.nonzero(as_tuple=True)
        wanted = encode(
            _with_sides(objects[picture, which[picture, row], :4]), regions[picture, row], weights=UNIT
        )
        said = offsets[picture, row, classes[picture, row]]
        missed = weights[picture] * _smooth(said, wanted)
        return ((wrong * counts.flatten()).sum() + missed.sum()) / counts.sum().clamp_min(1)

    def losses(self, candidates: Tensor, objects: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        objects = objects.to(candidates)
        regions = candidates[:, :, FOUND_FROM]
        log_confidence, log_classes = confidence_and_classes(candidates[:, :, SCORES])
        holds, without, which = regions_of(regions, objects)
        picture, row = holds.nonzero(as_tuple=True)
        truth = objects[picture, which[picture, row]]
        of_class = log_classes[picture, row, truth[:, CLASS].long()]
        weights = _weights(weights, candidates)
        each, others = weights[picture], without * weights.unsqueeze(1)
        wrong = -(each * (of_class + log_confidence[picture, row])).sum()
        from_there = regions[picture, row]
        moved = encode(_with_sides(candidates[picture, row, BOX]), from_there, weights=UNIT)
        missed = each * _smooth(moved, encode(_with_sides(truth[:, :4]), from_there, weights=UNIT))
        background = -(log_of_rest(log_confidence) * others).sum() / others.sum().clamp_min(1)
        share = OF_REGIONS / each.sum().clamp_min(1)
        return {"class": share * wrong + (1 - OF_REGIONS) * background, "box": share * missed.sum()}


def regions_of(regions: Tensor, objects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which regions [N, P, 4] hold an object of boxes [N, M, 6], which none, and the number of the one that each overlaps most: [N, P] each.

    Regions of no size, and those in ignored objects, are neither.
    """
    overlaps, ignored = _overlaps(regions, objects)
    overlap, which = overlaps.max(dim=1)
    there = (regions[..., 2:] > regions[..., :2]).all(2)
    holds = (overlap >= HOLDS) & there
    return holds, there & ~holds & ~ignored, which


def drawn(holds: Tensor, without: Tensor, num: int, share: float) -> tuple[Tensor, Tensor]:
    """`num` of each row [N, A] at random, at most a `share` of which are of those that `hold`, the others of those `without`: two masks.

    >>> holds = torch.tensor([[True, True, True, False, False, False, False]])
    >>> positive, negative = drawn(holds, ~holds, 4, 0.25)
    >>> positive.sum().item(), negative.sum().item()
    (1, 3)
    """
    noise = torch.rand(holds.shape, device=holds.device)
    positive = holds & (_rank(noise + 1.0 * ~holds) < int(share * num))
    room = num - positive.sum(1, keepdim=True)
    return positive, without & (_rank(noise + 1.0 * ~without) < room)


def _rank(values: Tensor) -> Tensor:
    """The place of each of the values [N, A] in its row, from small to large."""
    order = values.argsort(dim=1)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _overlaps(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """IoU of boxes [N, P, 4] with the objects that count [N, M + 1, P] (the last row is 0), and whether a box lies in an ignored one [N, P]."""
    real = wanted_objects(objects)
    overlaps = iou(objects[:, :, None, :4], boxes.unsqueeze(1)) * real.unsqueeze(2)
    overlaps = F.pad(overlaps, (0, 0, 0, 1))  # also of a picture without objects there is a greatest
    ignored = (objects[:, :, CLASS] != NO_OBJECT) & (objects[:, :, IGNORED] == 1)
    if not bool(ignored.any()):
        return overlaps, torch.zeros_like(overlaps[:, 0], dtype=torch.bool)
    within = iop(boxes.unsqueeze(1), objects[:, :, None, :4])
    return overlaps, ((within > HOLDS) & ignored.unsqueeze(2)).any(1)


def _smooth(said: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 of offsets [P, 4], summed over the four: [P]."""
    return F.smooth_l1_loss(said, wanted, beta=BETA, reduction="none").sum(1)


def _weights(given: Tensor | None, like: Tensor) -> Tensor:
    """The weights of N pictures, 1 unless given."""
    return like.new_ones(len(like)) if given is None else given.to(like)


def _classes(objects: Tensor, which: Tensor, positive: Tensor, none: int) -> Tensor:
    """The class wanted of each region [N, P]: that of its object, or `none`."""
    numbers = F.pad(objects[:, :, CLASS], (0, 1)).gather(1, which)
    return torch.where(positive, numbers, none).long()


def _with_sides(boxes: Tensor) -> Tensor:
    """Boxes that have at least some width and height, so that their offsets are finite."""
    return torch.cat([boxes[..., :2], torch.maximum(boxes[..., 2:], boxes[..., :2] + LEAST_SIDE)], dim=-1)
