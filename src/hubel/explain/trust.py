"""What every measure of trust answers: a score an image with its interval, beside that of maps that know nothing.

An explanation that can not be told from a random map, or from a bell in the middle of the picture, explains nothing, however convincing
it looks. So every measure here is taken of three maps on the same images: that of the method, and the two of `hubel.explain.controls`;
`gains` are the paired differences, turned so that positive is better for the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution, Interval
from hubel.explain.controls import controls
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.metrics.intervals import bootstrap, undefined

Explainer = Callable[..., Attribution]
"""Any function `explain(net, x, target=...) -> Attribution`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """One measure of one method on N images: `value` is the mean of `each` [N] with its bootstrap interval over images.

    `controls` are the same for the maps that know nothing, `gains` the mean paired differences to them, positive where the method is
    better. `curve` [N, S] is what `each` was read from, at `at` [S], where there is such a curve. Images for which the measure does not
    exist (NaN) do not count.
    """

    measure: str
    method: str
    better: Literal["higher", "lower"]
    each: np.ndarray
    value: Interval
    controls: Mapping[str, Interval]
    gains: Mapping[str, Interval]
    curve: np.ndarray | None = None
    at: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def beats(self) -> tuple[str, ...]:
        """The controls that it is better than by more than the interval of the difference."""
        return tuple(name for name, gain in self.gains.items() if gain.low > 0)

    @property
    def beats_all(self) -> bool:
        """Whether it is better than every map that knows nothing."""
        return len(self.beats) == len(self.gains) > 0

    def __str__(self) -> str:
        rivals = ", ".join(f"{name} {interval}" for name, interval in self.controls.items())
        said = f"{self.measure} of {self.method}: {self.value} ({self.better} is better; {rivals})"
        return ". ".join((said, *self.notes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The question that a method was asked, its answer, and the maps that know nothing."""

    question: Question
    found: Attribution
    controls: Mapping[str, Tensor]

    @property
    def maps(self) -> dict[str, Tensor]:
        """The map of the method under the name "", those that know nothing under theirs."""
        return {"": self.found.values, **self.controls}


def asked(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    target: Target,
    *,
    of: Scale = "score",
    seed: int = 0,
) -> Asked:
    """Ask `explain` about `x`; the target is settled first, so that every later look asks about the same outputs."""
    with untouched(net):
        question = Question(net, x, target, of=of)
    if not question.x.is_floating_point():
        raise TypeError(
            "trust is measured by changing values of the input, and x holds symbol numbers: pass the part of the network that begins "
            "behind the embedding, and the embedded symbols"
        )
    found = explained(net, question.x, explain, question.target)
    return Asked(question=question, found=found, controls=controls(question.x, seed=seed))


def explained(net: nn.Module, x: Tensor, explain: Explainer, target: Target) -> Attribution:
    """What `explain` answers for `x` [N, ...]; raises `TypeError` or `ValueError` where that is no attribution of `x`."""
    found = explain(net, x, target=target)
    name = getattr(explain, "__name__", type(explain).__name__)
    if not isinstance(found, Attribution):
        raise TypeError(f"{name} answered {type(found).__name__}; expected a hubel Attribution")
    if found.values.shape != x.shape:
        raise ValueError(
            f"{name} answered values {list(found.values.shape)} for inputs {list(x.shape)}; expected one value an input value"
        )
    if not bool(torch.isfinite(found.values).all()):
        raise ValueError(f"{name} answered NaN or infinite values: such a map can not be judged")
    return replace(found, values=found.values.detach())


def judged(
    measure: str,
    method: str,
    better: Literal["higher", "lower"],
    scores: Mapping[str, np.ndarray],
    *,
    curve: np.ndarray | None = None,
    at: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
    seed: int = 0,
) -> Trust:
    """The `Trust` of scores an image [N]: those of the method under the name "", of the controls under theirs."""
    own = scores[""]
    rivals = {name: each for name, each in scores.items() if name}
    sign = 1.0 if better == "higher" else -1.0
    missing = int(np.isnan(own).sum())
    told = (f"{missing} of {len(own)} images have no such score, and do not count",) if missing else ()
    return Trust(
        measure=measure,
        method=method,
        better=better,
        each=own,
        value=mean_interval(own, seed=seed),
        controls={name: mean_interval(each, seed=seed) for name, each in rivals.items()},
        gains={name: mean_interval(sign * (own - each), seed=seed) for name, each in rivals.items()},
        curve=curve,
        at=at,
        notes=(*told, *notes),
    )


def mean_interval(each: np.ndarray, *, seed: int = 0) -> Interval:
    """The mean of `each` [N] over images with a bootstrap interval; NaN are left out.

    >>> found = mean_interval(np.arange(100.0))
    >>> found.value, found.low < 46 < 53 < found.high
    (49.5, True)
    """
    each = each[np.isfinite(each)]
    if len(each) == 0:
        return undefined("no image has such a score")
    columns = np.stack([each, np.ones(len(each))], axis=1)
    return bootstrap(columns, lambda sums: sums[:, :1] / sums[:, 1:], seed=seed)[0]


def over_positions(values: Tensor) -> Tensor:
    """The map [N, P] of values [N, ...]: channels of pictures and volumes are added up, all else stands for itself."""
    return (values.sum(1) if values.ndim >= 4 else values).flatten(1)


def at_positions(chosen: Tensor, x: Tensor) -> Tensor:
    """A mask [n, P] over positions in the shape in which it meets inputs [n, ...]."""
    shape = (1, *x.shape[2:]) if x.ndim >= 4 else x.shape[1:]
    return chosen.view(-1, *shape)


@torch.no_grad()
def evaluated(question: Question, versions: Iterable[Tensor], batch_size: int) -> Tensor:
    """The number that is explained [V, N] of V changed copies [N, ...] of all the examples, as many rows at a time as a batch has."""
    found: list[Tensor] = []
    num = len(question.x)
    together = max(1, batch_size // num)
    with untouched(question.net):
        for group in _groups(versions, together):
            x = torch.cat(group)
            rows = torch.arange(num, device=x.device).repeat(len(group))
            parts = [
                question(x[start : start + batch_size], rows[start : start + batch_size])
                for start in range(0, len(x), batch_size)
            ]
            found.append(torch.cat(parts).view(len(group), num))
    return torch.cat(found)


def _groups(versions: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Up to `size` of them at a time."""
    waiting: list[Tensor] = []
    for version in versions:
        waiting.append(version)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def baseline_for(x: Tensor, given: float | Tensor | np.ndarray | None, found: Attribution) -> Tensor:
    """The input that counts as nothing, shaped like `x`: the one given, that of the method, or zero."""
    chosen = given if given is not None else found.baseline
    value = torch.as_tensor(0.0 if chosen is None else chosen, dtype=x.dtype, device=x.device)
    try:
        return value.expand(x.shape)
    except RuntimeError:
        raise ValueError(
            f"baseline has shape {list(value.shape)}; expected a number, or a shape that meets inputs {list(x.shape)}"
        ) from None
