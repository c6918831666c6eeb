"""Incremental answers are the network's own, on whatever code: every network here against itself, version by version, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.explain import box_rules, incremental
from hubel.explain.question import Question, Unit
from hubel.explain.versions import Versions


class Code(nn.Module):
    """A network whose forward pass is a function of its layers and the input."""

    def __init__(self, run, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.run = run

    def forward(self, x):
        return self.run(self.layers, x)


def conv(*args, **more):
    return nn.Conv2d(*args, **more)


def head(x, m):
    return m["head"](x.flatten(1))


def with_head(run, features, **layers):
    return lambda: Code(
        lambda m, x: head(run(m, x), m), head=nn.Linear(features, 3), **{k: v() for k, v in layers.items()}
    )


def residual(m, x):
    x = F.relu(m["first"](x))
    return F.relu(m["b"](F.relu(m["a"](x))) + x).mean((2, 3))


def residual_in_place(m, x):
    x = m["first"](x).relu_()
    out = m["b"](F.relu(m["a"](x), inplace=True))
    out += x
    return out.relu_().mean((2, 3))


def reused(m, x):
    x = m["first"](x)
    for _ in range(3):
        x = m["act"](m["norm"](m["a"](x)))
    return F.adaptive_avg_pool2d(x, 2)


def concatenated(m, x):
    x = m["first"](x)
    y = torch.cat([x, m["a"](F.relu(x))], 1)
    return F.avg_pool2d(torch.cat([y, m["b"](y)], dim=-3), 3, 2, 1, count_include_pad=False).mean((-1, -2))


def gated(m, x):
    x = F.silu(m["first"](x))
    gate = torch.sigmoid(m["a"](x.mean((2, 3), keepdim=True)))
    return m["b"](x * gate).mean((2, 3))


def shuffled(m, x):
    x = m["first"](x)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    left, right = x.chunk(2, dim=1)
    x = torch.cat([left, m["a"](right)], 1)
    return F.max_pool2d(x.softmax(1) * x[:, :1], 3, 2, ceil_mode=True).amax((2, 3))


def sliced(m, x):
    x = m["first"](x)[:, :, ::2, 1::2]
    x = F.pad(x, (0, 0, 0, 0, 1, 2))
    x = F.pad(F.interpolate(x, scale_factor=2), (1, -2, 0, 3), value=0.5)
    return F.pad(x, (2, 2, 1, 1), mode="reflect").tanh().mean((2, 3))


def normalized(m, x):
    x = F.local_response_norm(F.relu(m["first"](x)), 3)
    x = m["norm"](F.prelu(x, m["act"].weight))
    return F.avg_pool2d(F.gelu(m["a"](x)), 3, 2, ceil_mode=True, count_include_pad=False).mean((2, 3))


def decoder(m, x):
    x = F.relu(m["first"](x))
    x = m["gap"](F.relu(m["up"](F.max_pool2d(x, 2))))
    return (m["wide"](x) * 2).tanh().mean((2, 3))


def constants(m, x):
    place = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)[None, None, None].expand(1, 1, x.shape[-2], -1)
    mask = (torch.arange(4) != 1).to(x.dtype)[:, None, None]
    z = m["first"](x)
    last = z.split([1, 3], dim=1)[1].mean(1, keepdim=True)
    return (z * place.clone() * mask + last).clamp(-0.4, 2).mean((2, 3))


FIRST = {"first": lambda: conv(2, 4, 3, padding=1)}
PAIR = FIRST | {"a": lambda: conv(4, 4, 3, padding=1), "b": lambda: conv(4, 4, 3, padding=1)}
IMAGE = (2, 37, 29)
NETS = {
    "plain": (lambda: nn.Sequential(conv(2, 4, 3), nn.ReLU(), conv(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3300, 3)), IMAGE, set()),
    "in place, norm before": (
        lambda: nn.Sequential(
            nn.BatchNorm2d(2), conv(2, 4, 5, stride=2, padding=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
            conv(4, 6, 3, bias=False), nn.ReLU6(inplace=True), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
        ), IMAGE, set()),
    "strided, dilated, grouped": (
        lambda: nn.Sequential(conv(2, 4, (3, 5), stride=(2, 3), padding=(0, 2)), nn.GELU(), conv(4, 8, 3, dilation=2, groups=2, padding="same"),
                              nn.SiLU(), conv(8, 8, 1, stride=2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        IMAGE, {"adaptive_max_pool2d"}),
    "padding modes": (
        lambda: nn.Sequential(conv(2, 4, 3, padding=2, padding_mode="reflect"), nn.Tanh(), conv(4, 4, 3, padding=1, padding_mode="replicate"),
                              nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1140, 3)), IMAGE, set()),
    "residual": (with_head(residual, 4, **PAIR), IMAGE, set()),
    "residual in place": (with_head(residual_in_place, 4, **PAIR), IMAGE, set()),
    "reused": (with_head(reused, 16, first=lambda: conv(2, 4, 3), a=lambda: conv(4, 4, 3, padding=1), norm=lambda: nn.BatchNorm2d(4), act=nn.ELU), IMAGE,
               {"_adaptive_avg_pool2d"}),
    "concatenated": (with_head(concatenated, 12, first=lambda: conv(2, 4, 3), a=lambda: conv(4, 4, 3, padding=1), b=lambda: conv(8, 4, 1)), IMAGE, set()),
    "gated": (with_head(gated, 4, first=lambda: conv(2, 4, 3), a=lambda: conv(4, 4, 1), b=lambda: conv(4, 4, 3)), IMAGE, {"convolution", "sigmoid", "mul", "mean"}),
    "shuffled": (with_head(shuffled, 4, first=lambda: conv(2, 4, 3), a=lambda: conv(2, 2, 3, padding=1)), IMAGE, {"amax"}),
    "sliced": (with_head(sliced, 7, **FIRST), IMAGE, set()),
    "normalized": (with_head(normalized, 4, first=lambda: conv(2, 4, 3), norm=lambda: nn.BatchNorm2d(4), act=lambda: nn.PReLU(4), a=lambda: conv(4, 4, 2)), IMAGE, set()),
    "decoder": (with_head(decoder, 3, **FIRST, up=lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
                gap=lambda: nn.ConvTranspose2d(6, 4, (2, 1), stride=3),
                wide=lambda: nn.ConvTranspose2d(4, 3, 3, dilation=2, padding=3)), IMAGE, set()),
    "constants": (with_head(constants, 4, **FIRST), IMAGE, set()),
    "signals": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 5, stride=2), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(3, 2, 1), nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3, padding=4, dilation=4),
                              nn.AvgPool1d(2), nn.Flatten(), nn.Linear(72, 3)), (2, 149), set()),
    "volumes": (
        lambda: nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.BatchNorm3d(3), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(3, 3, (1, 3, 3)),
                              nn.AvgPool3d(2, ceil_mode=True), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 3)), (1, 11, 14, 13), set()),
}  # fmt: skip


def made(make, seed=0):
    torch.manual_seed(seed)
    net = make().double().eval()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


def places(sides, patch, stride):
    lines = [
        sorted({*range(0, side - p + 1, stride), side - p}) for side, p in zip(sides, patch, strict=True)
    ]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(sides))


def plain(question, versions, starts, crops):
    """The network's own answers, one version at a time, pasted here by hand."""
    found = []
    for k, start in enumerate(starts.tolist()):
        x = versions.example.clone()
        size = crops.shape[-len(start) :]
        x[(..., *(slice(s, s + p) for s, p in zip(start, size, strict=True)))] = crops[min(k, len(crops) - 1)]
        found.append(question(x[None], torch.tensor([versions.row])))
    return torch.cat(found)


