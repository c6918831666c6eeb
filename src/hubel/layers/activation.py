"""What stands between two linear maps and makes their product more than one linear map.

A closed list, so that a run folder can say which one was used: every member is a word in JSON, and a
function of tensors in Python.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn

from hubel.core.errors import nearest


class Sine(nn.Module):
    """sin(x), the activation of Sitzmann et al., "Implicit Neural Representations with Periodic Activation
    Functions", NeurIPS 2020 (arXiv:2006.09661); their factor ω₀ belongs to the weights.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise sine."""
        return torch.sin(x)


class Activation(StrEnum):
    """An elementwise function, by its usual name.

    >>> Activation("tanh")(torch.zeros(2))
    tensor([0., 0.])
    >>> Activation("rleu")
    Traceback (most recent call last):
    ...
    ValueError: 'rleu' is not an activation. Did you mean "relu"? There are: relu, leaky_relu, elu, gelu, silu, softplus, tanh, sigmoid, sine.
    """

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    GELU = "gelu"
    SILU = "silu"
    SOFTPLUS = "softplus"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SINE = "sine"

    @classmethod
    def _missing_(cls, value: object) -> Activation:
        raise ValueError(
            f"{value!r} is not an activation.{nearest(str(value), [str(member) for member in cls])}"
        )

    def module(self) -> nn.Module:
        """A new module that applies this function."""
        return _MODULES[self]()

    def __call__(self, x: Tensor) -> Tensor:
        """The function itself, elementwise."""
        return self.module()(x)

    @property
    def rectifies(self) -> bool:
        """Whether it is ReLU or a smooth relative, for which He's initial weights are meant (else Glorot's)."""
        return self not in (Activation.TANH, Activation.SIGMOID, Activation.SINE)


_MODULES: dict[Activation, type[nn.Module]] = {
    Activation.RELU: nn.ReLU,
    Activation.LEAKY_RELU: nn.LeakyReLU,
    Activation.ELU: nn.ELU,
    Activation.GELU: nn.GELU,
    Activation.SILU: nn.SiLU,
    Activation.SOFTPLUS: nn.Softplus,
    Activation.TANH: nn.Tanh,
    Activation.SIGMOID: nn.Sigmoid,
    Activation.SINE: Sine,
}
