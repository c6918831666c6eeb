"""What P1, P2 and P13 share: images (or characters) a second of training one network, ours against every peer in turn."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from protocol import HERE, Compared, Spread, Worker, in_turn, rounded, row, say

EPOCH = 60_000  # images: the figure with warm-up inside is over one such epoch


@dataclass
class Rates:
    """What was measured: images a second; or characters, `each` of them in one example."""

    unit: str = "images/s"
    each: int = 1
    compared: dict[str, Compared] = field(default_factory=dict)
    warm_up: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    precision: str = ""
    why: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> Spread:
        return Spread.of([value for pair in self.compared.values() for value in pair.ours])

    def best(self, start: str) -> tuple[str, Spread] | None:
        """The fastest setting of the peer whose name begins so, with ours over it."""
        found = {name: pair for name, pair in self.compared.items() if name.startswith(start)}
        if not found:
            return None
        name = max(found, key=lambda n: Spread.of(found[n].theirs).median)
        return name, found[name].ratio

    def ratio(self, name: str) -> Spread | None:
        return self.compared[name].ratio if name in self.compared else None

    def rows(self) -> list[dict[str, Any]]:
        unit = self.unit
        rows = [row("hubel", self.ours, unit, note=self.precision, **self._warm("hubel", self.ours.median))]
        for name, pair in self.compared.items():
            if name == "hubel alone":
                continue
            theirs = Spread.of(pair.theirs)
            rows.append(row(name, theirs, unit, ratio=pair.ratio, **self._warm(name, theirs.median)))
        rows += [row(name, None, unit, note=f"not measured: {why}") for name, why in self.skipped.items()]
        return rows

    def _warm(self, name: str, rate: float) -> dict[str, float]:
        """Seconds of building, compiling, probing and ten batches; and the rate of a first epoch with that inside."""
        seconds = self.warm_up[name]
        return {
            "warm_up_seconds": rounded(seconds),
            "first_epoch_rate": rounded(self.each * EPOCH / (seconds + self.each * EPOCH / rate)),
        }


def measure(
    network: str,
    folder: str,
    peers: Sequence[str],
    given: argparse.Namespace,
    *,
    images: int,
    batch: int,
    after: Callable[[Worker], None] = lambda ours: None,
    unit: str = "images/s",
    each: int = 1,
) -> Rates:
    """Start all sides, warm them up, and measure in turn; `after` may ask our worker for more between warm-up and pairs."""
    rates = Rates(unit=unit, each=each)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(
            Worker([sys.executable, str(HERE / "hubel_worker.py")], threads=given.threads)
        )
        answer = ours.ask("build", network=network, folder=folder, batch=batch)
        rates.warm_up["hubel"], rates.precision, rates.why = (
            answer["warm_up_seconds"],
            answer["precision"],
            answer["why"],
        )
        rates.versions |= answer["versions"]
        after(ours)
        workers: dict[str, Worker] = {}
        for name in peers:
            if given.quick or (given.only and name not in given.only):
                continue
            if not given.peers_python:
                rates.skipped[name] = "no interpreter with the peers was given"
                continue
            worker = stack.enter_context(
                Worker([given.peers_python, str(HERE / "peers_worker.py")], threads=given.threads)
            )
            try:
                answer = worker.ask("build", setting=name, network=network, folder=folder, batch=batch)
                worker.ask(
                    "train", images=images
                )  # this size as well, once (a pipeline is filled, a graph is traced)
            except RuntimeError as error:
                rates.skipped[name] = str(error).splitlines()[0][:200]
                say(f"{name}: {error}")
                continue
            workers[name], rates.warm_up[name] = worker, answer["warm_up_seconds"]
            rates.versions |= answer["versions"]
            say(f"{name}: warm-up {answer['warm_up_seconds']:.1f} s")

        def rate(worker: Worker) -> Callable[[], float]:
            return lambda: each * images / worker.ask("train", images=images)["seconds"]

        sides = {name: rate(worker) for name, worker in workers.items()} or {
            "hubel alone": lambda: float("inf")
        }
        rates.compared = in_turn(rate(ours), sides, pairs=given.pairs, say=say)
    return rates


def write_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """`NAME.npy` for each, which is how all sides receive the same data."""
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


def made_images(count: int, shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images [N, H, W, C] uint8 of ten classes, which a network can tell apart by their brightness."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 10, count)
    x = generator.integers(0, 130, (count, *shape), dtype=np.uint8) + (12 * y).astype(np.uint8).reshape(
        -1, 1, 1, 1
    )
    return x, y
