"""Penalties against their closed forms on a quadratic, and each step against its formula."""

import numpy as np
import pytest
import torch
from torch import nn

import hubel
from hubel.core.types import Batch, Loss
from hubel.fitting import L1, L2, SGD, Activity, Backprop, Lp, MaxNorm, NonNegative, UnitNorm, steps

CURVATURES = torch.tensor([[4.0, 2.0, 1.0, 0.5, 0.25]], dtype=torch.float64)
MINIMUM = torch.tensor([[1.0, -2.0, 0.3, 1.5, -1.0]], dtype=torch.float64)


def quadratic(net, batch):
    """(1/2) sum c (w - m)²: the loss near a minimum, in the eigenvectors of its Hessian."""
    return Loss(total=0.5 * (CURVATURES * (net.weight - MINIMUM).square()).sum())


def minimized(*penalties, num=4000):
    net = nn.Linear(5, 1, bias=False).double()
    rule = Backprop(SGD(learning_rate=0.1, momentum=0.0, weight_decay=0.0).build(net), penalties=penalties)
    batch = Batch(inputs=torch.zeros(1, 5), targets=torch.zeros(1))
    for _ in steps(net, quadratic, [batch] * num, rule=rule):
        pass
    return net.weight.detach()


def test_l2_shrinks_in_proportion():
    assert torch.allclose(minimized(L2(strength=0.5)), CURVATURES * MINIMUM / (CURVATURES + 0.5), atol=1e-9)


def test_l1_is_a_soft_threshold_and_exactly_sparse():
    found = minimized(L1(strength=0.4))
    expected = MINIMUM.sign() * (MINIMUM.abs() - 0.4 / CURVATURES).clamp_min(0)
    assert torch.allclose(found, expected, atol=1e-9)
    assert (found == 0).sum() == (expected == 0).sum() == 2


def test_both_are_the_elastic_net():
    found = minimized(L1(strength=0.4), L2(strength=0.3))
    expected = MINIMUM.sign() * (CURVATURES * MINIMUM.abs() - 0.4).clamp_min(0) / (CURVATURES + 0.3)
    assert torch.allclose(
        found, expected, atol=2e-2
    )  # the two steps of one update do not commute: an error of order lr
    assert torch.equal(found == 0, expected == 0)


def test_l3_balances_its_slope():
    found = minimized(Lp(strength=0.5, power=3.0))
    slope = CURVATURES * (found - MINIMUM) + 0.5 * found.abs() * found
    assert slope.abs().max() < 1e-9


def test_one_step_of_l2_is_the_formula():
    """w <- (1 - lr a) w - lr grad."""
    net = nn.Linear(5, 1, bias=False).double()
    before = net.weight.detach().clone()
    rule = Backprop(
        SGD(learning_rate=0.1, momentum=0.0, weight_decay=0.0).build(net), penalties=[L2(strength=0.7)]
    )
    scalars = rule.update(net, quadratic, Batch(inputs=torch.zeros(1, 5), targets=torch.zeros(1)), 1.0)
    assert torch.allclose(net.weight, (1 - 0.07) * before - 0.1 * CURVATURES * (before - MINIMUM))
    assert scalars["plain"] + scalars["penalty"] == pytest.approx(scalars["loss"].item())
    assert scalars["penalty"].item() == pytest.approx(0.35 * before.square().sum().item())


def test_max_norm_holds_after_every_step():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    rule = Backprop(SGD(learning_rate=5.0).build(net), penalties=[MaxNorm(limit=0.5)])
    batch = Batch(inputs=torch.randn(8, 1, 4, 4), targets=torch.arange(8) % 2)
    for _ in steps(net, hubel.objectives.CrossEntropy(2), [batch] * 5, rule=rule):
        for layer in (net[0], net[2]):
            assert layer.weight.flatten(1).norm(dim=1).max() <= 0.5 + 1e-6
    small = nn.Linear(2, 1)
    nn.init.constant_(small.weight, 0.1)
    MaxNorm(limit=0.5).after_step(small, 0.1)
    assert torch.equal(small.weight, torch.full((1, 2), 0.1)), "what is within the limit is left alone"


