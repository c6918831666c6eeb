"""What the loop, the recorder and the display cost together, on a step of about 10 ms.

Ours is `hubel.fitting.steps` with all that a run does at every step: seeded randomness, the norm of the gradient and the check
that it is finite, the record, the sum of the loss, a live display on a terminal, and a line of the curves an epoch. The other
side is a bare loop of the same batches, forward and backward pass and optimizer. The difference stands against 10 ms.

    python benchmarks/overhead.py
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from protocol import Machine, Spread, arguments, clock, in_turn, rounded, row, say, target, write
from training_rate import made_images

STEP = 10e-3  # seconds


class Terminal(io.StringIO):
    """Where the bar is drawn: as long as a terminal's answer, and nobody looks."""

    def isatty(self) -> bool:
        return True


def main() -> None:
    given = arguments(__doc__, pairs=20)
    machine = Machine()
    import torch

    torch.set_num_threads(given.threads)
    from hubel import fitting

    sides = Sides(
        threads=given.threads, images=(4 if given.quick else 100) * 128, batch=32 if given.quick else 128
    )
    if given.quick:
        given.pairs = 2
    sides.ours()
    sides.bare()
    steps = sides.batches.steps_per_epoch
    pair = in_turn(sides.ours, {"bare loop": sides.bare}, pairs=given.pairs, say=say)["bare loop"]
    extra = Spread.of([(a - b) / steps for a, b in zip(pair.ours, pair.theirs, strict=True)])
    share = extra.median / STEP
    bare = Spread.of([seconds / steps * 1e3 for seconds in pair.theirs])
    whole = Spread.of([seconds / steps * 1e3 for seconds in pair.ours])
    parts = sides.parts()
    result = {
        "id": "overhead",
        "title": "What the loop costs",
        "work": f"the Keras MNIST example network, batch 128, {steps} steps a measurement; ours with record and display beside the bare loop",
        "machine": machine.as_json(given.threads),
        "versions": fitting.machine.versions(),
        "rows": [
            row("hubel: steps, record, display", whole, "ms a step", ratio=pair.ratio),
            row("bare loop", bare, "ms a step"),
            row(
                "difference", Spread.of([v * 1e3 for v in (extra.low, extra.median, extra.high)]), "ms a step"
            ),
            *[
                row(f"of it: {name}", Spread.of([v * 1e3 for v in values]), "ms a step")
                for name, values in parts.items()
            ],
        ],
        "targets": [
            target(
                "under 3 % of a step of 10 ms", f"{share:.2%} ({extra.median * 1e3:.3f} ms)", share < 0.03
            ),
        ],
        "notes": [
            f"Pairs in which the other side was the slower one: {sum(a < b for a, b in zip(pair.ours, pair.theirs, strict=True))} of {given.pairs}.",
            f"As measured, at {rounded(bare.median)} ms a step: {pair.ratio.median - 1:.2%}.",
        ],
    }
    write("overhead", result, given)


class Sides:
    """One network, one optimizer, two loops."""

    def __init__(self, *, threads: int, images: int, batch: int):
        import torch
        from rich.console import Console

        from hubel import fitting, nets, objectives
        from hubel.data import from_arrays
        from hubel.data.batches import Batches
        from hubel.data.preprocessing import scaling_of
        from hubel.workflows.display import Display

        x, y = made_images(images, (28, 28, 1))
        data = from_arrays(x, y)
        precision = fitting.Precision(dtype="bfloat16", layout="channels_last", threads=threads)
        self.device = torch.device("cpu")
        torch.manual_seed(0)
        self.net = precision.place(nets.simple_cnn(inputs=data.shape), self.device)
        self.objective = objectives.CrossEntropy(10)
        self.optimizer = fitting.AdamW(learning_rate=1e-3).build(self.net)
        self.autocast = precision.autocast(self.device)
        self.rule = fitting.Backprop(self.optimizer, autocast=self.autocast)
        self.batches = Batches(data=data, scaling=scaling_of(data), batch_size=batch, layout=precision.layout)
        self.display = Display()
        self.display.console = Console(file=Terminal(), force_terminal=True, width=120)
        self.folder = Path(tempfile.mkdtemp())
        self.epoch = 0

    def ours(self) -> float:
        """Seconds of an epoch through hubel, written down and shown."""
        from hubel.core import files
        from hubel.fitting import steps

        self.epoch += 1
        start = clock()
        loss_sum: Any = 0.0
        for record in steps(
            self.net,
            self.objective,
            self.batches.epoch(self.epoch),
            rule=self.rule,
            schedule=lambda step: 1.0,
            epoch=self.epoch,
        ):
            loss_sum = loss_sum + record.scalars["loss"].double() * record.examples
            self.display.step(record, 10, self.batches.steps_per_epoch)
        files.append_line(
            self.folder / "curves.jsonl", f'{{"epoch": {self.epoch}, "loss": {float(loss_sum)}}}'
        )
        seconds = clock() - start
        self.display._close()
        return seconds

    def bare(self) -> float:
        """Seconds of an epoch of the same operations in a loop of one's own."""
        self.epoch += 1
        start = clock()
        self.net.train()
        for batch in self.batches.epoch(self.epoch):
            self.optimizer.zero_grad(set_to_none=True)
            with self.autocast:
                loss = self.objective(self.net, batch).total
            loss.backward()
            self.optimizer.step()
        loss.item()
        return clock() - start

    def parts(self, repeats: int = 200) -> dict[str, list[float]]:
        """Seconds of what `steps` adds, piece by piece."""
        import torch

        from hubel.core import random
        from hubel.core.types import Record

        batch = next(self.batches.epoch(1))
        self.objective(self.net, batch).total.backward()
        record = Record(step=2, epoch=1, examples=128, learning_rate=0.1, scalars={"loss": torch.tensor(1.0)})

        def seeded() -> None:
            with random.torch_seeded(0, "forward", 1, 1):
                pass

        pieces = {
            "seeding the step": seeded,
            "norm of the gradient": lambda: bool(torch.isfinite(self.rule._grad_norm())),
            "train mode": self.net.train,
            "display": lambda: self.display.step(record, 10, 100),
        }
        found = {}
        for name, piece in pieces.items():
            times = []
            for _ in range(5):
                start = clock()
                for _ in range(repeats):
                    piece()
                times.append((clock() - start) / repeats)
            found[name] = times
        self.display._close()
        return found


if __name__ == "__main__":
    main()
