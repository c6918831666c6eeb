"""What every network of hubel carries: how it was made, and what its published weights expect.

A run folder stores `made_by` as JSON, and `hubel.core.names.find(name)(**arguments)` makes the same
network again; its weights are in the checkpoint, so `weights=` is never among the arguments.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from hubel.core.names import rebuild_net
from hubel.core.shapes_only import shapes_only


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """The public function that made a network, and its arguments as plain JSON values."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What loaded weights expect of an image, and what their outputs mean.

    Cut the central `crop` of the shorter side, resize it to `size` (H, W), scale pixels to 0–1, subtract `mean`,
    divide by `std` (one value a channel). `name` is the word for which an installed package had the file. `classes` names the outputs, None where they are not known or the last
    layer is fresh; `notes` says what was adapted.
    """

    title: str
    file: str
    name: str | None = None
    size: tuple[int, int] | None = None
    crop: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def is_as_made(net: nn.Module) -> bool:
    """Whether the function and arguments in `made_by` would make this network again: same layers, names, shapes, and nothing frozen.

    A network of ours that was edited is one of the user's own.

    >>> from hubel.nets import mlp
    >>> net = mlp((4,), inputs=2, outputs=1)
    >>> before = is_as_made(net)
    >>> net.body[1] = nn.Tanh()
    >>> before, is_as_made(net)
    (True, False)
    """
    made = getattr(net, "made_by", None)
    if made is None:
        return False
    with shapes_only():
        again = rebuild_net(made.name, dict(made.arguments))
    shapes = [{name: value.shape for name, value in n.state_dict().items()} for n in (net, again)]
    frozen = any(not p.requires_grad for p in net.parameters())
    return str(net) == str(again) and shapes[0] == shapes[1] and not frozen and "forward" not in vars(net)


class Net(nn.Module):
    """A network made by a function of `hubel.nets`: raw scores [N, K] from `forward`, [N, F] from `features`."""

    made_by: MadeBy
    published: Published | None = None
    candidate_strides: tuple[int, ...] = ()
    """Of a detector: the strides of the maps whose places have one candidate each in the answer, row by row; none where they lie otherwise."""
    members: int = 1
    """Of a committee: in training the rows of a batch are dealt out to so many, and `hubel.fitting.steps` repeats it so often."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The values [N, F] that the last linear layer reads."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K], before any softmax or sigmoid."""


SomeNet = TypeVar("SomeNet", bound=Net)


def made(net: SomeNet, function: str, **arguments: Any) -> SomeNet:
    """`net` with `made_by` set; `function` is its name in `hubel.nets`, tuples become lists."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    net.made_by = MadeBy(name=f"hubel.nets.{function}", arguments=plain)
    return net


def volume_shape(inputs: Sequence[int], *, smallest: int, net: str) -> tuple[int, int, int, int]:
    """`inputs` as (C, D, H, W), refused where it is not four positive numbers or smaller than `net` can use."""
    shape = (inputs,) if isinstance(inputs, int) else tuple(int(size) for size in inputs)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(
            f"{net}: inputs must be (channels, depth, height, width), all positive; received {_told(inputs)}"
        )
    if min(shape[1:]) < smallest:
        raise ValueError(
            f"{net}: volumes must be at least {smallest} voxels a side; received {'×'.join(map(str, shape[1:]))}. Enlarge the volumes"
        )
    return shape


def _told(inputs: Any) -> str:
    """Sizes as they were given; one number is that of features, or of symbols."""
    return f"{inputs}: it is for pictures" if isinstance(inputs, int) else str(tuple(inputs))


def check_volumes(x: Tensor, inputs: Sequence[int], net: str) -> None:
    """Refuse a batch that is not [N, *inputs]."""
    if tuple(x.shape[1:]) != tuple(inputs):
        sizes = ", ".join(map(str, inputs))
        raise ValueError(f"{net} expects volumes [N, {sizes}]; received {list(x.shape)}")


def image_shape(inputs: Sequence[int], *, smallest: int, net: str) -> tuple[int, int, int]:
    """`inputs` as (C, H, W), refused where it is not three positive numbers or smaller than `net` can use."""
    shape = (inputs,) if isinstance(inputs, int) else tuple(int(size) for size in inputs)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"{net}: inputs must be (channels, height, width), all positive; received {_told(inputs)}"
        )
    if min(shape[1:]) < smallest:
        raise ValueError(
            f"{net}: images must be at least {smallest}×{smallest} pixels; received {shape[1]}×{shape[2]}. "
            "Enlarge the images or choose a network with fewer reductions."
        )
    return shape


def check_images(x: Tensor, inputs: tuple[int, int, int], net: str, *, smallest: int | None = None) -> None:
    """Refuse a batch that is not [N, C, H, W] of `inputs`; with `smallest`, any H and W from there on are fine."""
    if x.ndim == 4 and x.shape[1] == inputs[0]:
        if smallest is None and tuple(x.shape[2:]) == inputs[1:]:
            return
        if smallest is not None and min(x.shape[2:]) >= smallest:
            return
    size = f"{inputs[1]}, {inputs[2]}" if smallest is None else f"H ≥ {smallest}, W ≥ {smallest}"
    raise ValueError(f"{net} expects images [N, {inputs[0]}, {size}]; received {list(x.shape)}")


def num_outputs(outputs: int, net: str) -> int:
    """`outputs` as a positive integer."""
    if int(outputs) != outputs or outputs < 1:
        raise ValueError(f"{net}: outputs must be a positive whole number; received {outputs!r}")
    return int(outputs)
