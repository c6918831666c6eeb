"""An exponential moving average of the weights: w_avg <- d w_avg + (1 - d) w after every step.

Polyak and Ruppert's averaging weighs all steps alike; this one forgets.

Early on the decay is smaller, min(d, (1 + t) / (10 + t)), so that the first weights are forgotten soon.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages of parameters and floating buffers of `net`; whole-number buffers are copied.

    `decay` is d, between 0 and 1: the average reaches back over about 1 / (1 - d) steps.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(net.weight)
    >>> average = MovingAverage(net, decay=0.999)
    >>> _ = nn.init.ones_(net.weight)
    >>> average.update()  # the first step: d is 2 / 11
    >>> round(average.values["weight"].item(), 3)
    0.818
    """

    def __init__(self, net: nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in net.state_dict().items()
        }
        self._floating = [name for name, value in self.values.items() if value.is_floating_point()]
        self._others = [name for name in self.values if name not in set(self._floating)]
        self._places = {
            f"{prefix}.{name}" if prefix else name: (store, name)
            for prefix, module in net.named_modules(remove_duplicate=False)
            for store in (module._parameters, module._buffers)
            for name in store
        }
        if missing := sorted(set(self.values) - set(self._places)):
            raise ValueError(
                f"weights that are no parameters or buffers can not be averaged ({missing[0]}): write average=False"
            )

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of this step in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages = [self.values[name] for name in self._floating]
        torch._foreach_lerp_(averages, [self._live(name) for name in self._floating], 1 - decay)
        for name in self._others:
            self.values[name].copy_(self._live(name))

    def _live(self, name: str) -> Tensor:
        """The tensor that the network uses now: a forward pass may replace a buffer by another."""
        store, key = self._places[name]
        value = store[key]
        assert value is not None
        return value.data
