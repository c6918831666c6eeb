"""Discovery of the coefficients of Burgers' equation from 2,000 values with noise of 0, 1, 5 and 10 %: errors and coverage over seeds.

python benchmarks/discovery.py
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from protocol import HERE, Machine, Spread, Worker, arguments, row, say, serve, target, write

NOISES = (0.0, 0.01, 0.05, 0.1)
RAISSI = {
    0.0: (0.00096, 0.00469),
    0.01: (0.00039, 0.00008),
    0.05: (0.0019, 0.06216),
    0.1: (0.00101, 0.06391),
}  # one seed


def main() -> None:
    given = arguments(__doc__, extra=options)
    machine = Machine()
    noises, seeds, budget = ((0.01,), 1, 2.0) if given.quick else (NOISES, given.seeds, given.budget)
    found: dict[float, list[dict[str, Any]]] = {noise: [] for noise in noises}
    with Worker([sys.executable, str(HERE / "discovery.py"), "--worker"], threads=given.threads) as worker:
        for seed in range(seeds):
            for noise in noises:
                if noise == 0 and seed >= given.clean_seeds:
                    continue
                answer = worker.ask("find", noise=noise, seed=seed, budget=budget, tol=given.tol)
                found[noise].append(answer)
                told = ", ".join(
                    f"{name} off by {one['error']:.2e}, covered: {one['covered']}"
                    for name, one in answer["unknowns"].items()
                )
                say(
                    f"noise {noise:.0%}, seed {seed}: {told} ({answer['seconds']:.0f} s, {answer['stopped']})"
                )
    result = {
        "id": "Discovery",
        "title": "The coefficients of Burgers' equation from data",
        "work": "u_t + a u u_x = nu u_xx, a = 1 and nu = 0.01/pi unknown, 2,000 random values of the exact solution on Raissi's grid with normal noise "
        f"in shares of their standard deviation; seeds 0 to {seeds - 1} (without noise 0 to {min(seeds, given.clean_seeds) - 1}) decide values, noise and network; at most {budget:g} s each",
        "machine": machine.as_json(given.threads),
        "rows": [line for noise, answers in found.items() for line in rows(noise, answers)],
        "targets": [] if given.quick else targets(found),
        "notes": [
            "Errors are relative. Coverage: how often the 95 % interval from the Jacobian holds the true value; of 20 seeds at least 18 are asked for. "
            "Raissi et al. 2019 (L-BFGS, float32) give one seed a noise.",
        ],
    }
    write("discovery", result, given)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean-seeds", type=int, default=5, help="of them without noise (default 5)")
    parser.add_argument(
        "--budget", type=float, default=300.0, help="seconds of each discovery, at most (default 300)"
    )
    parser.add_argument("--tol", type=float, default=1e-6)


def find(noise: float, seed: int, budget: float, tol: float) -> dict[str, Any]:
    """One discovery."""
    from hubel.physics import equations, solve

    equation = equations.burgers_discovery()
    assert equation.measured is not None
    solution = solve(
        equation.problem, data=equation.measured(seed, noise), tol=tol, seed=seed, seconds=budget
    )
    unknowns = {}
    for name, value in solution.parameters.items():
        truth = equation.truth[name]
        low, high = value.interval
        error = abs(value.value / truth - 1)
        width = value.standard_error / truth
        unknowns[name] = {
            "error": error,
            "standard_error": width if math.isfinite(width) else None,
            "covered": bool(low <= truth <= high),
        }
    return {"unknowns": unknowns, "seconds": solution.seconds, "stopped": solution.stopped}


def rows(noise: float, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line an unknown."""
    lines = []
    for place, name in enumerate(("a", "nu")):
        ones = [answer["unknowns"][name] for answer in answers]
        covered = sum(one["covered"] for one in ones)
        lines.append(
            row(
                f"{name}, noise {noise:.0%}",
                Spread.of([one["error"] for one in ones]),
                "relative error",
                note=f"covered in {covered} of {len(ones)}; Raissi {RAISSI[noise][place]:.1e}; {Spread.of([a['seconds'] for a in answers]).median:.0f} s",
                covered=covered,
                standard_errors=[one["standard_error"] for one in ones],
            )
        )
    return lines


def targets(found: dict[float, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    lines = []
    for noise, answers in found.items():
        for name in ("a", "nu"):
            ones = [answer["unknowns"][name] for answer in answers]
            if noise == 0:
                worst = Spread.of([one["error"] for one in ones])
                lines.append(
                    target(
                        f"{name} from clean data to 1e-5",
                        f"{worst.median:.1e} [{worst.low:.1e}–{worst.high:.1e}]",
                        worst.median <= 1e-5,
                    )
                )
            else:
                covered = sum(one["covered"] for one in ones)
                text = f"{covered} of {len(ones)}"
                lines.append(
                    target(
                        f"the interval of {name} holds the truth in ≥ 90 %, noise {noise:.0%}",
                        text,
                        covered >= 0.9 * len(ones),
                    )
                )
    return lines


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"find": find})
    else:
        main()
