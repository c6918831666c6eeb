"""Rules of relevance propagation and of DeepLIFT against sums written out term by term in NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, NETS, Function, conv, head, inputs
from torch import nn

from hubel import explain


def dense_net(bias=True, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(5, 7, bias=bias),
        nn.ReLU(),
        nn.Linear(7, 6, bias=bias),
        nn.ReLU(),
        nn.Linear(6, 3, bias=bias),
    )
    return net.double()


def dealt(rule, a, weight, bias, z, relevance):
    """R_i of one linear layer, by loops: what each R_j gives to each a_i."""
    out = np.zeros_like(a)
    for j, r in enumerate(relevance):
        terms = a * weight[j]
        plus, minus = np.maximum(terms, 0), np.minimum(terms, 0)
        b_plus, b_minus = max(bias[j], 0), min(bias[j], 0)
        if isinstance(rule, explain.Epsilon):
            out += terms / (z[j] + rule.epsilon * np.sign(z[j])) * r
        elif isinstance(rule, (explain.AlphaBeta, explain.ZPlus)):
            alpha, beta = (rule.alpha, rule.beta) if isinstance(rule, explain.AlphaBeta) else (1, 0)
            if plus.sum() + b_plus:
                out += alpha * plus / (plus.sum() + b_plus) * r
            if beta and minus.sum() + b_minus:
                out -= beta * minus / (minus.sum() + b_minus) * r
        elif isinstance(rule, explain.Gamma):
            same, b = (plus, b_plus) if z[j] >= 0 else (minus, b_minus)
            out += (terms + rule.gamma * same) / (z[j] + rule.gamma * (same.sum() + b)) * r
        elif isinstance(rule, explain.Flat):
            out += r / len(a)
        elif isinstance(rule, explain.WSquare):
            out += weight[j] ** 2 / (weight[j] ** 2).sum() * r
        elif isinstance(rule, explain.Box):
            box = terms - rule.low * np.maximum(weight[j], 0) - rule.high * np.minimum(weight[j], 0)
            out += box / box.sum() * r
    return out


def by_loops(net, x, target, rules):
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in layers]
    biases = [
        np.zeros(len(w)) if layer.bias is None else layer.bias.detach().numpy()
        for layer, w in zip(layers, weights, strict=True)
    ]
    values, sums = [x], []
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        sums.append(w @ values[-1] + b)
        values.append(np.maximum(sums[-1], 0) if number < len(layers) - 1 else sums[-1])
    relevance = np.where(np.arange(len(sums[-1])) == target, sums[-1], 0)
    for number in reversed(range(len(layers))):
        relevance = dealt(
            rules[number], values[number], weights[number], biases[number], sums[number], relevance
        )
    return relevance


RULES = [
    explain.Epsilon(0.0),
    explain.Epsilon(0.3),
    explain.ZPlus(),
    explain.AlphaBeta(2.0, 1.0),
    explain.AlphaBeta(1.5, 0.5),
    explain.Gamma(0.25),
    explain.Gamma(10.0),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_against_loops(rule):
    net, x = dense_net(), inputs((5,))
    received = explain.lrp(net, x, target=1, rule=rule)
    for row in range(3):
        expected = by_loops(net, x[row].numpy(), 1, [rule] * 3)
        np.testing.assert_allclose(received.values[row].numpy(), expected, rtol=1e-9, atol=1e-12)
    assert received.residual.max() < 1e-9


@pytest.mark.parametrize(
    "rule", [explain.Flat(), explain.WSquare(), explain.Box(-3.0, 3.0)], ids=lambda rule: type(rule).__name__
)
def test_rules_for_the_input_against_loops(rule):
    net, x = dense_net(), inputs((5,))
    x[:, 2] = 0  # an input of zero gets its share all the same
    composite = explain.Composite(dense=explain.ZPlus(), input=rule)
    received = explain.lrp(net, x, target=1, rule=composite)
    for row in range(3):
        expected = by_loops(net, x[row].numpy(), 1, [rule, explain.ZPlus(), explain.ZPlus()])
        np.testing.assert_allclose(received.values[row].numpy(), expected, rtol=1e-9, atol=1e-12)
    assert received.residual.max() < 1e-9
    assert received.values[:, 2].abs().min() > 0


def test_a_convolution_is_a_linear_layer_of_its_matrix():
    """z⁺, αβ and γ of a strided, padded, grouped convolution, and flat at its border, as those of the dense layer with the same matrix."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 4, 3, 2, 1, groups=2).double()
    x = inputs((2, 5, 5), 2)
    eye = torch.eye(50).double().view(50, 2, 5, 5)
    matrix = (F.conv2d(eye, layer.weight, None, 2, 1, 1, 2)).flatten(1).t()
    dense = nn.Linear(50, 36).double()
    dense.weight.data, dense.bias.data = matrix.detach(), layer.bias.detach().repeat_interleave(9)
    last = nn.Linear(36, 2).double()
    ours = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), last)
    theirs = nn.Sequential(nn.Flatten(), dense, nn.ReLU(), last)
    for rule in (
        *RULES,
        explain.Composite(convolution=explain.ZPlus(), dense=explain.ZPlus(), input=explain.WSquare()),
    ):
        if isinstance(rule, explain.Composite):
            a, b = (explain.lrp(net, x, target=1, rule=rule) for net in (ours, theirs))
        else:
            a = explain.lrp(ours, x, target=1, rule=rule)
            b = explain.lrp(theirs, x, target=1, rule=rule)
        torch.testing.assert_close(a.values, b.values)
        torch.testing.assert_close(a.absorbed, b.absorbed)


