"""Pictures in order of time: the same small convolutional network for every picture, then a network over time.

    zₜ = compact(xₜ);   scores = W body(z₁, …, z_T) + b

The convolutional network is `hubel.nets.compact`, the body a recurrent network or a transformer. Pictures beyond the length of a
series are not looked at.

Source: J. Donahue et al., "Long-term recurrent convolutional networks for visual recognition and description", CVPR 2015
(arXiv:1411.4389).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.masks import valid_steps
from hubel.layers.recurrent import Cell
from hubel.nets.compact import compact
from hubel.nets.made import Net, image_shape, made, num_outputs
from hubel.nets.recurrent import recurrent
from hubel.nets.transformer import transformer


def image_series(
    kind: Cell | str = Cell.GRU,
    hidden: int = 64,
    *,
    width: int = 16,
    dropout: float = 0.1,
    inputs: Sequence[int],
    outputs: int,
) -> ImageSeries:
    """Series of pictures [N, T, C, H, W] of any number of pictures T → [N, outputs].

    `inputs` is (C, H, W), or (T, C, H, W). `kind` is what looks along time: "gru", "lstm", "rnn", "peephole_lstm", or "transformer";
    `hidden` its size and that of z, `width` that of the convolutional network. Called as `net(x, valid)` with lengths [N] or a mask [N, T], it looks
    at no other picture.

    >>> import torch
    >>> net = image_series("gru", 16, inputs=(1, 16, 16), outputs=3)
    >>> net(torch.zeros(2, 5, 1, 16, 16)).shape, net(torch.zeros(2, 5, 1, 16, 16), torch.tensor([5, 2])).shape
    (torch.Size([2, 3]), torch.Size([2, 3]))

    Raises `ValueError` for pictures smaller than 4×4 pixels, an unknown kind, and sizes that are not positive.
    """
    shape = tuple(int(n) for n in inputs)
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise ValueError(
            f"image_series: inputs must be (channels, height, width) or (T, channels, height, width), all positive; received {tuple(inputs)}"
        )
    picture = image_shape(shape[-3:], smallest=4, net="image_series")
    num = num_outputs(outputs, "image_series")
    look = compact(width, inputs=picture, outputs=hidden)
    if kind == "transformer":
        over_time: Net = transformer(hidden, dropout=dropout, inputs=hidden, outputs=num)
    else:
        kind = str(Cell(kind))
        over_time = recurrent(kind, hidden, dropout=dropout, inputs=hidden, outputs=num)
    return made(
        ImageSeries(look, over_time, picture),
        "image_series",
        kind=str(kind),
        hidden=int(hidden),
        width=int(width),
        dropout=dropout,
        inputs=shape,
        outputs=num,
    )


class ImageSeries(Net):
    """See `image_series`."""

    def __init__(self, look: nn.Module, over_time: Net, picture: tuple[int, int, int]):
        super().__init__()
        self.picture = picture
        self.look = look
        self.over_time = over_time

    def features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the last linear layer reads: [N, hidden]."""
        return self.over_time.features(*self._seen(x, valid))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Raw scores [N, K]."""
        return self.over_time(*self._seen(x, valid))

    def _seen(self, x: Tensor, valid: Tensor | None) -> tuple[Tensor, ...]:
        """The features [N, T, D] of every picture (and `valid`, where it was given)."""
        if x.ndim != 5 or tuple(x.shape[2:]) != self.picture or x.shape[1] < 1:
            raise ValueError(
                f"image_series expects series of pictures [N, T, {', '.join(map(str, self.picture))}]; received {list(x.shape)}"
            )
        if valid is None:
            return (self.look(x.flatten(0, 1)).view(x.shape[0], x.shape[1], -1),)
        mask = valid_steps(valid, x)
        seen = self.look(x[mask])  # the pictures that there are: batch norms count no others
        found = seen.new_zeros(*mask.shape, seen.shape[1])
        found[mask] = seen
        return found, valid
