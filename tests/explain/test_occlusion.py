"""Occlusion against closed forms of linear networks and against covering by hand; what patches cover and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.explain import occlusion, occlusion_cost
from hubel.explain import patches as patches_module
from hubel.explain.filling import blurred, filled
from hubel.explain.patches import patches_of


def linear(shape, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 4)).double().eval()


@pytest.mark.parametrize("shape", [(2, 12), (3, 8, 12), (1, 4, 8, 4)])
@pytest.mark.parametrize("fill", ["grey", "mean", 0.3, "blur"])
def test_patches_that_do_not_overlap_sum_to_the_whole_change_of_a_linear_network(shape, fill):
    net, x = linear(shape), torch.randn(2, *shape, dtype=torch.float64)
    found = occlusion(net, x, target=[1, 3], patch=4, stride=4, fill=fill)
    with torch.no_grad():
        change = (net(x) - net(found.baseline))[[0, 1], [1, 3]]
    assert torch.allclose(found.values.flatten(1).sum(1), change, rtol=1e-10)
    assert torch.allclose(found.coarse.flatten(1).sum(1), change, rtol=1e-10)
    weight = net[1].weight[[1, 3]].detach().view(2, *shape)
    share = ((x - found.baseline) * weight)[(..., *(slice(4) for _ in shape[1:]))].flatten(1).sum(1)
    assert torch.allclose(found.coarse[(slice(None), *(0,) * (len(shape) - 1))], share, rtol=1e-10)
    assert found.values.shape == x.shape


def test_overlapping_patches_are_averaged_at_each_position():
    """Counted by hand: patches of 3 at 0, 2 and 3 of 6 positions, with effects 3, 6 and 9."""
    patches = patches_of((1, 6), (3,), (2,), axes=(1,))
    assert patches.starts[:, 0].tolist() == [0, 2, 3]
    values = patches.spread(torch.tensor([3.0, 6.0, 9.0]))
    assert values[0].tolist() == pytest.approx([1, 1, 1.5, 2.5, 2.5, 3])


def test_a_convolutional_network_is_covered_as_by_hand():
    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 22, 3)).double().eval()
    )
    x = torch.rand(1, 3, 30, 24, dtype=torch.float64)
    found = occlusion(net, x, target=2, of="probability", patch=(6, 8), stride=(5, 4))
    assert found.coarse.shape == (1, 6, 5)
    grey = (x.amax((2, 3)) + x.amin((2, 3))) / 2
    for (i, top), (j, left) in [((0, 0), (0, 0)), ((3, 15), (2, 8)), ((5, 24), (4, 16))]:
        covered = x.clone()
        covered[0, :, top : top + 6, left : left + 8] = grey[0][:, None, None]
        with torch.no_grad():
            effect = net(x).softmax(1)[0, 2] - net(covered).softmax(1)[0, 2]
        assert float(found.coarse[0, i, j]) == pytest.approx(float(effect), rel=1e-9)
    assert "incremental" in found.notes[0]


def test_symbols_features_and_steps():
    torch.manual_seed(0)
    text = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 2)).eval()
    x = torch.tensor([[1, 2, 3, 4, 5]])
    found = occlusion(text, x, target=1, fill=0)
    replaced = x.clone()
    replaced[0, 3] = 0
    assert float(found.values[0, 3]) == pytest.approx(
        float((text(x) - text(replaced))[0, 1].detach()), abs=1e-6
    )
    with pytest.raises(TypeError, match="fill must be the symbol"):
        occlusion(text, x)
    table = nn.Linear(6, 1).eval()
    rows = torch.randn(3, 6)
    assert torch.allclose(occlusion(table, rows, target=0).values, rows * table.weight, atol=1e-5)
    steps = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).eval()
    series = torch.randn(1, 4, 3)
    found = occlusion(steps, series, target=0, steps_first=True, fill=0)
    by_hand = (series * steps[1].weight.view(4, 3)).sum(2)
    assert torch.allclose(found.values.sum(2), by_hand, atol=1e-5)


def test_coarse_to_fine_finds_the_place_and_says_that_it_is_approximate():
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48 * 48, 1)
    ).eval()
    nn.init.constant_(net[0].weight, 1 / 9)
    with torch.no_grad():
        net[3].weight.zero_().view(48, 48)[30:36, 12:18] = 1
    x = torch.rand(1, 1, 48, 48)
    exact = occlusion(net, x, target=0, patch=6, stride=2, fill=0)
    found = occlusion(net, x, target=0, patch=6, stride=2, fill=0, coarse_to_fine=True)
    assert found.coarse.argmax() == exact.coarse.argmax()
    assert found.coarse.max() == pytest.approx(float(exact.coarse.max()), abs=1e-5)
    assert any(note.startswith("approximate") for note in found.notes)
    assert found.passes < exact.passes
    assert not any(note.startswith("approximate") for note in exact.notes)


def test_refused_with_what_to_do(monkeypatch):
    net = linear((1, 8, 8))
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="patch of 9 × 9 does not lie on an example of 8 × 8"):
        occlusion(net, x, patch=9)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        occlusion(net, x, stride=0)
    with pytest.raises(ValueError, match="2 of them, one an axis"):
        occlusion(net, x, patch=(2, 2, 2))
    with pytest.raises(ValueError, match=r"stride must be a whole number.*received 2\.5"):
        occlusion(net, x, stride=2.5)
    with pytest.raises(ValueError, match='"grey", "mean", "blur"'):
        occlusion(net, x, fill="black")
    monkeypatch.setattr(patches_module, "free_memory", lambda: 4000)
    with pytest.raises(ValueError, match=r"49 places on 8 × 8 .* stride 2 times as large"):
        occlusion(net, x, patch=2, stride=1)
    assert occlusion(net, x, patch=2, stride=2).coarse.shape == (1, 4, 4)


def test_the_cost_is_told_before():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)).eval()
    cost = occlusion_cost(net, torch.rand(1, 1, 32, 32), patch=8, stride=4)
    assert cost.versions == 49
    assert cost.seconds > 0
    assert cost.memory > 2 * 4 * 30 * 30 * 4
    assert str(cost).startswith("49 versions")


def test_blurring_is_a_gaussian():
    """Against SciPy's, borders continued."""
    ndimage = pytest.importorskip("scipy.ndimage")
    x = torch.rand(1, 2, 20, 17, dtype=torch.float64)
    expected = ndimage.gaussian_filter(x[0, 1].numpy(), 1.5, mode="nearest", truncate=10 / 3)
    assert np.allclose(blurred(x, 1.5)[0, 1].numpy(), expected, atol=1e-4)
    constant = torch.full((1, 1, 9), 3.0)
    assert torch.allclose(blurred(constant, 4.0), constant)
    assert filled(torch.tensor([[0.0, 4.0], [1.0, 1.0]]), "grey").tolist() == [[2, 2], [1, 1]]


