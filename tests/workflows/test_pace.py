"""The time that an epoch is foretold to take, on a made clock."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.data import from_arrays
from hubel.data.batches import Batches
from hubel.data.preprocessing import scaling_of
from hubel.fitting.optimizers import SGD
from hubel.fitting.precision import Precision
from hubel.objectives import SquaredError
from hubel.workflows.choices import PACE_SECONDS, PACE_STEPS, SLOWER, Pace, choose_epochs, measure_pace

NUM_STEPS, LOOK = 40, 1.28  # steps of an epoch; seconds of a look at 256 examples


class Machine:
    """A clock that goes on as a network is used: by `durations` in training, by `LOOK` in evaluation."""

    def __init__(self, durations):
        self.now, self.durations, self.num_steps = 0.0, durations, 0

    def __call__(self):
        return self.now

    def forward(self, net, inputs):
        if net.training:
            self.now += self.durations(self.num_steps)
            self.num_steps += 1
        else:
            self.now += LOOK


class Timed(nn.Module):
    def __init__(self, machine):
        super().__init__()
        self.machine, self.last = [machine], nn.Linear(2, 1)

    def __deepcopy__(self, memo):
        return Timed(self.machine[0])

    def forward(self, x):
        self.machine[0].forward(self, x)
        return self.last(x)


def measured(durations, seconds=1e9):
    x = np.random.default_rng(0).normal(size=(8 * NUM_STEPS, 2)).astype(np.float32)
    data = from_arrays(x, x[:, :1])
    batches = Batches(data=data, scaling=scaling_of(data), batch_size=8)
    machine = Machine(durations)
    pace = measure_pace(
        Timed(machine),
        SquaredError(1),
        batches,
        SGD(),
        Precision(),
        torch.device("cpu"),
        seconds,
        clock=machine,
    )
    return pace, machine


def test_an_even_pace_is_foretold():
    pace, machine = measured(lambda step: 0.3)
    true = 0.3 * NUM_STEPS + 100 * LOOK / 256
    assert true <= pace.epoch(NUM_STEPS, 100) <= 1.05 * true
    assert pace.spent == pytest.approx(machine.now)
    assert machine.num_steps == PACE_STEPS


def test_steps_of_different_sizes_count_as_they_come():
    """A third of the steps takes twice as long, as pictures of several sizes do."""
    pace, _ = measured(lambda step: 0.4 if step % 3 == 0 else 0.2)
    assert pace.step == pytest.approx(0.8 / 3, rel=0.03)


def test_warming_up_and_what_others_do_hardly_count():
    pace, _ = measured(lambda step: 3.0 if step < 2 else 20.0 if step == 9 else 0.3)
    assert pace.step == pytest.approx(0.3, rel=0.05)


def test_quick_steps_are_measured_for_a_while_and_slow_ones_no_longer_than_there_is_time():
    _, quick = measured(lambda step: 0.01)
    assert quick.now - 3 * LOOK == pytest.approx(PACE_SECONDS, abs=0.02)
    _, slow = measured(lambda step: 3.0, seconds=11.4)
    assert slow.num_steps == 4
    _, tight = measured(lambda step: 0.01, seconds=0.1)
    assert tight.num_steps == 11


def test_what_was_spent_on_measuring_is_of_the_budget():
    pace = Pace(step=0.1, evaluation=0.0, spent=20.0)
    assert choose_epochs(pace, 10, 1000, 0, 100.0, useful=1000)[0] == int(80 / SLOWER)
    assert choose_epochs(pace, 10, 1000, 0, 10.0, useful=1000)[0] == 1