def test_flat_at_the_border_shares_among_the_pixels_that_there_are():
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    layer.weight.data.fill_(2.0)
    net = nn.Sequential(layer, nn.Flatten())
    x = torch.ones(1, 1, 3, 3).double()
    found = explain.lrp(
        net, x, target=0, rule=explain.Composite(input=explain.Flat())
    )  # the corner sees four pixels
    assert found.score.item() == 8
    assert found.values[0, 0].tolist() == [[2, 2, 0], [2, 2, 0], [0, 0, 0]]


def test_what_reads_the_input_is_found_by_the_data():
    """The first convolution is registered last, is called as a function, and reads a padded and turned input."""
    net = Function(
        lambda net, x: net.z(F.relu(net.m(F.conv2d(F.pad(x, (1, 1, 1, 1)).flip(-1), net.a.weight))).flatten(1)),
        z=head(256), m=conv(4, 4), a=nn.Conv2d(2, 4, 3, bias=False),
    ).double()  # fmt: skip
    black = torch.zeros(1, *IMAGE).double()
    black[0, 0, 3, 3] = 1.0
    found = explain.lrp(net, black, target=0, rule=explain.EPSILON_PLUS_FLAT)
    assert found.residual.max() < 1e-9
    assert not found.notes
    assert (found.values != 0).sum() > 20
    assert found.values[0, 0, 0, 0] == 0  # no relevance arrives there
    scaled = Function(lambda net, x: net.a((x - 0.5) / 2).flatten(1), a=conv()).double()
    remark = explain.lrp(scaled, black, target=0, rule=explain.EPSILON_PLUS_FLAT)
    assert "the rule for the input was not used" in remark.notes[0]


def test_a_border_takes_its_share_of_what_is_dealt_out_to_all_alike():
    for value in (0.0, 0.5):
        net = Function(
            lambda net, x, value=value: net.a(F.pad(x, (2, 2, 2, 2), value=value)).flatten(1),
            a=conv(padding=0),
        ).double()
        found = explain.lrp(
            net, inputs(IMAGE), target=0, rule=explain.EPSILON_PLUS_FLAT
        )  # the corner sees one pixel of nine
        assert found.residual.max() < 1e-9
        torch.testing.assert_close(found.values[:, :, 0, 0].sum(1), found.score / 9)
        torch.testing.assert_close(found.absorbed, found.score * 8 / 9)


def test_rules_by_the_name_of_a_module():
    net, x = dense_net(), inputs((5,))
    rules = [explain.Gamma(0.5), explain.Epsilon(), explain.ZPlus()]
    composite = explain.Composite(named={"0": rules[0], "4": rules[2]})
    received = explain.lrp(net, x, target=0, rule=composite)
    expected = by_loops(net, x[1].numpy(), 0, rules)
    np.testing.assert_allclose(received.values[1].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_lrp_0_is_gradient_times_input_without_biases():
    torch.manual_seed(0)
    net = nn.Sequential(
        conv(bias=False), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3, bias=False),
    ).double()  # fmt: skip
    x = inputs(IMAGE)
    relevance = explain.lrp(net, x, target=1, rule=explain.Epsilon(0.0))
    slope = explain.gradient_times_input(net, x, target=1)
    torch.testing.assert_close(relevance.values, slope.values)
    assert relevance.absorbed.abs().max() == 0
    assert slope.residual.max() < 1e-12


def test_gates_get_nothing_and_signals_all():
    net = Function(lambda net, x: torch.sigmoid(x[:, :1]) * x[:, 1:2] + x[:, 2:3].softmax(1) * 0)
    x = torch.tensor([[0.7, 2.0, 1.0]]).double()
    found = explain.lrp(net, x)
    torch.testing.assert_close(
        found.values, torch.tensor([[0.0, 2.0 * torch.sigmoid(x[0, 0]).item(), 0.0]]).double()
    )
    turned = Function(lambda net, x: x[:, 1:2] * (1 - torch.sigmoid(x[:, :1])))
    torch.testing.assert_close(
        explain.lrp(turned, x).values,
        torch.tensor([[0.0, 2.0 * torch.sigmoid(-x[0, 0]).item(), 0.0]]).double(),
    )
    both = Function(lambda net, x: x[:, :1] * x[:, 1:2])
    torch.testing.assert_close(explain.lrp(both, x).values, torch.tensor([[0.7, 0.7, 0.0]]).double())


