"""A language model over characters: at every position of a text, a score for every symbol that may come next.

    h₀ = embedding[symbol] (+ positions);  h = LSTM(h₀), or transformer blocks in which no step sees a later one;  scores = W h + b

The softmax of the scores at position l is P(symbol l+1 | symbols 1 … l), so that the probability of a text is their product.

Source: A. Graves, "Generating sequences with recurrent neural networks" (2013), arXiv:1308.0850, section 2 (LSTM); R. Al-Rfou et al.,
"Character-level language modeling with deeper self-attention", AAAI 2019, arXiv:1808.04444 (transformer; here with sinusoidal positions
and without auxiliary losses); dropout outside the recurrence only: Zaremba et al. (2014), arXiv:1409.2329.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.masks import values_can_be_seen
from hubel.layers.positions import sinusoidal_positions
from hubel.layers.recurrent import Cell, Recurrent
from hubel.layers.transformer_block import TransformerBlock
from hubel.nets.made import Net, made, num_outputs


def character_lm(
    kind: Cell | str = Cell.LSTM,
    width: int = 128,
    *,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.1,
    inputs: int,
    outputs: int | None = None,
) -> CharacterLM:
    """A language model: symbol numbers [N, L] → raw scores [N, L, K] of the symbol that follows each.

    `kind` is a recurrent cell ("lstm", "gru", "rnn", "peephole_lstm") or "transformer", of `heads` heads; `inputs` is the number of
    symbols in the alphabet, `outputs` K the same unless given. Its scores are one row a *position*, not one an example as those of
    the other networks; `features` are [N, L, width].

    >>> net = character_lm(width=16, inputs=30)
    >>> net(torch.zeros(2, 50, dtype=torch.int64)).shape
    torch.Size([2, 50, 30])

    Raises `ValueError` for an unknown kind and for sizes that are not positive.
    """
    alphabet = num_inputs(inputs)
    num = alphabet if outputs is None else num_outputs(outputs, "character_lm")
    if min(width, layers) < 1:
        raise ValueError(f"character_lm: width and layers must be positive; received {width} and {layers}")
    body: nn.Module
    if kind == "transformer":
        body = CausalTransformer(width, heads=heads, layers=layers, dropout=dropout)
    else:
        kind = str(_cell(kind))
        between = dropout if layers > 1 else 0.0
        body = Recurrent(kind, width, width, num_layers=layers, dropout=between)
    return made(
        CharacterLM(body, alphabet, width, num, dropout=dropout),
        "character_lm",
        kind=str(kind),
        width=int(width),
        layers=int(layers),
        heads=int(heads),
        dropout=dropout,
        inputs=alphabet,
        outputs=num,
    )


class CharacterLM(Net):
    """See `character_lm`."""

    def __init__(self, body: nn.Module, inputs: int, width: int, outputs: int, *, dropout: float):
        super().__init__()
        self.inputs = inputs
        self.embed = nn.Embedding(inputs, width)
        self.dropout = Dropout(dropout)
        self.body = body
        self.head = nn.Linear(width, outputs)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        """What the last linear layer reads at every position: [N, L, width]."""
        h = self.dropout(self.embed(self._symbols(x)))
        return self.body(h)[0] if isinstance(self.body, Recurrent) else self.body(h)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, L, K] of the next symbol."""
        return self.head(self.dropout(self.features(x)))

    def following(self, x: Tensor, state: Any = None, *, context: int) -> tuple[Tensor, Any]:
        """Scores [N, K] of what follows `x` [N, L], read after what left `state` behind (None: after nothing), and the state behind it.

        A recurrent network reads only `x`, and remembers all that came before; a transformer reads the last `context` symbols again.

        >>> net = character_lm("gru", 16, inputs=30).eval()
        >>> text = torch.arange(12).view(1, 12)
        >>> scores, state = net.following(text[:, :8], context=12)
        >>> torch.allclose(net.following(text[:, 8:], state, context=12)[0], net(text)[:, -1], atol=1e-6)
        True
        """
        if isinstance(self.body, Recurrent):
            h, state = self.body.advance(self.embed(self._symbols(x)), state)
            return self.head(h[:, -1]), state
        seen = (x if state is None else torch.cat([state, x], dim=1))[:, -context:]
        return self(seen)[:, -1], seen

    def _symbols(self, x: Tensor) -> Tensor:
        """`x` [N, L] as int64, refused where it holds anything but numbers of symbols.

        Whole numbers stored as floating-point ones are taken, since batches arrive so. Integers on a GPU are not looked at:
        that would wait for it in every step, and the embedding there refuses them by itself.
        """
        if x.ndim != 2 or x.shape[1] < 1:
            raise ValueError(f"character_lm expects symbol numbers [N, L]; received {list(x.shape)}")
        symbols = x.long()
        if values_can_be_seen() and (x.is_floating_point() or x.device.type == "cpu"):
            low, high = (int(n) for n in symbols.aminmax())
            if (
                low < 0
                or high >= self.inputs
                or (x.is_floating_point() and not torch.equal(symbols.to(x.dtype), x))
            ):
                raise ValueError(
                    f"character_lm expects symbol numbers from 0 to {self.inputs - 1}, not scaled; received values from "
                    f"{float(x.min()):g} to {float(x.max()):g}"
                )
        return symbols


class CausalTransformer(nn.Module):
    """Positions and transformer blocks in which no step sees a later one: [N, L, F] → [N, L, F]."""

    def __init__(self, width: int, *, heads: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Norm of the last block."""
        x = x + sinusoidal_positions(x.shape[1], x.shape[2], device=x.device, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, causal=True)
        return self.norm(x)


def num_inputs(inputs: Any) -> int:
    """The size of the alphabet."""
    size = inputs[0] if isinstance(inputs, (tuple, list)) and len(inputs) == 1 else inputs
    if not isinstance(size, (int, float)) or int(size) != size or size < 1:
        raise ValueError(
            f"character_lm: inputs must be the number of symbols in the alphabet, a positive whole number; received {inputs!r}"
        )
    return int(size)


def _cell(kind: Cell | str) -> Cell:
    try:
        return Cell(kind)
    except ValueError as error:
        raise ValueError(f'character_lm: {error} Or write "transformer".') from error
