"""The body of a detector: our own, or what another fitted network makes of pictures on its way, with its weights.

Of a classifier, or of any other network that answers maps on its way, the last map of each stride is taken. Of an autoencoder it is the
encoder alone: what comes after the code is no longer about where things are. The network is copied, so that it stays as it was.

Source: J. Yosinski, J. Clune, Y. Bengio, H. Lipson, "How transferable are features in deep neural networks?", NeurIPS 2014
(arXiv:1411.1792).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.capture import branched, captured
from hubel.core.names import rebuild_net
from hubel.nets.conv_autoencoder import PictureEncoder
from hubel.nets.detector_parts import Body
from hubel.nets.symmetrized import one_view

STRIDES = (2, 4, 8, 16, 32, 64)
Shape = tuple[int, int, int]
Map = tuple[str, int, tuple[int, int]]
"""The name of a layer, and the channels and sides of what it answers."""


def body_of(
    backbone: Mapping[str, Any] | nn.Module | None,
    width: int,
    inputs: Shape,
    strides: Sequence[int],
    *,
    units_from: int = 4,
) -> nn.Module:
    """The body that a detector was asked for: our own (`Body`), or a copy of another network (or of what its `made_by` makes)."""
    if backbone is None:
        return Body(inputs[0], width, strides, units_from=units_from)
    if isinstance(backbone, Mapping):
        backbone = rebuild_net(str(backbone["name"]), dict(backbone["arguments"]))
        assert isinstance(backbone, nn.Module)
        return ClassifierBody(backbone, inputs, strides)
    body = ClassifierBody(copy.deepcopy(backbone), inputs, strides)
    body.has_learnt = True
    return body


def description_of(backbone: Mapping[str, Any] | nn.Module | None) -> Mapping[str, Any] | None:
    """A backbone as `made_by` stores it: the name and the arguments of the function that made it, None for our own body and for modules that
    no function of `hubel.nets` made.
    """
    if not isinstance(backbone, nn.Module):
        return backbone
    of = getattr(one_view(backbone), "made_by", None)
    return None if of is None else {"name": of.name, "arguments": dict(of.arguments)}


def strides_of(backbone: nn.Module, inputs: Shape) -> tuple[int, ...]:
    """The strides, powers of two, of which a network makes maps of pictures (C, H, W).

    Raises `ValueError` where it can not look at such pictures.

    >>> from hubel.nets import resnet
    >>> strides_of(resnet(18, inputs=(3, 64, 64), outputs=5), (3, 128, 128))
    (2, 4, 8, 16, 32)
    """
    maps = _maps(_looking(copy.deepcopy(backbone), inputs), inputs)
    return tuple(stride for stride in STRIDES if _of_stride(maps, inputs, stride))


class ClassifierBody(nn.Module):
    """The part of a network that makes maps as a body: of each stride the last map that its layers make.

    `inputs` (C, H, W) is the size with which it is looked for; `net` is changed (see the module). `has_learnt` says that it was given with
    its weights, not made anew.

    Raises `ValueError` where the network can not look at such pictures, or has no map of a stride.

    >>> from hubel.nets import resnet
    >>> body = ClassifierBody(resnet(18, inputs=(3, 64, 64), outputs=5), (3, 64, 64), (8, 16))
    >>> body.channels, [list(found.shape) for found in body(torch.zeros(1, 3, 64, 64))]
    ((128, 256), [[1, 128, 8, 8], [1, 256, 4, 4]])
    """

    has_learnt = False

    def __init__(self, net: nn.Module, inputs: Sequence[int], strides: Sequence[int]):
        super().__init__()
        shape = (int(inputs[0]), int(inputs[1]), int(inputs[2]))
        self.net, self.strides = _looking(net, shape), tuple(strides)
        maps = _maps(self.net, shape)
        self.layers: list[str] = []
        channels = []
        for stride in self.strides:
            fitting = _of_stride(maps, shape, stride)
            if not fitting:
                there = sorted({size for _, _, size in maps})
                sides = tuple(-(-side // stride) for side in shape[1:])
                raise ValueError(
                    f"{type(self.net).__name__} has no map of {sides[0]}×{sides[1]} for pictures of {shape[1]}×{shape[2]} (stride {stride}); it has maps of "
                    f"{', '.join(f'{h}×{w}' for h, w in there) or 'no size'}: choose other strides, or another backbone"
                )
            name, found, _ = fitting[-1]
            self.layers.append(name)
            channels.append(found)
        self.channels = tuple(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map of each stride, as its layer answers it, whatever the network does with it in place afterwards."""
        with ExitStack() as stack:
            kept = [stack.enter_context(branched(self.net, name)) for name in self.layers]
            self.net(x)
        return [answers[-1] for answers in kept]


def _looking(net: nn.Module, inputs: Shape) -> nn.Module:
    """The part of a network that looks at pictures, once and as they are, told that they have the size `inputs`."""
    net = one_view(net)
    encoder = getattr(net, "encoder", None)
    made_for = getattr(net, "inputs", None)
    if isinstance(made_for, tuple) and len(made_for) == 3:
        if made_for[0] != inputs[0]:
            raise ValueError(
                f"{type(net).__name__}, the backbone, looks at pictures of {made_for[0]} channels, and these have {inputs[0]}: give one that was fitted to "
                "such pictures"
            )
        net.inputs = inputs  # type: ignore[assignment]
    if isinstance(encoder, PictureEncoder):
        encoder.last = nn.Identity()  # type: ignore[assignment] - the code belongs to one size of pictures
        return encoder
    return net


def _of_stride(maps: Sequence[Map], inputs: Shape, stride: int) -> list[Map]:
    """The maps of a stride; where there is none, those that lack one place a side, as poolings and even kernels leave."""
    exact = [one for one in maps if _is_of(one[2], inputs, stride)]
    return exact or [one for one in maps if _is_of(one[2], inputs, stride, less=1)]


@torch.no_grad()
def _maps(net: nn.Module, inputs: Shape) -> list[Map]:
    """Every map that the layers of a network make, in their order."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with captured(net) as calls:
            net(torch.zeros(1, *inputs, dtype=next(net.parameters()).dtype))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{type(net).__name__}, the backbone, can not look at pictures of {inputs[1]}×{inputs[2]} ({error}). Give one whose layers fit any size, such as "
            "compact or resnet, or pictures of the size that it was fitted to (tile=)"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    return [
        (name, int(output.shape[1]), (int(output.shape[2]), int(output.shape[3])))
        for name, _, _, output in calls
        if name and isinstance(output, Tensor) and output.ndim == 4
    ]


def _is_of(size: tuple[int, int], inputs: Shape, stride: int, *, less: int = 0) -> bool:
    """Whether a map of this size has one place for `stride` pixels, `less` of them left out at the end of a side."""
    return all(
        length == -(-side // stride) - less and length > less
        for length, side in zip(size, inputs[1:], strict=True)
    )
