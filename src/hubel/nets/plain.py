"""Plain networks, as AlexNet and VGG are: convolutions and poolings, an average to a fixed grid, hidden linear layers, scores.

Two things are called `features`: in torchvision's state dicts the convolutions are `features.0`, `features.1`, …; and every
network of hubel has `features(x)` [N, F], what its last linear layer reads. Here the name is one object that is both: a module
with the convolutions as its children, which, called, answers for the whole network up to the last linear layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.nets.made import Net
from hubel.nets.reductions import Reduction, Reductions


class PlainNet(Net):
    """`convolutions`, an average over `grid`×`grid` fields, and `classifier`, whose last layer makes the scores.

    Larger images are averaged, in smaller ones the same position stands in several fields. Initial weights: He normal by fan-in
    (arXiv:1502.01852), biases zero; the last layer begins small, so that the first loss is near that of guessing.
    """

    def __init__(
        self,
        reductions: Reductions,
        inputs: tuple[int, int, int],
        *,
        convolutions: Iterable[nn.Module],
        grid: int,
        classifier: Sequence[nn.Module],
    ):
        super().__init__()
        self.reductions, self.inputs = reductions, inputs
        self._modules["features"] = Features(self, convolutions)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        self.classifier = nn.Sequential(*classifier)
        _initialize(self)

    @property
    def features(self) -> Features:  # type: ignore[override]  # a callable, as the method of other networks
        """The convolutions; called with images [N, C, H, W], the values [N, F] that the last linear layer reads."""
        return self._modules["features"]  # type: ignore[return-value]

    def hidden(self, x: Tensor) -> Tensor:
        """What `features(x)` answers: [N, F]."""
        self.reductions.check(x, self.inputs)
        x = self.avgpool(self.features.maps(x)).flatten(1)
        for layer in list(self.classifier)[:-1]:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.classifier[-1](self.features(x))


class Features(nn.Sequential):
    """The convolutions of a `PlainNet`; see the top of this file."""

    def __init__(self, net: PlainNet, layers: Iterable[nn.Module]):
        super().__init__(*layers)
        self._net = (net,)  # in a tuple, so that it is not registered as a part of its own part

    def maps(self, x: Tensor) -> Tensor:
        """What the last convolution or pooling makes of images: [N, C, H, W]."""
        for layer in self:
            x = layer(x)
        return x

    def forward(self, input: Tensor) -> Tensor:
        """The values [N, F] that the last linear layer of the network reads."""
        return self._net[0].hidden(input)


class ReLU(nn.Module):
    """max(0, x), in the memory of x in training (see `hubel.layers.relu`)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return relu(x, training=self.training)


def reductions_of(net: str, convolutions: Iterable[nn.Module]) -> Reductions:
    """Those of the square `convolutions` and max-poolings that leave fewer positions than they are given.

    A pooling that rounds up, ⌈(n - k) / s⌉ + 1, makes as many positions as one of kernel k - (s - 1) that rounds down.

    >>> reductions_of("toy", [nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]).layers
    (Reduction(layer='features.2', kernel=2, stride=2, padding=0, least=2),)
    """
    found = []
    for number, layer in enumerate(convolutions):
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, stride, padding = map(_side, (layer.kernel_size, layer.stride, layer.padding))
            kernel -= (stride - 1) * (isinstance(layer, nn.MaxPool2d) and layer.ceil_mode)
            if stride > 1 or kernel > 2 * padding + 1:
                found.append(Reduction(f"features.{number}", kernel, stride, padding))
    return Reductions(net, *found)


def _side(size: Any) -> int:
    """One number of a size that layers keep as a number or as a pair."""
    return int(size[0] if isinstance(size, tuple) else size)


def hidden_width(hidden: int, net: str) -> int:
    """`hidden` as a positive integer."""
    if int(hidden) != hidden or hidden < 1:
        raise ValueError(f"{net}: hidden must be a positive whole number; received {hidden!r}")
    return int(hidden)


def _initialize(net: PlainNet) -> None:
    """He normal by fan-in, which keeps the size of the values from layer to layer; the last layer 0.1/√F; biases zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    last = net.classifier[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=0.1 / last.in_features**0.5)
