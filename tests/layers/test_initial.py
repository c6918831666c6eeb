"""Initial weights: the spread that their formulas state, and what equal weights do."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from hubel.layers.initial import initialize

LAYERS = {
    "linear": (lambda: nn.Linear(300, 200), 300, 200),
    "filters": (lambda: nn.Conv2d(40, 30, 5), 40 * 25, 30 * 25),
    "transposed": (lambda: nn.ConvTranspose2d(40, 30, 5), 40 * 25, 30 * 25),
}
SPREAD = {
    "normal": lambda m, n: scipy.stats.norm(0, 1 / math.sqrt(m)),
    "glorot_normal": lambda m, n: scipy.stats.norm(0, math.sqrt(2 / (m + n))),
    "he_normal": lambda m, n: scipy.stats.norm(0, math.sqrt(2 / m)),
    "uniform": lambda m, n: scipy.stats.uniform(-1 / math.sqrt(m), 2 / math.sqrt(m)),
    "glorot_uniform": lambda m, n: scipy.stats.uniform(-math.sqrt(6 / (m + n)), 2 * math.sqrt(6 / (m + n))),
    "he_uniform": lambda m, n: scipy.stats.uniform(-math.sqrt(6 / m), 2 * math.sqrt(6 / m)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scheme", SPREAD)
def test_the_distribution_is_that_of_the_formula(layer, scheme):
    make, m, n = LAYERS[layer]
    made = initialize(make(), scheme, seed=3)
    values = made.weight.detach().flatten().double().numpy()
    assert scipy.stats.kstest(values, SPREAD[scheme](m, n).cdf).pvalue > 1e-3
    assert made.bias.abs().max() == 0


def test_orthogonal():
    weight = initialize(nn.Linear(50, 20), "orthogonal", seed=0).weight
    assert torch.allclose(weight @ weight.T, torch.eye(20), atol=1e-5)


def test_a_function_of_the_seed_and_of_nothing_else():
    one, other = (initialize(nn.Linear(9, 9), "he_normal", seed=1).weight for _ in range(2))
    assert torch.equal(one, other)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    initialize(nn.Linear(9, 9), "orthogonal", seed=1)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_weights_stay_equal():
    """The symmetry that random weights break: units that begin alike receive the same gradient for ever."""
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    for p in net.parameters():
        nn.init.constant_(p, 0.3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 3)).astype("float32"))
    for _ in range(50):
        optimizer.zero_grad()
        (net(x)[:, 0] - x[:, 0] * x[:, 1]).square().mean().backward()
        optimizer.step()
    spread = net[0].weight.std(dim=0).max()
    assert spread < 1e-6 and (net[0].weight - 0.3).abs().max() > 1e-3
    initialize(net, "glorot_uniform", seed=0)
    assert net[0].weight.std(dim=0).min() > 0.05


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match=r"'xavier'.*glorot_uniform"):
        initialize(nn.Linear(2, 2), "xavier")
