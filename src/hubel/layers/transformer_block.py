"""The transformer block: every step looks at every other, then each is changed by itself.

    attention   A = softmax(Q Kᵀ / √d) V,  with Q, K, V = W x per head of d = F / heads columns, heads side by side, then W_o
    block       x ← x + attention(norm(x));  x ← x + W₂ a(W₁ norm(x) + b₁) + b₂        norm before (default)
                x ← norm(x + attention(x));  x ← norm(x + W₂ a(W₁ x + b₁) + b₂)        norm after, as published

The softmax runs in torch's fused `scaled_dot_product_attention`. Dropout acts on what is added to x, as published; torch's own
`nn.TransformerEncoderLayer` also drops attention weights and hidden units, at the same rate.

Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv:1706.03762), section 3; norm before: R. Xiong et al.,
"On Layer Normalization in the Transformer Architecture", ICML 2020 (arXiv:2002.04745), which learns without warm-up. Initial weights
Glorot uniform (Q, K and V each for itself), biases zero.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.activation import Activation
from hubel.layers.dropout import Dropout


class SelfAttention(nn.Module):
    """Steps of a sequence look at each other: [N, L, F] → [N, L, F].

    >>> import torch
    >>> SelfAttention(16, heads=4)(torch.zeros(2, 5, 16), causal=True).shape
    torch.Size([2, 5, 16])

    Raises `ValueError` where `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if heads < 1 or width < 1 or width % heads:
            raise ValueError(
                f"attention: heads must divide width, both positive; received {heads} heads, width {width}"
            )
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        for weight in (*self.in_proj.weight.detach().split(width), self.out_proj.weight):
            nn.init.xavier_uniform_(weight)
        for layer in (self.in_proj, self.out_proj):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, allowed: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """`allowed` [N, 1, 1 or L, L] is True where step i may look at step j (`hubel.layers.masks.allowed_pairs`); it replaces `causal`."""
        num, length, width = x.shape
        parts = self.in_proj(x).view(num, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, is_causal=causal and allowed is None
        )
        return self.out_proj(mixed.transpose(1, 2).reshape(num, length, width))


class TransformerBlock(nn.Module):
    """Attention and a perceptron of one hidden layer, each added to its input: [N, L, F] → [N, L, F].

    `feedforward` is the width of the hidden layer, 4 F unless given. Parameters are named as in `nn.TransformerEncoderLayer`.

    >>> import torch
    >>> TransformerBlock(16, heads=4)(torch.zeros(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        feedforward: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        activation: Activation | str = Activation.GELU,
    ):
        super().__init__()
        hidden = 4 * width if feedforward is None else feedforward
        if hidden < 1:
            raise ValueError(f"transformer: feedforward must be positive; received {feedforward}")
        self.self_attn = SelfAttention(width, heads)
        self.linear1 = nn.Linear(width, hidden)
        self.activation = Activation(activation).module()
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.norm_first = norm_first
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, allowed: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """The two residual steps; `allowed` and `causal` as in `SelfAttention`."""
        if self.norm_first:
            x = x + self.dropout(self.self_attn(self.norm1(x), allowed, causal=causal))
            return x + self.dropout(self._perceptron(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.self_attn(x, allowed, causal=causal)))
        return self.norm2(x + self.dropout(self._perceptron(x)))

    def _perceptron(self, x: Tensor) -> Tensor:
        return self.linear2(self.activation(self.linear1(x)))
