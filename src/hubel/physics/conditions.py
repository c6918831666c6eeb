"""Initial and boundary values that hold exactly, by construction.

On a box a field is written as  u = g + d N,  N the network. g takes the given values on every face that has some, and d vanishes there, so
that no weight has to be balanced between equation and conditions. g is put together face by face (a Boolean sum):

    g <- g + (1 - s) (a - g at the low end) + s (b - g at the high end),   s = (x - low) / (high - low)

for each coordinate with values a, b at its ends, and at last  g <- g + (f - g at the beginning)  for the initial values f (and
+ t (f' - g_t) where the equation is of second order in time). Where faces meet, their values must agree, and this is checked.
Where a coordinate is periodic the network reads its cosine and sine in place of the coordinate.

Where two coordinates lie within a shape (`shapes`), g begins with the values given around it, as they continue inwards, and d has the
function of the shape that vanishes on its boundary as a factor.

Source: I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Netw. 9 (1998) 987, doi:10.1109/72.712178; transfinite
interpolation: W. J. Gordon, C. A. Hall, Numer. Math. 21 (1973) 109, doi:10.1007/BF01436298.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hubel.core.errors import nearest
from hubel.physics.field import index_of
from hubel.physics.shapes import Shape

Value = Callable[..., Tensor]  # of the other coordinates, in their order, [N] each
AROUND = "around"  # the boundary of a shape, where faces have the names of coordinates
JUMP = 1e-6  # of the size of the values: what differs by more where faces meet contradicts


@dataclass(frozen=True)
class Soft:
    """A condition that the network has to learn: `residual` of fields, coordinates and parameters must vanish where `coordinate` is `at`.

    `takes` are the names in its signature, `needed` the derivatives that it uses.
    """

    name: str
    coordinate: str
    at: float
    residual: Callable[..., Any]
    takes: tuple[str, ...]


@dataclass(frozen=True)
class Within:
    """Two coordinates, by their names and `places`, that lie within a shape."""

    names: tuple[str, str]
    places: tuple[int, int]
    shape: Shape

    def inside(self, points: Tensor) -> Tensor:
        """Which of the points [N, D] are inside."""
        return self.shape.inside(*(points[:, place] for place in self.places))

    def distance(self, *coordinates: Tensor) -> Tensor:
        """The function that vanishes on the boundary, about 1 in the middle."""
        width = min(high - low for low, high in self.shape.box)
        return self.shape.distance(*(coordinates[place] for place in self.places)) * (4 / width)


@dataclass(frozen=True)
class Conditions:
    """What is known of every field on the faces of the box, and around the shape `within` which two coordinates lie, if they do.

    `ends[field][x]` are the values at both ends of x, None where there is none; `around[field]` those of all coordinates around the shape.
    """

    coordinates: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    time: str | None
    periodic: tuple[str, ...]
    ends: Mapping[str, Mapping[str, tuple[Value | None, Value | None]]]
    initial: Mapping[str, tuple[Value, ...]]
    soft: tuple[Soft, ...] = ()
    within: Within | None = None
    around: Mapping[str, Value] = field(default_factory=dict)

    def is_free(self, name: str) -> bool:
        """Whether nothing is known of this field on any face: then g = 0 and d = 1."""
        return not self.initial[name] and not self.ends[name] and name not in self.around

    def without(self, x: str) -> Conditions:
        """The same with nothing at the ends of x, where x is periodic instead."""
        ends = {
            name: {other: pair for other, pair in pairs.items() if other != x}
            for name, pairs in self.ends.items()
        }
        return replace(self, ends=ends, periodic=(*self.periodic, x))

    def faces(self, name: str) -> list[tuple[str, float, Value]]:
        """Where values of a component are known: the coordinate, where it is, and the values by the others."""
        found = [
            (x, self.ranges[x][side], value)
            for x, pair in self.ends[name].items()
            for side, value in enumerate(pair)
            if value is not None
        ]
        if self.initial[name]:
            assert self.time is not None
            found.append((self.time, self.ranges[self.time][0], self.initial[name][0]))
        return found

    def learnt(self) -> Conditions:
        """The same with no exact values: all are to be learnt."""
        return replace(self, ends={name: {} for name in self.ends}, initial=dict.fromkeys(self.initial, ()))

    def given(self, name: str, *coordinates: Tensor) -> Tensor:
        """G [N] of a field."""
        return self._with_initial(name, self._with_faces(name, list(self.ends[name])))(*coordinates)

    def distance(self, name: str, *coordinates: Tensor) -> Tensor:
        """D [N] of a field: zero exactly on the faces where its value is given, about 1 inside."""
        found = torch.ones_like(coordinates[0])
        for place, x in enumerate(self.coordinates):
            low, high = self.ranges[x]
            share = (coordinates[place] - low) / (high - low)
            if x == self.time and self.initial[name]:
                found = found * share ** len(self.initial[name])
            elif x in self.ends[name]:
                first, last = self.ends[name][x]
                found = (
                    found
                    * (share if first else 1)
                    * ((1 - share) if last else 1)
                    * (4 if first and last else 1)
                )
        if self.within is not None and name in self.around:
            found = found * self.within.distance(*coordinates)
        return found

    def _with_faces(self, name: str, names: Sequence[str]) -> Value:
        if not names:
            return self.around.get(name, lambda *coordinates: torch.zeros_like(coordinates[0]))
        *before, x = names
        inner = self._with_faces(name, before)
        place, (low, high) = self.coordinates.index(x), self.ranges[x]
        first, last = self.ends[name][x]

        def found(*coordinates: Tensor) -> Tensor:
            others = [c for k, c in enumerate(coordinates) if k != place]
            share = (coordinates[place] - low) / (high - low)
            value = inner(*coordinates)
            if first:
                lack = first(*others) - inner(*_at(coordinates, place, low))
                value = value + ((1 - share) if last else 1) * lack
            if last:
                lack = last(*others) - inner(*_at(coordinates, place, high))
                value = value + (share if first else 1) * lack
            return value

        return found

    def _with_initial(self, name: str, inner: Value) -> Value:
        if not self.initial[name]:
            return inner
        assert self.time is not None
        place, (low, _) = self.coordinates.index(self.time), self.ranges[self.time]

        def found(*coordinates: Tensor) -> Tensor:
            others = [c for k, c in enumerate(coordinates) if k != place]
            begin = _at(coordinates, place, low)
            value = inner(*coordinates) + self.initial[name][0](*others) - inner(*begin)
            if len(self.initial[name]) > 1:
                with torch.enable_grad():
                    start = begin[place].clone().requires_grad_()
                    at_start = inner(*begin[:place], start, *begin[place + 1 :])
                    speed = (
                        torch.autograd.grad(at_start.sum(), start, create_graph=True, allow_unused=True)[0]
                        if at_start.requires_grad
                        else None
                    )
                lack = self.initial[name][1](*others) - (0 if speed is None else speed)
                value = value + (coordinates[place] - low) * lack
            return value

        return found


def _at(coordinates: Sequence[Tensor], place: int, value: float) -> list[Tensor]:
    """The same points, moved to where one coordinate has this value."""
    return [torch.full_like(c, value) if k == place else c for k, c in enumerate(coordinates)]


def conditions_of(
    parts: Mapping[str, tuple[str, ...]],
    ranges: Mapping[str, tuple[float, float]],
    time: str | None,
    initial: Any,
    boundary: Mapping[str, Any],
    order_in_time: Mapping[str, int],
    parameters: Sequence[str] = (),
    within: Within | None = None,
    functions: Sequence[str] = (),
) -> Conditions:
    """What was written, as `Conditions`; every contradiction is an error that names it.

    `parts` are the components of every field: itself, or real and imaginary part. `functions` are the parameters that are unknown functions.
    """
    coordinates, fields = tuple(ranges), tuple(parts)
    components = [part for name in fields for part in parts[name]]
    ends: dict[str, dict[str, list[Value | None]]] = {name: {} for name in components}
    periodic: list[str] = []
    soft: list[Soft] = []
    around: dict[str, Value] = {}
    for word, given in boundary.items():
        if word == AROUND and within is not None:
            around = _around(given, fields, parts, coordinates)
            continue
        x, sides = _sides(str(word), ranges, time)
        if within is not None and x in within.names:
            raise ValueError(
                f"boundary {word!r}: {x} lies within a shape and has no ends; give the values around it: boundary={{{AROUND!r}: ...}}"
            )
        if isinstance(given, str):
            if given != "periodic" or len(sides) < 2:
                raise ValueError(
                    f'boundary {word!r} is {given!r}; expected a number, a function, or "periodic" for a whole coordinate'
                )
            periodic.append(x)
            continue
        others = tuple(c for c in coordinates if c != x)
        for side in sides:
            at = ranges[x][side]
            exact = given
            if learnt := _soft(given, x, at, others, fields, parameters, functions):
                soft += learnt
                if not isinstance(given, Mapping):
                    continue
                exact = {name: value for name, value in given.items() if name in fields}
            for name, value in _by_field(exact, fields, f"boundary {word!r}").items():
                answer = as_function(value, others, f"boundary {word!r} of {name}")
                for part, its in _parts(answer, parts[name]).items():
                    ends[part].setdefault(x, [None, None])[side] = its
    for x in periodic:
        if any(x in of_field for of_field in ends.values()):
            raise ValueError(f"{x} is periodic, so that it has no ends at which values could be given")
    begins = _initial(fields, initial, time, coordinates, order_in_time)
    found = Conditions(
        coordinates,
        dict(ranges),
        time,
        tuple(periodic),
        {name: {x: (pair[0], pair[1]) for x, pair in of_field.items()} for name, of_field in ends.items()},
        {
            part: tuple(_parts(value, parts[name])[part] for value in begins[name])
            for name in fields
            for part in parts[name]
        },
        tuple(soft),
        within,
        around,
    )
    _refuse_contradictions(found, components)
    return found


def _around(
    given: Any, fields: Sequence[str], parts: Mapping[str, tuple[str, ...]], coordinates: Sequence[str]
) -> dict[str, Value]:
    """The values around a shape, by component."""
    found: dict[str, Value] = {}
    for name, value in _by_field(given, fields, f"boundary {AROUND!r}").items():
        found |= _parts(as_function(value, coordinates, f"boundary {AROUND!r} of {name}"), parts[name])
    return found


def _parts(value: Value, names: tuple[str, ...]) -> dict[str, Value]:
    """The function itself, or its real and imaginary parts."""
    if len(names) == 1:
        return {names[0]: value}

    def imaginary(*coordinates: Tensor) -> Tensor:
        answered = value(*coordinates)
        return answered.imag if answered.is_complex() else torch.zeros_like(answered)

    return {names[0]: lambda *coordinates: value(*coordinates).real, names[1]: imaginary}


def _soft(
    given: Any,
    x: str,
    at: float,
    others: tuple[str, ...],
    fields: Sequence[str],
    parameters: Sequence[str],
    functions: Sequence[str],
) -> list[Soft]:
    """The conditions in `given` that are no values: functions that take a field or an unknown function, and derivatives such as "u.x"."""
    if isinstance(given, Mapping):
        return [
            _of_derivative(str(word), value, x, at, others, fields)
            for word, value in given.items()
            if str(word) not in fields
        ]
    if not callable(given):
        return []
    takes = tuple(inspect.signature(given).parameters)
    if not set(takes) & {*fields, *functions}:
        return []
    for name in takes:
        known = (*fields, x, *others, *parameters)
        if name not in known:
            raise ValueError(
                f"the condition at {x} = {at:g} takes {name!r}, which is unknown.{nearest(name, known)}"
            )
    return [Soft(f"{x} = {at:g}", x, at, given, takes)]


def _of_derivative(
    word: str, value: Any, x: str, at: float, others: tuple[str, ...], fields: Sequence[str]
) -> Soft:
    name, _, derivative = word.partition(".")
    if name not in fields or not derivative or index_of(derivative, (x, *others)) is None:
        raise ValueError(
            f"boundary at {x} = {at:g} is of {word!r}; expected a field or a derivative of one, such as "
            f'"{fields[0]}.{x}".{nearest(word, fields)}'
        )
    known = as_function(value, others, f"boundary {x} = {at:g} of {word}")

    def residual(**given: Any) -> Tensor:
        return getattr(given[name], derivative) - known(*(given[other] for other in others))

    return Soft(f"{word} at {x} = {at:g}", x, at, residual, (name, *others))


def as_function(value: Any, names: Sequence[str], what: str) -> Value:
    """A number or function of the coordinates `names` as a function of tensors [N] that answers [N]."""
    if isinstance(value, complex):
        return lambda *c, number=value: torch.full(c[0].shape, number, dtype=torch.complex128)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{what} is {value}; expected a finite number")
        return lambda *c, number=float(value): (
            torch.full_like(c[0], number) if c else torch.tensor(number, dtype=torch.float64)
        )
    if not callable(value):
        raise TypeError(f"{what} is {value!r}; expected a number, or a function of {', '.join(names)}")

    def found(*coordinates: Tensor) -> Tensor:
        answered = value(*coordinates)
        if isinstance(answered, (int, float)):
            return torch.full_like(coordinates[0], float(answered))
        if not isinstance(answered, Tensor) or answered.shape != coordinates[0].shape:
            got = list(answered.shape) if isinstance(answered, Tensor) else type(answered).__name__
            raise ValueError(
                f"{what} answered {got} for {len(coordinates[0])} points; expected a torch tensor with one value a point"
            )
        return answered

    example = [torch.linspace(0.1, 0.9, 5, dtype=torch.float64) for _ in names]
    try:
        found(*example)
    except TypeError as error:
        raise TypeError(
            f"{what} must be a function of {', '.join(names)} that uses torch's functions: {error}"
        ) from error
    return found


def _sides(
    word: str, ranges: Mapping[str, tuple[float, float]], time: str | None
) -> tuple[str, tuple[int, ...]]:
    """The coordinate of a key such as "x" or "x=-1", and which of its ends (0 low, 1 high)."""
    x, equals, text = (part.strip() for part in word.partition("="))
    if x not in ranges:
        raise ValueError(f"boundary {word!r} is at no coordinate of the domain.{nearest(x, ranges)}")
    if x == time:
        raise ValueError(f"boundary {word!r} is at the time: write initial=...")
    if not equals:
        return x, (0, 1)
    try:
        at = float(text)
    except ValueError:
        raise ValueError(
            f'boundary {word!r}: expected a number after "=", such as "{x}={ranges[x][0]:g}"'
        ) from None
    for side, end in enumerate(ranges[x]):
        if math.isclose(at, end, rel_tol=1e-9, abs_tol=1e-12):
            return x, (side,)
    raise ValueError(
        f"boundary {word!r} is at no end of {x}, which runs from {ranges[x][0]:g} to {ranges[x][1]:g}"
    )


def _by_field(given: Any, fields: Sequence[str], what: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        for name in given:
            if name not in fields:
                raise ValueError(f"{what} is of {name!r}, which is no field.{nearest(str(name), fields)}")
        return dict(given)
    if len(fields) > 1:
        raise ValueError(
            f"{what}: there are several fields, {', '.join(fields)}; say of which, {{{fields[0]!r}: ...}}"
        )
    return {fields[0]: given}


def _initial(
    fields: Sequence[str], given: Any, time: str | None, coordinates: Sequence[str], order: Mapping[str, int]
) -> dict[str, tuple[Value, ...]]:
    if given is None:
        return dict.fromkeys(fields, ())
    if time is None:
        raise ValueError(
            f"initial values were given, but no coordinate is the time; the domain has {', '.join(coordinates)}: write time=..."
        )
    others = tuple(c for c in coordinates if c != time)
    slopes = {f"{name}.{time}": name for name in fields}
    if isinstance(given, Mapping):
        plain = {name: value for name, value in given.items() if name not in slopes}
    else:
        plain = given
    values = _by_field(plain, fields, "initial")
    found: dict[str, tuple[Value, ...]] = {}
    for name in fields:
        slope = given.get(f"{name}.{time}") if isinstance(given, Mapping) else None
        if name not in values:
            if slope is not None:
                raise ValueError(f"initial gives {name}.{time} without {name}")
            found[name] = ()
            continue
        if slope is None and order[name] > 1:
            raise ValueError(
                f"the equation is of order {order[name]} in {time}, so that {name} and its speed are needed at the beginning: "
                f'initial={{"{name}": ..., "{name}.{time}": ...}}'
            )
        found[name] = (as_function(values[name], others, f"initial {name}"),)
        if slope is not None:
            found[name] += (as_function(slope, others, f"initial {name}.{time}"),)
    return found


def _refuse_contradictions(conditions: Conditions, fields: Sequence[str]) -> None:
    """Raise where two faces that meet have different values there: g can not take both."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(64, len(conditions.coordinates), dtype=torch.float64, generator=generator)
    points = [
        low + (high - low) * share[:, place] for place, (low, high) in enumerate(conditions.ranges.values())
    ]
    if conditions.within is not None:
        for place, edge in zip(
            conditions.within.places, conditions.within.shape.boundary(len(share)), strict=True
        ):
            points[place] = edge
    for name in fields:
        if name in conditions.around:
            _refuse_at_shape(conditions, name, points)
        faces = [
            (f"{x} = {at:g}", conditions.coordinates.index(x), at, value)
            for x, at, value in conditions.faces(name)
        ]
        for k, (one, place, at, value) in enumerate(faces):
            for other, its_place, its_at, its_value in faces[:k]:
                if place == its_place:
                    continue
                corner = _at(_at(points, place, at), its_place, its_at)
                here = value(*[c for n, c in enumerate(corner) if n != place])
                there = its_value(*[c for n, c in enumerate(corner) if n != its_place])
                jump = float((here - there).abs().max())
                if jump > JUMP * max(1.0, float(here.abs().max())):
                    raise ValueError(
                        f"the conditions of {name} contradict each other where {one} and {other} meet: they differ by {jump:.3g}. "
                        "Correct one of them, or smooth the jump"
                    )


def _refuse_at_shape(conditions: Conditions, name: str, points: Sequence[Tensor]) -> None:
    """Raise where the values around a shape, at `points` there, differ from those of a face that they meet."""
    for x, at, value in conditions.faces(name):
        place = conditions.coordinates.index(x)
        corner = _at(points, place, at)
        here = value(*[c for n, c in enumerate(corner) if n != place])
        jump = float((here - conditions.around[name](*corner)).abs().max())
        if jump > JUMP * max(1.0, float(here.abs().max())):
            raise ValueError(
                f"the conditions of {name} contradict each other where {x} = {at:g} and the boundary of the shape meet: they differ by "
                f"{jump:.3g}. Correct one of them, or smooth the jump"
            )
