"""Fast R-CNN: Faster R-CNN whose proposals come from outside. The picture passes the network once, and each proposal is judged by what its maps
show there.

Source: R. Girshick, "Fast R-CNN", ICCV 2015 (arXiv:1504.08083). We differ: RoIAlign on a pyramid (see `hubel.nets.faster_rcnn`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.errors import ContractError
from hubel.core.random import torch_generator
from hubel.core.types import Batch, Loss, Record
from hubel.detection.proposals import Proposals, Propose, propose_all
from hubel.fitting import AdamW, Backprop, OneCycle, Progress, steps
from hubel.nets.faster_rcnn import FasterRCNN
from hubel.objectives import FasterRCNNDetection


@dataclass(frozen=True, eq=False)
class OnProposals:
    """The question of Fast R-CNN: `objective`'s judgement of given `proposals` [N, P, 4], those of the examples whose numbers a batch holds (`ids`).

    For `hubel.fitting.steps`. Of each picture `regions_judged` proposals and true boxes are drawn, as for Faster R-CNN.
    """

    objective: FasterRCNNDetection
    proposals: Tensor

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        if not isinstance(net, FasterRCNN) or batch.ids is None:
            raise ContractError(
                f"Fast R-CNN expects hubel.nets.faster_rcnn and batches with `ids`, which say whose proposals are whose; received {type(net).__name__}"
                f"{'' if batch.ids is not None else ' and a batch without'}"
            )
        given = self.proposals[batch.ids.to(self.proposals.device)].to(batch.inputs.device)
        weights = given.new_ones(len(given)) if batch.weights is None else batch.weights.to(given)
        objects = batch.targets.to(given)
        loss = net(
            batch.inputs, lambda inner, maps: self.objective.judged(inner, maps, given, objects, weights)
        )
        return Loss(total=loss, parts={"plain": loss.detach()})


@dataclass(frozen=True)
class FastRCNN:
    """A fitted Fast R-CNN: candidates [N, most, 8 + K] on the first `most` proposals of a picture."""

    net: FasterRCNN
    propose: Propose
    most: int = 300

    @torch.no_grad()
    def candidates(self, pictures: Tensor, proposals: Proposals | None = None) -> Tensor:
        """Of pictures [N, C, H, W], as they enter the network; `proposals` that were made before spare their time."""
        made = propose_all(pictures.cpu(), self.propose) if proposals is None else proposals
        given = made.padded(self.most).to(pictures.device)
        self.net.eval()
        size = (pictures.shape[2], pictures.shape[3])
        return self.net.candidates(given, *self.net.judge(self.net.maps(pictures), given), size)


def fit_fast_rcnn(
    net: FasterRCNN,
    pictures: Tensor,
    objects: np.ndarray,
    proposals: Proposals,
    objective: FasterRCNNDetection,
    *,
    epochs: int = 10,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    most: int = 300,
    seed: int = 0,
) -> Iterator[Record]:
    """Fit `net` in place to pictures [N, C, H, W], as they enter it, their `objects` [N, M, 6] and proposals: a `Record` for every step.

    A visible loop over `hubel.fitting.steps`; the layers that would propose are not trained.

    Raises `ValueError` where there are proposals for other pictures, and for numbers below 1.
    """
    if min(epochs, batch_size, most) < 1:
        raise ValueError(
            f"epochs is {epochs}, batch_size {batch_size}, most {most}; expected at least 1 of each"
        )
    batch_size = min(batch_size, len(pictures))
    if not len(pictures) == len(objects) == len(proposals):
        raise ValueError(
            f"there are {len(pictures):,} pictures, objects of {len(objects):,} and proposals for {len(proposals):,}; expected as many"
        )
    question = OnProposals(objective, proposals.padded(most))
    targets = torch.as_tensor(np.asarray(objects), dtype=torch.float32)
    per_epoch = max(1, len(pictures) // batch_size)
    total, cycle = epochs * per_epoch, OneCycle()
    rule = Backprop(AdamW(learning_rate=learning_rate, weight_decay=0.02).build(net))

    def batches() -> Iterator[Batch]:
        for epoch in range(epochs):
            order = torch.randperm(len(pictures), generator=torch_generator(seed, "order", epoch))
            for chosen in order[: per_epoch * batch_size].split(batch_size):
                yield Batch(inputs=pictures[chosen], targets=targets[chosen], ids=chosen)

    def factor(step: int) -> float:
        return cycle.factor(Progress(step=step, total=total))

    yield from steps(net, question, batches(), rule=rule, schedule=factor, seed=seed)
