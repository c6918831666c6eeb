"""How the sides of a picture shrink on their way through a network, and which layer a picture is too small for.

A layer with kernel k, stride s and padding p makes ⌊(n + 2p − k)/s⌋ + 1 positions of n, one that pads to "same"
makes ⌈n/s⌉. A layer that reduces must receive at least two positions, else there is nothing left to reduce, and
at least as many as its kernel covers beyond the padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hubel.nets.made import check_images, image_shape


@dataclass(frozen=True)
class Reduction:
    """A layer by its name in the network; `padding` None is "same"; `least` positions a side it should get at least."""

    layer: str
    kernel: int
    stride: int
    padding: int | None = 0
    least: int = 2

    @property
    def needs(self) -> int:
        """The least number of positions a side that it can work with."""
        return self.least if self.padding is None else max(self.least, self.kernel - 2 * self.padding)

    def after(self, side: int) -> int:
        """The positions that it makes of `side`.

        >>> Reduction("conv1", 3, 2).after(224), Reduction("conv1", 3, 2, None).after(224)
        (111, 112)
        """
        if self.padding is None:
            return -(-side // self.stride)
        return (side + 2 * self.padding - self.kernel) // self.stride + 1


class Reductions:
    """The reducing layers of the network `net`, in order; `smallest` is the least side of a picture that passes them all.

    >>> stem = Reductions("toy", Reduction("conv1", 3, 2), Reduction("pool", 2, 2))
    >>> stem.smallest
    5
    >>> stem.shape((3, 4, 8))
    Traceback (most recent call last):
    ValueError: toy: images must be at least 5×5 pixels; received 4×8, of which layer pool would get 1×3 positions, and it needs 2×2. Enlarge the images or choose a network with fewer reductions.
    """

    def __init__(self, net: str, *layers: Reduction):
        self.net = net
        self.layers = layers
        self.smallest = next(side for side in itertools.count(1) if self._obstacle(side, side) is None)

    def shape(self, inputs: Sequence[int]) -> tuple[int, int, int]:
        """`inputs` as (C, H, W); raises `ValueError` where it is none, or too small for a layer, which is named."""
        shape = image_shape(inputs, smallest=1, net=self.net)
        obstacle = self._obstacle(*shape[1:])
        if obstacle is not None:
            raise ValueError(
                f"{self.net}: images must be at least {self.smallest}×{self.smallest} pixels; received "
                f"{shape[1]}×{shape[2]}, {obstacle}. Enlarge the images or choose a network with fewer reductions."
            )
        return shape

    def check(self, x: Tensor, inputs: tuple[int, int, int]) -> None:
        """Refuse a batch that is not [N, C, H, W] with the C of `inputs`, or too small for a layer, which is named."""
        try:
            check_images(x, inputs, self.net, smallest=self.smallest)
        except ValueError as error:
            obstacle = self._obstacle(*x.shape[2:]) if x.ndim == 4 else None
            if obstacle is None:
                raise
            raise ValueError(f"{error}, {obstacle}") from None

    def after(self, inputs: Sequence[int]) -> tuple[int, int]:
        """The positions (H, W) that all layers together make of pictures (C, H, W)."""
        height, width = inputs[1:]
        for layer in self.layers:
            height, width = layer.after(height), layer.after(width)
        return height, width

    def check_exactly(self, x: Tensor, inputs: tuple[int, int, int], layer: str) -> None:
        """Refuse a batch that is not [N, *inputs], for a network whose linear `layer` reads every position that is left."""
        try:
            check_images(x, inputs, self.net)
        except ValueError as error:
            if x.ndim != 4 or x.shape[1] != inputs[0]:
                raise
            obstacle = self._obstacle(*x.shape[2:])
            if obstacle is None:
                received, expected = ("×".join(map(str, self.after(s))) for s in (x.shape[1:], inputs))
                obstacle = (
                    f"of which layer {layer} would get {received} positions, and it was made for {expected}"
                )
            raise ValueError(f"{error}, {obstacle}") from None

    def _obstacle(self, height: int, width: int) -> str | None:
        """The first layer that pictures of this size are too small for, in words."""
        for layer in self.layers:
            if min(height, width) < layer.needs:
                return (
                    f"of which layer {layer.layer} would get {height}×{width} positions, "
                    f"and it needs {layer.needs}×{layer.needs}"
                )
            height, width = layer.after(height), layer.after(width)
        return None
