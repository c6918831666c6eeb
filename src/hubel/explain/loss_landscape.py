"""The loss around a network's weights, along one or two random directions, or along the straight line to another network.

    L(α, β) = loss(θ + α d₁ + β d₂),        d_i ~ N(0, 1), then every filter of d scaled to the norm of that filter of θ:
    d_{l,j} ← d_{l,j} / |d_{l,j}| · |θ_{l,j}|        (layer l, filter j: the weights of one output channel or unit)

Without this filter normalization, networks can not be compared: with batch norm (or any ReLU net) weights can be scaled without changing what
the network does, and the same step looks small beside large weights. Biases and the gains and biases of normalizations do not move.

Batch norm's stored statistics belong to the weights in the middle. As in the paper's own code they are kept (`statistics="kept"`), and the
network is evaluated, not trained; with "batch" every batch is normalized by its own. On the line between two networks, weights and stored
statistics are interpolated together.

Every evaluation is the mean loss over all `data`. The weights are written into the network and put back bit by bit, whatever happens.

Source: H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018 (arXiv:1712.09913),
section 4; the line: I. Goodfellow, O. Vinyals, A. Saxe, ICLR 2015 (arXiv:1412.6544).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.buffers import places_of, put_back
from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.data.batches import Batches
from hubel.explain.question import untouched
from hubel.objectives import Objective

Statistics = Literal["kept", "batch"]
Data = Batch | Sequence[Batch] | Batches
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """`losses` [P] at the steps `alphas` [P], or [Q, P] at `betas` [Q] × `alphas` [P]; `center` is the loss where all steps are 0.

    Steps are in units of filter norms: 1 changes every filter by a vector as long as itself. On a `line` they are shares of the way to
    the other network. `sharpness` is the greatest loss within a step of 0.1 (of those that were computed) minus that in the middle.
    """

    losses: np.ndarray
    alphas: np.ndarray
    betas: np.ndarray | None
    center: float
    examples: int
    line: bool = False
    statistics: str = "kept"
    notes: tuple[str, ...] = ()

    @property
    def sharpness(self) -> float:
        near = np.abs(self.alphas) <= 0.1 + 1e-9
        if self.betas is None:
            return float(self.losses[near].max(initial=self.center) - self.center)
        return float(
            self.losses[np.ix_(np.abs(self.betas) <= 0.1 + 1e-9, near)].max(initial=self.center) - self.center
        )

    def __str__(self) -> str:
        kind = (
            "the line to another network" if self.line else f"{self.losses.ndim} filter-normalized directions"
        )
        if self.losses.ndim == 1 and not self.line:
            kind = "one filter-normalized direction"
        finite = self.losses[np.isfinite(self.losses)]
        span = f"from {finite.min():.4g} to {finite.max():.4g}" if len(finite) else "nowhere finite"
        text = f"loss along {kind}: {span}, {self.center:.4g} in the middle, over {self.examples:,} examples"
        if self.line:
            text = (
                f"loss along {kind}: {span}, {self.center:.4g} at its start, over {self.examples:,} examples"
            )
        return ". ".join((text, *self.notes))


def loss_landscape(
    net: nn.Module,
    objective: Objective,
    data: Data,
    *,
    directions: int = 2,
    points: int = 21,
    reach: float = 1.0,
    statistics: Statistics = "kept",
    seed: int = 0,
    progress: Progress | None = None,
) -> Landscape:
    """The loss at `points` steps from -`reach` to `reach` along one random direction, or at `points`² along two.

    `data` is a batch, or several; `objective` what was asked of the network. `progress(done, total)` is called after each evaluation.

    Raises `ValueError` for sizes out of their range and for data without examples. The same `seed` takes the same directions.

    >>> from hubel.objectives import SquaredError
    >>> batch = Batch(inputs=torch.randn(8, 3), targets=torch.zeros(8, 1))
    >>> found = loss_landscape(nn.Linear(3, 1), SquaredError(1), batch, directions=1, points=5)
    >>> found.losses.shape, bool(found.losses[2] == found.center)
    ((5,), True)
    """
    if directions not in (1, 2):
        raise ValueError(f"directions is {directions}; expected 1 or 2")
    if isinstance(points, bool) or not isinstance(points, int) or points < 3 or not 0 < reach < float("inf"):
        raise ValueError(
            f"points is {points!r} and reach {reach!r}; expected at least 3 points and a positive reach"
        )
    if statistics not in ("kept", "batch"):
        raise ValueError(f'statistics is {statistics!r}; expected "kept" or "batch"')
    batches = _batches(data)
    steps = np.linspace(-reach, reach, points)
    with _restored(net), torch.no_grad():
        net.eval()
        if statistics == "batch":
            _use_batch_statistics(net)
        parameters = [(name, p) for name, p in net.named_parameters() if p.is_floating_point()]
        start = [p.detach().clone() for _, p in parameters]
        ways = [_direction(parameters, start, seed, number) for number in range(directions)]
        center = _loss(net, objective, batches)
        others = steps if directions == 2 else np.zeros(1)
        losses = np.empty((len(others), points))
        for row, beta in enumerate(others):
            for column, alpha in enumerate(steps):
                shifts = (float(alpha), float(beta))[:directions]
                for (_, parameter), begin, *along in zip(parameters, start, *ways, strict=True):
                    moved = begin
                    for shift, way in zip(shifts, along, strict=True):
                        moved = moved + shift * way
                    parameter.copy_(moved)
                losses[row, column] = _loss(net, objective, batches)
                if progress is not None:
                    progress(row * points + column + 1, losses.size)
    return Landscape(
        losses=losses if directions == 2 else losses[0],
        alphas=steps,
        betas=steps if directions == 2 else None,
        center=center,
        examples=sum(map(len, batches)),
        statistics=statistics,
        notes=_notes(losses),
    )


def loss_line(
    net: nn.Module,
    other: nn.Module,
    objective: Objective,
    data: Data,
    *,
    points: int = 25,
    reach: tuple[float, float] = (-0.5, 1.5),
    progress: Progress | None = None,
) -> Landscape:
    """The loss on the straight line θ(α) = (1 - α) θ + α θ' from the weights of `net` (α = 0) to those of `other` (α = 1).

    Raises `ValueError` where the networks do not have the same weights, for sizes out of their range and for data without examples.

    >>> from hubel.objectives import SquaredError
    >>> batch = Batch(inputs=torch.randn(8, 3), targets=torch.zeros(8, 1))
    >>> found = loss_line(nn.Linear(3, 1), nn.Linear(3, 1), SquaredError(1), batch, points=5)
    >>> found.alphas.tolist(), found.losses.shape
    ([-0.5, 0.0, 0.5, 1.0, 1.5], (5,))
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 2 or not reach[0] < reach[1]:
        raise ValueError(
            f"points is {points!r} and reach {reach!r}; expected at least 2 points, from less to more"
        )
    ours, theirs = net.state_dict(), other.state_dict()
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (ours, theirs)]
    if shapes[0] != shapes[1]:
        different = sorted(
            name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)
        )
        raise ValueError(
            f"there is no line between these networks: {', '.join(different[:5])} are not the same in both. Fit the same architecture twice"
        )
    batches = _batches(data)
    steps = np.linspace(*reach, points)
    with _restored(net), torch.no_grad():
        net.eval()
        start = {name: value.detach().clone() for name, value in ours.items() if value.is_floating_point()}
        ends = {name: theirs[name].to(value) for name, value in start.items()}
        center = _loss(net, objective, batches)
        losses = np.empty(points)
        for place, alpha in enumerate(steps.tolist()):
            for name, begin in start.items():
                value = (1 - alpha) * begin + alpha * ends[name]
                ours[name].copy_(value.clamp_min(0) if name.endswith("running_var") else value)
            losses[place] = _loss(net, objective, batches)
            if progress is not None:
                progress(place + 1, points)
    return Landscape(
        losses=losses,
        alphas=steps,
        betas=None,
        center=center,
        examples=sum(map(len, batches)),
        line=True,
        statistics="interpolated",
        notes=_notes(losses),
    )


