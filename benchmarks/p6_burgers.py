"""P6: Burgers' equation with nu = 0.01/pi, scored on its exact solution on the 256 x 100 grid: error against time.

python benchmarks/p6_burgers.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from protocol import HERE, RESULTS, Compared, Machine, Spread, Worker, arguments, row, say, target, write

PEERS = (
    "DeepXDE, its demo",
    "DeepXDE, its demo in float64",
    "DeepXDE, tuned, L-BFGS",
    "DeepXDE, tuned, NNCG",
    "PINA",
    "torch, by hand",
)
ERRORS = [10.0**-k for k in range(2, 9)]  # of the table of times
REPEATS = 200
FLOPS = (
    2_780 * (4 * 2 * (2 * 20 + 2 * 20 * 20 + 20)) * 3
)  # four Taylor coefficients through every layer, and twice as much backward


def main() -> None:
    given = arguments(__doc__, extra=options)
    machine = Machine()
    if given.quick:
        given.seeds, given.budget, given.tol = [0], 2.0, 1e-1
    from hubel.physics import references

    t, x = np.linspace(0, 0.99, 100), np.linspace(-1, 1, 256)
    exact = references.burgers(t[:, None], x)
    runs, skipped = kept(given), {}
    versions: dict[str, str] = {}
    gradients: dict[str, Compared] = {}

    def result() -> dict[str, Any]:
        curves, told = by_name(runs, "curve"), by_name(runs, "told")
        seeds = sorted({one["seed"] for one in runs})
        return {
            "id": "P6",
            "title": "Burgers' equation by a network",
            "work": f"u_t + u u_x = 0.01/pi u_xx, relative L2 error on the exact solution (Cole and Hopf, 100 Gauss-Hermite nodes) on 256 × 100 "
            f"points; {given.budget:g} s each, seeds {', '.join(map(str, seeds))}, {given.threads} thread(s)",
            "machine": machine.as_json(given.threads),
            "versions": versions,
            "rows": error_rows(curves, told, skipped) + gradient_rows(gradients),
            "times": times_to(curves),
            "classical": classical(t, x, exact),
            "runs": runs,
            "targets": [] if given.quick else targets(curves, gradients, given),
            "notes": [
                "Imports are outside the clock; construction, sampling and compilation are inside; it stands still while an error is measured.",
                "The demo of DeepXDE is 15,000 steps of Adam and 15,000 of L-BFGS in float32. Tuned: float64, exact conditions by an output "
                "transform, 8,000 points, 2,000 steps of Adam, then L-BFGS (or NNCG for the second half). The arithmetic of residuals and gradient at "
                f"2,780 points is {FLOPS / 1e6:.0f} million operations.",
            ],
        }

    with tempfile.TemporaryDirectory() as folder:
        for name, values in (("t", t), ("x", x), ("u", exact)):
            np.save(Path(folder) / f"{name}.npy", values)
        for seed in given.seeds:
            for name in ("hubel", *PEERS):
                if name in skipped or not wanted(name, given, skipped):
                    continue
                more = {"tol": given.tol} if name == "hubel" else {}
                try:
                    with worker(name, given) as side:
                        answer = side.ask(
                            "solve", setting=name, folder=folder, seed=seed, budget=given.budget, **more
                        )
                except RuntimeError as error:
                    if name == "hubel":
                        raise
                    skipped[name] = str(error).splitlines()[0][:200]
                    continue
                versions |= answer["versions"]
                told = {key: answer.get(key) for key in ("stopped", "estimate")}
                runs.append({"name": name, "seed": seed, "curve": thinned(answer["curve"]), "told": told})
                seconds, error = answer["curve"][-1]
                say(f"seed {seed}: {name}: {error:.2e} after {seconds:.1f} s ({answer.get('stopped', '')})")
            if seed != given.seeds[-1]:
                write("p6", result(), given)  # what there is, should the rest not come to its end
        if not given.quick:
            gradients |= gradient_rates(given, skipped)
    write("p6", result(), given)


def kept(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs of other seeds that were measured before."""
    path = RESULTS / "p6.json"
    if given.quick or not path.exists():
        return []
    return [one for one in json.loads(path.read_text("utf-8"))["runs"] if one["seed"] not in given.seeds]


def by_name(runs: list[dict[str, Any]], key: str) -> dict[str, list[Any]]:
    """What the runs of each side say under this key, in the order of their seeds."""
    found: dict[str, list[Any]] = {}
    for one in sorted(runs, key=lambda run: run["seed"]):
        found.setdefault(one["name"], []).append(one[key])
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="those of others are kept"
    )
    parser.add_argument("--budget", type=float, default=150.0, help="seconds of each solution (default 150)")
    parser.add_argument(
        "--tol", type=float, default=1e-8, help="tolerance that ours is asked for (default 1e-8)"
    )


def wanted(name: str, given: argparse.Namespace, skipped: dict[str, str]) -> bool:
    if name == "hubel":
        return True
    if given.quick or (given.only is not None and name not in given.only):
        return False
    if not given.peers_python:
        skipped[name] = "no interpreter with the peers was given"
        return False
    return True


def worker(name: str, given: argparse.Namespace) -> Worker:
    python = sys.executable if name.startswith("hubel") else given.peers_python
    return Worker([python, str(HERE / "p6_worker.py")], threads=given.threads)


