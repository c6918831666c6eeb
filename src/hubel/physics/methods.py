"""The methods that lower a residual, by name, and which one a network of some size is given.

Burgers with nu = 0.01 / pi and 12,029 weights (4 layers of 62), 1,000 points at a time, processor time on one thread, seeds 0 and 1:
errors after 15, 30 and 60 s of 3.6e-2 and 1.9e-2, 1.4e-2 and 6.3e-3, 6.6e-3 and 7.5e-3 by SOAP; 8.0e-2 and 7.3e-2, 4.5e-2 and 1.8e-2,
2.6e-2 and 4.4e-3 by L-BFGS. With as many points as weights L-BFGS makes 6 iterations in 40 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hubel.core.errors import nearest
from hubel.physics.first_order import Adam, FirstOrder
from hubel.physics.levenberg import LevenbergMarquardt
from hubel.physics.muon import Muon
from hubel.physics.quasi_newton import LARGEST_DENSE, LimitedMemory, SelfScaledBroyden
from hubel.physics.soap import SOAP

Method = LevenbergMarquardt | SelfScaledBroyden | LimitedMemory | Adam | SOAP | Muon
METHODS: dict[str, type[Method]] = {
    kind.__name__: kind for kind in (LevenbergMarquardt, SelfScaledBroyden, LimitedMemory, Adam, SOAP, Muon)
}
LARGEST = 3000  # weights; beyond, J^T J costs more than it brings


def method_for(size: int, *, from_data: bool = False) -> Method:
    """The best method that so many weights allow; with data one that comes to rest."""
    if size <= LARGEST:
        return LevenbergMarquardt()
    if size <= LARGEST_DENSE:
        return SelfScaledBroyden()
    return LimitedMemory() if from_data else SOAP()


def described(method: Method) -> dict[str, Any]:
    """A method that has not begun, as a file holds it: its name and its settings.

    >>> described(LimitedMemory(memory=20))
    {'is': 'LimitedMemory', 'memory': 20}
    """
    refuse_other(method)
    given = {item.name: getattr(method, item.name) for item in fields(method)}
    plain = {name: value for name, value in given.items() if isinstance(value, (int, float, tuple))}
    return {"is": type(method).__name__} | {
        name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()
    }


def refuse_other(method: Any, *, from_data: bool = False) -> None:
    """Raises `TypeError` for what is no method, such as its name or its class, `ValueError` with data for one that never rests."""
    if from_data and isinstance(method, FirstOrder):
        raise ValueError(
            f"{type(method).__name__} does not come to rest, and standard errors hold where the fit rests: leave out method= where there are data"
        )
    if isinstance(method, tuple(METHODS.values())):
        return
    received = method.__name__ if isinstance(method, type) else repr(method)
    raise TypeError(
        f"method is {received}; expected one of {', '.join(f'{name}()' for name in METHODS)} of hubel.physics"
    )


def rebuilt(about: Mapping[str, Any]) -> Method:
    """A method again. Raises `ValueError` for a name or settings that there are not."""
    settings = dict(about)
    name = settings.pop("is", None)
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}.{nearest(str(name), tuple(METHODS))}")
    known = described(METHODS[name]())
    if set(settings) - set(known) or any(
        type(value) is not type(known[key]) for key, value in settings.items()
    ):
        raise ValueError(f"{name} can not be made of {settings}; expected {known}")
    return METHODS[name](**settings)
