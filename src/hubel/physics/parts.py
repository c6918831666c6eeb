"""The rows of a problem's system: equation, conditions that are learnt, data; and how far the conditions are violated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hubel.physics.ansatz import Ansatz
from hubel.physics.causal import Causal
from hubel.physics.jets import Jet
from hubel.physics.observations import Observations
from hubel.physics.sampling import sobol
from hubel.physics.system import Part, System, prepared_blocks, sizes_of

STRICT = 10.0  # how much more a learnt condition weighs than the equation


def equation(ansatz: Ansatz, points: Tensor, sizes: Sequence[float], emphasis: float = 1.0) -> Part:
    """The residuals at the points [N, D], divided by their sizes."""
    weights = tuple(emphasis / size for size in sizes)
    return Part(prepared_blocks(ansatz, points, ansatz.problem.jet), weights)


def causally(part: Part, causal: Causal) -> Part:
    """The same part of an equation with causal weights beside those that its points have."""
    blocks = []
    for block in part.blocks:
        weight = causal.at(block.coordinates[causal.time])
        blocks.append(replace(block, weight=weight if block.weight is None else weight * block.weight))
    return replace(part, blocks=tuple(blocks))


def residual_sizes(ansatz: Ansatz, theta: Tensor, points: Tensor, sizes: Sequence[float]) -> Tensor:
    """How large the scaled residuals are at every point, [N]."""
    return sizes_on(ansatz, theta, equation(ansatz, points, sizes))


def sizes_on(ansatz: Ansatz, theta: Tensor, part: Part) -> Tensor:
    """How large the scaled residuals of a part are at every one of its points, [N]."""
    sizes, points = part.weights, part.num_points
    rows = System(ansatz, [part]).residuals(theta)
    counts = [len(block) * len(sizes) for block in part.blocks]
    found = [own.view(len(sizes), -1).square().sum(0) for own in rows.split(counts)]
    return torch.cat(found).sqrt() * points**0.5


def measured(
    ansatz: Ansatz, points: Tensor, values: Mapping[str, Tensor], scales: Mapping[str, float]
) -> Part:
    """The difference to known values [N] of some components at the points [N, D], divided by their scales."""
    blocks = prepared_blocks(ansatz, points, Jet(((0,) * points.shape[1],)))
    columns = {name: column.split([len(block) for block in blocks]) for name, column in values.items()}
    observed = tuple(
        {name: pieces[place] for name, pieces in columns.items()} for place in range(len(blocks))
    )
    return Part(blocks, tuple(1 / scales[name] for name in values), observed=observed)


def of_data(ansatz: Ansatz, observed: Observations) -> Part:
    """The difference to data."""
    return measured(ansatz, observed.points, observed.values, observed.scales)


def learnt_conditions(ansatz: Ansatz, num: int, seed: int, purpose: str = "faces") -> dict[str, Part]:
    """All conditions that the form of the solution does not fulfil by itself, each at `num` points of its face, by their names."""
    problem, found = ansatz.problem, {}
    for number, soft in enumerate(problem.conditions.soft):
        face = ansatz.region | {soft.coordinate: (soft.at, soft.at)}
        points = sobol(face, num, seed, purpose, number, problem.inside)
        weights = tuple(STRICT / size for size in sizes_of(problem, ansatz.scales, soft))
        found[soft.name] = Part(prepared_blocks(ansatz, points, problem.jet), weights, condition=soft)
    if ansatz.exact:
        return found
    for name in problem.components:
        for x, at, value in problem.conditions.faces(name):
            face = ansatz.region | {x: (at, at)}
            points = sobol(face, num, seed, f"{purpose} {name} {x} {at}", inside=problem.inside)
            others = [column for k, column in enumerate(points.unbind(1)) if problem.coordinates[k] != x]
            known = value(*others).expand(num)
            found[f"{name} at {x} = {at:g}"] = measured(ansatz, points, {name: known}, ansatz.scales)
    return found


def violations(ansatz: Ansatz, theta: Tensor, num: int, seed: int) -> dict[str, float]:
    """The largest violation of every condition that was learnt, in its own units, at points that were not used to learn it."""
    found = {}
    for name, part in learnt_conditions(ansatz, num, seed, "faces judged").items():
        rows = System(ansatz, [part]).residuals(theta).abs() * part.num_points**0.5
        units = torch.tensor(part.weights, dtype=torch.float64)
        counts = [len(block) * len(units) for block in part.blocks]
        found[name] = max(
            float((own.view(len(units), -1) / units[:, None]).max()) for own in rows.split(counts)
        )
    return found
