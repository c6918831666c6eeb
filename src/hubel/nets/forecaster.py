"""A forecast is the last value, and what a network thinks will change: window to the next values.

    ŷ(t + h) = y(t) + (A w + b)(h) + (V a(w))(h)

w are the last L steps less the last one, A a linear map of them (an autoregression), a(w) what a recurrent network remembers of them.
A and V begin at zero, so that the network begins as the naive forecast of the last value and has to earn every deviation from it; a
series that drifts beyond the range of training is followed.

Source: subtracting the last value: A. Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023
(arXiv:2205.13504), NLinear; a linear map beside a recurrent network: G. Lai et al., SIGIR 2018 (arXiv:1703.07015), section 3.6.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    >>> import torch
    >>> net = forecaster("gru", 16, columns=[1], inputs=(20, 3), outputs=5)
    >>> x = torch.randn(4, 20, 3)
    >>> bool((net(x) == x[:, -1, 1:2]).all())
    True

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
        Recurrent(Cell(kind), shape[1], hidden, num_layers=layers, dropout=dropout if layers > 1 else 0.0),
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
        for layer in (self.linear, self.head):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """What the recurrent network remembers of the window less its last step: [N, hidden]."""
        return self.body(self._changes(x)[0])[1]

    def forward(self, x: Tensor) -> Tensor:
        """The next values [N, H·K], in the units of the inputs."""
        changes, last = self._changes(x)
        ahead = self.head(self.dropout(self.body(changes)[1]))
        if self.linear is not None:
            ahead = ahead + self.linear(changes.flatten(1))
        return ahead + last[:, self.columns].repeat(1, ahead.shape[1] // len(self.columns))

    def _changes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The window less its last step [N, L, F], and that step [N, F]."""
        if tuple(x.shape[1:]) != self.inputs:
            raise ValueError(
                f"forecaster expects windows [N, {self.inputs[0]}, {self.inputs[1]}]; received {list(x.shape)}"
            )
        last = x[:, -1]
        return x - last.unsqueeze(1), last
