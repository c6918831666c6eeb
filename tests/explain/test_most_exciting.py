"""The most exciting examples, against planted ones and against looking at everything at once."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.data import from_arrays
from hubel.data.preprocessing import Scaling
from hubel.explain import Unit, most_exciting


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3)).eval()


def test_the_planted_patches_are_found():
    """A filter of a cross finds the crosses, the strongest first, and cuts them out."""
    cross = np.zeros((5, 5), np.float32)
    cross[2, :] = cross[:, 2] = 1
    net = nn.Sequential(nn.Conv2d(1, 2, 5, bias=False), nn.ReLU()).eval()
    with torch.no_grad():
        net[0].weight.fill_(-0.3)
        net[0].weight[1, 0] += 1.3 * torch.from_numpy(cross)
    x = np.random.default_rng(0).normal(size=(200, 1, 20, 20), scale=0.05).astype(np.float32)
    planted = {17: (3, 9, 3.0), 90: (0, 0, 2.0), 150: (15, 15, 1.0)}
    for number, (row, column, strength) in planted.items():
        x[number, 0, row : row + 5, column : column + 5] = strength * cross
    found = most_exciting(net, x, Unit(layer="1", channel=1), count=3, batch_size=32)
    assert found.ids.tolist() == [17, 90, 150]
    assert found.positions.tolist() == [[3, 9], [0, 0], [15, 15]]
    for patch, (_, _, strength) in zip(found.patches, planted.values(), strict=True):
        assert np.array_equal(patch[0], strength * cross)
    assert found.seen == 200 and found.mean < found.values[-1]


@pytest.mark.parametrize("unit", [Unit(layer="3", channel=2), Unit(layer="3", channel=2, position=(1, 3))])
def test_batches_find_what_all_at_once_finds(net, unit):
    x = torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = net(x)[:, 2].detach()
    values = maps[:, 1, 3] if unit.position else maps.flatten(1).amax(1)
    best = values.argsort(descending=True)[:7]
    for batch_size in (1, 13, 64):
        found = most_exciting(net, x, unit, count=7, batch_size=batch_size)
        assert found.ids.tolist() == best.tolist()
        assert np.allclose(found.values, values[best], atol=1e-6)
        assert found.mean == pytest.approx(float(values.mean()), rel=1e-5)


def test_a_scaling_is_applied_and_the_stored_examples_come_back(net):
    stored = np.random.default_rng(0).integers(0, 255, (30, 1, 16, 16), np.uint8)
    scaling = Scaling(mean=(120.0,), std=(70.0,), dtype="uint8", shape=(1, 16, 16))
    data = from_arrays(stored, np.arange(30) % 2)
    found = most_exciting(net, data, Unit(layer="3", channel=0), count=2, scaling=scaling)
    entered = most_exciting(net, scaling(torch.from_numpy(stored)), Unit(layer="3", channel=0), count=2)
    assert found.ids.tolist() == entered.ids.tolist() and np.allclose(found.values, entered.values)
    assert found.examples.dtype == np.uint8 and np.array_equal(found.examples, stored[found.ids])


def test_features_without_positions():
    net = nn.Sequential(nn.Linear(3, 2)).eval()
    x = np.eye(3, dtype=np.float32)
    found = most_exciting(net, x, Unit(layer="0", channel=1), count=10)
    assert len(found) == 3 and found.ids[0] == int(net[0].weight[1].argmax())
    assert np.array_equal(found.patches[0], x[found.ids[0]])


def test_wrong_input_is_told(net):
    x = np.zeros((4, 1, 16, 16), np.float32)
    for words, said in (
        ({"unit": Unit(layer="3", channel=3)}, "3 has 3 channels, 0 to 2; received channel 3"),
        ({"unit": Unit(layer="9", channel=0)}, "no layer '9'"),
        ({"data": x[:0]}, "no examples"),
        ({"data": x + np.nan}, "NaN or infinite"),
        ({"data": x.astype(np.uint8)}, "not said how they enter the network"),
        ({"count": 0}, "count is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            most_exciting(net, **{"data": x, "unit": Unit(layer="3", channel=0), **words})
