"""Whether plain values are what type hints say: for values that a file gives, which nobody has checked."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any


def refuse_other_types(make: Callable[..., Any], arguments: Mapping[str, Any], what: str) -> None:
    """Raise `ValueError` for the first of `arguments` that is not of the type that `make` (a function or a dataclass) declares.

    >>> def area(height: int, width: int = 1) -> int: ...
    >>> refuse_other_types(area, {"height": 3}, "area")
    >>> refuse_other_types(area, {"height": "3"}, "area")
    Traceback (most recent call last):
    ValueError: area has height='3'; expected int
    """
    hints = _hints(make)
    for name, value in arguments.items():
        if name in hints and not is_of(value, hints[name]):
            raise ValueError(f"{what} has {name}={_short(value)}; expected {_words(hints[name])}")


def is_of(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`. Lists may stand for tuples, and whole numbers for floating ones; what can not be judged passes.

    >>> is_of((1, 2.5), tuple[float, ...]), is_of(True, int), is_of(None, int | None), is_of("a", typing.Literal["a", "b"])
    (True, False, True, True)
    """
    if hint is Any:
        return True
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in inside)
    if origin is typing.Literal:
        return any(value == one and type(value) is type(one) for one in inside)
    if origin is tuple and inside[-1:] != (Ellipsis,):
        return (
            isinstance(value, (list, tuple)) and len(value) == len(inside) and all(map(is_of, value, inside))
        )
    if origin in SEQUENCES:
        return isinstance(value, (list, tuple)) and all(is_of(item, inside[0]) for item in value)
    if origin in (dict, collections.abc.Mapping):
        return isinstance(value, Mapping) and all(
            is_of(key, inside[0]) and is_of(item, inside[1]) for key, item in value.items()
        )
    if hint is None:
        return value is None
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, float) or (is_of(value, int) and abs(value) < LARGEST)
    if isinstance(hint, type):
        return (
            dataclasses.is_dataclass(value)
            if getattr(hint, "_is_protocol", False)
            else isinstance(value, hint)
        )
    return True


LARGEST = 2**1000  # a whole number that still is a floating one
SEQUENCES = (tuple, list, collections.abc.Sequence, collections.abc.Iterable)


@cache
def _hints(make: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(make)
    except (NameError, TypeError):  # a hint that exists for type checkers only
        return {}


def _words(hint: Any) -> str:
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
