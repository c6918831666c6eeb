"""The next symbol of a sequence: at every position the negative logarithm of the probability that the network gave to what came.

    loss = -(1 / L) Σ_l log softmax(z_l)[y_l],   z raw scores [N, L, K], y numbers of symbols [N, L]        (nats a symbol)

For a reader it is told in bits: bits per symbol = loss / ln 2 is what a perfect coder that trusts the network needs for the text, and
its perplexity 2^bits the number of equally likely symbols among which it chooses. A network that knows nothing needs log₂ K bits.

K scores a position are too many to be kept for a whole text (1,000,000 positions of 100 symbols: 400 MB); so they are reduced as they
come to the bits that each symbol took and to its rank (`scored`, `answered`).

Source: C. E. Shannon, "Prediction and Entropy of Printed English", Bell Syst. Tech. J. 30 (1951) 50, doi:10.1002/j.1538-7305.1951.tb01366.x.
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
from hubel.objectives.cross_entropy import best_temperature
from hubel.objectives.objective import Pieces, forward, mean_over_batch

LN2 = math.log(2)


@dataclass(frozen=True)
class NextSymbol:
    """Cross-entropy of the next of K symbols at every position, targets [N, L]; K raw scores a position, no softmax in the network.

    `alphabet` [K] are the symbols. The reading is the softmax of the scores divided by `temperature`, which `calibrated` finds on
    held-out text after a fit. Every position of a window counts alike, and every window of the batch.

    Raises `ContractError` for fewer than 2 outputs, for another number of symbols than K, and for a temperature that is not positive.

    >>> objective = NextSymbol(4)
    >>> batch = Batch(inputs=torch.zeros(2, 5, 4), targets=torch.zeros(2, 5, dtype=torch.int64))
    >>> round(objective(nn.Identity(), batch).total.item(), 4)  # ln 4
    1.3863
    """

    num_outputs: int
    alphabet: tuple[str, ...] | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.num_outputs < 2:
            raise ContractError(
                f"the next of {self.num_outputs} symbol: nothing can be predicted; expected an alphabet of at least 2"
            )
        if self.alphabet is not None and len(self.alphabet) != self.num_outputs:
            raise ContractError(
                f"an alphabet of {len(self.alphabet)} symbols for {self.num_outputs} outputs: give one symbol per output"
            )
        if not 0 < self.temperature < math.inf:
            raise ContractError(f"temperature is {self.temperature}; expected a positive number")

    @property
    def headline(self) -> str:
        return "bits_per_symbol"

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "lower"

    def scores_shape(self, batch: Batch) -> tuple[int, ...]:
        return *batch.targets.shape, self.num_outputs

    def __call__(self, net: nn.Module, batch: Batch) -> Loss:
        scores, wanted = forward(net, batch).flatten(0, 1), batch.targets.flatten().long()
        if batch.weights is None:
            return Loss(total=nn.functional.cross_entropy(scores, wanted))
        losses = nn.functional.cross_entropy(scores, wanted, reduction="none").view(batch.targets.shape)
        return Loss(total=mean_over_batch(losses.mean(1), batch.weights))

    def read(self, outputs: Tensor) -> Prediction:
        """Probabilities [N, L, K] of what follows each position, and the likeliest [N, L]."""
        probabilities = (outputs.detach().float() / self.temperature).softmax(dim=2).cpu().numpy()
        return Prediction(values=probabilities.argmax(2), probabilities=probabilities, alphabet=self.alphabet)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return self.scored([(outputs, targets)])

    def scored(self, pieces: Pieces) -> dict[str, float]:
        loss = right = count = 0.0
        for outputs, targets in pieces:
            scores, wanted = outputs.flatten(0, 1).double(), targets.flatten().long().to(outputs.device)
            loss += float(nn.functional.cross_entropy(scores, wanted, reduction="sum"))
            right += float((scores.argmax(1) == wanted).sum())
            count += len(wanted)
        return {"bits_per_symbol": loss / count / LN2, "accuracy": right / count, "loss": loss / count}

    def answered(self, pieces: Pieces) -> Prediction:
        """The likeliest symbols [N, L], and of those that came the bits and the ranks; no probabilities [N, L, K]."""
        values, surprisals, ranks = [], [], []
        for outputs, targets in pieces:
            logp = (outputs.detach().float() / self.temperature).log_softmax(dim=2)
            bits, rank = _surprisals(logp.cpu(), targets.long().cpu())
            values.append(logp.argmax(2).cpu().numpy().astype(rank.dtype))
            surprisals.append(bits)
            ranks.append(rank)
        return Prediction(
            values=np.concatenate(values),
            surprisals=np.concatenate(surprisals),
            ranks=np.concatenate(ranks),
            alphabet=self.alphabet,
        )

    def metrics(
        self, prediction: Prediction, targets: np.ndarray, groups: np.ndarray | None = None
    ) -> dict[str, Interval]:
        surprisals, ranks = prediction.surprisals, prediction.ranks
        if surprisals is None or ranks is None:
            assert prediction.probabilities is not None
            logp = torch.from_numpy(prediction.probabilities).clamp_min(1e-38).log()
            surprisals, ranks = _surprisals(logp, torch.from_numpy(np.asarray(targets, np.int64)))
        return metrics.next_symbol(surprisals, ranks, groups)

    def calibrated(self, outputs: Tensor, targets: Tensor) -> NextSymbol:
        """The same objective with the temperature that makes held-out text likeliest, as that of `CrossEntropy`."""
        if len(outputs) == 0:
            return self
        return replace(
            self, temperature=best_temperature(outputs.flatten(0, 1), targets.flatten().to(outputs.device))
        )

    def check_targets(self, targets: Tensor) -> None:
        if targets.is_floating_point() or targets.dtype == torch.bool or targets.ndim != 2:
            raise ContractError(
                f"the next symbol received {str(targets.dtype).removeprefix('torch.')} targets of shape {tuple(targets.shape)}; expected "
                "numbers of symbols [N, L], one a position. For one class a sequence write CrossEntropy(K)"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self.num_outputs:
            raise ContractError(
                f"numbers of symbols run from {low} to {high}, but there are {self.num_outputs} outputs (0 to {self.num_outputs - 1}): "
                "read the text in this alphabet, or write an objective and a network for its own"
            )

    def expected_initial_loss(self, targets: Tensor) -> float:
        return math.log(self.num_outputs)


def _surprisals(logp: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Bits [N, L] of the symbols that came, and how many others were thought likelier [N, L] (of equal ones, the first are)."""
    wanted = logp.gather(2, targets.unsqueeze(2))
    earlier = torch.arange(logp.shape[2]) < targets.unsqueeze(2)
    before = (logp > wanted) | ((logp == wanted) & earlier)
    kind = torch.uint8 if logp.shape[2] <= 2**8 else torch.int32
    return (-wanted.squeeze(2) / LN2).numpy(), before.sum(2).to(kind).numpy()
