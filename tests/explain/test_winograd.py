"""Convolutions by tiles answer what torch's do, within the rounding of float32, and are taken only where they fit and are quicker."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.explain import winograd
from hubel.explain.question import Question
from hubel.explain.tape import record
from hubel.explain.versions import Versions


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1), (2, 0)])
@pytest.mark.parametrize("sides", [(3, 3), (8, 6), (13, 10)])
def test_tiles_answer_as_a_plain_convolution(sides, padding, monkeypatch):
    monkeypatch.setattr(winograd, "AT_ONCE", 13)  # so that the last batch of tiles is a smaller one
    weight, bias = torch.randn(5, 48, 3, 3), torch.randn(5)
    x = torch.randn(3, 48, *sides).contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding)
    found = winograd.Winograd(weight).by_tiles(x, bias, tuple(expected.shape[2:]), padding)
    assert found.is_contiguous(memory_format=torch.channels_last)
    plain = F.conv2d(x, weight, bias, padding=padding)
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert (found - expected).norm() <= 4 * (plain - expected).norm()


def test_the_quicker_way_is_taken(monkeypatch):
    called = []
    real = winograd.Winograd.by_tiles
    monkeypatch.setattr(
        winograd.Winograd, "by_tiles", lambda self, *args: called.append(1) or real(self, *args)
    )
    rest = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    for channels, side, taken in ((128, 16, True), (16, 16, False), (128, 2, False)):
        weight, x = torch.randn(channels, channels, 3, 3), torch.randn(1, channels, side, side)
        found = winograd.Winograd(weight)(x, weight, None, *rest)
        assert torch.allclose(found, F.conv2d(x, weight, padding=1), rtol=0, atol=1e-3)
        assert bool(called) == taken
        called.clear()


@pytest.mark.parametrize(
    ("layer", "fits"),
    [
        (nn.Conv2d(4, 4, 3), True),
        (nn.Conv2d(4, 4, 3, stride=2), False),
        (nn.Conv2d(4, 4, 3, dilation=2), False),
        (nn.Conv2d(4, 4, 3, groups=2), False),
        (nn.Conv2d(4, 4, (3, 1)), False),
        (nn.ConvTranspose2d(4, 4, 3), False),
        (nn.Conv2d(4, 4, 3).double(), False),
        (nn.Conv1d(4, 4, 3), False),
    ],
)
def test_only_plain_filters_of_three_by_three_in_float32_fit(layer, fits):
    x = torch.zeros(2, 4, 9, *([9] if layer.weight.ndim == 4 else []), dtype=layer.weight.dtype)
    tape, _ = record(layer, x, limit=10**9)
    assert [winograd.suits(operation) for operation in tape.operations] == [fits]


def test_occlusion_with_tiles_is_the_networks_own(monkeypatch):
    called = []
    real = winograd.Winograd.by_tiles
    monkeypatch.setattr(
        winograd.Winograd, "by_tiles", lambda self, *args: called.append(1) or real(self, *args)
    )
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU(inplace=True),
        nn.Conv2d(128, 128, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 5),
    ).eval()  # fmt: skip
    for norm in (net[1], net[5]):
        (
            nn.init.uniform_(norm.running_var, 0.5, 2),
            nn.init.normal_(norm.running_mean),
            nn.init.normal_(norm.weight),
        )
    question = Question(net, torch.randn(1, 3, 48, 40), 3)
    versions = Versions(question, 0, axes=(1, 2))
    starts = np.stack(np.meshgrid(range(0, 41, 8), range(0, 33, 8), indexing="ij"), -1).reshape(-1, 2)
    crops = torch.randn(1, 3, 8, 8) * 3
    with torch.no_grad():
        expected = torch.cat([question(versions.full(starts[k : k + 1], crops)) for k in range(len(starts))])
    found = versions.scores(starts, crops)
    assert versions.incremental and called
    effects = (expected - question.score).abs().max()
    assert (found - expected).abs().max() <= 1e-4 * effects
