"""What a fit shows while it works, on stderr: lines where the output is a file, a live bar where it is a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from hubel.core.types import Record
from hubel.workflows.choices import duration

FILE_WIDTH = 120  # where stderr is a file
REFRESH = 0.5  # seconds between two looks at the numbers: looking waits for the device


class Display:
    """Progress on stderr; `quiet` shows nothing. Use it with `with`, so that the bar is closed whatever happens."""

    def __init__(self, *, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
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
        self.console.print(text, markup=False)

    def facts(self, title: str, rows: dict[str, str]) -> None:
        """A small table of names and sentences."""
        self.console.print(title, style="bold", markup=False)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in rows.items():
            table.add_row(Text(f"  {name}"), Text(text))
        self.console.print(table, soft_wrap=False)

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
        scores = row.get("validation", {})
        if not self._header:
            names = "".join(f"{name:>{_width(name)}}" for name in scores)
            self.say(
                f"{'epoch':>9}{'loss':>9}{'val. loss':>11}{names}{'learn. rate':>13}{'examples/s':>12}{'time':>13}{'left':>13}"
            )
            self._header = True
        shown = "".join(f"{_score(name, value):>{_width(name)}}" for name, value in scores.items())
        validation = f"{row['validation_loss']:.4f}" if "validation_loss" in row else "–"
        where = f"{row['epoch']}/{epochs}"
        left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
        self.say(
            f"{where:>9}{row['loss']:>9.4f}{validation:>11}{shown}{row['learning_rate']:>13.2e}"
            f"{row['examples_per_second']:>12,.0f}{duration(row['seconds']):>13}{duration(left) if left else '–':>13}"
        )

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
            bar.start()
        assert self._task is not None
        bar.update(self._task, completed=done, total=total, description=text, refresh=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def _width(name: str) -> int:
    """Characters of a column."""
    return max(12, len(name) + 2)


def _score(name: str, value: float) -> str:
    return f"{value:.2%}" if name in ("accuracy", "f1_macro", "balanced_accuracy") else f"{value:.4g}"


def standard_error_is_terminal() -> bool:
    """Whether a person is looking."""
    return sys.stderr.isatty()
