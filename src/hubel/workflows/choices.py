"""What hubel chooses when the user does not: objective from the targets, network from the inputs, epochs from the time."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hubel import nets
from hubel.core import random
from hubel.data.batches import Batches
from hubel.data.dataset import Dataset
from hubel.fitting.averaging import MovingAverage
from hubel.fitting.loop import steps
from hubel.fitting.machine import threads
from hubel.fitting.optimizers import OptimizerChoice
from hubel.fitting.precision import Precision
from hubel.fitting.rules import Backprop
from hubel.nets.symmetrized import one_view
from hubel.objectives import Objective
from hubel.workflows.asking import Wishes, ask_classes, ask_labels, ask_values
from hubel.workflows.of_boxes import box_objective, net_of_boxes
from hubel.workflows.of_masks import net_of_masks, pixel_objective
from hubel.workflows.of_series import forecast_objective, net_of_series
from hubel.workflows.pretrained import pretrained_net
from hubel.workflows.text_choices import next_symbol_of, text_net

DEFAULT_BUDGET = 345.0  # seconds of training
BUDGET_OF_BOXES = (
    570.0  # the same where objects are to be found, which takes longer to learn than what a picture shows
)
SLOWER = 1.03
"""An epoch of a long run took 1 % less (fashion-scenes, 11 epochs) to 6 % more (Fashion-MNIST, 5 epochs) than was measured before it: processor time, one thread."""
PACE_STEPS, PACE_SECONDS = 24, 2.0  # of the measurement before a fit: so many steps, for at least so long
BURST = 2.0  # times as long as the median: what is longer is another program's
GAIN = 1.25  # times the epochs: worth to begin again for
LATE = 1.5  # times the time, that the epochs which were planned would take: not to be borne
MANY = 10_000  # training examples from which on the width follows the time
WIDTHS = (16, 32, 48, 64, 96)
ENOUGH = {16: 12, 32: 16, 48: 24, 64: 48, 96: 10**9}  # epochs from which on the next width is better
TOO_FEW = 6
GROWTH = 1.5  # power of the width with which an epoch grows longer; what is chosen by it is measured before it is used
NO_WISHES = Wishes()


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Measured seconds of one training step, and of evaluating one example; measuring them took `spent` seconds."""

    step: float
    evaluation: float
    spent: float = 0.0

    def epoch(self, steps_per_epoch: int, num_validation: int) -> float:
        """Predicted seconds of an epoch."""
        return SLOWER * (self.step * steps_per_epoch + self.evaluation * num_validation)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """So many seconds of training, and the epochs that are useful: what epochs were chosen by, and are again where their pace turns out to be another.

    >>> plan = Plan(seconds=500, useful=84)
    >>> plan.again(planned=3, done=1, last=6.0, spent=6.0)  # a few steps that were measured while the machine did something else
    82
    >>> plan.again(planned=84, done=1, last=6.0, spent=6.0) is None
    True
    """

    seconds: float
    useful: int

    def again(self, *, planned: int, done: int, last: float, spent: float) -> int | None:
        """With how many epochs it would be better to begin again, after `done` of those `planned`, of which the last took `last` seconds and all
        `spent`; None where to go on is better. Asked after 1, 2, 4, 8 ... epochs.
        """
        if done & (done - 1):
            return None
        epochs = min(self.useful, int((self.seconds - spent) / max(last, 1e-9)))
        faster = epochs >= GAIN * planned
        slower = done == 1 and planned * last > LATE * self.seconds
        return epochs if epochs >= 1 and (faster or slower) else None


def choose_objective(train: Dataset, wishes: Wishes = NO_WISHES) -> tuple[Objective, str]:
    """The question that the type of the targets asks, and a sentence that says so."""
    if train.alphabet is not None and train.classes is None:
        return next_symbol_of(train, wishes)
    if train.has_boxes:
        return box_objective(train, wishes)
    if train.has_masks:
        return pixel_objective(train, wishes)
    if train.is_multilabel:
        return ask_labels(train, wishes)
    if train.classes is not None:
        return ask_classes(train, wishes)
    objective, why = ask_values(train, wishes)
    return (
        forecast_objective(train, objective, why)
        if train.reading.get("kind") == "forecast"
        else (objective, why)
    )


