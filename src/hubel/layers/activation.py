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


class Maxout(nn.Module):
    """The largest of `pieces` values that lie side by side: [N, F * pieces, …] to [N, F, …]. With linear maps before it, a convex
    function of straight pieces is learned. I. Goodfellow et al. 2013, arXiv:1302.4389.

    Raises `ValueError` where the channels are no multiple of `pieces`.

    >>> Maxout(2)(torch.tensor([[1.0, -1.0, 3.0, 5.0]]))
    tensor([[1., 5.]])
    """

    def __init__(self, pieces: int = 2):
        super().__init__()
        if pieces < 1:
            raise ValueError(f"maxout: pieces must be at least 1; received {pieces}")
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """The largest of every `pieces` channels."""
        if x.ndim < 2 or x.shape[1] % self.pieces:
            raise ValueError(
                f"maxout of {self.pieces} pieces expects [N, a multiple of {self.pieces}, …]; received {list(x.shape)}"
            )
        return x.unflatten(1, (-1, self.pieces)).amax(dim=2)


class Activation(StrEnum):
    """An elementwise function, by its usual name.

    >>> Activation("tanh")(torch.zeros(2))
    tensor([0., 0.])
    >>> Activation("rleu")
    Traceback (most recent call last):
    ...
    ValueError: 'rleu' is not an activation. Did you mean "relu"? There are: relu, leaky_relu, prelu, elu, selu, gelu, silu, softplus, tanh, sigmoid, sine, identity.
    """

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    PRELU = "prelu"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    SILU = "silu"
    SOFTPLUS = "softplus"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SINE = "sine"
    IDENTITY = "identity"

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
        return self not in (Activation.TANH, Activation.SIGMOID, Activation.SINE, Activation.IDENTITY)


_MODULES: dict[Activation, type[nn.Module]] = {
    Activation.RELU: nn.ReLU,
    Activation.LEAKY_RELU: nn.LeakyReLU,
    Activation.PRELU: nn.PReLU,
    Activation.ELU: nn.ELU,
    Activation.SELU: nn.SELU,
    Activation.GELU: nn.GELU,
    Activation.SILU: nn.SiLU,
    Activation.SOFTPLUS: nn.Softplus,
    Activation.TANH: nn.Tanh,
    Activation.SIGMOID: nn.Sigmoid,
    Activation.SINE: Sine,
    Activation.IDENTITY: nn.Identity,
}
