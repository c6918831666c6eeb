"""What is asked of YOLO with anchors: of each object one anchor finds it, the one that fits it best at the place that holds its centre.

    loss = (Σ BCE(C, found) - Σ_found log p_k + λ Σ_found (1 - GIoU)) / number of objects

C is the confidence that there is an object, p_k the probability of its class. Where an anchor is not the best of any object but its box overlaps one
by more than `ignore_above`, its confidence is not judged; so it is where the anchor's centre lies in an ignored object. Of two objects that
want the same anchor the one that overlaps it more is to be found.

Sources: J. Redmon, A. Farhadi, "YOLOv3", arXiv:1804.02767, section 2 (one anchor for each object, 0.5, logistic confidence); multi-scale training:
their "YOLO9000", CVPR 2017 (arXiv:1612.08242), section 2; H. Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019,
doi:10.1109/CVPR.2019.00075, which measured that 1 - GIoU finds boxes better than YOLOv3's squared errors of offsets, and takes their place here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.boxes import giou, iou
from hubel.core.errors import ContractError
from hubel.core.sureness import confidence_and_classes, log_of_rest
from hubel.core.types import Batch, Loss
from hubel.data.boxes import CLASS
from hubel.objectives.detection import BOX, FOUND_FROM, SCORES, Detection, in_ignored, summed, wanted_objects
from hubel.objectives.objective import forward

NEARER = 1e-3  # of anchors that fit as well the one whose centre is nearer
TAKEN = -1.0  # below every fit


@dataclass(frozen=True)
class YOLOv3Detection(Detection):
    """Objects of K classes by anchors, candidates [N, R, 8 + K] of `nets.yolo_v3`; boxes [N, M, 6].

    `box_weight` is λ. In training the pictures of each batch are brought to one of the `sizes`, shares of their size that are drawn anew for
    each step (multi-scale training, such as (0.75, 1.0, 1.25)). See `Detection` for the rest.

    Raises `ContractError` for shares and sizes out of their range.

    >>> objective = YOLOv3Detection(1)
    >>> anchor, box = [4.0, 4, 20, 20], [4.0, 4, 20, 24]
    >>> candidates = torch.tensor([[[*anchor, *box, 9.0]]])
    >>> objects = torch.tensor([[[*box, 0.0, 0.0]]])
    >>> {name: round(part.item(), 4) for name, part in objective.losses(candidates, objects).items()}
    {'confidence': 0.0001, 'class': 0.0, 'box': 0.0}
    """

    box_weight: float = 2.0
    ignore_above: float = 0.5
    sizes: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        Detection.__post_init__(self)
        if not 0 < self.ignore_above <= 1 or self.box_weight < 0:
            raise ContractError(
                f"ignore_above is {self.ignore_above}, box_weight {self.box_weight}; expected an overlap above 0 up to 1, and a weight of at least 0"
            )
        if not self.sizes or not all(0.1 <= size <= 10 for size in self.sizes):
            raise ContractError(
                f"sizes are {self.sizes}; expected shares of a picture's size, from 0.1 to 10"
            )

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        if net.training and self.sizes != (1.0,):
            number = int(torch.randint(len(self.sizes), ()))
            batch = resized(batch, self.sizes[number])
        return summed(self.losses(forward(net, batch), batch.targets, batch.weights))

    def losses(self, candidates: Tensor, objects: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        objects = objects.to(candidates)
        boxes = candidates[:, :, BOX]
        with torch.no_grad():
            picture, row, which, empty = self.assigned(candidates.detach(), objects)
        log_confidence, log_classes = confidence_and_classes(candidates[:, :, SCORES])
        truth = objects[picture, which]
        weights = candidates.new_ones(len(candidates)) if weights is None else weights.to(candidates)
        each = weights[picture]
        total = each.sum().clamp_min(1.0)
        sure = (each * log_confidence[picture, row]).sum()
        silent = (weights.unsqueeze(1) * log_of_rest(log_confidence) * empty).sum()
        wrong = F.nll_loss(log_classes[picture, row], truth[:, CLASS].long(), reduction="none")
        missed = 1 - giou(boxes[picture, row], truth[:, :4])
        return {
            "confidence": -(sure + silent) / total,
            "class": (each * wrong).sum() / total,
            "box": self.box_weight * (each * missed).sum() / total,
        }

    def assigned(self, candidates: Tensor, objects: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Numbers [P] of the pictures, of the candidates and of the objects of P pairs, and which candidates [N, R] are to find nothing (1)."""
        anchors, most = candidates[:, :, FOUND_FROM], objects.shape[1]
        empty = ~in_ignored(anchors, objects)
        if not most:
            none = torch.zeros(0, dtype=torch.long, device=objects.device)
            return none, none, none, empty.to(candidates)
        real = wanted_objects(objects)
        truth = objects[:, :, None, :4]
        fit = iou(truth, anchors[:, None])  # [N, M, R]
        far = _centre(truth) - _centre(anchors[:, None])
        fit = fit - NEARER * far.abs().sum(3) / candidates[:, :, FOUND_FROM].amax().clamp_min(1.0)
        value, best = fit.max(dim=2)
        rival = (best.unsqueeze(2) == best.unsqueeze(1)) & real.unsqueeze(1)
        value = torch.where(real, value, TAKEN)
        before = torch.ones(most, most, device=value.device).tril(-1).bool()
        better = (value.unsqueeze(1) > value.unsqueeze(2)) | (
            (value.unsqueeze(1) == value.unsqueeze(2)) & before
        )
        picture, which = (real & ~(rival & better).any(2)).nonzero(as_tuple=True)
        row = best[picture, which]
        overlaps = iou(truth, candidates[:, None, :, BOX]) * real.unsqueeze(2)
        empty &= overlaps.amax(1) <= self.ignore_above
        empty[picture, row] = False
        return picture, row, which, empty.to(candidates)


def resized(batch: Batch, share: float) -> Batch:
    """A batch whose pictures and boxes are `share` times as large."""
    pictures = batch.inputs
    size = [max(1, round(share * side)) for side in pictures.shape[2:]]
    seen = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False, antialias=share < 1)
    boxes = batch.targets.clone()
    factor = [size[1] / pictures.shape[3], size[0] / pictures.shape[2]]
    boxes[..., :4] *= boxes.new_tensor(factor * 2)
    return replace(batch, inputs=seen, targets=boxes)


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