def choose_net(train: Dataset, objective: Objective, seed: int, budget: float) -> tuple[nn.Module, str]:
    """The default network for inputs of this kind and for this much time, with weights that follow from the seed."""
    with random.torch_seeded(seed, "initial weights"):
        if train.kind == "symbols":
            return text_net(train, objective)
        if train.kind == "features":
            net = nets.committee((100, 100), inputs=train.entering[0], outputs=objective.num_outputs)
            return (
                net,
                f"a table of {_columns(train)}: the mean of {net.members} perceptrons with two hidden layers of 100",
            )
        if train.kind in ("series", "image series"):
            return net_of_series(train, objective)
        if train.has_boxes:
            return net_of_boxes(train, objective)
        if train.has_masks:
            return net_of_masks(train, objective)
        if (found := pretrained_net(train, objective)) is not None:
            return found
        width = 48 if len(train) >= MANY else 32
        if train.kind == "volumes":
            width = 32 if len(train) >= MANY else 16
        net = _compact(width, train, objective)
        return net, f"{train.kind}: a small residual network {width} channels wide{_mirrored(net)}"


def _columns(train: Dataset) -> str:
    features, entering = train.shape[0], train.entering[0]
    return f"{features} features" + (
        f", {entering} numbers with their levels and gaps" if entering != features else ""
    )


def other_width(
    net: nn.Module, epochs: int, train: Dataset, objective: Objective, seed: int
) -> tuple[nn.Module, str] | None:
    """A narrower compact network where `net` gets too few epochs in the time, a wider one where it gets more than it needs.

    On Fashion-MNIST 11 epochs of 48 channels equalled 20 of 32 at equal time; the other limits in ENOUGH are judged, not measured.
    """
    inside = net.net if isinstance(net, nets.Symmetrized) else net
    made = getattr(inside, "made_by", None)
    if made is None or made.name != "hubel.nets.compact" or len(train) < MANY:
        return None
    width = made.arguments["width"]
    place = _better_place(WIDTHS.index(width), epochs)
    if WIDTHS[place] == width:
        return None
    with random.torch_seeded(seed, "initial weights"):
        other = _compact(WIDTHS[place], train, objective)
    why = "would get only" if WIDTHS[place] < width else "has time for"
    reason = f"since {width} {why} {epochs} epoch{'' if epochs == 1 else 's'}{_mirrored(other)}"
    return other, f"{train.kind}: a small residual network {WIDTHS[place]} channels wide, {reason}"


def _better_place(place: int, epochs: int) -> int:
    """The place among WIDTHS to which `epochs` at `place` lead, one after another, as far as can be foreseen.

    >>> WIDTHS[_better_place(2, 10)], WIDTHS[_better_place(2, 1)], WIDTHS[_better_place(2, 30)]
    (48, 16, 64)
    """
    first = WIDTHS[place]
    foreseen = float(epochs)
    direction = (epochs >= ENOUGH[first]) - (epochs < TOO_FEW)
    while 0 <= place + direction < len(WIDTHS):
        wanted = foreseen >= ENOUGH[WIDTHS[place]] if direction > 0 else foreseen < TOO_FEW
        if not direction or not wanted:
            break
        place += direction
        foreseen = epochs * (first / WIDTHS[place]) ** GROWTH
    return place


def _mirrored(net: nn.Module) -> str:
    """What averaging does, in words."""
    if not isinstance(net, nets.Symmetrized):
        return ""
    return f"; its scores at the end are the mean over {len(net.changes)} declared views (mirrors, quarter turns)"


def _compact(width: int, train: Dataset, objective: Objective) -> nn.Module:
    """The compact network, whose scores are averaged over the declared mirrors and quarter turns."""
    net = nets.compact(width, inputs=train.shape, outputs=objective.num_outputs)
    wanted = {"rotate_90"} if "rotate" in train.symmetries else set()
    declared = (set(train.symmetries) | wanted) & set(nets.GENERATORS)
    if train.shape[-1] != train.shape[-2]:
        declared -= {"rotate_90"}
    return nets.symmetrized(net, sorted(declared)) if declared else net


