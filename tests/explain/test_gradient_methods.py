"""Gradients, their means and their ways back, against closed forms, finite differences and each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, NETS, Function, inputs
from torch import nn

from hubel import explain


def test_saliency_against_finite_differences():
    net, shape = NETS["3-D"]
    x, step = inputs(shape, 1), 1e-6
    values = explain.saliency(net, x, target=1).values
    with torch.no_grad():
        for place in ((0, 0, 1, 2, 3), (0, 0, 5, 0, 0), (0, 0, 3, 3, 3)):
            moved = torch.zeros_like(x)
            moved[place] = step
            numeric = (net(x + moved) - net(x - moved))[0, 1] / (2 * step)
            assert values[place].item() == pytest.approx(numeric.item(), rel=1e-5, abs=1e-9)


def test_gradient_times_input_has_a_residual_only_where_it_is_exact():
    x = inputs((6,))
    biasless = nn.Sequential(nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 2, bias=False)).double()
    found = explain.gradient_times_input(biasless, x, target=0)
    assert found.residual.max() < 1e-12
    torch.testing.assert_close(found.values.sum(1), biasless(x)[:, 0].detach())
    assert explain.gradient_times_input(NETS["dense"][0], x, target=0).residual is None


def test_on_a_linear_network_all_complete_methods_are_one():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4)).double()
    x, baseline = inputs(IMAGE), inputs(IMAGE, seed=9)
    weight = explain.saliency(net, x, target=2).values
    expected = weight * (x - baseline)
    for found in (
        explain.deeplift(net, x, target=2, baseline=baseline),
        explain.integrated_gradients(net, x, target=2, baseline=baseline, steps=1),
        explain.deeplift(net, x, target=2, baseline=baseline, rule="reveal_cancel"),
    ):
        torch.testing.assert_close(found.values, expected)
    torch.testing.assert_close(explain.smoothgrad(net, x, target=2, samples=3).values, weight)
    others = explain.expected_gradients(net, x, baseline, target=2, samples=6)
    torch.testing.assert_close(others.values, weight * (x - baseline.mean(0)))
    assert others.residual.max() < 1e-12


def test_integrated_gradients_of_a_cubic_in_closed_form():
    net = Function(lambda net, x: x[:, :1] ** 3 + x[:, 1:] * x[:, :1])
    x, baseline = torch.tensor([[2.0, 3.0]]).double(), torch.tensor([[1.0, -1.0]]).double()
    found = explain.integrated_gradients(net, x, target=0, baseline=baseline, tolerance=1e-9)
    # x³ + x y along the line: ∫ 3x² dα · 1 = 7, ∫ y dα · 1 = 1, ∫ x dα · 4 = 6
    torch.testing.assert_close(found.values, torch.tensor([[8.0, 6.0]]).double(), rtol=1e-7, atol=0)
    assert found.passes > 100


def test_integrated_gradients_refine_only_what_is_not_complete():
    net = Function(lambda net, x: torch.sin(5 * x).sum(1, keepdim=True))
    x = torch.tensor([[0.001, 0.0], [9.0, -7.5]]).double()
    found = explain.integrated_gradients(net, x, target=0, tolerance=1e-3)
    assert found.residual.max() <= 1e-3
    assert found.notes[0].startswith("14 to ")
    few = explain.integrated_gradients(net, x, target=0, tolerance=1e-12, max_steps=42)
    assert few.notes == ("42 steps", "2 of 2 examples are not within 1e-12: allow more with max_steps")
    assert explain.integrated_gradients(net, x, target=0, steps=5).notes == ("5 steps",)


def test_pieces_that_are_refined_keep_their_middles():
    """All pieces cut three times as fine are the sum over the middles of 3, 3, 9 and 27 parts."""
    net, shape = NETS["sequential"]
    x = inputs(shape, 1)
    grown = explain.integrated_gradients(
        net, x, target=0, baseline=0.3, tolerance=1e-15, max_steps=42, batch_size=5
    )
    edges = [0, 1 / 64, 1 / 16, 1 / 4, 1]
    total = torch.zeros_like(x)
    for count, start, end in zip((3, 3, 9, 27), edges[:-1], edges[1:], strict=True):
        for number in range(count):
            place = start + (number + 0.5) / count * (end - start)
            slope = explain.saliency(net, 0.3 + place * (x - 0.3), target=0).values
            total += slope * (end - start) / count
    torch.testing.assert_close(grown.values, total * (x - 0.3))


def test_what_happens_next_to_the_baseline_is_found():
    """Behind a layer norm the score jumps where the input leaves zero: 1701 equal steps lack 5 %, and a few hundred do when they are put there."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.LayerNorm(6, eps=1e-8), nn.Linear(6, 2)).double()
    x = inputs((6,), 2)
    assert explain.integrated_gradients(net, x, target=0, steps=1701).residual.max() > 0.05
    found = explain.integrated_gradients(net, x, target=0, tolerance=0.01)
    assert found.residual.max() <= 0.01
    assert found.passes < 1500


