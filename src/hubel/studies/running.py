"""What all studies share: a folder with a page and its numbers, and a fit in a few lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files
from hubel.core.types import Batch
from hubel.fitting import Backprop, Closure, Linear, Progress, Schedule, steps
from hubel.fitting.loop import ObjectiveCall
from hubel.fitting.machine import processor, versions
from hubel.fitting.optimizers import OptimizerChoice
from hubel.fitting.uncompiled import uncompiled
from hubel.show.study import Study, study_page


def run_study(work: Callable[[bool, int], Study], *, quick: bool, seed: int, out: Path | str | None) -> Study:
    """What `work(quick, seed)` answers, written as `study.html` and `numbers.json` into `out` (`studies/NAME` unless told).

    Raises `TypeError` where the seed is no whole number, `OSError` where the folder can not be made (before the work begins).
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed is {seed!r}; expected a whole number")
    name = work.__name__.removeprefix("_")
    folder = Path("studies", name) if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    study = work(quick, seed)
    study = replace(
        study,
        name=name,
        quick=quick,
        seed=seed,
        seconds=time.perf_counter() - began,
        folder=folder,
        facts=versions() | {"processor": processor(), "threads": str(torch.get_num_threads())},
        numbers=plain(study.numbers),
    )
    about = {"name": name, "quick": quick, "seed": seed, "seconds": study.seconds, **study.facts}
    files.write_json(folder / "numbers.json", {"study": about, "numbers": study.numbers})
    files.write_text(folder / "study.html", study_page(study))
    return study


def plain(value: Any) -> Any:
    """Numbers and arrays of any library as JSON has them.

    >>> plain({"a": np.arange(2), 3: np.float32(0.5)})
    {'a': [0, 1], '3': 0.5}
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return plain(value.tolist())
    return value


def descend(
    net: nn.Module,
    objective: ObjectiveCall,
    batches: Sequence[Batch],
    *,
    optimizer: OptimizerChoice,
    num_steps: int,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> list[float]:
    """Fit `net` in place for `num_steps` steps that go round the `batches`; the losses, one a step.

    The learning rate falls linearly to zero after a short warm-up, unless `schedule` says otherwise.

    >>> x = torch.linspace(-1, 1, 8).unsqueeze(1)
    >>> from hubel import fitting, nets, objectives
    >>> choice = fitting.SGD(learning_rate=0.1, weight_decay=0)
    >>> net = nets.mlp((), inputs=1, outputs=1)
    >>> losses = descend(net, objectives.SquaredError(1), [Batch(inputs=x, targets=3 * x)], optimizer=choice, num_steps=400)
    >>> losses[-1] < 1e-6
    True
    """
    plan = Linear(warmup=0.05) if schedule is None else schedule
    round_and_round = (batches[step % len(batches)] for step in range(num_steps))
    losses = []
    for record in steps(
        net,
        objective,
        round_and_round,
        rule=Backprop(optimizer.build(net)),
        schedule=lambda step: plan.factor(Progress(step=step, total=num_steps)),
        seed=seed,
    ):
        losses.append(record.loss)
    return losses


def settle(
    net: nn.Module, objective: ObjectiveCall, batch: Batch, *, num_steps: int, iterations: int = 25
) -> None:
    """Fit `net` in place to one batch by L-BFGS: `num_steps` steps of at most so many iterations. For small networks in float64.

    >>> from hubel import nets, objectives
    >>> x = torch.linspace(-1, 1, 8).double().unsqueeze(1)
    >>> net = nets.mlp((), inputs=1, outputs=1).double()
    >>> settle(net, objectives.SquaredError(1), Batch(inputs=x, targets=3 * x), num_steps=2)
    >>> round(net.head.weight.item(), 6)
    3.0
    """
    optimizer = uncompiled(torch.optim.LBFGS)(
        net.parameters(), max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )
    for _ in steps(net, objective, [batch] * num_steps, rule=Closure(optimizer)):
        pass


def smoothed(losses: Sequence[float], window: int = 15) -> list[float]:
    """The mean of the last `window` losses (of all so far, where there are fewer) at every step.

    >>> smoothed([4.0, 2.0, 0.0], window=2)
    [4.0, 3.0, 1.0]
    """
    sums = np.cumsum([0.0, *losses])
    at = np.arange(1, len(sums))
    first = np.maximum(at - window, 0)
    return ((sums[at] - sums[first]) / (at - first)).tolist()


def slope(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """The exponent of a power law y ~ x^slope, by least squares in the logarithms.

    >>> round(slope([1, 10, 100], [5, 0.05, 0.0005]), 6)
    -2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def plane(low: float, high: float, count: int) -> torch.Tensor:
    """Points [count², 2] of a square grid, row by row from the bottom, for `hubel.show.plot.regions`.

    >>> plane(0, 1, 2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    axis = torch.linspace(low, high, count)
    return torch.cartesian_prod(axis, axis).flip(1)
