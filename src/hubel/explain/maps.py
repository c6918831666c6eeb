"""The maps of a network [N, C, h, w], by which the CAM family works: found while it runs, and spread over the input.

A map is what a convolution or pooling answers, and what keeps its axes afterwards (norms, activations, sums, concatenations); what has a
single position left is none. The last of them is the default; another is chosen by the name of a module. Whether the network is
made of modules or of functions does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hubel.core.capture import branched
from hubel.explain.nested import tensors_in
from hubel.explain.question import Question, Scale, Target, layer_named

MAKERS = ("conv", "max_pool", "avg_pool", "adaptive", "max_unpool")
RESHAPING = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "swapaxes",
        "swapdims",
        "movedim",
        "moveaxis",
        "squeeze",
        "unsqueeze",
        "matmul",
        "bmm",
        "linear",
        "einsum",
        "stack",
        "scaled_dot_product_attention",
        "t",
        "T",
        "mT",
        "view_as",
        "reshape_as",
    ]
)
_KEY = "_hubel_maps"


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What was seen: the question, the number explained [N] with its graph, the maps [N, C, ...] that it depends on, and of the input, where
    channels are (`steps_first`: behind the positions). `linear` is the last linear layer: what it read, its weight, bias and answer.
    `number` counts the maps up to these, in the order in which they are made.
    """

    question: Question
    answer: Tensor
    maps: Tensor
    steps_first: bool
    linear: tuple[Tensor, Tensor, Tensor | None, Tensor] | None
    number: int


def seen_maps(
    net: nn.Module,
    x: Tensor | np.ndarray,
    target: Target,
    *,
    layer: str | None,
    of: Scale,
    also: tuple[Tensor, ...],
) -> Seen:
    """The question, asked once, and the maps of `layer` (None: the last ones).

    Raises `ValueError` where there are no maps, or where the number does not depend on them.
    """
    if layer is not None:
        layer_named(net, layer)
    watch = _Watch(x.shape if isinstance(x, (Tensor, np.ndarray)) else (), lazy=layer is None)
    with _branch(net, layer) as kept, watch:
        question = Question(net, x, target, of=of, also=also, graph=True)
    assert question.answer is not None
    maps = watch.last
    if layer is not None:
        if not kept:
            raise ValueError(f"layer {layer} is not called when the network answers: choose another one")
        maps = kept[-1]
        if not isinstance(maps, Tensor) or maps.ndim < 3 or len(maps) != len(question.x):
            shape = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(
                f"layer {layer} answers {shape}, which are no maps [N, C, ...] of positions: choose a convolution, or a layer after one"
            )
    if maps is None:
        raise ValueError(
            "the network makes no maps of positions (no convolution or pooling was seen): the CAM family needs them; use "
            "integrated_gradients, deeplift or lrp"
        )
    return Seen(
        question=question,
        answer=question.answer,
        maps=maps,
        steps_first=watch.steps_first,
        linear=watch.linear,
        number=watch.number,
    )


def score_without(seen: Seen, layer: str | None) -> Tensor:
    """The number [N] where the maps are zero: what the rest of the network answers by itself."""
    question = seen.question
    if layer is not None:
        with torch.no_grad(), branched(question.net, layer, torch.zeros_like):
            return question(question.x)
    with torch.no_grad(), _Watch(question.x.shape, empty=seen.number):
        return question(question.x)


def spread(coarse: Tensor, x: Tensor, *, steps_first: bool) -> Tensor:
    """Maps [N, h, w] over the positions of the input `x` [N, C, H, W], in its shape: linearly between positions, shared equally by channels.

    Each value of the map is dealt out by weights that sum to one, so that sums stay what they are.

    >>> spread(torch.ones(1, 2, 2), torch.zeros(1, 3, 4, 4), steps_first=False)[0, :, 0, 0]
    tensor([0.0833, 0.0833, 0.0833])
    """
    num = coarse.ndim - 1
    has_channels = x.ndim == num + 2
    if not has_channels and x.ndim != num + 1:
        raise ValueError(
            f"the maps have {num} axes of positions, and the input {list(x.shape)} has others: they can not be laid over it"
        )
    sizes = tuple(x.shape[1:-1] if steps_first and has_channels else x.shape[-num:])
    with torch.enable_grad():
        ones = coarse.new_ones(1, 1, *coarse.shape[1:]).requires_grad_()
        (dealt,) = torch.autograd.grad(_between(ones, sizes).sum(), ones)
    fine = _between((coarse / dealt[0]).unsqueeze(1), sizes)
    if not has_channels:
        return fine[:, 0]
    channels = x.shape[-1] if steps_first else x.shape[1]
    fine = (fine / channels).expand(-1, channels, *fine.shape[2:])
    return (fine.movedim(1, -1) if steps_first else fine).contiguous()


def _between(maps: Tensor, sizes: tuple[int, ...]) -> Tensor:
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sizes)]
    return F.interpolate(maps, size=sizes, mode=mode, align_corners=False)


@contextmanager
def _branch(net: nn.Module, layer: str | None) -> Iterator[list[Any]]:
    if layer is None:
        yield []
        return
    with branched(net, layer) as kept:
        yield kept


class _Watch(TorchFunctionMode):
    """Remembers the last maps, the last linear layer, and on which axis the first convolution has its channels; the maps of number `empty`
    are made zero. `lazy`: the graph begins at the last maps, so that nothing before them is kept.
    """

    def __init__(self, shape: tuple[int, ...], *, lazy: bool = False, empty: int | None = None):
        super().__init__()
        self.number, self.empty, self.lazy = 0, empty, lazy
        self.shape = tuple(shape)
        self.last: Tensor | None = None
        self.linear: tuple[Tensor, Tensor, Tensor | None, Tensor] | None = None
        self.steps_first = False
        self._first = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        makes = name.startswith(MAKERS)
        if makes and self._first:
            self._first = False
            read = next(tensors_in((args, kwargs)))
            if read.ndim == 3 and len(self.shape) == 3:
                self.steps_first = read.shape[1] != self.shape[1] and read.shape[1] == self.shape[2]
                if self.shape[1] == self.shape[2]:
                    self.steps_first = not read.is_contiguous()
        axes = {t.ndim for t in tensors_in((args, kwargs)) if vars(t).get(_KEY) is self}
        kept = bool(axes) and name not in RESHAPING
        if not (makes or kept):  # switching gradients on and off comes here too, and must not be undone
            return self._linear_seen(name, func(*args, **kwargs), args, kwargs)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.lazy):
            result = func(*args, **kwargs)
        found = [t for t in tensors_in(result) if self._are_maps(t) and (makes or t.ndim in axes)]
        if self.lazy and not found and not _in_place(func, kwargs):
            # what comes after the maps, such as their mean, needs its gradient
            result = func(*args, **kwargs)
        for part in found:
            vars(part)[_KEY] = self
            if self.lazy:
                part.requires_grad_()
            self.last, self.number = part, self.number + 1
            if self.number == self.empty:
                with torch.no_grad():
                    part.zero_()
        return result

    def _linear_seen(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "linear" and isinstance(result, Tensor):
            named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            self.linear = (named["input"], named["weight"], named.get("bias"), result)
        return result

    def _are_maps(self, part: Tensor) -> bool:
        if not part.is_floating_point() or part.ndim < 3:
            return False
        return part.shape[0] == self.shape[0] and math.prod(part.shape[2:]) > 1


def _in_place(func: Any, kwargs: dict[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    return (
        name == "__setitem__"
        or (name.endswith("_") and not name.endswith("__"))
        or bool(kwargs.get("inplace"))
    )
