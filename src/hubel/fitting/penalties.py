"""Penalties on weights and activities, and constraints: what keeps a network simple.

    L2      loss + (strength / 2) sum w²        w <- (1 - lr strength) w - lr grad
    L1      loss + strength sum |w|             w <- soft(w - lr grad, lr strength),   soft(v, t) = sign(v) max(|v| - t, 0)
    Lp      loss + (strength / p) sum |w|^p
    Activity                                    loss + (strength / p) mean over examples of sum |a|^p over a layer's outputs a
    MaxNorm                                     every unit's incoming weights are scaled back to the norm `limit`
    UnitNorm                                    every unit's incoming weights have the norm 1
    NonNegative                                 w <- max(w, 0)

The soft threshold (a proximal step: Daubechies, Defrise and De Mol 2004, doi:10.1002/cpa.20042) makes weights exactly zero, which adding
the gradient of |w| never does. On a quadratic loss with curvatures c and minimum m, L2 shrinks m to c m / (c + strength) and L1 to
soft(m, strength / c).

With adaptive optimizers a penalty in the loss is divided by their second moment like any gradient: for plain decay their `weight_decay`
is meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.fitting.parameters import matrices_and_vectors

On = Literal["weights", "biases", "all"]


class Penalty(Protocol):
    """What is added to the loss of every training batch, and what is done to the weights after every step."""

    def value(self, net: nn.Module) -> Tensor | None:
        """A differentiable scalar, or None where nothing is added."""
        ...

    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        """Change the weights in place."""
        ...


@dataclass(frozen=True, kw_only=True)
class _OnSome:
    """What acts on some of the parameters with some strength; by itself it does nothing."""

    strength: float
    on: On = "weights"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"strength is {self.strength}; expected 0 or a positive number")
        _check_on(self.on)

    def value(self, net: nn.Module) -> Tensor | None:
        return None

    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        """Nothing, where the gradient has done it."""


@dataclass(frozen=True, kw_only=True)
class L2(_OnSome):
    """Half of `strength` times the sum of squares: all weights shrink in proportion.

    `on` says which: "weights" (matrices and filters), "biases" (and other vectors), or "all". `layers` restricts it to parameters whose
    names begin with one of these.

    Raises `ValueError` for a negative strength or another word; `LookupError` where no parameter has such a name.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(net.weight, 2.0)
    >>> L2(strength=0.5).value(net).item()  # 0.5 / 2 * (4 + 4)
    2.0
    """

    def value(self, net: nn.Module) -> Tensor | None:
        return 0.5 * self.strength * _total(p.square().sum() for p in chosen(net, self.on, self.layers))


@dataclass(frozen=True, kw_only=True)
class Lp(_OnSome):
    """`strength` / `power` times the sum of |w|^power: above 2, large weights cost most, and small ones next to nothing.

    `on` and `layers` as in `L2`. Raises `ValueError` for a power below 1 as well: below, the slope at zero is infinite.
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.power < math.inf:
            raise ValueError(f"power is {self.power}; expected a number of at least 1")

    def value(self, net: nn.Module) -> Tensor | None:
        each = (p.abs().pow(self.power).sum() for p in chosen(net, self.on, self.layers))
        return self.strength / self.power * _total(each)


@dataclass(frozen=True, kw_only=True)
class L1(_OnSome):
    """`strength` times the sum of |w|, by a soft threshold after every step, so that weights become exactly zero.

    `on` and `layers` as in `L2`. The threshold is the learning rate of the step times `strength`; with Adam and its relatives, whose
    steps are not lr times the gradient, it still makes weights sparse, but the closed form above is that of plain gradient descent.
    Together with `L2` it is the elastic net.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[0.3, -2.0]]))
    >>> L1(strength=5.0).after_step(net, 0.1)
    >>> net.weight.tolist()
    [[0.0, -1.5]]
    """

    @torch.no_grad()
    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        for p in chosen(net, self.on, self.layers):
            p.copy_(torch.nn.functional.softshrink(p, self.strength * learning_rate))


@dataclass(frozen=True, kw_only=True)
class MaxNorm:
    """The incoming weights of every unit (a row of a matrix, a filter) have at most the norm `limit`.

    `layers` as in `L2`. Source: N. Srebro and A. Shraibman 2005, doi:10.1007/11503415_37; with dropout: N. Srivastava et al.,
    J. Mach. Learn. Res. 15, 1929 (2014), section 5.1.

    Raises `ValueError` for a limit that is not positive.
    """

    limit: float = 3.0
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.limit < math.inf:
            raise ValueError(f"limit is {self.limit}; expected a positive number")

    def value(self, net: nn.Module) -> Tensor | None:
        return None

    @torch.no_grad()
    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        for p in chosen(net, "weights", self.layers):
            norms = p.flatten(1).norm(dim=1).view(-1, *(1,) * (p.ndim - 1))
            p.mul_((self.limit / norms.clamp_min(1e-12)).clamp_max(1.0))


@dataclass(frozen=True, kw_only=True)
class UnitNorm:
    """The incoming weights of every unit (a row of a matrix, a filter) have the norm 1; `layers` as in `L2`.

    >>> net = nn.Linear(2, 1)
    >>> _ = net.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
    >>> UnitNorm().after_step(net, 0.1)
    >>> [round(w, 2) for w in net.weight[0].tolist()]
    [0.6, -0.8]
    """

    layers: tuple[str, ...] = ()

    def value(self, net: nn.Module) -> Tensor | None:
        return None

    @torch.no_grad()
    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        for p in chosen(net, "weights", self.layers):
            p.div_(p.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *(1,) * (p.ndim - 1)))


