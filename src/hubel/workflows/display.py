"""What a fit shows while it works, on stderr: lines where the output is a file, a live bar where it is a terminal."""

from __future__ import annotations

import math
import os
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hubel.core.types import Record
from hubel.workflows.choices import duration

FILE_WIDTH = 120  # where stderr is a file
REFRESH = 0.5  # seconds between two looks at the numbers: looking waits for the device


class Display:
    """Progress on stderr; `quiet` shows nothing. Use it with `with`, so that the bar is closed whatever happens."""

    def __init__(self, *, quiet: bool = False):
        self.console = _Patient(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = FILE_WIDTH
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._shown = 0.0
        self._began: tuple[float, int] | None = None
        self._header = False

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def say(self, text: str) -> None:
        """A line of text, as it is."""
        self._print(text, markup=False)

    def facts(self, title: str, rows: dict[str, str]) -> None:
        """A small table of names and sentences."""
        self._print(title, style="bold", markup=False)
        indent = 4 + max(map(len, rows), default=0)
        for name, text in rows.items():
            lines = textwrap.wrap(text, max(20, self.console.width - indent)) or [""]
            for number, line in enumerate(lines):
                head = f"  {name}" if number == 0 else ""
                self._print(f"{head:<{indent}}{line}".rstrip(), markup=False)

    def counting(self, what: str) -> Callable[[int, int], None]:
        """A callback `(done, total)` for long reading work; it shows itself only when the work is long."""
        began = time.monotonic()

        def count(done: int, total: int) -> None:
            now = time.monotonic()
            if done >= total:
                self._close()
            elif now - began > 1 and now - self._shown > REFRESH:
                self._shown = now
                self._update(done, total, f"{what} {done:,} of {total:,}")

        return count

    def step(self, record: Record, epochs: int, steps_per_epoch: int) -> None:
        """A training step was made."""
        now = time.monotonic()
        if now - self._shown < REFRESH and record.step > 1:
            return
        self._shown = now
        if self._began is None:
            self._began = (now, record.step)
        if not self.console.is_terminal:
            return
        done, total = record.step, epochs * steps_per_epoch
        left = (now - self._began[0]) / max(done - self._began[1], 1) * (total - done)
        remaining = f", {duration(left)} left" if done > self._began[1] else ""
        text = f"epoch {record.epoch}/{epochs}  loss {record.loss:.4f}{remaining}"
        self._update(done, total, text)

    def epoch(self, row: dict[str, Any], epochs: int) -> None:
        """An epoch ended: one line."""
        left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
        columns = [
            ("epoch", 9, f"{row['epoch']}/{epochs}"),
            ("loss", 9, f"{row['loss']:.4f}"),
            ("val. loss", 11, f"{row['validation_loss']:.4f}" if "validation_loss" in row else "–"),
            *((name, _width(name), _score(name, value)) for name, value in row.get("validation", {}).items()),
            ("left", 13, duration(left) if left else "–"),
        ]
        more = (
            ("learn. rate", 13, f"{row['learning_rate']:.2e}"),
            ("examples/s", 12, f"{row['examples_per_second']:,.0f}"),
            ("time", 13, duration(row["seconds"])),
        )
        room = self.console.width - sum(width for _, width, _ in columns)
        for column in more:  # as many as a narrow terminal has room for
            if (room := room - column[1]) >= 0:
                columns.insert(-1, column)
        if not self._header:
            self.say("".join(f"{name:>{width}}" for name, width, _ in columns))
            self._header = True
        self.say("".join(f"{text:>{width}}" for _, width, text in columns))

    def iteration(self, row: dict[str, Any], tol: float) -> None:
        """An iteration of the solver of an equation: one line."""

        def number(value: float | None) -> str:
            return "–" if value is None else f"{value:.1e}"

        columns = (
            ("iteration", 10, f"{row['iteration']:,}"),
            ("weights", 9, f"{row['num_weights']:,}"),
            ("points", 9, f"{row['num_points']:,}"),
            ("residual", 10, number(math.sqrt(row["loss"]))),
            ("estimate", 10, number(row["estimate"])),
            ("error", 10, number(row["error"])),
            ("asked", 9, f"{tol:.0e}"),
            ("time", 9, duration(row["seconds"])),
        )
        if row.get("window") is not None:
            columns = (("window", 8, str(row["window"])), *columns)
        if not self._header:
            self.say("".join(f"{name:>{width}}" for name, width, _ in columns))
            self._header = True
        self.say("".join(f"{text:>{width}}" for _, width, text in columns))

    def _print(self, what: Any, **options: Any) -> None:
        """Print where somebody looks; a terminal that was closed, or a pipe that nobody reads, must not end the work."""
        try:
            self.console.print(what, **options)
        except OSError:
            self.console.quiet = True

    def _update(self, done: int, total: int, text: str) -> None:
        if not self.console.is_terminal or self.console.quiet:
            return
        bar = self._bar
        if bar is None:
            bar = self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                console=self.console,
                transient=True,
                auto_refresh=False,  # no thread that draws ten times a second beside the training
            )
            self._task = bar.add_task(text, total=total)
            with suppress(OSError):
                bar.start()
        assert self._task is not None
        try:
            bar.update(self._task, completed=done, total=total, description=text, refresh=True)
        except OSError:
            self.console.quiet = True

    def _close(self) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()
            self._bar = self._task = None


def _width(name: str) -> int:
    """Characters of a column."""
    return max(12, len(name) + 2)


class _Patient(Console):
    """A console that falls silent where a broken pipe would make rich end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def _score(name: str, value: float) -> str:
    return (
        f"{value:.2%}"
        if name in ("accuracy", "f1_macro", "balanced_accuracy", "mean_iou", "pixel_accuracy")
        else f"{value:.4g}"
    )


def standard_error_is_terminal() -> bool:
    """Whether a person is looking."""
    return sys.stderr.isatty()
