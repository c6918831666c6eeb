"""The form in which a solution is looked for:  u = g + d s N(features),  with the conditions in g and d (`conditions`), s the size of u.

The network reads every coordinate mapped to [-1, 1], or cosine and sine where the coordinate is periodic. Where a symmetry was found
(`mirror`), N(x) + p N(2c - x) stands for N(x); both are evaluated as one batch.

In a window of time after others (`windows`) g begins where the one before ended: with g and the d_j s N_j of the windows before,

    u = g + sum over j of (d_j s N_j at the end e_j of window j + (t - e_j) times its speed there) + d s N,

the speed where one was given at the beginning. Exact, for d vanishes on all faces in every window; and flat: each network is asked once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hubel.physics.conditions import Conditions
from hubel.physics.jets import Index, Jet
from hubel.physics.mirror import Mirror
from hubel.physics.network import with_cosines
from hubel.physics.networks import Network, Noted, rebuilt, under
from hubel.physics.problem import Problem
from hubel.physics.splines import Basis


@dataclass(frozen=True)
class Prepared:
    """What is known of N points before the network is asked: Taylor coefficients of its features [M, F, R N] (R images of every point)
    and of g and d [M, N] of every component (None where they are 0 and 1). `weight` [N] is what the residuals of the equation are multiplied
    by there (None for 1).
    """

    jet: Jet
    points: Tensor
    features: Tensor
    given: Mapping[str, Tensor | None]
    distance: Mapping[str, Tensor | None]
    coordinates: Mapping[str, Tensor]
    weight: Tensor | None = None
    unknowns: Mapping[str, Basis] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def bases(self) -> dict[str, Tensor]:
        """Taylor coefficients [M, B, N] of those functions."""
        return {name: basis.series(self.points) for name, basis in self.unknowns.items()}


class HandedOn(Protocol):
    """What comes after its end of a function that was given until then."""

    def continued(self, points: Tensor, jet: Jet) -> dict[str, Tensor]:
        """Taylor coefficients [M, N] at `points` [N, D], of every component that has a beginning."""
        ...


@dataclass(frozen=True)
class Ansatz:
    """How numbers of a network become values of the components of all fields; where not `exact`, g = 0 and d = 1. `before` are the forms in
    the windows of time before, where there are some, and `changes` what else is added to the beginning.
    """

    problem: Problem
    network: Network
    mirror: Mirror | None
    scales: Mapping[str, float]
    exact: bool = True
    before: tuple[Ansatz, ...] = ()
    changes: tuple[HandedOn, ...] = ()

    @property
    def num_weights(self) -> int:
        """The weights of the network."""
        return self.network.size

    @property
    def images(self) -> int:
        """How often the network is evaluated for one point."""
        return 1 if self.mirror is None else 2

    @cached_property
    def conditions(self) -> Conditions:
        """Those that g and d fulfil; at ends about which the network is odd there is nothing left to do."""
        if not self.exact:
            return self.problem.conditions.learnt()
        if self.mirror is not None and self.mirror.continues:
            return self.problem.conditions.without(self.mirror.coordinate)
        return self.problem.conditions

    @cached_property
    def region(self) -> dict[str, tuple[float, float]]:
        """The part of the domain that has to be looked at: half of it where there is a mirror in the middle."""
        found = dict(self.problem.ranges)
        if self.mirror is not None and not self.mirror.at_end:
            low, high = found[self.mirror.coordinate]
            found[self.mirror.coordinate] = ((low + high) / 2, high)
        return found

    def with_network(self, network: Network) -> Ansatz:
        """The same with another network."""
        return replace(self, network=network)

    def prepare(self, points: Tensor, jet: Jet) -> Prepared:
        """All that does not depend on the weights, at `points` [N, D]."""
        at = list(points.unbind(1))
        first = self.before[0].conditions if self.before else self.conditions
        given: dict[str, Tensor | None] = {
            name: None if first.is_free(name) else jet.of_function(lambda *c, n=name: first.given(n, *c), at)
            for name in self.problem.components
        }
        for earlier in (*self.before, *self.changes):
            for name, more in earlier.continued(points, jet).items():
                known = given[name]
                given[name] = more if known is None else known + more
        coordinates = dict(zip(self.problem.coordinates, at, strict=True))
        within = self.problem.conditions.within
        weight = None if within is None else within.distance(*at).clamp(0, 1)
        features, distance = self._mirrored(at, jet), self._distances(at, jet)
        return Prepared(jet, points, features, given, distance, coordinates, weight, self.problem.bases)

    def continued(self, points: Tensor, jet: Jet) -> dict[str, Tensor]:
        """What this window of time hands on: the Taylor coefficients [M, N] at `points` [N, D] after its end e of d s N at e, plus (t - e)
        times its speed at e where a speed was given; of every component that has a beginning.
        """
        time = self.problem.time
        assert time is not None
        place, end = self.problem.coordinates.index(time), self.problem.ranges[time][1]
        speeds = {name: len(known) - 1 for name, known in self.problem.conditions.initial.items() if known}
        highest = max(speeds.values(), default=0)

        def at_order(index: Index, order: int) -> Index:
            return (*index[:place], order, *index[place + 1 :])

        own = Jet.of(at_order(index, highest) for index in jet.indices)
        there = points.clone()
        there[:, place] = end
        at = list(there.unbind(1))
        nothing: dict[str, Tensor | None] = dict.fromkeys(self.problem.components)
        with torch.no_grad():
            series = self.series(
                Prepared(own, there, self._mirrored(at, own), nothing, self._distances(at, own), {})
            )
        since, found = points[:, place] - end, {}
        for name, speed in speeds.items():
            rows = []
            for index in jet.indices:
                total = torch.zeros_like(since)
                for order in range(index[place], speed + 1):
                    share = math.comb(order, index[place]) * since ** (order - index[place])
                    total = total + share * series[name][own.places[at_order(index, order)]]
                rows.append(total)
            found[name] = torch.stack(rows)
        return found

    def _distances(self, at: list[Tensor], jet: Jet) -> dict[str, Tensor | None]:
        """The Taylor coefficients [M, N] of d of every component, None where it is 1."""
        own = self.conditions
        return {
            name: None if own.is_free(name) else jet.of_function(lambda *c, n=name: own.distance(n, *c), at)
            for name in self.problem.components
        }

    def _mirrored(self, at: list[Tensor], jet: Jet) -> Tensor:
        """The features [M, F, R N] of the points and of their images."""
        features, signs = self._features(at, jet)
        if self.mirror is None:
            return features
        return torch.cat([features, features * signs[:, None]], dim=2)

    def _features(self, at: list[Tensor], jet: Jet) -> tuple[Tensor, Tensor]:
        """Their Taylor coefficients [M, F, N], and the signs [F] that they take in the mirror."""
        found, signs = [], []
        for place, x in enumerate(self.problem.coordinates):
            low, high = self.problem.ranges[x]
            mirrored = self.mirror is not None and self.mirror.coordinate == x
            series = jet.coordinate(at[place], place)
            if x in self.conditions.periodic:
                period = (high - low) * (
                    2 if self.mirror is not None and mirrored and self.mirror.at_end else 1
                )
                found += with_cosines(jet, series, (1,), period, low)
                signs += [1.0, -1.0 if mirrored else 1.0]
            else:
                half = (high - low) / 2
                found.append(torch.cat([(series[:1] - (low + high) / 2) / half, series[1:] / half]))
                signs.append(-1.0 if mirrored else 1.0)
        return torch.stack(found, dim=1), torch.tensor(signs, dtype=torch.float64)

    def series(self, prepared: Prepared, tape: Noted | None = None) -> dict[str, Tensor]:
        """Taylor coefficients [M, N] of every component."""
        jet, found = prepared.jet, {}
        answered = self.network.series(prepared.features, jet, tape)
        for place, name in enumerate(self.problem.components):
            values = answered[:, place]
            if self.mirror is not None:
                here, there = values.tensor_split(2, dim=1)
                values = here + self.mirror.parities[name] * there
            if self.scales[name] != 1:
                values = values * self.scales[name]
            d, g = prepared.distance[name], prepared.given[name]
            if d is not None:
                values = jet.times(d, values)
            found[name] = values if g is None else values + g
        return found

    def at(self, points: Tensor, jet: Jet) -> dict[str, Tensor]:
        """Taylor coefficients [M, N] of every component at `points` [N, D]."""
        with torch.no_grad():
            return self.series(self.prepare(points, jet))

    def back(self, prepared: Prepared, slopes: Mapping[str, Tensor]) -> Tensor:
        """The slopes by the answer of the network [M, K, R N], from those by the Taylor coefficients [M, N] of every component."""
        found = []
        for name in self.problem.components:
            slope, d = slopes[name], prepared.distance[name]
            if d is not None:
                slope = prepared.jet.turned(d, slope)
            if self.scales[name] != 1:
                slope = slope * self.scales[name]
            if self.mirror is not None:
                slope = torch.cat([slope, self.mirror.parities[name] * slope], dim=1)
            found.append(slope)
        return torch.stack(found, dim=1)

    def values(self, points: Tensor) -> Tensor:
        """The components [C, N] themselves at `points` [N, D]."""
        series = self.at(points, Jet(((0,) * points.shape[1],)))
        return torch.stack([series[name][0] for name in self.problem.components])

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and the rest of the network as tensors, the form as plain numbers; `Ansatz.built` reads them."""
        mirror = self.mirror
        tensors = {"weights": self.network.weights()}
        tensors |= {f"network.{name}": value for name, value in self.network.fixed().items()}
        return tensors, {
            "network": self.network.described(),
            "mirror": None if mirror is None else asdict(mirror) | {"parities": dict(mirror.parities)},
            "scales": dict(self.scales),
            "exact": self.exact,
        }

    @staticmethod
    def built(
        problem: Problem,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        network: nn.Module | None = None,
        before: tuple[Ansatz, ...] = (),
    ) -> Ansatz:
        """The form again, from the problem and what `saved()` answered; a `network` of your own is passed again.

        Raises `ValueError` where the numbers belong to another problem, or the network is lacking or another one.
        """
        mirror = None if numbers["mirror"] is None else Mirror(**numbers["mirror"])
        features = features_of(problem, mirror)
        expected = (len(features), len(problem.components))
        known = numbers["network"]
        if (known["inputs"], known["outputs"]) != expected or set(numbers["scales"]) != set(
            problem.components
        ):
            raise ValueError(
                f"this network reads {known['inputs']} features and answers {', '.join(numbers['scales'])}; the problem needs "
                f"{expected[0]} features and {', '.join(problem.components)}: it is the solution of another problem"
            )
        own = rebuilt(known, under("network.", tensors), given=network, features=features)
        if tensors["weights"].shape != (own.size,):
            raise ValueError(f"expected {own.size} weights; received {list(tensors['weights'].shape)}")
        own.read(tensors["weights"])
        return Ansatz(problem, own, mirror, dict(numbers["scales"]), numbers["exact"], before)


