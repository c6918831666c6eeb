"""Discovery of the coefficients of Burgers' equation from 2,000 values with noise of 0, 1, 5 and 10 %: errors and coverage over seeds.

    python benchmarks/discovery.py [--noises 0 0.01 0.05 0.1]

What was measured before of the noises that are not asked for stays in the results.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from protocol import HERE, RESULTS, Machine, Spread, Worker, arguments, row, say, serve, target, write

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
    noises, seeds, budget = ((0.01,), 1, 2.0) if given.quick else (given.noises, given.seeds, given.budget)
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
    classical = None if given.quick or not any(noises) else Classical()
    others, reached = kept(given, noises)

    def lines_of(noise: float, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = rows(noise, answers)
        return own if classical is None or not noise else own + beside(noise, answers, classical)

    result = {
        "id": "Discovery",
        "title": "The coefficients of Burgers' equation from data",
        "work": "u_t + a u u_x = nu u_xx, a = 1 and nu = 0.01/pi unknown, 2,000 random values of the exact solution on Raissi's grid with normal noise "
        f"in shares of their standard deviation; seeds 0 to {seeds - 1} (without noise 0 to {min(seeds, given.clean_seeds) - 1}) decide values, noise and network; at most {budget:g} s each",
        "machine": machine.as_json(given.threads),
        "versions": {name: version(name) for name in ("hubel", "torch")},
        "rows": in_order(
            [line for noise, answers in found.items() for line in lines_of(noise, answers)] + others
        ),
        "targets": [] if given.quick else in_order(targets(found) + reached),
        "notes": [
            "Errors are relative. Coverage: how often the 95 % interval from the Jacobian holds the true value; of 20 seeds at least 18 are asked for. "
            "Raissi et al. 2019 (L-BFGS, float32) give one seed a noise. Without a network: linear least squares around the truth with the derivatives of a "
            "finite-difference solution by a, nu, 16 functions of the beginning and 5 of each end, which has the smallest errors possible.",
        ],
    }
    write("discovery", result, given)


def kept(
    given: argparse.Namespace, noises: Sequence[float]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and targets of the noises that are not measured now, as they were."""
    path = RESULTS / "discovery.json"
    if given.quick or not path.exists():
        return [], []
    known = json.loads(path.read_text("utf-8"))
    rows, targets = (
        [one for one in known[name] if one["noise"] not in noises] for name in ("rows", "targets")
    )
    return rows, targets


