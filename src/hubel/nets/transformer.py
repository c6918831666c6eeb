"""A transformer encoder over a sequence of measurements: sequence to class or value.

    h₀ = W x + positions;  h ← block(h), `layers` times;  scores = W (mean of norm(h) over steps) + b

Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv:1706.03762); see `hubel.layers.transformer_block`
(norm before each part by default there) and `hubel.layers.positions`. Where we differ: measurements enter by a linear map, which
begins normal with variance 1 / F, so that scaled inputs and positions are of one size.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.masks import allowed_pairs, valid_steps, without_padding
from hubel.layers.positions import sinusoidal_positions
from hubel.layers.transformer_block import TransformerBlock
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.sequences import Pooling, check_pooling, check_sequences, pooled, sequence_inputs


def transformer(
    width: int = 64,
    *,
    heads: int = 4,
    layers: int = 2,
    feedforward: int | None = None,
    dropout: float = 0.1,
    pooling: Pooling = "mean",
    inputs: int | Sequence[int],
    outputs: int,
) -> Transformer:
    """A transformer encoder: sequences [N, L, F] of any length L → [N, outputs].

    `inputs` is F, or (L, F); `feedforward` is the width of the blocks' perceptrons, 4 `width` unless given. Called as `net(x, valid)`
    with lengths [N] or a mask [N, L], it looks at no other step.

    >>> import torch
    >>> net = transformer(16, inputs=6, outputs=3)
    >>> net(torch.zeros(4, 20, 6)).shape, net(torch.zeros(4, 20, 6), torch.tensor([20, 3, 7, 1])).shape
    (torch.Size([4, 3]), torch.Size([4, 3]))

    Raises `ValueError` where `heads` does not divide `width`, for an unknown pooling and for sizes that are not positive.
    """
    shape = sequence_inputs(inputs, "transformer")
    check_pooling(pooling, "transformer")
    if layers < 1:
        raise ValueError(f"transformer: layers must be positive; received {layers}")
    blocks = [TransformerBlock(width, heads, feedforward=feedforward, dropout=dropout) for _ in range(layers)]
    net = Transformer(
        blocks, shape[-1], width, num_outputs(outputs, "transformer"), dropout=dropout, pooling=pooling
    )
    return made(
        net,
        "transformer",
        width=int(width),
        heads=int(heads),
        layers=int(layers),
        feedforward=feedforward,
        dropout=dropout,
        pooling=pooling,
        inputs=shape,
        outputs=int(outputs),
    )


class Transformer(Net):
    """See `transformer`."""

    def __init__(
        self,
        blocks: Sequence[TransformerBlock],
        inputs: int,
        width: int,
        outputs: int,
        *,
        dropout: float,
        pooling: Pooling,
    ):
        super().__init__()
        self.inputs = inputs
        self.pooling: Pooling = pooling
        self.embed = nn.Linear(inputs, width)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.embed.weight, std=inputs**-0.5)
        nn.init.xavier_uniform_(self.head.weight)
        for layer in (self.embed, self.head):
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The pooled steps of the last block [N, width]."""
        check_sequences(x, self.inputs, "transformer")
        mask = allowed = None
        if valid is not None:
            mask = valid_steps(valid, x)
            allowed = allowed_pairs(mask)
            x = without_padding(x, mask)
        h = self.embed(x)
        h = self.dropout(h + sinusoidal_positions(h.shape[1], h.shape[2], device=h.device, dtype=h.dtype))
        for block in self.blocks:
            h = block(h, allowed)
        return pooled(self.norm(h), mask, self.pooling)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Raw scores [N, K]."""
        return self.head(self.features(x, valid))
