"""Where the objects of a picture are, and what each is: what all detectors share.

A detector answers candidates [N, R, 8 + K], as many for every picture: the box from which a candidate was found (its place, its anchor, or a
proposal), the candidate's own box, both (x0, y0, x1, y1) in pixels of the input, and the raw scores of the K classes, whose sigmoids lie in
[0, 1]. How candidates are told which object they are to find, and what that costs them, is a subclass's own. The reading is the same for all:
candidates of at least a score, the best first, without those that overlap a better one of their class (non-maximum suppression).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core.boxes import nms
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.data.boxes import CLASS, IGNORED, NO_OBJECT, packed
from hubel.metrics.detection_curves import best_f1
from hubel.metrics.detection_scores import average_precisions
from hubel.objectives.objective import Pieces, forward

FOUND_FROM, BOX, SCORES = slice(0, 4), slice(4, 8), slice(8, None)  # columns of candidates
ANY = -1  # a size that may be any
LEAST_SCORE = 0.01
MOST_CANDIDATES = 1000  # of a picture, that are compared with each other, or
PIECE = 2**22  # comparisons of places with objects that are made at a time
CANDIDATES_EACH = 3  # so many for each detection that is answered, where these are more
HEADLINE = "AP50[all-point]"


@dataclass(frozen=True)
class Detection(ABC):
    """Objects of K classes, boxes [N, M, 6] (see `hubel.data.boxes`); candidates [N, R, 8 + K].

    `classes` [K] are their names. From a score of `threshold` on an object counts as found; `calibrated` finds the one that suits held-out
    pictures. A picture's detections are its at most `most` candidates with a score of `least_score` or more,
    without those whose overlap (intersection over union) with a better one of the same class is above `overlap`.

    Raises `ContractError` for another number of names than K, and for scores, overlaps or numbers out of their range.
    """

    num_outputs: int
    classes: tuple[str, ...] | None = None
    threshold: float = 0.5
    least_score: float = LEAST_SCORE
    overlap: float = 0.6
    most: int = 300

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise ContractError(f"objects of {self.num_outputs} classes; expected at least one")
        if self.classes is not None and len(self.classes) != self.num_outputs:
            raise ContractError(
                f"{len(self.classes)} class names for {self.num_outputs} outputs: give one per output"
            )
        if not 0 <= self.threshold <= 1:
            raise ContractError(f"threshold is {self.threshold}; expected a score from 0 to 1")
        if not 0 <= self.least_score < 1 or not 0 < self.overlap <= 1 or self.most < 1:
            raise ContractError(
                f"least_score is {self.least_score}, overlap {self.overlap}, most {self.most}; expected a score from 0 to below 1, an overlap above 0 up "
                "to 1, and at least one detection"
            )

    @property
    def headline(self) -> str:
        return HEADLINE

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return len(batch), ANY, SCORES.start + self.num_outputs

    @abstractmethod
    def losses(self, candidates: Tensor, objects: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The parts of the loss of candidates [N, R, 8 + K] and boxes [N, M, 6], whose sum is descended; `weights` [N] count the pictures."""

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        return summed(self.losses(forward(net, batch), batch.targets, batch.weights))

    def read(self, outputs: Tensor) -> Prediction:
        """Detections [N, M', 6], the best first: (x0, y0, x1, y1, class, score) in pixels of the input, class -1 where there is none."""
        return Prediction(
            values=packed([self._detections(one) for one in outputs.detach()]), classes=self.classes
        )

    def _detections(self, candidates: Tensor) -> np.ndarray:
        """The rows [m, 6] of one picture's candidates [R, 8 + K]."""
        scores = candidates[:, SCORES].float().sigmoid()
        above = scores >= self.least_score
        rows, numbers = above.nonzero(as_tuple=True)
        scores = scores[rows, numbers]
        most = max(MOST_CANDIDATES, CANDIDATES_EACH * self.most)
        if len(scores) > most:
            scores, best = scores.topk(most)
            rows, numbers = rows[best], numbers[best]
        boxes = candidates[rows, BOX].float()
        kept = nms(boxes, scores, self.overlap, labels=numbers)[: self.most]
        found = torch.cat([boxes, numbers.unsqueeze(1).float(), scores.unsqueeze(1)], dim=1)[kept]
        return found.cpu().numpy()

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return self.scored([(outputs, targets)])

    def scored(self, pieces: Pieces) -> dict[str, float]:
        loss, count, found, wanted = 0.0, 0, [], []
        for outputs, targets in pieces:
            parts = self.losses(outputs.float(), targets.to(outputs.device))
            loss += float(torch.stack(list(parts.values())).sum()) * len(outputs)
            count += len(outputs)
            found += [self._detections(one) for one in outputs]
            wanted += list(targets.cpu().numpy())
        half, mean = average_precisions(
            metrics.predictions_of(packed(found)),
            metrics.truths_of(packed(wanted)),
            (metrics.all_point, metrics.coco),
        )
        return {HEADLINE: half, "AP[coco]": mean, "loss": loss / max(count, 1)}

    def answered(self, pieces: Pieces) -> Prediction:
        found = [self._detections(one) for outputs, _ in pieces for one in outputs]
        return Prediction(values=packed(found), classes=self.classes)

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        return metrics.object_detection(
            metrics.predictions_of(prediction.values),
            metrics.truths_of(targets),
            classes=self.classes,
            groups=groups,
        )

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Self:
        """The same objective with the threshold at which precision and recall of held-out pictures have the greatest harmonic mean."""
        found = metrics.predictions_of(packed([self._detections(one) for one in outputs]))
        wanted = metrics.truths_of(targets.cpu().numpy())
        if not any(len(one["scores"]) for one in found) or not any(
            (one["ignore"] == 0).any() for one in wanted
        ):
            return self
        return replace(self, threshold=round(best_f1(found, wanted, rule=metrics.all_point).threshold, 4))

    def check_targets(self, targets: Tensor) -> None:
        if not targets.is_floating_point() or targets.ndim != 3 or targets.shape[2] != 6:
            raise ContractError(
                f"objects were asked for, but the targets are {str(targets.dtype).removeprefix('torch.')} of shape {tuple(targets.shape)}; expected boxes "
                "[N, M, 6], rows (x0, y0, x1, y1, class, ignored) in pixels. For one class a picture write CrossEntropy(K)"
            )
        numbers = targets[..., CLASS]
        numbers = numbers[numbers != NO_OBJECT]
        if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= self.num_outputs):
            raise ContractError(
                f"class numbers of objects run from {int(numbers.min())} to {int(numbers.max())}, but there are {self.num_outputs} outputs: renumber the "
                f"classes from 0, or give the objective and the network {int(numbers.max()) + 1} outputs"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        """Not a number: it depends on how many candidates a network makes."""
        return float("nan")


def summed(parts: Mapping[str, Tensor]) -> Loss:
    """The loss whose parts these are."""
    total = torch.stack(list(parts.values())).sum()
    return Loss(total=total, parts={name: part.detach() for name, part in parts.items()})


def wanted_objects(objects: Tensor) -> Tensor:
    """Which rows of boxes [N, M, 6] are objects that are to be found: [N, M]."""
    return (objects[:, :, CLASS] != NO_OBJECT) & (objects[:, :, IGNORED] == 0)


def in_ignored(places: Tensor, objects: Tensor) -> Tensor:
    """Whether the centre of a place [N, R, 4] lies in an ignored object of boxes [N, M, 6]: [N, R]."""
    ignored = (objects[:, :, CLASS] != NO_OBJECT) & (objects[:, :, IGNORED] == 1)
    found = torch.zeros(places.shape[:2], dtype=torch.bool, device=places.device)
    for picture, _, inside in places_in(places, objects, ignored):
        row, place = inside.nonzero(as_tuple=True)
        found[picture[row], place] = True
    return found


def places_in(places: Tensor, objects: Tensor, asked: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Which centres of places [N, R, 4] lie in those objects of boxes [N, M, 6] that are `asked` [N, M] about: numbers of their pictures and of
    the objects [g], and [g, R], in pieces of at most `PIECE` comparisons, so that memory follows the objects that there are and not the fullest picture.

    >>> places, objects = torch.tensor([[[0.0, 0, 4, 4], [4, 0, 8, 4]]]), torch.tensor([[[3.0, 0, 8, 4, 0, 0], [0, 0, 0, 0, -1, 0]]])
    >>> [inside.tolist() for _, _, inside in places_in(places, objects, wanted_objects(objects))]
    [[[False, True]]]
    """
    pictures, numbers = asked.nonzero(as_tuple=True)
    x, y = centre_of(places).unbind(2)
    step = max(1, PIECE // max(1, places.shape[1]))
    for begin in range(0, len(pictures), step):
        picture, number = pictures[begin : begin + step], numbers[begin : begin + step]
        x0, y0, x1, y1 = objects[picture, number, :4].unsqueeze(1).unbind(2)
        at = picture[:1] if bool(picture[0] == picture[-1]) else picture
        across, down = x[at], y[at]
        yield picture, number, (across > x0) & (across < x1) & (down > y0) & (down < y1)


def centre_of(boxes: Tensor) -> Tensor:
    """The centres [..., 2] of boxes [..., ≥ 4]."""
    return (boxes[..., :2] + boxes[..., 2:4]) / 2
