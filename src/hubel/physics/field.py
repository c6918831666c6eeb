"""Fields inside an equation: `u` is the unknown function at the points, `u.t`, `u.xx`, `u.d("radius", 2)` its derivatives.

A residual is an ordinary function, called once with recording fields to learn which derivatives it needs, and then with arrays of one
value a point. A field adds, multiplies and enters torch's functions as its value; every array is [N], so that nothing can be broadcast
by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hubel.core.errors import nearest
from hubel.physics.jets import Index


class Field:
    """The values [N] of an unknown function and of its derivatives at N points, answered by `derivative(index)`.

    >>> known = {(0, 0): torch.ones(2), (0, 2): torch.full((2,), 3.0)}
    >>> u = Field("u", ("t", "x"), known.__getitem__)
    >>> (2 * u + u.xx).tolist(), torch.exp(0 * u).tolist()
    ([5.0, 5.0], [1.0, 1.0])

    Raises `AttributeError` for an attribute that is no derivative by the coordinates.
    """

    __slots__ = ("_coordinates", "_derivative", "_name")

    def __init__(self, name: str, coordinates: Sequence[str], derivative: Callable[[Index], Tensor]):
        self._name, self._coordinates, self._derivative = name, tuple(coordinates), derivative

    @property
    def value(self) -> Tensor:
        """The values [N] themselves."""
        return self._derivative((0,) * len(self._coordinates))

    def d(self, coordinate: str, order: int = 1) -> Tensor:
        """The derivative of this order by one coordinate, for names of more than one letter."""
        if coordinate not in self._coordinates:
            raise AttributeError(
                f"{self._name} has no coordinate {coordinate!r}.{nearest(coordinate, self._coordinates)}"
            )
        if order < 1 or int(order) != order:
            raise ValueError(f"the order of a derivative is {order!r}; expected 1, 2, ...")
        return self._derivative(tuple(int(order) * (name == coordinate) for name in self._coordinates))

    def __getattr__(self, word: str) -> Tensor:
        if word.startswith("__"):
            raise AttributeError(word)
        index = index_of(word, self._coordinates)
        if index is None:
            raise AttributeError(
                f"{self._name}.{word} is no derivative of {self._name}: write one or more of its coordinates "
                f"{', '.join(self._coordinates)} after the point, such as {self._name}.{self._coordinates[-1] * 2}"
            )
        return self._derivative(index)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*_plain(args), **{name: _plain(value) for name, value in (kwargs or {}).items()})

    def __neg__(self) -> Tensor:
        return -self.value

    def __add__(self, other: Any) -> Tensor:
        return self.value + _plain(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return self.value - _plain(other)

    def __rsub__(self, other: Any) -> Tensor:
        return _plain(other) - self.value

    def __mul__(self, other: Any) -> Tensor:
        return self.value * _plain(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return self.value / _plain(other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _plain(other) / self.value

    def __pow__(self, other: Any) -> Tensor:
        return self.value ** _plain(other)

    def __rpow__(self, other: Any) -> Tensor:
        return _plain(other) ** self.value

    def __abs__(self) -> Tensor:
        return self.value.abs()

    def __repr__(self) -> str:
        return f"field {self._name}({', '.join(self._coordinates)})"


def index_of(word: str, coordinates: Sequence[str]) -> Index | None:
    """The multi-index behind a word such as `xx` or `tx`: names of coordinates, one after the other; None where it is none.

    >>> index_of("txx", ("t", "x")), index_of("xy", ("t", "x"))
    ((1, 2), None)
    """
    if not word:
        return (0,) * len(coordinates)
    for place, name in enumerate(coordinates):
        if word.startswith(name):
            rest = index_of(word[len(name) :], coordinates)
            if rest is not None:
                return tuple(order + (axis == place) for axis, order in enumerate(rest))
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Field):
        return value.value
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(item) for item in value)
    return value


def recorded(
    coordinates: Mapping[str, Sequence[str]],
    num: int,
    generator: torch.Generator,
    complex: frozenset[str] = frozenset(),
) -> tuple[dict[str, Field], dict[str, set[Index]]]:
    """Fields of these `coordinates` that answer every derivative with random values [num] that remember who asked; and what was asked for."""
    asked: dict[str, set[Index]] = {name: set() for name in coordinates}
    known: dict[tuple[str, Index], Tensor] = {}

    def reader(name: str) -> Callable[[Index], Tensor]:
        def derivative(index: Index) -> Tensor:
            asked[name].add(index)
            if (name, index) not in known:
                values = torch.rand(num, dtype=torch.float64, generator=generator) + 0.5
                if name in complex:
                    values = torch.complex(
                        values, torch.rand(num, dtype=torch.float64, generator=generator) + 0.5
                    )
                known[name, index] = values.requires_grad_()
            return known[name, index]

        return derivative

    return {name: Field(name, own, reader(name)) for name, own in coordinates.items()}, asked
