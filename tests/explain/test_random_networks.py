"""Random chains of layers with random kernels, strides, borders and sizes: incremental answers against the network's own."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.explain import incremental
from hubel.explain.question import Question
from hubel.explain.versions import Versions


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def chain(draw, dims, channels):
    """One to five layers of any kind; some do not fit the example."""
    layers = []
    convolution, transposed, greatest, mean, norm = (
        (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d, nn.BatchNorm1d),
        (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d),
        (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d, nn.AvgPool3d, nn.BatchNorm3d),
    )[dims - 1]

    def each(low, high):
        return tuple(draw.randint(low, high) for _ in range(dims))

    for _ in range(draw.randint(1, 5)):
        kind = draw.choice(
            ["convolution"] * 3
            + ["transposed", "greatest", "mean", "norm", "smooth", "border", "larger", "slice"]
        )
        kernel = each(2, 4)
        half = tuple(draw.randint(0, k // 2) for k in kernel)
        if kind == "convolution":
            groups, mode = (
                1 + (channels % 2 == 0 and draw.random() < 0.3),
                draw.choice(["zeros", "zeros", "reflect", "replicate"]),
            )
            layers.append(
                convolution(
                    channels, 4, each(1, 4), each(1, 3), each(0, 2), each(1, 2), groups, padding_mode=mode
                )
            )
            channels = 4
        elif kind == "transposed":
            layers.append(transposed(channels, 2, each(1, 4), each(1, 3), each(0, 1), dilation=each(1, 2)))
            channels = 2
        elif kind == "greatest":
            layers.append(greatest(kernel, each(1, 3), half, ceil_mode=draw.random() < 0.4))
        elif kind == "mean":
            layers.append(
                mean(
                    kernel,
                    each(1, 3),
                    half,
                    ceil_mode=draw.random() < 0.4,
                    count_include_pad=draw.random() < 0.5,
                )
            )
        elif kind == "norm":
            layers.append(norm(channels))
            nn.init.normal_(layers[-1].running_mean)
            nn.init.uniform_(layers[-1].running_var, 0.5, 2)
        elif kind == "smooth":
            layers.append(draw.choice([nn.Tanh(), nn.GELU(), nn.SiLU()]))
        elif kind == "border":
            widths = [draw.randint(-1, 3) for _ in range(2 * dims)]
            layers.append(Function(lambda x, widths=widths: F.pad(x, widths, value=1.5)))
        elif kind == "larger":
            layers.append(nn.Upsample(scale_factor=draw.choice([2, 1.5])))
        else:
            index = (..., slice(draw.randint(0, 2), None, draw.randint(1, 3)), *(slice(None),) * (dims - 1))
            layers.append(Function(lambda x, index=index: x[index]))
    return nn.Sequential(*layers).double().eval()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_random_chains(dims, monkeypatch):
    for name in ("MOVE", "CUT", "CALL"):
        monkeypatch.setattr(incremental, name, 0.0)
    draw, compared = random.Random(dims), 0
    while compared < 40:
        sides, channels = (
            [draw.randint(9, 40 if dims < 3 else 14) for _ in range(dims)],
            draw.choice([1, 2, 4]),
        )
        torch.manual_seed(draw.randrange(10**6))
        net, x = chain(draw, dims, channels), torch.randn(1, channels, *sides, dtype=torch.float64)
        try:
            with torch.no_grad():
                weights = torch.randn_like(net(x)[0].flatten())
        except RuntimeError:
            continue  # a layer does not fit what the one before answers
        if not weights.numel():
            continue
        question = Question(net, x, lambda outputs, weights=weights: (outputs.flatten(1) * weights).sum(1))
        patch = [draw.randint(1, min(6, side)) for side in sides]
        starts = np.array(
            [[draw.randint(0, side - p) for side, p in zip(sides, patch, strict=True)] for _ in range(12)]
        )
        crops = torch.randn(12, channels, *patch, dtype=torch.float64)
        versions = Versions(question, 0, axes=range(1, dims + 1))
        with torch.no_grad():
            expected = torch.cat(
                [question(versions.full(starts[k : k + 1], crops[k : k + 1])) for k in range(12)]
            )
        found = versions.scores(starts, crops)
        assert torch.allclose(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max() + 1)), net
        assert versions.incremental, (net, versions.notes)
        compared += 1
