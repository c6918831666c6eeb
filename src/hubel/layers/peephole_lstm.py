"""LSTM with peepholes: the gates see the cell that they open and close, so that it can be used as a clock.

    i_t = σ(W_i x_t + U_i h_{t-1} + p_i ∘ c_{t-1} + b_i)          input gate
    f_t = σ(W_f x_t + U_f h_{t-1} + p_f ∘ c_{t-1} + b_f)          forget gate
    g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)                       candidate
    c_t = f_t ∘ c_{t-1} + i_t ∘ g_t                               cell
    o_t = σ(W_o x_t + U_o h_{t-1} + p_o ∘ c_t + b_o)              output gate, which sees the new cell
    h_t = o_t ∘ tanh(c_t)                                         output

h_0 = c_0 = 0. With p = 0 it is torch's `nn.LSTM` (whose two biases are one here).

torch has no fused kernel for it. W x is one product for all steps; what is left to the loop is one product and nine elementwise
operations a step. The loop runs in float32 under autocast too (rounding of the cell would add up over the steps).

Source: F. A. Gers, N. N. Schraudolph, J. Schmidhuber, "Learning Precise Timing with LSTM Recurrent Networks", JMLR 3 (2002) 115;
in the vector form, and with the tanh of the last line, which the former leave out, of A. Graves (2013), arXiv:1308.0850, eqs. 7–11.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PeepholeLSTM(nn.Module):
    """One layer read in one direction, as `nn.LSTM(batch_first=True)`: [N, L, F] → [N, L, H], and (h, c) after the last step.

    Rows of the weights are those of i, f, g and o, as in torch; of `peephole` [3, H] those of i, f and o. Peepholes begin at zero.

    >>> outputs, (h, c) = PeepholeLSTM(3, 8)(torch.zeros(5, 7, 3))
    >>> outputs.shape, h.shape, c.shape
    (torch.Size([5, 7, 8]), torch.Size([5, 8]), torch.Size([5, 8]))
    """

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        self.peephole = nn.Parameter(torch.zeros(3, hidden))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """h_1 … h_L, and the last state (h_L, c_L); `state` is (h_0, c_0), zero unless given."""
        hidden = self.weight_hh.shape[1]
        driven = F.linear(x.transpose(0, 1), self.weight_ih, self.bias).to(self.weight_hh.dtype)  # [L, N, 4H]
        weight = self.weight_hh.t()
        before, after = self.peephole[:2], self.peephole[2]
        h, c = (driven.new_zeros(x.shape[0], hidden),) * 2 if state is None else state
        outputs = []
        with torch.autocast(x.device.type, enabled=False):
            for step in driven.unbind(0):
                gates = torch.addmm(step, h, weight).view(-1, 4, hidden)
                i_f, g, o = gates.split((2, 1, 1), dim=1)  # one piece of gradient to put together, not three
                i, f = torch.addcmul(i_f, before, c.unsqueeze(1)).sigmoid().unbind(1)
                c = torch.addcmul(f * c, i, g.squeeze(1).tanh())
                h = torch.addcmul(o.squeeze(1), after, c).sigmoid() * c.tanh()
                outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.weight_ih.shape[1]}, {self.weight_hh.shape[1]}"
