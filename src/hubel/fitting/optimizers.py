"""Optimizers as frozen choices; `build(net)` makes the torch optimizer, with parameters in two groups.

Weight decay acts on matrices and filters only, never on biases, gains of norms or other vectors: a decayed gain changes
nothing but the effective learning rate, and a decayed bias pulls the output to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from hubel.fitting.lean_adam import lean
from hubel.fitting.muon import MuonWithSGD
from hubel.fitting.parameters import matrices_and_vectors
from hubel.fitting.uncompiled import uncompiled
from hubel.nets.backbones import ClassifierBody


class OptimizerChoice(Protocol):
    """What a recipe holds: hyperparameters, and how to build the optimizer for a network."""

    @property
    def learning_rate(self) -> float: ...

    def build(self, net: nn.Module) -> torch.optim.Optimizer: ...


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum: v <- m v + g, w <- w - lr (g + m v) with Nesterov's look-ahead.

    `learning_rate` is the highest of the schedule, `momentum` is m (0 for none), `nesterov` adds the look-ahead, and
    `weight_decay` times the weight is added to the gradient of matrices and filters.

    >>> optimizer = SGD(learning_rate=0.05).build(nn.Linear(3, 2))
    >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]  # the matrix, then the biases
    [(0.05, 0.0005), (0.05, 0.0)]
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return uncompiled(torch.optim.SGD)(
            decay_groups(net, self.weight_decay),
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            fused=can_fuse(net),
        )


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    `learning_rate` is the highest of the schedule; `betas` are the decays of the running means of the gradient and of its square;
    `epsilon` is added to the root of the second; `weight_decay` times the learning rate is the share that matrices and filters
    lose at every step.
    `before_last` multiplies the learning rate of all layers before the last: below 1, it keeps published weights near where they are
    while a fresh last layer learns. `depth_decay` multiplies it once more for every further layer towards the input (layers are counted
    by their matrices or filters; what stands between two belongs to the first): discriminative learning rates (Howard and Ruder
    2018, arXiv:1801.06146).

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    >>> groups = AdamW(learning_rate=1.0, before_last=0.5, depth_decay=0.1).build(net).param_groups
    >>> sorted({round(group["lr"], 3) for group in groups})
    [0.05, 0.5, 1.0]
    """

    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    before_last: float = 1.0
    depth_decay: float = 1.0

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        groups = decay_groups(net, self.weight_decay)
        if (self.before_last, self.depth_decay) != (1.0, 1.0):
            shares = {key: self._share(depth) for key, depth in layer_depths(net).items()}
            groups = [
                {**group, "params": params, "lr": self.learning_rate * share}
                for share in sorted(set(shares.values()), reverse=True)
                for group in groups
                if (params := [p for p in group["params"] if shares[id(p)] == share])
            ]
        return lean(torch.optim.AdamW)(
            groups,
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.epsilon,
            fused=can_fuse(net),
        )

    def _share(self, depth: int) -> float:
        """Of the learning rate, for the layer that is so many before the last."""
        return self.before_last * self.depth_decay ** (depth - 1) if depth else 1.0


@dataclass(frozen=True, kw_only=True)
class Momentum:
    """Gradient descent with a running mean of the gradient: v <- m v + (1 - m) g, w <- w - lr v.

    The same as `SGD` without look-ahead at lr (1 - m), since there v is larger by 1 / (1 - m): here the learning rate keeps its
    meaning when m changes. Fields as in `SGD`. Source: B. T. Polyak, USSR Comput. Math. Math. Phys. 4, 1 (1964),
    doi:10.1016/0041-5553(64)90137-5.

    >>> [group["lr"] for group in Momentum(learning_rate=0.1, momentum=0.75).build(nn.Linear(3, 2)).param_groups]
    [0.025, 0.025]
    """

    learning_rate: float = 0.5
    momentum: float = 0.9
    weight_decay: float = 0.0

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        rate = self.learning_rate * (1 - self.momentum)
        plain = SGD(
            learning_rate=rate, momentum=self.momentum, nesterov=False, weight_decay=self.weight_decay
        )
        return plain.build(net)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); with `amsgrad` the greatest second moment so far divides (Reddi, Kale and Kumar
    2018, arXiv:1904.09237).

    Fields as in `AdamW`, but `weight_decay` is added to the gradient, where the second moment scales it: for decay take `AdamW`.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return lean(torch.optim.Adam)(
            decay_groups(net, self.weight_decay),
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            fused=can_fuse(net),
        )


