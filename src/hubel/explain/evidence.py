"""How an answer with a piece of the input differs from the answer without it, in the measures of the literature."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hubel.explain.question import Question

Measure = Literal["evidence", "information", "probability", "score"]
MEASURES = ("evidence", "information", "probability", "score")


def differences(before: Tensor, without: Tensor, measure: Measure, *, num: int, classes: int) -> Tensor:
    """`before` against `without` (both probabilities, or scores for "score").

        evidence      log₂ odds(before) - log₂ odds(without), in bits; odds(p) = p / (1 - p)
        information   log₂ before - log₂ without, in bits
        probability   before - without;   score: the same of scores

    For the first two, p becomes (p n + 1) / (n + K) first, with n = `num` examples and K = `classes` (Laplace's correction), so that none is infinite.

    M. Robnik-Šikonja, I. Kononenko, IEEE Trans. Knowl. Data Eng. 20, 589 (2008), doi:10.1109/TKDE.2007.190734, equations 4 to 7.

    >>> differences(torch.tensor(0.8), torch.tensor([0.5]), "evidence", num=10**9, classes=2)
    tensor([2.])
    """
    if measure in ("probability", "score"):
        return before - without
    for p in (before, without):
        if bool(((p < 0) | (p > 1)).any()):
            raise ValueError(
                f'{measure} compares probabilities; what is explained is {float(p.flatten()[0]):.4g}: use measure="score"'
            )
    kind = without.dtype
    before, without = ((p.double() * num + 1) / (num + classes) for p in (before, without))
    change = before.log2() - without.log2()
    if measure == "evidence":
        change = change - torch.log2(1 - before) + torch.log2(1 - without)
    return change.to(kind)


def asked(measure: Measure) -> Literal["score", "probability"]:
    """What a question has to ask for a measure.

    Raises `ValueError` for a measure that is not known.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}; received {measure!r}")
    return "score" if measure == "score" else "probability"


def num_classes(question: Question) -> int:
    """The number of classes that the network tells apart; one output tells two."""
    with torch.no_grad():
        outputs = question._outputs(
            question.x[:1], torch.zeros(1, dtype=torch.int64, device=question.x.device)
        )
    return max(2, outputs.shape[1]) if isinstance(outputs, Tensor) and outputs.ndim > 1 else 2
