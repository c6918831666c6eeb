"""P14, second part: training a small LSTM that forecasts a series, batch 64, Adam 1e-3: windows a second.

python benchmarks/p14_forecast.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from protocol import (
    HERE,
    Compared,
    Machine,
    Spread,
    Worker,
    arguments,
    in_turn,
    rounded,
    row,
    say,
    target,
    write,
)

PEERS = (
    "Keras/TF",
    "Keras/TF, tf.data",
    "Keras/TF, tf.data, XLA",
    "torch + DataLoader",
    "torch, resident",
    "torch, resident, compiled",
)
BATCH, LENGTH, HORIZON, FEATURES, HIDDEN = 64, 48, 12, 4, 64


def main() -> None:
    given = arguments(__doc__)
    machine = Machine()
    windows = (2 if given.quick else 300) * BATCH
    if given.quick:
        given.pairs = 1
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "series.npy", made_series(max(windows, 10 * BATCH) + LENGTH + HORIZON - 1))
        measured = measure(folder, windows, given)
    rows, targets = measured["rows"], []
    for name, text in (
        ("Keras/TF", "≥ 1.5 × Keras/TF"),
        ("torch + DataLoader", "(beside it: the torch loop)"),
    ):
        found = measured["compared"].get(name)
        if found is not None:
            ratio = found.ratio
            said = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
            targets.append(target(text, said, ratio.median >= (1.5 if name == "Keras/TF" else 1.0)))
    keras = {name: pair for name, pair in measured["compared"].items() if name.startswith("Keras")}
    if keras:
        best = max(keras, key=lambda name: Spread.of(keras[name].theirs).median)
        ratio = keras[best].ratio
        said = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}] ({best})"
        targets.append(
            target("(beside it: the fastest setting of Keras/TF, 1.5 ×)", said, ratio.median >= 1.5)
        )
    write(
        "p14_forecast",
        {
            "id": "P14 forecast",
            "title": "Training a forecasting LSTM",
            "work": f"LSTM of {HIDDEN} units and a dense layer, windows of {LENGTH} steps of {FEATURES} features, the next {HORIZON} values of one, "
            f"batch {BATCH}, Adam 1e-3, windows/s of training",
            "machine": machine.as_json(given.threads),
            "versions": measured["versions"],
            "rows": rows,
            "targets": targets,
            "notes": [
                f"Precision probe: {measured['why']}.",
                f"Each measurement trains {windows:,} windows. Warm-up (construction, probe or compilation, ten batches) is outside windows/s.",
                "Ours and the resident torch loop cut windows out of the series as they go; the others hold an array of all windows.",
            ],
        },
        given,
    )


def measure(folder: str, windows: int, given: Any) -> dict[str, Any]:
    """All sides warmed up, then measured in turn."""
    worker_file = str(HERE / "p14_forecast_worker.py")
    sizes = {"length": LENGTH, "horizon": HORIZON, "hidden": HIDDEN, "batch": BATCH}
    warm_up, versions, skipped = {}, {}, {}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker([sys.executable, worker_file], threads=given.threads))
        answer = ours.ask("build", setting="hubel", folder=folder, **sizes)
        warm_up["hubel"], why, precision = answer["warm_up_seconds"], answer["why"], answer["precision"]
        versions |= answer["versions"]
        workers: dict[str, Worker] = {}
        for name in PEERS:
            if given.quick or (given.only and name not in given.only):
                continue
            if not given.peers_python:
                skipped[name] = "no interpreter with the peers was given"
                continue
            worker = stack.enter_context(Worker([given.peers_python, worker_file], threads=given.threads))
            try:
                answer = worker.ask("build", setting=name, folder=folder, **sizes)
                worker.ask("train", windows=windows)
            except RuntimeError as error:
                skipped[name] = str(error).splitlines()[0][:200]
                say(f"{name}: {error}")
                continue
            workers[name], warm_up[name] = worker, answer["warm_up_seconds"]
            versions |= answer["versions"]

        def rate(worker: Worker) -> Callable[[], float]:
            return lambda: windows / worker.ask("train", windows=windows)["seconds"]

        sides = {name: rate(worker) for name, worker in workers.items()} or {
            "hubel alone": lambda: float("inf")
        }
        compared = in_turn(rate(ours), sides, pairs=given.pairs, say=say)
    own = Spread.of([value for pair in compared.values() for value in pair.ours])
    rows = [row("hubel", own, "windows/s", note=precision, warm_up_seconds=rounded(warm_up["hubel"]))]
    peers: dict[str, Compared] = {name: pair for name, pair in compared.items() if name != "hubel alone"}
    rows += [
        row(
            name,
            Spread.of(pair.theirs),
            "windows/s",
            ratio=pair.ratio,
            warm_up_seconds=rounded(warm_up[name]),
        )
        for name, pair in peers.items()
    ]
    rows += [row(name, None, "windows/s", note=f"not measured: {reason}") for name, reason in skipped.items()]
    return {"rows": rows, "compared": peers, "versions": versions, "why": why}


def made_series(steps: int, seed: int = 0) -> np.ndarray:
    """An autoregression with a season and three series that accompany it [T, F], float32."""
    generator = np.random.default_rng(seed)
    noise, t = generator.normal(size=(steps, FEATURES)), np.arange(steps)
    level = np.zeros(steps)
    for k in range(2, steps):
        level[k] = 1.5 * level[k - 1] - 0.6 * level[k - 2] + noise[k, 0]
    others = [
        np.sin(t * 2 * np.pi / period) + 0.1 * noise[:, k] for k, period in ((1, 24), (2, 168), (3, 12))
    ]
    return np.stack([level, *others], axis=1).astype(np.float32)


if __name__ == "__main__":
    main()