def test_wrong_rules_are_refused():
    net, x = dense_net(), inputs((5,))
    for make, match in [
        (lambda: explain.Epsilon(-1), "epsilon must not be negative; received -1"),
        (lambda: explain.AlphaBeta(2.0, 0.5), "alpha - beta must be 1"),
        (lambda: explain.Gamma(-0.1), "gamma must not be negative"),
        (lambda: explain.Box(1.0, 0.0), "low must be below high"),
        (lambda: explain.Composite(dense=explain.Flat()), "Flat is for input="),
        (lambda: explain.lrp(net, x, rule=explain.Flat()), r"write rule=Composite\(input=Flat\(\)\)"),
        (
            lambda: explain.lrp(net, x, rule=explain.Composite(named={"4": explain.Flat()})),
            "for what reads the input itself; linear in 4",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    with pytest.raises(TypeError, match="rule must be a rule such as"):
        explain.lrp(net, x, rule="epsilon")


def test_deeplift_of_one_layer_by_hand():
    """max(0, x₁ + x₂ - 1): from (0, 0) to (1, 1) half of the way counts."""
    layer = nn.Linear(2, 1).double()
    layer.weight.data.fill_(1.0), layer.bias.data.fill_(-1.0)
    net = nn.Sequential(layer, nn.ReLU())
    found = explain.deeplift(net, torch.tensor([[1.0, 1.0], [3.0, 0.0]]))
    torch.testing.assert_close(found.values, torch.tensor([[0.5, 0.5], [2.0, 0.0]]).double())


def test_reveal_cancel_sees_both_causes_of_a_minimum():
    """min(x₁, x₂) = x₁ - max(0, x₁ - x₂): rescale gives all to one input, reveal-cancel half to each (section 3.5 of the paper)."""
    net = Function(lambda net, x: x[:, :1] - F.relu(F.linear(x, torch.tensor([[1.0, -1.0]]).double())))
    x = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double()
    rescale = explain.deeplift(net, x, target=0).values
    revealed = explain.deeplift(net, x, target=0, rule="reveal_cancel").values
    torch.testing.assert_close(rescale, torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double())
    torch.testing.assert_close(revealed, torch.full((2, 2), 0.5).double())


def test_a_maximum_is_shared_by_the_winners():
    net = Function(lambda net, x: x.amax(1, keepdim=True))
    x, baseline = torch.tensor([[3.0, 1.0, 0.0]]).double(), torch.tensor([[0.0, 2.0, -1.0]]).double()
    # ahead 3 - 1 = 2, behind 2 - 0 = 2: half of the way each; 3/2 - 1/2 = 1 = 3 - 2
    found = explain.deeplift(net, x, baseline=baseline)
    torch.testing.assert_close(found.values, torch.tensor([[1.5, -0.5, 0.0]]).double())


def test_a_product_is_shared_by_the_means():
    net = Function(lambda net, x: x[:, :1] * x[:, 1:])
    found = explain.deeplift(
        net, torch.tensor([[3.0, 5.0]]).double(), baseline=torch.tensor([[1.0, 1.0]]).double()
    )
    torch.testing.assert_close(found.values, torch.tensor([[2 * 3.0, 4 * 2.0]]).double())


@pytest.mark.parametrize("name", ["attention", "transformer", "layer norm", "arithmetic", "lstm"])
def test_multipliers_become_derivatives_near_the_baseline(name):
    """As the baseline comes near, finite differences are derivatives: the mean gradient between the two, to second order."""
    net, shape = NETS[name]
    x = inputs(shape, 2)
    baseline = x + 1e-4 * inputs(shape, 2, seed=5)
    multipliers = explain.deeplift(net, x, target=0, baseline=baseline).values / (x - baseline)
    slope = explain.saliency(net, (x + baseline) / 2, target=0).values
    close = (multipliers - slope).abs() <= 1e-3 * slope.abs().amax()
    assert close.double().mean() > 0.97  # all but those beside a kink


def test_no_difference_gives_the_derivative_and_not_noise():
    """Where a unit does not change at all its multiplier is the derivative; the input that changes elsewhere is explained all the same."""
    net = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 1)).double()
    x = inputs((4,), 2)
    found = explain.deeplift(net, x, baseline=x)
    assert found.values.abs().max() == 0
    assert found.residual.max() == 0


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (F.logsigmoid, lambda z: 1 / (1 + np.exp(z))),
        (torch.log, lambda z: 1 / z),
        (torch.log2, lambda z: 1 / z / np.log(2)),
        (torch.log10, lambda z: 1 / z / np.log(10)),
        (lambda z: torch.logit(z / 8), lambda z: 1 / z + 1 / (8 - z)),
    ],
)
def test_what_speaks_for_a_logarithm_speaks_for_it(function, slope):
    net = nn.Linear(3, 1, bias=False).double()
    net.weight.data = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)
    x = torch.tensor([[2.0, 1.5, 1.0]], dtype=torch.float64)  # the sum is 4, and log sigmoid(4) is below 0
    found = explain.lrp(
        Function(lambda self, t: function(self.net(t)), net=net), x, rule=explain.Epsilon(0.0)
    )
    expected = slope(4.0) * np.array([[2.0, 3.0, -1.0]])
    assert np.allclose(found.values.numpy(), expected, rtol=1e-12, atol=0)
    assert np.isclose(float(found.absorbed), float(found.score) - expected.sum(), rtol=1e-12)
