"""A convolution read as template matching: each filter beside the patch that excites it most.

At every position a convolution compares the patch p that it reads with its filters:

    w · p = |w| |p| cos(w, p)

so that, of patches of the same contrast, the one that is excited most is the one that looks like the filter. The cosine says how well they
match: 1 is the same pattern, 0 has nothing in common. It is told for the patch that excites most, which may as well owe that to its contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.explain.filters import convolution_named
from hubel.explain.layer import ready
from hubel.explain.question import as_input, layer_named, untouched


@dataclass(frozen=True, kw_only=True, eq=False)
class Templates:
    """Of each of the F filters of `layer`: itself in `filters` [F, C, h, w], the patch of what the layer reads that excites it most in
    `patches` [F, C, h, w], `response` [F] = w · p (without the bias), `cosine` [F], and `where` [F, 3]: example, and row and column of the
    patch's first pixel (below zero where it reaches into the padding, whose pixels are zero).
    """

    layer: str
    filters: np.ndarray
    patches: np.ndarray
    response: np.ndarray
    cosine: np.ndarray
    where: np.ndarray

    def __len__(self) -> int:
        return len(self.filters)

    def __str__(self) -> str:
        return (
            f"{self.layer}: {len(self)} filters and the patches that excite them most; cosine between both from "
            f"{self.cosine.min():.2f} to {self.cosine.max():.2f}"
        )


def templates(net: nn.Module, x: Tensor | np.ndarray, layer: str | None = None) -> Templates:
    """The patches of inputs `x` [N, C, H, W] that excite the filters of a 2-D convolution most: of `layer`, or of the first one.

    Of a deeper layer the patches are those of the maps that it reads. With groups, C is the number of channels that each filter reads.

    Raises `ValueError` for a layer that is no 2-D convolution or is not called, and what `as_input` raises.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False))
    >>> x = net[0].weight[1:].detach()  # a picture of the second filter
    >>> round(float(templates(net, x).cosine[1]), 3)
    1.0
    """
    name = convolution_named(net, layer)
    module = layer_named(net, name)
    if not isinstance(module, nn.Conv2d):
        raise ValueError(
            f"layer {name} is a {type(module).__name__}; expected a convolution of pictures (Conv2d)"
        )
    ready(net)
    with untouched(net), torch.no_grad(), captured(net, lambda other, _: other == name) as calls:
        net(as_input(net, x))
        if not calls:
            raise ValueError(f"layer {name} is not called when the network answers: choose another one")
        _, _, (read, *_), answered = calls[-1]
        if not isinstance(answered, Tensor) or answered.ndim != 4:
            raise ValueError(f"layer {name} does not answer with maps [N, C, H, W]: choose another one")
        return _matched(name, module, read, answered)


def _matched(name: str, conv: nn.Conv2d, read: Tensor, answered: Tensor) -> Templates:
    weight = conv.weight.detach()
    num, channels, height, width = weight.shape
    strides, dilations = (tuple(map(int, v)) for v in (conv.stride, conv.dilation))
    before, after = _padding(conv, read, answered)
    padded = F.pad(read, (before[1], after[1], before[0], after[0]))
    rows, columns = answered.shape[2:]
    best = answered.transpose(0, 1).flatten(1).argmax(1)
    group = num // conv.groups
    patches, where = [], []
    for number, place in enumerate(best.tolist()):
        example, row, column = np.unravel_index(place, (len(answered), rows, columns))
        top, left = int(row) * strides[0], int(column) * strides[1]
        first = number // group * channels
        patches.append(
            padded[
                int(example),
                first : first + channels,
                top : top + dilations[0] * height : dilations[0],
                left : left + dilations[1] * width : dilations[1],
            ]
        )
        where.append((int(example), top - before[0], left - before[1]))
    patch = torch.stack(patches).double().flatten(1)
    flat = weight.double().flatten(1)
    response = (patch * flat).sum(1)
    norms = patch.norm(dim=1) * flat.norm(dim=1)
    cosine = torch.where(norms > 0, response / norms.clamp_min(1e-300), torch.zeros_like(response))
    shape = (num, channels, height, width)
    return Templates(
        layer=name,
        filters=flat.view(shape).cpu().numpy(),
        patches=patch.view(shape).cpu().numpy(),
        response=response.cpu().numpy(),
        cosine=cosine.cpu().numpy(),
        where=np.array(where),
    )


def _padding(conv: nn.Conv2d, read: Tensor, answered: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns added before and after, as they follow from the sizes: layers that pad themselves do not say it."""
    before, after = [], []
    for axis in (0, 1):
        reach = int(conv.dilation[axis]) * (int(conv.kernel_size[axis]) - 1) + 1
        total = max((answered.shape[2 + axis] - 1) * int(conv.stride[axis]) + reach - read.shape[2 + axis], 0)
        said = conv.padding
        own = (
            None if isinstance(said, str) or type(conv).forward is not nn.Conv2d.forward else int(said[axis])
        )
        before.append(total // 2 if own is None else own)
        after.append(max(total - before[-1], 0))
    return (before[0], before[1]), (after[0], after[1])
