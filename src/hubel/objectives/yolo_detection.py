"""What the authors of YOLO asked of it: squared errors of places, sizes, confidences and class probabilities.

Of each object the cell that holds its centre is to find it, by that of its boxes which overlaps it most ("responsible"). With 1ᵢⱼ = 1 where box j
of cell i is responsible, the loss of a picture is

    λ_coord Σᵢⱼ 1ᵢⱼ [(x - x̂)² + (y - ŷ)²]                   place: the centre, in cells
  + λ_coord Σᵢⱼ 1ᵢⱼ [(√w - √ŵ)² + (√h - √ĥ)²]               size: of the sides of the picture
  + Σᵢⱼ 1ᵢⱼ (C - Ĉ)² + λ_noobj Σᵢⱼ (1 - 1ᵢⱼ) C²             confidence: Ĉ is the overlap (IoU) of the box with the object
  + Σᵢ 1ᵢ Σ_k (p_k - p̂_k)²                                  class

and that of a batch is its mean. Of two objects in one cell the larger is to be found; the other is lost. Boxes of cells whose centre lies in an
ignored object count only where they are responsible for another.

Source: J. Redmon et al., "You Only Look Once", CVPR 2016 (arXiv:1506.02640), equation 3; λ_coord = 5, λ_noobj = 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.core.boxes import areas, iou
from hubel.core.sureness import confidence_and_classes
from hubel.data.boxes import CLASS
from hubel.objectives.detection import BOX, FOUND_FROM, SCORES, Detection, in_ignored, wanted_objects

NEARER = 1e-4  # of boxes without overlap the one that is most alike is responsible
LEAST_SIZE = 1e-8  # of the picture
LEAST_WEIGHT = 1e-12  # of all pictures together


@dataclass(frozen=True)
class YOLODetection(Detection):
    """Objects of K classes by the cells of a grid, candidates [N, R, 8 + K] of `nets.yolo`; boxes [N, M, 6].

    `coordinates` is λ_coord, `without_object` λ_noobj. See `Detection` for the rest.

    >>> objective = YOLODetection(1)
    >>> cell, box = [8.0, 8, 16, 16], [4.0, 4, 20, 20]
    >>> candidates = torch.tensor([[[*cell, *box, 9.0]]])
    >>> objects = torch.tensor([[[*box, 0.0, 0.0]]])
    >>> {name: round(part.item(), 4) for name, part in objective.losses(candidates, objects).items()}
    {'place': 0.0, 'size': 0.0, 'confidence': 0.0, 'class': 0.0}
    """

    coordinates: float = 5.0
    without_object: float = 0.5

    def losses(self, candidates: Tensor, objects: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        objects = objects.to(candidates)
        cells, boxes = candidates[:, :, FOUND_FROM], candidates[:, :, BOX]
        log_confidence, log_classes = confidence_and_classes(candidates[:, :, SCORES])
        confidence = log_confidence.exp()
        with torch.no_grad():
            picture, row, which, empty = responsible(cells, boxes.detach(), objects)
        found, truth = boxes[picture, row], objects[picture, which]
        weights = candidates.new_ones(len(candidates)) if weights is None else weights.to(candidates)
        each, total = weights[picture].unsqueeze(1), weights.sum().clamp_min(LEAST_WEIGHT)
        cell = cells[picture, row, 2:] - cells[picture, row, :2]
        sides = cells[:, :, 2:].amax(1)[picture]
        missed = (_centre(found) - _centre(truth)) / cell
        sizes = _root_sizes(found, sides) - _root_sizes(truth, sides)
        overlap = iou(found.detach(), truth[:, :4])
        unsure = (each[:, 0] * (confidence[picture, row] - overlap).square()).sum()
        wrongly = (weights.unsqueeze(1) * confidence.square() * empty).sum()
        classes = F.one_hot(truth[:, CLASS].long(), self.num_outputs).to(candidates)
        mistaken = (each * (log_classes[picture, row].exp() - classes).square()).sum()
        return {
            "place": self.coordinates * (each * missed.square()).sum() / total,
            "size": self.coordinates * (each * sizes.square()).sum() / total,
            "confidence": (unsure + self.without_object * wrongly) / total,
            "class": mistaken / total,
        }


def responsible(cells: Tensor, boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Who finds whom: numbers [P] of the pictures, of the candidates and of the objects of P pairs; and which candidates [N, R] are to find
    nothing (1, else 0).

    `cells` and `boxes` are [N, R, 4], `objects` [N, M, 6].
    """
    real = wanted_objects(objects)
    empty = ~in_ignored(cells, objects)
    picture, which = (real & ~_in_a_taken_cell(objects, real, cells[0])).nonzero(as_tuple=True)
    truth = objects[picture, which]
    inside = _cell_of(truth, cells[0]).unsqueeze(1) == _cell_of(cells[0], cells[0])  # [P, R]
    unlike = (boxes[picture] - truth[:, None, :4]).square().mean(2).sqrt() / cells.amax()
    alike = iou(boxes[picture], truth[:, None, :4]) - NEARER * unlike
    row = torch.where(inside, alike, -torch.inf).argmax(1)
    empty = empty.index_put((picture, row), empty.new_zeros(()))
    return picture, row, which, empty.to(boxes)


