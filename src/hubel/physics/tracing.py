"""What a residual needs, from one call with recording fields: its derivatives, and how many values it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hubel.physics.field import Field, recorded
from hubel.physics.jets import Index
from hubel.physics.unknown import Unknown

TRACED = 7  # points: no size of a domain, so that a shape that is wrong is seen


def traced(
    residual: Callable[..., Any],
    takes: Sequence[str],
    fields: Sequence[str],
    complex: frozenset[str],
    ranges: Mapping[str, tuple[float, float]],
    parameters: Mapping[str, float | Unknown],
    what: str = "the residual",
) -> tuple[dict[str, frozenset[Index]], int]:
    """Which derivatives are needed of each field and of each unknown function, and how many residuals there are."""
    generator = torch.Generator().manual_seed(0)
    functions = {
        name: value.of for name, value in parameters.items() if isinstance(value, Unknown) and value.of
    }
    of = dict.fromkeys(fields, tuple(ranges)) | functions
    recording, asked = recorded(of, TRACED, generator, complex)
    share = torch.rand(TRACED, len(ranges), dtype=torch.float64, generator=generator)
    given: dict[str, Any] = dict(recording)
    for place, (name, (low, high)) in enumerate(ranges.items()):
        given[name] = low + (high - low) * share[:, place]
    for name, value in parameters.items():
        if name in functions:
            continue
        given[name] = (
            torch.full((TRACED,), value.start, dtype=torch.float64) if isinstance(value, Unknown) else value
        )
    try:
        answered = as_residuals(residual(**{name: given[name] for name in takes}))
    except AttributeError as error:
        raise ValueError(f"{what} asks for what there is not: {error}") from error
    for place, value in enumerate(answered):
        which = f"residual {place + 1}" if len(answered) > 1 else what
        if not isinstance(value, Tensor) or tuple(value.shape) != (TRACED,):
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"
            raise ValueError(
                f"{which} answered {got} for {TRACED} points; expected one value a point, [{TRACED}]"
            )
        if not value.requires_grad:
            raise ValueError(f"{which} depends on no field: it is constant, and nothing could make it vanish")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{which} is NaN or infinite for fields between 0.5 and 1.5: check roots, logarithms and divisions"
            )
    return {name: frozenset(asked[name]) for name in of}, len(answered)


def as_residuals(answered: Any) -> list[Tensor]:
    """What a residual answered, as a list of real ones; a field that is asked to vanish stands for its value."""
    several = answered if isinstance(answered, (tuple, list)) else [answered]
    found = []
    for given in several:
        value = given.value if isinstance(given, Field) else given
        split = isinstance(value, Tensor) and value.is_complex()
        found += [value.real, value.imag] if split else [value]
    return found
