"""The first artificial neuron, on all its inputs."""

import itertools

import pytest
import torch

from hubel.layers.neuron import McCullochPitts, Threshold


@pytest.mark.parametrize("num", [1, 2, 3, 5])
def test_and_or_and_everything_between(num):
    rows = list(itertools.product([0.0, 1.0], repeat=num))
    inputs = torch.tensor(rows)
    for threshold in range(num + 2):
        fires = McCullochPitts(threshold)(inputs)[:, 0]
        assert fires.tolist() == [float(sum(row) >= threshold) for row in rows]
    assert McCullochPitts(num)(inputs)[:, 0].tolist() == [float(all(row)) for row in rows]
    assert McCullochPitts(1)(inputs)[:, 0].tolist() == [float(any(row)) for row in rows]


def test_nothing_is_learned():
    assert not list(McCullochPitts(1).parameters())
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    assert not Threshold()(x).requires_grad


@pytest.mark.parametrize(
    ("inputs", "match"), [(torch.tensor([0.0, 1.0]), r"\[N, F\]"), (torch.tensor([[0.5, 1.0]]), "0 and 1")]
)
def test_what_is_not_boolean_is_refused(inputs, match):
    with pytest.raises(ValueError, match=match):
        McCullochPitts(1)(inputs)
