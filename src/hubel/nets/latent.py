"""What networks share whose target is their own input: a code for every example, or new examples from nothing.

`outputs` of all of them is the number of values of an example, which is what they give back; it may be left out.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from hubel.core import random
from hubel.nets.made import Net


class Encoder(Net):
    """A network that has a code [N, Z] of every example."""

    latent: int

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Codes [N, Z] of scaled examples [N, *inputs]."""

    def features(self, x: Tensor) -> Tensor:
        """The codes [N, Z]."""
        return self.encode(x)


class Generator(Net):
    """A network that makes new examples of standard normal numbers [N, Z]."""

    latent: int

    @abstractmethod
    def generate(self, z: Tensor) -> Tensor:
        """Scaled examples [N, *inputs] of `z` [N, Z]."""

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0, *, batch_size: int = 256) -> Tensor:
        """`n` new scaled examples [n, *inputs], in evaluation mode, on the device of the network; the same for the same seed.

        Raises `ValueError` where `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"{n} examples were asked for; expected at least 1")
        where = next(self.parameters())
        z = torch.randn(n, self.latent, generator=random.torch_generator(seed, "sample")).to(where)
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return torch.cat([self.generate(part) for part in z.split(batch_size)])
        finally:
            for module, training in modes:
                module.training = training


def example_shape(inputs: int | Sequence[int], net: str) -> tuple[int, ...]:
    """`inputs` as the shape of one example, refused where it is not one or more positive numbers."""
    shape = (int(inputs),) if isinstance(inputs, (int, float)) else tuple(int(size) for size in inputs)
    if not shape or min(shape) < 1:
        raise ValueError(f"{net}: inputs must be one or more positive whole numbers; received {inputs!r}")
    return shape


def latent_size(latent: int, net: str) -> int:
    """`latent` as a positive integer."""
    if int(latent) != latent or latent < 1:
        raise ValueError(f"{net}: latent must be a positive whole number; received {latent!r}")
    return int(latent)


def check_own_outputs(outputs: int | None, shape: tuple[int, ...], net: str) -> None:
    """Refuse `outputs` that are not as many as an example has values: what is asked for is something else then."""
    size = math.prod(shape)
    if outputs is not None and outputs != size:
        raise ValueError(
            f"{net}: outputs must be a positive whole number, and that of the values of an example ({size}), or be left out; "
            f"received {outputs!r}. It learns from examples that are their own target (--target self), not from labels"
        )


def check_examples(x: Tensor, inputs: tuple[int, ...], net: str) -> None:
    """Refuse a batch that is not [N, *inputs]."""
    if tuple(x.shape[1:]) != inputs:
        raise ValueError(f"{net} expects [N, {', '.join(map(str, inputs))}]; received {list(x.shape)}")
