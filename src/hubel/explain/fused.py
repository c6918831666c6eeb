"""Operations that torch runs as one, taken apart into those that have rules: recurrent layers, attention, local response norm.

    LSTM  c ← σ(f) ∘ c + σ(i) ∘ tanh(g),  h ← σ(o) ∘ tanh(c);  i, f, g, o = [W U] [x; h] + b
    GRU   h ← (1 - σ(z)) ∘ n + σ(z) ∘ h,  n = tanh(W x + b + σ(r) ∘ (U h + b'))
    RNN   h ← tanh([W U] [x; h] + b), or relu
    attention  softmax(Q Kᵀ / √d + mask) V

The parts are called with the engine on, so that each meets its own rule. They give the same numbers as the fused ones, up to rounding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from hubel.explain.intercept import Call


def recurrent(call: Call) -> tuple[Tensor, ...]:
    """`lstm`, `gru`, `rnn_tanh`, `rnn_relu` of padded or packed sequences, with any number of layers and one or both directions."""
    args = call.args
    packed = isinstance(args[3], (tuple, list))
    if packed:
        x, sizes, state, weights, has_biases, layers, dropout, training, bidirectional = args[:9]
        batch_first = False
    else:
        x, state, weights, has_biases, layers, dropout, training, bidirectional, batch_first = args[:9]
    if training and dropout:
        raise call.no_rule("with dropout that is switched on")
    states = tuple(state) if call.name == "lstm" else (state,)
    directions = 2 if bidirectional else 1
    per = len(weights) // (layers * directions)
    finals: list[tuple[Tensor, ...]] = []
    with call.engine:
        if packed:
            steps = list(x.split(sizes.tolist()))
        else:
            steps = list((x.transpose(0, 1) if batch_first else x).unbind(0))
        for layer in range(layers):
            found = []
            for number in range(layer * directions, (layer + 1) * directions):
                own = tuple(weights[number * per : (number + 1) * per])
                start = tuple(s[number] for s in states)
                backwards = number % directions == 1
                outputs, last = _along(call.name, steps, start, own, bool(has_biases), backwards)
                finals.append(last)
                found.append(outputs)
            steps = (
                found[0] if directions == 1 else [torch.cat(pair, -1) for pair in zip(*found, strict=True)]
            )
        answer = torch.cat(steps) if packed else torch.stack(steps, 1 if batch_first else 0)
        last = tuple(torch.stack([final[i] for final in finals]) for i in range(len(states)))
    return (answer, *last)


def _along(
    kind: str,
    steps: list[Tensor],
    start: tuple[Tensor, ...],
    weights: tuple[Tensor, ...],
    has_biases: bool,
    backwards: bool,
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """What one layer answers at each step, and its last states. Sequences that are shorter stand behind the longer ones, and are missing in
    later steps.
    """
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if has_biases else (None, None)
    projection = weights[-1] if len(weights) % 2 else None
    now = tuple(s[: len(steps[-1])] for s in start) if backwards else start
    outputs, over = [], []
    for step in reversed(steps) if backwards else steps:
        count = len(step)
        if count < len(now[0]):
            over.append(tuple(s[count:] for s in now))
            now = tuple(s[:count] for s in now)
        elif count > len(now[0]):
            now = tuple(torch.cat([s, first[len(s) : count]]) for s, first in zip(now, start, strict=True))
        now = _step(kind, step, now, w_ih, w_hh, b_ih, b_hh, projection)
        outputs.append(now[0])
    last = tuple(torch.cat([s, *(part[i] for part in over[::-1])]) if over else s for i, s in enumerate(now))
    return (outputs[::-1] if backwards else outputs), last


def packed(call: Call) -> tuple[Tensor, Tensor]:
    """`pack_padded_sequence`: the steps of all sequences one after the other."""
    x, lengths, batch_first = (call.argument(i, n) for i, n in enumerate(("input", "lengths", "batch_first")))
    _, sizes = call.function(x.detach(), lengths, batch_first)
    with call.engine:
        steps = (x.transpose(0, 1) if batch_first else x).unbind(0)
        data = torch.cat([step[:count] for step, count in zip(steps, sizes.tolist(), strict=False)])
    return data, call.engine.marked(sizes, free=True)


def padded(call: Call) -> tuple[Tensor, Tensor]:
    """`pad_packed_sequence`: back again, with a value where there is no step."""
    data, sizes, batch_first, value, total = call.args[:5]
    _, lengths = call.function(data.detach(), sizes, batch_first, value, total)
    counts = sizes.tolist()
    with call.engine:
        num = counts[0]
        steps = [F.pad(s, (0,) * (2 * s.ndim - 1) + (num - len(s),), value=value) for s in data.split(counts)]
        steps += [torch.full_like(steps[0].detach(), value)] * (total - len(steps))
        answer = torch.stack(steps, 1 if batch_first else 0)
    return answer, call.engine.marked(lengths, free=True)


def cell(call: Call) -> Any:
    """`lstm_cell`, `gru_cell` and the two of plain recurrent networks."""
    x, state, w_ih, w_hh = call.args[:4]
    b_ih, b_hh = call.argument(4, "b_ih"), call.argument(5, "b_hh")
    is_lstm = call.name == "lstm_cell"
    with call.engine:
        now = _step(
            call.name.removesuffix("_cell"), x, tuple(state) if is_lstm else (state,), w_ih, w_hh, b_ih, b_hh
        )
    return now if is_lstm else now[0]


def _step(
    kind: str,
    x: Tensor,
    state: tuple[Tensor, ...],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    projection: Tensor | None = None,
) -> tuple[Tensor, ...]:
    h = state[0]
    if kind == "gru":
        from_x, from_h = F.linear(x, w_ih, b_ih).chunk(3, -1), F.linear(h, w_hh, b_hh).chunk(3, -1)
        reset = torch.sigmoid(from_x[0] + from_h[0])
        update = torch.sigmoid(from_x[1] + from_h[1])
        new = torch.tanh(from_x[2] + reset * from_h[2])
        return ((1 - update) * new + update * h,)
    bias = None if b_ih is None else b_ih + b_hh  # type: ignore[operator]
    driven = F.linear(torch.cat([x, h], -1), torch.cat([w_ih, w_hh], 1), bias)
    if kind != "lstm":
        return (torch.tanh(driven) if kind == "rnn_tanh" else torch.relu(driven),)
    i, f, g, o = driven.chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h if projection is None else F.linear(h, projection), c


def attention(call: Call) -> Tensor:
    """softmax(Q Kᵀ · scale + mask) V."""
    query, key, value = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    mask, dropout = call.argument(3, "attn_mask"), call.argument(4, "dropout_p", 0.0)
    causal, scale = call.argument(5, "is_causal", False), call.kwargs.get("scale")
    if dropout:
        raise call.no_rule("with dropout that is switched on")
    with call.engine:
        if call.kwargs.get("enable_gqa"):  # one head of keys for several of queries
            key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
        return _attend(query, key, value, mask, bool(causal), scale)[0]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * scale, key.transpose(-2, -1))
    blocked = torch.zeros(scores.shape[-2:], dtype=torch.bool, device=scores.device)
    if causal:
        blocked = torch.ones_like(blocked).triu(1)
        scores = scores.masked_fill(blocked, -math.inf)
    if mask is not None:
        hidden = ~mask if mask.dtype == torch.bool else mask == -math.inf
        blocked = blocked | hidden
        scores = scores.masked_fill(hidden, -math.inf) if mask.dtype == torch.bool else scores + mask
    nowhere = blocked.all(-1, keepdim=True)
    if not bool(nowhere.any()):
        weights = scores.softmax(-1)
    else:  # a step that may look at nothing sees zero
        weights = scores.masked_fill(nowhere, 0).softmax(-1).masked_fill(nowhere, 0)
    return torch.matmul(weights, value), weights


def multi_head_attention(call: Call) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward`, which `nn.MultiheadAttention` calls: [L, N, E], or [L, E] of one sequence."""
    names = (
        "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn dropout_p out_proj_weight "
        "out_proj_bias training key_padding_mask need_weights attn_mask use_separate_proj_weight q_proj_weight k_proj_weight "
        "v_proj_weight static_k static_v average_attn_weights is_causal"
    )
    given = {name: call.argument(position, name) for position, name in enumerate(names.split())}
    if given["training"] and given["dropout_p"]:
        raise call.no_rule("with dropout that is switched on")
    if given["static_k"] is not None or given["static_v"] is not None:
        raise call.no_rule("with keys or values from outside")
    query, key, value = given["query"], given["key"], given["value"]
    single = query.ndim == 2
    with call.engine:
        if single:
            query, key, value = (part.unsqueeze(1) for part in (query, key, value))
        weights = _projections(given)
        biases = (None,) * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)
        heads = int(given["num_heads"])
        q, k, v = (
            _heads(F.linear(part, weight, bias), heads)
            for part, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mask, steps = _mask(given, k, heads), k.shape[2]
        if given["bias_k"] is not None:  # one key and value more, which are learned
            k, v = (
                _with_row(part, _heads(given[name], heads)) for part, name in ((k, "bias_k"), (v, "bias_v"))
            )
        if given["add_zero_attn"]:
            k, v = (_with_row(part, part.new_zeros(1, 1, 1, part.shape[3])) for part in (k, v))
        if mask is not None:  # these may always be looked at
            mask = F.pad(mask, (0, k.shape[2] - steps))
        mixed, attended = _attend(q, k, v, mask, causal=False, scale=None)
        num, _, length, size = mixed.shape
        joined = mixed.permute(2, 0, 1, 3).reshape(length, num, heads * size)
        answer = F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])
        told = None
        if given["need_weights"] in (None, True):
            told = attended.mean(1) if given["average_attn_weights"] in (None, True) else attended
        if single:
            answer, told = answer.squeeze(1), None if told is None else told.squeeze(0)
    return answer, told


