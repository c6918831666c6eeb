"""RISE, LIME, meaningful perturbation and erasure, on networks whose explanation is known."""

import builtins

import numpy as np
import pytest
import torch
from torch import nn

from hubel.core.errors import MissingExtra
from hubel.explain import lime, meaningful_perturbation, representation_erasure, rise
from hubel.explain.rise import masks_of


def linear(*shape):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2)).double().eval()


def test_rise_of_a_linear_network_is_its_expectation():
    """E[f(x M) M(λ)] / E[M] = Σ_j w_j x_j E[M_j M_λ] / p + b, with the masks' moments from other masks."""
    net, x = linear(1, 6, 7), torch.rand(1, 1, 6, 7, dtype=torch.float64)
    found = rise(net, x, target=1, of="score", masks=6000, cells=3)
    others = torch.cat(
        [masks_of((6, 7), 500, cells=3, keep=0.5, seed=9, batch=k) for k in range(40)]
    ).double()
    assert float(others.mean()) == pytest.approx(0.5, abs=0.01)
    flat = others.flatten(1)
    weights = net[1].weight[1].detach() * x.flatten()
    expected = (flat.T @ flat / len(flat)) @ weights / 0.5 + net[1].bias[1].detach() * flat.mean(0) / 0.5
    error = float(found.notes[1].rpartition(" ")[2])
    assert (found.coarse[0].flatten() - expected).abs().max() < 5 * error
    mean = float(found.notes[0].rpartition(" ")[2])
    assert torch.allclose(found.values.sum(1), found.coarse - mean, atol=2e-3 * abs(mean))
    assert mean == pytest.approx(float(weights.sum() * 0.5 + net[1].bias[1].detach()), abs=0.02)


def test_masks_are_smooth_and_a_function_of_the_seed():
    masks = masks_of((24, 20), 5, cells=4, keep=0.3, seed=1)
    assert torch.equal(masks, masks_of((24, 20), 5, cells=4, keep=0.3, seed=1))
    assert not torch.equal(masks, masks_of((24, 20), 5, cells=4, keep=0.3, seed=1, batch=1))
    assert masks.amin() >= 0
    assert masks.amax() <= 1
    assert masks.diff(dim=1).abs().amax() <= 1 / 6 + 1e-5
    bends = masks_of((24, 20), 200, cells=4, keep=0.5, seed=1).diff(n=2, dim=1).abs().amax((0, 2))
    # grids are cut at random places, so that hardly any position is always between the same cells
    assert float((bends > 0.01).double().mean()) > 0.7


def test_lime_recovers_a_linear_network_and_says_how_well_it_fits():
    torch.manual_seed(0)
    net, x = nn.Linear(6, 2).double(), torch.randn(2, 6, dtype=torch.float64)
    found = lime(net, x, target=1, of="score", samples=300, penalty=1e-10, fill=0.5)
    assert torch.allclose(found.values, net.weight[1].detach() * (x - 0.5), atol=1e-6)
    assert "R² 1.000" in found.notes[0]
    wild = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 1)).double().eval()
    with torch.no_grad():
        wild[0].weight.mul_(40)
    fidelity = float(lime(wild, x, target=0, of="score", samples=300).notes[0].split("R² ")[1].split(" ")[0])
    assert fidelity < 0.9
    few = lime(net, x, target=1, of="score", surrogate="lasso", penalty=0.5).values
    assert (few == 0).any()


def test_lime_on_superpixels_finds_the_object():
    pytest.importorskip("skimage")
    x = torch.zeros(1, 3, 40, 40, dtype=torch.float64)
    x[0, :, 10:22, 8:20] = 1
    net = linear(3, 40, 40)
    with torch.no_grad():
        net[1].weight.zero_()[0].view(3, 40, 40)[:, 10:22, 8:20] = 0.01
    found = lime(net, x, target=0, of="score", parts=12, samples=200, fill=0, penalty=1e-8)
    inside = found.values[0, :, 10:22, 8:20].sum()
    assert float(inside) == pytest.approx(0.01 * 3 * 144, rel=0.02)
    assert float(found.values.abs().sum() - inside.abs()) < 0.05 * float(inside)


