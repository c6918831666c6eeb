"""Recurrent layers: a state that is carried from step to step, and what each step makes of it.

    RNN            h_t = tanh(W x_t + U h_{t-1} + b)
    LSTM           c_t = f ∘ c_{t-1} + i ∘ g,  h_t = o ∘ tanh(c_t);  i, f, o = σ(W x_t + U h_{t-1} + b),  g = tanh(the like)
    peephole LSTM  the same, where the gates see the cell: `hubel.layers.peephole_lstm`
    GRU            h_t = (1 - z) ∘ n + z ∘ h_{t-1};  r, z = σ(W x_t + U h_{t-1} + b),  n = tanh(W x_t + b + r ∘ (U h_{t-1} + b'))

Through an RNN the gradient over k steps is a product of k Jacobians diag(1 - h²) U, which vanishes or explodes as the powers of
a matrix do; through the cell of an LSTM it is the product of k forget gates, which stay near 1 where the network wants to remember.

Unbounded activations (ReLU) are not offered: repeated over hundreds of steps they overflow.

Source: J. L. Elman, Cognitive Science 14 (1990) 179 (RNN); S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735, with the
forget gate of F. A. Gers, J. Schmidhuber, F. Cummins, Neural Computation 12 (2000) 2451 (LSTM); K. Cho et al., EMNLP 2014
(arXiv:1406.1078; GRU, in the variant of torch and cuDNN: r multiplies U h + b'). All but the peepholes run in torch's fused kernels.

Initial weights: W Glorot uniform and U orthogonal (Saxe et al. 2014, arXiv:1312.6120), gate by gate; biases zero, but 1 for the forget
gate of an LSTM, which remembers until it learns to forget (Gers et al. 2000; Jozefowicz et al. 2015); peepholes zero.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hubel.core.errors import nearest
from hubel.layers.masks import valid_steps, without_padding
from hubel.layers.peephole_lstm import PeepholeLSTM


class Cell(StrEnum):
    """What happens in one step, by its usual name.

    >>> Cell("gru")
    <Cell.GRU: 'gru'>
    >>> Cell("lsmt")
    Traceback (most recent call last):
    ...
    ValueError: 'lsmt' is not a recurrent cell. Did you mean "lstm"? There are: rnn, lstm, peephole_lstm, gru.
    """

    RNN = "rnn"
    LSTM = "lstm"
    PEEPHOLE_LSTM = "peephole_lstm"
    GRU = "gru"

    @classmethod
    def _missing_(cls, value: object) -> Cell:
        raise ValueError(
            f"{value!r} is not a recurrent cell.{nearest(str(value), [str(member) for member in cls])}"
        )


class Recurrent(nn.Module):
    """Layers of one kind of cell over sequences [N, L, F], in one direction or both, with dropout between layers.

    >>> layer = Recurrent("lstm", 3, 8, num_layers=2, bidirectional=True)
    >>> outputs, final = layer(torch.zeros(5, 7, 3), torch.tensor([7, 1, 2, 7, 3]))
    >>> outputs.shape, final.shape
    (torch.Size([5, 7, 16]), torch.Size([5, 16]))

    Raises `ValueError` for sizes that are not positive, and for dropout where there is nothing between layers.
    """

    def __init__(
        self,
        cell: Cell | str,
        inputs: int,
        hidden: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if min(inputs, hidden, num_layers) < 1:
            raise ValueError(
                f"recurrent: inputs, hidden and the number of layers must be positive; received {inputs}, {hidden}, {num_layers}"
            )
        if dropout and num_layers == 1:
            raise ValueError(
                f"recurrent: dropout stands between layers, and there is one; received dropout={dropout}"
            )
        self.cell = Cell(cell)
        self.hidden = hidden
        self.bidirectional = bidirectional
        self.core = _core(self.cell, inputs, hidden, num_layers, bidirectional, dropout)
        for name, parameter in self.core.named_parameters():
            _initialize(name.rpartition(".")[2], parameter, self.cell, hidden)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs [N, L, D·H] and, of each direction, the one after its last step [N, D·H]; D = 1 or 2.

        `valid` is lengths [N] or a mask [N, L]: the other steps are passed over, and their outputs are zero.
        """
        if valid is None:
            outputs = self._run(x, None)
            return outputs, self._final(outputs, None)
        mask = valid_steps(valid, x)
        lengths = mask.sum(dim=1)
        x = without_padding(x, mask)
        if valid.ndim == 1:
            outputs = without_padding(self._run(x, lengths), mask)
            return outputs, self._final(outputs, lengths)
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)  # valid steps first, in their order
        outputs = self._run(_taken(x, order), lengths)
        return without_padding(_taken(outputs, order.argsort(dim=1)), mask), self._final(outputs, lengths)

    def _run(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs [N, L, D·H] of sequences that fill their first `lengths` [N] steps."""
        if isinstance(self.core, PeepholeLSTM):
            return self.core(x, lengths)
        # read forwards, no step depends on what stands behind it, and torch is faster on whole tensors
        if lengths is None or not self.bidirectional:
            return self.core(x)[0]
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.core(packed)[0], batch_first=True, total_length=x.shape[1])[0]

    def _final(self, outputs: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            last = outputs[:, -1]
        else:
            last = outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]
        if not self.bidirectional:
            return last
        return torch.cat([last[:, : self.hidden], outputs[:, 0, self.hidden :]], dim=1)


def _core(
    cell: Cell, inputs: int, hidden: int, num_layers: int, bidirectional: bool, dropout: float
) -> nn.RNNBase | PeepholeLSTM:
    if cell is Cell.PEEPHOLE_LSTM:
        return PeepholeLSTM(inputs, hidden, num_layers, bidirectional=bidirectional, dropout=dropout)
    kind = {Cell.RNN: nn.RNN, Cell.LSTM: nn.LSTM, Cell.GRU: nn.GRU}[cell]
    return kind(inputs, hidden, num_layers, batch_first=True, bidirectional=bidirectional, dropout=dropout)


@torch.no_grad()
def _initialize(name: str, parameter: Tensor, cell: Cell, hidden: int) -> None:
    if name.startswith("weight"):
        fill = nn.init.xavier_uniform_ if "_ih" in name else nn.init.orthogonal_
        for gate in parameter.split(hidden):
            fill(gate)
        return
    nn.init.zeros_(parameter)
    of_lstm = cell in (Cell.LSTM, Cell.PEEPHOLE_LSTM)
    if of_lstm and name.startswith("bias") and "_hh" not in name:
        parameter[hidden : 2 * hidden].fill_(1.0)


def _taken(x: Tensor, order: Tensor) -> Tensor:
    """Steps of `x` [N, L, F] in the order [N, L]."""
    return x.gather(1, order.unsqueeze(-1).expand_as(x))
