"""A network that grows keeps its answers."""

import pytest
import torch

from hubel.physics.network import SmallNetwork


def test_a_wider_network_is_the_same_function():
    network, points = SmallNetwork(2, 3, width=5, depth=3, seed=0), torch.randn(9, 2, dtype=torch.float64)
    network.read(torch.linspace(-1, 1, network.size, dtype=torch.float64))
    wide = network.widened(8, seed=1)
    torch.testing.assert_close(wide(points), network(points), rtol=1e-14, atol=1e-14)
    assert wide.size > network.size and wide.width == 8
    with pytest.raises(ValueError, match="can not be widened to 4"):
        network.widened(4, seed=1)


def test_weights_are_read_in_the_order_in_which_they_are_answered():
    network = SmallNetwork(2, 1, width=3, depth=2, seed=0)
    weights = torch.arange(network.size, dtype=torch.float64)
    network.read(weights)
    assert torch.equal(network.weights(), weights)