def made_net(make: Callable[..., nn.Module], train: Dataset, outputs: int, seed: int) -> nn.Module:
    """The network of a function of `inputs` and `outputs`, with weights that follow from the seed."""
    inputs = train.entering[0] if len(train.shape) == 1 else train.shape
    if train.alphabet is not None:
        inputs = len(train.alphabet)
    try:
        inspect.signature(make).bind(inputs=inputs, outputs=outputs)
    except TypeError as error:
        raise TypeError(
            f"net={getattr(make, '__name__', make)} can not be called with inputs and outputs ({error}); expected a torch.nn.Module, or a "
            "function of inputs and outputs that makes one"
        ) from error
    with random.torch_seeded(seed, "initial weights"):
        net = make(inputs=inputs, outputs=outputs)
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"net={make!r} made a {type(net).__name__}; expected a torch.nn.Module, or a function of inputs and outputs that makes one"
        )
    return net


def default_budget(data: Dataset) -> float:
    """Seconds of training where nobody named them."""
    return BUDGET_OF_BOXES if data.has_boxes else DEFAULT_BUDGET


def most_useful(num_train: int) -> int:
    """The epochs that data of this size can use, where nothing else is known.

    On 510 made pictures of low signal-to-noise 200 epochs were 1.1 points below 40 (two seeds): noise is learned by heart.
    """
    return int(np.clip(30_000 / max(num_train, 1), 50, 100))


def choose_epochs(
    pace: Pace,
    steps_per_epoch: int,
    num_train: int,
    num_validation: int,
    budget: float,
    *,
    useful: int,
) -> tuple[int, str]:
    """As many epochs as the time allows, up to what is `useful`."""
    epoch = pace.epoch(steps_per_epoch, num_validation)
    affordable = max(1, int((budget - pace.spent) / max(epoch, 1e-9)))
    if affordable < useful:
        return affordable, f"{epoch:.1f} s an epoch here: what fits in {_duration(budget)} of training"
    return useful, f"enough for {num_train:,} examples; about {_duration(useful * epoch)} here"


def measure_pace(
    net: nn.Module,
    objective: Objective,
    batches: Batches,
    optimizer: OptimizerChoice,
    precision: Precision,
    device: torch.device,
    seconds: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Real steps of a copy, with gathering, augmentation, averaging and update, for at most about so many `seconds`; the network itself is left as
    it is.

    The pace is the mean of the steps after the first two, as sizes and lengths of batches may differ. Of what is longer than twice the median only that
    much counts.
    """
    with threads(precision.threads):
        trial = precision.place(copy.deepcopy(net), device)
        rule = Backprop(optimizer.build(trial), autocast=precision.autocast(device))
        average = MovingAverage(trial, 0.99)
        times: list[float] = []
        start = began = clock()
        while not _known(times, start - began, seconds):
            for record in steps(trial, objective, batches.epoch(1), rule=rule, schedule=lambda step: 0.01):
                average.update()
                record.read()
                now = clock()
                times.append(now - start)
                start = now
                if _known(times, now - began, seconds):
                    break
        batch = next(batches.in_order(min(256, len(batches.data))))
        trial = one_view(trial).eval()
        looks: list[float] = []
        with torch.no_grad(), precision.autocast(device):
            for _ in range(3):
                start = clock()
                trial(*batch.arguments).cpu()
                looks.append(clock() - start)
    after = np.array(times[2:])
    step = float(np.minimum(after, BURST * np.median(after)).mean())
    return Pace(step=step, evaluation=min(looks) / len(batch), spent=clock() - began)


def _known(times: Sequence[float], passed: float, seconds: float) -> bool:
    """Whether these are enough steps to know the pace, or all that there is time for."""
    if len(times) < 4:
        return False
    return passed > seconds or (len(times) >= PACE_STEPS and passed > PACE_SECONDS)


def _duration(seconds: float) -> str:
    """Seconds for a reader.

    >>> _duration(42.3), _duration(330), _duration(7300)
    ('42 s', '5 min 30 s', '2 h 1 min')
    """
    if seconds < 1:
        return "1 s"
    total = round(seconds)
    if total < 120:
        return f"{total} s"
    if total < 7200:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


duration = _duration
