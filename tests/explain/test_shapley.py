"""Shapley values against their definition as a mean over all orders, written here by hand, and against what they promise."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hubel.explain import shapley_exact, shapley_sampling


def network(features, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()


def by_all_orders(value, num):
    """The mean gain of each player over all n! orders."""
    gains = np.zeros(num)
    orders = list(itertools.permutations(range(num)))
    for order in orders:
        present, before = [], value(())
        for player in order:
            present.append(player)
            after = value(tuple(present))
            gains[player] += after - before
            before = after
    return gains / len(orders)


def test_exact_values_are_the_mean_over_all_orders():
    net, x = network(5), torch.randn(2, 5, dtype=torch.float64)
    found = shapley_exact(net, x, target=[2, 0], fill=0.25)
    for row, target in enumerate((2, 0)):

        def value(present, row=row, target=target):
            version = torch.full((1, 5), 0.25, dtype=torch.float64)
            version[0, list(present)] = x[row, list(present)]
            with torch.no_grad():
                return float(net(version)[0, target])

        assert np.allclose(found.values[row].numpy(), by_all_orders(value, 5), atol=1e-12)
    assert float(found.residual.max()) < 1e-12


def test_patches_of_an_image_share_out_the_whole_change():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 6, 2)).double().eval()
    x = torch.rand(1, 2, 9, 8, dtype=torch.float64)
    found = shapley_exact(net, x, target=1, of="log_probability", parts=3, fill="mean")
    with torch.no_grad():
        change = (net(x).log_softmax(1) - net(found.baseline).log_softmax(1))[0, 1]
    assert float(found.values.sum()) == pytest.approx(float(change), rel=1e-10)
    assert found.coarse.shape == (1, 9)
    cell = found.values[
        0, :, 3:6, 3:6
    ]  # positions 3 to 5 of 9, and of 8 those that 3 cells give the middle one
    assert torch.allclose(cell, cell[0, 0, 0].expand_as(cell))


def test_sampling_converges_to_the_exact_values_and_says_how_near_it_is():
    net, x = network(8, seed=1), 2 * torch.randn(1, 8, dtype=torch.float64)
    exact = shapley_exact(net, x, target=0).values[0]
    distances = []
    for permutations in (8, 512):
        found = shapley_sampling(net, x, target=0, permutations=permutations)
        error = float(found.notes[0].rpartition(" ")[2])
        distance = float((found.values[0] - exact).abs().max())
        assert distance < 6 * error + 1e-9
        assert float(found.residual.max()) < 1e-12
        distances.append(distance)
    assert distances[1] < distances[0] / 2
    assert distances[1] < 0.05 * float(exact.abs().max())


def test_given_parts_symbols_and_refusals():
    net, x = network(6), torch.randn(1, 6, dtype=torch.float64)
    found = shapley_exact(net, x, target=0, parts=np.array([5, 5, 9, 9, 9, 7]))
    assert found.coarse.shape == (1, 3)
    assert torch.allclose(found.values[0, 2:5], found.values[0, 2].expand(3))
    text = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2)).eval()
    assert shapley_exact(text, torch.tensor([[1, 2, 3, 4]]), fill=0).residual.max() < 1e-5
    with pytest.raises(ValueError, match=r"17 parts have 2\^17 combinations"):
        shapley_exact(network(17), torch.zeros(1, 17))
    with pytest.raises(ValueError, match=r"whole numbers \[6\]"):
        shapley_exact(net, x, parts=np.array([1, 2]))
    with pytest.raises(ValueError, match="even number, at least 4"):
        shapley_sampling(net, x, permutations=5)
