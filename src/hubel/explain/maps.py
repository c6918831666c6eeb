"""The maps of a network [N, C, h, w], by which the CAM family works: found while it runs, and spread over the input.

A map is what a convolution or pooling answers, and what keeps its axes afterwards (norms, activations, sums, concatenations); what has a
single position left is none. The last of them is the default; another is chosen by the name of a module. Whether the network is
made of modules or of functions does not matter. Where they are cut into tokens, which attention reads, the maps are the last normalized
tokens on which the answer depends (`hubel.explain.tokens`).
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
from hubel.explain.tokens import ATTENTIONS, NORMS, Tokens, last_that_counts, tokens_of

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
    """What was seen: the question, the number explained [N] with its graph, what it depends on (`source`: maps, or `tokens` that lie as these say),
    and of the input, where channels are (`steps_first`: behind the positions). `linear` is the last linear layer: what it read, its weight,
    bias and answer. `number` counts the maps, or the tokens, up to these, in the order in which they are made.
    """

    question: Question
    answer: Tensor
    source: Tensor
    tokens: Tokens | None
    steps_first: bool
    linear: tuple[Tensor, Tensor, Tensor | None, Tensor] | None
    number: int

    def as_maps(self, like_source: Tensor) -> Tensor:
        """The source, or its slope, as maps [N, C, ...]."""
        return like_source if self.tokens is None else self.tokens.as_maps(like_source)


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

    Raises `ValueError` where there are no maps, where the number does not depend on them, and where attention reads them in a way that can not
    be followed.
    """
    if layer is not None:
        layer_named(net, layer)
    watch = _Watch(x.shape if isinstance(x, (Tensor, np.ndarray)) else (), lazy=layer is None)
    with _branch(net, layer) as kept, watch:
        question = Question(net, x, target, of=of, also=also, graph=True)
    assert question.answer is not None
    maps, tokens, number = watch.last, None, watch.number
    if layer is None and watch.attended and (watch.tokens or watch.number == 1):
        maps, tokens, number = _last_tokens(question, watch)
    if layer is not None:
        if not kept:
            raise ValueError(f"layer {layer} is not called when the network answers: choose another one")
        maps = kept[-1]
        tokens = _named_tokens(layer, maps, question, watch)
        if not isinstance(maps, Tensor) or maps.ndim < 3 or len(maps) != len(question.x):
            shape = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(
                f"layer {layer} answers {shape}, which are no maps [N, C, ...] of positions: choose a convolution, or a layer after one"
            )
    if maps is None:
        raise ValueError(
            "the network makes no maps of positions (no convolution or pooling was seen that answers one row an example): the CAM family needs them; use "
            "integrated_gradients, deeplift or lrp"
        )
    return Seen(
        question=question,
        answer=question.answer,
        source=maps,
        tokens=tokens,
        steps_first=watch.steps_first,
        linear=watch.linear,
        number=number,
    )


def _last_tokens(question: Question, watch: _Watch) -> tuple[Tensor, Tokens, int]:
    """The last tokens on which the answer depends, how they lie, and their number."""
    assert question.answer is not None
    found = last_that_counts(question.answer, watch.tokens)
    if found is None:
        raise ValueError(
            "behind its last maps the network works with attention, on tokens that can not be told from others: name the layer whose answer "
            "[N, tokens, C] or [N, C, h, w] is meant, layer=..., such as the norm before the last attention"
        )
    number = next(k for k, (tokens, _) in enumerate(watch.tokens, start=1) if tokens is found[0])
    return *found, number


def _named_tokens(layer: str, answered: Any, question: Question, watch: _Watch) -> Tokens | None:
    """How the answer [N, tokens, C] of a layer lies on the patches of the input; None where it answers maps."""
    axes = question.x.ndim - 2
    if not isinstance(answered, Tensor) or answered.ndim != 3 or axes < 2 or watch.last is None:
        return None
    grid = tuple(watch.last.shape[2:])
    tokens = tokens_of(answered.shape, grid)
    if tokens is None:
        raise ValueError(
            f"layer {layer} answers {list(answered.shape)}, which are neither maps [N, C, ...] nor tokens of the {' × '.join(map(str, grid))} patches of "
            "the input: choose another layer"
        )
    if last_that_counts(question.answer, [(answered, tokens)]) is None:  # pyright: ignore[reportArgumentType]
        raise ValueError(
            f"the answer does not depend on the patches in what layer {layer} answers: behind it the network reads other tokens alone, such as "
            "that of the class. Name an earlier layer, such as the norm before the last attention"
        )
    return tokens


def score_without(seen: Seen, layer: str | None) -> Tensor:
    """The number [N] where the maps are zero: what the rest of the network answers by itself."""
    question = seen.question
    if layer is not None:
        empty = torch.zeros_like if seen.tokens is None else seen.tokens.emptied
        with torch.no_grad(), branched(question.net, layer, empty):
            return question(question.x)
    with torch.no_grad(), _Watch(question.x.shape, empty=seen.number, of_tokens=seen.tokens is not None):
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
    """Remembers the last maps, the normalized tokens behind them, the last linear layer, and on which axis the first convolution has its
    channels; the maps (`of_tokens`: the tokens) of number `empty` are made zero. `lazy`: the graph begins at the last maps, so that nothing before them is kept.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        lazy: bool = False,
        empty: int | None = None,
        of_tokens: bool = False,
    ):
        super().__init__()
        self.of_tokens, self.attended = of_tokens, False
        self.tokens: list[tuple[Tensor, Tokens]] = []
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
            return self._behind_maps(name, func(*args, **kwargs), args, kwargs)
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
            self.attended, self.tokens = False, []
            if self.number == self.empty and not self.of_tokens:
                with torch.no_grad():
                    part.zero_()
        return result

    def _behind_maps(self, name: str, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Remember a linear layer, normalized tokens, and that attention was seen."""
        self.attended = self.attended or name in ATTENTIONS or (name == "softmax" and _is_square(result))
        if name in NORMS and self.last is not None and isinstance(result, Tensor):
            tokens = tokens_of(result.shape, tuple(self.last.shape[2:]))
            if tokens is not None and len(result) == self.shape[0]:
                self.tokens.append((result, tokens))
                if self.of_tokens and len(self.tokens) == self.empty:
                    return tokens.emptied(result)
        if name == "linear" and isinstance(result, Tensor):
            named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            self.linear = (named["input"], named["weight"], named.get("bias"), result)
        return result

    def _are_maps(self, part: Tensor) -> bool:
        if not part.is_floating_point() or part.ndim < 3:
            return False
        return part.shape[0] == self.shape[0] and math.prod(part.shape[2:]) > 1


def _is_square(weights: Any) -> bool:
    """Whether these could be weights of attention, of every token for every token [..., L, L]."""
    return isinstance(weights, Tensor) and weights.ndim >= 3 and weights.shape[-1] == weights.shape[-2] > 1


def _in_place(func: Any, kwargs: dict[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    return (
        name == "__setitem__"
        or (name.endswith("_") and not name.endswith("__"))
        or bool(kwargs.get("inplace"))
    )
