"""Scores of detectors that are products: how sure it is that there is an object, times the probability of each class.

    s_k = C p_k  with  Σ_k p_k = 1,   so that   C = Σ_k s_k   and   p_k = s_k / C

A detector answers the raw scores log s_k / (1 - s_k), [..., K]; a loss takes C and p_k out of them again. Both go by logarithms, so that no
confidence is too small to be read back.
"""

from __future__ import annotations

import torch
from torch import Tensor

SUREST = -1e-7  # the logarithm of the greatest score: single precision tells nothing nearer to 0 from 0


def raw_scores(log_confidence: Tensor, log_classes: Tensor) -> Tensor:
    """Raw scores [..., K] of log C [...] and log p_k [..., K].

    >>> found = raw_scores(torch.tensor(0.5).log(), torch.tensor([0.25, 0.75]).log())
    >>> found.sigmoid()
    tensor([0.1250, 0.3750])
    """
    product = (log_confidence.unsqueeze(-1) + log_classes).clamp(max=SUREST)
    return product - log_of_rest(product)


def confidence_and_classes(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of C [...] and of p_k [..., K] of raw scores [..., K], the inverse of `raw_scores`.

    >>> confidence, classes = confidence_and_classes(torch.tensor([0.125, 0.375]).logit())
    >>> round(confidence.exp().item(), 6), classes.exp()
    (0.5, tensor([0.2500, 0.7500]))
    """
    product = torch.nn.functional.logsigmoid(raw)
    log_confidence = torch.logsumexp(product, dim=-1)
    return log_confidence.clamp(max=SUREST), product - log_confidence.unsqueeze(-1)


def log_of_rest(log_probability: Tensor) -> Tensor:
    """log(1 - p) of log p below 0.

    >>> log_of_rest(torch.tensor(0.25).log()).exp()
    tensor(0.7500)
    """
    return torch.log(-torch.expm1(log_probability))
