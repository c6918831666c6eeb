"""Ten thousand hostile inputs: each must end in a clear error or succeed honestly, in bounded time and memory, and run no code.

    python benchmarks/hostile_inputs.py                        # 10,000 cases, some twenty minutes on one core
    python benchmarks/hostile_inputs.py --quick                # 200
    python benchmarks/hostile_inputs.py --seed 3 --only 4711   # one case again, with its traceback

Pictures, arrays, tables and run folders that are cut, flipped, mis-typed, empty or promise giants, and strange arrays in memory,
go through load, open_run, predict, evaluate, report, resume and fit(like=). Every case is a process of its own with a limit on its
memory. A clear error is one of hubel's or a ValueError, TypeError or OSError, of exactly that type, with a text that names the file (data and network
that do not go together excepted). A training that is still under way when its time is over is stopped as by Ctrl-C, and must end well. Exits 1 where one did not.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hostile_files
import hostile_runs
import numpy as np
import torch

import hubel
from hubel.core import errors
from hubel.fitting import Precision, Recipe
from hubel.workflows import list_runs
from hubel.workflows.display import Display

KINDS = ("picture", "array file", "table", "run folder", "run folder", "memory")
SECONDS = 20.0  # until a case is stopped as by Ctrl-C; twice as long, until it is killed
ADDRESSES = 3 * 2**30  # bytes of address space beyond what the process begins with
GROWTH = 1.5 * 2**30  # bytes of memory that a case may really take
CLEAR = (
    ValueError, TypeError, OSError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError,
    errors.ContractError, errors.UnreadableData, errors.NonFiniteLoss, errors.RunBusy, errors.DamagedRun, errors.MissingExtra,
)  # fmt: skip
NUM = 24


@dataclass(frozen=True)
class Bases:
    """What is whole: files of every kind, and runs fitted to some of them."""

    folder: Path
    contents: list[bytes]
    x: np.ndarray
    y: np.ndarray

    @property
    def runs(self) -> list[Path]:
        return sorted((self.folder / "runs").iterdir())


def prepare(folder: Path) -> Bases:
    """Whole files of every kind; a finished run of pictures and of features, and interrupted ones."""
    rng = np.random.default_rng(0)
    y = np.arange(NUM) % 2
    x = (rng.integers(0, 120, (NUM, 12, 12)) + 100 * y[:, None, None]).astype(np.uint8)
    for k in range(NUM):
        path = folder / "photos" / "ab"[y[k]] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hostile_files.picture("png", x[k]))
    np.savez(folder / "features.npz", x=x.reshape(NUM, -1)[:, :6].astype("float32"), y=y)
    np.savez(folder / "amounts.npz", x=x.reshape(NUM, -1)[:, :6].astype("float32"), y=x.mean((1, 2)))
    contents = [hostile_files.picture(kind, x[0]) for kind in hostile_files.PICTURES]
    contents += [hostile_files.arrays(kind, x, y) for kind in hostile_files.ARRAYS]
    common: dict[str, Any] = {"batch_size": 8, "precision": Precision(), "augmentation": (), "seed": 1}
    for name, source, recipe in (
        ("pictures", "photos", Recipe(epochs=2, **common)),
        ("features", "features.npz", Recipe(epochs=2, **common)),
        (
            "amounts",
            "amounts.npz",
            Recipe(epochs=2, early_stopping=hubel.fitting.EarlyStopping(patience=2), **common),
        ),
    ):
        net = hubel.nets.simple_cnn if source == "photos" else hubel.nets.mlp
        hubel.fit(folder / source, net=net, recipe=recipe, out=folder / "runs" / name, quiet=True)
        _interrupted(folder / source, folder / "runs" / name, folder / "runs" / f"{name}-interrupted")
    return Bases(folder, contents, x, y)


def _interrupted(source: Path, like: Path, out: Path) -> None:
    """A run that was stopped after its first epoch."""
    show = Display.epoch
    Display.epoch = lambda self, row, epochs: signal.raise_signal(signal.SIGTERM)  # type: ignore[method-assign]
    try:
        run = hubel.fit(source, like=like, out=out, quiet=True)
    finally:
        Display.epoch = show
    assert run.status == "interrupted", run.status


def case(bases: Bases, number: int, seed: int, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    """Case `number`: what it is, the names of which an error has to say one, and the work."""
    chance = random.Random(f"{seed} {number}")
    kind = KINDS[number % len(KINDS)]
    makes = {
        "picture": _picture,
        "array file": _array_file,
        "table": _table,
        "run folder": _run_folder,
        "memory": _memory,
    }
    return makes[kind](bases, chance, here)


def _picture(bases: Bases, chance: random.Random, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    kind = chance.choice(hostile_files.PICTURES)
    whole = hostile_files.picture(kind, bases.x[0])
    content = (
        hostile_files.giant_picture(kind, chance)
        if chance.random() < 0.2
        else hostile_files.damaged(whole, chance, bases.contents)
    )
    photos = here / "photos"
    for k in range(4):
        path = photos / "ab"[k % 2] / f"{k}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hostile_files.picture(kind, bases.x[k]))
    hostile = photos / "a" / f"hostile.{kind}"
    hostile.write_bytes(content)
    run = bases.folder / "runs" / "pictures"
    work = {
        "load": lambda: hubel.data.load(photos, cache=False),
        "load, skipping": lambda: hubel.data.load(photos, cache=chance.random() < 0.5, skip_unreadable=True),
        "predict": lambda: list(hubel.workflows.predict_files(run, [hostile])),
        "evaluate": lambda: hubel.evaluate(
            run, photos, options={"channels": "grey", "skip_unreadable": chance.random() < 0.5}
        ),
    }
    name = chance.choice(sorted(work))
    return f"{name}: {kind}", ["hostile", "photos"], work[name]


def _array_file(bases: Bases, chance: random.Random, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    kind = chance.choice(hostile_files.ARRAYS)
    giant = chance.random() < 0.3
    content = (
        hostile_files.giant_arrays(kind, chance, here / "canary", bases.y)
        if giant
        else hostile_files.damaged(hostile_files.arrays(kind, bases.x, bases.y), chance, bases.contents)
    )
    stem = "hostile-images" if "idx" in kind else "hostile"
    path = here / (stem + (kind if kind.startswith("-") else f".{kind}"))
    path.write_bytes(content)
    if kind == "npy":
        np.save(here / "hostile_labels.npy", bases.y)
    if "idx" in kind:
        labels = b"\0\0\x08\x01" + len(bases.y).to_bytes(4, "big") + bases.y.astype(np.uint8).tobytes()
        (here / "hostile-labels-idx1-ubyte").write_bytes(labels)
    run = bases.folder / "runs" / chance.choice(("pictures", "features"))
    work = {
        "load": lambda: hubel.data.load(path),
        "predict": lambda: list(hubel.workflows.predict_files(run, [path])),
        "evaluate": lambda: hubel.evaluate(run, path),
    }
    name = chance.choice(("load", "load", "predict", "evaluate"))
    return f"{name}: {kind}", ["hostile"], work[name]


def _table(bases: Bases, chance: random.Random, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    kind = chance.choice(hostile_files.TABLES)
    shutil.copytree(bases.folder / "photos", here / "photos")
    names = [str(path.relative_to(here)) for path in sorted((here / "photos").rglob("*.png"))]
    content = hostile_files.table(kind, names, chance)
    if chance.random() < 0.5:
        content = hostile_files.damaged(content, chance, bases.contents)
    path = here / f"hostile.{kind}"
    path.write_bytes(content)
    target: Any = chance.choice(("label", "label", "label", ["label", "weight"], "path", "nothing"))
    run = bases.folder / "runs" / "pictures"
    if chance.random() < 0.3:
        return (
            f"evaluate: {kind}",
            ["hostile", "photos"],
            lambda: hubel.evaluate(run, path, options={"target": target}),
        )
    return f"load: {kind}", ["hostile", "photos"], lambda: hubel.data.load(path, target=target, cache=False)


def _run_folder(bases: Bases, chance: random.Random, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    base = chance.choice(bases.runs)
    run = hostile_runs.copy_of(base, here / "hostile")
    changed = hostile_runs.change_run(run, chance, here / "canary", bases.contents)
    source = chance.choice((bases.folder / "photos", bases.folder / "features.npz"))
    fitting = bases.x if "pictures" in base.name else bases.x.reshape(NUM, -1)[:, :6].astype("float32")
    work = {
        "open": lambda: repr(hubel.open_run(run)) + str(hubel.open_run(run).curves),
        "predict": lambda: hubel.open_run(run).predict(fitting),
        "predict files": lambda: list(hubel.workflows.predict_files(run, [bases.folder / "photos"])),
        "evaluate": lambda: hubel.evaluate(run),
        "evaluate data": lambda: hubel.evaluate(run, source),
        "report": lambda: hubel.report(run),
        "resume": lambda: hubel.resume(run, quiet=True),
        "list": lambda: list_runs(here),
        "like": lambda: hubel.fit(source, like=run, out=here / "new", quiet=True),
    }
    name = chance.choice((*sorted(work), "resume", "resume"))
    return f"{name}: {changed.name.split('-')[0]}", ["hostile", "photos", "features"], work[name]


def _memory(bases: Bases, chance: random.Random, here: Path) -> tuple[str, list[str], Callable[[], Any]]:
    x, y = hostile_runs.in_memory(chance, NUM), hostile_runs.labels(chance, NUM)
    run = hubel.open_run(bases.folder / "runs" / chance.choice(("pictures", "features", "amounts")))
    options: dict[str, Any] = chance.choice(
        (
            {},
            {},
            {"nan": "zero"},
            {"channels": "last"},
            {"task": "values"},
            {"task": "labels"},
            {"groups": [1]},
            {"weights": [-1] * NUM},
        )
    )
    work = {
        "load": lambda: hubel.data.from_arrays(x, y, **options).split(seed=0),
        "predict": lambda: run.predict(x),
        "evaluate": lambda: run.evaluate(x, y),
    }
    name = chance.choice(sorted(work))
    return f"{name}: memory", [], work[name]


def judged(work: Callable[[], Any], names: list[str], canary: Path) -> dict[str, Any]:
    """What became of one case, in this process."""
    began = _memory_now()[1]
    try:
        work()
        outcome = {"outcome": "done"}
    except BaseException as error:
        said = str(error)
        named = not names or type(error) is errors.ContractError or any(name in said for name in names)
        clear = type(error) in CLEAR and len(said) > 15 and named
        outcome = {
            "outcome": "refused" if clear else "UNCLEAR",
            "type": type(error).__name__,
            "said": said[:300],
            "where": "" if clear else "".join(traceback.format_tb(error.__traceback__)[-2:]),
        }
    growth = _memory_now()[0] - began
    if canary.exists():
        outcome["outcome"] = "RAN CODE"
    elif growth > GROWTH:
        outcome["outcome"] = "GREEDY"
    return outcome | {"megabytes": round(growth / 2**20)}


def _memory_now() -> tuple[int, int]:
    """Most and present resident memory, in bytes."""
    found = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(found["VmHWM"].split()[0]) * 1024, int(found["VmRSS"].split()[0]) * 1024


def alone(bases: Bases, number: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Case `number` in a process of its own."""
    here = scratch / str(number)
    here.mkdir()
    name, names, work = case(bases, number, seed, here)
    reading, writing = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _limited(here)
        answer = judged(work, names, here / "canary")
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    answer = _answer(child, reading)
    seconds = time.monotonic() - start
    shutil.rmtree(here)
    return {"number": number, "name": name, "seconds": round(seconds, 2), **answer}


