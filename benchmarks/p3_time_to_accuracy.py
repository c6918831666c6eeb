"""P3: time to accuracy on Fashion-MNIST: the Keras MNIST example against `hubel fit fashion-mnist` with different budgets.

Keras' clock counts training alone (its first epoch with tracing inside; evaluation is outside). Ours is the wall clock of the
whole command: importing, reading, probing, training, validation, checkpoints, the test score and the report. Ours keeps a
tenth of the training data for validation and chooses nothing by the test part.

    python benchmarks/p3_time_to_accuracy.py --peers-python PEERS/bin/python [--parts keras quarter same default long]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from p1_keras_mnist_net import fashion
from protocol import (
    HERE,
    RESULTS,
    THREADS,
    Machine,
    Spread,
    Worker,
    arguments,
    environment_of,
    find_data,
    row,
    say,
    target,
    write,
)
from training_rate import write_arrays

from hubel.fitting import machine as machines

HUBEL = (sys.executable, "-c", "from hubel.cli import main; main()")
PARTS = ("keras", "keras, tf.data", "quarter", "same", "default", "long")
WANTED = 0.905
AROUND = 11.0  # seconds: start, reading, probing, the test score, the report
SPARE = 1 / 10  # of a longer limit: the pace is judged before the first epoch, and a machine's may change
KEPT = (
    "p3-measured.json"  # what was measured so far: the parts take an hour together, and may be run one by one
)


def main() -> None:
    given = arguments(__doc__, extra=_options)
    machine = Machine()
    find_data()
    measured: dict[str, Any] = {}
    if given.quick:
        run = ours(given.seeds[0], None, source="digits", epochs=1, threads=1)
        measured["default"] = [run]
    else:
        if (RESULTS / KEPT).exists():
            measured = json.loads((RESULTS / KEPT).read_text())
        if not measure(given, measured, machine):
            return
    result = {
        "id": "P3",
        "title": "Time to accuracy",
        "work": "Fashion-MNIST, test accuracy after training for so many seconds",
        "machine": measured.get("machine", machine.as_json(given.threads)),
        "versions": machines.versions() | measured.get("versions", {}),
        "rows": rows(measured),
        "targets": [] if given.quick else targets(measured),
        "measured": measured,
        "notes": [
            "Keras: seconds of training alone. hubel: seconds of the whole command, from start to report.",
            "Median, least and greatest over seeds.",
        ],
    }
    write("p3", result, given)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15, help="of Keras")


def measure(given: argparse.Namespace, measured: dict[str, Any], machine: Machine) -> bool:
    """Fill `measured`, part by part; False where the data are not here."""
    if (found := fashion()) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if any(part.startswith("keras") for part in given.parts):
            x_test, y_test = fashion("test") or found
            write_arrays(Path(folder), x=found[0], y=found[1], x_test=x_test, y_test=y_test)
        for part in given.parts:
            measured[part] = []
            for seed in given.seeds:
                if part.startswith("keras"):
                    if not given.peers_python:
                        say(f"skipped {part}: no interpreter with the peers was given")
                        continue
                    setting = "Keras/TF" + part.removeprefix("keras")
                    measured[part].append(
                        keras(
                            given.peers_python,
                            setting,
                            folder,
                            seed,
                            given.epochs,
                            measured,
                            threads=given.threads,
                        )
                    )
                else:
                    measured[part].append(ours(seed, budget_of(part, measured), threads=given.threads))
                say(f"{part}, seed {seed}: {summary(measured[part][-1])}")
                measured["machine"] = machine.as_json(given.threads)
                (RESULTS / KEPT).write_text(json.dumps(measured, indent=1) + "\n")
    return True


def keras(
    python: str, setting: str, folder: str, seed: int, epochs: int, measured: dict[str, Any], *, threads: int
) -> dict[str, Any]:
    """Seconds of training and test accuracy after every epoch."""
    seconds, curve = 0.0, []
    with Worker([python, str(HERE / "peers_worker.py")], threads=threads) as worker:
        answer = worker.ask(
            "build", setting=setting, network="mnist", folder=folder, batch=128, seed=seed, warm=False
        )
        measured.setdefault("versions", {}).update(answer["versions"])
        for _ in range(epochs):
            seconds += worker.ask("train", images=60_000)["seconds"]
            curve.append([round(seconds, 2), round(worker.ask("evaluate")["accuracy"], 4)])
            say(f"  {setting}: {curve[-1]}")
    return {"seed": seed, "curve": curve}


def ours(
    seed: int,
    budget: float | None,
    *,
    source: str = "fashion-mnist",
    epochs: int | None = None,
    threads: int = THREADS,
) -> dict[str, Any]:
    """One command; its whole time, its time in training, and the test accuracy that it reports."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["fit", source, "--seed", str(seed), "--out", f"{folder}/run", "--quiet"]
        words += [] if budget is None else ["--budget", f"{budget:.0f}s"]
        words += [] if epochs is None else ["--epochs", str(epochs)]
        start = time.perf_counter()
        environment = environment_of(threads) | {"HUBEL_CACHE": f"{folder}/cache"}
        done = subprocess.run([*HUBEL, *words], env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        about = json.loads(Path(folder, "run", "run.json").read_text())
        curve = [json.loads(line) for line in Path(folder, "run", "curves.jsonl").read_text().splitlines()]
    score = about["test"]["accuracy"]
    return {
        "seed": seed,
        "budget": budget,
        "wall_seconds": round(seconds, 1),
        "training_seconds": round(about["seconds"], 1),
        "accuracy": score["value"],
        "interval": [score["low"], score["high"]],
        "epochs": len(curve),
        "parameters": about["net"]["parameters"],
        "images_per_second": curve[-1]["examples_per_second"],
    }


def reached(curve: list[list[float]], accuracy: float) -> float | None:
    """Seconds until a curve first shows this accuracy; None where it never does."""
    return next((seconds for seconds, value in curve if value >= accuracy), None)


def keras_time(measured: dict[str, Any]) -> float:
    """Keras' median seconds to 90.5 %, or to the end of its run where a seed does not get there."""
    return Spread.of(
        [reached(run["curve"], WANTED) or run["curve"][-1][0] for run in measured["keras"]]
    ).median


def budget_of(part: str, measured: dict[str, Any]) -> float | None:
    """Seconds of training that leave room for what stands around it (start, reading, probe, test, report)."""
    if part == "default":
        return None
    if part == "long":
        return 1200.0
    if not measured.get("keras"):
        raise SystemExit("the budgets follow from Keras' time: run --parts keras first")
    limit = keras_time(measured) / (4 if part == "quarter" else 1)
    return max(5.0, limit - max(AROUND, SPARE * limit))


def summary(run: dict[str, Any]) -> str:
    if "curve" in run:
        return f"{run['curve'][-1][1]:.2%} after {run['curve'][-1][0]:.0f} s"
    return f"{run['accuracy']:.2%} after {run['wall_seconds']:.0f} s ({run['epochs']} epochs, {run['training_seconds']:.0f} s of training)"


def rows(measured: dict[str, Any]) -> list[dict[str, Any]]:
    made = []
    for part in ("keras", "keras, tf.data"):
        for number in (1, 5, 12, 15):
            runs = [run["curve"] for run in measured.get(part, []) if len(run["curve"]) >= number]
            if runs:
                seconds = Spread.of([curve[number - 1][0] for curve in runs])
                accuracy = Spread.of([100 * curve[number - 1][1] for curve in runs])
                name = f"Keras/TF{part.removeprefix('keras')}, {number} epochs"
                made.append(
                    row(
                        name,
                        accuracy,
                        "%",
                        note=f"{seconds.median:.0f} s [{seconds.low:.0f}–{seconds.high:.0f}]",
                    )
                )
    for part in ("quarter", "same", "default", "long"):
        if runs := measured.get(part):
            wall = Spread.of([run["wall_seconds"] for run in runs])
            budget = "no options" if runs[0]["budget"] is None else f"--budget {runs[0]['budget']:.0f}s"
            note = f"{wall.median:.0f} s [{wall.low:.0f}–{wall.high:.0f}], {runs[0]['epochs']} epochs, {runs[0]['parameters']:,} parameters"
            made.append(
                row(
                    f"hubel fit, {budget}", Spread.of([100 * run["accuracy"] for run in runs]), "%", note=note
                )
            )
    return made


def targets(measured: dict[str, Any]) -> list[dict[str, Any]]:
    made = []

    def judge(
        part: str, text: str, accuracy: float, limit: float | None, clock: str = "wall_seconds"
    ) -> None:
        if runs := measured.get(part):
            got, seconds = (
                Spread.of([run["accuracy"] for run in runs]),
                Spread.of([run[clock] for run in runs]),
            )
            enough = got.median >= accuracy and (limit is None or seconds.median <= limit)
            made.append(
                target(text, f"{got.median:.2%} after {seconds.median:.0f} s ({len(runs)} seeds)", enough)
            )

    if measured.get("keras"):
        whole = keras_time(measured)
        judge("quarter", f"90.5 % in 1/4 of Keras' {whole:.0f} s", WANTED, whole / 4)
        judge("same", f"93 % in Keras' {whole:.0f} s", 0.93, whole)
    judge("default", "no options: 94.0 % in 6 minutes", 0.94, 360)
    judge("long", "--budget 20m: 94.8 %", 0.948, 1205, "training_seconds")
    return made


if __name__ == "__main__":
    main()