@pytest.fixture
def boxes_wherever_possible(monkeypatch):
    """Nothing but arithmetic is counted, so that a box is never dearer than the map, however small the network."""
    monkeypatch.setattr(incremental, "MOVE", 0.0)
    monkeypatch.setattr(incremental, "CUT", 0.0)
    monkeypatch.setattr(incremental, "CALL", 0.0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("boxes_wherever_possible")
def test_incremental_answers_are_the_networks_own(name):
    make, shape, without_rule = NETS[name]
    net, spatial = made(make), shape[1:]
    torch.manual_seed(1)
    question = Question(net, torch.randn(2, *shape, dtype=torch.float64), [0, 2])
    versions = Versions(question, 1, axes=range(1, len(shape)))
    starts = places(spatial, (5,) * len(spatial), 4)
    crops = torch.randn(len(starts), shape[0], *(5,) * len(spatial), dtype=torch.float64)
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    found = versions.scores(starts, crops)
    assert versions.incremental, versions.notes
    assert torch.allclose(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
    assert len(expected.unique()) > len(starts) // 3, "versions that all answer alike would show nothing"
    engine = versions._engine
    at_first = [o.name for o, r in zip(engine.tape.operations, engine.rules, strict=True) if r is None]
    assert set(at_first) - {"view", "addmm"} == without_rule


FALLING_BACK = {
    "reads a value into Python": (lambda m, x: m["first"](x) * (2.0 if x.mean().item() > 0 else 1.0), "depends on values"),
    "reads a value behind torch's back": (lambda m, x: m["first"](x) * torch.from_numpy(x.numpy(force=True).sum((1, 2, 3), keepdims=True)), "could not be replayed"),
    "writes through a view": (lambda m, x: written_through_a_view(m["first"](x)), "a view of a value was written to"),
    "circular border": (lambda m, x: F.pad(m["first"](x), (1, 1, 1, 1), mode="circular"), "a view of a value was written to"),
    "changes a buffer after reading it": (lambda m, x: with_counter(m, m["first"](x)), "of its own after reading it"),
}  # fmt: skip


def written_through_a_view(x):
    y = x * 2
    y[:, 0].mul_(3)
    return y


def with_counter(m, x):
    m["count"].weight.data.sub_(0)
    x = x * m["count"].weight
    m["count"].weight.data.sub_(0)
    return x


@pytest.mark.parametrize("name", FALLING_BACK)
@pytest.mark.usefixtures("boxes_wherever_possible")
def test_what_can_not_be_replayed_is_computed_in_full(name):
    run, reason = FALLING_BACK[name]
    net = made(lambda: Code(lambda m, x: m["head"](run(m, x).mean((2, 3))), **{k: v() for k, v in FIRST.items()},
                            head=nn.Linear(4, 3), count=nn.Linear(1, 1, bias=False)))  # fmt: skip
    question = Question(net, torch.rand(1, 2, 17, 13, dtype=torch.float64) - 0.4, 1)
    versions = Versions(question, 0, axes=(1, 2))
    starts, crops = places((17, 13), (4, 4), 4), torch.rand(1, 2, 4, 4, dtype=torch.float64) * 3
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
    assert not versions.incremental
    assert reason in versions.notes[0]


def test_random_numbers_are_not_replayed():
    net = Code(
        lambda m, x: m["head"](F.dropout(m["first"](x), training=True).mean((2, 3))),
        first=conv(2, 4, 3),
        head=nn.Linear(4, 3),
    )
    versions = Versions(Question(net.eval(), torch.rand(1, 2, 17, 13), 1), 0, axes=(1, 2))
    versions.scores(places((17, 13), (4, 4), 4), torch.zeros(1, 2, 4, 4))
    assert "draws random numbers" in versions.notes[0]


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(442, 3)),
        nn.Sequential(nn.Flatten(2), nn.LSTM(221, 3, batch_first=True)),
    ],
)
def test_networks_without_neighbourhoods_are_computed_in_full(net):
    target = (lambda outputs: outputs[0][:, -1, 1]) if isinstance(net[1], nn.LSTM) else 1
    question = Question(net.double().eval(), torch.rand(1, 2, 17, 13, dtype=torch.float64), target)
    versions = Versions(question, 0, axes=(1, 2))
    starts, crops = places((17, 13), (4, 4), 4), torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)


