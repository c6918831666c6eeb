"""Representation erasure: what the answer loses when a word, a step, or a unit of a layer is erased.

    importance(d) = (S(x) - S(x without d)) / |S(x)|,   S(x) = log p(target | x)

Erased is a symbol (another stands in its place), a step of a series, or a unit of a layer (its activation is 0). Positive where the target
becomes less likely. With `relative=False` the difference itself is told, in nats.

Source: J. Li, W. Monroe, D. Jurafsky, "Understanding neural networks through representation erasure" (arXiv:1612.08220), equation 1, which
averages over examples (`values.mean(0)` here) and divides by S itself, a negative number.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import altered, captured
from hubel.core.types import Attribution
from hubel.explain.filling import filled
from hubel.explain.question import Question, Scale, Target, layer_named, untouched
from hubel.explain.versions import BUDGET, Progress, rows_at_once, scores_of


def representation_erasure(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "log_probability",
    erased: float | Tensor | None = None,
    layer: str | None = None,
    steps_first: bool = True,
    relative: bool = True,
    also: tuple[Tensor, ...] = (),
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """What each symbol of [N, L], feature of [N, F] or step of a series does for the target; or, with `layer`, each of that layer's units.

    Steps are the second axis of [N, L, F], the last of [N, C, L] with `steps_first=False`. What is erased becomes `erased`: for symbols the
    number that stands for nothing has to be given, for others it is 0.

    With `layer`, a unit is a channel of what the layer answers: the last axis of [N, L, C] (with `steps_first`), the second of [N, C, ...],
    and `values` are [N, C]: one a unit, in the place of the input's values. `also` are further arguments of the network.

    Raises `ValueError` for a layer that does not exist or does not answer with a tensor, and inputs without steps.

    >>> net = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    >>> representation_erasure(net, torch.tensor([[1, 2, 3]]), erased=0).values.shape
    torch.Size([1, 3])
    >>> representation_erasure(net, torch.tensor([[1, 2, 3]]), layer="0").values.shape
    torch.Size([1, 4])
    """
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        if layer is None:
            without = _inputs_erased(question, erased, steps_first, budget, progress)
        else:
            without = _units_erased(question, layer, 0.0 if erased is None else erased, steps_first, progress)
        change = question.score[:, None] - without
        if relative:
            change = change / question.score.abs().clamp_min(torch.finfo(change.dtype).tiny)[:, None]
    return Attribution(
        values=change if layer is not None else _spread(change, question.x, steps_first),
        method="representation erasure" + ("" if layer is None else f" of the units of {layer}"),
        target=question.names,
        score=question.score,
        coarse=change,
        passes=question.calls,
        seconds=time.perf_counter() - start,
    )


def _step_axis(x: Tensor, steps_first: bool) -> int:
    """The axis of an example along which steps lie."""
    if x.ndim > 3:
        raise ValueError(
            f"x has no steps: expected [N, L], [N, L, F] or [N, C, L], received {list(x.shape)}. Of images use occlusion"
        )
    return 0 if x.ndim == 2 or steps_first else 1


def _spread(change: Tensor, x: Tensor, steps_first: bool) -> Tensor:
    """A step's value, shared equally among its features."""
    if x.ndim == 2:
        return change
    axis = _step_axis(x, steps_first)
    return (change / x.shape[2 - axis]).unsqueeze(2 - axis).expand(x.shape).clone()


def _inputs_erased(
    question: Question, erased: float | Tensor | None, steps_first: bool, budget: int, progress: Progress
) -> Tensor:
    axis, at_once = _step_axis(question.x, steps_first), rows_at_once(question, budget)
    found = []
    for row, example in enumerate(question.x):
        blank = filled(example, 0.0 if erased is None and example.is_floating_point() else erased)

        def make(numbers: np.ndarray, example: Tensor = example, blank: Tensor = blank) -> Tensor:
            versions = example.expand(len(numbers), *example.shape).clone()
            for k, number in enumerate(numbers.tolist()):
                versions[k].select(axis, number).copy_(blank.select(axis, number))
            return versions

        found.append(scores_of(question, row, make, example.shape[axis], at_once=at_once))
        if progress is not None:
            progress(row + 1, len(question.x))
    return torch.stack(found)


def _units_erased(
    question: Question, layer: str, erased: float | Tensor, steps_first: bool, progress: Progress
) -> Tensor:
    """The explained number [N, C] without each unit of the layer."""
    layer_named(question.net, layer)
    rows = torch.arange(len(question.x), device=question.x.device)
    with torch.no_grad():
        with captured(question.net, lambda name, module: name == layer) as calls:
            question(question.x, rows)
        if not calls:
            raise ValueError(f"layer {layer} is not called when the network answers: choose another one")
        answered = calls[-1][3]
        value = answered[0] if isinstance(answered, tuple) else answered
        if not isinstance(value, Tensor) or value.ndim < 2:
            raise ValueError(f"layer {layer} does not answer with a tensor [N, C, ...]: choose another one")
        axis = value.ndim - 1 if value.ndim == 3 and steps_first else 1
        found = []
        for unit in range(value.shape[axis]):

            def change(output: Any, unit: int = unit) -> Any:
                first = output[0] if isinstance(output, tuple) else output
                first = first.clone()
                first.select(axis, unit).fill_(float(erased))
                return (first, *output[1:]) if isinstance(output, tuple) else first

            with altered(question.net, layer, change):
                found.append(question(question.x, rows))
            if progress is not None:
                progress(unit + 1, value.shape[axis])
    return torch.stack(found, dim=1)
