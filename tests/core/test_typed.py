"""Plain values against type hints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pytest

from hubel.core.typed import is_of, refuse_other_types


class Walks(Protocol):
    def walk(self) -> None: ...


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (1.0, int, False),
        (True, int, False),
        (True, float, False),
        (1, float, True),
        (10**400, float, False),
        (10**400, int, True),
        ("1", float, False),
        (True, bool, True),
        (1, bool, False),
        (None, None, True),
        (0, None, False),
        (None, int | None, True),
        ("a", int | None, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (0, Literal[False], False),
        (False, float | Literal[False] | None, True),
        ((1, 2), tuple[float, float], True),
        ([1, 2], tuple[float, float], True),
        ((1,), tuple[float, float], False),
        ((), tuple[int, ...], True),
        ((1, "a"), tuple[int, ...], False),
        ("abc", Sequence[str], False),
        (["a"], Sequence[str], True),
        ([None], Sequence[str], False),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": "1"}, Mapping[str, int], False),
        ([], Mapping[str, Any], False),
        (Point(1.0), Point, True),
        ({"x": 1}, Point, False),
        (Point(1.0), Walks, True),
        ("walks", Walks, False),
        (object(), Any, True),
    ],
)
def test_is_of(value, hint, expected):
    assert is_of(value, hint) is expected


def test_the_first_wrong_argument_is_named():
    refuse_other_types(Point, {"x": 1, "unknown": "passes"}, "Point")
    with pytest.raises(ValueError, match=r"Point has x='1'; expected float"):
        refuse_other_types(Point, {"x": "1"}, "Point")
    with pytest.raises(ValueError, match=r"x=\[0, 1, 2, .*\.\.\.; expected"):
        refuse_other_types(Point, {"x": list(range(100))}, "Point")
