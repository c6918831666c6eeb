"""A trial solution: a form whose weights and unknowns are fitted, by least squares, at points that follow the residual.

The residual is made small at some points, and measured at others, which stay and are never used to lower it. When points are drawn, when the
network grows and when the work ends is for others to say: `forward` without data, `inverse` with them.

I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Networks 9 (1998) 987, doi:10.1109/72.712178.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.architecture import Architecture
from hubel.physics.methods import LARGEST, Method, method_for
from hubel.physics.networks import Network, under
from hubel.physics.parts import learnt_conditions, residual_sizes
from hubel.physics.problem import Problem
from hubel.physics.sampling import drawn, sobol
from hubel.physics.system import Part, System, prepared_blocks, sizes_of

FEWEST = 500  # points on which the equation is asked to hold
CHECKED = 3000  # points at which the residual is measured and that are never used to lower it
FACE = 256  # points of every condition that is learnt
WIDER = 1.3  # by which the layers of the network grow


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is chosen beside the problem, by the names and with the meanings that `solve` has."""

    tol: float
    seed: int
    network: Architecture | nn.Module | None
    method: Method | None
    exact: bool
    points: int | None


class Trial:
    """The form `ansatz`, its numbers `theta` [P] (weights, then what is searched behind unknowns), the `best` ones, and the `method`.

    The `points` [N, D] were drawn in round `round`, and the `system` on them is used for `left` more iterations. There are `num_points`: as
    many as are `fixed`, or FEWEST and `enough(method, weights)` at least. The residual is measured at the points `checked`; `faces` are the
    conditions that are learnt.
    """

    system: System

    def __init__(self, ansatz: Ansatz, settings: Settings, enough: Callable[[Method, int], int]):
        problem, seed = ansatz.problem, settings.seed
        self.ansatz, self.seed, self.fixed, self.enough = ansatz, seed, settings.points, enough
        self.unused_method = settings.method or method_for(ansatz.network.size)
        self.method = copy.deepcopy(self.unused_method)
        self.theta = self.best = self._fresh()
        self.points = torch.empty(0, len(problem.coordinates), dtype=torch.float64)
        self.num_points, self.round, self.left = self.fixed or 0, 0, 0
        self._ask_for_enough()
        self.sizes = sizes_of(problem, ansatz.scales)
        checked = sobol(ansatz.region, CHECKED, seed, "checked", inside=problem.inside)
        self.checked = prepared_blocks(ansatz, checked, problem.jet)
        self.faces = tuple(learnt_conditions(ansatz, FACE, seed).values())

    @property
    def grows(self) -> bool:
        """Whether the network may become another one."""
        return self.method.grows and self.ansatz.network.grows

    @property
    def checked_rows(self) -> Part:
        """The rows of the equation at the points that are never used."""
        return Part(self.checked, tuple(1 / size for size in self.sizes))

    def residual(self, ansatz: Ansatz, theta: Tensor) -> float:
        """The root mean square of the scaled residuals at the points that are never used, and of the conditions that are learnt."""
        return math.sqrt(System(ansatz, [self.checked_rows, *self.faces]).loss(theta))

    def values(self, theta: Tensor) -> Tensor:
        """What the error is measured by, scaled, at the points of measurement: [rows, CHECKED].

        The components; of one that enters by its derivatives alone and has no given values, such as a pressure, the derivatives, for it is
        known up to a function that they do not see.
        """
        problem, found = self.ansatz.problem, []
        zero = (0,) * len(problem.coordinates)
        self.ansatz.network.read(theta[: self.ansatz.network.size])
        with torch.no_grad():
            parts = [self.ansatz.series(block) for block in self.checked]
        for name, scale in self.ansatz.scales.items():
            needed = problem.needed[name.partition(".")[0]]
            floats = zero not in needed and problem.conditions.is_free(name)
            for index in sorted(needed) if floats else [zero]:
                place = problem.jet.places[index]
                found.append(torch.cat([series[name][place] for series in parts]) / scale)
        return torch.stack(found)

    def draw(self, region: Mapping[str, tuple[float, float]], iterations: int) -> None:
        """New points in a `region`, for so many `iterations`; a number that is fixed is drawn once, from everywhere."""
        inside = self.ansatz.problem.inside
        if self.fixed is not None:
            self.points = sobol(self.ansatz.region, self.fixed, self.seed, "points", inside=inside)
        else:
            self.points = drawn(
                region,
                self.num_points,
                self.seed,
                self.round,
                lambda points: residual_sizes(self.ansatz, self.theta, points, self.sizes),
                inside,
            )
        self.round += 1
        self.left = iterations

    def ask_for(self, num_points: int) -> None:
        """New points, at least so many, where their number is not fixed."""
        if self.fixed is None:
            self.num_points, self.left = max(self.num_points, num_points), 0

    def pose(self, problem: Problem) -> None:
        """The same with other numbers in the equation."""
        self.ansatz = replace(self.ansatz, problem=problem)
        self.sizes = sizes_of(problem, self.ansatz.scales)

    def begin_with(self, network: Network) -> None:
        """Another network, from the start."""
        self.ansatz = self.ansatz.with_network(network)
        self.method = copy.deepcopy(self.unused_method)
        self.theta = self.best = self._fresh()
        self.left = 0
        self._ask_for_enough()

    def widen(self) -> bool:
        """Whether the network could become wider; its answers stay as they are."""
        old = self.ansatz.network
        if not self.grows or self.fixed is not None:
            return False

        def wider(theta: Tensor) -> Tensor:
            old.read(theta[: old.size])
            return torch.cat([old.wider(WIDER, self.seed).weights(), theta[old.size :]])

        wide = old.wider(WIDER, self.seed)
        if wide.size > LARGEST:
            return False
        self.theta, self.best = wider(self.theta), wider(self.best)
        self.ansatz = self.ansatz.with_network(wide)
        self._ask_for_enough()
        return True

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        network, (own, numbers) = self.ansatz.network, self.method.state()
        tensors = {"theta": self.theta, "best": self.best, "points": self.points}
        tensors |= {f"network.{name}": value for name, value in network.fixed().items()}
        tensors |= {f"method.{name}": value for name, value in own.items()}
        return tensors, {
            "network": network.described(),
            "method": numbers | {"name": type(self.method).__name__},
            "round": self.round,
            "num_points": self.num_points,
        }

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again. Raises `ValueError` where it is one of another problem, network or method."""
        network = self.ansatz.network.restored(numbers["network"], under("network.", tensors))
        self.ansatz = self.ansatz.with_network(network)
        if tensors["theta"].shape != self._fresh().shape:
            raise ValueError("the state belongs to another problem: its weights do not fit")
        # copies lie in memory as the originals did: sums of unaligned numbers round otherwise
        self.theta, self.best, self.points = (tensors[name].clone() for name in ("theta", "best", "points"))
        if numbers["method"]["name"] != type(self.method).__name__:
            raise ValueError(
                f"the state is of {numbers['method']['name']}; this solver has {type(self.method).__name__}: pass the same method="
            )
        self.method.read(under("method.", tensors), numbers["method"])
        self.round, self.num_points = numbers["round"], numbers["num_points"]

    def _ask_for_enough(self) -> None:
        """New points, as many as the network is worth."""
        self.ask_for(max(FEWEST, self.enough(self.method, self.ansatz.network.size)))

    def _fresh(self) -> Tensor:
        """The weights of the network as it is, and unknowns at their start."""
        inner = sum(basis.size for basis in self.ansatz.problem.bases.values())
        return torch.cat([self.ansatz.network.weights(), torch.zeros(inner, dtype=torch.float64)])
