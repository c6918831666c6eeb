"""What is asked of a detector that answers one box at every place: the places that find an object best are to find it surely.

Of each object the k places inside its box with the greatest alignment are to find it,

    t = p^α · IoU^β,

p the place's score of the object's class, IoU the overlap of its box with the object. A place that two objects want goes to the one that it
overlaps more. The score wanted of these places is t scaled, of each object, so that its greatest value is the object's best overlap; of all others
it is 0. Hence the score foretells the overlap, and no second number has to say how good a box is.

    loss = (Σ BCE(score, wanted) + λ Σ wanted · (1 - GIoU)) / Σ wanted

Places inside an ignored object, which find no other, do not count. An object so small that no place lies inside it is given the nearest.

Sources: C. Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, doi:10.1109/ICCV48922.2021.00349, section 3.2
(alignment, α = 1, β = 6, scaling); H. Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, doi:10.1109/CVPR.2019.00075. We take
the plain binary cross-entropy in place of TOOD's focal one, which weights it by the distance to what is wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.core.boxes import giou, iou
from hubel.core.errors import ContractError
from hubel.data.boxes import CLASS
from hubel.objectives.detection import (
    BOX,
    FOUND_FROM,
    SCORES,
    Detection,
    centre_of,
    in_ignored,
    places_in,
    wanted_objects,
)

NEAR = 1e-9


@dataclass(frozen=True)
class AnchorFreeDetection(Detection):
    """Objects of K classes by a detector that answers a box at every place, candidates [N, R, 8 + K]; boxes [N, M, 6].

    `places` is k, how many places are to find an object; `alpha` and `beta` are the powers of score and overlap in the alignment;
    `box_weight` is λ. See `Detection` for the rest.

    Raises `ContractError` for numbers out of their range.

    >>> objective = AnchorFreeDetection(1)
    >>> place, box = [8.0, 8, 16, 16], [4.0, 4, 20, 20]
    >>> candidates = torch.tensor([[[*place, *box, 9.0]]])
    >>> objects = torch.tensor([[[*box, 0.0, 0.0]]])
    >>> {name: round(part.item(), 4) for name, part in objective.losses(candidates, objects).items()}
    {'class': 0.0001, 'box': 0.0}
    """

    places: int = 10
    alpha: float = 1.0
    beta: float = 6.0
    box_weight: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.places < 1:
            raise ContractError(
                f"places is {self.places}; expected how many places are to find an object, at least one"
            )
        for name in ("alpha", "beta", "box_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ContractError(
                    f"{name} is {getattr(self, name)}; expected a finite number of at least 0"
                )

    def losses(self, candidates: Tensor, objects: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        scores, boxes = candidates[:, :, SCORES], candidates[:, :, BOX]
        with torch.no_grad():
            wanted, found, counts = self.assigned(candidates.detach(), objects)
        if weights is not None:
            counts = counts * weights.to(counts).unsqueeze(1)
        total = (wanted * counts.unsqueeze(2)).sum().clamp_min(1.0)
        classes = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
        picture, place = (found >= 0).nonzero(as_tuple=True)
        truth = objects[picture, found[picture, place], :4].to(boxes)
        missed = 1 - giou(boxes[picture, place], truth)
        weight = wanted[picture, place].amax(dim=1) * counts[picture, place]
        return {
            "class": (classes * counts.unsqueeze(2)).sum() / total,
            "box": self.box_weight * (missed * weight).sum() / total,
        }

    def assigned(self, candidates: Tensor, objects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scores wanted of the candidates [N, R, K], the number of the object that each is to find [N, R] (-1: none), and whether it
        counts [N, R].
        """
        num, rows = candidates.shape[:2]
        objects = objects.to(candidates)
        most = objects.shape[1]
        wanted = candidates.new_zeros(num, rows, self.num_outputs)
        found = torch.full((num, rows), -1, dtype=torch.long, device=candidates.device)
        ignored = in_ignored(candidates[:, :, FOUND_FROM], objects)
        pieces = [
            self._best(candidates, objects, picture, which, inside)
            for picture, which, inside in places_in(
                candidates[:, :, FOUND_FROM], objects, wanted_objects(objects)
            )
        ]
        if not pieces:
            return wanted, found, (~ignored).to(candidates)
        picture, which, place, overlap, aligned = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        at, one = picture * rows + place, picture * most + which
        nearest = (
            overlap + NEAR
        )  # of the objects that want a place the one that it overlaps more, of equal ones the first
        greatest = nearest.new_zeros(num * rows).scatter_reduce(0, at, nearest, "amax")
        claims = torch.where(nearest == greatest[at], which, most)
        winner = torch.full_like(found, most).view(-1).scatter_reduce(0, at, claims, "amin")
        mine = winner[at] == which
        picture, which, place, overlap, aligned, one = (
            part[mine] for part in (picture, which, place, overlap, aligned, one)
        )
        zeros = overlap.new_zeros(num * most)
        scale = zeros.scatter_reduce(0, one, overlap, "amax") / zeros.scatter_reduce(
            0, one, aligned, "amax"
        ).clamp_min(1e-30)
        found[picture, place] = which
        numbers = objects[picture, which, CLASS].long()
        wanted[picture, place, numbers] = (aligned * scale[one]).to(wanted)
        return wanted, found, (~ignored | (found >= 0)).to(candidates)

    def _best(
        self, candidates: Tensor, objects: Tensor, picture: Tensor, which: Tensor, inside: Tensor
    ) -> tuple[Tensor, ...]:
        """Of each of g objects the places that are to find it, of those `inside` [g, R]: pairs of pictures, objects and places [P], with their
        overlaps and alignments.
        """
        row, place = inside.nonzero(as_tuple=True)
        counts = torch.bincount(row, minlength=len(inside))
        lacking = (counts == 0).nonzero().squeeze(1)
        if len(lacking):  # the nearest place is that of an object so small that none lies inside
            own = candidates[picture[lacking], :, FOUND_FROM]
            apart = centre_of(own) - centre_of(objects[picture[lacking], which[lacking]]).unsqueeze(1)
            row = torch.cat([row, lacking])
            place = torch.cat([place, apart.square().sum(2).argmin(1)])
            row, order = row.sort(stable=True)
            place, counts = place[order], counts.clamp_min(1)
        pictures, truth = picture[row], objects[picture[row], which[row]]
        scores = candidates[pictures, place, SCORES.start + truth[:, CLASS].long()].sigmoid()
        overlap = iou(truth[:, :4], candidates[pictures, place, BOX])
        aligned = scores.pow(self.alpha) * overlap.pow(self.beta) + NEAR
        first = counts.cumsum(0) - counts
        table = aligned.new_zeros(len(picture), int(counts.max()))
        table[row, torch.arange(len(row), device=row.device) - first[row]] = aligned
        best = table.topk(min(self.places, table.shape[1]), dim=1)
        pair = (first.unsqueeze(1) + best.indices)[best.values > 0]
        return pictures[pair], which[row[pair]], place[pair], overlap[pair], aligned[pair]