def in_order(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the noise; those of one noise as they are."""
    return sorted(lines, key=lambda line: line["noise"])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean-seeds", type=int, default=5, help="of them without noise (default 5)")
    parser.add_argument(
        "--budget", type=float, default=300.0, help="seconds of each discovery, at most (default 300)"
    )
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--noises", nargs="+", type=float, choices=NOISES, default=list(NOISES))


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


class Classical:
    """What the same data tell without a network: the estimate by linear least squares around the truth, with its exact standard errors.

    The solution depends on a, nu, its beginning (BEGINNING sines) and its values at both ends (ENDS cosines of time each); all derivatives are differences of
    solutions by finite differences in space. No unbiased estimate has smaller errors (Cramér and Rao), as far as these functions suffice.
    """

    BEGINNING, ENDS = 16, 5
    CELLS, STEP = 1_200, 1e-4

    def __init__(self) -> None:
        self.t, self.x = np.linspace(0, 0.99, 100), np.linspace(-1, 1, 256)
        self.fine = np.linspace(-1, 1, self.CELLS + 1)
        self.nu = 0.01 / math.pi
        base = self.solved()
        step, nought = self.STEP, np.zeros_like(self.fine)
        columns = [self.solved(a=1 + step) - base, (self.solved(nu=self.nu * (1 + step)) - base) / self.nu]
        for k in range(1, self.BEGINNING + 1):
            columns.append(self.solved(more=step * np.sin(k * math.pi * (self.fine + 1) / 2)) - base)
        for side in (0, 1):
            for k in range(self.ENDS):
                ends = [lambda t: 0.0, lambda t: 0.0]
                ends[side] = lambda t, k=k: step * math.cos(math.pi * k * t)
                ramp = step * (1 + (2 * side - 1) * self.fine) / 2
                columns.append(self.solved(more=nought + ramp, ends=ends) - base)
        self.columns = np.stack([column.ravel() / step for column in columns], axis=1)

    def solved(
        self, a: float = 1.0, nu: float | None = None, more: Any = 0.0, ends: Any = None
    ) -> np.ndarray:
        """The solution on the grid [100, 256], of a beginning -sin(pi x) + `more` and values at the `ends`."""
        from scipy.integrate import solve_ivp

        left, right = ends or (lambda t: 0.0, lambda t: 0.0)
        nu, width = self.nu if nu is None else nu, 2 / self.CELLS

        def slope(t: float, inner: np.ndarray) -> np.ndarray:
            u = np.concatenate([[left(t)], inner, [right(t)]])
            flux = a * u * u / 2
            return -(flux[2:] - flux[:-2]) / (2 * width) + nu * (u[2:] - 2 * u[1:-1] + u[:-2]) / width**2

        beginning = -np.sin(math.pi * self.fine) + more
        found = solve_ivp(
            slope,
            (0, 1),
            beginning[1:-1],
            method="LSODA",
            t_eval=self.t,
            rtol=1e-8,
            atol=1e-10,
            lband=1,
            uband=1,
        )
        whole = np.column_stack([[left(t) for t in self.t], found.y.T, [right(t) for t in self.t]])
        return np.array([np.interp(self.x, self.fine, line) for line in whole])

    def judged(self, data: Any, clean: Any, noise: float) -> dict[str, tuple[float, float]]:
        """Errors of a and nu and their standard errors, all relative, from `data` of which the truth is `clean`."""
        place = np.rint(data["t"] / 0.99 * 99).astype(int) * 256 + np.rint((data["x"] + 1) / 2 * 255).astype(
            int
        )
        matrix = self.columns[place]
        size = np.linalg.norm(matrix, axis=0)
        inverse = np.linalg.pinv(matrix / size, rcond=1e-8)
        found = inverse @ (data["u"] - clean["u"]) / size
        errors = np.linalg.norm(inverse, axis=1) / size * noise * self.spread
        return {
            name: (found[k] / truth, errors[k] / truth)
            for k, (name, truth) in enumerate((("a", 1.0), ("nu", self.nu)))
        }

    @property
    def spread(self) -> float:
        """The standard deviation of the solution on the grid."""
        from hubel.physics import references

        return float(references.burgers(self.t[:, None], self.x, self.nu).std())


def beside(noise: float, answers: list[dict[str, Any]], classical: Classical) -> list[dict[str, Any]]:
    """The classical estimate from the same data, a line an unknown."""
    from hubel.physics import equations

    measured = equations.burgers_discovery().measured
    assert measured is not None
    found = [
        classical.judged(measured(seed, noise), measured(seed, 0.0), noise) for seed in range(len(answers))
    ]
    lines = []
    for name in ("a", "nu"):
        errors, widths = np.array([one[name] for one in found]).T
        covered = int((np.abs(errors) <= 1.959963985 * widths).sum())
        ours = [answer["unknowns"][name]["standard_error"] for answer in answers]
        ratio = float(np.median([own / theirs for own, theirs in zip(ours, widths, strict=True) if own]))
        lines.append(
            row(
                f"  {name} without a network",
                Spread.of(np.abs(errors).tolist()),
                "relative error",
                note=f"covered in {covered} of {len(found)}; our standard error is {ratio:.2f} of the classical one",
                noise=noise,
                covered=covered,
                standard_errors=widths.tolist(),
            )
        )
    return lines


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
                noise=noise,
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
                    | {"noise": noise}
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
                    | {"noise": noise}
                )
    return lines


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve({"find": find})
    else:
        main()