def lost_to_shared_cells(objects: Tensor, size: tuple[int, int], grid: int = 7) -> int:
    """How many of the objects [N, M, 6] in pictures of `size` (H, W) `nets.yolo` can not be asked for, as the centre of a larger one lies in
    the same cell of `grid` × `grid`.

    >>> one, other = [0.0, 0, 8, 8, 0, 0], [0.0, 0, 6, 6, 0, 0]
    >>> objects = torch.tensor([[one, other]])
    >>> lost_to_shared_cells(objects, (64, 64), 7), lost_to_shared_cells(objects, (64, 64), 64)
    (1, 0)
    """
    if grid < 1 or min(size) < 1:
        raise ValueError(f"grid is {grid} and size {size}; expected positive numbers")
    objects = torch.as_tensor(objects)
    real = wanted_objects(objects)
    step = torch.tensor([size[1], size[0]]) / grid
    whole = torch.tensor([[0.0, 0.0, *step.tolist()], [*(step * (grid - 1)).tolist(), size[1], size[0]]])
    return int((real & _in_a_taken_cell(objects, real, whole)).sum())


def _in_a_taken_cell(objects: Tensor, real: Tensor, cells: Tensor) -> Tensor:
    """Whether a larger object (of equal ones, one before it) has its centre in the same cell: [N, M]."""
    cell = _cell_of(objects, cells)
    same = (cell.unsqueeze(2) == cell.unsqueeze(1)) & real.unsqueeze(1)
    area = areas(objects[:, :, :4])
    before = torch.ones(objects.shape[1], objects.shape[1], device=objects.device).tril(-1).bool()
    larger = area.unsqueeze(1) > area.unsqueeze(2)
    equal = area.unsqueeze(1) == area.unsqueeze(2)
    return (same & (larger | (equal & before))).any(2)


def _cell_of(points: Tensor, cells: Tensor) -> Tensor:
    """The number of the cell that holds a centre, of boxes [..., ≥ 4] or points [..., 2]: [...]; those beyond the edge belong to the last."""
    points = points if points.shape[-1] == 2 else _centre(points)
    step, size = cells[0, 2:] - cells[0, :2], cells[:, 2:].amax(0)
    across = torch.round(size / step)
    place = torch.minimum((points / step).floor().clamp_min(0), across - 1)
    return place[..., 1] * across[0] + place[..., 0]


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:4]) / 2


def _root_sizes(boxes: Tensor, sides: Tensor) -> Tensor:
    return ((boxes[..., 2:4] - boxes[..., :2]) / sides).clamp_min(LEAST_SIZE).sqrt()
