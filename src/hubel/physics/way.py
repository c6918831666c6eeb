"""What came out in windows of time, and what their errors come to together (`windows`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from hubel.physics.ansatz import Ansatz
from hubel.physics.pieces import Pieces
from hubel.physics.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came out in one window, beside its network: `size` is the root mean square of the scaled solution, `estimate` the error that was
    added, relative to it, and `carried` what became in it of the errors of the windows before: as the equation has it where it was `followed`,
    else as if they stayed.
    """

    estimate: float | None
    size: float
    carried: float
    followed: bool
    residual: float
    stopped: str
    limit: str
    seconds: float
    iterations: int
    violations: Mapping[str, float]


@dataclass(frozen=True)
class Way:
    """What came out in the windows from the first one on."""

    windows: tuple[Ansatz, ...] = ()
    done: tuple[Done, ...] = ()

    @property
    def estimate(self) -> float | None:
        """The relative error over these windows."""
        return together([(one.estimate, one.size, one.carried) for one in self.done])

    @property
    def is_followed(self) -> bool:
        """Whether errors were followed as the equation has it, in all windows."""
        return all(one.followed for one in self.done)

    def then(self, window: Ansatz, done: Done) -> Way:
        """With one window more."""
        return Way((*self.windows, window), (*self.done, done))

    def is_better(self, other: Way | None) -> bool:
        """Whether its error is smaller, as far as is known."""
        if other is None or other.estimate is None:
            return True
        return self.estimate is not None and self.estimate <= other.estimate

    def saved(self, problem: Problem, num: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain numbers; `Way.built` reads them."""
        tensors, form = Pieces(problem, num, self.windows).saved()
        return tensors, {"form": form, "done": [asdict(done) for done in self.done]}

    @staticmethod
    def built(
        problem: Problem,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        network: nn.Module | None,
    ) -> Way:
        """The way again; a `network` of your own is passed again."""
        windows = Pieces.built(problem, tensors, numbers["form"], network).windows
        return Way(windows, tuple(Done(**done) for done in numbers["done"]))


def together(known: Sequence[tuple[float | None, float, float]]) -> float | None:
    """The relative error over all windows, from the estimate, the size, and what was carried into each; None where an estimate is lacking.

    >>> together([(0.01, 1.0, 0.0), (0.03, 1.0, 0.02)]) == math.hypot(0.01, 0.05) / math.hypot(1.0, 1.0)
    True
    """
    squares = 0.0
    for estimate, size, carried in known:
        if estimate is None:
            return None
        squares += (estimate * size + carried) ** 2
    whole = sum(size**2 for _, size, _ in known)
    return math.sqrt(squares / whole) if whole > 0 else None