@pytest.mark.parametrize(
    ("penalty", "fits"),
    [
        (UnitNorm(), lambda w: torch.allclose(w.flatten(1).norm(dim=1), torch.ones(len(w)).to(w), atol=1e-6)),
        (NonNegative(), lambda w: bool((w >= 0).all()) and bool((w == 0).any())),
    ],
)
def test_constraints_hold_after_every_step(penalty, fits):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))
    rule = Backprop(torch.optim.SGD(net.parameters(), lr=0.5), penalties=[penalty])
    batch = Batch(inputs=torch.randn(8, 2, 5, 5), targets=torch.arange(8) % 3)
    for _ in steps(net, hubel.objectives.CrossEntropy(3), [batch] * 3, rule=rule):
        assert fits(net[0].weight.detach()) and fits(net[3].weight.detach())
    assert (net[0].bias != 0).all(), "biases are free"


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_activities_are_penalized_by_the_formula(power):
    """loss + (s / p) mean over examples of sum |a|^p, and the gradient of it by finite differences."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    batch = Batch(inputs=x, targets=torch.randn(6, 1, dtype=torch.float64))
    objective, penalty = hubel.objectives.SquaredError(1), Activity(strength=0.7, layers=("1",), power=power)

    def whole():
        hidden = torch.tanh(x @ net[0].weight.T + net[0].bias)
        return objective(net, batch).total + 0.7 / power * hidden.abs().pow(power).sum() / 6

    before, first = [p.detach().clone() for p in net.parameters()], whole().item()
    with torch.no_grad():  # one entry of the first matrix, by a central difference
        slopes = []
        for sign in (1, -1):
            net[0].weight[1, 2] += sign * 1e-5
            slopes.append(whole().item())
            net[0].weight[1, 2] -= sign * 1e-5
    rule = Backprop(torch.optim.SGD(net.parameters(), lr=0.1), penalties=[penalty])
    found = rule.update(net, objective, batch, 1.0)
    assert float(found["plain"] + found["penalty"]) == pytest.approx(first, rel=1e-6)
    slope = (before[0][1, 2] - net[0].weight[1, 2]).item() / 0.1
    assert slope == pytest.approx((slopes[0] - slopes[1]) / 2e-5, rel=1e-4)


def test_a_penalty_on_activities_leaves_no_hook():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    rule = Backprop(
        torch.optim.SGD(net.parameters(), lr=0.1), penalties=[Activity(strength=1.0, layers=("0",))]
    )
    rule.update(
        net, hubel.objectives.SquaredError(1), Batch(inputs=torch.randn(2, 3), targets=torch.zeros(2)), 1.0
    )
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(LookupError, match=r"names nothing, which is no module.*there are 0, 1"):
        Backprop(
            torch.optim.SGD(net.parameters(), lr=0.1), penalties=[Activity(strength=1.0, layers=("nothing",))]
        ).update(
            net,
            hubel.objectives.SquaredError(1),
            Batch(inputs=torch.randn(2, 3), targets=torch.zeros(2)),
            1.0,
        )


def test_where_it_acts():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    for p in net.parameters():
        nn.init.ones_(p)
    sizes = {"weights": 6, "biases": 7, "all": 13}
    for on, size in sizes.items():
        assert L2(strength=2.0, on=on).value(net).item() == size
    assert L2(strength=2.0, layers=("2.",)).value(net).item() == 2
    with pytest.raises(LookupError, match="no trained parameter"):
        L2(strength=1.0, layers=("nothing",)).value(net)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: L1(strength=-1.0), "strength is -1"),
        (lambda: L2(strength=1.0, on="filters"), "weights, biases or all"),
        (lambda: Lp(strength=1.0, power=0.5), "power is 0.5"),
        (lambda: MaxNorm(limit=0.0), "limit is 0"),
        (lambda: NonNegative(on="filters"), "weights, biases or all"),
        (lambda: Activity(strength=-1.0, layers=("0",)), "strength is -1"),
        (lambda: Activity(strength=1.0, layers=("0",), power=0.5), "power is 0.5"),
        (lambda: Activity(strength=1.0, layers="0"), "names of modules"),
    ],
)
def test_wrong_numbers_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_in_a_recipe_and_stored_with_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    recipe = hubel.Recipe(
        epochs=40,
        precision=hubel.fitting.Precision(),
        optimizer=SGD(learning_rate=0.1),
        penalties=(L1(strength=0.2), MaxNorm(limit=2.0)),
    )
    torch.manual_seed(0)
    net = hubel.nets.mlp((), inputs=20, outputs=2)
    run = hubel.fit(x, (x[:, 0] > 0).astype(int), net=net, recipe=recipe, out=tmp_path / "run", quiet=True)
    again = hubel.open_run(run.folder)
    assert again.recipe.penalties == recipe.penalties
    assert (net.head.weight == 0).sum() > 5