def _limited(here: Path) -> None:
    """This process may take so much memory, show nothing, and reach no network."""
    import socket

    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ADDRESSES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/clear_refs").write_text("5")  # the greatest memory is counted from here
    silent = os.open(here / "said", os.O_WRONLY | os.O_CREAT)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    warnings.simplefilter("ignore")

    def refuse(*_: Any) -> None:
        raise AssertionError("a hostile input reached for the network")

    socket.socket.connect = refuse  # type: ignore[method-assign]


def _answer(child: int, reading: int) -> dict[str, Any]:
    """What the child says; stopped where it takes too long, as by Ctrl-C first."""
    stopped = False
    while not select.select([reading], [], [], SECONDS)[0]:
        os.kill(child, signal.SIGKILL if stopped else signal.SIGTERM)
        stopped = True
    said = b""
    while piece := os.read(reading, 65536):
        said += piece
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if said:
        answer = json.loads(said)
        if stopped and answer["outcome"] == "done":
            answer["outcome"] = "stopped"
        return answer
    number = os.waitstatus_to_exitcode(status)
    return {"outcome": "ENDLESS" if stopped else "CRASHED", "type": f"signal {-number}", "said": ""}


WELL = ("done", "refused", "stopped")


def trials(bases: Bases, count: int, seed: int, scratch: Path) -> dict[str, Any]:
    """All cases; prints what did not end well."""
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    types: collections.Counter[str] = collections.Counter()
    worst = {"megabytes": 0, "seconds": 0.0}
    wrong = []
    for number in range(count):
        found = alone(bases, number, seed, scratch)
        table[KINDS[number % len(KINDS)]][found["outcome"]] += 1
        types[found.get("type", "")] += 1
        worst = {name: max(value, found.get(name, 0)) for name, value in worst.items()}
        if found["outcome"] not in WELL:
            wrong.append(found)
            print(json.dumps(found, indent=1), flush=True)
        if (number + 1) % 1000 == 0:
            print(f"{number + 1:,} of {count:,}; {len(wrong)} did not end well", flush=True)
    return {
        "count": count,
        "seed": seed,
        "outcomes": {kind: dict(sorted(counts.items())) for kind, counts in sorted(table.items())},
        "errors": {name: n for name, n in types.most_common() if name},
        "most_megabytes": worst["megabytes"],
        "most_seconds": worst["seconds"],
        "not_well": len(wrong),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--count", type=int, default=10_000)
    words.add_argument("--quick", action="store_true", help="200 cases")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", type=int, help="this case alone, in this process, with its traceback")
    words.add_argument("--out", type=Path, help="write what was counted to this file")
    given = words.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="hubel-hostile-") as folder:
        os.environ["HUBEL_CACHE"] = str(Path(folder) / "cache")
        scratch = Path(folder) / "cases"
        scratch.mkdir()
        bases = prepare(Path(folder) / "whole")
        if given.only is not None:
            name, _, work = case(bases, given.only, given.seed, scratch)
            print(name)
            print(work())
            return
        found = trials(bases, 200 if given.quick else given.count, given.seed, scratch)
    print(json.dumps(found, indent=2))
    if given.out is not None:
        from protocol import Machine

        given.out.write_text(
            json.dumps(
                found
                | {
                    "machine": Machine().as_json(1),
                    "versions": {"hubel": hubel.__version__, "torch": torch.__version__},
                },
                indent=2,
            )
            + "\n"
        )
    sys.exit(1 if found["not_well"] else 0)


if __name__ == "__main__":
    main()
