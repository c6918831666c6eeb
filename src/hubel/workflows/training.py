"""The training of a run: the loop of `hubel.fitting.steps` with evaluation, curves, checkpoints and stopping in plain sight."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hubel.core import files
from hubel.core.typed import refuse_other_types
from hubel.core.types import Record
from hubel.data.batches import Batches
from hubel.data.dataset import Dataset
from hubel.data.preprocessing import Preprocessing
from hubel.fitting import codec
from hubel.fitting.averaging import MovingAverage
from hubel.fitting.checkpoints import Checkpoints
from hubel.fitting.loop import steps
from hubel.fitting.machine import threads
from hubel.fitting.optimizer_state import refuse_other_states
from hubel.fitting.precision import Precision
from hubel.fitting.recipe import Recipe
from hubel.fitting.rules import Backprop
from hubel.fitting.run import pieces_of
from hubel.fitting.schedules import Progress
from hubel.nets.symmetrized import one_view
from hubel.objectives import Objective

CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.01  # of the time, at most, goes into writing checkpoints between epochs


class Replanned(Exception):
    """It is better to begin again, with so many `epochs`, because the last one took `last` seconds."""

    def __init__(self, epochs: int, last: float):
        super().__init__(f"{epochs} epochs, as one takes {last:.3g} s")
        self.epochs, self.last = epochs, last


class Foresight(Protocol):
    """Who knows of a better number of epochs, when some have been seen."""

    def again(self, *, planned: int, done: int, last: float, spent: float) -> int | None: ...


class Watcher(Protocol):
    """Who looks on: the progress display."""

    def step(self, record: Record, epochs: int, steps_per_epoch: int) -> None: ...

    def epoch(self, row: dict[str, Any], epochs: int) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(kw_only=True)
class Job:
    """All that a training needs; nothing in it is chosen any more."""

    net: nn.Module
    objective: Objective
    recipe: Recipe
    scaling: Preprocessing
    train: Dataset
    validation: Dataset
    folder: Any
    device: torch.device
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    plan: Foresight | None = None


@dataclass(kw_only=True)
class Position:
    """Where a training stands: `epoch` is the one under way (from 1), `step_in_epoch` its steps done, `step` all steps done.

    `validation` losses of the epochs so far; `loss_sum` over the `examples` of this epoch; `seconds` of training;
    `best` validation loss, at the end of `best_epoch`.
    """

    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    validation: list[float] = field(default_factory=list)
    loss_sum: float = 0.0
    examples: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_epoch: int = 0


class Training:
    """A job under way: its optimizer, its average, its best weights and its position, all of which a checkpoint holds."""

    def __init__(self, job: Job):
        recipe = job.recipe
        assert recipe.optimizer is not None and recipe.batch_size is not None and recipe.epochs is not None
        assert (
            recipe.precision is not None and recipe.schedule is not None and recipe.augmentation is not None
        )
        self.job = job
        self.precision: Precision = recipe.precision
        self.epochs: int = recipe.epochs
        self.schedule = recipe.schedule
        self.net = self.precision.place(job.net, job.device)
        with recipe.frozen(self.net):
            self.optimizer = recipe.optimizer.build(self.net)
        self.rule = Backprop(
            self.optimizer,
            max_grad_norm=recipe.max_grad_norm or None,
            autocast=self.precision.autocast(job.device),
            penalties=recipe.penalties,
            still=recipe.freeze.norms(self.net) if recipe.freeze else (),
        )
        self.average = MovingAverage(self.net, recipe.average) if recipe.average else None
        self.best: dict[str, Tensor] | None = None
        self.position = Position()
        self.batches = Batches(
            data=job.train,
            scaling=job.scaling,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            augmentation=recipe.augmentation,
            device=job.device,
            layout=self.precision.layout,
        )
        self.checkpoints = Checkpoints(job.folder)
        self._written = time.monotonic()
        self._write_seconds = 0.0
        self._seconds = 0.0  # of training, at the end of the epoch before

    @property
    def total_steps(self) -> int:
        return self.batches.steps_per_epoch * self.epochs

    def run(self, watcher: Watcher) -> str:
        """Train to the end, to early stopping or to an interruption; answers why it stopped. Chosen weights are written at the end.

        Raises `Replanned` where the plan of the job has a better number of epochs.
        """
        recipe = self.job.recipe
        with threads(self.precision.threads), recipe.frozen(self.net), interruptible() as interrupted:
            while self._goes_on():
                self._epoch(watcher, interrupted)
                if interrupted() and self._goes_on():
                    self.save()
                    return INTERRUPTED
                if not interrupted() and not self._stops_early():
                    self._look_at_the_time()
            self.finish()
        if not self._stops_early():
            return f"all {self.epochs} epochs done" if self.epochs > 1 else "the one epoch is done"
        return (
            f"the validation loss has not improved since epoch {self.position.best_epoch} ({self._patience} epochs of patience); "
            f"the weights of that epoch were kept"
        )

    def _epoch(self, watcher: Watcher, interrupted: Callable[[], bool]) -> None:
        """The rest of the epoch under way, or of it what comes before an interruption."""
        job, at = self.job, self.position
        began, seconds_before, examples_before = time.perf_counter(), at.seconds, at.examples
        loss_sum: Tensor | float = at.loss_sum
        record: Record | None = None

        def stand() -> None:
            at.loss_sum, at.seconds = float(loss_sum), seconds_before + time.perf_counter() - began

        try:
            for record in steps(
                self.net,
                job.objective,
                self.batches.epoch(at.epoch, start=at.step_in_epoch),
                rule=self.rule,
                schedule=self.factor,
                seed=job.recipe.seed,
                epoch=at.epoch,
                first_step=at.step,
            ):
                if self.average is not None:
                    self.average.update()
                at.step, at.step_in_epoch = record.step, at.step_in_epoch + 1
                at.examples += record.examples
                loss = record.scalars.get("plain", record.scalars["loss"])
                loss_sum = loss_sum + loss.double() * record.examples
                watcher.step(record, self.epochs, self.batches.steps_per_epoch)
                if at.step_in_epoch == self.batches.steps_per_epoch:
                    break  # the end of an epoch has its own look at interruptions and its own checkpoint
                if interrupted():
                    return
                if self._checkpoint_is_due():
                    stand()
                    self.save()
        finally:
            stand()
        train_seconds = time.perf_counter() - began
        row = self._evaluate(at.loss_sum / max(at.examples, 1))
        stand()
        row |= {
            "learning_rate": self.rule.learning_rate,
            "examples_per_second": round((at.examples - examples_before) / max(train_seconds, 1e-9), 1),
            "seconds": round(at.seconds, 3),
        }
        if record is not None:
            row["grad_norm"] = record.grad_norm
        at.epoch, at.step_in_epoch, at.loss_sum, at.examples = at.epoch + 1, 0, 0.0, 0
        files.append_line(self.job.folder / "curves.jsonl", _json_line(row))
        if self._checkpoint_is_due():
            self.save()
        watcher.epoch(row, self.epochs)

    def _look_at_the_time(self) -> None:
        """After an epoch: whether another number of them is better."""
        at, before = self.position, self._seconds
        self._seconds = at.seconds
        if self.job.plan is None:
            return
        last = at.seconds - before
        epochs = self.job.plan.again(planned=self.epochs, done=at.epoch - 1, last=last, spent=at.seconds)
        if epochs is not None:
            raise Replanned(epochs, last)

    def factor(self, step: int) -> float:
        """The schedule's factor on the learning rate at `step` (from 0)."""
        progress = Progress(step=step, total=self.total_steps, validation=tuple(self.position.validation))
        return self.schedule.factor(progress)

    def _evaluate(self, train_loss: float) -> dict[str, Any]:
        """The row of this epoch; the averaged weights are what is evaluated where there is an average."""
        at, job = self.position, self.job
        row: dict[str, Any] = {"epoch": at.epoch, "step": at.step, "loss": train_loss}
        if len(job.validation):
            scores = self._scores(job.validation)
            row |= {
                "validation_loss": scores["loss"],
                "validation": {k: v for k, v in scores.items() if k != "loss"},
            }
            at.validation.append(scores["loss"])
            if scores["loss"] < at.best:
                at.best, at.best_epoch = scores["loss"], at.epoch
                if job.recipe.early_stopping:
                    self.best = {name: value.detach().clone() for name, value in self.weights().items()}
        return row

    def weights(self) -> dict[str, Tensor]:
        """What would be kept if the training ended now: the average where there is one."""
        return self.net.state_dict() if self.average is None else self.average.values

    def _scores(self, part: Dataset) -> dict[str, float]:
        """Scores of one view of every example: averaging over mirrors and turns would cost up to eight times as much, every epoch."""
        job, net = self.job, one_view(self.net)
        with nullcontext() if self.average is None else swapped(self.net, self.average.values):
            return job.objective.scored(
                pieces_of(net, job.objective, job.scaling, self.precision, part, job.device)
            )

    @property
    def _patience(self) -> int | None:
        stopping = self.job.recipe.early_stopping
        return stopping.patience if stopping else None

    def _stops_early(self) -> bool:
        return (
            self._patience is not None
            and self.position.epoch - 1 - self.position.best_epoch >= self._patience
        )

    def _goes_on(self) -> bool:
        """Asked before every epoch, so that a training that was resumed just there answers alike."""
        return self.position.epoch <= self.epochs and not self._stops_early()

    def finish(self) -> None:
        """Write the chosen weights: the best where early stopping watches, else the average, else the last."""
        chosen = self.best if self.best is not None else self.weights()
        self.save(chosen={name: value.detach() for name, value in chosen.items()})
        codec.assign(self.net.state_dict(), chosen, "network")

    def save(self, **more: Any) -> None:
        """A checkpoint of this moment."""
        start = time.monotonic()
        trees: dict[str, Any] = {"state": self.state(), **more}
        if self.best is not None:
            trees["best"] = self.best
        self.checkpoints.write(self.position.step, trees, keep=("start",))
        self._written = time.monotonic()
        self._write_seconds = self._written - start

    def _checkpoint_is_due(self) -> bool:
        waited = time.monotonic() - self._written
        return waited >= max(self.job.checkpoint_seconds, self._write_seconds / CHECKPOINT_SHARE)

    def state(self) -> dict[str, Any]:
        """Everything that a resumed training needs, as a tree of tensors and plain values."""
        at = self.position
        state = self.optimizer.state_dict()["state"]
        return {
            "net": dict(self.net.state_dict()),
            "optimizer": {str(number): dict(values) for number, values in state.items()},
            "average": None
            if self.average is None
            else {"steps": self.average.steps, "values": self.average.values},
            "position": {name: value if value != math.inf else None for name, value in vars(at).items()},
        }

    def load(self, state: dict[str, Any], best: dict[str, Tensor] | None) -> None:
        """Go back to the moment of `state`."""
        codec.assign(self.net.state_dict(), state["net"], "network")
        shell = self.optimizer.state_dict()
        if wrong := [number for number in state["optimizer"] if not number.isdecimal()]:
            raise LookupError(f"the optimizer has a state of parameter {wrong[0]!r}; expected a number")
        stored = {int(number): values for number, values in state["optimizer"].items()}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        assert self.job.recipe.optimizer is not None
        refuse_other_states(self.job.recipe.optimizer, parameters, stored)
        shell["state"] = stored
        self.optimizer.load_state_dict(shell)
        if self.average is not None:
            self.average.steps = state["average"]["steps"]
            codec.assign(self.average.values, state["average"]["values"], "average")
        position = dict(state["position"])
        position["best"] = math.inf if position["best"] is None else position["best"]
        try:
            refuse_other_types(Position, position, "the position")
        except ValueError as error:
            raise LookupError(str(error)) from error
        self.position = Position(**position)
        self.best = best


INTERRUPTED = "interrupted by the user"


@contextmanager
def swapped(net: nn.Module, values: dict[str, Tensor]) -> Iterator[None]:
    """`net` holds `values` inside, and its own weights again afterwards."""
    own = {name: value.detach().clone() for name, value in net.state_dict().items()}
    codec.assign(net.state_dict(), values, "average")
    try:
        yield
    finally:
        codec.assign(net.state_dict(), own, "network")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C inside (or SIGTERM, or SIGHUP of a terminal that was closed) only raises a flag, so that the step under way ends and
    is saved; a second one stops at once. A SIGHUP that is ignored, as under nohup, stays so.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if os.name != "nt" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _json_line(row: dict[str, Any]) -> str:
    import json

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(row), allow_nan=False)
