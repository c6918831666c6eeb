"""Kill -9 at random moments of a run, resume, and compare the final weights bit by bit with the run that nobody killed.

    python benchmarks/kill_resume.py                 # 200 kills, some minutes
    python benchmarks/kill_resume.py --quick         # 2

The runs are small (a few convolutions with batch norm and dropout, augmentation, averaged weights) and write a checkpoint
after every step, so that kills fall before, between and inside writes. Every run is its own process, and is killed again
while it resumes in half of the cases. Prints a line a kill; exits 1 where any run ended with other weights.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

import hubel
from hubel import fitting, nets
from hubel.data import augmentation
from hubel.workflows import training

FORK = multiprocessing.get_context(
    "fork"
)  # the children have torch imported already; nothing was computed before
FIXED = fitting.Precision(dtype="float32", layout="contiguous", threads=1)
CHANGES = (augmentation.Flip(), augmentation.Shift(pixels=1), augmentation.Noise(), augmentation.Erase())
CHOICES = {
    "sgd, batch norm, average": fitting.Recipe(
        epochs=5, optimizer=fitting.SGD(learning_rate=0.05), average=0.9, max_grad_norm=1.0
    ),
    "muon, early stopping": fitting.Recipe(
        epochs=9,
        optimizer=fitting.Muon(),
        schedule=fitting.Plateau(patience=1, warmup=0.1),
        early_stopping=fitting.EarlyStopping(patience=2),
        average=False,
        max_grad_norm=False,
    ),
    "adamw, simple_cnn": fitting.Recipe(
        epochs=4, optimizer=fitting.AdamW(), schedule=fitting.OneCycle(), average=0.95, max_grad_norm=False
    ),
}


class Small(nn.Sequential):
    """A network that is not hubel's own, so that it is passed again to `resume` (with other initial weights)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.MaxPool2d(3),
            nn.Flatten(),
            nn.Linear(128, 3),
        )


def data() -> tuple[np.ndarray, np.ndarray]:
    """240 pictures of 12 × 12 in three classes."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.integers(0, 160, (240, 12, 12)) + 40 * y[:, None, None] * (np.arange(12) > 5)
    return x.clip(0, 255).astype(np.uint8), y


def net_for(name: str) -> Any:
    """A fresh network for this choice."""
    return nets.simple_cnn if "simple_cnn" in name else Small()


def work(name: str, folder: Path, like: Path | None, resumed: bool, began: Any, ended: Any) -> None:
    """The life of one process: a whole run, or the rest of one. `began` and `ended` are set to the times of its training."""
    run = training.Training.run

    def timed(self: training.Training, watcher: Any) -> str:
        began.value = time.monotonic()
        why = run(self, watcher)
        ended.value = time.monotonic()
        return why

    training.Training.run = timed
    training.CHECKPOINT_SHARE = math.inf  # a checkpoint after every step
    hubel.show.report = lambda folder: ""  # its own tests are elsewhere
    torch.manual_seed(os.getpid() if resumed else 0)
    x, y = data()
    if resumed:
        own = None if "simple_cnn" in name else net_for(name)
        hubel.resume(folder, data=x, y=y, net=own, quiet=True, checkpoint_seconds=0)
        return
    recipe = fitting.Recipe(
        **{
            **{"batch_size": 16, "seed": 3, "augmentation": CHANGES, "precision": FIXED},
            **{k: v for k, v in vars(CHOICES[name]).items() if v is not None and k != "seed"},
        }
    )
    hubel.fit(x, y, net=net_for(name), recipe=recipe, like=like, out=folder, quiet=True, checkpoint_seconds=0)


def process(
    name: str, folder: Path, *, like: Path | None = None, kill_after: float | None = None
) -> float | None:
    """Run (or go on) in a process of its own. Answers the seconds of its training, or None where it was killed `kill_after`
    seconds after the training began (after the process began, where that is negative)."""
    resumed = (folder / "run.json").exists()
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
    began, ended = FORK.Value("d", 0.0, lock=False), FORK.Value("d", 0.0, lock=False)
    child = FORK.Process(target=work, args=(name, folder, like, resumed, began, ended))
    child.start()
    while kill_after is not None and kill_after > 0 and not began.value and child.is_alive():
        time.sleep(0.001)
    child.join(None if kill_after is None else abs(kill_after))
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        return None
    if child.exitcode != 0:
        raise RuntimeError(f"{folder}: the process ended with {child.exitcode}")
    return ended.value - began.value


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on kills: the chosen weights, the curves, the scores."""
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    about = json.loads((folder / "run.json").read_text())
    rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    timed = ("seconds", "examples_per_second")
    return {
        "chosen": manifest["generations"][0]["files"]["chosen"]["sha256"],
        "curves": [{k: v for k, v in row.items() if k not in timed} for row in rows],
        "status": about["status"],
        "stopped": about["stopped"],
        "test": about["test"],
    }


def where(folder: Path) -> str:
    """How far the run had come on disk."""
    try:
        newest = json.loads((folder / "checkpoints" / "manifest.json").read_text())["generations"][0]
        return f"step {newest['step']}" + (", concluding" if "chosen" in newest["files"] else "")
    except FileNotFoundError:
        return "before the first checkpoint" if (folder / "run.json").exists() else "before run.json"


def trials(folder: Path, kills: int, seed: int) -> int:
    """Kill until `kills` are done; answers how many runs ended otherwise than the one that nobody killed."""
    chance = random.Random(seed)
    reference: dict[str, dict[str, Any]] = {}
    lasting: dict[str, float] = {}
    wrong = done = number = 0
    while done < kills:
        name = list(CHOICES)[number % len(CHOICES)]
        if name not in reference:
            process(name, folder / f"first-{number}")
            lasting[name] = process(name, folder / f"like-{number}", like=folder / f"first-{number}") or 0.0
            reference[name] = outcome(folder / f"like-{number}")
            if reference[name] != outcome(folder / f"first-{number}"):
                raise RuntimeError(
                    f"{name}: two runs of one recipe differ, so there is nothing to compare with"
                )
        run, deaths, finished = folder / f"killed-{number}", [], False
        while not finished:
            again = done < kills and (not deaths or chance.random() < 0.5)
            seconds = moment(chance, lasting[name]) if again else None
            finished = process(name, run, kill_after=seconds) is not None
            if not finished:
                done += 1
                deaths.append(where(run))
        found = outcome(run)
        differing = [part for part, value in found.items() if value != reference[name][part]]
        same = not differing
        wrong += not same
        print(
            f"{done:4d} kills  {name:26s} {'identical' if same else 'DIFFERS: ' + ', '.join(differing)}  killed: {'; '.join(deaths) or 'too late'}",
            flush=True,
        )
        if same:
            shutil.rmtree(run)
        number += 1
    print(f"{number} runs, {done} kills, {wrong} ended otherwise than the run that nobody killed")
    return wrong


def moment(chance: random.Random, lasting: float) -> float:
    """When to kill: mostly while it trains, sometimes while it starts or concludes."""
    return chance.uniform(0, 1.1 * lasting) if chance.random() < 0.9 else -chance.uniform(0, 2 * lasting)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--kills", type=int, default=200)
    words.add_argument("--quick", action="store_true", help="2 kills")
    words.add_argument("--seed", type=int, default=int(time.time()))
    given = words.parse_args()
    print(f"torch {torch.__version__}, seed {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(1 if trials(Path(folder), 2 if given.quick else given.kills, given.seed) else 0)


if __name__ == "__main__":
    main()