@pytest.mark.usefixtures("boxes_wherever_possible")
def test_units_and_functions_are_explained_too():
    net = made(NETS["residual in place"][0])
    x = torch.randn(1, *IMAGE, dtype=torch.float64)
    starts, crops = places(IMAGE[1:], (6, 5), 5), torch.zeros(1, 2, 6, 5, dtype=torch.float64)
    for target in (
        Unit(layer="layers.b", channel=2, position=(17, 11)),
        lambda outputs: outputs.square().sum(1),
    ):
        question = Question(net, x, target)
        versions = Versions(question, 0, axes=(1, 2))
        with torch.no_grad():
            expected = plain(question, versions, starts, crops)
        assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
        assert versions.incremental


@pytest.mark.usefixtures("boxes_wherever_possible")
def test_small_batches_and_patches_as_large_as_the_image():
    net = made(NETS["in place, norm before"][0])
    question = Question(net, torch.randn(1, *IMAGE, dtype=torch.float64), 0)
    for patch, stride in (((37, 29), 1), ((1, 29), 3), ((31, 28), 1)):
        starts = places(IMAGE[1:], patch, stride)
        crops = torch.randn(1, 2, *patch, dtype=torch.float64)
        versions = Versions(question, 0, axes=(1, 2), budget=100_000)
        with torch.no_grad():
            expected = plain(question, versions, starts, crops)
        assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
        assert versions.incremental or len(starts) < 6, versions.notes


