"""Which activation a network ends with: by the graph that made its outputs, and, where a custom one leaves no name there, by its
behaviour. Raw scores grow without bound with the last layer's weights; what was squashed stays between its bounds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hubel.core import random

BOUNDS: dict[str, tuple[float, float]] = {
    "softmax": (0.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
    "sigmoid": (0.0, 1.0),
    "hard sigmoid": (0.0, 1.0),
    "log-sigmoid": (-math.inf, 0.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "squashing": (0.0, 1.0),
}
"""What can come out of an activation."""

NODES = {
    "logsoftmax": "log_softmax",
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "hardsigmoid": "hard sigmoid",
    "logsigmoid": "log-sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softplus": "softplus",
}
HARMLESS = (
    "tocopy",
    "view",
    "reshape",
    "unsafeview",
    "unsqueeze",
    "squeeze",
    "clone",
    "contiguous",
    "alias",
    "slice",
    "select",
    "transpose",
    "permute",
    "t",
)
MANY = 1000.0


def ending(net: nn.Module, inputs: Tensor | tuple[Tensor, ...], outputs: Tensor) -> str:
    """The activation (a key of `BOUNDS`) that made `outputs` [N, K] = `net(inputs)` (or `net(*inputs)`), or "" for raw scores.

    >>> x = torch.randn(4, 3)
    >>> net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(1))
    >>> ending(net, x, net(x)), ending(net[0], x, net[0](x))
    ('softmax', '')
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    return _by_graph(outputs) or _by_behaviour(net, arguments, outputs.detach())


def _by_graph(outputs: Tensor) -> str:
    """The last operation of the graph, looking through casts and views."""
    node = outputs.grad_fn
    while node is not None:
        name = type(node).__name__.lower().partition("backward")[0]
        if name in NODES:
            return NODES[name]
        if name not in HARMLESS:
            return ""
        node = node.next_functions[0][0]
    return ""


def _by_behaviour(net: nn.Module, arguments: tuple[Tensor, ...], outputs: Tensor) -> str:
    """Outputs between 0 and 1 that stay there when the last layer is multiplied by ± 1000."""
    if _is_distribution(outputs):
        kind, alike = "softmax", _is_distribution
    elif bool(((outputs > 0) & (outputs < 1)).all()):
        kind, alike = "squashing", _is_bounded
    else:
        return ""
    last = _last_layer(net)
    if not last:
        return kind  # nothing to multiply: what is seen is all there is
    known = dict(net.named_buffers()) | dict(net.named_parameters())
    known = {name: value.detach().clone() for name, value in known.items()}
    for factor in (MANY, -MANY):
        changed = known | {name: known[name] * factor for name in last}
        with torch.no_grad(), random.torch_seeded(0, "contract", device=outputs.device):
            answer = torch.func.functional_call(net, changed, arguments)
        if torch.equal(answer, outputs) or not alike(answer):
            return ""
    return kind


def _is_distribution(values: Tensor) -> bool:
    sums = values.double().sum(1 if values.ndim == 4 else -1)  # of pixels the classes are the second axis
    return bool((values >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())


def _is_bounded(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _last_layer(net: nn.Module) -> list[str]:
    """Names of the floating parameters of the last module that has some of its own."""
    names: list[str] = []
    for prefix, module in net.named_modules():
        own = [n for n, p in module.named_parameters(recurse=False) if p.is_floating_point()]
        if own:
            names = [f"{prefix}.{name}" if prefix else name for name in own]
    return names
