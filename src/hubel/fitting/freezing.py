"""Layers that are to stay as they are while others learn: for published weights, where the examples are few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from hubel.core.errors import nearest
from hubel.fitting.optimizers import last_layer


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """The layers of these names (`layer1`, `features.0`, with all inside them) keep their weights; without names, all before the last.

    Norms in them use and keep the statistics that they have. Nothing is computed backwards through what lies before the first layer that
    learns, which saves about two thirds of the work where only the last one does.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> with Freeze().applied(net):
    ...     [name for name, p in net.named_parameters() if p.requires_grad]
    ['1.weight', '1.bias']
    """

    layers: tuple[str, ...] = ()

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """Inside, the parameters of the frozen layers take no gradient.

        Raises `ValueError` for a name that the network does not have, and where nothing would be left to learn.
        """
        if not any(p.requires_grad for p in net.parameters()):
            raise ValueError("the network has no layer that learns: there is nothing to freeze")
        names = self._names(net)
        frozen = [p for name, p in net.named_parameters() if name in names and p.requires_grad]
        if len(frozen) == sum(p.requires_grad for p in net.parameters()):
            raise ValueError(
                f"freezing {', '.join(self.layers) or 'these layers'} leaves nothing to learn: leave some layers out"
            )
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def norms(self, net: nn.Module) -> list[nn.Module]:
        """The frozen layers with running statistics."""
        names = self._names(net)
        return [
            module
            for name, module in net.named_modules()
            if "running_mean" in dict(module.named_buffers(recurse=False)) and f"{name}.running_mean" in names
        ]

    def _names(self, net: nn.Module) -> set[str]:
        """Names of the frozen parameters and buffers."""
        every = [name for name, _ in (*net.named_parameters(), *net.named_buffers())]
        if not self.layers:
            last = {id(p) for p in last_layer(net)}
            kept = {name for name, p in net.named_parameters() if id(p) in last}
            return set(every) - kept
        known = [name for name, _ in net.named_modules() if name]
        for layer in self.layers:
            if layer not in known and layer not in every:
                raise ValueError(f"the network has no layer {layer!r} to freeze.{nearest(layer, known)}")
        return {
            name
            for name in every
            if any(name == layer or name.startswith(f"{layer}.") for layer in self.layers)
        }
