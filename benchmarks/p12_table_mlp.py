"""P12: an MLP (100, 100) on a made table of 100,000 rows and 30 columns, batch 256, 5 epochs: seconds of a whole fit, and accuracy.

python benchmarks/p12_table_mlp.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from protocol import HERE, Compared, Machine, Spread, Worker, arguments, in_turn, row, say, target, write
from training_rate import write_arrays

PEERS = ("scikit-learn", "torch", "torch, lean", "Keras/TF", "Keras/TF, tuned")
BATCH, EPOCHS, ROWS, TEST, COLUMNS = 256, 5, 100_000, 20_000, 30


def main() -> None:
    given = arguments(__doc__)
    machine = Machine()
    rows, test = (2_000, 500) if given.quick else (ROWS, TEST)
    if given.quick:
        given.pairs = 1
    accuracies: dict[str, list[float]] = {}
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        x, y = made_table(rows + test)
        write_arrays(Path(folder), x=x[:rows], y=y[:rows], x_test=x[rows:], y_test=y[rows:])

        def start(name: str, python: str) -> Callable[[], float]:
            worker = stack.enter_context(
                Worker([python, str(HERE / "table_worker.py")], threads=given.threads)
            )
            versions.update(
                worker.ask("build", setting=name, folder=folder, batch=BATCH, epochs=EPOCHS)["versions"]
            )
            worker.ask("fit", seed=99)  # imports, and whatever a first time costs
            found = accuracies.setdefault(name, [])

            def once() -> float:
                answer = worker.ask("fit", seed=len(found))
                found.append(answer["accuracy"])
                return float(answer["seconds"])

            return once

        ours = start("hubel", sys.executable)
        sides = {"hubel, whole run": start("hubel, whole run", sys.executable)}
        for name in PEERS:
            if given.quick or (given.only and name not in given.only):
                continue
            if not given.peers_python:
                skipped[name] = "no interpreter with the peers was given"
                continue
            try:
                sides[name] = start(name, given.peers_python)
            except RuntimeError as error:
                skipped[name] = str(error).splitlines()[0][:200]
        compared = in_turn(ours, sides, pairs=given.pairs, say=say)
    result = {
        "id": "P12",
        "title": "A small network on a table",
        "work": f"MLP (100, 100), {rows:,} × {COLUMNS} made table, batch {BATCH}, {EPOCHS} epochs of Adam 1e-3: seconds of a whole fit",
        "machine": machine.as_json(given.threads),
        "versions": versions,
        "rows": result_rows(compared, accuracies, skipped),
        "targets": [] if given.quick else targets(compared, accuracies),
        "notes": [
            "A fit begins with arrays in memory and ends with trained weights: scaling, precision probe (nothing remembered) and Keras' "
            "tracing are inside, imports are outside. A whole run has validation, checkpoints, scores, predictions and report as well.",
            f"Accuracy on {test:,} other rows: mean over the fits, each with another seed; ± is the standard deviation over seeds.",
        ],
    }
    write("p12", result, given)


def made_table(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns, and the class that a random network of 20 tanh units sees in them, with noise."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, COLUMNS))
    hidden = np.tanh(x @ generator.normal(size=(COLUMNS, 20)) / 3)
    score = hidden @ generator.normal(size=20) + 0.5 * generator.normal(size=count)
    return x.astype(np.float32), (score > 0).astype(np.int64)


def result_rows(
    compared: dict[str, Compared], accuracies: dict[str, list[float]], skipped: dict[str, str]
) -> list[dict[str, Any]]:
    """Seconds and accuracy of every side."""

    def said(name: str) -> str:
        found = accuracies[name]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        return f"accuracy {statistics.mean(found):.2%} ± {spread:.2%}"

    ours = Spread.of([seconds for pair in compared.values() for seconds in pair.ours])
    rows = [row("hubel", ours, "s", note=said("hubel"))]
    rows += [
        row(name, Spread.of(pair.theirs), "s", ratio=pair.ratio, note=said(name))
        for name, pair in compared.items()
    ]
    return rows + [row(name, None, "s", note=f"not measured: {why}") for name, why in skipped.items()]


def targets(compared: dict[str, Compared], accuracies: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Against scikit-learn in time and accuracy, against Keras in time."""
    found = []
    for name, most in (("scikit-learn", 0.8), ("Keras/TF", 0.25), ("Keras/TF, tuned", 0.25)):
        if name in compared:
            ratio = compared[name].ratio
            text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
            found.append(target(f"≤ {most} of the time of {name}", text, ratio.median <= most))
    if "scikit-learn" in compared:
        ours, theirs = (statistics.mean(accuracies[name]) for name in ("hubel", "scikit-learn"))
        text = f"{ours:.2%} against {theirs:.2%}"
        found.append(target("scikit-learn's accuracy (within 0.2 points)", text, ours >= theirs - 0.002))
    return found


if __name__ == "__main__":
    main()
