"""Methods for large networks: a step along the gradient, turned and scaled by what is remembered of earlier ones, without a search.

    theta <- theta - rate(k) direction_k,   rate(k) = learning_rate min(1, k / warm_up) / (1 + k / half_life)

The rate falls without knowing when the work will end: it is half after `half_life` iterations. One gradient, on few points that are often
drawn anew, is all that an iteration costs; no step is refused. `Adam` divides a running mean of the gradients by the root of one of their
squares: D. P. Kingma, J. Ba, ICLR 2015, arXiv:1412.6980.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor


class Shaped(Protocol):
    """A function f = |r|^2 / 2 of theta [P], which consists of arrays of these `shapes`, one after the other."""

    @property
    def shapes(self) -> Sequence[torch.Size]:
        """Those of the arrays."""
        ...

    def gradient(self, theta: Tensor) -> tuple[Tensor, float]:
        """J^T r and |r|^2."""
        ...


@dataclass(kw_only=True)
class FirstOrder(ABC):
    """What these methods share: the schedule of the rate, and a memory for every array of theta."""

    learning_rate: float = 1e-3
    warm_up: int = 100
    half_life: int = 1000
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-12
    count: int = 0
    memory: list[dict[str, Tensor]] = field(default_factory=list)

    grows: ClassVar[bool] = False
    every: ClassVar[int] = 100

    def __post_init__(self) -> None:
        self.betas = (self.betas[0], self.betas[1])
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("count", "memory", "betas"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(
                    f"{item.name} of {type(self).__name__} is {value!r}; expected a positive number"
                )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"betas of {type(self).__name__} are {self.betas}; expected two numbers from 0 to below 1"
            )

    @property
    def rate(self) -> float:
        """The learning rate of this iteration."""
        return self.learning_rate * min(1.0, self.count / self.warm_up) / (1 + self.count / self.half_life)

    def step(self, system: Shaped, theta: Tensor) -> tuple[Tensor, float, bool]:
        """The new theta [P], |r|^2 at the old one, and True: a step is always made."""
        slope, loss = system.gradient(theta)
        shapes = system.shapes
        pieces = slope.split([shape.numel() for shape in shapes])
        gradients = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        if not self.memory:
            self.memory = [{} for _ in gradients]
        self.count += 1
        steps = self._steps(gradients)
        return theta - torch.cat([step.flatten() for step in steps]), loss, True

    @abstractmethod
    def _steps(self, gradients: list[Tensor]) -> list[Tensor]:
        """What is to be taken off every array."""

    def _adam(self, gradient: Tensor, kept: dict[str, Tensor], num: int) -> Tensor:
        """The direction of Adam after `num` gradients, with its memory in `kept`."""
        first, second = self.betas
        mean = kept.setdefault("mean", torch.zeros_like(gradient))
        square = kept.setdefault("square", torch.zeros_like(gradient))
        mean.lerp_(gradient, 1 - first)
        square.lerp_(gradient.square(), 1 - second)
        root = (square / (1 - second**num)).sqrt()
        return mean / (1 - first**num) / (root + self.epsilon)

    def settings(self) -> dict[str, Any]:
        """What makes the method, without its memory."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("count", "memory")
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and numbers."""
        tensors = {
            f"{place}.{name}": value.clone()
            for place, own in enumerate(self.memory)
            for name, value in own.items()
        }
        return tensors, self.settings() | {"count": self.count, "arrays": len(self.memory)}

    def read(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take a state again."""
        for name in (*self.settings(), "count"):
            setattr(self, name, numbers[name])
        self.betas = (self.betas[0], self.betas[1])
        self.memory = [{} for _ in range(numbers["arrays"])]
        for name, value in tensors.items():
            place, _, word = name.partition(".")
            self.memory[int(place)][word] = value.clone()


@dataclass(kw_only=True)
class Adam(FirstOrder):
    """The method and its state. `betas` are the decays of the means of the gradient and of its square; `rate` rises for `warm_up`
    iterations, and has fallen to a half after `half_life`.

    >>> method = Adam(learning_rate=0.01, warm_up=2, half_life=100)
    >>> method.count = 1
    >>> round(method.rate, 5)
    0.00495
    """

    def _steps(self, gradients: list[Tensor]) -> list[Tensor]:
        return [
            self.rate * self._adam(gradient, kept, self.count)
            for gradient, kept in zip(gradients, self.memory, strict=True)
        ]
