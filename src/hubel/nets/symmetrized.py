"""A network that answers alike for a picture and its declared mirror images and quarter turns.

In training it is the network inside, and augmentation shows it the changed pictures. In evaluation its scores are the mean
over all changes that the declared symmetries generate:

    f(x) = 1/|G| sum over g in G of net(g x)

which is exactly invariant: f(h x) = f(x) for every h in G, since h only permutes the sum. It costs |G| evaluations: 2 for one
mirror axis, 8 for mirrors and quarter turns. (Averaging over a group, as in Cohen and Welling 2016, arXiv:1602.07576, section 1,
at the end of the network in place of every layer.)

A detector answers candidates, which are brought back first: those of place (i, j) of the changed picture are those of the place that it shows,
and their boxes are turned and mirrored with it. Pictures whose sides are no multiples of the coarsest stride are continued by zeros to the
next one, so that places lie on places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.names import rebuild_net
from hubel.nets.detector_parts import OF_OBJECTS
from hubel.nets.made import MadeBy, Net

GENERATORS = ("flip_horizontal", "flip_vertical", "rotate_90")
COORDINATES = 8  # of a candidate: the square where it is looked for, and its box


def symmetrized(
    net: Net | Mapping[str, Any],
    symmetries: Sequence[str],
    *,
    inputs: Sequence[int] | None = None,
    outputs: int | None = None,
) -> Symmetrized:
    """`net` averaged over `symmetries`: some of flip_horizontal, flip_vertical, rotate_90. Input and output are those of `net`.

    In place of a network its `{"name": …, "arguments": …}` may stand (as `made_by` has them), with `inputs` and `outputs` here.

    >>> from hubel.nets import compact
    >>> net = symmetrized(compact(16), ["flip_horizontal"]).eval()
    >>> x = torch.randn(2, 1, 28, 28)
    >>> torch.allclose(net(x), net(x.flip(-1)), atol=1e-5)
    True

    Of detectors only `anchor_free` is served: the candidates of others do not lie at the same places for all views.

    Raises `ValueError` for other symmetries, none at all, quarter turns of pictures that are not square, and other detectors.
    """
    unknown = [word for word in symmetries if word not in GENERATORS]
    if unknown or not symmetries:
        raise ValueError(f"symmetries are {list(symmetries)}; expected some of {', '.join(GENERATORS)}")
    if isinstance(net, Mapping):
        given = {"inputs": inputs, "outputs": outputs}
        net = _made_again(net, {name: value for name, value in given.items() if value is not None})
    elif inputs is not None or outputs is not None:
        raise ValueError("inputs and outputs are those of the network that was passed: leave them out")
    shape = getattr(net, "inputs", None)
    if "rotate_90" in symmetries and shape is not None and shape[-1] != shape[-2]:
        raise ValueError(f"quarter turns need square pictures; received {tuple(shape)}")
    if net.made_by.name.removeprefix("hubel.nets.") in OF_OBJECTS and not net.candidate_strides:
        raise ValueError(
            f"{type(net).__name__} can not be averaged over {', '.join(symmetries)}: its candidates do not lie at the same places for all views. Take "
            "anchor_free, or the network as it is"
        )
    made = Symmetrized(net, tuple(symmetries))
    inner = {"name": net.made_by.name, "arguments": dict(net.made_by.arguments)}
    made.made_by = MadeBy(
        name="hubel.nets.symmetrized", arguments={"net": inner, "symmetries": list(symmetries)}
    )
    return made


def one_view(net: nn.Module) -> nn.Module:
    """The network inside a symmetrized one, which sees a picture once, as it is; any other network as it is.

    >>> from hubel.nets import compact
    >>> inside = compact(16)
    >>> one_view(symmetrized(inside, ["flip_horizontal"])) is inside
    True
    """
    return net.net if isinstance(net, Symmetrized) else net


class Symmetrized(Net):
    """See `symmetrized`."""

    def __init__(self, net: Net, symmetries: tuple[str, ...]):
        super().__init__()
        self.net = net
        self.changes = _group(symmetries)

    def features(self, x: Tensor) -> Tensor:
        """Mean features [N, F] over the group (those of the network inside, in training)."""
        return self._mean(self.net.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """Mean raw scores [N, K], or candidates [N, R, 8 + K], over the group (those of the network inside, in training)."""
        if self.net.candidate_strides and not self.training:
            return _mean_candidates(self.net, x, self.changes)
        return self._mean(self.net, x)

    def _mean(self, function: Any, x: Tensor) -> Tensor:
        if self.training:
            return function(x)
        return torch.stack([function(_changed(x, change)) for change in self.changes]).mean(0)


def _group(symmetries: tuple[str, ...]) -> tuple[tuple[int, bool], ...]:
    """The changes (quarter turns, mirrored afterwards) that the generators make, identity first."""
    moves = {"flip_horizontal": (0, True), "flip_vertical": (2, True), "rotate_90": (1, False)}
    found = [(0, False)]
    for change in found:  # grows while it is walked through
        for word in symmetries:
            turns, mirror = moves[word]
            # mirror after turning by t is turning by -t after mirroring
            after = (
                (turns - change[0]) % 4 if mirror else (change[0] + (-turns if change[1] else turns)) % 4,
                change[1] ^ mirror,
            )
            if after not in found:
                found.append(after)
    return tuple(found)


def _changed(x: Tensor, change: tuple[int, bool]) -> Tensor:
    turns, mirrored = change
    x = torch.rot90(x, turns, dims=(-2, -1)) if turns else x
    return x.flip(-1) if mirrored else x


def _mean_candidates(net: Net, x: Tensor, changes: Sequence[tuple[int, bool]]) -> Tensor:
    """The mean candidates [N, R, 8 + K] of a detector over views of pictures [N, C, H, W], as those of the pictures."""
    step = net.candidate_strides[-1]
    x = F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step))
    size = (x.shape[2], x.shape[3])
    return torch.stack(
        [_as_before(net(_changed(x, c)), c, size, net.candidate_strides) for c in changes]
    ).mean(0)


def _as_before(
    candidates: Tensor, change: tuple[int, bool], size: tuple[int, int], strides: Sequence[int]
) -> Tensor:
    """The candidates [N, R, 8 + K] of a changed picture as those of the picture of this `size` (H, W) before."""
    turns, mirrored = change
    size = size if turns % 2 == 0 else (size[1], size[0])  # of the changed picture
    corners = candidates[:, :, :COORDINATES].unflatten(2, (2, 4))
    if mirrored:
        corners = _mirrored(corners, size[1])
    for _ in range(turns):
        corners = _turned_back(corners, size[0])
        size = (size[1], size[0])
    there = torch.cat([corners.flatten(2), candidates[:, :, COORDINATES:]], dim=2)
    if turns % 2:
        size = (size[1], size[0])
    found, first = [], 0
    for stride in strides:
        height, width = size[0] // stride, size[1] // stride
        grid = there[:, first : first + height * width].unflatten(1, (height, width))
        grid = grid.flip(2) if mirrored else grid
        found.append(torch.rot90(grid, -turns, dims=(1, 2)).flatten(1, 2))
        first += height * width
    return torch.cat(found, dim=1)


def _mirrored(corners: Tensor, width: int) -> Tensor:
    """Boxes (x0, y0, x1, y1) in the mirror of a picture so wide."""
    x0, y0, x1, y1 = corners.unbind(-1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=-1)


def _turned_back(corners: Tensor, height: int) -> Tensor:
    """Boxes of a picture so high that was turned counterclockwise by a quarter, as those before: x = height - y', y = x'."""
    x0, y0, x1, y1 = corners.unbind(-1)
    return torch.stack([height - y1, x0, height - y0, x1], dim=-1)


def _made_again(made: Mapping[str, Any], more: Mapping[str, Any]) -> Net:
    return rebuild_net(str(made["name"]), {**made["arguments"], **more})
