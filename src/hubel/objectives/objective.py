"""What every objective answers: the contract between a target, the last layer, the loss, the reading and the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Batch, Interval, Loss, Prediction

LARGER = 2**20  # scores that are read together

Pieces = Iterable[tuple[Tensor, Tensor]]
"""Raw scores [n, ...] and their targets [n, ...] of some examples after others, in order: a part of the data as it is evaluated."""


class Objective(Protocol):
    """A question asked of a network. The network returns raw scores [N, K] (before the last activation).

    `headline` names the score that a user reads first, and `better` says which direction is good.
    """

    @property
    def num_outputs(self) -> int:
        """Size of the last layer, K."""
        ...

    @property
    def headline(self) -> str: ...

    @property
    def better(self) -> Literal["higher", "lower"]: ...

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        """The shape of the raw scores that the network has to answer for `batch`: [N, K] for most questions."""
        ...

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        """The mean loss of a batch; what regularizes (label smoothing) acts in training mode only.

        Where it does, the part "plain" holds the loss without it: what learning curves show.
        """
        ...

    def read(self, outputs: Tensor) -> Prediction:
        """Probabilities and classes, or values with units, of raw scores [N, K]."""
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """A few numbers cheap enough for every epoch, the headline first; `loss` among them."""
        ...

    def scored(self, pieces: Pieces) -> dict[str, float]:
        """`score` of scores that come in pieces, none of which has to be kept."""
        ...

    def answered(self, pieces: Pieces) -> Prediction:
        """`read` of scores that come in pieces with their targets: what `metrics` needs, and no more where that would be much."""
        ...

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        """All scores with their intervals, the headline first; over whole `groups` [N] where there are some, whose examples are not
        independent.
        """
        ...

    def calibrated(self, outputs: Tensor, targets: Tensor) -> Objective:
        """The same objective, whose reading is as sure as held-out scores [N, K] and targets show it should be."""
        ...

    def check_targets(self, targets: Tensor) -> None:
        """Raise `ContractError` where targets [N] or [N, K] are not of the type and range of this question."""
        ...

    def expected_initial_loss(self, targets: Tensor) -> float:
        """The loss of a network that knows nothing, whose raw scores are all zero."""
        ...


class Whole:
    """Objectives whose raw scores of a whole part are put together before they are read."""

    def scored(self: Objective, pieces: Pieces) -> dict[str, float]:
        return self.score(*together(pieces))

    def answered(self: Objective, pieces: Pieces) -> Prediction:
        return self.read(together(pieces)[0])


class OneRowEach(Whole):
    """Objectives that ask for one row of K scores an example, and read each for itself."""

    num_outputs: int

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return len(batch), self.num_outputs

    def answered(self: Objective, pieces: Pieces) -> Prediction:
        return in_a_row(self.read(scores) for scores, _ in in_larger(pieces))


def together(pieces: Pieces) -> tuple[Tensor, Tensor]:
    """All scores and all targets."""
    scores, targets = zip(*pieces, strict=True)
    return torch.cat(scores), torch.cat(targets)


def in_larger(pieces: Pieces) -> Pieces:
    """The same scores and targets in pieces of about `LARGER` scores, the last of which may be smaller.

    >>> import torch
    >>> [len(scores) for scores, _ in in_larger([(torch.zeros(4, LARGER // 8), torch.zeros(4))] * 5)]
    [8, 8, 4]
    """
    held: list[tuple[Tensor, Tensor]] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece[0].numel()
        if count >= LARGER:
            yield together(held)
            held, count = [], 0
    if held:
        yield together(held)


def in_a_row(predictions: Iterable[Prediction]) -> Prediction:
    """Predictions of some examples after others as one, of which no more than one array stands in memory twice.

    >>> in_a_row(Prediction(values=np.array(some)) for some in ([1, 2], [3])).values
    array([1, 2, 3])
    """
    last: Prediction | None = None
    held: dict[str, list[np.ndarray]] = {}
    for last in predictions:
        for name, value in vars(last).items():
            if isinstance(value, np.ndarray):
                held.setdefault(name, []).append(value)
    assert last is not None
    return replace(last, **{name: np.concatenate(held.pop(name)) for name in list(held)})


def forward(net: nn.Module, batch: Batch) -> Tensor:
    """Raw scores [N, K] in at least float32: losses are never computed in half precision.

    Sequences of different lengths come with them: `net(inputs, lengths)`.

    >>> import torch
    >>> batch = Batch(inputs=torch.zeros(2, 4, dtype=torch.bfloat16), targets=torch.tensor([0, 1]))
    >>> scores = forward(nn.Linear(4, 3, dtype=torch.bfloat16), batch)
    >>> scores.shape, scores.dtype
    (torch.Size([2, 3]), torch.float32)
    """
    outputs = net(*batch.arguments)
    return outputs.float() if outputs.dtype.itemsize < 4 else outputs


def mean_over_batch(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of losses [N]; with weights [N] the weighted mean sum(w l) / sum(w).

    >>> import torch
    >>> mean_over_batch(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0])).item()
    1.5
    """
    if weights is None:
        return losses.mean()
    return (losses * weights).sum() / weights.sum().clamp_min(1e-12)
