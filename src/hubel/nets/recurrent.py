"""A recurrent network over a sequence, and a linear layer on what it remembers: sequence to class or value.

    outputs = recurrent layers(x);  scores = W (the output after the last step, or the mean over steps) + b

Read in both directions, the "last" output is that of each direction after the last step that it reads.

Source: the cells are those of `hubel.layers.recurrent`; mean over steps as in R. Collobert, J. Weston, "A unified architecture for
natural language processing", ICML 2008; dropout outside the recurrence only: W. Zaremba, I. Sutskever, O. Vinyals (2014),
arXiv:1409.2329.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.masks import mean_of_valid, valid_steps
from hubel.layers.recurrent import Cell, Recurrent
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.sequences import Pooling, check_pooling, check_sequences, sequence_inputs


def recurrent(
    kind: Cell | str = Cell.LSTM,
    hidden: int = 64,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    pooling: Pooling = "last",
    inputs: int | Sequence[int],
    outputs: int,
) -> RecurrentNet:
    """RNN, LSTM, LSTM with peepholes or GRU: sequences [N, L, F] of any length L → [N, outputs].

    `kind` is "rnn", "lstm", "peephole_lstm" or "gru"; `inputs` is F, or (L, F). Called as `net(x, valid)` with lengths [N] or a mask
    [N, L], it passes over the other steps. `dropout` acts between layers and before the last one.

    >>> import torch
    >>> net = recurrent("gru", 32, inputs=6, outputs=3)
    >>> net(torch.zeros(4, 20, 6)).shape, net(torch.zeros(4, 20, 6), torch.tensor([20, 3, 7, 1])).shape
    (torch.Size([4, 3]), torch.Size([4, 3]))

    Raises `ValueError` for an unknown cell or pooling and for sizes that are not positive.
    """
    shape = sequence_inputs(inputs, "recurrent")
    check_pooling(pooling, "recurrent")
    cell = Cell(kind)
    net = RecurrentNet(
        Recurrent(
            cell,
            shape[-1],
            hidden,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        ),
        shape[-1],
        num_outputs(outputs, "recurrent"),
        dropout=dropout,
        pooling=pooling,
    )
    return made(
        net,
        "recurrent",
        kind=str(cell),
        hidden=int(hidden),
        layers=int(layers),
        bidirectional=bidirectional,
        dropout=dropout,
        pooling=pooling,
        inputs=shape,
        outputs=int(outputs),
    )


class RecurrentNet(Net):
    """See `recurrent`."""

    def __init__(self, body: Recurrent, inputs: int, outputs: int, *, dropout: float, pooling: Pooling):
        super().__init__()
        self.inputs = inputs
        self.pooling = pooling
        self.body = body
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(body.hidden * (2 if body.bidirectional else 1), outputs)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the last linear layer reads of sequences [N, L, F]: [N, H], or [N, 2 H] in both directions."""
        check_sequences(x, self.inputs, "recurrent")
        outputs, final = self.body(x, valid)
        if self.pooling == "last":
            return final
        return mean_of_valid(outputs, None if valid is None else valid_steps(valid, x))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Raw scores [N, K]."""
        return self.head(self.dropout(self.features(x, valid)))
