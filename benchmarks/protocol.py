"""How every number here is made: ours and a peer in turn, on the same machine, in the same minutes, on the same work.

Each side is a process of its own that stays alive (imports, data and compilation are paid once), and is asked over a pipe to do
pieces of work. A comparison is a sequence A B A B …; the ratio is taken within each pair, and its median stands with the least
and the greatest. No package is needed here beyond the standard library, so that any interpreter can be a worker.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
THREADS = 2
NEIGHBOUR = HERE.parent.parent / "shared" / "data"  # data kept beside the repository, where there are any


class Worker:
    """A process that does pieces of work on request: one line of JSON in, one out."""

    def __init__(
        self, command: Sequence[str], *, threads: int = THREADS, environment: dict[str, str] | None = None
    ):
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the worker
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment_of(threads) | (environment or {}),
        )

    def ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        """What the worker's function `action` answers."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended during {action!r}: {self._tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{action}: {answer['error']}\n{self._tail()}")
        return dict(answer)

    def _tail(self) -> str:
        self._said.seek(0)
        return self._said.read()[-3000:]

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(actions: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """The worker's side: answer requests on stdin until it is closed. What libraries print goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = actions[request["action"]](**request["arguments"])
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:1500]}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def clock() -> float:
    """A worker's clock: the wall's, or (with `--clock processor`) the processor time of the whole process, which other programs
    on the machine do not lengthen; the latter means something with one thread only."""
    return time.process_time() if os.environ.get("BENCHMARK_CLOCK") == "processor" else time.perf_counter()


def environment_of(threads: int) -> dict[str, str]:
    """The same number of threads for every library, and none of their banners."""
    counts = {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    }
    return {
        **os.environ,
        **counts,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONWARNINGS": "ignore",
    }


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some measurements."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))

    def as_json(self) -> dict[str, float]:
        """Four significant digits: no clock here is better than that."""
        return {
            "median": rounded(self.median),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "count": self.count,
        }


def rounded(value: float) -> float:
    """Four significant digits.

    >>> rounded(12345.6), rounded(0.00123456)
    (12350.0, 0.001235)
    """
    return float(f"{value:.4g}")


@dataclass(frozen=True)
class Compared:
    """Ours beside one peer: both values of every pair."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> Spread:
        """Ours over theirs, pair by pair."""
        return Spread.of([a / b for a, b in zip(self.ours, self.theirs, strict=True)])


def in_turn(
    ours: Callable[[], float],
    peers: dict[str, Callable[[], float]],
    *,
    pairs: int,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Compared]:
    """`pairs` rounds over all peers; in each round every peer is measured right after ours, so that a pair shares its moment."""
    compared = {name: Compared([], []) for name in peers}
    for number in range(pairs):
        for name, theirs in peers.items():
            compared[name].ours.append(ours())
            compared[name].theirs.append(theirs())
            pair = compared[name]
            say(
                f"pair {number + 1}: ours {pair.ours[-1]:,.4g}, {name} {pair.theirs[-1]:,.4g}, ratio {pair.ours[-1] / pair.theirs[-1]:.2f}"
            )
    return compared


class Machine:
    """What the numbers were measured on, and how much of it others used meanwhile."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy, self._stolen = _processor_seconds()

    def as_json(self, threads: int = THREADS) -> dict[str, Any]:
        """Call it after the workers were closed: their time is then counted as ours."""
        elapsed = time.monotonic() - self._start
        busy, stolen = _processor_seconds()
        own = sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": threads,
            "clock": os.environ.get("BENCHMARK_CLOCK", "wall"),
            "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "others_used_cores": round(max(0.0, busy - self._busy - own) / elapsed, 2) if busy else None,
            "stolen_cores": round((stolen - self._stolen) / elapsed, 3) if busy else None,
            "seconds": round(elapsed, 1),
        }


def processor() -> str:
    """Its name, family and what decides speed here."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    flags = found.get("flags", "").split()
    known = [
        shown
        for flag, shown in (("avx512f", "AVX-512"), ("avx512_bf16", "bf16"), ("amx_tile", "AMX"))
        if flag in flags
    ]
    name = found.get("model name", platform.processor() or platform.machine())
    return f"{name} (family {found.get('cpu family', '?')}, model {found.get('model', '?')}; {', '.join(known) or 'no AVX-512'})"


def _processor_seconds() -> tuple[float, float]:
    """Seconds of all cores in use since the system started, and seconds that the host gave to others; (0, 0) if it does not say."""
    try:
        values = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0, 0.0
    user, nice, system, _, _, irq, softirq, stolen = values
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, stolen / tick


def arguments(
    description: str | None, *, pairs: int = 5, extra: Callable[[argparse.ArgumentParser], Any] | None = None
) -> argparse.Namespace:
    """The options that every script has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes, no peers: proves that the script works; nothing is written",
    )
    parser.add_argument("--pairs", type=int, default=pairs, help=f"pairs a peer (default {pairs})")
    parser.add_argument(
        "--peers-python",
        default=os.environ.get("HUBEL_PEERS_PYTHON"),
        help="interpreter with benchmarks/peers.txt installed",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: on a busy machine, with --threads 1",
    )
    parser.add_argument("--threads", type=int, default=THREADS, help=f"of every side (default {THREADS})")
    parser.add_argument("--only", nargs="*", help="only these peers")
    parser.add_argument("--no-write", action="store_true", help="do not write into results/")
    if extra:
        extra(parser)
    given = parser.parse_args()
    os.environ["BENCHMARK_CLOCK"] = given.clock  # the workers' as well
    if given.quick:
        given.threads = 1  # so that a busy machine does not make a short form long
    return given


def write(name: str, result: dict[str, Any], given: argparse.Namespace) -> None:
    """Print the result as a table, and write `results/NAME.json` unless it was a quick run."""
    print(table(result))
    if not (given.quick or given.no_write):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(as_text(result), "utf-8")


def as_text(result: dict[str, Any]) -> str:
    """JSON with a line a value, but a list of numbers on one.

    >>> print(as_text({"curve": [[1.0, 0.5]], "stopped": ["time"]}), end="")
    {
      "curve": [
        [1.0, 0.5]
      ],
      "stopped": [
        "time"
      ]
    }
    """
    text = json.dumps(result, indent=2, ensure_ascii=False)
    return re.sub(r"\[\s+([-+.\de,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def row(
    name: str, values: Spread | None, unit: str, *, ratio: Spread | None = None, **more: Any
) -> dict[str, Any]:
    """One line of a result: who, how much, and ours over theirs."""
    return {
        "name": name,
        "value": None if values is None else values.as_json(),
        "unit": unit,
        "ratio": None if ratio is None else ratio.as_json(),
        **more,
    }


def target(text: str, measured: str, reached: bool) -> dict[str, Any]:
    """A target of the row, what was measured, and whether that is enough."""
    return {"target": text, "measured": measured, "reached": bool(reached)}


def table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{result['id']}: {result['work']}"]
    for r in result["rows"]:
        value = (
            "–"
            if r["value"] is None
            else f"{r['value']['median']:,.4g} [{r['value']['low']:,.4g}–{r['value']['high']:,.4g}] {r['unit']}"
        )
        ratio = (
            ""
            if r["ratio"] is None
            else f"   ours {r['ratio']['median']:.2f} × [{r['ratio']['low']:.2f}–{r['ratio']['high']:.2f}]"
        )
        lines.append(f"  {r['name']:<34} {value}{ratio}   {r.get('note', '')}".rstrip())
    lines += [
        f"  {'reached' if t['reached'] else 'MISSED '}  {t['target']}: {t['measured']}"
        for t in result["targets"]
    ]
    return "\n".join(lines)


def say(text: str) -> None:
    """A line on stderr: what is going on."""
    print(text, file=sys.stderr, flush=True)


def find_data() -> None:
    """Let hubel's loader look beside the repository as well."""
    if NEIGHBOUR.is_dir():
        os.environ.setdefault("HUBEL_DATA", str(NEIGHBOUR))
