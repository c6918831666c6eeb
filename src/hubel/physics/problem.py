"""An equation with its domain, its numbers and its conditions: `Problem(residual, domain=..., initial=..., boundary=...)`.

The names in the signature of the residual say what is what: coordinates are those of the domain, parameters those that are given a value
here, and all others are fields, the functions that are looked for. The residual is called once with recording fields: which derivatives it
needs is known before anything is solved, and what is wrong is said then.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hubel.core.errors import nearest
from hubel.physics.conditions import AROUND, Conditions, Soft, Value, conditions_of
from hubel.physics.domain import ranges_of, with_shape
from hubel.physics.field import Field
from hubel.physics.jets import Index, Jet
from hubel.physics.splines import DEGREE, Basis, Constant, Spline
from hubel.physics.tracing import as_residuals, traced
from hubel.physics.unknown import Unknown


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
    `complex` names the fields with complex values. `parameters` are numbers, or `unknown()`, or `unknown(of="x")`, a function that has
    derivatives as a field has (`k.x`). `units` are words for a reader, by the names of coordinates, fields and parameters.

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
    bases: Mapping[str, Basis]
    needed: Mapping[str, frozenset[Index]]
    num_residuals: int
    conditions: Conditions
    time: str | None
    takes: tuple[str, ...]
    complex: frozenset[str]
    units: Mapping[str, str]

    def __init__(
        self,
        residual: Callable[..., Any],
        *,
        domain: Mapping[Any, Any],
        initial: Any = None,
        boundary: Mapping[str, Any] | None = None,
        time: str = "t",
        complex: str | Sequence[str] = (),
        units: Mapping[str, str] | None = None,
        **parameters: float | Unknown,
    ):
        domain, within = with_shape(domain)
        ranges = ranges_of(domain)
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
        needed, num = traced(residual, takes, fields, both, ranges, known)
        the_time = time if time in ranges else None
        order = _order_in(the_time, ranges, {name: needed[name] for name in fields})
        parts = {name: (f"{name}.real", f"{name}.imag") if name in both else (name,) for name in fields}
        functions = tuple(name for name, value in known.items() if isinstance(value, Unknown) and value.of)
        conditions = conditions_of(
            parts, ranges, the_time, initial, boundary or {}, order, tuple(known), within, functions
        )
        for soft in conditions.soft:
            more, _ = traced(
                soft.residual, soft.takes, fields, both, ranges, known, what=f"the condition {soft.name}"
            )
            needed = {name: needed[name] | more[name] for name in needed}
        for name in fields:
            if not any(sum(index) for index in needed[name]):
                raise ValueError(
                    f"{name} is no coordinate and was given no value, so it would be a field; but the residual uses no derivative of "
                    f"it. Give it a value, {name}=..., or let it be found, {name}=hubel.physics.unknown()"
                )
        components = tuple(part for name in fields for part in parts[name])
        bases = {
            name: _basis(name, value, ranges, conditions.periodic, needed.pop(name, frozenset()))
            for name, value in known.items()
            if isinstance(value, Unknown)
        }
        values = (
            residual, ranges, fields, components, known, bases, needed, num, conditions, the_time, takes, both,
            _units(units or {}, (*ranges, *fields, *known)),
        )  # fmt: skip
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

    def with_values(self, values: Mapping[str, float]) -> Problem:
        """The same with other values of some numbers."""
        found = copy.copy(self)
        object.__setattr__(found, "parameters", dict(self.parameters) | dict(values))
        return found

    def during(self, low: float, high: float, initial: Mapping[str, tuple[Value, ...]]) -> Problem:
        """The same in a part of its time, with these values of every component at the beginning of it."""
        assert self.time is not None
        found, ranges = copy.copy(self), dict(self.ranges) | {self.time: (low, high)}
        object.__setattr__(found, "ranges", ranges)
        object.__setattr__(found, "conditions", replace(self.conditions, ranges=ranges, initial=initial))
        return found

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
    def functions(self) -> tuple[str, ...]:
        """Those of them that are functions."""
        return tuple(name for name, basis in self.bases.items() if basis.names)

    def labelled(self, name: str) -> str:
        """A name with its unit: "x (m)"."""
        return f"{name} ({self.units[name]})" if name in self.units else name

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
        unknowns: Mapping[str, Sequence[Tensor]],
        condition: Soft | None = None,
    ) -> list[Tensor]:
        """The residuals, each [N] and real, from Taylor coefficients (M of [N]) of every component and of every unknown.

        With a soft `condition` those of the condition.
        """
        given: dict[str, Any] = {
            name: Field(name, self.coordinates, self._reader(name, series, jet)) for name in self.fields
        }
        given |= coordinates
        given |= self.parameters
        for name, values in unknowns.items():
            basis = self.bases[name]
            given[name] = (
                Field(name, basis.names, _derivative(values, basis.jet)) if basis.names else values[0]
            )
        function, takes = (
            (self.residual, self.takes) if condition is None else (condition.residual, condition.takes)
        )
        return as_residuals(function(**{name: given[name] for name in takes}))

    def _reader(
        self, name: str, series: Mapping[str, Sequence[Tensor] | Tensor], jet: Jet
    ) -> Callable[[Index], Tensor]:
        if name not in self.complex:
            return _derivative(series[name], jet)
        real, imaginary = (_derivative(series[f"{name}.{part}"], jet) for part in ("real", "imag"))
        return lambda index: torch.complex(real(index), imaginary(index))

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


def _derivative(values: Sequence[Tensor] | Tensor, jet: Jet) -> Callable[[Index], Tensor]:
    """The derivatives behind Taylor coefficients (M of [N])."""

    def derivative(index: Index) -> Tensor:
        place = jet.places[index]
        return values[place] if jet.factorials[place] == 1 else values[place] * jet.factorials[place]

    return derivative


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
            for x in value.of:
                if x not in ranges:
                    raise ValueError(
                        f"{name} is an unknown function of {x!r}, which is no coordinate.{nearest(x, tuple(ranges))}"
                    )
            found[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise TypeError(f"{name} must be a number, or hubel.physics.unknown(); received {value!r}")
        found[name] = float(value)
    return found


def _order_in(
    time: str | None, ranges: Mapping[str, Any], needed: Mapping[str, frozenset[Index]]
) -> dict[str, int]:
    """The highest derivative of each field by time."""
    if time is None:
        return dict.fromkeys(needed, 0)
    place = list(ranges).index(time)
    return {name: max(index[place] for index in indices) for name, indices in needed.items()}


def _basis(
    name: str,
    value: Unknown,
    ranges: Mapping[str, tuple[float, float]],
    periodic: Sequence[str],
    needed: frozenset[Index],
) -> Basis:
    """In which functions an unknown is looked for."""
    if not value.of:
        return Constant()
    if not needed:
        raise ValueError(f"{name} is an unknown function that the residual does not use")
    jet = Jet.of(needed)
    if jet.order >= DEGREE:
        raise ValueError(
            f"the residual uses a derivative of order {jet.order} of the unknown function {name}; expected {DEGREE - 1} at most"
        )
    return Spline(
        names=value.of,
        places=tuple(list(ranges).index(x) for x in value.of),
        ranges=tuple(ranges[x] for x in value.of),
        periodic=tuple(x in periodic for x in value.of),
        jet=jet,
    )


def _units(given: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The units, checked."""
    if not isinstance(given, Mapping):
        raise TypeError(f'units must be words by names, {{"x": "m"}}; received {given!r}')
    for name, unit in given.items():
        if name not in names:
            raise ValueError(
                f"units has {name!r}, which is no coordinate, field or parameter.{nearest(str(name), tuple(names))}"
            )
        if not isinstance(unit, str) or not unit.strip():
            raise TypeError(f'the unit of {name} is {unit!r}; expected a word, such as "m/s"')
    return {name: unit.strip() for name, unit in given.items()}
