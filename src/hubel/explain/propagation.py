"""What the methods that intercept operations check afterwards: that the network answered the same."""

from __future__ import annotations

import torch
from torch import Tensor


def check_unchanged(received: Tensor, score: Tensor, method: str) -> None:
    """Refuse to go on where the rules changed what the network answers beyond rounding: a defect of hubel, not of the network."""
    allowed = 20 * torch.finfo(score.dtype).eps ** 0.75 * (1 + score.abs().max())
    change = (received.detach() - score).abs().max()
    if not bool(change <= allowed):
        raise RuntimeError(
            f"{method}: the network answers otherwise while its operations are seen (by {float(change):.3g}): a rule of hubel is wrong. "
            "Please report the network; integrated_gradients needs no rules"
        )
