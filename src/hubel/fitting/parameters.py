"""Which parameters are matrices or filters, and which are vectors, gains of norms or biases."""

from __future__ import annotations

from torch import nn


def matrices_and_vectors(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters in two lists, in the order of `net`: with two or more axes, and the rest.

    The gain and bias of a norm layer belong to the rest whatever their shape (that of `LayerNorm((C, H, W))` has three axes).
    Raises `ValueError` where nothing is trained.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm([2, 2]))
    >>> [[tuple(p.shape) for p in part] for part in matrices_and_vectors(net)]
    [[(4, 3)], [(4,), (2, 2), (2, 2)]]
    """
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            "the network has no trainable parameters: unfreeze some (parameter.requires_grad_(True))"
        )
    of_norms = {
        id(p) for m in net.modules() if "Norm" in type(m).__name__ for p in m.parameters(recurse=False)
    }
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in of_norms]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in trained if id(p) not in chosen]
