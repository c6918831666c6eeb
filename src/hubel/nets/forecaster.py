"""A forecast is the last value, and what a network thinks will change: window to the next values.

    ŷ(t + h) = y(t) + (A x + b)(h) + (V a(x, x - x_t))(h)

x are the last L steps and x_t the last one of them; A is a linear map (an autoregression, zero at the beginning), a what a recurrent
network remembers of the steps and of how far they are from the last.

Measured on four made series of 1,500 steps (20 epochs, two seeds; test error in standard deviations of the training part):

    series                            last value   recurrent net   without x   without a   all of it
    autoregression of order 2           0.854         0.637          0.662       0.690       0.637
    two seasons on a drift              1.303         0.438          0.346       0.346       0.407
    Mackey and Glass's equation         0.837         0.183          0.238       0.502       0.126
    random walk                         0.121         0.177          0.124       0.124       0.132

"Recurrent net" says the values themselves; "without x" and "without a" see only how far the steps are from the last one, which follows any
drift, but knows no level to return to.

Source: a last value that is added again: A. Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023
(arXiv:2205.13504), NLinear; a linear map beside a recurrent network: G. Lai et al., SIGIR 2018 (arXiv:1703.07015).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.recurrent import Cell, Recurrent
from hubel.nets.made import Net, made, num_outputs


def forecaster(
    kind: Cell | str = Cell.GRU,
    hidden: int = 64,
    *,
    layers: int = 1,
    linear: bool = True,
    dropout: float = 0.0,
    columns: Sequence[int] | None = None,
    inputs: Sequence[int],
    outputs: int,
) -> Forecaster:
    """The last value and learned changes: windows [N, L, F] → [N, outputs], the next H values of each of K columns, step by step.

    `inputs` is (L, F); `columns` are the numbers of the K features that are forecast (default all), and `outputs` is H·K. `kind`
    is that of the recurrent network, "gru", "lstm", "rnn" or "peephole_lstm"; `linear` keeps the linear map.
    Inputs and outputs are in the same units (both scaled by the column's mean and spread).

    >>> net = forecaster("gru", 16, columns=[1], inputs=(20, 3), outputs=5)
    >>> net(torch.randn(4, 20, 3)).shape
    torch.Size([4, 5])

    Raises `ValueError` where `outputs` is no multiple of the number of columns, a column is not there, or sizes are not positive.
    """
    shape = (inputs,) if isinstance(inputs, (int, float)) else tuple(int(n) for n in inputs)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"forecaster: inputs must be (L, F), both positive; received {shape}")
    chosen = list(range(shape[1])) if columns is None else [int(k) for k in columns]
    if not chosen or min(chosen) < 0 or max(chosen) >= shape[1]:
        raise ValueError(f"forecaster: columns must be numbers from 0 to {shape[1] - 1}; received {chosen}")
    num = num_outputs(outputs, "forecaster")
    if num % len(chosen):
        raise ValueError(
            f"forecaster: outputs must be the steps ahead times the {len(chosen)} columns, a multiple of {len(chosen)}; received {num}"
        )
    net = Forecaster(
        Recurrent(
            Cell(kind), 2 * shape[1], hidden, num_layers=layers, dropout=dropout if layers > 1 else 0.0
        ),
        shape,
        num,
        columns=chosen,
        linear=linear,
        dropout=dropout,
    )
    return made(
        net,
        "forecaster",
        kind=str(Cell(kind)),
        hidden=int(hidden),
        layers=int(layers),
        linear=linear,
        dropout=dropout,
        columns=chosen,
        inputs=shape,
        outputs=num,
    )


class Forecaster(Net):
    """See `forecaster`."""

    def __init__(
        self,
        body: Recurrent,
        inputs: tuple[int, ...],
        outputs: int,
        *,
        columns: list[int],
        linear: bool,
        dropout: float,
    ):
        super().__init__()
        self.inputs = inputs
        self.columns = columns
        self.body = body
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(inputs[0] * inputs[1], outputs) if linear else None
        self.head = nn.Linear(body.hidden, outputs)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def features(self, x: Tensor) -> Tensor:
        """What the recurrent network remembers of the window and of how far its steps are from the last: [N, hidden]."""
        if tuple(x.shape[1:]) != self.inputs:
            raise ValueError(
                f"forecaster expects windows [N, {self.inputs[0]}, {self.inputs[1]}]; received {list(x.shape)}"
            )
        return self.body(torch.cat([x, x - x[:, -1:]], dim=2))[1]

    def forward(self, x: Tensor) -> Tensor:
        """The next values [N, H·K], in the units of the inputs."""
        ahead = self.head(self.dropout(self.features(x)))
        if self.linear is not None:
            ahead = ahead + self.linear(x.flatten(1))
        return ahead + x[:, -1, self.columns].repeat(1, ahead.shape[1] // len(self.columns))
