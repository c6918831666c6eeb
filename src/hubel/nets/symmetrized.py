"""A network that answers alike for a picture and its declared mirror images and quarter turns.

In training it is the network inside, and augmentation shows it the changed pictures. In evaluation its scores are the mean
over all changes that the declared symmetries generate:

    f(x) = 1/|G| sum over g in G of net(g x)

which is exactly invariant: f(h x) = f(x) for every h in G, since h only permutes the sum. It costs |G| evaluations: 2 for one
mirror axis, 8 for mirrors and quarter turns. (Averaging over a group, as in Cohen and Welling 2016, arXiv:1602.07576, section 1,
at the end of the network in place of every layer.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.names import rebuild_net
from hubel.nets.made import MadeBy, Net

GENERATORS = ("flip_horizontal", "flip_vertical", "rotate_90")


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

    Raises `ValueError` for other symmetries, none at all, or quarter turns of pictures that are not square.
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
        """Mean raw scores [N, K] over the group (those of the network inside, in training)."""
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


def _made_again(made: Mapping[str, Any], more: Mapping[str, Any]) -> Net:
    return rebuild_net(str(made["name"]), {**made["arguments"], **more})