def test_lime_without_scikit_image_names_the_extra(monkeypatch):
    whole = builtins.__import__

    def without(name, *args, **more):
        if name.startswith("skimage"):
            raise ImportError(name)
        return whole(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"hubel\[science\]"):
        lime(linear(1, 8, 8), torch.rand(1, 1, 8, 8))
    labels = np.arange(64).reshape(8, 8) // 16
    assert lime(linear(1, 8, 8), torch.rand(1, 1, 8, 8), parts=labels, samples=50).values.shape == (
        1,
        1,
        8,
        8,
    )


def test_a_meaningful_mask_deletes_what_the_answer_rests_on():
    """The answer rests on a bright square; the mask has to delete that and little else."""
    net = linear(1, 24, 24)
    with torch.no_grad():
        net[1].weight.zero_()[1].view(24, 24)[6:12, 12:18] = 0.2
        net[1].bias.copy_(torch.tensor([3.0, 0.0]))
    x = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    x[0, 0, 6:12, 12:18] = 1
    found = meaningful_perturbation(net, x, target=1, size=12, steps=150, jitter=1, area=3e-3, fill=0)
    deleted = found.values[0, 0]
    assert float(deleted[6:12, 12:18].mean()) > 0.4
    outside = deleted.clone()
    outside[3:15, 9:21] = 0
    assert float(outside.mean()) < 0.05
    before, under = (float(text.split()[-1]) for text in found.notes[0].split(";")[:2])
    assert before > 0.9
    assert under < 0.5
    again = meaningful_perturbation(net, x, target=1, size=12, steps=150, jitter=1, area=3e-3, fill=0)
    assert torch.equal(again.values, found.values)


def test_erasing_words_and_units():
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
        .double()
        .eval()
    )
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = representation_erasure(net, x, target=[0, 1], erased=0)
    with torch.no_grad():
        score = net(x).log_softmax(1)[1, 1]
        replaced = x[1:].clone()
        replaced[0, 2] = 0
        expected = (score - net(replaced).log_softmax(1)[0, 1]) / score.abs()
        hidden = net[3](net[2](net[1](net[0](x))))
        hidden[:, 3] = 0
        units = net(x).log_softmax(1)[:, 1] - net[4](hidden).log_softmax(1)[:, 1]
    assert float(found.values[1, 2]) == pytest.approx(float(expected), rel=1e-9)
    erased = representation_erasure(net, x, target=1, layer="3", relative=False)
    assert erased.values.shape == (2, 5)
    assert torch.allclose(erased.values[:, 3], units, atol=1e-12)
    with pytest.raises(ValueError, match="no layer 'hidden'"):
        representation_erasure(net, x, layer="hidden", erased=0)
    with pytest.raises(TypeError, match="symbol that stands for nothing"):
        representation_erasure(net, x)


def test_erasing_the_units_of_a_recurrent_layer():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    net, x = Last().eval(), torch.randn(2, 6, 3)
    found = representation_erasure(net, x, target=0, of="score", layer="lstm", relative=False)
    with torch.no_grad():
        states = net.lstm(x)[0][:, -1]
    assert torch.allclose(found.values, states * net.out.weight[0], atol=1e-6)
    steps = representation_erasure(net, x, target=0, of="score", relative=False)
    assert steps.values.shape == x.shape
    assert torch.allclose(steps.values.sum(2), steps.coarse)


def test_refused_with_what_to_do():
    net, x = linear(1, 8, 8), torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="maps with channels"):
        rise(nn.Linear(3, 2), torch.rand(1, 3))
    with pytest.raises(ValueError, match="kept with a probability between 0 and 1"):
        rise(net, x, keep=1.0)
    with pytest.raises(ValueError, match="at least 20 samples"):
        lime(net, x, samples=5)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        meaningful_perturbation(net, x, steps=0)
    with pytest.raises(ValueError, match="Of images use occlusion"):
        representation_erasure(net, x)
