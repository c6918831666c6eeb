"""A pace that was measured while the machine did something else does not decide how long is trained."""

import os
import signal

import numpy as np
import pytest
import torch

import hubel
from hubel.workflows import choices, training


@pytest.fixture
def plates():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (160, 1, 12, 12)).astype("float32")
    y = random.integers(0, 2, 160)
    x[y == 1, :, 3:9, 3:9] += 1.0
    return hubel.data.from_arrays(x, y, symmetries=["flip_horizontal", "occlusion"])


def foretell(monkeypatch, seconds):
    monkeypatch.setattr(choices, "measure_pace", lambda *_: choices.Pace(step=seconds, evaluation=0.0))


def test_what_was_foretold_too_slow_begins_again(plates, monkeypatch, tmp_path, capsys):
    foretell(monkeypatch, 1e3)
    net = hubel.nets.simple_cnn(inputs=(1, 12, 12), outputs=2)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    run = hubel.fit(plates, net=net, out=tmp_path / "run")
    useful = choices.most_useful(len(run.split["train"]))
    assert run.recipe.epochs == useful and [row["epoch"] for row in run.curves] == list(range(1, useful + 1))
    said = " ".join(capsys.readouterr().err.split())
    assert f"the training begins again, with {useful} epochs in place of 1." in said
    assert "1 had been foretold" in run.about["reasons"]["epochs"]
    # what follows from the number of epochs follows from the new one
    assert hubel.data.augmentation.Erase() in run.recipe.augmentation
    steps = len(run.curves) * -(-len(run.split["train"]) // run.recipe.batch_size)
    assert run.curves[-1]["step"] == steps
    other = hubel.nets.simple_cnn(inputs=(1, 12, 12), outputs=2)
    other.load_state_dict(start)
    again = hubel.fit(plates, net=other, recipe=run.recipe, out=tmp_path / "again", quiet=True)
    for name, value in run.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])


def test_given_epochs_stay(plates, monkeypatch, tmp_path):
    foretell(monkeypatch, 1e3)
    run = hubel.fit(plates, recipe=hubel.Recipe(epochs=2), out=tmp_path / "run", quiet=True)
    assert run.recipe.epochs == 2 and len(run.curves) == 2


def test_what_was_foretold_too_fast_has_fewer_epochs(plates, monkeypatch, tmp_path):
    foretell(monkeypatch, 1e-9)
    told = []

    def again(plan, *, planned, done, last, spent):
        told.append((planned, done))
        return 3 if planned == 100 else None

    monkeypatch.setattr(choices.Plan, "again", again)
    run = hubel.fit(plates, out=tmp_path / "run", quiet=True)
    assert run.recipe.epochs == 3 and told == [(100, 1), (3, 1), (3, 2), (3, 3)]


@pytest.mark.parametrize(
    ("planned", "done", "last", "spent", "expected"),
    [
        (10, 1, 1.0, 1.0, 50),  # of 100 s 99 are left; more than 50 are of no use
        (10, 1, 7.0, 7.0, 13),
        (10, 1, 8.0, 8.0, None),  # 11 are too few to begin again for
        (10, 2, 4.0, 8.0, 23),
        (10, 3, 4.0, 12.0, None),  # not asked after three
        (10, 4, 2.0, 8.0, 46),
        (50, 1, 2.5, 2.5, None),  # 125 s in place of 100
        (50, 1, 4.0, 4.0, 24),  # 200
        (50, 2, 4.0, 8.0, None),  # too late for that
        (1, 1, 300.0, 300.0, None),
        (2, 1, 80.0, 80.0, None),  # no whole epoch fits any more: to go on takes no longer
        (3, 1, 60.0, 60.0, None),
        (4, 1, 45.0, 45.0, 1),
    ],
)
def test_when_it_is_worth_it(planned, done, last, spent, expected):
    plan = choices.Plan(seconds=100.0, useful=50)
    assert plan.again(planned=planned, done=done, last=last, spent=spent) == expected


def test_no_look_at_the_time_where_the_training_ends(plates, monkeypatch, tmp_path):
    """Neither after early stopping, which has said that it is over, nor after an interruption in the last epoch, which would be lost."""
    asked = []
    monkeypatch.setattr(choices.Plan, "again", lambda plan, **seen: asked.append(seen["done"]))
    monkeypatch.setattr(training.Training, "_stops_early", lambda self: self.position.epoch > 2)
    foretell(monkeypatch, 1e-9)
    hubel.fit(plates, out=tmp_path / "early", quiet=True)
    assert asked == [1]

    epoch = training.Training._epoch

    def pressed(self, watcher, interrupted):
        epoch(self, watcher, interrupted)
        if self.position.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training.Training, "_epoch", pressed)
    monkeypatch.setattr(training.Training, "_stops_early", lambda self: False)
    asked.clear()
    foretell(monkeypatch, 1e3)  # one epoch
    run = hubel.fit(plates, out=tmp_path / "interrupted", quiet=True)
    assert asked == [] and run.status == "finished" and run.recipe.epochs == 1
