"""Deconvolution and guided backpropagation: the gradient, with another way back through every ReLU.

    gradient          R ← R · 1[x > 0]
    deconvnet         R ← max(R, 0)
    guided            R ← max(R, 0) · 1[x > 0]

Max pooling sends R to the place of the maximum (the "switches"), convolutions are transposed. ReLUs are found wherever they are called: as
modules, functions, methods, in place, and as a clamp, threshold or maximum at zero. Both draw sharp edges, and say more about the picture than about the
network: they recover parts of the picture (Nie et al. 2018), and with random weights in its last layers guided backpropagation draws nearly
the same (Adebayo et al. 2018). The notes say so.

Source: M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv:1311.2901), section 2.1;
J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, "Striving for Simplicity: The All Convolutional Net" (2014), arXiv:1412.6806;
J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (arXiv:1810.03292); W. Nie, Y. Zhang, A. Patel, "A Theoretical Explanation
for Perplexing Behaviors of Backpropagation-based Visualizations", ICML 2018 (arXiv:1805.07039).
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hubel.core.types import Attribution
from hubel.explain.checkpoints import hidden_by_checkpoint, is_behind_checkpoint, kept
from hubel.explain.entry import Entry
from hubel.explain.gradient import gradient
from hubel.explain.intercept import with_gradient
from hubel.explain.question import Question, Scale, Target, untouched

FAILS = "fails sanity checks: it changes little when the weights are randomized (Adebayo et al. 2018)"


def deconvnet(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """The deconvolution [N, ...] of the score, or with a `Unit` as target of that unit, to the input `x` [N, ...].

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> deconvnet(net, torch.ones(1, 2)).values.shape
    torch.Size([1, 2])

    Raises `ValueError` as `Question` does, where the network calls no ReLU (it would be the plain gradient), and for a gradient that is
    not finite.
    """
    return _rectified(net, x, target, of, also, "deconvnet", guided=False)


def guided_backprop(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Guided backpropagation [N, ...] of the score to the input `x` [N, ...]. It fails sanity checks: see above.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> guided_backprop(net, torch.ones(1, 2)).notes
    ('fails sanity checks: it changes little when the weights are randomized (Adebayo et al. 2018)',)

    Raises `ValueError` as `deconvnet` does.
    """
    return _rectified(net, x, target, of, also, "guided backpropagation", guided=True)


def _rectified(
    net: nn.Module,
    x: Tensor | np.ndarray,
    target: Target,
    of: Scale,
    also: tuple[Tensor, ...],
    method: str,
    *,
    guided: bool,
) -> Attribution:
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)

        def seen(point: Tensor) -> Tensor:
            rectifiers = _Rectifiers(guided)
            with rectifiers:
                y = entry(point)
            if not rectifiers.count:
                if is_behind_checkpoint(y):
                    raise hidden_by_checkpoint()
                raise ValueError(
                    f"the network calls no ReLU: {method} would be the plain gradient, which is `saliency`"
                )
            return y

        _, slope = gradient(seen, entry.point)
        entry.backwards += len(entry)
    return Attribution(
        values=entry.values(slope),
        method=method,
        target=question.names,
        score=question.score,
        passes=entry.passes,
        seconds=time.perf_counter() - start,
        notes=(
            FAILS if guided else "recovers the picture rather than reasons for the score (Nie et al. 2018)",
        ),
    )


class _Rectifiers(TorchFunctionMode):
    """Every ReLU has another way back; all else is as it is."""

    def __init__(self, guided: bool):
        super().__init__()
        self.guided, self.count = guided, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        found = _rectified_at(name.strip("_"), args, kwargs)
        with kept():
            return self._answer(func, name, found, args, kwargs)

    def _answer(
        self,
        func: Any,
        name: str,
        found: tuple[Tensor, float] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if found is None or not found[0].requires_grad:
            return func(*args, **kwargs)
        self.count += 1
        x, most = found
        in_place = name.endswith("_") or bool(kwargs.get("inplace", False))
        source = x.clone() if in_place else x
        value = source.detach()
        open_ = (value > 0) & (value < most)

        def pull(g: Tensor) -> Tensor:
            return g.clamp(min=0) * open_ if self.guided else g.clamp(min=0)

        answer = with_gradient(value.clamp(0, most), pull, source)
        return x.copy_(answer) if in_place else answer


def _rectified_at(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, float] | None:
    """What is rectified, and above which value it is cut (relu6), by any spelling: relu, relu6, hardtanh and clamp from zero on, a threshold
    at zero, the maximum of something and zero. None for other operations.
    """

    def given(position: int, *names: str) -> Any:
        return next(
            (kwargs[n] for n in names if n in kwargs), args[position] if position < len(args) else None
        )

    if name == "relu":
        return args[0], math.inf
    if name == "relu6":
        return args[0], 6.0
    if name in ("clamp", "clip", "hardtanh") and _is_zero(given(1, "min", "min_val")):
        most = given(2, "max", "max_val")
        most = 1.0 if most is None and name == "hardtanh" else math.inf if most is None else most
        return (args[0], float(most)) if isinstance(most, (int, float)) else None
    if name == "clamp_min" and _is_zero(given(1, "min")):
        return args[0], math.inf
    if name == "threshold" and _is_zero(given(1, "threshold")) and _is_zero(given(2, "value")):
        return args[0], math.inf
    if name in ("max", "maximum", "fmax") and isinstance(other := given(1, "other"), Tensor):
        for x, zero in ((args[0], other), (other, args[0])):
            if x.requires_grad and not zero.requires_grad and zero.ndim <= x.ndim and _is_zero(zero):
                return x, math.inf
    return None


def _is_zero(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not bool(value.any())
    return isinstance(value, (int, float)) and value == 0
