"""The class of every pixel: the mean negative logarithm of the probability that the network gives to the right class of a labelled pixel.

    loss = -Σ_p log softmax(z_p)[y_p] / P,   z raw scores [N, K, H, W], y masks [N, H, W], P labelled pixels          (nats a pixel)

To it a share of soft Dice may be added in training, which counts every class alike however few its pixels are:

    dice · (1 - mean over classes k of 2 Σ_p q_pk t_pk / (Σ_p q_pk² + Σ_p t_pk²)),   q the probabilities, t one where k is the right class,

over all labelled pixels of the batch and the classes that these have (Milletari et al., who have one class, sum over a volume).

What is measured is the intersection over union of each class over all pixels together, and its mean over the classes: a class of few pixels
weighs as much as one of many. Pixels with the number 255 (`hubel.data.masks.UNLABELLED`) count nowhere.

Sources: J. Long, E. Shelhamer, T. Darrell, CVPR 2015, doi:10.1109/CVPR.2015.7298965, section 5 (metrics); F. Milletari, N. Navab,
S.-A. Ahmadi, 3DV 2016, doi:10.1109/3DV.2016.79, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel import metrics
from hubel.core.errors import ContractError
from hubel.core.types import Batch, Interval, Loss, Prediction
from hubel.data.masks import UNLABELLED
from hubel.objectives.cross_entropy import best_temperature, check_weights
from hubel.objectives.objective import Pieces, forward


@dataclass(frozen=True)
class PixelCrossEntropy:
    """Cross-entropy of the class of every pixel, masks [N, H, W] of K classes; K raw scores a pixel [N, K, H, W], no softmax in the network.

    `classes` [K] are their names. `class_weights` [K] count every pixel by its class. `dice` is the share of soft Dice, 0 for none. The reading
    is the softmax of the scores divided by `temperature`, which `calibrated` finds on held-out pictures after a fit. Every labelled pixel of
    a batch counts alike, but for the weight of its picture.

    Raises `ContractError` for fewer than 2 outputs or more than 255, for another number of names or weights than K, and for a share of
    Dice or a temperature out of its range.

    >>> objective = PixelCrossEntropy(3)
    >>> batch = Batch(inputs=torch.zeros(2, 3, 4, 4), targets=torch.zeros(2, 4, 4, dtype=torch.uint8))
    >>> round(objective(nn.Identity(), batch).total.item(), 4)  # ln 3
    1.0986
    """

    num_outputs: int
    classes: tuple[str, ...] | None = None
    class_weights: tuple[float, ...] | None = None
    dice: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.num_outputs <= UNLABELLED:
            raise ContractError(
                f"pixels of {self.num_outputs} class(es): expected 2 to {UNLABELLED}; with one there is nothing to tell apart, and {UNLABELLED} in a "
                "mask means not labelled"
            )
        for name, given in (("class names", self.classes), ("class weights", self.class_weights)):
            if given is not None and len(given) != self.num_outputs:
                raise ContractError(
                    f"{len(given)} {name} for {self.num_outputs} outputs: give one per output"
                )
        check_weights("class_weights", self.class_weights)
        if not 0 <= self.dice < math.inf:
            raise ContractError(f"dice is {self.dice}; expected 0 or a positive number (1 is usual)")
        if not 0 < self.temperature < math.inf:
            raise ContractError(f"temperature is {self.temperature}; expected a positive number")

    @property
    def headline(self) -> str:
        return "mean_iou"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher"

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return len(batch), self.num_outputs, *batch.targets.shape[1:]

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        scores, wanted = forward(net, batch), batch.targets.long()
        counts = (wanted != UNLABELLED).to(scores)
        if batch.weights is not None:
            counts = counts * batch.weights.to(scores).view(-1, 1, 1)
        weights = None if self.class_weights is None else scores.new_tensor(self.class_weights)
        losses = nn.functional.cross_entropy(scores, wanted, ignore_index=UNLABELLED, reduction="none")
        counted = counts if weights is None else counts * weights[wanted.masked_fill(wanted == UNLABELLED, 0)]
        plain = (losses * counted).sum() / counted.sum().clamp_min(1e-12)
        if not net.training or not self.dice:
            return Loss(total=plain)
        overlap = self._missed_overlap(scores, wanted, counts)
        return Loss(total=plain + self.dice * overlap, parts={"plain": plain.detach()})

    def _missed_overlap(self, scores: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
        """1 - soft Dice, over the pixels that `counts` [N, H, W] weighs and the classes that these have."""
        said = scores.softmax(dim=1)
        true = nn.functional.one_hot(wanted.masked_fill(wanted == UNLABELLED, 0), self.num_outputs)
        true, counts = true.movedim(-1, 1).to(said), counts.unsqueeze(1)
        both = (counts * said * true).sum(dim=(0, 2, 3))
        sizes = (counts * (said.square() + true)).sum(dim=(0, 2, 3))
        there = ((counts * true).sum(dim=(0, 2, 3)) > 0).to(said)
        missed = 1 - 2 * both / sizes.clamp_min(1e-12)
        return (missed * there).sum() / there.sum().clamp_min(1)

    def read(self, outputs: Tensor) -> Prediction:
        """Probabilities [N, K, H, W] of the classes of each pixel, and the likeliest [N, H, W]."""
        probabilities = (outputs.detach().float() / self.temperature).softmax(dim=1).cpu().numpy()
        return Prediction(values=likeliest(outputs), probabilities=probabilities, classes=self.classes)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return self.scored([(outputs, targets)])

    def scored(self, pieces: Pieces) -> dict[str, float]:
        loss, num = 0.0, self.num_outputs
        confusion = np.zeros((num, num))
        for outputs, targets in pieces:
            scores, wanted = outputs.double(), targets.long().to(outputs.device)
            loss += float(
                nn.functional.cross_entropy(scores, wanted, ignore_index=UNLABELLED, reduction="sum")
            )
            there = wanted != UNLABELLED
            cells = wanted[there] * num + scores.argmax(1)[there]
            confusion += torch.bincount(cells, minlength=num * num).view(num, num).cpu().numpy()
        right, true, said = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        count = max(confusion.sum(), 1.0)
        return {
            "mean_iou": metrics.mean_overlap(right, true, said),
            "pixel_accuracy": float(right.sum() / count),
            "loss": loss / count,
        }

    def answered(self, pieces: Pieces) -> Prediction:
        """The likeliest classes [N, H, W] alone: K probabilities a pixel would be K times as much again, in floating numbers."""
        values = np.concatenate([likeliest(outputs) for outputs, _ in pieces])
        return Prediction(values=values, classes=self.classes)

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        names = self.classes or tuple(map(str, range(self.num_outputs)))
        return metrics.segmentation(targets, prediction.values, names, unlabelled=UNLABELLED, groups=groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> PixelCrossEntropy:
        """The same objective with the temperature that makes the labels of held-out pixels likeliest, as that of `CrossEntropy`."""
        wanted = targets.long().to(outputs.device)
        there = wanted != UNLABELLED
        if not bool(there.any()):
            return self
        scores = outputs.movedim(1, -1)[there]
        return replace(self, temperature=best_temperature(scores, wanted[there]))

    def check_targets(self, targets: Tensor) -> None:
        if targets.is_floating_point() or targets.dtype == torch.bool or targets.ndim != 3:
            raise ContractError(
                f"the class of every pixel was asked for, but the targets are {str(targets.dtype).removeprefix('torch.')} of shape "
                f"{tuple(targets.shape)}; expected masks [N, H, W] of class numbers. For one class a picture write CrossEntropy(K)"
            )
        there = targets[targets != UNLABELLED]
        if not len(there):
            return
        low, high = int(there.min()), int(there.max())
        if low < 0 or high >= self.num_outputs:
            raise ContractError(
                f"class numbers of pixels run from {low} to {high}, but there are {self.num_outputs} outputs (0 to {self.num_outputs - 1}): "
                f"renumber the classes from 0, give pixels without a label the number {UNLABELLED}, or write PixelCrossEntropy({high + 1})"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        return math.log(self.num_outputs)


def likeliest(outputs: Tensor) -> np.ndarray:
    """The class numbers [N, H, W] with the highest of the scores [N, K, H, W], in bytes.

    >>> likeliest(torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])).tolist()
    [[[1, 0]]]
    """
    return outputs.detach().argmax(dim=1).to(torch.uint8).cpu().numpy()
