"""Operations that few networks have: each is complete in DeepLIFT and conserved in LRP, in float64, with biases and a baseline."""

import copy

import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, Function, conv, head, inputs
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hubel import explain

EYE = torch.eye(4, dtype=torch.float64) + 0.1
LOWER = torch.ones(5, 5, dtype=torch.bool).tril(-1)
WINDOW = torch.hann_window(8, dtype=torch.float64)


def unpooled(net, x):
    y = net.a(x)
    small, places = F.max_pool2d(y, 2, return_indices=True)
    z = F.max_unpool2d(F.relu(net.b(small)), places, 2)
    part = F.max_unpool2d(small[:, 1:3].tanh().contiguous(), places[:, 1:3].contiguous(), 2)
    return net.c(torch.cat([(z + y).mean((2, 3)), part.square().mean((2, 3))], 1))


def grouped_queries(net, x):
    q, k, v = x.view(-1, 5, 4, 2).transpose(1, 2), x[..., :4].view(-1, 5, 2, 2), x[..., 4:].view(-1, 5, 2, 2)
    y = F.scaled_dot_product_attention(q, k.transpose(1, 2), v.transpose(1, 2), enable_gqa=True)
    return net.c(y.mean((1, 2)))


def filtered(net, x):
    waves = torch.fft.rfft2(net.a(x))
    kept = torch.zeros_like(waves)
    kept[..., :3, :3] = torch.einsum("nchw,ce->nehw", waves[..., :3, :3], EYE.to(waves.dtype))
    return net.c(torch.fft.irfft2(kept, s=(8, 8)).relu().flatten(1))


def spectrogram(net, x):
    waves = torch.stft(x[:, 0], 8, 4, window=WINDOW, return_complex=True)
    return net.c(torch.cat([waves.abs().log1p(), torch.view_as_real(waves).square().sum(-1)], 1).flatten(1))


def attended(net, x):
    y, weights = net.a(x, x, x)
    return net.c(torch.tanh(y).mean(1) + weights.mean((1, 2), keepdim=True)[:, 0])


SOME = torch.tensor([[False, True, False, False, True], [True, False, False, True, False]])
LAST = torch.tensor([[False, False, False, False, True]])

