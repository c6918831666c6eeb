"""Which hubel functions a file may name.

A run folder says how its network, objective and recipe were made: a dotted name and plain arguments. Only
public names of the rooms listed here are ever looked up, so a folder from a stranger can not name code.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from hubel.core.typed import refuse_other_types

ROOMS = (
    "hubel.nets",
    "hubel.objectives",
    "hubel.fitting",
    "hubel.data.augmentation",
    "hubel.data.encoding",
    "hubel.data.preprocessing",
)


def find(name: str) -> Any:
    """The public hubel object behind a dotted name such as `hubel.nets.resnet`.

    Raises `ValueError` for every name that is not public in one of the rooms a file may name.
    """
    room, _, word = name.rpartition(".")
    if room in ROOMS:
        module = importlib.import_module(room)
        if word in getattr(module, "__all__", ()):
            return getattr(module, word)
    raise ValueError(
        f"{name!r} is not a name that a run folder may use; expected a public name of {', '.join(ROOMS)}. "
        "The folder was written by another version of hubel or changed by hand."
    )


def describe(value: Any) -> Any:
    """`value` as plain JSON: frozen dataclasses of a nameable room become `{"is": name, ...fields}`.

    >>> describe((1, 2.5, None))
    [1, 2.5, None]
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"is": name_of(type(value)), **fields}
    if getattr(value, "ndim", None) == 0:  # a NumPy or torch number
        return value.item()  # type: ignore[union-attr]
    raise TypeError(
        f"{value!r} ({type(value).__name__}) can not be written into a run folder: it has no plain form"
    )


def rebuild(value: Any) -> Any:
    """The inverse of `describe`: lists become tuples, `{"is": name}` the object of that name."""
    if isinstance(value, list):
        return tuple(rebuild(item) for item in value)
    if isinstance(value, dict):
        if "is" in value:
            kind = find(str(value["is"]))
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                raise ValueError(f"{value['is']!r} is not a plain value, so a run folder may not make one")
            fields = {key: rebuild(item) for key, item in value.items() if key != "is"}
            refuse_other_types(kind, fields, value["is"])
            try:
                return kind(**fields)
            except MADE_WRONG as error:
                raise ValueError(
                    f"{value['is']} can not be made again from what the file says: {error}"
                ) from error
        return {key: rebuild(item) for key, item in value.items()}
    return value


def rebuild_net(name: str, arguments: dict[str, Any]) -> Any:
    """The network that a public function of `hubel.nets` makes of plain arguments (never `weights`: those are in the checkpoint)."""
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(
            f"a run folder names its network {name!r} with {arguments!r}; expected a name and its arguments"
        )
    make = find(name)
    if not name.startswith("hubel.nets.") or isinstance(make, type) or "weights" in arguments:
        raise ValueError(
            f"{name!r} with {sorted(arguments)} does not make a network that a run folder may ask for"
        )
    given = {str(key): rebuild(item) for key, item in arguments.items()}
    refuse_other_types(make, given, name)
    try:
        return make(**given)
    except MADE_WRONG as error:
        raise ValueError(f"{name} can not be made again from what the file says: {error}") from error


MADE_WRONG = (TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)
"""What numbers and words that nobody has checked make a constructor raise, beside its own `ValueError`."""


def net_word(made: Mapping[str, Any]) -> str:
    """The word for the network that a run folder names; for one whose scores are averaged over views, that of the network inside.

    >>> inside = {"name": "hubel.nets.compact", "arguments": {"width": 48}}
    >>> net_word({"name": "hubel.nets.symmetrized", "arguments": {"net": inside}}), net_word({"name": None, "class": "mine.Net"})
    ('compact', 'Net')
    """
    arguments = made.get("arguments")
    inside = arguments.get("net") if isinstance(arguments, dict) else None
    if made.get("name") == "hubel.nets.symmetrized" and isinstance(inside, dict):
        return net_word(inside)
    return str(made.get("name") or made.get("class") or "").rpartition(".")[2]


def name_of(thing: Any) -> str:
    """The dotted name under which `find` returns `thing`."""
    for room in ROOMS:
        if thing.__module__.startswith(room):
            module = importlib.import_module(room)
            if thing.__name__ in getattr(module, "__all__", ()) and getattr(module, thing.__name__) is thing:
                return f"{room}.{thing.__name__}"
    raise TypeError(
        f"{thing.__module__}.{thing.__qualname__} is not a public name of {', '.join(ROOMS)}, so a run folder can not name it"
    )
