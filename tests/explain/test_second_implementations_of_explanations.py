"""Against Captum 0.9.0 and Zennit 0.5.1, whose answers on one small network are kept in captum_and_zennit.json.

The network is one that both of them treat rightly: modules in a row, ReLU, average pooling. Zennit's denominators hold 1e-6 more.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hubel import explain

KEPT = json.loads((Path(__file__).parent / "captum_and_zennit.json").read_text("utf-8"))


def network(bias=True):
    """Weights by a formula, so that they are the same everywhere."""
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, stride=2, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 3, bias=bias),
    ).double()
    start = 0
    for parameter in net.parameters():
        numbers = torch.arange(start, start + parameter.numel()).double()
        parameter.data = (torch.sin(numbers * 0.7 + 0.3) * 0.4).view_as(parameter)
        start += parameter.numel()
    return net


X = torch.cos(torch.arange(72).double() * 0.37).view(1, 2, 6, 6)
BASELINE = torch.sin(torch.arange(72).double() * 0.11).view(1, 2, 6, 6) * 0.5
INPUT = {"flat": explain.Flat(), "w_square": explain.WSquare(), "box": explain.Box(-1.0, 1.5)}
RULES = {
    "epsilon": explain.Epsilon(0.1),
    "z_plus": explain.ZPlus(),
    "alpha_beta": explain.AlphaBeta(2.0, 1.0),
    "gamma": explain.Gamma(0.25),
    **{name: explain.Composite(dense=explain.ZPlus(), input=rule) for name, rule in INPUT.items()},
    "epsilon_plus_flat": explain.EPSILON_PLUS_FLAT,
}


def close(received, name, relative):
    expected = torch.tensor(KEPT[name], dtype=torch.float64)
    assert expected.abs().max() > 0
    error = (received.flatten() - expected).abs().max() / expected.abs().max()
    assert error < relative


def test_captum():
    net = network()
    close(explain.saliency(net, X, target=1).values, "saliency", 1e-10)
    close(explain.deeplift(net, X, target=1, baseline=BASELINE).values, "deeplift", 1e-10)
    close(explain.guided_backprop(net, X, target=1).values, "guided_backprop", 1e-10)
    close(explain.deconvnet(net, X, target=1).values, "deconvnet", 1e-10)
    steps = explain.integrated_gradients(net, X, target=1, baseline=BASELINE, steps=2000)
    close(steps.values, "integrated_gradients", 1e-6)  # whose places on the way are float32
    close(explain.grad_cam(net, X, target=1, layer="3").coarse, "grad_cam", 1e-10)
    relevance = explain.lrp(network(bias=False), X, target=1, rule=explain.Epsilon(1e-9))
    close(relevance.values, "lrp_captum", 1e-6)


@pytest.mark.parametrize("name", RULES)
def test_zennit(name):
    close(explain.lrp(network(), X, target=1, rule=RULES[name]).values, f"zennit_{name}", 1e-4)