torch.manual_seed(0)
CODE = {
    "unpooled": (unpooled, {"a": conv(), "b": conv(4, 4), "c": head(6)}, IMAGE),
    "product of elements": (lambda net, x: net.c(net.a(x).tanh()[:, :3].prod(1).flatten(1)), {"a": conv(), "c": head(64)}, IMAGE),
    "products so far": (lambda net, x: net.c(torch.cumprod(net.a(x).tanh() + 0.5, 1).cumprod(dim=-1).mean((2, 3))), {"a": conv(), "c": head(4)}, IMAGE),
    "sums of exponentials so far": (
        lambda net, x: net.c(torch.logcumsumexp(net.a(x), 2).logcumsumexp(dim=1).flatten(1)),
        {"a": conv(), "c": head(256)},
        IMAGE,
    ),
    "a learned key and value": (attended, {"a": nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True), "c": head(8)}, (5, 8)),
    "nothing to attend to": (attended, {"a": nn.MultiheadAttention(8, 2, batch_first=True, add_zero_attn=True), "c": head(8)}, (5, 8)),
    "both, of queries and keys of two lengths": (
        lambda net, x: net.c(net.a(x[:, :2], x, x, attn_mask=SOME, key_padding_mask=LAST.expand(len(x), 5))[0].flatten(1)),
        {"a": nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True, bias=True), "c": head(16)},
        (5, 8),
    ),
    "three operands": (
        lambda net, x: net.c(torch.einsum("nchw,ce,nehw->ne", net.a(x), EYE, net.a(x))),
        {"a": conv(), "c": head(4)},
        IMAGE,
    ),
    "bilinear": (lambda net, x: net.c(net.b(x[:, :4], x[:, 4:])), {"b": nn.Bilinear(4, 4, 5), "c": head(5)}, (8,)),
    "cosine": (lambda net, x: net.c(F.cosine_similarity(x[:, None], net.a.weight[None], dim=-1)), {"a": nn.Linear(8, 6), "c": head(6)}, (8,)),
    "distances": (lambda net, x: net.c(torch.cdist(x, net.a.weight)), {"a": nn.Linear(8, 6), "c": head(6)}, (8,)),
    "grouped queries": (grouped_queries, {"c": head(2)}, (5, 8)),
    "rows that see nothing": (
        lambda net, x: net.c(F.scaled_dot_product_attention(x, x, x, attn_mask=LOWER).mean(1)),
        {"c": head(8)},
        (5, 8),
    ),
    "waves": (filtered, {"a": conv(), "c": head(256)}, IMAGE),
    "spectrogram": (spectrogram, {"c": head(90)}, (1, 32)),
    "projected lstm": (lambda net, x: net.c(net.r(x)[0][:, -1]), {"r": nn.LSTM(3, 4, proj_size=2, batch_first=True), "c": head(2)}, (5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_complete_and_conserved(name):
    function, layers, shape = CODE[name]
    net = Function(function, **copy.deepcopy(layers)).double().eval()
    x, baseline = inputs(shape), inputs(shape, seed=3)
    found = explain.deeplift(net, x, target=1, baseline=baseline)
    with torch.no_grad():
        wanted = (net(x) - net(baseline))[:, 1]
    torch.testing.assert_close(found.values.flatten(1).sum(1), wanted, rtol=1e-9, atol=1e-11)
    alone = explain.deeplift(net, x[1:2], target=1, baseline=baseline[1:2])
    torch.testing.assert_close(found.values[1:2], alone.values, rtol=1e-7, atol=1e-9)
    kept = explain.lrp(net, x, target=1)
    torch.testing.assert_close(kept.values.flatten(1).sum(1) + kept.absorbed, net(x)[:, 1].detach())
    assert kept.values.abs().sum() > 0


@pytest.mark.parametrize("kind", ["sort", "topk"])
def test_values_that_change_places_have_a_rule_in_lrp_alone(kind):
    net = nn.Sequential(
        conv(), nn.Flatten(2), Function(lambda net, x: getattr(x, kind)(3 if kind == "topk" else -1)[0]), nn.Flatten(), nn.LazyLinear(3)
    ).double()  # fmt: skip
    net(inputs(IMAGE))
    assert explain.lrp(net.eval(), inputs(IMAGE), target=1).residual.max() < 1e-10
    with pytest.raises(ValueError, match=f"operation {kind} in which values change their places"):
        explain.deeplift(net, inputs(IMAGE), target=1)


class Packed(nn.Module):
    """The sum over the steps of sequences of different lengths, and the last states of both directions."""

    def __init__(self, kind, padding=0.0):
        super().__init__()
        self.steps, self.padding = kind(3, 4, 2, batch_first=True, bidirectional=True), padding
        self.out = nn.Linear(16, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        answer, state = self.steps(packed)
        answer, _ = pad_packed_sequence(answer, batch_first=True, padding_value=self.padding, total_length=6)
        state = state[0] if isinstance(state, tuple) else state
        return self.out(torch.cat([answer.sum(1), state[-2], state[-1]], 1))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("padding", [0.0, 0.7])
def test_packed_sequences(kind, padding):
    torch.manual_seed(0)
    net, lengths = Packed(kind, padding).double().eval(), torch.tensor([3, 5, 2, 5])
    x, baseline = inputs((5, 3), 4), inputs((5, 3), 4, seed=3)
    found = explain.deeplift(net, x, target=2, baseline=baseline, also=(lengths,))
    with torch.no_grad():
        wanted = (net(x, lengths) - net(baseline, lengths))[:, 2]
    torch.testing.assert_close(found.values.flatten(1).sum(1), wanted)
    past = torch.arange(5)[None] >= lengths[:, None]
    assert not found.values[past].any() and found.values[~past].all()
    kept = explain.lrp(net, x, target=2, also=(lengths,))
    torch.testing.assert_close(kept.values.flatten(1).sum(1) + kept.absorbed, net(x, lengths)[:, 2].detach())
    assert not kept.values[past].any()
