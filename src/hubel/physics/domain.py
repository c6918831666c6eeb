"""What a domain is, as it was written: ranges of coordinates, and the shape that two of them may lie within."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hubel.physics.conditions import AROUND, Within
from hubel.physics.shapes import Shape


def with_shape(domain: Any) -> tuple[Any, Within | None]:
    """The domain with ranges alone, and the shape that two of its coordinates lie within."""
    if not isinstance(domain, Mapping):
        return domain, None
    found, within = {}, None
    for key, value in domain.items():
        if not isinstance(value, Shape) and not isinstance(key, tuple):
            found[key] = value
            continue
        if not isinstance(value, Shape) or not isinstance(key, tuple) or len(key) != 2 or key[0] == key[1]:
            raise TypeError(
                f'the domain has {key!r}: {type(value).__name__}; a shape is given to two coordinates, {{("x", "y"): shapes.disk(0, 0, 1)}}'
            )
        if within is not None:
            raise ValueError("the domain has two shapes: only two coordinates can lie within one")
        if any(not low < high for low, high in value.box) or not bool(
            value.inside(*_spread(value.box)).any()
        ):
            raise ValueError(f"the domain is empty: no point is inside {value}")
        places = (len(found), len(found) + 1)
        found |= dict(zip(key, value.box, strict=True))
        within = Within((str(key[0]), str(key[1])), places, value)
    if within is not None and AROUND in found:
        raise ValueError(f"no coordinate can have the name {AROUND!r} where there is a shape")
    return found, within


def _spread(box: tuple[tuple[float, float], tuple[float, float]]) -> list[Tensor]:
    """4,096 points of a box."""
    share = torch.quasirandom.SobolEngine(2, scramble=True, seed=6).draw(4096, dtype=torch.float64)
    return [low + (high - low) * share[:, place] for place, (low, high) in enumerate(box)]


def ranges_of(domain: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The range of every coordinate. Raises `TypeError` or `ValueError` for what is none."""
    if not isinstance(domain, Mapping) or not domain:
        raise TypeError(
            f"domain must give every coordinate its range, dict(t=(0, 1), x=(-1, 1)); received {domain!r}"
        )
    found = {}
    for name, ends in domain.items():
        if not str(name).isidentifier():
            raise ValueError(f"{name!r} can not be the name of a coordinate: the residual could not take it")
        try:
            low, high = (float(end) for end in ends)
        except (TypeError, ValueError):
            raise ValueError(f"the range of {name} is {ends!r}; expected two numbers, (low, high)") from None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the range of {name} is {low:g} to {high:g}: it is empty; expected low < high")
        found[str(name)] = (low, high)
    return found
