"""An exponential moving average of the weights: w_avg <- d w_avg + (1 - d) w after every step.

Polyak and Ruppert's averaging weighs all steps alike; this one forgets.

Early on the decay is smaller, min(d, (1 + t) / (10 + t)), so that the first weights are forgotten soon.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages of parameters and floating buffers of `net`; whole-number buffers are copied."""

    def __init__(self, net: nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in net.state_dict().items()
        }
        live = net.state_dict(keep_vars=True)
        self._floating = [name for name, value in self.values.items() if value.is_floating_point()]
        self._others = [name for name in self.values if name not in set(self._floating)]
        self._live = {name: value.data for name, value in live.items()}  # the tensors themselves, not copies

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of this step in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages = [self.values[name] for name in self._floating]
        torch._foreach_lerp_(averages, [self._live[name] for name in self._floating], 1 - decay)
        for name in self._others:
            self.values[name].copy_(self._live[name])
