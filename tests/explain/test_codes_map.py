"""Maps of codes: who is whose neighbour is kept, and a grid has one cell each."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hubel import nets
from hubel.core.errors import MissingExtra
from hubel.explain import codes_map
from hubel.explain.codes_map import on_grid


@pytest.fixture(scope="module")
def clusters():
    """Four clusters of 20 in ten dimensions."""
    generator = np.random.default_rng(0)
    centres = 8 * np.eye(10)[:4]
    labels = np.repeat(np.arange(4), 20)
    return (centres[labels] + generator.normal(size=(80, 10)) * 0.5).astype(np.float32), labels


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_separated_clusters_stay_neighbours(clusters, method):
    x, labels = clusters
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(10))
        net[0].bias.zero_()
    found = codes_map(net, x, method=method, labels=labels, perplexity=10)
    assert np.allclose(found.codes, x, atol=1e-5)
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = labels[distances.argsort(axis=1)[:, :5]]
    share = (nearest == labels[:, None]).mean()
    assert share > (0.99 if method == "tsne" else 0.6)
    assert found.neighbours > 0.85
    assert np.array_equal(found.points, codes_map(net, x, method=method, perplexity=10).points)


def test_principal_components_are_those_of_a_decomposition(clusters):
    x, _ = clusters
    net = nn.Sequential(nn.Identity(), nn.Linear(10, 2))
    found = codes_map(net, x, layer="0", method="pca")
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64)))
    wanted = (x - x.mean(0)) @ vectors[:, [-1, -2]]
    assert np.allclose(np.abs(found.points), np.abs(wanted), atol=1e-4)
    assert f"({100 * values[-1] / values.sum():.0f} %)" in found.axes[0]


def test_codes_are_what_the_last_layer_reads():
    net = nets.simple_cnn((1, 28, 28), 10).eval()
    x = torch.randn(10, 1, 28, 28)
    assert np.allclose(
        codes_map(net, x, method="pca", batch_size=3).codes, net.features(x).detach().numpy(), atol=1e-5
    )
    maps = codes_map(net, x, "conv2", method="pca")
    assert maps.codes.shape == (10, 64) and maps.layer == "conv2"


def test_the_grid_is_the_best_of_all():
    """Against all 9! / 4! ways to place five points on nine cells, many times."""
    ways = np.array(list(itertools.permutations(range(9), 5)))
    every = [(r, c) for r in range(3) for c in range(3)]
    for seed in range(60):
        points = np.random.default_rng(seed).normal(size=(5, 2))
        cells = on_grid(points).tolist()
        assert len({tuple(c) for c in cells}) == 5 and max(map(max, cells)) <= 2
        placed = (points - points.min(0)) / np.ptp(points, axis=0) * 2
        placed[:, 1] = 2 - placed[:, 1]
        cost = np.array([[(p[0] - c) ** 2 + (p[1] - r) ** 2 for r, c in every] for p in placed])
        best = sum(cost[k, ways[:, k]] for k in range(5)).min()
        assert sum(cost[k, every.index(tuple(cell))] for k, cell in enumerate(cells)) == pytest.approx(best)


def test_umap_is_an_extra(clusters):
    pytest.importorskip("sklearn")
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r'pip install "hubel\[maps\]"'):
            codes_map(nn.Sequential(nn.Linear(10, 2)), clusters[0], method="umap")


def test_wrong_input_is_told(clusters):
    x, _ = clusters
    net = nn.Sequential(nn.Linear(10, 2))
    for words, said in (
        ({"method": "mds"}, 'expected "tsne", "umap" or "pca"'),
        ({"x": x[:3]}, "at least 4 examples"),
        ({"labels": [1]}, r"labels have shape \[1\] for 80"),
        ({"layer": "7"}, "no layer '7'"),
        ({"x": x * np.nan}, "NaN or infinite"),
        ({"perplexity": 0}, "perplexity is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            codes_map(net, **{"x": x, "method": "pca", **words})
    with pytest.raises(ValueError, match="no linear layer"):
        codes_map(nn.Sequential(nn.Identity()), x, method="pca")