def test_no_more_than_a_batch_is_computed_at_once():
    seen = []
    net, shape = NETS["sequential"]
    handle = net.register_forward_pre_hook(lambda module, values: seen.append(len(values[0])))
    try:
        explain.integrated_gradients(net, inputs(shape, 2), target=0, steps=50, batch_size=4)
        explain.smoothgrad(net, inputs(shape, 2), target=0, samples=9, batch_size=4)
        explain.expected_gradients(net, inputs(shape, 2), inputs(shape, 3), target=0, samples=9, batch_size=4)
    finally:
        handle.remove()
    assert max(seen) == 4


def test_smoothgrad_of_a_square_in_closed_form():
    net = Function(lambda net, x: (x**2).sum(1, keepdim=True))
    x = torch.tensor([[1.0, -3.0, 0.0, 5.0]]).double()
    found = explain.smoothgrad(net, x, target=0, noise=0.1, samples=20_000, batch_size=4000)
    torch.testing.assert_close(found.values, 2 * x, rtol=0, atol=0.05)
    squared = explain.smoothgrad(net, x, target=0, noise=0.1, samples=20_000, batch_size=4000, squared=True)
    torch.testing.assert_close(squared.values, 4 * (x**2 + 0.8**2), rtol=0.05, atol=0.1)


def test_expected_gradients_become_complete_and_shapley_on_a_product():
    net = Function(lambda net, x: x[:, :1] * x[:, 1:])
    x, others = torch.tensor([[2.0, 3.0]]).double(), torch.zeros(1, 2).double()
    found = explain.expected_gradients(net, x, others, target=0, samples=4000, batch_size=1000)
    torch.testing.assert_close(found.values, torch.tensor([[3.0, 3.0]]).double(), rtol=1e-3, atol=0)
    assert found.residual.max() < 1e-3


@pytest.mark.parametrize("kind", ["module", "function", "method", "in place", "clamp"])
def test_rectified_ways_back_by_hand(kind):
    relu = {
        "module": nn.ReLU(),
        "function": F.relu,
        "method": lambda x: x.relu(),
        "in place": lambda x: (F.relu(x, inplace=True), x)[1],
        "clamp": lambda x: x.clamp(min=0),
    }[kind]
    first, second = nn.Linear(3, 4, bias=False).double(), nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]))
        second.weight.copy_(torch.tensor([[2.0, -1.0, 3.0, -4.0]]))
    net = Function(lambda net, x: net.b(relu(net.a(x))), a=first, b=second)
    x = torch.tensor([[1.0, 2.0, -1.0]]).double()
    assert explain.deconvnet(net, x).values.tolist() == [[2.0, 0.0, 3.0]]  # the positive ones of 2, -1, 3, -4
    assert explain.guided_backprop(net, x).values.tolist() == [[2.0, 0.0, 0.0]]  # and only where x > 0
    assert explain.saliency(net, x).values.tolist() == [[-2.0, -5.0, -4.0]]


def test_without_a_relu_there_is_nothing_to_guide():
    with pytest.raises(ValueError, match="calls no ReLU: guided backpropagation would be the plain gradient"):
        explain.guided_backprop(nn.Sequential(nn.Linear(3, 2), nn.GELU()).double(), inputs((3,)))
    assert "fails sanity checks" in explain.guided_backprop(NETS["functional"][0], inputs(IMAGE)).notes[0]


