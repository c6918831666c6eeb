"""An equation with its domain, its numbers and its conditions: `Problem(residual, domain=..., initial=..., boundary=...)`.

The names in the signature of the residual say what is what: coordinates are those of the domain, parameters those that are given a value
here, and all others are fields, the functions that are looked for. The residual is called once with recording fields: which derivatives it
needs is known before anything is solved, and what is wrong is said then.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hubel.core.errors import nearest
from hubel.physics.conditions import AROUND, Conditions, Soft, Within, conditions_of
from hubel.physics.field import Field, recorded
from hubel.physics.jets import Index, Jet
from hubel.physics.shapes import Shape
from hubel.physics.unknown import Unknown

TRACED = 7  # points: no size of a domain, so that a shape that is wrong is seen


@dataclass(frozen=True, init=False, eq=False)
class Problem:
    """What is to be solved.

    `residual` is a function of fields, coordinates and parameters, that answers what must vanish: one value a point [N], or several. Fields
    have derivatives as attributes (`u.t`, `u.xx`, `u.d("radius", 2)`). `domain` gives every coordinate its range, or two of them a shape
    that they lie within, `{("x", "y"): shapes.disk(0, 0, 1)}`, around which values are `boundary={"around": 0.0}`. `initial` is the field at
    the beginning of `time`: a function of the other coordinates, or a number; of several fields a dict, and `{"u": f, "u.t": g}` for
    equations of second order in time. `boundary` is what holds at the ends of a coordinate: `{"x": 0.0}` at both,
    `{"x=-1": f, "x=1": g}`, `{"x": "periodic"}`; of several fields `{"x": {"u": 0.0, "v": 0.0}}`; for slopes `{"x=1": {"u.x": 0.0}}`; for
    anything else a residual, `{"x=1": lambda u, k: u.x + k * u}`. Values and periods hold exactly, the others are learnt and measured.
    `complex` names the fields with complex values. `parameters` are numbers, or `unknown()`.

    Raises `ValueError` or `TypeError` for names that fit nothing, ranges that are empty, conditions that contradict each other where they
    meet, residuals that are constant, not finite or of another shape than one value a point.

    >>> def burgers(u, nu):
    ...     return u.t + u * u.x - nu * u.xx
    >>> problem = Problem(burgers, domain=dict(t=(0, 1), x=(-1, 1)), nu=0.01, initial=lambda x: -torch.sin(math.pi * x), boundary={"x": 0.0})
    >>> problem.fields, problem.jet.indices
    (('u',), ((0, 0), (0, 1), (1, 0), (0, 2)))
    """

    residual: Callable[..., Any]
    ranges: Mapping[str, tuple[float, float]]
    fields: tuple[str, ...]
    components: tuple[str, ...]
    parameters: Mapping[str, float | Unknown]
    needed: Mapping[str, frozenset[Index]]
    num_residuals: int
    conditions: Conditions
    time: str | None
    takes: tuple[str, ...]
    complex: frozenset[str]

    def __init__(
        self,
        residual: Callable[..., Any],
        *,
        domain: Mapping[Any, Any],
        initial: Any = None,
        boundary: Mapping[str, Any] | None = None,
        time: str = "t",
        complex: str | Sequence[str] = (),
        **parameters: float | Unknown,
    ):
        domain, within = _with_shape(domain)
        ranges = _ranges(domain)
        takes = _names(residual)
        known = _parameters(parameters, takes, ranges)
        fields = tuple(name for name in takes if name not in ranges and name not in known)
        if not fields:
            raise ValueError(
                f"the residual takes {', '.join(takes)}, all of which are coordinates or numbers: there is no field to look for"
            )
        both = frozenset([complex] if isinstance(complex, str) else complex)
        for name in both - set(fields):
            raise ValueError(f"complex names {name!r}, which is no field.{nearest(name, fields)}")
        needed, num = _traced(residual, takes, fields, both, ranges, known)
        the_time = time if time in ranges else None
        order = _order_in(the_time, ranges, needed)
        parts = {name: (f"{name}.real", f"{name}.imag") if name in both else (name,) for name in fields}
        conditions = conditions_of(
            parts, ranges, the_time, initial, boundary or {}, order, tuple(known), within
        )
        for soft in conditions.soft:
            more, _ = _traced(
                soft.residual, soft.takes, fields, both, ranges, known, what=f"the condition {soft.name}"
            )
            needed = {name: needed[name] | more[name] for name in fields}
        for name in fields:
            if not any(sum(index) for index in needed[name]):
                raise ValueError(
                    f"{name} is no coordinate and was given no value, so it would be a field; but the residual uses no derivative of "
                    f"it. Give it a value, {name}=..., or let it be found, {name}=hubel.physics.unknown()"
                )
        components = tuple(part for name in fields for part in parts[name])
        values = (residual, ranges, fields, components, known, needed, num, conditions, the_time, takes, both)
        for own, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, own, value)

    @property
    def name(self) -> str:
        """That of the residual."""
        return getattr(self.residual, "__name__", "equation").strip("<>")

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Their names, in the order of the domain."""
        return tuple(self.ranges)

    def inside(self, points: Tensor) -> Tensor | None:
        """Which of the points [N, D] of the box are inside of the domain; None where it is the box itself."""
        within = self.conditions.within
        return None if within is None else within.inside(points)

    @property
    def jet(self) -> Jet:
        """The derivatives that are needed of any field."""
        return Jet.of(set().union(*self.needed.values()) | {(0,) * len(self.ranges)})

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The parameters that are to be found."""
        return tuple(name for name, value in self.parameters.items() if isinstance(value, Unknown))

    @property
    def undetermined(self) -> frozenset[str]:
        """Components that enter by their derivatives alone, and of which no value is given: known up to a number (a function of time).

        >>> Problem(lambda u, p: (u.t - u.xx + p.x, u.x), domain=dict(t=(0, 1), x=(0, 1)), initial={"u": 0.0}, boundary={"x": {"u": 0.0}}).undetermined
        frozenset({'p'})
        """
        zero = (0,) * len(self.ranges)
        values = {name for name in self.fields if zero in self.needed[name]}
        return frozenset(
            name
            for name in self.components
            if name.partition(".")[0] not in values and self.conditions.is_free(name)
        )

    def residuals(
        self,
        series: Mapping[str, Sequence[Tensor] | Tensor],
        jet: Jet,
        coordinates: Mapping[str, Tensor],
        unknowns: Mapping[str, Tensor],
        condition: Soft | None = None,
    ) -> list[Tensor]:
        """The residuals, each [N] and real, from Taylor coefficients (M of [N]) of every component and values [N] of the unknowns.

        With a soft `condition` those of the condition.
        """
        given: dict[str, Any] = {
            name: Field(name, self.coordinates, self._reader(name, series, jet)) for name in self.fields
        }
        given |= coordinates
        given |= {name: unknowns.get(name, value) for name, value in self.parameters.items()}
        function, takes = (
            (self.residual, self.takes) if condition is None else (condition.residual, condition.takes)
        )
        return as_residuals(function(**{name: given[name] for name in takes}))

    def _reader(
        self, name: str, series: Mapping[str, Sequence[Tensor] | Tensor], jet: Jet
    ) -> Callable[[Index], Tensor]:
        def derivative(index: Index) -> Tensor:
            place = jet.places[index]
            if name in self.complex:
                value = torch.complex(series[f"{name}.real"][place], series[f"{name}.imag"][place])
            else:
                value = series[name][place]
            return value if jet.factorials[place] == 1 else value * jet.factorials[place]

        return derivative

    def missing(self) -> str | None:
        """What a forward problem needs and was not given, in words; None where nothing is missing."""
        conditions, learnt = self.conditions, {soft.coordinate for soft in self.conditions.soft}
        for name in self.fields:
            part = self.components[self.fields.index(name)] if name not in self.complex else f"{name}.real"
            for place, x in enumerate(self.coordinates):
                order = max(index[place] for index in self.needed[name])
                if x == self.time and order and not conditions.initial[part]:
                    return f"{name} has a derivative by {x}, and no value at its beginning: initial=..."
                if (
                    x != self.time
                    and order > 1
                    and x not in {*conditions.ends[part], *conditions.periodic, *learnt}
                ):
                    if conditions.within is not None and x in conditions.within.names:
                        if part in conditions.around:
                            continue
                        return f"{name} has a derivative of order {order} by {x}, and no values around the shape: boundary={{{AROUND!r}: ...}}"
                    return f'{name} has a derivative of order {order} by {x}, and no condition at its ends: boundary={{"{x}": ...}}'
        return None


def as_residuals(answered: Any) -> list[Tensor]:
    """What a residual answered, as a list of real ones; a field that is asked to vanish stands for its value."""
    several = answered if isinstance(answered, (tuple, list)) else [answered]
    found = []
    for given in several:
        value = given.value if isinstance(given, Field) else given
        split = isinstance(value, Tensor) and value.is_complex()
        found += [value.real, value.imag] if split else [value]
    return found


def _with_shape(domain: Any) -> tuple[Any, Within | None]:
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


def _ranges(domain: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
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


def _names(residual: Callable[..., Any]) -> tuple[str, ...]:
    if not callable(residual):
        raise TypeError(f"the residual must be a function; received {type(residual).__name__}")
    listed = inspect.signature(residual).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in listed) or not listed:
        raise TypeError(
            "the residual must name every field, coordinate and parameter that it takes: def burgers(u, nu): ..."
        )
    return tuple(p.name for p in listed)


def _parameters(
    given: Mapping[str, float | Unknown], takes: Sequence[str], ranges: Mapping[str, Any]
) -> dict[str, float | Unknown]:
    found: dict[str, float | Unknown] = {}
    for name, value in given.items():
        if name in ranges:
            raise ValueError(f"{name} is a coordinate of the domain: it can not be given a value")
        if name not in takes:
            raise ValueError(f"{name} was given, but the residual does not take it.{nearest(name, takes)}")
        if isinstance(value, Unknown):
            found[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise TypeError(f"{name} must be a number, or hubel.physics.unknown(); received {value!r}")
        found[name] = float(value)
    return found


def _traced(
    residual: Callable[..., Any],
    takes: Sequence[str],
    fields: Sequence[str],
    complex: frozenset[str],
    ranges: Mapping[str, tuple[float, float]],
    parameters: Mapping[str, float | Unknown],
    what: str = "the residual",
) -> tuple[dict[str, frozenset[Index]], int]:
    """Which derivatives are needed of each field, and how many residuals there are."""
    generator = torch.Generator().manual_seed(0)
    recording, asked = recorded(fields, tuple(ranges), TRACED, generator, complex)
    share = torch.rand(TRACED, len(ranges), dtype=torch.float64, generator=generator)
    given: dict[str, Any] = dict(recording)
    for place, (name, (low, high)) in enumerate(ranges.items()):
        given[name] = low + (high - low) * share[:, place]
    for name, value in parameters.items():
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
    return {name: frozenset(asked[name]) for name in fields}, len(answered)


def _order_in(
    time: str | None, ranges: Mapping[str, Any], needed: Mapping[str, frozenset[Index]]
) -> dict[str, int]:
    """The highest derivative of each field by time."""
    if time is None:
        return dict.fromkeys(needed, 0)
    place = list(ranges).index(time)
    return {name: max(index[place] for index in indices) for name, indices in needed.items()}