def gradient_rates(given: argparse.Namespace, skipped: dict[str, str]) -> dict[str, Compared]:
    """Median seconds of residuals and gradient, ours and DeepXDE's in turn."""
    found: dict[str, Compared] = {}
    if not given.peers_python:
        return found
    for name in ("DeepXDE", "DeepXDE in float64"):
        try:
            with worker("hubel", given) as ours, worker(name, given) as theirs:
                pair = Compared([], [])
                for _ in range(given.pairs):
                    pair.ours.append(
                        statistics.median(ours.ask("gradient", setting="hubel", repeats=REPEATS)["seconds"])
                    )
                    pair.theirs.append(
                        statistics.median(theirs.ask("gradient", setting=name, repeats=REPEATS)["seconds"])
                    )
                    say(
                        f"residuals and gradient: ours {pair.ours[-1] * 1e3:.2f} ms, {name} {pair.theirs[-1] * 1e3:.2f} ms"
                    )
                found[name] = pair
        except RuntimeError as error:
            skipped[f"gradient, {name}"] = str(error).splitlines()[0][:200]
    return found


def time_to(curve: list[list[float]], error: float) -> float | None:
    """The first time at which the error was as small; None where it never was."""
    return next((seconds for seconds, found in curve if found <= error), None)


def times_to(curves: dict[str, list[list[list[float]]]]) -> dict[str, dict[str, Any]]:
    """For every side and error: how many seeds reached it, and the median of the times of those."""
    found: dict[str, dict[str, Any]] = {}
    for name, of_seeds in curves.items():
        found[name] = {}
        for error in ERRORS:
            times = [seconds for curve in of_seeds if (seconds := time_to(curve, error)) is not None]
            found[name][f"{error:.0e}"] = {
                "reached": len(times),
                "of": len(of_seeds),
                "seconds": Spread.of(times).as_json() if times else None,
            }
    return found


def error_rows(
    curves: dict[str, list[list[list[float]]]], told: dict[str, list[dict[str, Any]]], skipped: dict[str, str]
) -> list[dict[str, Any]]:
    """The error at the end, and what every side said of it."""
    rows = []
    for name, of_seeds in curves.items():
        ends = [curve[-1] for curve in of_seeds]
        more = {}
        if name == "hubel":
            estimates = [answer["estimate"] for answer in told[name]]
            more["estimates"] = estimates
            more["estimate_within_5"] = sum(
                estimate is not None and 1 / 5 <= estimate / end[1] <= 5
                for estimate, end in zip(estimates, ends, strict=True)
            )
        rows.append(
            row(
                name,
                Spread.of([error for _, error in ends]),
                "error",
                note=f"after {statistics.median(seconds for seconds, _ in ends):.0f} s",
                stopped=[answer.get("stopped") for answer in told[name]],
                **more,
            )
        )
    return rows + [row(name, None, "error", note=f"not measured: {why}") for name, why in skipped.items()]


def gradient_rows(gradients: dict[str, Compared]) -> list[dict[str, Any]]:
    rows = []
    for name, pair in gradients.items():
        rows.append(
            row(
                f"residuals and gradient, {name}",
                Spread.of([s * 1e3 for s in pair.theirs]),
                "ms",
                ratio=pair.ratio,
            )
        )
        rows.append(row(f"  ours beside {name}", Spread.of([s * 1e3 for s in pair.ours]), "ms"))
    return rows


def classical(t: np.ndarray, x: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """What a spectral method needs for the same grid."""
    from hubel.physics import references

    found = []
    for modes, steps in ((512, 500), (1024, 1000), (2048, 4000)):
        start = time.perf_counter()
        u = references.burgers_spectral(t, x, modes=modes, step=1 / steps)
        seconds = time.perf_counter() - start
        error = float(np.linalg.norm(u - exact) / np.linalg.norm(exact))
        found.append(
            {
                "modes": modes,
                "steps": steps,
                "seconds": float(f"{seconds:.3g}"),
                "error": float(f"{error:.3g}"),
            }
        )
    return {
        "method": "Fourier modes and exponential Runge-Kutta of order 4 (NumPy, one thread)",
        "runs": found,
    }


def thinned(curve: list[list[float]], most: int = 120) -> list[list[float]]:
    """At most so many points of a curve, evenly in its order, its last among them; three digits."""
    places = (
        sorted({round(k * (len(curve) - 1) / (most - 1)) for k in range(most)})
        if len(curve) > most
        else range(len(curve))
    )
    return [[float(f"{seconds:.3g}"), float(f"{error:.3g}")] for seconds, error in (curve[k] for k in places)]


def targets(
    curves: dict[str, list[list[list[float]]]], gradients: dict[str, Compared], given: argparse.Namespace
) -> list[dict[str, Any]]:
    found = []
    for error, most in ((1e-5, 60.0), (1e-7, 600.0)):
        if most > given.budget:
            continue
        times = [time_to(curve, error) for curve in curves["hubel"]]
        shown = ", ".join("not reached" if s is None else f"{s:.0f} s" for s in times)
        reached = all(s is not None and s <= most for s in times)
        found.append(target(f"≤ {error:.0e} in {most:.0f} s", shown, reached))
    for name, of_seeds in curves.items():
        if name == "hubel":
            continue
        ours = statistics.median(curve[-1][1] for curve in curves["hubel"])
        theirs = statistics.median(curve[-1][1] for curve in of_seeds)
        digits = math.log10(theirs / ours)
        found.append(
            target(
                f"a smaller error than {name}",
                f"{ours:.1e} against {theirs:.1e}, {digits:.1f} digits",
                ours < theirs,
            )
        )
    for name, pair in gradients.items():
        text = f"{pair.ratio.median:.2f} × [{pair.ratio.low:.2f}–{pair.ratio.high:.2f}]"
        found.append(
            target(f"residuals and gradient in ≤ 1/3 of the time of {name}", text, pair.ratio.median <= 1 / 3)
        )
    return found


if __name__ == "__main__":
    main()
