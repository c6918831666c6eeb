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
from hubel.data.boxes import CLASS, IGNORED, NO_OBJECT
from hubel.objectives.detection import BOX, FOUND_FROM, SCORES, Detection

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
        if not most:
            return wanted, found, candidates.new_ones(num, rows)
        there = objects[:, :, CLASS] != NO_OBJECT
        real = there & (objects[:, :, IGNORED] == 0)
        squares, truth = candidates[:, :, FOUND_FROM], objects[:, :, :4]
        centre = (squares[:, :, :2] + squares[:, :, 2:]) / 2
        past = torch.cat(
            [centre.unsqueeze(1) - truth[:, :, None, :2], truth[:, :, None, 2:] - centre.unsqueeze(1)], dim=3
        )
        inside = past.amin(3) > 0  # [N, M, R]
        ignored = (inside & (there & ~real).unsqueeze(2)).any(1)
        inside &= real.unsqueeze(2)
        self._nearest(inside, real, centre, truth)
        numbers = objects[:, :, CLASS].clamp_min(0).long()
        scores = candidates[:, :, SCORES].sigmoid().transpose(1, 2)
        scores = scores.gather(1, numbers.unsqueeze(2).expand(num, most, rows))
        overlaps = iou(truth.unsqueeze(2), candidates[:, None, :, BOX])
        aligned = (scores.pow(self.alpha) * overlaps.pow(self.beta) + NEAR) * inside
        best = aligned.topk(min(self.places, rows), dim=2)
        chosen = torch.zeros_like(inside).scatter(2, best.indices, best.values > 0)
        mine = torch.where(chosen, overlaps + NEAR, torch.zeros_like(overlaps))
        share, winner = mine.max(dim=1)
        found = torch.where(share > 0, winner, found)
        chosen &= torch.arange(most, device=found.device)[:, None] == found.unsqueeze(1)
        aligned, overlaps = aligned * chosen, overlaps * chosen
        scale = overlaps.amax(2, keepdim=True) / aligned.amax(2, keepdim=True).clamp_min(1e-30)
        said = (aligned * scale).sum(1)  # of the one object that a place finds
        picture, place = (found >= 0).nonzero(as_tuple=True)
        wanted[picture, place, numbers[picture, found[picture, place]]] = said[picture, place]
        return wanted, found, (~ignored | (found >= 0)).to(candidates)

    def _nearest(self, inside: Tensor, real: Tensor, centre: Tensor, truth: Tensor) -> None:
        """Give each object without a place inside it the nearest one."""
        picture, which = (real & ~inside.any(2)).nonzero(as_tuple=True)
        if len(picture):
            middle = (truth[picture, which, :2] + truth[picture, which, 2:]) / 2
            far = (centre[picture] - middle.unsqueeze(1)).square().sum(2)
            inside[picture, which, far.argmin(1)] = True