def test_what_does_not_fit_is_refused_before_anything_is_computed(monkeypatch):
    from hubel.explain import room

    calls = []
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    net[0].register_forward_hook(lambda module, inputs, answered: calls.append(answered.device.type))
    x = torch.zeros(3, 1, 40, 50)
    widest = 3 * 8 * 40 * 50 * 4  # what is read, what is answered and what else is needed there
    assert room.bytes_of_a_pass(net, x[0]) == widest
    monkeypatch.setattr(room, "free_memory", lambda: 2 * widest)
    with pytest.raises(
        ValueError, match=r"takes about 0\.0 GB, .*: 3 at once are too many, explain 2 at a time"
    ):
        occlusion(net, x)
    monkeypatch.setattr(room, "free_memory", lambda: widest - 1)
    for method in (occlusion, occlusion_cost):
        with pytest.raises(
            ValueError, match=r"one example of 1 × 40 × 50 values takes .*: make the example smaller"
        ):
            method(net, x[:1])
    assert set(calls) == {"meta"}
    monkeypatch.setattr(room, "free_memory", lambda: widest)
    assert occlusion(net, x[:1], patch=20, stride=20).values.shape == (1, 1, 40, 50)


def test_a_network_that_looks_at_values_is_tried():
    from hubel.explain import room

    class Looks(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2] * (2.0 if float(x.sum()) > 0 else 1.0)

    assert room.bytes_of_a_pass(Looks(), torch.ones(1, 4, 4)) is None
    assert occlusion(Looks(), torch.ones(1, 1, 4, 4), target=0, patch=2, stride=2).values.shape == (
        1,
        1,
        4,
        4,
    )