def features_of(problem: Problem, mirror: Mirror | None = None) -> list[str]:
    """The names of what the network reads: coordinates mapped to [-1, 1]; cosine and sine where the coordinate is periodic.

    >>> features_of(Problem(lambda u: u.t + u.x, domain=dict(t=(0, 1), x=(0, 2)), boundary={"x": "periodic"}))
    ['t', 'cos x', 'sin x']
    """
    continued = {mirror.coordinate} if mirror is not None and mirror.continues else set()
    turning = set(problem.conditions.periodic) | continued
    return [
        name for x in problem.coordinates for name in ((f"cos {x}", f"sin {x}") if x in turning else (x,))
    ]


def inputs_of(problem: Problem, mirror: Mirror | None) -> int:
    """The number of features that the network reads."""
    return len(features_of(problem, mirror))


def scales_of(problem: Problem) -> dict[str, float]:
    """The size of every component as its conditions tell it, 1 where they tell nothing."""
    generator = torch.Generator().manual_seed(3)
    share = torch.rand(256, len(problem.ranges), dtype=torch.float64, generator=generator)
    at = [low + (high - low) * share[:, k] for k, (low, high) in enumerate(problem.ranges.values())]
    found = {}
    for name in problem.components:
        size = float(problem.conditions.given(name, *at).square().mean().sqrt())
        found[name] = size if math.isfinite(size) and size > 0 else 1.0
    return found
