"""What a solver asks of a network, and how one comes from a choice or from what was saved of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hubel.core.random import key
from hubel.physics.architecture import Architecture
from hubel.physics.given import GivenNetwork
from hubel.physics.jets import Jet
from hubel.physics.network import SmallNetwork
from hubel.physics.problem import Problem


class Noted(Protocol):
    """What a network noted on the way forward, for the way back."""

    def gradient(self, slope: Tensor) -> Tensor:
        """The slopes by all weights [P] from those by the series of the answer [M, K, N]."""
        ...

    def rows(self, slope: Tensor, *, images: int = 1, into: Tensor) -> None:
        """Write the rows of the Jacobian of a residual into `into` [P, N]; `slope` [M, K, R N] for `images` = R."""
        ...


class Network(Protocol):
    """A function of features [N, F] to [N, K] with weights [P], whose Taylor coefficients can be asked for."""

    inputs: int
    outputs: int
    grows: bool
    in_one_pass: bool

    @property
    def size(self) -> int:
        """P."""
        ...

    @property
    def shapes(self) -> list[torch.Size]:
        """Those of the arrays that the weights come from, in their order."""
        ...

    @property
    def label(self) -> str:
        """What it is, in words."""
        ...

    def weights(self) -> Tensor:
        """All of them, one after the other, [P]."""
        ...

    def read(self, weights: Tensor) -> None:
        """Take these weights [P]."""
        ...

    def fixed(self) -> dict[str, Tensor]:
        """What belongs to the function and is not fitted."""
        ...

    def fix(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `fixed` answered."""
        ...

    def described(self) -> dict[str, Any]:
        """Its shape, as JSON holds it, for `rebuilt`."""
        ...

    def restored(self, described: Mapping[str, Any], fixed: Mapping[str, Tensor]) -> Network:
        """The network that answered this to `described` and `fixed`. Raises `ValueError` where it is of another kind."""
        ...

    def copied(self) -> Network:
        """The same function in other memory."""
        ...

    def another(self, seed: int) -> Network:
        """A network of the same shape from the start; asked of networks that grow alone."""
        ...

    def wider(self, factor: float, seed: int) -> Network:
        """The same function by more units; asked of networks that grow alone."""
        ...

    def tape(self) -> Noted:
        """Where `series` notes what the way back needs."""
        ...

    def series(self, features: Tensor, jet: Jet, tape: Any = None) -> Tensor:
        """Taylor coefficients [M, K, N] of the answer from those of the features [M, F, N]; `tape` is one of its own."""
        ...


def network_for(
    choice: Architecture | nn.Module | None,
    problem: Problem,
    features: Sequence[str],
    *,
    begin: tuple[int, int],
    seed: int,
) -> Network:
    """A network from the start, which reads these features; `begin` are width and depth where the choice names none.

    Raises `TypeError` for what is neither a choice nor a module, `ValueError` for a module that does not fit.
    """
    outputs = len(problem.components)
    if isinstance(choice, nn.Module):
        own = GivenNetwork(choice, features, outputs)
        own.refuse_flat(problem.jet)
        return own
    if choice is not None and not isinstance(choice, Architecture):
        raise TypeError(
            f"network is {type(choice).__name__}; expected a hubel.physics.Architecture, or a torch.nn.Module of your own"
        )
    choice = Architecture() if choice is None else choice
    return SmallNetwork(
        len(features),
        outputs,
        width=begin[0] if choice.width is None else choice.width,
        depth=begin[1] if choice.depth is None else choice.depth,
        activation=choice.activation,
        residual=choice.residual,
        fourier=choice.fourier,
        frequency=choice.frequency,
        seed=key(seed, "network") % 2**31,
    )


def rebuilt(
    described: Mapping[str, Any],
    fixed: Mapping[str, Tensor],
    *,
    given: nn.Module | None = None,
    features: Sequence[str] = (),
) -> Network:
    """A network again, from what `described()` and `fixed()` answered; one of the user's own is `given` again, and reads the `features`.

    Raises `ValueError` where it is lacking, or is another one.
    """
    if given is not None and "given" not in described:
        raise ValueError(
            f"what was saved has a network of hubel's: leave out network={type(given).__name__}(...)"
        )
    if given is not None:
        return GivenNetwork(given, features, described["outputs"]).restored(described, fixed)
    if "given" in described:
        raise ValueError(
            f"what was saved has a network of your own, {described['given']}, which no file holds: pass it again (network=...)"
        )
    return SmallNetwork(**described).restored(described, fixed)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