@dataclass(frozen=True, kw_only=True)
class NonNegative:
    """Negative weights are set to zero after every step: for what can only add, such as intensities. `on` and `layers` as in `L2`.

    Raises `ValueError` for another word.

    >>> net = nn.Linear(2, 1)
    >>> _ = net.weight.data.copy_(torch.tensor([[0.5, -2.0]]))
    >>> NonNegative().after_step(net, 0.1)
    >>> net.weight.tolist()
    [[0.5, 0.0]]
    """

    on: On = "weights"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_on(self.on)

    def value(self, net: nn.Module) -> Tensor | None:
        return None

    @torch.no_grad()
    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        for p in chosen(net, self.on, self.layers):
            p.clamp_(min=0.0)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """`strength` / `power` times the sum of |a|^power over the outputs of `layers`, averaged over the examples of a batch.

    With `power` 1 few units are active for any example, with 2 none is large. `layers` are names of modules, as `net.named_modules()`
    gives them. The outputs are those of the training pass itself.

    Raises `ValueError` for a negative strength, a power below 1, or no layers; `LookupError` where the network has no such module.
    """

    strength: float
    layers: tuple[str, ...]
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"strength is {self.strength}; expected 0 or a positive number")
        if not 1 <= self.power < math.inf:
            raise ValueError(f"power is {self.power}; expected a number of at least 1")
        if isinstance(self.layers, str) or not self.layers:
            raise ValueError(f"layers is {self.layers!r}; expected names of modules, such as ('body.1',)")

    def value(self, net: nn.Module) -> Tensor | None:
        """Nothing that weights alone could say: see `of_outputs`."""
        return None

    def of_outputs(self, outputs: Sequence[Tensor]) -> Tensor:
        """The penalty of what the layers answered in one pass, each [N, ...].

        >>> Activity(strength=0.5, layers=("0",)).of_outputs([torch.tensor([[1.0, -2.0], [0.0, 3.0]])]).item()
        1.5
        """
        if not outputs:
            raise LookupError(
                f"{', '.join(self.layers)} answered no tensor in this pass: name a module that the network calls"
            )
        wide = [
            o.float() if o.dtype.itemsize < 4 else o for o in outputs
        ]  # half precision can not hold the sum
        each = [o.abs().pow(self.power).sum() / len(o) for o in wide]
        return self.strength / self.power * torch.stack(each).sum()

    def after_step(self, net: nn.Module, learning_rate: float) -> None:
        """Nothing, where the gradient has done it."""


@contextmanager
def watched(net: nn.Module, penalties: Sequence[Penalty]) -> Iterator[list[tuple[Activity, list[Tensor]]]]:
    """What the layers of every `Activity` answer in the passes inside the block; nothing is hooked where there is none.

    Raises `LookupError` where the network has no module of such a name.
    """
    asking = [penalty for penalty in penalties if isinstance(penalty, Activity)]
    found: list[tuple[Activity, list[Tensor]]] = [(penalty, []) for penalty in asking]
    if not asking:
        yield found
        return
    known = dict(net.named_modules())
    absent = [name for penalty in asking for name in penalty.layers if name not in known]
    if absent:
        shown = ", ".join(list(known)[1:9])
        raise LookupError(
            f"a penalty on activities names {', '.join(absent)}, which is no module of the network; there are {shown}, …"
        )
    wanted = {name for penalty in asking for name in penalty.layers}
    with captured(net, lambda name, module: name in wanted) as calls:
        try:
            yield found
        finally:
            for penalty, outputs in found:
                outputs += [
                    out for name, _, _, out in calls if name in penalty.layers and isinstance(out, Tensor)
                ]


def check_penalties(net: nn.Module, penalties: Sequence[Penalty]) -> None:
    """Raise `LookupError` where a penalty finds nothing in `net` that it could act on."""
    with watched(net, penalties):
        pass
    for penalty in penalties:
        if isinstance(penalty, (_OnSome, NonNegative)):
            chosen(net, penalty.on, penalty.layers)
        elif isinstance(penalty, (MaxNorm, UnitNorm)):
            chosen(net, "weights", penalty.layers)


def _check_on(on: str) -> None:
    if on not in ("weights", "biases", "all"):
        raise ValueError(f"on is {on!r}; expected weights, biases or all")


def chosen(net: nn.Module, on: On, layers: tuple[str, ...]) -> list[nn.Parameter]:
    """The trained parameters that a penalty acts on. Raises `LookupError` where there are none."""
    matrices, vectors = matrices_and_vectors(net)
    found = {"weights": matrices, "biases": vectors, "all": matrices + vectors}[on]
    if layers:
        named = {id(p) for name, p in net.named_parameters() if name.startswith(layers)}
        found = [p for p in found if id(p) in named]
    if not found:
        names = ", ".join(name for name, _ in list(net.named_parameters())[:8])
        raise LookupError(
            f"a penalty on {on} of {', '.join(layers) or 'all layers'} finds no trained parameter; there are {names}, …"
        )
    return found


def _total(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()
