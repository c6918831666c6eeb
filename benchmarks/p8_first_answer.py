"""P8: seconds from the shell to the first answer: `hubel --help`, `hubel predict RUN picture.png`, and `import torch` beside them.

python benchmarks/p8_first_answer.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from protocol import Machine, Spread, arguments, environment_of, in_turn, row, say, target, write
from training_rate import made_images

HUBEL = (sys.executable, "-c", "from hubel.cli import main; main()")
TORCH = (sys.executable, "-c", "import torch")
NOTHING = (sys.executable, "-c", "pass")


def main() -> None:
    given = arguments(__doc__, pairs=9)
    machine = Machine()
    os.environ.update(environment_of(given.threads))
    if given.quick:
        given.pairs = 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures(folder / "data", 20 if given.quick else 100)
        once(
            HUBEL,
            "fit",
            folder / "data",
            "--net",
            "simple_cnn",
            "--epochs",
            1,
            "--precision",
            "float32",
            "--out",
            folder / "run",
            "--quiet",
        )
        picture = next((folder / "data").rglob("*.png"))
        answers = {
            "hubel --help": lambda: once(HUBEL, "--help"),
            "hubel predict RUN picture.png": lambda: once(HUBEL, "predict", folder / "run", picture),
            "python -c pass": lambda: once(NOTHING),
        }
        for ask in answers.values():
            ask()
        compared = in_turn(lambda: once(TORCH), answers, pairs=given.pairs, say=say)
    found = {name: Spread.of(pair.theirs) for name, pair in compared.items()}
    torch = Spread.of([v for pair in compared.values() for v in pair.ours])
    help_, predict = found["hubel --help"], found["hubel predict RUN picture.png"]
    targets = [
        target("`hubel --help` ≤ 0.3 s", f"{help_.median:.2f} s", help_.median <= 0.3),
        target(
            "`hubel predict RUN file` ≤ 2.5 s (with torch)", f"{predict.median:.2f} s", predict.median <= 2.5
        ),
    ]
    from hubel.fitting import machine as machines

    result = {
        "id": "P8",
        "title": "The first answer",
        "work": "seconds from starting the process to its end, files in the system's cache; a network fitted to a folder of PNG files of 28 × 28",
        "machine": machine.as_json(given.threads),
        "versions": machines.versions(),
        "rows": [
            *[row(name, values, "s") for name, values in found.items()],
            row("python -c 'import torch'", torch, "s"),
        ],
        "targets": [] if given.quick else targets,
        "notes": ["A prediction from an exported network (≤ 0.6 s) comes with the export."],
    }
    write("p8", result, given)


def once(command: tuple[str, ...], *words: object) -> float:
    """Seconds until the command has ended. Raises `RuntimeError` with what it said, where it failed."""
    start, before = time.perf_counter(), used()
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if os.environ.get("BENCHMARK_CLOCK") == "processor":
        seconds = used() - before
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr[-2000:]}")
    return seconds


def used() -> float:
    """Processor seconds of all commands so far."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def pictures(folder: Path, count: int) -> None:
    """`count` PNG files in class folders."""
    from PIL import Image

    x, y = made_images(count, (28, 28, 1))
    for row_number, (pixels, number) in enumerate(zip(x, np.minimum(y, 4) // 2, strict=True)):
        place = folder / f"class-{number}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(place / f"{row_number:04d}.png")


if __name__ == "__main__":
    main()