def _direction(
    parameters: Sequence[tuple[str, nn.Parameter]], start: Sequence[Tensor], seed: int, number: int
) -> list[Tensor]:
    """A random direction, filter by filter as long as the weights; zero for biases and gains, which have one axis."""
    generator = torch_generator(seed, "loss landscape", number)
    found = []
    for (_, parameter), weight in zip(parameters, start, strict=True):
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
        if parameter.ndim < 2:
            found.append(torch.zeros_like(weight))
            continue
        shape = (-1, *[1] * (weight.ndim - 1))
        lengths, wanted = (t.flatten(1).norm(dim=1).view(shape) for t in (drawn, weight))
        found.append(drawn / lengths.clamp_min(torch.finfo(weight.dtype).tiny) * wanted)
    return found


def _loss(net: nn.Module, objective: Objective, batches: Sequence[Batch]) -> float:
    """The mean loss over all batches, weighted by their sizes; what is drawn in a forward pass is drawn the same everywhere."""
    total, count = 0.0, 0
    for number, batch in enumerate(batches):
        with torch_seeded(0, "loss landscape: forward", 0, number, device=batch.inputs.device):
            loss = objective(net, batch)
        plain = loss.parts.get("plain", loss.total)
        total += float(plain) * len(batch)
        count += len(batch)
    return total / count


def _batches(data: Data) -> list[Batch]:
    found = (
        [data] if isinstance(data, Batch) else list(data.in_order() if isinstance(data, Batches) else data)
    )
    if not found or not all(isinstance(batch, Batch) for batch in found):
        raise TypeError(
            "data must be a Batch, a list of them, or hubel.data.batches.Batches; received "
            f"{'nothing' if not found else type(found[0]).__name__}"
        )
    for batch in found:
        if batch.inputs.is_floating_point() and not bool(torch.isfinite(batch.inputs).all()):
            raise ValueError("data hold NaN or infinite inputs: replace them before the loss is looked at")
    if not all(len(batch) for batch in found):
        raise ValueError("a batch has no examples: there is no loss of nothing")
    return found


@contextmanager
def _restored(net: nn.Module) -> Iterator[None]:
    """Weights, buffers, modes and gradients are afterwards what they were, to the bit."""
    weights = [(parameter, parameter.detach().clone()) for parameter in net.parameters()]
    places = places_of(net)
    buffers = [buffer.clone() for *_, buffer in places]
    with untouched(net):
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in weights:
                    parameter.copy_(value)
            put_back(places, buffers)


def _use_batch_statistics(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True


def _notes(losses: np.ndarray) -> tuple[str, ...]:
    missing = int((~np.isfinite(losses)).sum())
    return (f"{missing} of {losses.size} losses are not finite",) if missing else ()
