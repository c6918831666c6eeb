"""Prediction difference and leaving one feature out: closed forms of linear-Gaussian and of counted cases."""

import numpy as np
import pytest
import torch
from torch import nn

from hubel.explain import leave_one_feature_out, prediction_difference
from hubel.explain.evidence import differences

ROOTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def correlated(num, features, seed=0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(features, features))
    return torch.from_numpy(generator.normal(size=(num, features)) @ mixing + 1)


def conditional(data, index, row):
    """Mean and standard deviation of one feature given the others, by NumPy."""
    values = data.numpy()
    mean, covariance = values.mean(0), np.cov(values.T)
    others = [k for k in range(len(mean)) if k != index]
    weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, index])
    expected = mean[index] + weights @ (row.numpy()[others] - mean[others])
    return expected, np.sqrt(covariance[index, index] - weights @ covariance[others, index])


def test_linear_scores_differ_by_what_the_conditional_mean_says():
    """E[w · x | the others] is linear, so w_i (x_i - E[x_i | others]) exactly, and pairs of samples have exactly that mean."""
    data = correlated(400, 4)
    net = nn.Linear(4, 2).double().requires_grad_(False)
    x = data[:3]
    found = prediction_difference(net, x, data=data, target=1, measure="score", samples=2, clip=False)
    for row in range(3):
        for k in range(4):
            expected = float(net.weight[1, k]) * (float(x[row, k]) - conditional(data, k, x[row])[0])
            assert float(found.values[row, k]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_weight_of_evidence_is_that_of_the_integral():
    generator = np.random.default_rng(1)
    data = torch.from_numpy(generator.normal(size=(300, 1)) + 0.3 * generator.normal(size=(300, 3)))
    net = nn.Linear(3, 2).double()
    with (
        torch.no_grad()
    ):  # far from linear over the spread of a feature, much less so over what the others leave open
        net.weight.copy_(torch.tensor([[3.0, 2, -2], [0, 0, 0]]))
        net.bias.zero_()
    x = data[:2]
    found = prediction_difference(net, x, data=data, target=0, samples=4000, clip=False)

    def evidence(p):
        p = (p * 300 + 1) / 302
        return np.log2(p / (1 - p))

    for row in range(2):
        for k in range(3):
            mean, deviation = conditional(data, k, x[row])
            versions = x[row].repeat(60, 1)
            versions[:, k] = torch.from_numpy(mean + deviation * ROOTS)
            with torch.no_grad():
                p = float(net(x[row : row + 1]).softmax(1)[0, 0])
                without = float((net(versions).softmax(1)[:, 0].numpy() * WEIGHTS).sum() / WEIGHTS.sum())
            assert float(found.values[row, k]) == pytest.approx(evidence(p) - evidence(without), abs=0.06)


def test_windows_of_images_are_conditioned_on_what_is_around():
    """White noise plus one common level: the level is told by the surroundings, so that their mean fills the patch."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(60, 1, 12, 12, generator=generator, dtype=torch.float64) * 0.1
    data += 3 * torch.randn(60, 1, 1, 1, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 1, bias=False)).double()
    nn.init.ones_(net[1].weight)
    x = torch.full((1, 1, 12, 12), 2.0, dtype=torch.float64)
    x[0, 0, 4:6, 4:6] = 5
    found = prediction_difference(
        net, x, data=data, target=0, measure="score", patch=2, stride=2, surround=2, clip=False
    )
    assert float(found.coarse[0, 2, 2]) == pytest.approx(4 * 3, abs=0.3)
    assert abs(float(found.coarse[0, 0, 5])) < 0.3
    assert float(found.values.sum()) == pytest.approx(float(found.coarse.sum()))
    clipped = prediction_difference(
        net, x, data=data.clamp(-1, 1), target=0, measure="score", patch=2, stride=2, surround=2
    )
    assert float(clipped.coarse[0, 0, 5]) >= 4.0 - 1e-9  # what is drawn lies within the data


def test_a_feature_is_left_out_by_averaging_over_its_values():
    """Counted by hand on a table of three rows."""
    net = nn.Linear(2, 2).double().requires_grad_(False)
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    data = torch.tensor([[0.0, 1], [0, 5], [3, 1]], dtype=torch.float64)
    found = leave_one_feature_out(net, x, data=data, target=0, measure="probability")

    def p(a, b):
        return float(net(torch.tensor([[a, b]], dtype=torch.float64)).softmax(1)[0, 0])

    assert float(found.values[0, 0]) == pytest.approx(p(1, 2) - (2 * p(0, 2) + p(3, 2)) / 3)
    assert float(found.values[0, 1]) == pytest.approx(p(1, 2) - (2 * p(1, 1) + p(1, 5)) / 3)
    information = leave_one_feature_out(net, x, data=data, target=0, measure="information")
    laplace = (p(1, 2) * 3 + 1) / 5, ((2 * p(0, 2) + p(3, 2)) / 3 * 3 + 1) / 5
    assert float(information.values[0, 0]) == pytest.approx(np.log2(laplace[0] / laplace[1]))


def test_columns_that_belong_together_are_replaced_together():
    net = nn.Linear(4, 1, bias=False).double().requires_grad_(False)
    x = torch.tensor([[0.0, 1, 0, 2]], dtype=torch.float64)
    data = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 4]], dtype=torch.float64)
    found = leave_one_feature_out(net, x, data=data, target=0, measure="score", groups=[[0, 1, 2]])
    weight = net.weight[0].detach()
    assert float(found.coarse[0, 0]) == pytest.approx(float(weight[1] - (weight[0] + weight[1]) / 2))
    assert torch.allclose(found.values[0, :3], (found.coarse[0, 0] / 3).expand(3))
    few = leave_one_feature_out(net, x, data=torch.rand(50, 4), target=0, measure="score", most=7)
    assert few.passes < 4 * 8 + 10


def test_measures_and_refusals():
    p, q = torch.tensor(0.9, dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    assert float(differences(p, q, "evidence", num=8, classes=2)) == pytest.approx(
        np.log2(8.2 / 1.8) - np.log2(3.4 / 6.6)
    )
    net, data = nn.Linear(3, 2), torch.randn(5, 3)
    with pytest.raises(ValueError, match="measure must be one of evidence"):
        prediction_difference(net, data, data=data, measure="odds")
    with pytest.raises(ValueError, match=r"shape of x, \[M, 3\]; received \[5, 2\]"):
        prediction_difference(net, data, data=data[:, :2])
    with pytest.raises(ValueError, match="even number"):
        prediction_difference(net, data, data=data, samples=3)
    with pytest.raises(ValueError, match="each at most once"):
        leave_one_feature_out(net, data, data=data, groups=[[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="compares probabilities"):
        leave_one_feature_out(net, data, data=data, target=lambda outputs: outputs[:, 0] * 0 + 7)
    images = torch.rand(2, 3, 80, 80)
    deep = nn.Sequential(nn.Flatten(), nn.Linear(19200, 2))
    with pytest.raises(ValueError, match="6,000"):
        prediction_difference(deep, images, data=images, patch=40, surround=10)
    with pytest.raises(ValueError, match="surround must be at least 0"):
        prediction_difference(net, data, data=data, surround=-1)
