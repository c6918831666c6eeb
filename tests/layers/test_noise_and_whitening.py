"""Noise injection by its moments, whitening by what it promises, against scikit-learn."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.layers.noise import GaussianNoise
from hubel.layers.whitening import whitening_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_the_stated_spread_in_training_only(dtype):
    torch.manual_seed(0)
    x = torch.full((200, 500), 3.0, dtype=dtype)
    layer = GaussianNoise(0.2)
    noise = layer(x) - x
    assert noise.dtype == dtype
    assert abs(float(noise.mean())) < 0.003 and float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert float((noise[:-1] * noise[1:]).mean()) == pytest.approx(0, abs=0.001)
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match="sd is -1"):
        GaussianNoise(-1)


def correlated(num=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4) * 10


def test_white_features_are_uncorrelated_with_variance_one():
    train, test = correlated(), correlated(50, seed=1)
    layer = whitening_of(train).double()
    white = layer(torch.from_numpy(train)).numpy()
    assert np.allclose(white.mean(0), 0, atol=1e-5)
    assert np.allclose(np.cov(white.T), np.eye(4), atol=1e-5)
    assert torch.allclose(layer.matrix, layer.matrix.T, atol=1e-6), "ZCA is symmetric"
    before = layer.mean.clone()
    layer(torch.from_numpy(test))
    assert torch.equal(layer.mean, before), "only the training part decides"
    assert sorted(layer.state_dict()) == ["matrix", "mean"] and not list(layer.parameters())


def test_it_is_a_turned_pca():
    """The same distances between examples as scikit-learn's whitened principal components: one is the other, turned."""
    from scipy.spatial.distance import pdist
    from sklearn.decomposition import PCA

    train = correlated()
    white = whitening_of(train).double()(torch.from_numpy(train)).numpy()
    assert np.allclose(pdist(white[:60]), pdist(PCA(whiten=True).fit(train).transform(train)[:60]), rtol=1e-4)


def test_directions_without_spread_are_only_centred():
    train = correlated()
    train = np.column_stack([train, train[:, 0] + train[:, 1], np.full(len(train), 7.0)])
    white = whitening_of(train).double()(torch.from_numpy(train)).numpy()
    assert np.isfinite(white).all() and np.abs(white).max() < 100
    assert np.allclose(white[:, -1], 0, atol=1e-4)


def test_a_network_that_begins_with_it_is_fitted(tmp_path):
    import hubel

    x = correlated(200).astype("float32")
    y = (x[:, 0] > x[:, 0].mean()).astype(int)
    data = hubel.data.from_arrays(x, y)
    train, _, _ = data.split(seed=0)
    net = nn.Sequential(whitening_of(train.inputs), nn.Linear(4, 2))
    recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    run = hubel.fit(data, net=net, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert torch.equal(run.net[0].matrix, net[0].matrix)


@pytest.mark.parametrize(
    ("values", "match"), [(np.zeros(5), r"\(5,\); expected"), (np.full((3, 2), np.nan), "NaN")]
)
def test_what_has_no_covariance_is_refused(values, match):
    with pytest.raises(ValueError, match=match):
        whitening_of(values)
