"""The form of a solution whose time was cut into windows (`windows`): each time is answered by the network of its own window.

At a seam two windows meet; there both answer the same value, and the later one is asked. Times after the last window that was reached are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.conditions import Value
from hubel.physics.jets import Jet
from hubel.physics.networks import Network, under
from hubel.physics.problem import Problem
from hubel.physics.smoothness import kinks


@dataclass(frozen=True)
class Window:
    """One of `num` equal windows of the time of a `whole` problem: the one after those `before`."""

    whole: Problem
    num: int = 1
    before: tuple[Ansatz, ...] = ()

    @property
    def problem(self) -> Problem:
        """The problem in this window: in its time, and from where the one before ended."""
        edges, place = edges_of(self.whole, self.num), len(self.before)
        initial = _handed_on(self.before[-1]) if self.before else self.whole.conditions.initial
        return self.whole.during(edges[place], edges[place + 1], initial)

    @property
    def begins_with_kinks(self) -> bool:
        """Whether the beginning has to be learnt for its kinks, and for them alone. Where the time before has taken them away, it can be exact:
        unless values at ends are learnt as well, for these it would keep.
        """
        conditions = self.whole.conditions
        if any(len(values) > 1 for values in conditions.initial.values()):
            return False
        return bool(kinks(self.whole)) and not (self.before and not any(conditions.ends.values()))


@dataclass(frozen=True)
class Pieces:
    """The forms in the `windows` that were reached, of `num` equal ones.

    >>> from hubel.physics import Problem
    >>> decay = Problem(lambda u: u.t + u, domain=dict(t=(0, 1)), initial=1.0)
    >>> edges_of(decay, 4)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """

    problem: Problem
    num: int
    windows: tuple[Ansatz, ...]

    @property
    def network(self) -> Network:
        """That of the last window that was reached."""
        return self.windows[-1].network

    @property
    def num_weights(self) -> int:
        """The weights of all networks."""
        return sum(window.network.size for window in self.windows)

    def at(self, points: Tensor, jet: Jet) -> dict[str, Tensor]:
        """Taylor coefficients [M, N] of every component at `points` [N, D], NaN at times that were not reached."""
        time, edges, reached = self.problem.time, edges_of(self.problem, self.num), len(self.windows)
        assert time is not None
        times = points[:, self.problem.coordinates.index(time)].contiguous()
        places = torch.bucketize(times, torch.tensor(edges[1:reached], dtype=torch.float64), right=True)
        if reached < self.num:
            places = torch.where(times > edges[reached], reached, places)
        shape = (len(jet.indices), len(points))
        found = {name: torch.full(shape, torch.nan, dtype=torch.float64) for name in self.problem.components}
        for number, window in enumerate(self.windows):
            own = (places == number).nonzero()[:, 0]
            if len(own):
                for name, values in window.at(points[own], jet).items():
                    found[name][:, own] = values
        return found

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain numbers; `Pieces.built` reads them."""
        tensors, numbers = {}, []
        for place, window in enumerate(self.windows):
            own, form = window.saved()
            tensors |= {f"window.{place}.{name}": value for name, value in own.items()}
            numbers.append(form)
        return tensors, {"windows": numbers, "num_windows": self.num}

    @staticmethod
    def built(
        problem: Problem,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        network: nn.Module | None = None,
    ) -> Pieces:
        """The form again, from the problem and what `saved()` answered; a `network` of your own is passed again.

        Raises `ValueError` where the numbers belong to another problem, or the network is lacking or another one.
        """
        windows: list[Ansatz] = []
        for place, form in enumerate(numbers["windows"]):
            before = tuple(windows) if form["exact"] else ()
            own = Window(problem, numbers["num_windows"], tuple(windows)).problem
            windows.append(Ansatz.built(own, under(f"window.{place}.", tensors), form, network, before))
        return Pieces(problem, numbers["num_windows"], tuple(windows))


def edges_of(problem: Problem, num: int) -> tuple[float, ...]:
    """The times [num + 1] at which `num` equal windows begin and end."""
    assert problem.time is not None
    low, high = problem.ranges[problem.time]
    return (*(low + (high - low) * place / num for place in range(num)), high)


def _handed_on(before: Ansatz) -> dict[str, tuple[Value, ...]]:
    """The values of every component (and the speeds of some) at the end of a window, as functions of the other coordinates."""
    problem = before.problem
    assert problem.time is not None
    place, end = problem.coordinates.index(problem.time), problem.ranges[problem.time][1]

    def at_end(name: str, order: int) -> Value:
        index = tuple(order if k == place else 0 for k in range(len(problem.coordinates)))

        def found(*others: Tensor) -> Tensor:
            columns = list(others)
            columns.insert(place, torch.full_like(others[0], end) if others else torch.tensor([end]))
            jet = Jet.of([index])
            series = before.at(torch.stack(columns, dim=1), jet)
            return series[name][jet.places[index]] * jet.factorials[jet.places[index]]

        return found

    return {
        name: tuple(at_end(name, order) for order in range(len(known)))
        for name, known in problem.conditions.initial.items()
    }