def _projections(given: dict[str, Any]) -> tuple[Tensor, ...]:
    if given["use_separate_proj_weight"]:
        return given["q_proj_weight"], given["k_proj_weight"], given["v_proj_weight"]
    return given["in_proj_weight"].chunk(3)


def _heads(x: Tensor, heads: int) -> Tensor:
    """[L, N, E] as [N, heads, L, E / heads]."""
    length, num, width = x.shape
    return x.reshape(length, num, heads, width // heads).permute(1, 2, 0, 3)


def _with_row(x: Tensor, row: Tensor) -> Tensor:
    """`x` [N, heads, S, E] and behind its steps `row` [1, heads or 1, 1, E], the same for every example."""
    return torch.cat([x, row.expand(*x.shape[:2], 1, x.shape[3])], 2)


def _mask(given: dict[str, Any], key: Tensor, heads: int) -> Tensor | None:
    """What is added to the scores [N, heads, L, S]: minus infinity where a step may not be looked at."""
    mask, padding = given["attn_mask"], given["key_padding_mask"]

    def additive(part: Tensor) -> Tensor:
        if part.dtype != torch.bool:
            return part.to(key.dtype)
        return torch.zeros(part.shape, dtype=key.dtype, device=key.device).masked_fill(part, -math.inf)

    total = None
    if mask is not None:
        total = additive(mask)
        total = total.view(-1, heads, *total.shape[1:]) if total.ndim == 3 else total[None, None]
    if padding is not None:
        columns = additive(padding)
        columns = columns[:, None, None, :] if columns.ndim == 2 else columns[None, None, None, :]
        total = columns if total is None else total + columns
    return total


def local_response_norm(call: Call) -> Tensor:
    """The values over (k + α · mean of squares over `size` neighbouring channels)^β."""
    x, size, alpha, beta, k = (
        call.argument(i, n, d)
        for i, (n, d) in enumerate(
            (("input", None), ("size", None), ("alpha", 1e-4), ("beta", 0.75), ("k", 1.0))
        )
    )
    with call.engine:
        squares = x.square().flatten(2).unsqueeze(1)  # [N, 1, C, positions]
        padded = F.pad(squares, (0, 0, size // 2, (size - 1) // 2))
        means = F.avg_pool2d(padded, (size, 1), stride=1).squeeze(1).reshape(x.shape)
        return x / (means * alpha + k) ** beta