@dataclass(frozen=True, kw_only=True)
class Adagrad:
    """The gradient over the root of the sum of all its squares so far, so that every weight's steps shrink as it is used.

    `epsilon` is added to the root, `initial` is the sum at the start, `weight_decay` times the weight is added to the gradient of
    matrices and filters. Source: J. Duchi, E. Hazan, Y. Singer, J. Mach. Learn. Res. 12, 2121 (2011).
    """

    learning_rate: float = 0.01
    epsilon: float = 1e-10
    initial: float = 0.0
    weight_decay: float = 0.0

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return uncompiled(torch.optim.Adagrad)(
            decay_groups(net, self.weight_decay),
            lr=self.learning_rate,
            eps=self.epsilon,
            initial_accumulator_value=self.initial,
        )


@dataclass(frozen=True, kw_only=True)
class Adadelta:
    """The gradient times the root mean square of the last steps, over that of the last gradients: steps in the unit of the weights.

    `decay` is that of both running means, `epsilon` is added to both. Source: M. D. Zeiler 2012, arXiv:1212.5701.
    """

    learning_rate: float = 1.0
    decay: float = 0.9
    epsilon: float = 1e-6
    weight_decay: float = 0.0

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return uncompiled(torch.optim.Adadelta)(
            decay_groups(net, self.weight_decay), lr=self.learning_rate, rho=self.decay, eps=self.epsilon
        )


@dataclass(frozen=True, kw_only=True)
class RMSProp:
    """The gradient over the root of the running mean of its square.

    `decay` is that of the mean, `epsilon` is added to the root, `momentum` is applied to the scaled gradient, and `centered`
    subtracts the square of the mean gradient. Source: T. Tieleman and G. Hinton, lecture 6.5 of Neural Networks for Machine
    Learning (2012).
    """

    learning_rate: float = 1e-3
    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return uncompiled(torch.optim.RMSprop)(
            decay_groups(net, self.weight_decay),
            lr=self.learning_rate,
            alpha=self.decay,
            eps=self.epsilon,
            momentum=self.momentum,
            centered=self.centered,
        )


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon for inner matrices and filters, Nesterov SGD for the rest: see `hubel.fitting.muon`.

    `normalize` keeps the norm of every filter bank, for networks in which a norm layer follows each convolution; elsewhere it
    has to be off. `weight_decay` acts on what is not normalized, but never on vectors.
    `learning_rate` (the highest of the schedule), `momentum` and the number of Newton-Schulz `iterations` are those of the inner
    matrices and filters; `other_learning_rate` and `other_momentum` those of the rest.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    >>> optimizer = Muon(learning_rate=0.05).build(net)
    >>> [(group["kind"], len(group["params"])) for group in optimizer.param_groups]  # inner matrix, first and last, biases
    [('muon', 1), ('sgd', 2), ('sgd', 3)]
    """

    learning_rate: float = 0.02
    momentum: float = 0.9
    iterations: int = 3
    normalize: bool = False
    weight_decay: float = 5e-4
    other_learning_rate: float = 0.02
    other_momentum: float = 0.9

    def build(self, net: nn.Module) -> torch.optim.Optimizer:
        return uncompiled(MuonWithSGD)(net, self)


def decay_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices and filters decay, vectors and gains of norms do not. Frozen parameters are left out."""
    matrices, vectors = matrices_and_vectors(net)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def last_layer(net: nn.Module) -> list[nn.Parameter]:
    """The parameters of the module that holds the last matrix or filter bank."""
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    matrices = [name for name, p in named if p.ndim >= 2]
    owner = (matrices or [name for name, _ in named])[-1].rpartition(".")[0]
    return [p for name, p in named if name.rpartition(".")[0] == owner]


def layer_depths(net: nn.Module) -> dict[int, int]:
    """For the `id` of every trained parameter how many layers with a matrix or filters stand between it and the output; 0 is the last
    layer, and only that. Of a detector whose body is another network, all that follows the body is last.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    >>> list(layer_depths(net).values())
    [1, 1, 1, 1, 0, 0]
    """
    body = next((module for module in net.modules() if isinstance(module, ClassifierBody)), None)
    before = set() if body is None else {id(p) for p in body.parameters()}
    last = {id(p) for p in (last_layer(net) if body is None else net.parameters())} - before
    seen: list[str] = []
    places = {}
    for name, p in net.named_parameters():
        owner = name.rpartition(".")[0]
        if not p.requires_grad:
            continue
        if p.ndim >= 2 and owner not in seen and id(p) not in last:
            seen.append(owner)
        places[id(p)] = max(len(seen) - 1, 0)
    return {key: 0 if key in last else max(1, len(seen) - place) for key, place in places.items()}


def can_fuse(net: nn.Module) -> bool:
    """Whether torch's fused step serves these parameters: one device of a supported kind, floating point."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    kinds = {p.device.type for p in parameters}
    return len(kinds) == 1 and kinds <= {"cpu", "cuda"} and all(p.is_floating_point() for p in parameters)
