"""A classifier as a detector: every proposal is cut out, brought to one size, and classified by itself.

With `SlidingWindow` this is the oldest detector; its cost is that of one pass of the classifier for every window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.sureness import SUREST, log_of_rest
from hubel.detection.crops import CONTEXT, warped
from hubel.detection.proposals import Propose

AT_ONCE = 512  # crops in a pass
NOTHING = -20.0  # raw score of a row without a proposal


@dataclass(frozen=True)
class WindowDetector:
    """Candidates [N, most, 8 + K] by a `classifier` of crops of `size` (h, w) whose K + 1 outputs end with "background".

    The box of a candidate is its proposal. `labelled_crops` makes what the classifier is fitted to. Where there are more than `most`
    proposals, those with the greatest score of any class are answered.

    >>> from hubel.detection import SlidingWindow
    >>> classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> detector = WindowDetector(classifier, SlidingWindow(((16, 16),), step=1.0), size=(8, 8), most=10)
    >>> detector.candidates(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10, 10])
    """

    classifier: nn.Module
    propose: Propose
    size: tuple[int, int]
    context: float = CONTEXT
    most: int = 300

    @torch.no_grad()
    def candidates(self, pictures: Tensor) -> Tensor:
        """Of pictures [N, C, H, W], as they enter the classifier."""
        self.classifier.eval()
        found = []
        for picture in pictures:
            boxes = torch.from_numpy(np.asarray(self.propose(picture.cpu().numpy()), np.float32)).to(
                picture.device
            )
            scores = [self.classifier(part) for part in cut_out(picture, boxes, self.size, self.context)]
            shares = F.log_softmax(torch.cat(scores).float(), dim=1)[:, :-1].clamp(max=SUREST)
            found.append(rows_of(boxes, boxes, shares - log_of_rest(shares), self.most))
        return torch.stack(found)


def cut_out(picture: Tensor, boxes: Tensor, size: tuple[int, int], context: float) -> Iterator[Tensor]:
    """Boxes [n, 4] of a picture at one size, so many at a time: [m, C, h, w] each, once at least."""
    for part in boxes.split(AT_ONCE) if len(boxes) else (boxes,):
        yield warped(picture, part, size, context=context)


def rows_of(proposals: Tensor, boxes: Tensor, scores: Tensor, most: int) -> Tensor:
    """A picture's candidates [most, 8 + K]: the surest of n proposals [n, 4], boxes [n, 4] and raw scores [n, K], filled up with rows of none."""
    rows = torch.cat([proposals, boxes, scores], dim=1)
    rows = rows[scores.amax(1).argsort(descending=True, stable=True)[:most]]
    none = rows.new_zeros(most - len(rows), rows.shape[1])
    none[:, 8:] = NOTHING
    return torch.cat([rows, none])