def text_net():
    torch.manual_seed(0)
    return Function(
        lambda net, x: net.b(net.r(net.a(x) * (x != 0).unsqueeze(2))[0][:, -1]),
        a=nn.Embedding(10, 4),
        r=nn.GRU(4, 5, batch_first=True),
        b=nn.Linear(5, 3),
    ).double()


@pytest.mark.parametrize(
    "method",
    [
        explain.saliency,
        explain.gradient_times_input,
        explain.smoothgrad,
        explain.integrated_gradients,
        explain.lrp,
        explain.deeplift,
    ],
)
def test_symbols_are_explained_at_their_embedding(method):
    net, x = text_net(), torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]])
    found = method(net, x, target=1)
    assert found.values.shape == x.shape
    assert found.values.abs().min(1).values[1] > 0
    assert found.values[0, 3] == 0  # masked in the network
    if found.residual is not None:
        assert found.residual.max() < (0.01 if method is explain.integrated_gradients else 1e-9)


def test_symbols_against_other_symbols():
    net, x = text_net(), torch.tensor([[1, 2, 3, 4]])
    found = explain.deeplift(net, x, target=1, baseline=torch.tensor([1, 2, 3, 9]))
    assert found.values[0, :3].abs().max() == 0  # only the last symbol differs
    wanted = (net(x) - net(torch.tensor([[1, 2, 3, 9]])))[0, 1]
    assert found.values.sum().item() == pytest.approx(wanted.item())
    assert found.baseline.tolist() == [[1, 2, 3, 9]]


def test_whole_numbers_without_an_embedding_are_refused():
    net = Function(lambda net, x: net.a(x.double()), a=nn.Linear(3, 2)).double()
    with pytest.raises(ValueError, match="does not look them up in an embedding"):
        explain.saliency(net, torch.tensor([[1, 2, 3]]), target=0)


@pytest.mark.parametrize(
    ("baseline", "error", "match"),
    [
        (torch.zeros(2, 3), ValueError, r"baseline has shape \[2, 3\]; expected a number, \[2, 8, 8\]"),
        (math.nan, ValueError, "baseline holds NaN"),
        ("black", TypeError, "baseline must be a number or an array; received str"),
    ],
)
def test_wrong_baselines_are_refused(baseline, error, match):
    for method in (explain.deeplift, explain.integrated_gradients):
        with pytest.raises(error, match=match):
            method(NETS["sequential"][0], inputs(IMAGE), target=0, baseline=baseline)


def test_wrong_settings_are_refused():
    net, x = NETS["sequential"][0], inputs(IMAGE)
    for call, match in [
        (
            lambda: explain.integrated_gradients(net, x, tolerance=0),
            "tolerance must be a positive number; received 0",
        ),
        (
            lambda: explain.integrated_gradients(net, x, steps=0),
            "steps must be a positive whole number; received 0",
        ),
        (
            lambda: explain.integrated_gradients(net, x, batch_size=2.5),
            "batch_size must be a positive whole number; received 2.5",
        ),
        (lambda: explain.smoothgrad(net, x, noise=-1), "noise must be a positive fraction"),
        (
            lambda: explain.expected_gradients(net, x, torch.zeros(3, 2, 7, 8)),
            "background has examples of shape",
        ),
        (
            lambda: explain.deeplift(net, x, rule="linear"),
            'rule must be "rescale" or "reveal_cancel"; received',
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            call()


def test_probabilities_and_units_are_explained_too():
    net, shape = NETS["sequential"]
    x = inputs(shape)
    found = explain.deeplift(net, x, target=1, baseline=0.2, of="probability")
    with torch.no_grad():
        wanted = (net(x).softmax(1) - net(torch.full_like(x, 0.2)).softmax(1))[:, 1]
    torch.testing.assert_close(found.values.flatten(1).sum(1), wanted)
    unit = explain.Unit(layer="3", channel=2, position=(1, 1))
    assert explain.deeplift(net, x, target=unit, baseline=0.2).residual.max() < 1e-10
    assert explain.lrp(net, x, target=unit).residual.max() < 1e-9
    assert explain.lrp(net, x, target=1, of="log_probability").residual.max() < 1e-9
    assert (explain.saliency(net, x, target=unit).values != 0).flatten(1).sum(1).max() <= 2 * 64
