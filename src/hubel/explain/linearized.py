"""A network with its activations taken away, for a while and without touching it: what is left is linear in its input.

    relu, gelu, … → identity;   max pooling → average pooling;   batch norm stays (it is linear with stored statistics)

The gradient of a unit of this linear network is the picture that its weights spell in the input, through all layers: the "expanded weights"
of C. Voss et al., "Visualizing Weights", Distill (2021), doi:10.23915/distill.00024.007. With `positive=True` all weights count as positive
numbers and normalizations are left out: nothing cancels, and the gradient is above zero exactly where there is a path.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hubel.explain.checkpoints import kept
from hubel.explain.geometry import ACTIVATIONS, SQUASHING
from hubel.explain.tracing import name_of

NORMS = ("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "local_response_norm")
WEIGHTED = (*(f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3)), "linear")
AVERAGES = {"max_pool1d": F.avg_pool1d, "max_pool2d": F.avg_pool2d, "max_pool3d": F.avg_pool3d}
ADAPTIVE = {f"adaptive_max_pool{d}d": getattr(F, f"adaptive_avg_pool{d}d") for d in (1, 2, 3)}


class Linearized(TorchFunctionMode):
    """`with Linearized(): net(x)` is what the network without its activations answers.

    >>> layer = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> with Linearized():
    ...     low, high = layer(x)
    >>> bool(low == -high)
    True
    """

    def __init__(self, *, positive: bool = False):
        super().__init__()
        self.positive = positive

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with kept():
            return self._answer(func, args, dict(kwargs or {}))

    def _answer(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = name_of(func)
        if name in ACTIVATIONS or (self.positive and (name in NORMS or name in SQUASHING)):
            return args[0] if args else kwargs["input"]
        if name in AVERAGES:
            return self._averaged(name, args, kwargs)
        if name in ADAPTIVE:
            given = dict(zip(("input", "output_size"), args, strict=False)) | kwargs
            return ADAPTIVE[name](given["input"], given["output_size"])
        if not self.positive:
            return func(*args, **kwargs)
        if name in WEIGHTED:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            weight = given["weight"]
            fan_in = max(1, weight.numel() // max(1, weight.shape[0]))
            rest = {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")}
            flat = torch.full_like(weight, 1.0 / fan_in)
            return func(given["input"], flat, None, *args[3:], **rest)
        if name == "sub" and all(isinstance(a, Tensor) for a in args[:2]):
            return torch.add(*args[:2])
        return func(*args, **kwargs)

    @staticmethod
    def _averaged(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
        given = dict(zip(names, args, strict=False)) | kwargs
        x, kernel = given["input"], given["kernel_size"]
        dims = x.ndim - 2
        dilation = _each(given.get("dilation", 1), dims)
        if set(dilation) != {1}:
            flat = x.new_full((x.shape[1], 1, *_each(kernel, dims)), 1.0 / math.prod(_each(kernel, dims)))
            stride, padding = (
                _each(given.get(k) or default, dims) for k, default in (("stride", kernel), ("padding", 0))
            )
            return getattr(F, f"conv{dims}d")(x, flat, None, stride, padding, dilation, x.shape[1])
        found = AVERAGES[name](
            x,
            kernel,
            given.get("stride") or None,
            given.get("padding", 0),
            given.get("ceil_mode", False),
        )
        return (found, torch.zeros_like(found, dtype=torch.int64)) if kwargs.get("return_indices") else found


def _each(value: Any, dims: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return numbers * dims if len(numbers) == 1 else numbers
