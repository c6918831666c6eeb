"""What a person sees while a network is fitted: a bar in a terminal, lines in a file, nothing where quiet is asked for."""

import io
import threading

import pytest
import torch
from rich.console import Console

from hubel.core.types import Record
from hubel.workflows import display as displays
from hubel.workflows.display import Display

ROW = {
    "epoch": 1,
    "loss": 0.5,
    "validation_loss": 0.625,
    "validation": {"accuracy": 0.75},
    "learning_rate": 0.01,
    "examples_per_second": 1234.0,
    "seconds": 30.0,
}


def made(*, terminal, quiet=False):
    display = Display(quiet=quiet)
    display.console = Console(
        file=io.StringIO(), force_terminal=terminal, quiet=quiet, width=100, highlight=False
    )
    return display


def record(step, loss=0.25):
    return Record(step=step, epoch=1, examples=8, learning_rate=0.1, scalars={"loss": torch.tensor(loss)})


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_a_bar_with_the_time_left(clock):
    before = threading.active_count()
    with made(terminal=True) as display:
        display.step(record(1), 2, 50)
        clock[0] += 1.0
        display.step(record(11, 0.125), 2, 50)
        seen = display.console.file.getvalue()
        assert "epoch 1/2" in seen and "loss 0.1250" in seen
        assert "9 s left" in seen  # 10 steps a second, 89 to go
        assert threading.active_count() == before, "nothing draws beside the training"
    assert display._bar is None


def test_between_two_looks_the_numbers_are_not_fetched(clock):
    class Unread(Record):
        @property
        def loss(self):
            pytest.fail("looked at the device")

    with made(terminal=True) as display:
        display.step(record(1), 1, 50)
        clock[0] += displays.REFRESH / 2
        display.step(Unread(step=2, epoch=1, examples=8, learning_rate=0.1, scalars={}), 1, 50)


def test_a_file_gets_a_line_an_epoch_and_no_bar(clock):
    with made(terminal=False) as display:
        display.step(record(1), 2, 50)
        clock[0] += 1.0
        display.step(record(2), 2, 50)
        display.epoch(ROW, 2)
        lines = display.console.file.getvalue().splitlines()
    header, line = lines
    assert header.split()[:2] == ["epoch", "loss"]
    assert line.split()[:6] == ["1/2", "0.5000", "0.6250", "75.00%", "1.00e-02", "1,234"]
    assert line.rstrip().endswith("30 s         30 s")
    assert "\x1b" not in display.console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(clock, terminal):
    with made(terminal=terminal, quiet=True) as display:
        display.say("something")
        display.step(record(1), 1, 5)
        clock[0] += 1.0
        display.step(record(2), 1, 5)
        display.epoch(ROW, 1)
        assert display.console.file.getvalue() == ""


def test_long_reading_shows_how_far_it_is(clock):
    with made(terminal=True) as display:
        count = display.counting("reading")
        count(1, 1000)
        assert display.console.file.getvalue() == ""
        clock[0] += 2.0
        count(500, 1000)
        assert "reading 500 of 1,000" in display.console.file.getvalue()
        count(1000, 1000)
        assert display._bar is None


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [
        (120, ["epoch", "accuracy", "learn. rate", "examples/s", "time", "left"], []),
        (70, ["epoch", "loss", "accuracy", "learn. rate", "left"], ["examples/s", "time"]),
        (60, ["epoch", "loss", "val. loss", "accuracy", "left"], ["learn. rate", "examples/s"]),
    ],
)
def test_a_narrow_terminal_shows_fewer_columns(width, shown, hidden):
    display = made(terminal=False)
    display.console.width = width
    display.epoch(ROW, 3)
    display.epoch(ROW | {"epoch": 2}, 3)
    header, *rows = display.console.file.getvalue().splitlines()
    assert all(name in header for name in shown) and not any(name in header for name in hidden)
    assert all(len(row) == len(header) for row in rows) and len(header) <= width
    assert "1/3" in rows[0] and "2/3" in rows[1] and "75.00%" in rows[0]


def test_facts_are_wrapped_without_spaces_at_the_end():
    display = made(terminal=False)
    display.console.width = 40
    display.facts(
        "Found:", {"name": "some words that are longer than the line is wide", "other": "x" * 70, "none": ""}
    )
    lines = display.console.file.getvalue().splitlines()
    assert lines[0] == "Found:" and lines[1] == "  name   some words that are longer than"
    assert lines[2] == "         the line is wide"
    assert "".join(line.split()[-1] for line in lines if "xxx" in line) == "x" * 70
    assert all(line == line.rstrip() and len(line) <= 40 for line in lines)


class Closed(io.StringIO):
    """A terminal that is not there any more."""

    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_ends_nothing(terminal, clock):
    display = Display()
    display.console.file = Closed()
    if terminal:
        display.console._force_terminal = True
    with display:
        display.say("Found")
        display.step(record(1), 2, 50)
        clock[0] += 1.0
        display.step(record(11), 2, 50)
        display.epoch(ROW, 2)
        display.facts("Chosen:", {"a": "b"})
    assert display.console.quiet
