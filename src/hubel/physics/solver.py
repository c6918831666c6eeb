"""From an equation to its solution, one iteration after the other (`solve` makes all of them).

A small network in double precision, conditions exact where they can be, Levenberg-Marquardt on points that follow the residual: few points
and a small network first, more of both when they are what limits the error. The work ends when the estimated error is below `tol`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from hubel.core.random import key
from hubel.physics.ansatz import Ansatz, features_of, scales_of
from hubel.physics.architecture import Architecture, sized
from hubel.physics.causal import Causal
from hubel.physics.continuation import NEAR, Continuation
from hubel.physics.discovery import Judgement, judged, standing
from hubel.physics.estimate import Amplification
from hubel.physics.functions import BEGIN as ROUGH
from hubel.physics.ladder import Ladder
from hubel.physics.methods import LARGEST, Method, method_for, refuse_other
from hubel.physics.mirror import Mirror, mirror_of
from hubel.physics.networks import Network, network_for, under
from hubel.physics.observations import Observations
from hubel.physics.parts import (
    causally,
    equation,
    learnt_conditions,
    of_data,
    residual_sizes,
    sizes_on,
    violations,
)
from hubel.physics.pieces import Window
from hubel.physics.problem import Problem
from hubel.physics.sampling import drawn, sobol
from hubel.physics.solution import Record, Solution
from hubel.physics.system import Part, System, prepared_blocks, sizes_of
from hubel.physics.watch import BEGINNINGS, Watch

CHECKED = 3000  # points at which the residual is measured and that are never used to lower it
FEWEST = 500  # points on which the equation is asked to hold
FRESH = 1000  # the same for methods of gradients, which see others before they have learnt these by heart
FACE = 256  # points of every condition that is learnt
ROUND = 30  # iterations on one set of points
DATA_ROUND = 12  # the same where there are data: then the weights change as well
ROUNDING = 1e-13  # of a scaled residual: nothing is to be gained below
MEMORY = 30_000_000  # numbers in J: 240 MB
WIDER = 1.3  # by which the layers of the network grow
BEGIN = (10, 4)  # width and depth without data
BEGIN_WITH_DATA = (12, 3)  # the same with noisy ones
BEGIN_CLEAN = (20, 4)  # and with nearly exact ones
CLEAN = 3e-3  # of the values: a misfit below which noise is none that a small network could hide behind
CLEAR = 3  # values a weight, without which a small misfit says nothing of the noise


class Solver:
    """What `solve` does, step by step, from the same arguments: `for record in solver.steps(): ...`, then `solver.solution()`; `solver.state()` at any time.

    All is a function of the arguments, the number of threads and the machine; a solver made from the `state` of another goes on as that
    one would have. `window` says of which longer time the problem is a part (`windows`).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        data: Any = None,
        tol: float = 1e-4,
        seed: int = 0,
        width: int | None = None,
        depth: int | None = None,
        network: Architecture | nn.Module | None = None,
        method: Method | None = None,
        exact: bool = True,
        points: int | None = None,
        continuation: Mapping[str, Sequence[float]] | None = None,
        causal: bool | float = False,
        window: Window | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        refuse_tolerance(tol)
        if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
            raise ValueError(f"points is {points!r}; expected a whole number, at least 1")
        if method is not None:
            refuse_other(method, from_data=data is not None)
        network = sized(network, width, depth)
        own = network if isinstance(network, nn.Module) else None
        self.choice = network
        self.problem, self.tol, self.seed = problem, float(tol), int(seed)
        self.observed = None if data is None else Observations.of(data, problem)
        if problem.unknowns and self.observed is None:
            raise ValueError(
                f"{', '.join(problem.unknowns)} can only be found from data: solve(problem, data=table)"
            )
        if self.observed is None and (text := problem.missing()):
            raise ValueError(f"without data the solution is not determined: {text}")
        if not exact and any(len(values) > 1 for values in problem.conditions.initial.values()):
            raise ValueError("an initial speed can only be fulfilled exactly: leave out exact=False")
        if not exact and problem.conditions.around:
            raise ValueError("values around a shape can only be fulfilled exactly: leave out exact=False")
        self.continuation, self.stage = Continuation.of(continuation, problem), 0
        self.causal = Causal.of(causal, problem)
        if self.observed is not None and (continuation or self.causal is not None):
            raise ValueError("continuation and causal weights are for problems without data")
        mirror, scales, exact = self._form(window or Window(problem), exact, exact and own is None)
        self.features = features_of(problem, mirror)
        net = self._network(BEGIN if data is None else BEGIN_WITH_DATA)
        before = window.before if window is not None and exact else ()
        self.ansatz = Ansatz(self.continuation.stages[0], net, mirror, scales, exact, before)
        self.sizes = sizes_of(self.ansatz.problem, scales)
        self.smoothing = dict.fromkeys(problem.functions, ROUGH)
        self.method = method_for(net.size) if method is None else method
        self.amplification = Amplification()
        self.theta = self._fresh()
        self.best, self.best_estimate = self.theta, None
        self.fixed = points
        self.num_points = points or self._enough(net.size)
        self.iteration, self.round, self.until = 0, 0, 0
        self.watch = Watch() if self.method.grows and net.grows else Watch.of_one_network()
        self.ladder = Ladder()
        self.points = torch.empty(0, len(problem.coordinates), dtype=torch.float64)
        self.history: list[Record] = []
        self.seconds, self.stopped = 0.0, ""
        self.libraries = ThreadpoolController()
        self._begin()
        if state is not None:
            self._read(state)

    def steps(self, seconds: float | None = None) -> Iterator[Record]:
        """One record after every iteration, until the estimate is below the tolerance, nothing improves, or the `seconds` are over."""
        self.stopped = ""
        begin = time.perf_counter() - self.seconds
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds is {seconds}; expected a positive time")
        while not self.stopped:
            with self.libraries.limit(limits=torch.get_num_threads(), user_api="blas"):
                if self.iteration >= self.until:
                    self._draw()
                if self.stopped:
                    return
                theta, loss, found = self.method.step(self.system, self.theta)
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the residual is NaN or infinite at iteration {self.iteration + 1}: check roots, logarithms and divisions of "
                        "fields, or begin with another seed"
                    )
                self.theta = theta
                self.iteration += 1
                if not found:
                    self.until = self.iteration
                if self.iteration % self.method.every == 0:
                    self._measure(loss)
            self.seconds = time.perf_counter() - begin
            if seconds is not None and self.seconds >= seconds and not self.stopped:
                self.stopped = "time"
            record = Record(
                iteration=self.iteration,
                loss=loss,
                estimate=self.best_estimate,
                seconds=self.seconds,
                num_weights=self.ansatz.network.size,
                num_points=self.num_points,
            )
            self.history.append(record)
            yield record

    @property
    def notice(self) -> str | None:
        """What has to be said of the network before it works, if anything."""
        network = self.ansatz.network
        if network.in_one_pass:
            return None
        return (
            f"the derivatives of {network.label} by nested differentiation, which is slow; those of "
            "hubel.physics.Architecture travel in one pass"
        )

    def solution(self) -> Solution:
        """The best that was found so far, with its error and what limits it."""
        state = self.state()
        theta = self.best if self.observed is None and self.watch.best is not None else self.theta
        network = self.ansatz.network.copied()
        network.read(theta[: network.size])
        ansatz = replace(self.ansatz, network=network, problem=self.problem)
        judgement = Judgement()
        if not self.round:
            self._draw()
        estimate = self.best_estimate if self.stage == len(self.continuation.stages) - 1 else None
        if self.observed is not None:
            system = System(ansatz, self.system.parts, self.system.smoothing)
            judgement = judged(system, theta, self.observed, self.checked[0].points)
            estimate = judgement.error
        residual = self._unused(ansatz, theta)
        return Solution(
            problem=self.problem,
            ansatz=ansatz,
            tol=self.tol,
            estimate=estimate,
            residual=residual,
            stopped=self.stopped or "not finished",
            limit=self._limit(estimate, residual),
            history=tuple(self.history),
            seconds=self.seconds,
            parameters=judgement.parameters,
            functions=judgement.functions,
            warnings=judgement.warnings,
            noise=judgement.noise,
            violations=violations(ansatz, theta, FACE, self.seed),
            state=state,
        )

    def magnitude(self) -> float:
        """The root mean square of the scaled values of the best that was found."""
        self.ansatz.network.read(self.best[: self.ansatz.network.size])
        return float(self._values().square().mean().sqrt())

    # ---- points, measurements, growth

    def _form(
        self, window: Window, exact: bool, searched: bool
    ) -> tuple[Mirror | None, dict[str, float], bool]:
        """The symmetry (where it is `searched` for), the sizes of the components, and whether values hold exactly: of the whole time."""
        problem, observed = window.whole, self.observed
        mirror = mirror_of(problem) if observed is None and searched else None
        if any(mirror_of(easier) != mirror for easier in self.continuation.stages[:-1]):
            mirror = None
        if exact and observed is None and window.begins_with_kinks:
            # exact values would keep what the equation takes away
            exact, mirror = False, None if mirror is not None and mirror.continues else mirror
        return mirror, scales_of(problem) | ({} if observed is None else observed.scales), exact

    def _network(self, begin: tuple[int, int]) -> Network:
        """The chosen network from the start, of width and depth `begin` where none were chosen."""
        return network_for(
            self.choice,
            self.features,
            len(self.problem.components),
            begin=begin,
            jet=self.problem.jet,
            seed=key(self.seed, "network") % 2**31,
        )

    def _fresh(self) -> Tensor:
        """The weights of the network as it is, and unknowns at their start."""
        inner = sum(basis.size for basis in self.problem.bases.values())
        return torch.cat([self.ansatz.network.weights(), torch.zeros(inner, dtype=torch.float64)])

    def _begin(self) -> None:
        """What depends on the network's shape and not on its weights."""
        jet = self.problem.jet
        self.checked = prepared_blocks(
            self.ansatz,
            sobol(self.ansatz.region, CHECKED, self.seed, "checked", inside=self.problem.inside),
            jet,
        )
        self.faces = tuple(learnt_conditions(self.ansatz, FACE, self.seed).values())

    def _enough(self, size: int) -> int:
        """Points to begin with for so many weights; without data they become more when the residual between them tells so."""
        if self.observed is not None:
            return max(FEWEST, 4 * size)
        return max(FEWEST, size if self.method.grows else min(size, FRESH))

    def _draw(self) -> None:
        """A new set of points, and the system on it."""
        if self.observed is not None and self.round:
            self._weigh()
            if self.stopped:
                return

        if self.fixed is not None:
            self.points = sobol(
                self.ansatz.region, self.fixed, self.seed, "points", inside=self.problem.inside
            )
        else:
            self.points = drawn(
                self._region(),
                self.num_points,
                self.seed,
                self.round,
                lambda points: residual_sizes(self.ansatz, self.theta, points, self.sizes),
                self.problem.inside,
            )
        self.round += 1
        self.until = self.iteration + (ROUND if self.observed is None else DATA_ROUND)
        self._assemble()

    def _region(self) -> dict[str, tuple[float, float]]:
        """Where points are drawn."""
        if self.causal is None or self.problem.time is None:
            return self.ansatz.region
        return self.ansatz.region | {self.problem.time: (self.causal.begin, self.causal.front)}

    def _assemble(self) -> None:
        rows = equation(self.ansatz, self.points, self.sizes, self.ladder.emphasis)
        if self.causal is not None and self.problem.time is not None and not self.causal.done:
            rows = causally(rows, self.causal, self.problem.time)
        parts = [rows, *self.faces]
        if self.observed is not None:
            parts.append(of_data(self.ansatz, self.observed))
        self.system = System(self.ansatz, parts, self.smoothing)

    def _measure(self, loss: float) -> None:
        """The residual at points that are not used, the estimate of the error, and what follows for the size of things."""
        if self.causal is not None and not self.causal.done:
            self._go_on_in_time(self.causal)
            return
        residual, before = self._unused(self.ansatz, self.theta), self.watch.best
        verdict = self.watch.next(residual, loss)
        if self.observed is not None:
            return
        values = self._values()
        self.amplification.note(residual, values, self.ansatz.network)
        if before is None or residual < before:
            self.best, self.best_estimate = self.theta, self.amplification.error(residual, values)
        if self.stage < len(self.continuation.stages) - 1:
            if verdict == "wider" or (self.best_estimate is not None and self.best_estimate <= NEAR):
                self._next_stage()
                return
        elif self.best_estimate is not None and self.best_estimate <= self.tol:
            self.stopped = "tolerance"
        elif residual < ROUNDING:
            self.stopped = "rounding"
        if self.stopped:
            return
        size = len(self.theta)
        most = min(6 * size, MEMORY // size) if self.method.grows else 6 * size
        if self.watch.too_few_points and self.num_points < most and self.fixed is None:
            self.num_points = min(int(1.5 * self.num_points), most)
            self.until = self.iteration
        if verdict == "again":
            self._begin_again()
        elif verdict == "wider":
            self.theta = self.best
            if not self._widen():
                self.stopped = "stagnation" if self.watch.largest else ""
                self.watch.largest = True

    def _go_on_in_time(self, causal: Causal) -> None:
        """New causal weights; where they do not grow any more a wider network, and where there is none all times at once."""
        self.amplification.note(self._unused(self.ansatz, self.theta), self._values(), self.ansatz.network)
        assert self.problem.time is not None
        rows = Part(self.checked, tuple(1 / size for size in self.sizes))
        times = torch.cat([block.coordinates[self.problem.time] for block in self.checked])
        front = causal.front
        verdict = causal.learn(times, sizes_on(self.ansatz, self.theta, rows).square())
        self.best, self.best_estimate = self.theta, None
        if verdict == "stuck":
            causal.since = 0
            if not self._widen():
                causal.finish()
        if causal.front != front:
            self.until = self.iteration
        self._assemble()

    def _next_stage(self) -> None:
        """To the next values of the numbers, with the network that was best at these."""
        self.stage += 1
        self.theta, self.best_estimate, self.until = self.best, None, self.iteration
        self._pose()
        self.watch = Watch(beginning=BEGINNINGS - 1, largest=self.watch.largest)
        self.amplification = Amplification()

    def _pose(self) -> None:
        """The problem of this stage in place of the one before."""
        self.ansatz = replace(self.ansatz, problem=self.continuation.stages[self.stage])
        self.sizes = sizes_of(self.ansatz.problem, self.ansatz.scales)

    def _begin_again(self) -> None:
        """Another network from the start."""
        seed = key(self.seed, "network", self.watch.beginning) % 2**31
        self.ansatz = self.ansatz.with_network(self.ansatz.network.another(seed))
        self.theta = self._fresh()
        self.method, self.amplification = type(self.method)(), Amplification()
        self.best, self.best_estimate, self.until = self.theta, None, self.iteration

    def _widen(self) -> bool:
        """Whether the network could become wider; its answers stay as they are."""
        old = self.ansatz.network
        if not (self.method.grows and old.grows) or self.fixed is not None:
            return False

        def wider(theta: Tensor) -> Tensor:
            old.read(theta[: old.size])
            return torch.cat([old.wider(WIDER, self.seed).weights(), theta[old.size :]])

        wide = old.wider(WIDER, self.seed)
        if wide.size > LARGEST:
            return False
        self.theta, self.best = wider(self.theta), wider(self.best)
        self.ansatz = self.ansatz.with_network(wide)
        self.num_points = max(self.num_points, self._enough(wide.size))
        self.until = self.iteration
        return True

    def _weigh(self) -> None:
        """With data: the next rung, a wider network, or the end."""
        if self._is_small_for_the_data():
            self._begin_larger()
            return
        now = standing(self.system, self.theta)
        self.smoothing = dict(now.smoothing)
        fit = None
        if self.problem.functions:
            fit = replace(now.fit, residual=self._unused(self.ansatz, self.theta))
        verdict = self.ladder.next(self._misfit(-1), now.values, now.errors, fit)
        if verdict == "up":
            self.best = self.theta
            relative = [
                unknown.relative(values, errors)
                for unknown, values, errors in zip(
                    self.system.unknowns.values(), now.values, now.errors, strict=True
                )
            ]
            if relative and max(relative) <= self.tol:
                self.stopped = "tolerance"
        elif verdict == "down" or (verdict == "wider" and not self._widen()):
            self.theta, self.stopped = self.best, "data"
        if self.stopped:
            self.ladder.back()
            self._assemble()

    def _is_small_for_the_data(self) -> bool:
        """Whether the network is the one that noisy data are begun with, and these have next to no noise."""
        small = self._network(BEGIN_WITH_DATA)
        if small.shapes == self._network(BEGIN_CLEAN).shapes or small.shapes != self.ansatz.network.shapes:
            return False
        assert self.observed is not None
        values = len(self.observed) * len(self.observed.values)
        return values >= CLEAR * small.size and self._misfit(-1) < CLEAN

    def _begin_larger(self) -> None:
        """The network that nearly exact data are worth, from the start."""
        self.ansatz = self.ansatz.with_network(self._network(BEGIN_CLEAN))
        self.theta = self._fresh()
        self.method, self.ladder = type(self.method)(), Ladder()
        self.best, self.smoothing = self.theta, dict.fromkeys(self.problem.functions, ROUGH)
        self.num_points = max(self.num_points, self._enough(self.ansatz.network.size))
        self._begin()

    def _unused(self, ansatz: Ansatz, theta: Tensor) -> float:
        """The root mean square of the scaled residuals at the points that are never used, and of the conditions that are learnt."""
        rows = Part(self.checked, tuple(1 / size for size in self.sizes))
        return math.sqrt(System(ansatz, [rows, *self.faces]).loss(theta))

    def _misfit(self, part: int) -> float:
        return math.sqrt(System(self.ansatz, [self.system.parts[part]]).loss(self.theta))

    def _values(self) -> Tensor:
        """What the error is measured by, scaled, at the points of measurement, for the theta that the network holds: [rows, CHECKED].

        The components; of one that enters by its derivatives alone and has no given values, such as a pressure, the derivatives, for it is
        known up to a function that they do not see.
        """
        jet, zero = self.problem.jet, (0,) * len(self.problem.coordinates)
        with torch.no_grad():
            parts = [self.ansatz.series(block) for block in self.checked]
        found = []
        for name, scale in self.ansatz.scales.items():
            needed = self.problem.needed[name.partition(".")[0]]
            floats = zero not in needed and self.problem.conditions.is_free(name)
            for index in sorted(needed) if floats else [zero]:
                place = jet.places[index]
                found.append(torch.cat([series[name][place] for series in parts]) / scale)
        return torch.stack(found)

    def _limit(self, estimate: float | None, residual: float) -> str:
        """What stands in the way of a smaller error, in words."""
        if self.stopped == "tolerance":
            return "the tolerance was reached"
        if self.observed is not None:
            return "the data" if self.stopped == "data" else "the optimizer: the fit was still moving"
        if self.stage < len(self.continuation.stages) - 1:
            return f"the continuation: it came to {self.continuation.told(self.stage)}"
        if self.causal is not None and not self.causal.done:
            return f"the way through time: the weights reached {self.causal.reached:.0%} of it"
        if self.stopped == "rounding":
            return "rounding: the residual is at the end of double precision"
        if self.watch.too_few_points:
            return f"sampling: the residual between the points is {self.watch.sampling**0.5:.1f} times the one at them"
        if self.stopped == "stagnation":
            return f"the network: {self.ansatz.network.size} weights, and nothing improved any more"
        return "the optimizer: the residual was still falling"

    # ---- the state

    def state(self) -> dict[str, Any]:
        """Everything that the solver knows, as tensors and plain numbers."""
        seen, method = self.amplification.state(), self.method.state()
        return {
            "tensors": {"theta": self.theta, "best": self.best, "points": self.points}
            | {f"network.{name}": value for name, value in self.ansatz.network.fixed().items()}
            | {f"amplification.{name}": value for name, value in seen[0].items()}
            | {f"method.{name}": value for name, value in method[0].items()},
            "numbers": {
                "amplification": seen[1],
                "method": method[1] | {"name": type(self.method).__name__},
                "ladder": asdict(self.ladder),
                "causal": None if self.causal is None else self.causal.state(),
                "watch": asdict(self.watch),
                "network": self.ansatz.network.described(),
                "history": [asdict(record) for record in self.history],
            }
            | {name: getattr(self, name) for name in COUNTED},
        }

    def _read(self, state: Mapping[str, Any]) -> None:
        tensors, numbers = state["tensors"], state["numbers"]
        if "windows" in numbers:
            raise ValueError(f"the state is of {numbers['windows']} windows of time: pass the same windows=")
        if numbers["seed"] != self.seed:
            raise ValueError(f"the state is of seed {numbers['seed']}; this solver has seed {self.seed}")
        network = self.ansatz.network.restored(numbers["network"], under("network.", tensors))
        self.ansatz = self.ansatz.with_network(network)
        if tensors["theta"].shape != self._fresh().shape:
            raise ValueError("the state belongs to another problem: its weights do not fit")
        # copies lie in memory as the originals did: sums of unaligned numbers round otherwise
        self.theta, self.best, self.points = (tensors[name].clone() for name in ("theta", "best", "points"))
        self.amplification.read(under("amplification.", tensors), numbers["amplification"], network)
        if numbers["method"]["name"] != type(self.method).__name__:
            raise ValueError(
                f"the state is of {numbers['method']['name']}; this solver has {type(self.method).__name__}: pass the same method="
            )
        self.method.read(under("method.", tensors), numbers["method"])
        self.ladder, self.watch = Ladder(**numbers["ladder"]), Watch(**numbers["watch"])
        self.history = [Record(**record) for record in numbers["history"]]
        for name in COUNTED:
            setattr(self, name, numbers[name])
        if (numbers["causal"] is None) != (self.causal is None) or self.stage >= len(
            self.continuation.stages
        ):
            raise ValueError(
                "the state is of another continuation or other causal weights: pass the same ones"
            )
        if self.causal is not None:
            self.causal.read(numbers["causal"])
        self._pose()
        self._begin()
        if len(self.points):
            self._assemble()


def refuse_tolerance(tol: Any) -> None:
    """Raises `ValueError` for what is no relative error."""
    if isinstance(tol, bool) or not isinstance(tol, (int, float)) or not 0 < tol < 1:
        raise ValueError(f"tol is {tol!r}; expected a relative error between 0 and 1, such as 1e-4")


COUNTED = (
    "stage",
    "smoothing",
    "seed",
    "iteration",
    "round",
    "until",
    "num_points",
    "best_estimate",
    "seconds",
)
