"""Every named equation solved for the same time: measured error, estimate, and what a method without networks needs.

python benchmarks/equations.py
python benchmarks/equations.py --only kdv --windows 8   (with a second row: the time in 8 windows, one after the other)
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from typing import Any

from protocol import HERE, Machine, Spread, Worker, arguments, row, say, serve, target, write

QUICK = ("heat",)


def main() -> None:
    from hubel.physics.posing import NAMES

    given = arguments(__doc__, extra=options)
    machine = Machine()
    names = QUICK if given.quick else [name for name in given.only or NAMES if "discovery" not in name]
    seeds, budget = (1, 2.0) if given.quick else (given.seeds, given.budget)
    cases = [(name, None) for name in names]
    if given.windows is not None:
        cases += [(name, given.windows) for name in names if has_time(name)]
    found: dict[str, list[dict[str, Any]]] = {labelled(*case): [] for case in cases}
    with Worker([sys.executable, str(HERE / "equations.py"), "--worker"], threads=given.threads) as worker:
        for seed in range(seeds):
            for name, windows in cases:
                answer = worker.ask(
                    "solved", name=name, seed=seed, budget=budget, tol=given.tol, windows=windows
                )
                found[labelled(name, windows)].append(answer)
                say(
                    f"{labelled(name, windows)}, seed {seed}: error {answer['measured']:.1e}, estimate {answer['estimate'] or 0:.1e}, {answer['seconds']:.0f} s, {answer['stopped']}"
                )
    shares = [one["estimate"] / one["measured"] for ones in found.values() for one in ones if one["estimate"]]
    within = sum(1 / 5 <= share <= 5 for share in shares)
    below = sum(share < 1 / 5 for share in shares)
    result = {
        "id": "Equations",
        "title": "Named equations",
        "work": f"relative L2 error over the domain (of several fields the root mean square of theirs) after at most {budget:g} s, tolerance {given.tol:g}, "
        f"seeds 0 to {seeds - 1}",
        "machine": machine.as_json(given.threads),
        "versions": {name: version(name) for name in ("hubel", "torch")},
        "rows": [line(name, ones) for name, ones in found.items()],
        "targets": []
        if given.quick
        else [
            target(
                "the estimate is within a factor of 5 of the error in ≥ 90 % of the runs",
                f"{within} of {len(shares)}; {below} of them too small by more",
                within >= 0.9 * len(shares),
            )
        ],
        "notes": [
            "Without a network: the method named, on the grid on which errors are measured, one thread."
        ],
    }
    write("equations", result, given)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--budget", type=float, default=120.0, help="seconds of each solution, at most (default 120)"
    )
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--windows", type=int, help="also solve in so many windows of time (default: not)")


def labelled(name: str, windows: int | None) -> str:
    return name if windows is None else f"{name}, {windows} windows"


def has_time(name: str) -> bool:
    from hubel.physics.posing import named

    return named(name).equation.problem.time is not None


def solved(name: str, seed: int, budget: float, tol: float, windows: int | None) -> dict[str, Any]:
    """One solution, measured."""
    from hubel.physics.posing import named
    from hubel.physics.solving import solver_of
    from hubel.workflows.solved import errors_of, measured_by, on_grid, together

    equation = named(name).equation
    assert equation.reference is not None
    known = measured_by(equation.reference, equation)
    classical = known if equation.classical is None else measured_by(equation.classical, equation)
    solver = solver_of(equation.problem, tol=tol, seed=seed, windows=windows)
    for _ in solver.steps(budget):
        pass
    solution = solver.solution()
    return {
        "measured": together(errors_of(on_grid(solution, known.axes), known.values, equation)),
        "estimate": solution.estimate,
        "seconds": solution.seconds,
        "stopped": solution.stopped,
        "weights": solution.num_weights,
        "classical": {"how": (equation.classical or equation.reference).how, "seconds": classical.seconds},
    }


def line(name: str, ones: list[dict[str, Any]]) -> dict[str, Any]:
    classical = ones[0]["classical"]
    seconds = Spread.of([one["seconds"] for one in ones])
    estimates = ", ".join("none" if one["estimate"] is None else f"{one['estimate']:.1e}" for one in ones)
    return row(
        name,
        Spread.of([one["measured"] for one in ones]),
        "error",
        note=f"{seconds.median:.0f} s; estimates {estimates}; without a network {classical['seconds']:.2g} s ({classical['how']})",
        estimates=[one["estimate"] for one in ones],
        seconds=seconds.as_json(),
        stopped=[one["stopped"] for one in ones],
        weights=[one["weights"] for one in ones],
        classical=classical,
    )


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"solved": solved})
    else:
        main()
