"""torch's optimizers without what torch wraps around their methods: it imports the compiler (1 s, 70 MB), to tell it to keep out."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, TypeVar

import torch

WRAPPED = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def uncompiled(kind: type[Kind]) -> type[Kind]:
    """The same optimizer, of the same name, whose methods are those that torch wrote.

    >>> layer = torch.nn.Linear(3, 2)
    >>> optimizer = uncompiled(torch.optim.SGD)(layer.parameters(), lr=0.1)
    >>> type(optimizer).__name__, isinstance(optimizer, torch.optim.SGD)
    ('SGD', True)
    """
    return _made(kind)


@cache
def _made(kind: type[torch.optim.Optimizer]) -> Any:
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    methods["__reduce__"] = lambda self: (_blank, (kind,), self.__getstate__())  # no module holds the class
    return type(kind.__name__, (kind,), {**methods, "__module__": __name__, "__doc__": kind.__doc__})


def _blank(kind: type[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """An optimizer without state, to be unpickled into."""
    made = _made(kind)
    return made.__new__(made)
