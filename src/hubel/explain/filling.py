"""What stands in for values that are taken away: grey, the mean, the example out of focus, a number, or values of the user's own."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Fill = Literal["grey", "mean", "blur"] | float | Tensor | None


def filled(example: Tensor, fill: Fill, *, sigma: float = 8.0, steps_first: bool = False) -> Tensor:
    """An example of the shape of `example` in which nothing is left, to be put in place of what is taken away.

    Of maps [C, ...] and for each channel: "grey" is halfway between its least and its greatest value (which is grey whatever the scaling of
    the inputs), "mean" its mean, "blur" the example smoothed by a Gaussian of `sigma` positions. Of features [F] and symbols [L] a number or
    values of the same shape have to be given; None means grey for maps, and 0 for features, which is their mean where they are standardized.
    With `steps_first` an example is steps [L, F], whose features are the channels.

    Raises `ValueError` for another word, or values that do not fit the example; `TypeError` for symbols without a symbol to put in their place.

    >>> filled(torch.tensor([[0.0, 1.0, 5.0]]), "grey"), filled(torch.ones(2), None)
    (tensor([[2.5000, 2.5000, 2.5000]]), tensor([0., 0.]))
    """
    if steps_first and (fill is None or isinstance(fill, str)):
        return filled(example.T, fill, sigma=sigma).T.contiguous()
    symbol = isinstance(fill, (int, Tensor)) and not isinstance(fill, bool)
    if not example.is_floating_point() and not symbol:
        raise TypeError(
            f"inputs [N, L] of {example.dtype} are numbers of symbols: fill must be the symbol that stands for nothing (an integer), "
            f"received {fill!r}"
        )
    if isinstance(fill, Tensor):
        try:
            return fill.to(example).expand_as(example).clone()
        except RuntimeError:
            raise ValueError(
                f"fill of shape {list(fill.shape)} does not fit examples of shape {list(example.shape)}"
            ) from None
    if isinstance(fill, (int, float)) and not isinstance(fill, bool):
        return torch.full_like(example, fill)
    if fill is None:
        fill = "grey" if example.ndim > 1 else 0.0
        return filled(example, fill)
    if fill not in ("grey", "mean", "blur"):
        raise ValueError(f'fill must be "grey", "mean", "blur", a number or a tensor; received {fill!r}')
    if example.ndim < 2:
        raise ValueError(
            f"features have no {fill}: fill must be a number, or one value a feature [{len(example)}]"
        )
    flat = example.flatten(1)
    if fill == "blur":
        return blurred(example[None], sigma)[0]
    value = (flat.amin(1) + flat.amax(1)) / 2 if fill == "grey" else flat.mean(1)
    return value.view(-1, *(1,) * (example.ndim - 1)).expand_as(example).clone()


def blurred(x: Tensor, sigma: float) -> Tensor:
    """`x` [N, C, ...] smoothed along its one to three spatial axes by a Gaussian of standard deviation `sigma`, borders continued.

    >>> bool(blurred(torch.eye(9)[None, None], 1.0)[0, 0, 4, 4] < 0.5)
    True
    """
    if sigma <= 0:
        return x.clone()
    dims = x.ndim - 2
    convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    channels = x.shape[1]
    for axis in range(dims):
        reach = max(1, min(int(3 * sigma + 0.5), 4 * x.shape[2 + axis]))
        line = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        weights = torch.exp(-(line**2) / (2 * sigma**2))
        shape, widths = [1] * dims, [0] * (2 * dims)
        shape[axis] = len(line)
        widths[2 * (dims - 1 - axis) : 2 * (dims - axis)] = [reach, reach]
        kernel = (weights / weights.sum()).view(1, 1, *shape).expand(channels, 1, *shape)
        x = convolve(F.pad(x, widths, mode="replicate"), kernel.contiguous(), groups=channels)
    return x
