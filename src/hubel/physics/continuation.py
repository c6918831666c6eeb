"""From an easier equation to the one that was asked: values of its numbers that are walked through, the network carried along.

A front that is thin, or a reaction that is stiff, leaves a network that begins anywhere in a valley from which it does not get out. With a
larger viscosity the solution is smooth and found at once, and from there to the next value it is a short way. A stage need not be solved well:
it ends where its error is estimated to be below NEAR, or where nothing improves any more.

E. L. Allgower, K. Georg, "Introduction to Numerical Continuation Methods", SIAM 2003, doi:10.1137/1.9780898719154; of networks
A. Krishnapriyan, A. Gholami, S. Zhe, R. Kirby, M. Mahoney, NeurIPS 2021, arXiv:2109.01050, section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubel.core.errors import nearest
from hubel.physics.problem import Problem

NEAR = 1e-2  # relative error with which a stage ends


@dataclass(frozen=True)
class Continuation:
    """The problems that are solved one after the other; the last one is what was asked.

    >>> rod = Problem(lambda u, k: u.t - k * u.xx, domain=dict(t=(0, 1), x=(0, 1)), k=0.1, initial=0.0, boundary={"x": 0.0})
    >>> [stage.parameters["k"] for stage in Continuation.of({"k": (1.0, 0.3)}, rod).stages]
    [1.0, 0.3, 0.1]
    """

    stages: tuple[Problem, ...]

    @staticmethod
    def of(given: Mapping[str, Sequence[float]] | None, problem: Problem) -> Continuation:
        """From the values of some numbers before their own, all equally many.

        Raises `ValueError` or `TypeError` for names that are no numbers of the problem, and for values that are none.
        """
        if given is None:
            return Continuation((problem,))
        if not isinstance(given, Mapping) or not given:
            raise TypeError(
                f'continuation is {given!r}; expected values by names of numbers, {{"nu": (0.1, 0.03)}}'
            )
        numbers = tuple(name for name in problem.parameters if name not in problem.unknowns)
        walks = {name: _values(name, values, numbers) for name, values in given.items()}
        if len({len(values) for values in walks.values()}) > 1:
            told = ", ".join(f"{name} {len(values)}" for name, values in walks.items())
            raise ValueError(
                f"continuation must have equally many values of every number; received of {told}"
            )
        steps = zip(*walks.values(), strict=True)
        return Continuation(
            (*(problem.with_values(dict(zip(walks, step, strict=True))) for step in steps), problem)
        )

    def told(self, stage: int) -> str:
        """The numbers of a stage that are not those of the end, in words."""
        own, last = self.stages[stage].parameters, self.stages[-1].parameters
        return ", ".join(f"{name} = {own[name]:g}" for name in own if own[name] is not last[name])


def _values(name: Any, values: Any, numbers: Sequence[str]) -> tuple[float, ...]:
    if name not in numbers:
        raise ValueError(
            f"continuation has {name!r}, which is no number of the problem.{nearest(str(name), numbers)}"
        )
    if not isinstance(values, (list, tuple)) or not values:
        raise TypeError(
            f'continuation of {name} is {values!r}; expected its values before its own, {{"{name}": (0.1, 0.03)}}'
        )
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise TypeError(f"continuation of {name} has {value!r}; expected finite numbers")
    return tuple(float(value) for value in values)
