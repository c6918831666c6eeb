"""The form in which a solution is looked for:  u = g + d s N(features),  with the conditions in g and d (`conditions`), s the size of u.

The network reads every coordinate mapped to [-1, 1], or cosine and sine where the coordinate is periodic. Where a symmetry was found
(`mirror`), N(x) + p N(2c - x) stands for N(x); both are evaluated as one batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from hubel.physics.conditions import Conditions
from hubel.physics.jets import Jet
from hubel.physics.mirror import Mirror
from hubel.physics.network import with_cosines
from hubel.physics.networks import Network, Noted
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


@dataclass(frozen=True)
class Ansatz:
    """How numbers of a network become values of the components of all fields; where not `exact`, g = 0 and d = 1."""

    problem: Problem
    network: Network
    mirror: Mirror | None
    scales: Mapping[str, float]
    exact: bool = True

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
        features, signs = self._features(at, jet)
        if self.mirror is not None:
            features = torch.cat([features, features * signs[:, None]], dim=2)
        given: dict[str, Tensor | None] = {}
        distance: dict[str, Tensor | None] = {}
        for name in self.problem.components:
            bare = self.conditions.is_free(name)
            given[name] = (
                None if bare else jet.of_function(lambda *c, n=name: self.conditions.given(n, *c), at)
            )
            distance[name] = (
                None if bare else jet.of_function(lambda *c, n=name: self.conditions.distance(n, *c), at)
            )
        coordinates = dict(zip(self.problem.coordinates, at, strict=True))
        within = self.problem.conditions.within
        weight = None if within is None else within.distance(*at).clamp(0, 1)
        bases = self.problem.bases
        return Prepared(jet, points, features, given, distance, coordinates, weight, bases)

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
        jet = Jet(((0,) * points.shape[1],))
        with torch.no_grad():
            series = self.series(self.prepare(points, jet))
        return torch.stack([series[name][0] for name in self.problem.components])


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