def test_single_precision_within_the_promise():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)).eval()  # fmt: skip
    question = Question(net, torch.randn(1, 3, 64, 64), 3)
    versions = Versions(question, 0, axes=(1, 2))
    starts, crops = places((64, 64), (8, 8), 4), torch.zeros(1, 3, 8, 8)
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    assert (versions.scores(starts, crops) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert versions.incremental


def test_what_can_change_is_counted_beforehand(monkeypatch):
    """With the costs of moving numbers, a small patch on large maps is computed in boxes, and one over everything on whole maps."""
    net = made(
        lambda: nn.Sequential(
            conv(2, 16, 3),
            nn.ReLU(),
            conv(16, 16, 3),
            nn.ReLU(),
            conv(16, 8, 3),
            nn.Flatten(),
            nn.Linear(8 * 58 * 58, 2),
        )
    )
    monkeypatch.setattr(incremental, "CUT", 0.0)
    question = Question(net, torch.randn(1, 2, 64, 64, dtype=torch.float64), 0)
    switches = []
    for patch in (4, 60):
        versions = Versions(question, 0, axes=(1, 2))
        starts = places((64, 64), (patch, patch), 2)[:40]
        versions.scores(starts, torch.zeros(1, 2, patch, patch, dtype=torch.float64))
        plans = versions._engine.plans(starts, (patch, patch))
        assert all(plan.cost <= plan.full_cost for plan in plans)
        switches.append(max(plan.switch for plan in plans))
    small, whole = switches
    assert small >= 5
    assert whole == 0


def test_progress_counts_the_versions():
    net = made(NETS["plain"][0])
    versions = Versions(
        Question(net, torch.randn(1, *IMAGE, dtype=torch.float64), 0), 0, axes=(1, 2), budget=200_000
    )
    starts, seen = places(IMAGE[1:], (5, 5), 4), []
    versions.scores(
        starts, torch.zeros(1, 2, 5, 5, dtype=torch.float64), lambda done, num: seen.append((done, num))
    )
    assert seen[-1] == (len(starts), len(starts))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 1


@pytest.mark.usefixtures("boxes_wherever_possible")
def test_wrong_incremental_answers_are_found_and_not_used(monkeypatch):
    """A rule that is wrong (a window that reaches nowhere) does not lead to a wrong map."""
    monkeypatch.setattr(box_rules.Window, "spread", lambda rule, spans: spans[0])
    net = made(
        lambda: nn.Sequential(
            conv(2, 4, 5, padding=2),
            nn.ReLU(),
            conv(4, 2, 5, padding=2),
            nn.Flatten(),
            nn.Linear(2 * 37 * 29, 3),
        )
    )
    question = Question(net, torch.randn(1, *IMAGE, dtype=torch.float64), 1)
    versions = Versions(question, 0, axes=(1, 2))
    starts, crops = places(IMAGE[1:], (5, 5), 4), torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
    assert "answer something else" in versions.notes[0]


@pytest.mark.usefixtures("boxes_wherever_possible")
def test_attention_behind_convolutions():
    """Maps in boxes, then one token a position and their mean, which attend to each other on whole maps."""

    def run(m, x):
        tokens = m["b"](F.relu(m["first"](x))).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens, tokens.mean(1, keepdim=True)], 1)
        return F.scaled_dot_product_attention(tokens, tokens, tokens)[:, -1]

    net = made(with_head(run, 4, first=lambda: conv(2, 4, 3), b=lambda: conv(4, 4, 3, stride=3)))
    question = Question(net, torch.randn(1, *IMAGE, dtype=torch.float64), 1)
    versions = Versions(question, 0, axes=(1, 2))
    starts, crops = places(IMAGE[1:], (5, 5), 4), torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(question, versions, starts, crops)
    assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
    assert versions.incremental, versions.notes


@pytest.mark.usefixtures("boxes_wherever_possible")
@pytest.mark.parametrize("steps", [1, 6])
def test_series_with_their_steps_first(steps):
    """[N, L, F], which the network turns to [N, F, L] for its convolutions; and back, and again."""

    def run(m, x):
        x = F.relu(m["first"](x.transpose(1, 2)))
        x = m["a"](x.permute(0, 2, 1).contiguous().transpose(2, 1))
        return m["head"](x.tanh().mean(2))

    net = made(lambda: Code(run, first=nn.Conv1d(3, 4, 5, padding=2), a=nn.Conv1d(4, 4, 3, dilation=2), head=nn.Linear(4, 3)))  # fmt: skip
    question = Question(net, torch.randn(2, 60, 3, dtype=torch.float64), [0, 2])
    versions = Versions(question, 1, axes=(0,))
    starts, crops = np.arange(0, 60 - steps + 1, 3)[:, None], torch.randn(1, steps, 3, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.cat(
            [question(versions.full(starts[k : k + 1], crops), torch.tensor([1])) for k in range(len(starts))]
        )
    assert torch.allclose(versions.scores(starts, crops), expected, rtol=1e-10)
    assert versions.incremental, versions.notes
    assert sum(rule is not None for rule in versions._engine.rules) >= 5
